"""A compressed file may unpack to 20 times its bytes and 100 MB, and not to a byte more."""

from pathlib import Path

import pytest

from fnnet import DataError
from fnnet.data.sizes import check_unpacked_size


@pytest.mark.parametrize(("size", "limit"), [(0, 100_000_000), (50_000, 101_000_000)])
def test_the_limit_is_twenty_times_the_file_and_some_room(
    tmp_path: Path, size: int, limit: int
) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(bytes(size))
    check_unpacked_size(path, limit)
    message = f"^{path} unpacks to {limit + 1:,} bytes, more than {limit:,}: save it without"
    with pytest.raises(DataError, match=message):
        check_unpacked_size(path, limit + 1)
