"""Train a two-layer network (or a linear classifier); save it and a plot of the run."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial

from tqdm import tqdm

from fnnet.commands.mpi import ranks
from fnnet.commands.program import INTERRUPTED, command_line, run, train_command
from fnnet.files import check_writable
from fnnet.runs.checkpoint import Checkpoint, previous_path, save_checkpoint
from fnnet.runs.provenance import data_digest, environment, params_digest
from fnnet.runs.ranks import SERIAL, Comm, check_ranks, check_same
from fnnet.runs.resume import check_same_data, differences, fixed_settings
from fnnet.runs.run import prepare
from fnnet.threads import use_threads
from fnnet.training import History, TrainState


def main(comm: Comm = SERIAL) -> int:
    config, before = train_command()
    check_ranks(comm.size, config.micro_batches)
    writes = comm.rank == 0  # every rank has the same result; nobody hears the others print
    if writes:
        check_writable("plot_file", config.plot_file)
        check_writable("checkpoint_file", config.checkpoint_file)
    with use_threads(config.num_threads):
        experiment = prepare(config, None if before is None else before.preprocessing)
        record = environment() | {"training data": data_digest(experiment.train)}
    if comm.size > 1:
        print(f"{comm.size} ranks")
    print("settings:", shlex.join(command_line(config)))
    steps = experiment.steps_per_epoch
    start, history = experiment.start(), History()
    if before is not None:
        check_same_data(before, record)
        start, history = before.state, before.history
        print(f"going on after epoch {start.step // steps}")
        for line in differences(before, record):
            print(f"{line}: the last bits may change", file=sys.stderr)

    check_same(
        comm,
        {
            "settings": str(fixed_settings(config)),
            "training data": record["training data"],
            "start": params_digest(start.params),
        },
    )

    def with_progress() -> Iterator[TrainState]:
        total = config.num_epochs * steps
        for state in tqdm(
            experiment.states(start, comm),
            initial=start.step, total=total, unit="step", leave=False, disable=None,
        ):  # fmt: skip
            if state.step % config.print_every == 0 or state.step == total:
                tqdm.write(f"step {state.step:6d}/{total}  loss {state.loss:.4f}")
            yield state

    def save(state: TrainState, history: History) -> TrainState:
        checkpoint = Checkpoint(
            config=config,
            params=state.params,
            preprocessing=experiment.preprocessing,
            class_names=experiment.train.class_names,
            history=history,
            velocity=state.opt_state.velocity,
            record=record,
        )
        save_checkpoint(
            config.checkpoint_file, checkpoint, previous=previous_path(config.checkpoint_file)
        )
        return state

    result, saved = (start, history), start
    code = 0
    try:
        with use_threads(config.num_threads):
            for result in experiment.epochs(with_progress(), history):
                state, history = result
                epoch = state.step // steps
                if writes and epoch % config.checkpoint_every == 0:
                    saved = save(state, history)
                tqdm.write(
                    f"epoch {epoch:3d}/{config.num_epochs}"
                    f"  train accuracy {history.train_accuracy[-1]:.2%}"
                    f"  validation accuracy {history.val_accuracy[-1]:.2%}"
                )
    except KeyboardInterrupt:
        code = INTERRUPTED
        print("interrupted", file=sys.stderr)
    if not writes:
        return code
    state, history = result
    if state.step == 0:
        print("no epoch was finished: nothing written", file=sys.stderr)
        return code
    if state is not saved:
        saved = save(state, history)
    from fnnet import plots  # matplotlib is slow to import: training goes first

    plots.save(plots.plot_history(history), config.plot_file)
    written = [config.checkpoint_file] * (saved is not start) + [config.plot_file]
    print("wrote", " and ".join(map(str, written)))
    best = history.best_epoch
    print(f"best validation accuracy {history.val_accuracy[best - 1]:.2%} after epoch {best}")
    if config.test_shift:
        with use_threads(config.num_threads):
            val_accuracy = experiment.accuracy(state.params, experiment.val, config.test_shift)
        print(f"validation accuracy {val_accuracy:.2%}, averaged over shifts, after the last epoch")
    return code


if __name__ == "__main__":
    with ranks() if "--distributed" in sys.argv else nullcontext(SERIAL) as ours:
        run(partial(main, ours))
