"""Files that are either written whole or not at all."""

import contextlib
import glob
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PART = ".part"
STALE = 3600.0  # seconds after which the writer of a temporary file must have ended


@contextlib.contextmanager
def atomic_write(path: Path, previous: Path | None = None) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on success flush it to disk and rename it to `path`.

    Whatever happens, `path` holds its old content or the new one, whole. A process that
    is killed leaves its temporary file behind; a later write to `path` removes it once it
    is an hour old, so that no writer at work loses its own.

    Args:
        path: the file to write.
        previous: another name in the same folder, for what `path` holds until then.
    """
    temporary = temporary_path(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        now = temporary.stat().st_mtime  # by the clock that the other files' times are of
        if previous is not None:
            _also_name(path, previous)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    for part in path.parent.glob(f".{glob.escape(path.name)}.*{PART}"):
        with contextlib.suppress(OSError):  # another process was faster
            if now - part.stat().st_mtime > STALE:
                part.unlink()
    if os.name == "posix":  # the rename is on disk once the folder is
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _also_name(path: Path, previous: Path) -> None:
    """Let `previous` be a second name of the file at `path`, if there is one."""
    temporary = temporary_path(path)
    try:
        os.link(path, temporary)
        temporary.replace(previous)
    except OSError:  # no file yet, or a file system without links: then `path` is gone a moment
        with contextlib.suppress(FileNotFoundError):
            path.replace(previous)
    finally:  # it is still there if `previous` was a name of the same file already
        temporary.unlink(missing_ok=True)


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
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}{PART}")
