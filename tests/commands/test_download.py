"""`fnnet download` uses what is there, what it is given, or the network, and says so."""

from pathlib import Path
from typing import Any

import pytest

from tests.programs import ENVIRONMENT, inside

HERE = Path(ENVIRONMENT["FNNET_DATA_DIR"])


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the program does: the names of the functions that it calls, with their arguments."""
    done: list[tuple[Any, ...]] = []
    for name in ("fetch", "copy", "unpack", "load_cifar10"):
        monkeypatch.setattr(
            f"fnnet.commands.download.{name}", lambda *args, name=name: done.append((name, *args))
        )
    monkeypatch.setattr("fnnet.commands.download.is_complete", lambda folder: bool(done))
    return done


def test_the_data_are_fetched_once(tmp_path: Path, done: list[tuple[Any, ...]]) -> None:
    first, second = (inside(tmp_path, "download") for _ in range(2))
    assert (first.returncode, first.stdout) == (0, f"CIFAR-10 is now in {HERE}\n")
    assert (second.returncode, second.stdout) == (0, f"CIFAR-10 is already in {HERE}\n")
    assert done == [("fetch", HERE), ("load_cifar10", HERE)]


@pytest.mark.parametrize("source", ["folder", "archive.tar.gz"])
def test_a_source_is_copied_or_unpacked(
    source: str, tmp_path: Path, done: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "folder").mkdir()
    shown = inside(tmp_path, "download", "--source", f"~/{source}", "--data-dir", "~/there")
    there = tmp_path / "there"
    assert (shown.returncode, shown.stdout) == (0, f"CIFAR-10 is now in {there}\n")
    name = "copy" if source == "folder" else "unpack"
    assert done == [(name, tmp_path / source, there), ("load_cifar10", there)]
