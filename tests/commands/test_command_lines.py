"""Random command lines: an exit code, never a traceback, and no file lost that was there before."""

import contextlib
import hashlib
import inspect
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from fnnet import TrainConfig, load_digits
from fnnet.__main__ import PROGRAMS, start
from fnnet.commands import download, gradcheck, predict, show, test
from fnnet.commands.doctor import DoctorCommand
from fnnet.commands.train_flags import TrainCommand
from fnnet.commands.tune import TuneCommand
from fnnet.search.workers import Workers

HUGE = "9" * 400
NUMBERS = ("0", "1", "2", "3", "-1", "+2", "007", "1.5", "1e3", "nan", "", "x", "½", HUGE)
FLOATS = (*NUMBERS[:5], "0.1", "1e-300", "1e308", "1e999", "nan", "-inf", "", "x", "1,5")
WORDS = ("", "digits", "cifar10", "fast", "whiten", "linear", "step", "float64", "none", "\udcff")
PATHS = (
    "", ".", "..", "/", "~", "~nobody/a.npz", "notes.txt", "other.npz", "other.best.npz", "own.npz",
    "own.csv", "own.jsonl", "own.png", "own.pdf", "missing/own.npz", "pipe", "pipe.npz", "link.npz",
    "link.png", "pictures", "data.npz", "x" * 300, "\udcff.npz", "own\nname.npz", "/dev/full",
    "/dev/null", "tune.jsonl", "checkpoint.npz", "checkpoint.best.npz", "checkpoint.previous.npz",
)  # fmt: skip
RANGES = ("log:0.1:1", "uniform:0:1", "choice:1,2", "choice:", "log:0:1", "uniform:2:1", "log:a:b")
# Numbers between these are right, and take a long time or all the memory.
LONG = {"num_epochs", "hidden_dim", "trials", "budget", "seeds", "workers", "num_threads"}
SMALL = ["--num-train", "30", "--num-val", "10", "--hidden-dim", "3", "--num-epochs", "1"]
FIRST: dict[str, list[str]] = {
    "train": [*SMALL, "--num-threads", "1"],
    "doctor": [*SMALL, "--num-threads", "1"],
    "tune": [*SMALL, "--num-epochs", "3", "--trials", "3", "--reg", "choice:0,0.1"],
}
COMMANDS: Mapping[str, Any] = {
    "train": TrainCommand, "tune": TuneCommand, "doctor": DoctorCommand
}  # fmt: skip
FUNCTIONS: Mapping[str, Any] = {
    "test": test.test,
    "predict": predict.predict,
    "show": show.show,
    "download": download.download,
    "gradcheck": gradcheck.layers,
}


@cache
def flags_of(program: str) -> dict[str, str]:
    """Return the flags of a program with the names of their types."""
    if program in COMMANDS:
        kind = COMMANDS[program]
        fields = [*attrs.fields(TrainConfig), *attrs.fields(kind)]
        return {f.name: str(f.type) for f in fields if f.name != "config"}
    if program not in FUNCTIONS:
        return {"surprise": "int"}
    parameters = inspect.signature(FUNCTIONS[program]).parameters
    return {name: str(parameter.annotation) for name, parameter in parameters.items()}


def values_of(program: str, flag: str, kind: str) -> tuple[str, ...]:
    """Return words to try as the value of a flag."""
    if "Path" in kind or flag == "dataset":
        return (*PATHS, "digits", "cifar10")
    values: tuple[str, ...] = FLOATS if "float" in kind else NUMBERS if "int" in kind else WORDS
    if flag in LONG:
        values = tuple(v for v in values if v not in ("1e3", "007"))
    if flag == "hidden_dim":
        values = (*values, "2000000000", "2147483648")
    return (*values, *RANGES) if program == "tune" else values


@st.composite
def command_lines(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Draw a program and the words after its name."""
    program = draw(st.sampled_from([*PROGRAMS, "train", "train", "train", "tune", "tune"]))
    words = [*FIRST.get(program, [])]
    if program == "gradcheck":
        words.append(draw(st.sampled_from(["layers", "classifier", "nothing"])))
    flags = flags_of(program)
    for _ in range(draw(st.integers(0, 4))):
        flag = draw(st.sampled_from(sorted(flags)))
        name = flag if draw(st.integers(0, 9)) == 0 else flag.replace("_", "-")
        value = draw(st.sampled_from(values_of(program, flag, flags[flag])))
        if flags[flag] == "<class 'bool'>":
            words.append(draw(st.sampled_from([f"--{name}", f"--no-{name}", f"--{name}={value}"])))
        elif flag == "files":
            words.append(value)
        else:
            words += draw(st.sampled_from([[f"--{name}", value], [f"--{name}={value}"]]))
    if draw(st.integers(0, 9)) == 0:
        words += draw(st.sampled_from([["--surprise"], ["--"], ["-x"], ["word"], ["--help"], [""]]))
    return program, words


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that a user has."""
    folder = tmp_path_factory.mktemp("template")
    assert run(folder, "train", [*FIRST["train"], "--checkpoint-file", "other.npz"])[0] == 0
    for seed in ("7", "8"):
        assert run(folder, "train", [*FIRST["train"], "--seed", seed])[0] == 0
    (folder / "notes.txt").write_text("mine")
    (folder / "own.png").write_text("a picture of mine")
    digits = load_digits()
    np.savez(folder / "data.npz", images=digits.images[:90], labels=digits.labels[:90])
    for i in range(40):
        place = folder / "pictures" / str(i % 2)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.images[i]).save(place / f"{i}.png")
    return folder


