"""What `fnnet train` prints and writes, but for the checkpoints."""

import csv
import io
import shlex
import sys
from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fnnet.commands.flags import program
from fnnet.commands.program import progress
from fnnet.commands.train_flags import TrainCommand
from fnnet.files import atomic_write
from fnnet.runs.diagnosis import signs
from fnnet.runs.names import best_path
from fnnet.runs.outputs import Epoch, load_best
from fnnet.runs.run import Run
from fnnet.threads import use_threads
from fnnet.training import History, TrainState
from fnnet.values import Params


def describe(run: Run) -> str:
    """Return what a run is trained on, as a line: the numbers of examples and the classes."""
    counts = np.bincount(run.train.labels, minlength=len(run.train.class_names))
    small, large = int(counts.argmin()), int(counts.argmax())
    names = run.train.class_names
    return (
        f"{len(run.train)} training and {len(run.val)} validation examples, {len(names)} classes "
        f"of {counts[small]} ({names[small]}) to {counts[large]} ({names[large]}) training examples"
    )


def show_epoch(run: Run, state: TrainState, history: History) -> None:
    """Print what was measured after an epoch."""
    some = "" if run.train_sample == len(run.train) else f" (of {run.train_sample})"
    tqdm.write(
        f"epoch {state.step // run.steps_per_epoch:3d}/{run.config.num_epochs}"
        f"  train accuracy {history.train_accuracy[-1]:.2%}{some}"
        f"  validation accuracy {history.val_accuracy[-1]:.2%}"
        f"  validation loss {history.val_loss[-1]:.4f}"
    )


def warned(run: Run, epochs: Iterable[Epoch]) -> Generator[Epoch]:
    """Pass the epochs on, and say once on stderr what goes wrong in the training."""
    shown: set[str] = set()
    for state, history in epochs:
        new = {*signs(run, state.params, history)} - shown
        for sign in sorted(new):
            tqdm.write(f"warning: {sign}; fnnet doctor looks for causes", file=sys.stderr)
        shown |= new
        yield state, history


def logging(path: Path, run: Run, epochs: Iterable[Epoch]) -> Generator[Epoch]:
    """Pass the epochs on, and write the table of all that there are after each."""
    for state, history in epochs:
        write_log(path, run, history)
        yield state, history


def write_log(path: Path, run: Run, history: History) -> None:
    """Write a history as a CSV table with a line for each epoch."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    columns = {
        "loss": history.data_loss + history.regularization,
        "data_loss": history.data_loss,
        "regularization": history.regularization,
        "train_accuracy": history.train_accuracy,
        "val_loss": history.val_loss,
        "val_accuracy": history.val_accuracy,
    }
    table.writerow(["epoch", "step", "learning_rate", *columns])
    for epoch, row in enumerate(zip(*columns.values(), strict=True), start=1):
        step = epoch * run.steps_per_epoch
        table.writerow([epoch, step, run.schedule(step - 1), *map(float, row)])
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def finish(command: TrainCommand, run: Run, epoch: Epoch) -> None:
    """Draw the run, and print what was written, how good it is, and what to do next."""
    state, history = epoch
    if state.step == 0:
        print("no epoch was finished: nothing written", file=sys.stderr)
        return
    from fnnet import plots  # matplotlib is slow to import: training goes first

    some = None if run.train_sample == len(run.train) else run.train_sample
    plots.save(plots.plot_history(history, some), command.plot_file)
    last = len(history.val_accuracy)
    path = command.checkpoint_file
    rows: list[tuple[Path, int, Params]] = [(path, last, state.params)]
    best = load_best(path, history)
    if best is not None:
        rows.append((best_path(path), best.num_epochs, best.params))
    if history.is_stuck(run.config.patience):
        print(f"ended: no better validation accuracy for {run.config.patience} epochs")
    words: dict[int, str] = {}  # of each epoch: the best one may be the last one
    for file, number, params in rows:
        if number not in words:
            words[number] = f"validation accuracy {history.val_accuracy[number - 1]:.2%}"
            if shift := run.config.tta_shift:
                with use_threads(run.config.num_threads):
                    averaged = run.accuracy(params, run.val, shift, progress("views"))
                words[number] += f", {averaged:.2%} averaged over shifts"
        kind = "best" if file != path else "last"
        print(f"{file}: {kind} epoch, {number} of {run.config.num_epochs}, {words[number]}")
    print(f"{command.plot_file}: loss and accuracy of each epoch")
    print("next:", shlex.join([*program("test"), "--checkpoint-file", str(rows[-1][0])]))
