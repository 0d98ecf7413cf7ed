"""A file is replaced as a whole or not at all, whatever fails while it is written."""

import os
import subprocess
import sys
from pathlib import Path

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


def no_links(*_: object) -> None:
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


def test_a_lock_keeps_others_out_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    with locked(path):
        with pytest.raises(ValueError, match=r"c\.npz is in use by another program"), locked(path):
            pass
        with locked(tmp_path / "other.npz"):
            pass
        link = tmp_path / "link.npz"
        link.symlink_to(path)
        with pytest.raises(ValueError, match="in use"), locked(link):
            pass
    with pytest.raises(ZeroDivisionError), locked(path):
        raise ZeroDivisionError
    with locked(path):
        pass
    assert {p.name for p in tmp_path.iterdir()} == {"link.npz"}


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    program = (
        "import sys, time; from pathlib import Path; from fnnet.files import locked\n"
        "with locked(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(ValueError, match="in use"), locked(path):
            pass
        process.kill()
    with locked(path):
        pass


def test_a_file_moves_to_a_free_name_only(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    with pytest.raises(FileExistsError):
        move_to_new(one, two)
    assert (one.read_text(), two.read_text()) == ("1", "2")
    move_to_new(one, tmp_path / "three")
    assert (tmp_path / "three").read_text() == "1"
    assert not one.exists()


@pytest.mark.skipif(os.name != "posix", reason="pipes and links of POSIX")
def test_what_is_not_a_regular_file_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.npz"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="a must be a regular file, found a device or pipe"):
        check_writable("a", pipe)
    with pytest.raises(OSError, match="not a regular file"), atomic_write(pipe) as file:
        file.write(b"x")
    assert pipe.is_fifo()
    assert [*tmp_path.iterdir()] == [pipe]


def test_two_names_of_a_file_are_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to("here")
    for a, b in (("b.png", "here/../b.png"), ("here/x", "link/x"), ("~/x", "x")):
        assert same_place(Path(a), Path(b))
    assert not same_place(Path("here/x"), Path("x"))
    assert home("~/x") == tmp_path / "x"
    assert home(None) is None
