"""`fnnet doctor` names what is wrong in a line for each check; `fnnet train` warns once."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from fnnet import load_checkpoint, load_digits
from fnnet.checks import Array
from fnnet.commands import doctor, train
from fnnet.commands.doctor import doctor_command
from fnnet.commands.train_flags import train_command
from fnnet.plots.rates import plot_rates
from fnnet.runs.data_checks import Finding
from fnnet.runs.rates import RateTest
from tests.plots.drawn import legend_labels
from tests.programs import inside

SMALL = ["--hidden-dim", "32", "--num-threads", "1"]
DIGITS = load_digits()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, program: Any, *args: object) -> int:
    monkeypatch.setattr(sys, "argv", ["fnnet", *SMALL, *map(str, args)])
    return int(program.main())


def own(images: Array = DIGITS.images, labels: Array = DIGITS.labels) -> list[str]:
    """Write own data, and return the flag that names them."""
    arrays: Any = {"features" if images.ndim == 2 else "images": images, "labels": labels}
    np.savez("own.npz", **arrays)
    return ["--dataset", "own.npz"]


def test_sound_settings_are_fine_and_the_rates_are_drawn(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, doctor) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[0] for line in lines[:-1]] == ["ok"] * 14
    assert lines[-1] == "doctor.png: loss against learning rate"
    assert Path("doctor.png").read_bytes().startswith(b"\x89PNG")
    assert call(monkeypatch, doctor) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == lines
    assert err == "kept doctor.png of another run as doctor.1.png\n"
    assert {p.name for p in folder.iterdir()} == {"doctor.png", "doctor.1.png"}


BADNESS = {"ok": 0, "look": 1, "wrong": 2}


@pytest.mark.parametrize(("verdicts", "code"), [("ok look", 0), ("ok wrong", 1), ("wrong ok", 1)])
def test_the_findings_are_printed_and_the_worst_is_the_exit_code(
    verdicts: str, code: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        Finding(f"{verdict}\x1b", "found", "cure", BADNESS[verdict], 1, 2)
        for verdict in verdicts.split()
    ]

    def prepare(config: Any, watch: Any) -> Any:
        assert [*watch([0])] == [0]
        return SimpleNamespace(config=config)

    def rate_test(run: Any, watch: Any) -> Any:
        assert [*watch([0])] == [0]
        return "a test"

    monkeypatch.setattr("fnnet.commands.doctor.prepare", prepare)
    monkeypatch.setattr("fnnet.commands.doctor.rate_test", rate_test)
    monkeypatch.setattr("fnnet.commands.doctor.diagnose", lambda run, test: found)
    monkeypatch.setattr("fnnet.plots.rates.plot_rates", lambda test, rate: f"{test} at {rate}")
    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: path.write_text(figure))
    (folder / "a.png").write_text("mine")
    args = ("doctor", "--learning-rate", "0.25", "--plot-file", "a.png")
    done = inside(folder, *args, terminal=True)
    assert done.returncode == code
    cures = ["" if verdict == "ok" else ": cure" for verdict in verdicts.split()]
    lines = [
        f"{verdict:<5}  {verdict}\\x1b: found{cure}"
        for verdict, cure in zip(verdicts.split(), cures, strict=True)
    ]
    assert done.stdout.splitlines() == [*lines, "a.png: loss against learning rate"]
    assert all(f"\r{name}: " in done.stderr for name in ("whitening", "learning rates"))
    assert done.stderr.endswith("\rkept a.png of another run as a.1.png\n")
    assert (folder / "a.1.png").read_text() == "mine"
    assert (folder / "a.png").read_text() == "a test at 0.25"
    refused = inside(folder, "doctor", "--plot-file", "missing/a.png")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: plot_file must lie in an existing")


SHUFFLED = np.random.default_rng(0).permutation(DIGITS.labels)
FEATURES = DIGITS.images.reshape(len(DIGITS), -1) / 16
OUTLIERS = np.where(np.arange(len(DIGITS))[:, None] % 300, FEATURES, -1e6)
BROKEN: dict[str, tuple[list[str], dict[str, Array], str, str]] = {
    "rate too high": (["--learning-rate", "5"], {}, "learning rate", "too high"),
    "rate too low": (["--learning-rate", "1e-5"], {}, "learning rate", "too low"),
    "reg too high": (["--reg", "3"], {}, "regularization", "a lower --reg"),
    "units dead": (
        ["--learning-rate", "2", "--hidden-dim", "32", "32"], {}, "dead units", "a lower --learn"
    ),
    "labels shuffled": ([], {"labels": SHUFFLED}, "labels", "shuffled"),
    "outliers": ([], {"images": OUTLIERS}, "outliers", "huge values"),
    "one class": (["--num-train", "1"], {}, "classes", "two classes"),
    "constant": (
        [], {"images": FEATURES * (np.arange(64) % 9 < 3)}, "constant inputs", "--dataset"
    ),
    "copies": (
        [], {"images": FEATURES[np.arange(600) // 3], "labels": DIGITS.labels[np.arange(600) // 3]},
        "duplicates", "remove copies",
    ),
    "leak": (
        ["--num-train", "400"], {"images": FEATURES[np.arange(900) % 450],
        "labels": DIGITS.labels[np.arange(900) % 450]}, "leak", "remove copies",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_the_command_names_what_is_broken_and_exits_1(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, arrays, check, cure = BROKEN[name]
    assert call(monkeypatch, doctor, *(own(**arrays) if arrays else []), *flags) == 1
    lines = capsys.readouterr().out.splitlines()
    [line] = [line for line in lines if line[7:].startswith(f"{check}: ")]
    assert line.startswith("wrong  ")
    assert cure in line
    if name in ("labels shuffled", "constant", "reg too high"):
        assert [line for line in lines if line.startswith("wrong")] == [line]


def test_a_file_of_one_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="must have at least two classes"):
        call(monkeypatch, doctor, *own(labels=0 * SHUFFLED))


def test_the_settings_are_those_of_train(capsys: pytest.CaptureFixture[str]) -> None:
    for args in (["--preset", "fast", "--reg", "0.5"], ["--dataset", "cifar10"], []):
        assert doctor_command(args).config == train_command(args)[0].config
        assert doctor_command(args).preset == (args[1] if args else "digits")
    doctor_command(["--tta-flip", "--pool", "2"])
    assert capsys.readouterr().err == (
        "--pool has no effect without whitening\n--tta-flip has no effect on these checks\n"
    )


def test_a_training_warns_of_each_sign_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--num-epochs", "4", "--plot-file", "a.png"]
    assert call(monkeypatch, train, *args, "--reg", "3") == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len({*lines}) >= 1
    assert "needs one class for all examples; fnnet doctor looks for causes" in "".join(lines)
    assert all(line.startswith("warning: ") for line in lines)
    assert len(load_checkpoint("checkpoint.npz").history.val_accuracy) == 4
    assert call(monkeypatch, train, *args, "--checkpoint-file", "b.npz", "--seed", "1") == 0
    assert "warning" not in capsys.readouterr().err


def lines_at(figure: Figure) -> list[float]:
    lines = [np.asarray(line.get_xdata()) for line in figure.axes[0].get_lines()]
    return [float(x[0]) for x in lines if len(x) == 2 and x[0] == x[1]]


def test_the_picture_marks_the_rate_and_shades_the_range() -> None:
    losses = [1.0] * 60
    test = RateTest(losses, losses, 0.6)
    figure = plot_rates(test, 0.1)
    [axes] = figure.axes
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "learning rate (log scale)")
    assert lines_at(figure) == [0.1]
    assert "to search: 0.006 to 0.6, where the loss is lowest" in legend_labels(figure)
    low, high = axes.get_xlim()
    assert low < 1e-4 < 10 < high
    never = plot_rates(RateTest(losses, losses, 0.0), 0.0)
    assert lines_at(never) == []
    assert legend_labels(never) == ["each step", "median of 7 steps"]
    with pytest.raises(TypeError, match="test must be a RateTest"):
        plot_rates(losses, 0.1)  # type: ignore[arg-type]
