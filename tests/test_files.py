import os
from pathlib import Path

import pytest

from fnnet.files import atomic_write, check_writable


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
