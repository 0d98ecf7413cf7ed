"""Arrays in one file that is whole or refused: an ``.npz`` archive that ends in a digest.

NumPy reads the file as any other ``.npz``. There is no pickle on either side.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fnnet.checks import Array
from fnnet.files import atomic_write
from fnnet.npy import from_npy
from fnnet.values import lock

DIGEST_SIZE = 64  # hexadecimal SHA-256


class CheckpointError(ValueError):
    """A file is missing or damaged, is not a checkpoint, or its parts do not fit together."""


def write_archive(path: Path, arrays: Mapping[str, Array], previous: Path | None = None) -> None:
    """Write an .npz archive that ends in the SHA-256 of everything before it.

    The digest stands in the archive's comment, so NumPy reads the file as any other.
    `previous` is a second name for what `path` held before.
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = bytes(DIGEST_SIZE)
    # Released at the end: a view that outlives its buffer crashes Python 3.12.
    with buffer.getbuffer() as whole, whole[:-DIGEST_SIZE] as content:
        digest = hashlib.sha256(content).hexdigest().encode()
        with atomic_write(path, previous) as file:
            file.write(content)
            file.write(digest)


def is_whole(path: Path) -> bool:
    """Tell whether the file is there and not one bit has changed since it was written."""
    return path.is_file() and _ends_in_digest(path.read_bytes())


def _ends_in_digest(raw: bytes) -> bool:
    content = memoryview(raw)[:-DIGEST_SIZE]
    return hashlib.sha256(content).hexdigest().encode() == raw[-DIGEST_SIZE:]


def read_archive(path: Path) -> dict[str, Array]:
    """Read what :func:`write_archive` wrote, if not one bit of it has changed.

    The digest finds damage. An attacker can write a correct digest, too, so every size
    in the file is compared with the bytes that are there before it is used.

    Raises:
        CheckpointError: the file is missing, damaged, or not as :func:`write_archive` writes.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}")
    raw = path.read_bytes()
    if not _ends_in_digest(raw):
        raise CheckpointError(f"{path} is not a checkpoint of fnnet, or is damaged")
    try:
        return _read_entries(path, raw)
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:  # a hostile archive can raise nearly anything
        raise CheckpointError(f"{path} is damaged: {error}") from None


def _read_entries(path: Path, raw: bytes) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise CheckpointError(f"{path} has a compressed entry")
        if sum(entry.file_size for entry in entries) > len(raw):
            raise CheckpointError(f"{path} has entries that are larger than the file")
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name in arrays:
                raise CheckpointError(f"{path} has the entry {name} twice")
            arrays[name] = read_array(f"{path}: {name}", archive.read(entry))
    return arrays


def read_array(name: str, raw: bytes) -> Array:
    """Return the array of numbers in a .npy file, read-only for good and in native byte order.

    It is laid out in memory as the saved one was: training goes on with the same bits.
    """
    try:
        array = from_npy(raw, "uif", "integers or floating numbers")
    except ValueError as error:
        raise CheckpointError(f"{name} {error}") from None
    return lock(array.astype(array.dtype.newbyteorder("=")))
