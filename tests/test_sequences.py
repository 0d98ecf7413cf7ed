"""Whatever commands run in one folder, and wherever they stop, no finished epoch is lost."""

import contextlib
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fnnet import CheckpointError, load_checkpoint, load_digits
from fnnet.commands import test, train, tune
from fnnet.files import atomic_write, locked
from fnnet.runs import archive
from fnnet.search.workers import Workers
from tests.programs import command, names, start

SMALL = ["--num-train", "60", "--num-val", "20", "--hidden-dim", "3", "--num-threads", "1"]
SMALL += ["--batch-size", "30"]
NAMES = ("checkpoint.npz", "checkpoint.best.npz", "checkpoint.previous.npz")

Epochs = dict[tuple[Any, ...], set[int]]
"""The epochs that are kept of each run."""


def finished(folder: Path) -> Epochs:
    """Return what is kept: a run is its settings and data without what may change."""
    found: Epochs = {}
    for path in folder.rglob("*.npz"):
        if path.name != "own.npz" and path.is_file():
            with contextlib.suppress(CheckpointError):
                checkpoint = load_checkpoint(path)
                data = checkpoint.provenance["training data"]
                run = (checkpoint.config.seed, checkpoint.config.momentum, data)
                found.setdefault(run, set()).add(checkpoint.num_epochs)
    return found


