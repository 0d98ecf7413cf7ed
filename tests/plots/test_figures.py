"""Every picture has the same bytes each time, and a failed write keeps the old file."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from fnnet import Dataset, History, Standardization
from fnnet.checks import Array
from fnnet.plots import (
    plot_confusion,
    plot_history,
    plot_mistakes,
    plot_predictions,
    plot_weights,
    save,
)
from fnnet.plots.search import plot_search
from fnnet.search import Choice, Space
from fnnet.search.halving import Result
from tests.plots.drawn import pixels
from tests.strategies import normal

FORMATS = {".pdf": b"%PDF-", ".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".PNG": b"\x89PNG"}
LABELS = np.arange(4) % 2
DATASET = Dataset(
    np.arange(24, dtype=np.uint8).reshape(4, 2, 3), LABELS, ("Ba$$in", "Pea$ and Bean$")
)
SCORES = normal(0, (4, 2))
HISTORY = History(np.linspace(2, 1, 6), np.array([0.5, 0.75]), np.array([0.5, 0.25]))

PICTURES: dict[str, Callable[[], Figure]] = {
    "history": lambda: plot_history(HISTORY),
    "confusion": lambda: plot_confusion(SCORES.argmax(axis=1), DATASET),
    "mistakes": lambda: plot_mistakes(SCORES, DATASET),
    "predictions": lambda: plot_predictions(SCORES, DATASET),
    "weights": lambda: plot_weights(
        {"W1": normal(1, (6, 3))}, Standardization(np.zeros(6), np.full(6, 9.0)), (2, 3)
    ),
    "search": lambda: plot_search(
        [Result(0, 2, (0.25, 0.75)), Result(1, 1, (0.5,))],
        [{"momentum": 0.5}, {"momentum": 0.9}],
        Space({"momentum": Choice((0.5, 0.9))}),
    ),
}


@pytest.mark.parametrize("ending", FORMATS)
def test_the_format_is_that_of_the_ending(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"plot{ending}"
    save(plot_history(HISTORY), str(path))
    assert path.read_bytes().startswith(FORMATS[ending])
    assert path.stat().st_size > 5000
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("ending", [".pdf", ".png", ".svg"])
@pytest.mark.parametrize("kind", PICTURES)
def test_the_same_values_give_the_same_bytes(tmp_path: Path, kind: str, ending: str) -> None:
    figure, path = PICTURES[kind](), tmp_path / f"plot{ending}"
    save(figure, path)
    first = path.read_bytes()
    save(PICTURES[kind](), path)
    assert path.read_bytes() == first
    save(figure, path)  # the same figure once more
    assert path.read_bytes() == first


def test_another_process_writes_the_same_bytes_at_another_time(tmp_path: Path) -> None:
    code = (
        "from tests.plots.test_figures import PICTURES, save\n"
        "for ending in ('pdf', 'png', 'svg'):\n"
        "    save(PICTURES['search'](), f'{ending}.{ending}')"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "86400"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    for ending in ("pdf", "png", "svg"):
        save(PICTURES["search"](), tmp_path / f"here.{ending}")
        other = tmp_path / f"{ending}.{ending}"
        assert (tmp_path / f"here.{ending}").read_bytes() == other.read_bytes()


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_writes_nothing_and_leaves_matplotlib_alone(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = mpl.rcParams.copy()  # dict() would import pyplot to find out its backend
    with np.errstate(all="raise"):
        figure = PICTURES[kind]()
    assert isinstance(figure, Figure)
    assert [*tmp_path.iterdir()] == []
    save(figure, "a.svg")
    assert mpl.rcParams.copy() == settings
    assert "matplotlib.pyplot" not in sys.modules


def test_the_library_and_training_do_not_need_matplotlib() -> None:
    code = "import sys, fnnet, fnnet.runs.run; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_pictures_of_a_run_do_not_import_the_search() -> None:
    # fnnet itself imports the search: what counts is what the modules import.
    for path in (Path(__file__).parents[2] / "fnnet" / "plots").glob("*.py"):
        imports = [line for line in path.read_text().splitlines() if "import" in line]
        used = any("fnnet.search" in line for line in imports)
        assert used == (path.name in ("search.py", "comparison.py")), path


def test_only_the_package_of_pictures_imports_matplotlib() -> None:
    package = Path(__file__).parents[2] / "fnnet"
    users = {
        path.relative_to(package).parts[0]
        for path in package.rglob("*.py")
        if "import matplotlib" in path.read_text() or "from matplotlib" in path.read_text()
    }
    assert users == {"plots"}


@pytest.mark.parametrize("ending", [".gif", "", ".pdf.gz", ".jpg"])
def test_another_ending_is_refused_by_name_and_nothing_written(tmp_path: Path, ending: str) -> None:
    with pytest.raises(ValueError, match=r"^path must end in \.pdf, \.png or \.svg, found .*plot"):
        save(plot_history(HISTORY), tmp_path / f"plot{ending}")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("figure", [None, "plot.png", HISTORY, Figure])
def test_anything_but_a_figure_is_refused_by_name(tmp_path: Path, figure: Any) -> None:
    with pytest.raises(TypeError, match=r"^figure must be a Figure, found"):
        save(figure, tmp_path / "plot.png")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("path", [None, 3, b"plot.png"])
def test_anything_but_a_path_is_refused_by_name(path: Any) -> None:
    with pytest.raises(TypeError, match=r"^path must be a path, found"):
        save(Figure(), path)


def test_a_folder_that_is_missing_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        save(Figure(), tmp_path / "missing" / "plot.pdf")


def test_a_figure_that_cannot_be_drawn_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    path.write_bytes(b"old")
    figure = Figure()
    figure.text(0.5, 0.5, "$\\nonsense$")
    with pytest.raises(ValueError, match="nonsense"):
        save(figure, path)
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    save(Figure(), "~/plot.png")
    assert (tmp_path / "plot.png").exists()
    with pytest.raises(ValueError, match=r"^path begins with a home folder that is not known"):
        save(Figure(), "~no_such_user_here/plot.png")


@pytest.mark.parametrize("kind", ["confusion", "mistakes", "predictions"])
def test_class_names_are_drawn_as_they_are_written(kind: str, tmp_path: Path) -> None:
    def names(first: str, second: str) -> Dataset:
        return Dataset(DATASET.images, LABELS, (first, second))

    def picture(dataset: Dataset) -> Figure:
        wrong: Array = -np.eye(2)[LABELS]
        if kind == "confusion":
            return plot_confusion(wrong.argmax(axis=1), dataset)
        return (plot_mistakes if kind == "mistakes" else plot_predictions)(wrong, dataset)

    save(picture(names("$\\nonsense$", "_^{")), tmp_path / "a.png")  # no error: no mathtext
    # As mathtext, $a$ would be an italic a without dollars.
    assert pixels(picture(names("$a$", "b"))) != pixels(picture(names("a", "b")))
    assert pixels(picture(names("a$", "b"))) != pixels(picture(names("a", "b")))
