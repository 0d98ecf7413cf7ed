"""Which pictures a report has, and what stands in the files of a table."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from fnnet import Dataset, History, plots
from fnnet.commands.report import write_report
from fnnet.commands.tables import write_tables
from tests.programs import Terminal, names
from tests.runs.test_checkpoint import make

ALONE = ["history", "weights"]
SCORED = ["confusion", "classes", "calibration"]
IMAGES = ["mistakes", "predictions"]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[Path, tuple[str, tuple[Any, ...]]]:
    """What is drawn, by its file: the name of the figure, and what it is drawn of."""
    found: dict[Path, tuple[str, tuple[Any, ...]]] = {}
    for name in ALONE + SCORED + IMAGES:
        monkeypatch.setattr(plots, f"plot_{name}", lambda *args, name=name: (name, args))
    monkeypatch.setattr(plots, "save", lambda figure, path: found.update({path: figure}))
    return found


@pytest.mark.parametrize("shape", [None, (6,), (2, 3), (3, 1, 2)])
def test_a_report_has_the_pictures_that_can_be_drawn(
    shape: tuple[int, ...] | None, drawn: dict[Path, tuple[str, tuple[Any, ...]]], tmp_path: Path
) -> None:
    checkpoint = make()
    checkpoint = evolve(checkpoint, preprocessing=evolve(checkpoint.preprocessing, shape=shape))
    rng, labels, folder = np.random.default_rng(0), np.arange(4) % 3, tmp_path / "a" / "b"
    images: Any = rng.integers(0, 256, (4, *(shape or (2, 3)))).astype(np.uint8)
    data = Dataset(images / 255 if shape == (6,) else images, labels, ("x", "y", "z"))
    scores = rng.normal(size=(4, 3))
    predicted = scores.argmax(axis=1)
    with_images = shape != (6,)
    with_weights = shape not in (None, (6,))

    alone = ["history", *(["weights"] if with_weights else [])]
    told = write_report(folder, checkpoint)
    assert told == f"wrote {', '.join(f'{name}.png' for name in alone)} to {folder}"
    assert {path: figure[0] for path, figure in drawn.items()} == {
        folder / f"{name}.png": name for name in alone
    }
    assert folder.is_dir()

    drawn.clear()
    whole = [*SCORED, *(IMAGES if with_images else []), *alone]
    told = write_report(folder, checkpoint, (scores, data))
    assert told == f"wrote {', '.join(f'{name}.png' for name in whole)} to {folder}"
    assert {path: figure[0] for path, figure in drawn.items()} == {
        folder / f"{name}.png": name for name in whole
    }
    for name, (first, second) in (
        (name, args) for name, args in drawn.values() if name in SCORED + IMAGES
    ):
        of_labels = name in ("confusion", "classes")
        assert np.array_equal(first, predicted if of_labels else scores)
        assert second is data


def test_a_checkpoint_of_no_epoch_has_no_picture_of_its_history(
    drawn: dict[Path, tuple[str, tuple[Any, ...]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    told = write_report(tmp_path, evolve(make(), history=History()))
    assert stream.getvalue().startswith("\rpictures: ")
    assert stream.getvalue().endswith("\r")  # the bar is wiped off
    assert told == f"wrote weights.png to {tmp_path}"
    assert [*drawn] == [tmp_path / "weights.png"]


ROWS = [
    {"setting": "reg 0.1", "seeds": 2, "accuracies": "0.5 0.25"},
    {"setting": "a|b", "seeds": 10, "accuracies": "1.0"},
]
MARKDOWN = r"""| setting | seeds |
| ------- | ----- |
| reg 0.1 |     2 |
|    a\|b |    10 |
"""
CSV = "setting,seeds,accuracies\nreg 0.1,2,0.5 0.25\na|b,10,1.0\n"


def test_a_table_is_printed_and_written_for_programs_and_for_papers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plots, "save", lambda figure, path: path.write_text(figure))
    written = {"c.seeds.csv", "c.seeds.md", "c.seeds.png"}
    for is_new, journal in ((True, []), (False, [Path("c.jsonl")])):
        write_tables(Path("c.seeds.npz"), ROWS, "drawn", is_new, *journal)
        out, err = capsys.readouterr()
        files = ["c.jsonl"] * len(journal) + ["c.seeds.csv", "c.seeds.md", "c.seeds.png"]
        assert out == f"{MARKDOWN}wrote {', '.join(files)}\n"
        assert err == ""
        assert names(tmp_path) == written
    assert Path("c.seeds.csv").read_bytes() == CSV.encode()
    assert Path("c.seeds.md").read_bytes() == MARKDOWN.encode()
    assert Path("c.seeds.png").read_text() == "drawn"

    write_tables(Path("c.seeds.npz"), ROWS[:1], "again", True)
    assert capsys.readouterr().err.splitlines() == [
        f"kept c.seeds.{ending} of another run as c.seeds.1.{ending}"
        for ending in ("csv", "md", "png")
    ]
    assert Path("c.seeds.1.csv").read_bytes() == CSV.encode()
    assert Path("c.seeds.csv").read_text() == "setting,seeds,accuracies\nreg 0.1,2,0.5 0.25\n"
