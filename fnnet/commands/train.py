"""Train a two-layer network, or a linear classifier; save it, and plot the run."""

import shlex
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro
from attrs import field, frozen
from attrs.validators import optional
from tqdm import tqdm

from fnnet.commands.flags import (
    command_line,
    default_settings,
    named,
    preset_of,
    shared_out,
)
from fnnet.commands.mpi import ranks
from fnnet.commands.outputs import describe, finish, logging, show_epoch
from fnnet.commands.program import INTERRUPTED, progress, run
from fnnet.commands.seeds import train_seeds
from fnnet.files import check_writable, home, locked, same_place
from fnnet.limits import MAX_SEEDS, MAX_WORKERS
from fnnet.runs.checkpoint import (
    Checkpoint,
    load_checkpoint,
)
from fnnet.runs.names import last_path, run_paths
from fnnet.runs.outputs import Epoch, saving
from fnnet.runs.presets import PRESETS
from fnnet.runs.provenance import (
    TRAIN_DATA,
    VAL_DATA,
    differences,
    params_digest,
    run_provenance,
)
from fnnet.runs.ranks import SERIAL, Comm, check_ranks, check_same
from fnnet.runs.resume import check_same_data, check_same_run
from fnnet.runs.run import Run, prepare
from fnnet.runs.settings import TrainConfig, fixed_settings
from fnnet.threads import default_num_threads, use_threads
from fnnet.training import DivergenceError, History, TrainState
from fnnet.validators import at_least, one_of, path, picture_path

Preset = Literal["digits", "cifar10", "homework", "fast", "minute", "best"]


