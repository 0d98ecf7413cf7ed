"""What `fnnet predict` prints, in three forms, and what it cannot classify."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from PIL import Image

from fnnet import save_checkpoint
from tests.programs import inside
from tests.runs.test_checkpoint import make

CHECKPOINT = make()  # of images of 2 x 3 pixels and the classes cat, dog and ünïcode
PROBABILITIES = np.array([[0.75, 0.125, 0.0], [0.0625, 0.375, 0.5], [0.125, 0.25, 0.5]])
TEXT = """a.npz[0]         cat 75.0%  (dog 12.5%)
a.npz[1]         ünïcode 50.0%  (dog 37.5%)
d/deep/long.PNG  ünïcode 50.0%  (dog 25.0%)
"""
CSV = """file,class,probability,runner_up,runner_up_probability
a.npz[0],cat,0.75,dog,0.125
a.npz[1],ünïcode,0.5,dog,0.375
d/deep/long.PNG,ünïcode,0.5,dog,0.25
"""
JSON = """[
  {
    "file": "a.npz[0]",
    "label": "cat",
    "probability": 0.75,
    "runner_up": "dog",
    "runner_up_probability": 0.125
  },
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a checkpoint and three images, whose probabilities are known."""
    save_checkpoint(tmp_path / "checkpoint.npz", CHECKPOINT)
    images: Any = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.savez(tmp_path / "a.npz", images=images)
    (tmp_path / "d" / "deep").mkdir(parents=True)
    (tmp_path / "d" / "picture.png").mkdir()
    (tmp_path / "d" / "notes.txt").write_text("hello")
    Image.fromarray(images[0] + 100).save(tmp_path / "d" / "deep" / "long.PNG")

    def classify(checkpoint: Any, found: Any, watch: Any) -> Any:
        assert [*watch([0])] == [0]
        assert np.array_equal(found, np.concatenate([images, images[:1] + 100])[: len(found)])
        return np.array([0, 2, 2])[: len(found)], PROBABILITIES[: len(found)]

    monkeypatch.setattr("fnnet.commands.predict.classify", classify)
    return tmp_path


def test_predictions_are_printed_in_three_forms(folder: Path) -> None:
    for flags, wanted in (([], TEXT), (["--csv"], CSV)):
        done = inside(folder, "predict", "a.npz", "d", *flags)
        assert (done.returncode, done.stdout, done.stderr) == (0, wanted, "")
    done = inside(folder, "predict", "a.npz", "d", "--json", terminal=True)
    assert done.stdout.startswith(JSON)
    assert "ünïcode" in done.stdout
    assert len(json.loads(done.stdout)) == 3
    assert all(f"\r{name}: " in done.stderr for name in ("reading", "classifying"))
    assert done.stderr.endswith("\r")  # the bars are wiped off


def test_an_ending_may_be_written_in_capitals(folder: Path) -> None:
    (folder / "a.npz").rename(folder / "A.NPZ")
    done = inside(folder, "predict", "A.NPZ", "--csv")
    assert [line.split(",")[0] for line in done.stdout.splitlines()] == [
        "file", "A.NPZ[0]", "A.NPZ[1]"
    ]  # fmt: skip


def test_a_model_of_features_takes_no_picture(folder: Path) -> None:
    for shape, message in (
        ((6,), "d/deep/long.PNG must be an .npz file: the model was trained on 6 features"),
        (None, "d/deep/long.PNG cannot be resized: the model does not say what it was trained on"),
    ):
        of_features = evolve(CHECKPOINT.preprocessing, shape=shape)
        save_checkpoint(folder / "b.npz", evolve(CHECKPOINT, preprocessing=of_features))
        done = inside(folder, "predict", "d", "--checkpoint-file", "b.npz")
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {message}\n")
    done = inside(folder, "predict", "a.npz", "--checkpoint-file", "b.npz")
    assert (done.returncode, done.stdout) == (0, TEXT[: TEXT.index("d/")].replace("       ", ""))


def test_what_is_asked_for_in_vain_is_named(folder: Path) -> None:
    np.savez(folder / "wide.npz", images=np.zeros((1, 3, 3), np.uint8))
    for args, code, message in (
        (["wide.npz"], 1, "wide.npz must hold examples of shape (2, 3), found (3, 3)"),
        ([], 2, "files must name a picture, a folder or an .npz file, found none"),
        (["a.npz", "--csv", "--json"], 2, "csv and json must not both be asked for"),
    ):
        done = inside(folder, "predict", *args)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr == f"error: {message}\n"
    done = inside(folder, "predict", "wide.npz", terminal=True)
    assert "\rerror: wide.npz must" in done.stderr  # the bar is wiped off
    for program in (["predict", "a.npz"], ["test"]):
        done = inside(folder, *program, "--checkpoint-file", ".")
        assert done.stderr.startswith("error: checkpoint_file must be the name of a file")
