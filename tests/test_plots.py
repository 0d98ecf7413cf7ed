"""Pictures show the values that they are given, and what cannot be drawn or written is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet import Dataset, History, Standardization
from fnnet.checks import Array
from fnnet.data.preprocessing import Whitening
from fnnet.plots import (
    moving_average,
    plot_confusion,
    plot_history,
    plot_mistakes,
    plot_predictions,
    plot_search,
    plot_weights,
    softmax,
)
from fnnet.search.halving import Result
from fnnet.search.space import Choice, LogUniform, Range, Space, Uniform, sample
from tests.strategies import normal

FORMATS = {".pdf": b"%PDF-", ".png": b"\x89PNG\r\n\x1a\n", ".PNG": b"\x89PNG\r\n\x1a\n"}


def history(epochs: int = 3, steps: int = 4) -> History:
    losses = 1 + normal(0, (epochs * steps,)) ** 2
    return History(losses, np.full(epochs, 0.5), np.full(epochs, 0.25))


@pytest.mark.parametrize("ending", FORMATS)
def test_the_format_is_that_of_the_ending(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"plot{ending}"
    plot_history(history(), path)
    assert path.read_bytes().startswith(FORMATS[ending])
    assert path.stat().st_size > 5000
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("ending", [".pdf", ".png"])
def test_the_same_history_gives_the_same_bytes_and_another_one_others(
    tmp_path: Path, ending: str
) -> None:
    files = []
    for i, run in enumerate((history(), history(), history(epochs=4))):
        files.append(tmp_path / f"{i}{ending}")
        plot_history(run, str(files[-1]))
    first, second, other = (file.read_bytes() for file in files)
    assert first == second
    assert first != other


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("epochs", [1, 40])
def test_any_number_of_steps_and_epochs_is_drawn(tmp_path: Path, epochs: int, steps: int) -> None:
    plot_history(history(epochs, steps), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000


RANGES: dict[str, Range] = {
    "learning_rate": LogUniform(0.01, 1),
    "hidden_dim": Uniform(8, 64),
    "schedule": Choice(("constant", "linear")),
    "flip": Choice((True, False)),
}


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("diverged", [0, 1, 3])
def test_searches_are_drawn(tmp_path: Path, number: int, diverged: int) -> None:
    space = Space(dict([*RANGES.items()][:number]))
    settings = sample(space, 3, seed=0)
    results = [Result(0, 2, (0.25, 0.75)), Result(1, 2, (0.5, 0.5)), Result(2, 1, (0.25,))]
    results[3 - diverged :] = [
        Result(r.trial, r.epochs, r.val_accuracy[:-1], "diverged") for r in results[3 - diverged :]
    ]
    files = [tmp_path / name for name in ("a.png", "b.png", "c.pdf")]
    for file in files:
        plot_search(results, settings, space, file)
        assert file.read_bytes().startswith(FORMATS[file.suffix])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_losses_of_0_are_drawn(tmp_path: Path) -> None:
    plot_history(History(np.zeros(4), np.ones(1), np.ones(1)), tmp_path / "plot.png")


@pytest.mark.parametrize("ending", [".svg", "", ".pdf.gz"])
def test_another_format_is_refused_and_nothing_written(tmp_path: Path, ending: str) -> None:
    with pytest.raises(ValueError, match=r"path must end in \.pdf or \.png"):
        plot_history(history(), tmp_path / f"plot{ending}")
    assert [*tmp_path.iterdir()] == []


def test_an_empty_history_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="history must have at least one epoch"):
        plot_history(History(), tmp_path / "plot.pdf")
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_is_missing_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        plot_history(history(), tmp_path / "missing" / "plot.pdf")


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20), st.data())
def test_a_moving_average_is_the_mean_of_each_window(
    values: list[float], data: st.DataObject
) -> None:
    window = data.draw(st.integers(1, len(values)))
    found = moving_average(np.array(values), window)
    expected = [sum(values[i : i + window]) / window for i in range(len(values) - window + 1)]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_no_global_state_of_matplotlib_is_used(tmp_path: Path) -> None:
    plot_history(history(), tmp_path / "plot.png")
    assert "matplotlib.pyplot" not in sys.modules


@pytest.fixture
def dataset() -> Dataset:
    images = np.random.default_rng(0).integers(256, size=(30, 3, 8, 8), dtype=np.uint8)
    return Dataset(images, np.arange(30) % 3, ("cat", "dog", "emu"))


@pytest.mark.parametrize("kind", ["confusion", "mistakes", "predictions"])
def test_a_picture_of_the_predictions_depends_on_them(
    tmp_path: Path, dataset: Dataset, kind: str
) -> None:
    right = np.eye(3)[dataset.labels]
    pictures: list[bytes] = []
    for scores in (right, right, -right):
        path = tmp_path / f"{len(pictures)}.png"
        if kind == "confusion":
            plot_confusion(scores.argmax(axis=1), dataset, path)
        elif kind == "mistakes":
            plot_mistakes(scores, dataset, path)
        else:
            plot_predictions(scores, dataset, path)
        pictures.append(path.read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_whitened_weights_are_drawn_as_the_pixels_that_they_weigh(tmp_path: Path) -> None:
    # With one component for each pixel, whitened and plain weights look the same.
    w = normal(0, (12, 4))
    plot_weights(
        {"W1": w}, Standardization(np.zeros(12), np.ones(12)), (3, 2, 2), tmp_path / "a.png"
    )
    plot_weights({"W1": w}, Whitening(1, np.zeros(12), np.eye(12)), (3, 2, 2), tmp_path / "b.png")
    mixed = Whitening(1, np.zeros(12), np.roll(np.eye(12), 1, axis=0))
    plot_weights({"W1": w}, mixed, (3, 2, 2), tmp_path / "c.png")
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize("scores", [np.zeros((2, 3)), np.array([[1e30, -1e30, 0], [1, 2, 3]])])
def test_probabilities_are_finite_and_sum_to_1(scores: Array) -> None:
    np.testing.assert_allclose(softmax(scores).sum(axis=1), 1)
