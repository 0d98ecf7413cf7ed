"""Files that are either written whole or not at all."""

import contextlib
import errno
import glob
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

PART = ".part"
STALE = 3600.0  # seconds after which the writer of a temporary file must have ended


@contextlib.contextmanager
def atomic_write(path: Path, previous: Path | None = None) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on success flush it to disk and rename it to `path`.

    Whatever happens, `path` holds its old content or the new one, whole. (With `previous`
    and a file system without hard links, `path` is missing for a moment.) A process that is
    killed leaves its temporary file behind; a later write to `path` removes it after an hour.

    Args:
        path: the file to write.
        previous: another name in the same folder, for what `path` holds until then.
    """
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "not a regular file", str(path))
    temporary = temporary_path(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        now = temporary.stat().st_mtime  # the file system's clock, as for the other files
        if previous is not None:
            _also_name(path, previous)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            reason = error.strerror or str(error)
            raise OSError(error.errno or errno.EIO, reason, str(path)) from error
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
    except OSError:  # no file yet, or a file system without links: `path` is gone for a moment
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
        if path.exists() and not path.is_file():
            raise ValueError(f"{name} must be a regular file, found a device or pipe at {path}")
        if not path.parent.is_dir():
            raise ValueError(f"{name} must lie in an existing folder, found {path}")
        temporary.open("xb").close()
        temporary.unlink()
    except OSError as error:
        raise ValueError(f"{name} cannot be written at {path}: {error.strerror}") from None


def move_to_new(path: Path, new: Path) -> None:
    """Rename a file to a name that nothing has yet.

    Raises:
        FileExistsError: something has the new name.
    """
    try:
        os.link(path, new, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if new.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(new)) from None
        path.rename(new)
    else:
        path.unlink()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other programs of this package on this machine from writing to `path`.

    The lock is a file in the folder of temporary files. A process that is killed may leave the
    file, but not the lock. Where the system has no such locks, nothing is locked.

    Raises:
        ValueError: another program holds the lock.
    """
    name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:24]
    lock = Path(tempfile.gettempdir()) / f"fnnet-{name}.lock"
    file = _lock(path, lock)
    try:
        yield
    finally:
        if file is not None:
            lock.unlink(missing_ok=True)
            file.close()


def _lock(path: Path, lock: Path) -> BinaryIO | None:
    """Return the locked file, or None where it cannot be locked."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    while True:
        try:
            file = lock.open("ab")
        except OSError:  # another user's, or no room
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_ino == lock.stat().st_ino:
                return file
        except BlockingIOError:
            file.close()
            raise ValueError(
                f"{path} is in use by another program: wait until it has ended"
            ) from None
        except FileNotFoundError:
            pass  # another program removed it meanwhile
        except OSError:  # a file system without locks
            file.close()
            return None
        file.close()


def same_place(a: Path, b: Path) -> bool:
    """Tell whether two paths name the same file, there or not."""
    return os.path.realpath(a.expanduser()) == os.path.realpath(b.expanduser())


def home(value: Any) -> Any:
    """Return a path with ~ replaced by the home folder; what is not a path stays as it is."""
    if not isinstance(value, str | Path):
        return value
    with contextlib.suppress(RuntimeError):  # a user that is not known
        return Path(value).expanduser()
    return Path(value)


def temporary_path(path: Path) -> Path:
    """Return a name beside `path` that no other writer uses."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}{PART}")
