"""A file is replaced as a whole or not at all, moved without a loss, and locked by one program."""

import errno
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from fnnet.files import (
    atomic_write,
    check_writable,
    home,
    locked,
    move_to_new,
    same_place,
    temporary_path,
)


def test_a_file_is_replaced_as_a_whole_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [b"old", None])
def test_a_failure_keeps_the_old_file_and_leaves_nothing_behind(
    tmp_path: Path, error: type[BaseException], old: bytes | None
) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b"half of the n")
        raise error
    assert (path.read_bytes() if old is not None else None) == old
    assert [*tmp_path.iterdir()] == [path] * (old is not None)


def test_a_file_is_on_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "file", []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(path.exists())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with atomic_write(path) as file:
        file.write(b"new")
    assert synced[0] is False


@pytest.mark.skipif(os.name != "posix", reason="opens a folder")
def test_the_folder_is_on_disk_after_the_file_got_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    synced: list[tuple[bool, bytes]] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        is_folder = os.path.samestat(os.fstat(descriptor), tmp_path.stat())
        synced.append((is_folder, path.read_bytes()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with atomic_write(path) as file:
        file.write(b"new")
    assert synced == [(False, b"old"), (True, b"new")]


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as first:
        first.write(b"first")
        with atomic_write(path) as second:
            second.write(b"second")
    assert path.read_bytes() == b"first"
    assert [*tmp_path.iterdir()] == [path]


def test_a_writable_file_passes_and_is_not_made(tmp_path: Path) -> None:
    check_writable("plot_file", tmp_path / "plot.pdf")
    assert [*tmp_path.iterdir()] == []
    (tmp_path / "plot.pdf").write_bytes(b"old")
    check_writable("plot_file", tmp_path / "plot.pdf")
    assert (tmp_path / "plot.pdf").read_bytes() == b"old"


@pytest.mark.parametrize("path", ["missing/plot.pdf", "", "file/plot.pdf"])
def test_what_cannot_be_written_is_refused_by_name(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="plot_file must"):
        check_writable("plot_file", tmp_path / path)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder root cannot write")
def test_a_folder_without_permission_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"plot_file cannot be written at /proc/plot\.pdf"):
        check_writable("plot_file", Path("/proc/plot.pdf"))


@pytest.mark.parametrize("length", [200, 235, 250, 255, 300])
def test_what_passes_the_check_can_be_written(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("p" * (length - 4) + ".pdf")
    try:
        check_writable("plot_file", path)
    except ValueError as error:
        assert "plot_file" in str(error)
        return
    with atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def write(path: Path, content: bytes, previous: Path | None = None) -> None:
    with atomic_write(path, previous) as file:
        file.write(content)


def no_links(*_: object, **__: object) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False])
def test_the_old_content_keeps_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path, previous = tmp_path / "file", tmp_path / "previous"
    write(path, b"0", previous)
    assert [*tmp_path.iterdir()] == [path]
    for i in range(1, 4):
        write(path, b"%d" % i, previous)
        assert (path.read_bytes(), previous.read_bytes()) == (b"%d" % i, b"%d" % (i - 1))
        assert {*tmp_path.iterdir()} == {path, previous}


def test_two_names_of_one_file_become_two_files(tmp_path: Path) -> None:
    path, previous = tmp_path / "file", tmp_path / "previous"
    path.write_bytes(b"old")
    os.link(path, previous)  # as a process leaves them that is killed between two renames
    write(path, b"new", previous)
    assert (path.read_bytes(), previous.read_bytes()) == (b"new", b"old")
    assert {*tmp_path.iterdir()} == {path, previous}


def test_a_failure_keeps_both_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, previous = tmp_path / "file", tmp_path / "previous"
    write(path, b"1", previous)
    write(path, b"2", previous)
    monkeypatch.setattr(os, "fsync", no_links)
    with pytest.raises(PermissionError):
        write(path, b"3", previous)
    assert (path.read_bytes(), previous.read_bytes()) == (b"2", b"1")
    assert {*tmp_path.iterdir()} == {path, previous}


@pytest.mark.parametrize("name", ["file", "[f]*?"])
def test_what_a_killed_writer_left_is_removed_after_an_hour(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    old, young, foreign = (
        temporary_path(p) for p in (path, path, path.with_name("f.another.file"))
    )
    for part, age in ((old, 3700), (young, 3500), (foreign, 3700)):
        part.write_bytes(b"half")
        then = part.stat().st_mtime - age
        os.utime(part, (then, then))
    write(path, b"new")
    assert {*tmp_path.iterdir()} == {path, young, foreign}


@pytest.mark.skipif(os.name != "posix", reason="makes a pipe")
def test_pipes_and_devices_are_refused_by_name(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link, Path("/dev/null")):
        with pytest.raises(ValueError, match=f"log_file must be a regular file.* at {path}"):
            check_writable("log_file", path)
    assert {*tmp_path.iterdir()} == {pipe, link}


@pytest.mark.parametrize("links", [True, False])
def test_a_file_moves_to_a_new_name_and_never_onto_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path, new = tmp_path / "file", tmp_path / "new"
    path.write_bytes(b"mine")
    move_to_new(path, new)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"new": b"mine"}
    path.write_bytes(b"next")
    with pytest.raises(FileExistsError) as caught:
        move_to_new(path, new)
    assert str(new) in str(caught.value)
    assert caught.value.strerror == os.strerror(errno.EEXIST)
    assert (path.read_bytes(), new.read_bytes()) == (b"next", b"mine")
    with pytest.raises(FileNotFoundError):
        move_to_new(tmp_path / "missing", tmp_path / "other")


