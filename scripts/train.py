"""Train a two-layer network (or a linear classifier); save it and a plot of the run."""

import shlex
import sys
from collections.abc import Iterator

from tqdm import tqdm

from fnnet.checkpoint import Checkpoint, previous_path, save_checkpoint
from fnnet.cli import command_line, run, train_command
from fnnet.experiment import prepare
from fnnet.files import check_writable
from fnnet.record import data_digest, environment
from fnnet.resume import check_same_data, differences
from fnnet.threads import use_threads
from fnnet.training import History, TrainState


def main() -> int:
    config, before = train_command()
    check_writable("plot_file", config.plot_file)
    check_writable("checkpoint_file", config.checkpoint_file)
    with use_threads(config.num_threads):
        experiment = prepare(config, None if before is None else before.preprocessing)
        record = environment() | {"training data": data_digest(experiment.train)}
    print("settings:", shlex.join(command_line(config)))
    steps = experiment.steps_per_epoch
    start, history = experiment.start(), History()
    if before is not None:
        check_same_data(before, record)
        start, history = before.state, before.history
        print(f"going on after epoch {start.step // steps}")
        for line in differences(before, record):
            print(f"{line}: the last bits may change", file=sys.stderr)

    def with_progress() -> Iterator[TrainState]:
        total = config.num_epochs * steps
        for state in tqdm(
            experiment.states(start),
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
                if epoch % config.checkpoint_every == 0:
                    saved = save(state, history)
                tqdm.write(
                    f"epoch {epoch:3d}/{config.num_epochs}"
                    f"  train accuracy {history.train_accuracy[-1]:.2%}"
                    f"  validation accuracy {history.val_accuracy[-1]:.2%}"
                )
    except KeyboardInterrupt:
        code = 130
        print("interrupted", file=sys.stderr)
    state, history = result
    if state.step == 0:
        print("no epoch was finished: nothing written", file=sys.stderr)
        return code
    if state is not saved:
        saved = save(state, history)
    from fnnet.plots import plot_history  # matplotlib is slow to import: training goes first

    plot_history(history, config.plot_file)
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
    run(main)