class Stop:
    """Raises an error at the n-th write of a file."""

    def __init__(self, n: int, error: type[BaseException]) -> None:
        self.left, self.error, self.real = n, error, atomic_write

    def __call__(self, *args: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise self.error(28, "No space left on device") if self.error is OSError else self.error
        return self.real(*args)


# Where a command stops: nowhere, or with an error at one of its writes.
stops = st.none() | st.builds(
    Stop, st.integers(1, 9), st.sampled_from([KeyboardInterrupt, OSError, SystemExit])
)


class Sequences(RuleBasedStateMachine):
    """Commands, errors, other writers and odd files in one folder."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / "work"
        self.folder.mkdir()
        (self.root / "away").mkdir()
        digits = load_digits()
        np.savez(self.folder / "own.npz", images=digits.images[:300], labels=digits.labels[:300])
        self.known: Epochs = {}
        self.may_fall: tuple[Any, ...] = ()

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def run(self, program: Any, args: list[str], stop: Stop | None) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["fnnet", *args])
            patch.setattr(tune, "processes", lambda _: contextlib.nullcontext(Workers(map, 1)))
            patch.setattr("fnnet.plots.save", lambda figure, path: path.write_text("plot"))
            if stop is not None:
                patch.setattr(archive, "atomic_write", stop)
            with contextlib.suppress(ValueError, OSError, KeyboardInterrupt, SystemExit):
                program.main()

    @rule(
        seed=st.integers(0, 2),
        epochs=st.integers(1, 4),
        momentum=st.sampled_from(["0", "0.9"]),
        own=st.booleans(),
        stop=stops,
    )
    def train(self, seed: int, epochs: int, momentum: str, own: bool, stop: Stop | None) -> None:
        """Only a run that is started again may fall back: its own first epochs come again."""
        args = ["--seed", str(seed), "--num-epochs", str(epochs), "--momentum", momentum]
        self.may_fall = (seed, float(momentum))
        self.run(train, [*SMALL, *args, *["--dataset", "own.npz"] * own], stop)

    @rule(epochs=st.integers(1, 6), name=st.sampled_from(NAMES), stop=stops)
    def resume(self, epochs: int, name: str, stop: Stop | None) -> None:
        self.run(train, ["--resume", name, "--num-epochs", str(epochs)], stop)

    @rule(again=st.booleans(), stop=stops)
    def test(self, again: bool, stop: Stop | None) -> None:
        self.run(test, ["--again"] * again, stop)

    @rule(seed=st.integers(0, 1), stop=stops)
    def tune(self, seed: int, stop: Stop | None) -> None:
        args = ["--learning-rate", "choice:0.1,0.2", "--trials", "2", "--num-epochs", "1"]
        self.run(tune, [*SMALL, *args, "--workers", "1", "--seed", str(seed)], stop)

    @rule()
    def another_writer(self) -> None:
        """While another program writes, a command is refused and changes nothing."""
        before = {p.name: p.read_bytes() for p in self.folder.glob("*.npz") if p.is_file()}
        with locked(self.folder / "checkpoint.npz"):
            self.run(train, [*SMALL, "--seed", "9"], None)
        assert before == {p.name: p.read_bytes() for p in self.folder.glob("*.npz") if p.is_file()}

    @rule(name=st.sampled_from(NAMES))
    def move_away_and_link(self, name: str) -> None:
        """A checkpoint may be a symbolic link to one in another folder."""
        path, away = self.folder / name, self.root / "away" / f"{len(names(self.root / 'away'))}"
        if path.is_file():
            path.rename(away.with_suffix(".npz"))
            path.symlink_to(away.with_suffix(".npz"))

    @rule(name=st.sampled_from([*NAMES, "plot.pdf"]))
    def put_a_pipe(self, name: str) -> None:
        """A pipe is refused, or gets another name."""
        if not (self.folder / name).exists():
            os.mkfifo(self.folder / name)
            self.run(train, [*SMALL, "--seed", "9"], None)
            pipes = [path for path in self.folder.iterdir() if path.is_fifo()]
            assert len(pipes) == 1, "a pipe was replaced"
            pipes[0].unlink()

    @rule(name=st.sampled_from(NAMES), readable=st.booleans())
    def protect(self, name: str, readable: bool) -> None:
        if (self.folder / name).is_file():
            (self.folder / name).chmod(0o444 if readable else 0o000)

    @invariant()
    def nothing_finished_is_lost(self) -> None:
        for path in self.folder.glob("*.npz"):
            if path.is_file():
                path.chmod(0o644)
        now = finished(self.root)
        assert {*self.known} <= {*now}, "a run is lost"
        fallen = [run for run in self.known if max(now[run]) < max(self.known[run])]
        assert all(run[:2] == self.may_fall for run in fallen), "a finished epoch is lost"
        self.known, self.may_fall = now, ()


TestSequences = Sequences.TestCase
TestSequences.settings = settings(
    max_examples=max(1, settings().max_examples // 3), stateful_step_count=8
)


def test_two_writers_lose_nothing(tmp_path: Path, kills: int) -> None:
    """Two programs at a time in one folder: each ends well, or says that the other one writes."""
    rng = random.Random(0)
    for number in range(max(1, kills // 10)):
        folder = tmp_path / str(number)
        folder.mkdir()
        seeds = rng.sample(range(9), 3)
        first = start(folder, command("train.py", *SMALL, "--num-epochs", 2, "--seed", seeds[0]))
        first.communicate(timeout=60)
        assert first.returncode == 0
        lines = [
            ("train.py", [*SMALL, "--num-epochs", 3, "--seed", seeds[1]]),
            ("train.py", [*SMALL, "--num-epochs", 3, "--seed", seeds[2]]),
            ("train.py", ["--resume", "checkpoint.npz", "--num-epochs", 4]),
            ("test.py", []),
        ]
        chosen = rng.sample(lines, 2)
        running = [start(folder, command(program, *args)) for program, args in chosen]
        ended = [(*process.communicate(timeout=60), process.returncode) for process in running]
        kept = {run[0]: max(epochs) for run, epochs in finished(folder).items()}
        assert kept[seeds[0]] >= 2
        for (program, args), (_, err, code) in zip(chosen, ended, strict=True):
            assert code in (0, 2), err
            assert "Traceback" not in err
            if code == 0 and program == "train.py" and "--resume" not in args:
                assert kept[args[-1]] == 3
