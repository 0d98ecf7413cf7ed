"""`fnnet test` uses the test set once, and counts what is right by class."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from fnnet import Dataset, load_checkpoint, save_checkpoint
from tests.programs import inside
from tests.runs.test_checkpoint import make

TEXT = """test accuracy 60.00% of 5 examples
  cat          66.67% of 3
  dog          50.00% of 2
  ünïcode      none of 0
"""
JSON = """{
  "checkpoint_file": "checkpoint.best.npz",
  "test_accuracy": 0.6,
  "examples": 5,
  "classes": {
    "cat": {
      "right": 2,
      "examples": 3
    },
    "dog": {
      "right": 1,
      "examples": 2
    },
    "ünïcode": {
      "right": 0,
      "examples": 0
    }
  }
}
"""
FILES = ("checkpoint.npz", "checkpoint.previous.npz", "checkpoint.best.npz")
USED = (
    "error: the test set has been used for this run: {} notes it{}; "
    "--again evaluates it once more\n"
)


class Fakes:
    """A test set and its scores, and what the program asked for."""

    test = Dataset(
        np.arange(30, dtype=np.uint8).reshape(5, 2, 3),
        np.array([0, 0, 0, 1, 1]),
        ("cat", "dog", "ünïcode"),
    )
    scores = np.eye(3)[[0, 0, 2, 1, 0]]

    def __init__(self) -> None:
        self.configs: list[Any] = []
        self.reports: list[Any] = []

    def load_dataset(self, config: Any) -> Any:
        self.configs.append(config)
        return self.test, self.test

    def scores_of(self, checkpoint: Any, test: Dataset, watch: Any) -> Any:
        assert test is self.test
        assert [*watch([0])] == [0]
        return self.scores

    def write_report(self, folder: Path, checkpoint: Any, scored: Any) -> str:
        self.reports.append((folder, scored))
        return "wrote a.png"


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    fakes = Fakes()
    for name in ("load_dataset", "scores_of", "write_report"):
        monkeypatch.setattr(f"fnnet.commands.test.{name}", getattr(fakes, name))
    monkeypatch.setattr("fnnet.commands.test.split_parts", lambda config, rest: (rest, rest))
    monkeypatch.setattr("fnnet.commands.test.check_same_data", lambda *args: None)
    return fakes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the three files of a run."""
    for name in FILES:
        save_checkpoint(tmp_path / name, make())
    return tmp_path


def test_the_test_set_is_used_once_for_all_files_of_a_run(folder: Path, fakes: Fakes) -> None:
    save_checkpoint(folder / "checkpoint.previous.npz", make(seed=1))  # of another run
    done = inside(folder, "test", terminal=True)
    assert (done.returncode, done.stdout) == (0, TEXT)
    assert "\rviews:" in done.stderr
    noted = [load_checkpoint(folder / name) for name in FILES]
    assert [c.test_set_used for c in noted] == [True, False, True]
    assert [c.test_accuracy for c in noted] == [None, None, 0.6]
    for flags, told in (
        ([], ("checkpoint.best.npz", ", with an accuracy of 60.00%")),
        (["--checkpoint-file", "checkpoint.npz"], ("checkpoint.npz", "")),
    ):
        done = inside(folder, "test", *flags)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", USED.format(*told))
    done = inside(folder, "test", "--again", "--json")
    assert (done.returncode, done.stdout) == (0, JSON)


def test_the_flags_say_where_the_data_and_the_report_are(
    folder: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    config = load_checkpoint(folder / "checkpoint.npz").config
    for flags, changes in (
        ([], {}),
        (["--dataset", "a.npz"], {"dataset": "a.npz"}),
        (["--data-dir", "there"], {"data_dir": Path("there")}),
    ):
        done = inside(folder, "test", "--again", "--report", "~/new/deep", *flags)
        assert (done.returncode, done.stdout) == (0, f"{TEXT}wrote a.png\n")
        assert fakes.configs.pop() == evolve(config, **changes)
        report, (scores, test) = fakes.reports.pop()
        assert report == folder / "new" / "deep"
        assert report.is_dir()
        assert (scores is fakes.scores, test is fakes.test) == (True, True)
