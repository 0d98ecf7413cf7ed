"""Train a two-layer network (or a linear classifier); save it and a plot of the run."""

import shlex
import sys
from collections.abc import Iterator

from tqdm import tqdm

from fnnet.checkpoint import Checkpoint, save_checkpoint
from fnnet.cli import command_line, run, train_config
from fnnet.experiment import prepare
from fnnet.files import check_writable
from fnnet.threads import use_threads
from fnnet.training import TrainState, epochs


def main() -> int:
    config = train_config()
    check_writable("plot_file", config.plot_file)
    check_writable("checkpoint_file", config.checkpoint_file)
    experiment = prepare(config)
    print("settings:", shlex.join(command_line(config)))
    steps = experiment.steps_per_epoch

    def with_progress() -> Iterator[TrainState]:
        total = config.num_epochs * steps
        for state in tqdm(experiment.states(), total=total, unit="step", leave=False, disable=None):
            if state.step % config.print_every == 0 or state.step == total:
                tqdm.write(f"step {state.step:6d}/{total}  loss {state.loss:.4f}")
            yield state

    result = None
    code = 0
    try:
        with use_threads(config.num_threads):
            for result in epochs(with_progress(), steps, experiment.evaluate):
                state, history = result
                tqdm.write(
                    f"epoch {state.step // steps:3d}/{config.num_epochs}"
                    f"  train accuracy {history.train_accuracy[-1]:.2%}"
                    f"  validation accuracy {history.val_accuracy[-1]:.2%}"
                )
    except KeyboardInterrupt:
        code = 130
        print("interrupted", file=sys.stderr)
    if result is None:
        print("no epoch was finished: nothing written", file=sys.stderr)
        return code
    state, history = result
    save_checkpoint(
        config.checkpoint_file,
        Checkpoint(
            config=config,
            params=state.params,
            preprocessing=experiment.preprocessing,
            class_names=experiment.train.class_names,
            history=history,
        ),
    )
    from fnnet.plots import plot_history  # matplotlib is slow to import: training goes first

    plot_history(history, config.plot_file)
    print(f"wrote {config.checkpoint_file} and {config.plot_file}")
    best = history.best_epoch
    print(f"best validation accuracy {history.val_accuracy[best - 1]:.2%} after epoch {best}")
    if config.test_shift:
        with use_threads(config.num_threads):
            val_accuracy = experiment.accuracy(state.params, experiment.val, config.test_shift)
        print(f"validation accuracy {val_accuracy:.2%}, averaged over shifts, after the last epoch")
    return code


if __name__ == "__main__":
    run(main)