@frozen
class TrainCommand:
    """What the command line says."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="", help="Settings of the run.")]
    preset: Preset = field(default="digits", validator=one_of(*PRESETS))
    """Where the defaults of the settings come from: a dataset, or a recipe for CIFAR-10."""
    resume: Path | None = field(default=None, converter=home)
    """Go on with the run in this checkpoint: its settings are the defaults, and by default the
    checkpoint is saved in its place, the plot beside it."""
    distributed: bool = False
    """Share every batch among the processes that mpiexec started."""
    checkpoint_file: Path = field(default=Path("checkpoint.npz"), converter=home, validator=path)
    """Where to save the last epoch; the epoch before it and the best one are saved beside it as
    <name>.previous.npz and <name>.best.npz. Files of another run are kept under a number."""
    plot_file: Path = field(default=Path("plot.pdf"), converter=home, validator=picture_path)
    """Where to draw losses and accuracies: .pdf, .png or .svg."""
    log: Path | None = field(default=None, converter=home, validator=optional(path))
    """Where to write a table with a line for each epoch: .csv."""
    print_every: int = field(default=100, validator=at_least(1))
    """Print the loss at every step whose number this divides."""
    checkpoint_every: int = field(default=1, validator=at_least(1))
    """Save the model after every epoch whose number this divides, and after the last one."""
    seeds: int | None = field(default=None, validator=optional(at_least(1, MAX_SEEDS)))
    """Train with this number of seeds, counted from --seed, each in a process with one thread;
    print mean and standard deviation, and draw nothing. A run is saved after every epoch as
    <name>.seed-<seed>.npz; the same command goes on with runs that were stopped."""
    workers: int = field(factory=default_num_threads, validator=at_least(1, MAX_WORKERS))
    """Processes that train, with --seeds."""

    def __attrs_post_init__(self) -> None:
        if self.seeds is not None:
            for name in ("resume", "log", "distributed"):
                if getattr(self, name):
                    raise ValueError(f"{name} has no effect with seeds: leave one of them out")
        if self.log is not None and self.log.suffix.lower() != ".csv":
            raise ValueError(f"log must end in .csv, found {self.log}")
        names = {"plot_file": self.plot_file, "log": self.log}
        for taken in run_paths(self.checkpoint_file):
            for name, written in names.items():
                if written is not None and same_place(written, taken):
                    raise ValueError(
                        f"{name} and checkpoint_file must differ, found {written}, the name of "
                        "a checkpoint"
                    )
        if self.log is not None and same_place(self.log, self.plot_file):
            raise ValueError(f"log and plot_file must differ, found {self.log}")


def train_command(args: Sequence[str]) -> tuple[TrainCommand, Checkpoint | None]:
    """Return what the command line says, and the checkpoint to go on from, if any.

    By default, num_threads is the number of processors divided by that of the micro-batches.

    Raises:
        ValueError: the checkpoint cannot be read, or the settings are of another run.
    """
    resume = named(args, "--resume")
    if resume is None:
        checkpoint, preset = None, preset_of(args)
        default = TrainCommand(shared_out(default_settings(args), args), preset)  # type: ignore[arg-type]
    else:
        checkpoint = load_checkpoint(resume)
        saved = last_path(home(resume))
        default = TrainCommand(
            checkpoint.config, checkpoint_file=saved, plot_file=saved.with_name("plot.pdf")
        )
    command = tyro.cli(
        TrainCommand,
        default=default,
        args=args,
        description="Train a fully connected network or a linear classifier, and save it.",
    )
    if checkpoint is not None and resume is not None:
        check_same_run(Path(resume), checkpoint, command.config)
    return command, checkpoint


def main() -> int:
    """Train as the command line says, on the ranks of mpiexec if it says so."""
    if "--distributed" not in sys.argv:
        command, before = train_command(sys.argv[1:])
        if command.seeds is not None:
            return train_seeds(command)
        return train(SERIAL, command, before)
    with ranks() as comm:  # run() turns an error into an exit code, which ranks() sees
        return run(lambda: train(comm, *train_command(sys.argv[1:])))


def train(comm: Comm, command: TrainCommand, before: Checkpoint | None) -> int:
    """Run a training from its start, or from a checkpoint, and return the exit code."""
    check_ranks(comm.size, command.config.micro_batches)
    if comm.rank > 0:  # every rank has the same result: the first one alone prints and writes
        return _train(comm, command, before)
    for name in ("checkpoint_file", "plot_file", "log"):
        if (written := getattr(command, name)) is not None:
            check_writable(name, written)
    with locked(command.checkpoint_file):
        return _train(comm, command, before)


def _train(comm: Comm, command: TrainCommand, before: Checkpoint | None) -> int:
    config = command.config
    with use_threads(config.num_threads):
        print("settings:", shlex.join(command_line(config)))
        run = prepare(
            config, None if before is None else before.preprocessing, progress("whitening")
        )
        provenance = run_provenance(run.train, run.val)
    if comm.size > 1:
        print(f"{comm.size} ranks")
    print(describe(run))
    start, history = _start(run, command, before, provenance)
    check_same(
        comm,
        {
            "settings": str(fixed_settings(config)),
            **{name: provenance[name] for name in (TRAIN_DATA, VAL_DATA)},
            "start": params_digest(start.params),
        },
    )
    epochs = run.epochs(start, history, comm, partial(_show_steps, command, run))
    if comm.rank == 0:
        epochs = _saving(command, run, provenance, before, epochs)
    last, code, failure = (start, history), 0, None
    try:
        with use_threads(config.num_threads), closing(epochs):
            for last in epochs:
                show_epoch(run, *last)
    except KeyboardInterrupt:
        code = INTERRUPTED
        print("interrupted", file=sys.stderr)
    except DivergenceError as error:
        failure = error
    if comm.rank == 0:
        finish(command, run, last)
    if failure is not None:
        raise failure
    return code


def _saving(
    command: TrainCommand,
    run: Run,
    provenance: Mapping[str, str],
    before: Checkpoint | None,
    epochs: Generator[Epoch],
) -> Generator[Epoch]:
    """Pass the epochs on; save them, and write the log, on their way."""
    pictures = [p for p in (command.plot_file, command.log) if p is not None]
    epochs = saving(
        command.checkpoint_file,
        run,
        provenance,
        epochs,
        every=command.checkpoint_every,
        pictures=pictures,
        test_set_used=before is not None and before.test_set_used,
        tell=partial(print, file=sys.stderr),
    )
    return epochs if command.log is None else logging(command.log, run, epochs)


def _start(
    run: Run, command: TrainCommand, before: Checkpoint | None, provenance: Mapping[str, str]
) -> tuple[TrainState, History]:
    """Return where the run begins: at its start, or where the checkpoint was saved."""
    if before is None:
        return run.start(), History()
    check_same_data(command.resume or command.checkpoint_file, before, provenance)
    state = before.state()
    print(f"going on after epoch {before.num_epochs}")
    for line in differences(before.provenance, provenance, "in the checkpoint"):
        print(f"{line}: the last bits may change", file=sys.stderr)
    return state, before.history


def _show_steps(
    command: TrainCommand, run: Run, states: Iterator[TrainState]
) -> Iterator[TrainState]:
    """Pass the states on, print the loss of some, and show a progress bar."""
    total = run.config.num_epochs * run.steps_per_epoch
    with tqdm(total=total, unit="step", leave=False, disable=None) as bar:
        for state in states:
            bar.update(state.step - bar.n)
            if state.step % command.print_every == 0 or state.step == total:
                tqdm.write(
                    f"step {state.step:6d}/{total}  loss {state.loss:.4f}"
                    f"  data loss {state.data_loss:.4f}"
                )
            yield state
