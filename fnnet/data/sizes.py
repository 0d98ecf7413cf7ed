"""How much memory a compressed file may ask for."""

from pathlib import Path

from fnnet.data.errors import DataError

FACTOR = 20
ROOM = 100_000_000


def check_unpacked_size(path: Path, size: int) -> None:
    """Raise DataError if a file unpacks to more than 20 times its bytes and 100 MB.

    Images and features shrink far less. What shrinks more is an attack, or constant.
    """
    limit = FACTOR * path.stat().st_size + ROOM
    if size > limit:
        raise DataError(
            f"{path} unpacks to {size:,} bytes, more than {limit:,}: save it without compression"
        )
