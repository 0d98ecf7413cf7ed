"""Train a two-layer network, or a linear classifier; save it, and plot the run."""

import shlex
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from functools import partial

from tqdm import tqdm

from fnnet.commands.flags import command_line
from fnnet.commands.mpi import ranks
from fnnet.commands.outputs import describe, finish, logging, show_epoch, warned
from fnnet.commands.program import INTERRUPTED, printable, progress, run
from fnnet.commands.ranges import pull_ranges
from fnnet.commands.seeds import train_seeds
from fnnet.commands.train_flags import TrainCommand, train_command
from fnnet.files import check_writable, locked
from fnnet.runs.checkpoint import Checkpoint
from fnnet.runs.outputs import Epoch, saving
from fnnet.runs.provenance import (
    TRAIN_DATA,
    VAL_DATA,
    differences,
    params_digest,
    run_provenance,
)
from fnnet.runs.ranks import SERIAL, Comm, check_ranks, check_same
from fnnet.runs.resume import check_same_data
from fnnet.runs.run import Run, prepare
from fnnet.runs.settings import fixed_settings
from fnnet.threads import use_threads
from fnnet.training import DivergenceError, History, TrainState


def main() -> int:
    """Train as the command line says, on the ranks of mpiexec if it says so."""
    if "--distributed" not in sys.argv:
        args, ranges = pull_ranges(sys.argv[1:])
        command, before = train_command(args)
        if command.seeds is not None:
            return train_seeds(command, ranges)
        if ranges:
            raise ValueError(f"{min(ranges)} has several values: give --seeds, or use fnnet tune")
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
    print(printable(describe(run)))
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
        warned(run, epochs),
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
        print(printable(f"{line}: the last bits may change"), file=sys.stderr)
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
