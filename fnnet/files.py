"""Files that are either written whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on success flush it to disk and rename it to `path`.

    Whatever happens, `path` holds its old content or the new one, whole.
    """
    temporary = temporary_path(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the rename is on disk once the folder is
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def check_writable(name: str, path: Path) -> None:
    """Raise ValueError unless :func:`atomic_write` could write to `path` now."""
    temporary = temporary_path(path)
    try:
        if path.is_dir():
            raise ValueError(f"{name} must be a file, found the folder {path}")
        if not path.parent.is_dir():
            raise ValueError(f"{name} must lie in an existing folder, found {path}")
        temporary.open("xb").close()
        temporary.unlink()
    except OSError as error:
        raise ValueError(f"{name} cannot be written at {path}: {error.strerror}") from None


def temporary_path(path: Path) -> Path:
    """Return a name beside `path` that no other writer uses."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
