"""The notebook of the course, run as plain Python and, where Jupyter is installed, by a kernel."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from fnnet import use_threads

NOTEBOOK = Path(__file__).parent.parent / "scripts" / "tutorial.ipynb"
NUM_FIGURES = 4


def cells() -> list[dict[str, Any]]:
    """Return the cells of code."""
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def without_magics(source: list[str]) -> str:
    return "".join(line for line in source if not line.startswith("%"))


def run(source: str, names: dict[str, Any]) -> Any:
    """Run a cell and return what a notebook would show: the value of its last expression."""
    body = ast.parse(source).body
    last = body[-1]
    if not isinstance(last, ast.Expr):
        last = ast.Expr(ast.Constant(None))
        body.append(last)
    exec(compile(ast.Module(body[:-1], []), NOTEBOOK.name, "exec"), names)
    return eval(compile(ast.fix_missing_locations(ast.Expression(last.value)), "", "eval"), names)


def check_accuracies(text: str) -> None:
    """Check the accuracies that the tutorial prints, on the digits and on the spirals."""
    found = dict(re.findall(r"(\S+ accuracy:?) (?:after 20 epochs: )?([0-9.]+)%", text))
    assert float(found["test accuracy:"]) > 92
    assert float(re.findall(r", accuracy ([0-9.]+)%", text)[0]) > 95


def printed(cell: Any) -> str:
    """Return what a cell printed."""
    outputs = [output for output in cell["outputs"] if output["output_type"] == "stream"]
    return "".join("".join(output["text"]) for output in outputs)


def has_picture(cell: Any) -> bool:
    return any("image/png" in output.get("data", {}) for output in cell["outputs"])


def test_the_tutorial_runs_as_plain_python_and_draws_what_it_shows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names: dict[str, Any] = {}
    with use_threads(1):  # two would wait for each other on a busy machine
        for cell in cells():
            value = run(without_magics(cell["source"]), names)
            assert isinstance(value, Figure) == has_picture(cell), cell["id"]
    check_accuracies(capsys.readouterr().out)


def test_the_stored_outputs_are_those_of_a_whole_run() -> None:
    check_accuracies("".join(map(printed, cells())))
    assert sum(map(has_picture, cells())) == NUM_FIGURES
    assert [cell["execution_count"] for cell in cells()] == [*range(1, len(cells()) + 1)]


def test_nothing_in_the_notebook_is_of_one_machine() -> None:
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    assert notebook["metadata"].keys() == {"kernelspec", "language_info"}
    assert notebook["metadata"]["language_info"].keys() == {"name"}
    assert not any(cell["metadata"] for cell in notebook["cells"])
    for text in ("/tmp", "/home", "/root", "/usr", "Traceback", "Warning", '"error"'):
        assert text not in NOTEBOOK.read_text("utf-8"), text


def test_the_tutorial_runs_in_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipykernel")
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs = []
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    check_accuracies("".join(map(printed, code)))
    assert sum(map(has_picture, code)) == NUM_FIGURES
