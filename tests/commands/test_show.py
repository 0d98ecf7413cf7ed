"""What `fnnet show` prints of a checkpoint, and what it draws of which data."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import asdict, evolve

from fnnet import Dataset, History, save_checkpoint
from fnnet.runs.classify import scores_of
from tests.programs import inside
from tests.runs.test_checkpoint import make

CHECKPOINT = evolve(
    make(),
    history=History(
        losses=np.array([4.0, 3.0, 2.0, 1.23456]),
        train_accuracy=np.array([0.25, 0.5]),
        val_accuracy=np.array([0.75, 0.625]),
        data_losses=np.array([3.0, 2.0, 1.0, 0.5]),
        val_loss=np.array([1.5, np.nan]),
    ),
)
SHOWN = """training
  epochs               2
  steps                4
  class names          cat, dog, ünïcode
  shape of an example  (2, 3)
  last loss            1.2346
  train accuracy       50.00%
  validation accuracy  62.50%
  best accuracy        75.00%
  best epoch           1
  test accuracy        None
  test set used        False
parameters
  W1                   float32 (6, 4)
  b1                   float32 (4,)
  W2                   float32 (4, 3)
  b2                   float32 (3,)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the checkpoint."""
    save_checkpoint(tmp_path / "checkpoint.npz", CHECKPOINT)
    return tmp_path


def test_a_checkpoint_is_shown_in_four_parts(folder: Path) -> None:
    done = inside(folder, "show")
    assert done.stdout.startswith("settings\n  dataset              digits\n")
    assert "\nprovenance\n" in done.stdout
    assert done.stdout.endswith(SHOWN)


def test_a_checkpoint_as_json_has_its_history(folder: Path) -> None:
    text = inside(folder, "show", "--json").stdout
    shown = json.loads(text)
    assert "ünïcode" in text  # as it is written, not as an escape
    assert [*shown] == ["settings", "provenance", "training", "parameters", "history"]
    assert shown["training"] == {
        "epochs": 2, "steps": 4, "class names": ["cat", "dog", "ünïcode"],
        "shape of an example": [2, 3], "last loss": 1.23456, "train accuracy": 0.5,
        "validation accuracy": 0.625, "best accuracy": 0.75, "best epoch": 1,
        "test accuracy": None, "test set used": False,
    }  # fmt: skip
    assert shown["parameters"]["W2"] == "float32 (4, 3)"
    assert shown["history"]["losses"] == [4.0, 3.0, 2.0, 1.23456]
    assert shown["history"]["val_loss"] == [1.5, None]  # JSON has no NaN


@pytest.mark.parametrize(
    "changes", [{}, {"dataset": "moved.npz"}, {"dataset": "cifar10", "data_dir": Path("there")}]
)
def test_the_pictures_are_of_the_data_that_are_there(
    changes: dict[str, Any], folder: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    val = evolve(dataset, class_names=("cat", "dog", "ünïcode"))
    asked: list[Any] = []
    drawn: list[Any] = []

    def load_parts(config: Any) -> Any:
        asked.append(config)
        if len(asked) > 1:
            raise ValueError("no\x1bdata")
        return dataset, val

    def write_report(*args: Any) -> str:
        drawn.append(args)
        return "wrote a.png"

    monkeypatch.setattr("fnnet.commands.show.load_parts", load_parts)
    monkeypatch.setattr("fnnet.commands.show.check_same_data", lambda *args: None)
    monkeypatch.setattr("fnnet.commands.show.write_report", write_report)
    monkeypatch.setenv("HOME", str(folder))
    flags = [w for k, v in changes.items() for w in (f"--{k.replace('_', '-')}", v)]
    first, second = (inside(folder, "show", "--report", "~/r", *flags) for _ in range(2))
    assert first.stdout == "predictions for the 40 validation examples\nwrote a.png\n"
    assert first.stderr == ""
    assert second.stdout == "wrote a.png\n"
    assert second.stderr == "pictures of predictions need the data: no\\x1bdata\n"
    assert asked == [evolve(CHECKPOINT.config, **changes)] * 2
    (scores, of), nothing = drawn[0][2], drawn[1][2]
    assert np.array_equal(scores, scores_of(CHECKPOINT, val))
    assert (of is val, nothing) == (True, None)
    assert [path for path, *_ in drawn] == [folder / "r"] * 2
    assert asdict(drawn[0][1].config) == asdict(CHECKPOINT.config)