@contextlib.contextmanager
def home(template: Path) -> Iterator[Path]:
    """Make a home folder with those files in a folder of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "work"
        shutil.copytree(template, folder)
        for ending in ("", ".npz"):
            os.mkfifo(folder / f"pipe{ending}")
        for ending in (".npz", ".png"):
            (folder / f"link{ending}").symlink_to("notes.txt")
        yield folder


def run(folder: Path, program: str, words: list[str]) -> tuple[Any, str, str]:
    """Run a program in this process; return its exit code and what it wrote."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HOME", str(folder.parent))
        patch.setenv("FNNET_DATA_DIR", str(folder.parent / "data"))
        patch.setattr(sys, "argv", ["fnnet", *words])
        patch.setitem(sys.modules, "mpi4py", None)  # MPI_Abort would end this process
        patch.setattr("fnnet.commands.download.fetch", no_network)
        patch.setattr("fnnet.commands.tune.processes", inline)
        patch.setattr("fnnet.commands.seeds.processes", inline)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                start(program)
            except SystemExit as end:
                return end.code, out.getvalue(), err.getvalue()


def no_network(folder: Path) -> None:
    raise OSError("there is no network")


def inline(number: int) -> Any:
    """Train trials and seeds in this process: others take a second to start."""
    return nullcontext(Workers(map, number))


def digests(folder: Path) -> dict[str, str]:
    """Return the files below a folder, and what is in them."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file()
    }


@given(command_lines())
@example(("train", [*FIRST["train"], "--checkpoint-file", "link.npz"]))
@example(("train", [*FIRST["train"], "--plot-file", "own.png"]))
@example(("train", [*FIRST["train"], "--hidden-dim", "2000000000"]))
@example(("doctor", [*FIRST["doctor"], "--dataset", "pictures", "--plot-file", "own.png"]))
@example(("predict", ["pictures", "notes.txt"]))
@example(("gradcheck", ["layers", "--module", "notes.txt"]))
@example(("gradcheck", ["classifier", "--module", "other.npz", "--json"]))
def test_any_command_line_ends_in_a_code_and_loses_nothing(
    template: Path, line: tuple[str, list[str]]
) -> None:
    program, words = line
    with home(template) as folder:
        before = digests(folder.parent)
        code, out, err = run(folder, program, words)
        assert code in (0, 1, 2), err
        assert "Traceback" not in out + err
        # A report on a module or on a net says on stdout what is wrong.
        found = "FAILED: " in out or '"passed": false' in out or "wrong  " in out
        found = found and program in ("gradcheck", "doctor")
        assert found or not re.search(r"^error|warning", out, re.M | re.I)
        assert code == 0 or err or found
        after = digests(folder.parent)
        lost = [name for name, digest in before.items() if digest not in after.values()]
        assert {*lost} <= own(program, words, before), "a file is lost"
        given = [Path(word.partition("=")[2] or word).stem[:9] for word in words]
        for name in after.keys() - before.keys():
            stems = ["checkpoint", "plot", "tune", "doctor", *filter(None, given)]
            if any("report" in word for word in words):  # it may be asked for in this very folder
                stems += ["confusion", "classes", "calibration", "mistakes", "predictions"]
                stems += ["history", "weights"]
            assert any(stem in name for stem in stems), f"{name} was not asked for"


def own(program: str, words: list[str], before: Mapping[str, str]) -> set[str]:
    """Return the files that the command may write anew: those of the run that it goes on with."""
    line = " ".join(words)
    stems = set()
    if program == "test" or "--resume" in line:  # notes the test accuracy; saves later epochs
        stems |= {"checkpoint", "other", "plot", "own"}
    elif program == "train" and "other." in line:  # the same run, started again
        stems |= {"other", "plot"}
    return {name for name in before if Path(name).name.split(".")[0] in stems}
