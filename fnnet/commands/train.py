"""Train a two-layer network, or a linear classifier; save it, and plot the run."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro
from attrs import field, frozen
from tqdm import tqdm

from fnnet.commands.flags import command_line, named, preset_of, shared_out
from fnnet.commands.mpi import ranks
from fnnet.commands.program import INTERRUPTED, run
from fnnet.files import check_writable
from fnnet.runs.checkpoint import (
    Checkpoint,
    checkpoint_of,
    load_checkpoint,
    previous_path,
    save_checkpoint,
)
from fnnet.runs.presets import PRESETS, default_config
from fnnet.runs.provenance import data_digest, differences, environment, params_digest
from fnnet.runs.ranks import SERIAL, Comm, check_ranks, check_same
from fnnet.runs.resume import DATA, check_same_data, check_same_run
from fnnet.runs.run import Run, prepare
from fnnet.runs.settings import TrainConfig, fixed_settings
from fnnet.threads import use_threads
from fnnet.training import History, TrainState
from fnnet.validators import at_least, one_of, path, picture_path

Preset = Literal["digits", "cifar10", "homework", "fast", "minute", "best"]


@frozen
class TrainCommand:
    """What the command line says."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="", help="Settings of the run.")]
    preset: Preset = field(default="digits", validator=one_of(*PRESETS))
    """Where the defaults of the settings come from: a dataset, or a recipe for CIFAR-10."""
    resume: Path | None = None
    """Go on with the run in this checkpoint: its settings are the defaults, and by default the
    checkpoint is saved in its place, the plot beside it."""
    distributed: bool = False
    """Share every batch among the processes that mpiexec started."""
    checkpoint_file: Path = field(default=Path("checkpoint.npz"), validator=path)
    """Where to save the model; what was there before is kept as <name>.previous.npz."""
    plot_file: Path = field(default=Path("plot.pdf"), validator=picture_path)
    """Where to draw losses and accuracies: .pdf, .png or .svg."""
    print_every: int = field(default=100, validator=at_least(1))
    """Print the loss at every step whose number this divides."""
    checkpoint_every: int = field(default=1, validator=at_least(1))
    """Save the model after every epoch whose number this divides, and after the last one."""

    def __attrs_post_init__(self) -> None:
        if self.plot_file == self.checkpoint_file:
            raise ValueError(f"plot_file and checkpoint_file must differ, found {self.plot_file}")


def train_command(args: Sequence[str]) -> tuple[TrainCommand, Checkpoint | None]:
    """Return what the command line says, and the checkpoint to go on from, if any.

    By default, as many ranks as there are micro-batches share the processors out among them.

    Raises:
        ValueError: the checkpoint cannot be read, or the settings are of another run.
    """
    resume = named(args, "--resume")
    if resume is None:
        checkpoint, preset = None, preset_of(args)
        default = TrainCommand(shared_out(default_config(preset), args), preset)  # type: ignore[arg-type]
    else:
        saved = Path(resume)
        checkpoint = load_checkpoint(saved)
        default = TrainCommand(
            checkpoint.config, checkpoint_file=saved, plot_file=saved.with_name("plot.pdf")
        )
    command = tyro.cli(
        TrainCommand,
        default=default,
        args=args,
        description="Train a two-layer network, or a linear classifier; save it, and plot the run.",
    )
    if checkpoint is not None and resume is not None:
        check_same_run(Path(resume), checkpoint, command.config)
    return command, checkpoint


def main() -> int:
    """Train as the command line says, on the ranks of mpiexec if it says so."""
    if "--distributed" not in sys.argv:
        return train(SERIAL, *train_command(sys.argv[1:]))
    with ranks() as comm:  # errors become an exit code inside, so that one rank ends all
        return run(lambda: train(comm, *train_command(sys.argv[1:])))


