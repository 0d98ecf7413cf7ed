import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet import History
from fnnet.plots import moving_average, plot_history
from tests.strategies import normal

FORMATS = {".pdf": b"%PDF-", ".png": b"\x89PNG\r\n\x1a\n", ".PNG": b"\x89PNG\r\n\x1a\n"}


def history(epochs: int = 3, steps: int = 4) -> History:
    losses = 1 + normal(0, (epochs * steps,)) ** 2
    return History(losses, (0.5,) * epochs, (0.25,) * epochs)


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


def test_losses_of_0_are_drawn(tmp_path: Path) -> None:
    plot_history(History(np.zeros(4), (1.0,), (1.0,)), tmp_path / "plot.png")


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
