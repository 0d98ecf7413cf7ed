"""Whatever commands run in one folder, and wherever they stop, no finished epoch is lost."""

import contextlib
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fnnet import CheckpointError, load_checkpoint, load_digits
from fnnet.commands import test, train, tune
from fnnet.files import atomic_write
from fnnet.runs import archive
from fnnet.search.workers import Workers
from tests.programs import names

SMALL = ["--num-train", "60", "--num-val", "20", "--hidden-dim", "3", "--num-threads", "1"]
SMALL += ["--batch-size", "30", "--print-every", "1000"]


def finished(folder: Path) -> dict[tuple[Any, ...], set[int]]:
    """Return the epochs that are kept of each run: settings and data without what may change."""
    found: dict[tuple[Any, ...], set[int]] = {}
    for name in names(folder):
        if name.endswith(".npz") and name != "own.npz":
            with contextlib.suppress(CheckpointError):
                checkpoint = load_checkpoint(folder / name)
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


def command_of(rng: random.Random) -> tuple[Any, list[str]]:
    """Draw a command."""
    match rng.randrange(5):
        case 0:
            args = ["--resume", "checkpoint.npz", "--num-epochs", str(rng.randint(1, 6))]
            return train, args
        case 1:
            return test, ["--again"] * rng.randrange(2)
        case 2:
            args = ["--learning-rate", "choice:0.1,0.2", "--trials", "2", "--num-epochs", "1"]
            return tune, [*SMALL, *args, "--workers", "1", "--seed", str(rng.randrange(2))]
        case _:
            args = ["--seed", str(rng.randrange(3)), "--num-epochs", str(rng.randint(1, 4))]
            args += ["--momentum", rng.choice(["0", "0.9"])]
            return train, [*SMALL, *args, *["--dataset", "own.npz"] * rng.randrange(2)]


def sequence(folder: Path, seed: int) -> None:
    """Run some commands; after each one, everything that was finished is still there."""
    rng = random.Random(seed)
    digits = load_digits()
    np.savez(folder / "own.npz", images=digits.images[:300], labels=digits.labels[:300])
    for _ in range(6):
        before = finished(folder)
        program, args = command_of(rng)
        end = Stop(rng.randint(1, 9), rng.choice([KeyboardInterrupt, OSError, SystemExit]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["fnnet", *args])
            patch.setattr(tune, "processes", lambda _: contextlib.nullcontext(Workers(map, 1)))
            patch.setattr("fnnet.plots.save", lambda figure, path: path.write_text("plot"))
            if rng.randrange(2):
                patch.setattr(archive, "atomic_write", end)
            with contextlib.suppress(ValueError, OSError, KeyboardInterrupt, SystemExit):
                program.main()
        after = finished(folder)
        own = [run for run in after if max(after[run]) < max(before.get(run, {0}))]
        # Only a run that is started again may fall back, as its own first epochs come again.
        assert {*before} <= {*after}, (program.__name__, args)
        assert len(own) <= 1, (program.__name__, args)
        assert not own or (program is train and "--resume" not in args)


def test_no_finished_epoch_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    for seed in range(kills // 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        monkeypatch.chdir(folder)
        sequence(folder, seed)