@pytest.mark.skipif(os.name != "posix", reason="makes a symbolic link")
def test_a_symbolic_link_is_moved_itself(tmp_path: Path) -> None:
    target, path, new = (tmp_path / name for name in ("target", "file", "new"))
    target.write_bytes(b"there")
    path.symlink_to(target)
    move_to_new(path, new)
    assert new.is_symlink()
    assert new.read_bytes() == target.read_bytes() == b"there"
    assert not path.is_symlink()


# Locks.

needs_locks = pytest.mark.skipif(os.name != "posix", reason="the system has no such locks")
HOLD = """
import pathlib, sys
from fnnet.files import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, an empty one."""
    folder = tmp_path / "locks"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@contextmanager
def another_program(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Hold the lock in another process."""
    words = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"held\n"
        yield program


@needs_locks
def test_a_lock_keeps_other_programs_out_by_whatever_name(tmp_path: Path, locks: Path) -> None:
    path = tmp_path / "c.npz"
    (tmp_path / "link").symlink_to(tmp_path)
    with another_program(path):
        for name in (path, tmp_path / "link" / "c.npz", tmp_path / "locks" / ".." / "c.npz"):
            with pytest.raises(ValueError, match=r"c\.npz is in use by another program"):
                locked(name).__enter__()
        with locked(tmp_path / "d.npz"):
            pass  # another file is free
    with locked(path):
        pass
    assert {*tmp_path.iterdir()} == {locks, tmp_path / "link"}
    assert [*locks.iterdir()] == []


@needs_locks
def test_a_killed_program_leaves_no_lock(tmp_path: Path, locks: Path) -> None:
    path = tmp_path / "c.npz"
    with another_program(path) as program:
        program.kill()
        program.wait()
        assert len([*locks.iterdir()]) == 1  # its file, but not its lock
        with locked(path), pytest.raises(ValueError, match="in use"), locked(path):
            pass
    assert [*locks.iterdir()] == []


@needs_locks
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_lock_is_released_after_an_error(
    tmp_path: Path, locks: Path, error: type[BaseException]
) -> None:
    for _ in range(2):
        with pytest.raises(error), locked(tmp_path / "c.npz"):
            raise error
        assert [*locks.iterdir()] == []


@needs_locks
def test_no_two_hold_a_lock_at_once(tmp_path: Path, locks: Path) -> None:
    inside, most, taken = 0, 0, 0

    def take_often() -> None:
        nonlocal inside, most, taken
        for _ in range(300):
            with suppress(ValueError), locked(tmp_path / "c.npz"):
                inside += 1
                most = max(most, inside)
                taken += 1
                inside -= 1

    threads = [threading.Thread(target=take_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)
    assert taken >= 300
    assert [*locks.iterdir()] == []


@needs_locks
def test_a_lock_that_was_replaced_while_it_was_taken_is_not_a_lock(
    tmp_path: Path, locks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    flock = fcntl.flock
    held: list[BinaryIO] = []

    def late(descriptor: int, how: int) -> None:
        flock(descriptor, how)
        if not held:  # the first file is released by its owner, and a third program makes another
            [file] = locks.iterdir()
            file.unlink()
            held.append(file.open("ab"))
            flock(held[0].fileno(), how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(ValueError, match="in use"), locked(tmp_path / "c.npz"):
        pass
    held[0].close()
    with locked(tmp_path / "c.npz"):
        pass


def test_without_a_folder_for_locks_nothing_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with locked(tmp_path / "c.npz"), locked(tmp_path / "c.npz"):
        pass
    assert [*tmp_path.iterdir()] == []


# Names of files.


@pytest.mark.skipif(os.name != "posix", reason="makes a symbolic link")
def test_one_place_may_have_several_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path)
    names: list[str | Path] = ["a", "./a", "link/a", "link/./link/a", "~/a", tmp_path / "a"]
    assert all(same_place(Path(a), Path(b)) for a in names for b in names)
    assert not any(same_place(Path(name), Path("b")) for name in names)


def test_the_home_folder_has_a_short_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    values: list[Any] = ["~/runs", Path("~/runs"), "a/~", "runs", None, 3]
    found = [home(value) for value in values]
    assert found == [tmp_path / "runs", tmp_path / "runs", Path("a/~"), Path("runs"), None, 3]


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.npz"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not a regular file"), atomic_write(pipe) as file:
        file.write(b"x")
    assert pipe.is_fifo()
    assert [*tmp_path.iterdir()] == [pipe]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("12 of 20")])
def test_a_failed_write_names_its_file(tmp_path: Path, error: OSError) -> None:
    path = tmp_path / "file"
    with pytest.raises(OSError, match=str(error.args[-1])) as caught, atomic_write(path):
        raise error
    assert caught.value.filename == str(path)
    assert [*tmp_path.iterdir()] == []