def train(comm: Comm, command: TrainCommand, before: Checkpoint | None) -> int:
    """Run a training from its start, or from a checkpoint, and return the exit code."""
    config = command.config
    check_ranks(comm.size, config.micro_batches)
    if comm.rank == 0:  # every rank has the same result: the first one alone prints and writes
        check_writable("plot_file", command.plot_file)
        check_writable("checkpoint_file", command.checkpoint_file)
    with use_threads(config.num_threads):
        run = prepare(config, None if before is None else before.preprocessing)
        provenance = environment() | {DATA: data_digest(run.train)}
    if comm.size > 1:
        print(f"{comm.size} ranks")
    print("settings:", shlex.join(command_line(config)))
    start, history = _start(run, before, provenance)
    check_same(
        comm,
        {
            "settings": str(fixed_settings(config)),
            DATA: provenance[DATA],
            "start": params_digest(start.params),
        },
    )
    last, saved, code = (start, history), start, 0
    try:
        with use_threads(config.num_threads):
            for last in run.epochs(start, history, comm, partial(_show_steps, command, run)):
                epoch = last[0].step // run.steps_per_epoch
                if comm.rank == 0 and epoch % command.checkpoint_every == 0:
                    _save(command, run, provenance, *last)
                    saved = last[0]
                _show_epoch(epoch, run, last[1])
    except KeyboardInterrupt:
        code = INTERRUPTED
        print("interrupted", file=sys.stderr)
    if comm.rank == 0:
        if last[0] is not saved:
            _save(command, run, provenance, *last)
        _finish(command, run, *last, written=last[0] is not start)
    return code


def _start(
    run: Run, before: Checkpoint | None, provenance: Mapping[str, str]
) -> tuple[TrainState, History]:
    """Return where the run begins: at its start, or where the checkpoint was saved."""
    if before is None:
        return run.start(), History()
    check_same_data(before, provenance[DATA])
    state = before.state()
    print(f"going on after epoch {state.step // run.steps_per_epoch}")
    for line in differences(before.provenance, provenance, "in the checkpoint"):
        print(f"{line}: the last bits may change", file=sys.stderr)
    return state, before.history


def _show_steps(
    command: TrainCommand, run: Run, states: Iterator[TrainState]
) -> Iterator[TrainState]:
    """Yield the states on, print the loss of some, and show a progress bar."""
    total = run.config.num_epochs * run.steps_per_epoch
    with tqdm(total=total, unit="step", leave=False, disable=None) as bar:
        for state in states:
            bar.update(state.step - bar.n)
            if state.step % command.print_every == 0 or state.step == total:
                tqdm.write(f"step {state.step:6d}/{total}  loss {state.loss:.4f}")
            yield state


def _show_epoch(epoch: int, run: Run, history: History) -> None:
    tqdm.write(
        f"epoch {epoch:3d}/{run.config.num_epochs}"
        f"  train accuracy {history.train_accuracy[-1]:.2%}"
        f"  validation accuracy {history.val_accuracy[-1]:.2%}"
    )


def _save(
    command: TrainCommand,
    run: Run,
    provenance: Mapping[str, str],
    state: TrainState,
    history: History,
) -> None:
    checkpoint = checkpoint_of(
        state,
        config=run.config,
        preprocessing=run.preprocessing,
        class_names=run.train.class_names,
        history=history,
        provenance=provenance,
    )
    path = command.checkpoint_file
    save_checkpoint(path, checkpoint, previous=previous_path(path))


def _finish(
    command: TrainCommand, run: Run, state: TrainState, history: History, written: bool
) -> None:
    """Draw the run and print what was written and how good it is."""
    if state.step == 0:
        print("no epoch was finished: nothing written", file=sys.stderr)
        return
    from fnnet import plots  # matplotlib is slow to import: training goes first

    plots.save(plots.plot_history(history), command.plot_file)
    files = [command.checkpoint_file] * written + [command.plot_file]
    print("wrote", " and ".join(map(str, files)))
    best = history.best_epoch
    print(f"best validation accuracy {history.val_accuracy[best - 1]:.2%} after epoch {best}")
    if run.config.tta_shift:
        with use_threads(run.config.num_threads):
            val_accuracy = run.accuracy(state.params, run.val, run.config.tta_shift)
        print(f"validation accuracy {val_accuracy:.2%}, averaged over shifts, after the last epoch")
