"""One training with several seeds, on processes: mean and standard deviation of its accuracy."""

import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from attrs import evolve
from tqdm import tqdm

from fnnet.commands.train_flags import TrainCommand
from fnnet.files import check_writable, locked
from fnnet.runs.outputs import load_whole, saving
from fnnet.runs.provenance import run_provenance
from fnnet.runs.resume import is_saved_run
from fnnet.runs.run import prepare
from fnnet.search.halving import Job, Result
from fnnet.search.workers import processes
from fnnet.threads import default_num_threads, use_threads
from fnnet.training import DivergenceError, History
from fnnet.waiting import announced


def seed_path(path: Path, seed: int) -> Path:
    """Return where the run of a seed is saved.

    >>> seed_path(Path("checkpoint.npz"), 3).name
    'checkpoint.seed-3.npz'
    """
    return path.with_name(f"{path.stem}.seed-{seed}{path.suffix}")


def train_seeds(command: TrainCommand) -> int:
    """Train with each seed, going on with what is saved, and print the accuracies.

    Returns:
        the exit code: 1 if a run diverged.
    """
    config, number = command.config, command.seeds or 1
    seeds = range(config.seed, config.seed + number)
    check_writable("checkpoint_file", seed_path(command.checkpoint_file, seeds[0]))
    configs = {seed: evolve(config, seed=seed, num_threads=1) for seed in seeds}
    jobs = [Job(seed, configs[seed], 0, config.num_epochs) for seed in seeds]
    workers = min(command.workers or default_num_threads(), number)
    print(f"{number} seeds, {seeds[0]} to {seeds[-1]}, on {workers} processes of one thread")
    results: dict[int, Result] = {}
    train = partial(train_seed, command.checkpoint_file)
    with (
        locked(command.checkpoint_file),
        processes(workers) as pool,
        tqdm(total=number, unit="seed", leave=False, disable=None) as bar,
    ):
        for result in announced(pool.run(train, jobs), partial(_tell, bar, seeds, results)):
            bar.update()
            results[result.trial] = result
            path = seed_path(command.checkpoint_file, result.trial)
            tqdm.write(f"seed {result.trial}: {result.diverged or _accuracies(result)}  {path}")
    good = [results[seed] for seed in seeds if not results[seed].diverged]
    if len(good) > 1:
        for name, values in (
            ("last", [r.val_accuracy[-1] for r in good]),
            ("best", [max(r.val_accuracy) for r in good]),
        ):
            spread = f"{mean(values):.2%} ± {stdev(values):.2%}"
            print(f"validation accuracy of the {name} epochs: {spread} (mean ± standard deviation)")
    if len(good) < number:
        print(f"{number - len(good)} of {number} runs diverged", file=sys.stderr)
    return int(len(good) < number)


def _tell(bar: "tqdm[Any]", seeds: Iterable[int], results: Mapping[int, Result]) -> None:
    """Say what is waited for, unless a progress bar shows it."""
    if bar.disable:
        missing = [str(seed) for seed in seeds if seed not in results]
        print(f"waiting for seeds {', '.join(missing)}", file=sys.stderr)


def _accuracies(result: Result) -> str:
    best = max(result.val_accuracy)
    epoch = result.val_accuracy.index(best) + 1
    return f"last epoch {result.val_accuracy[-1]:.2%}, best {best:.2%} after epoch {epoch}"


def train_seed(path: Path, job: Job) -> Result:
    """Train the run of a seed on one thread, from where it is saved, and save every epoch.

    Args:
        path: the name from which :func:`seed_path` makes that of this seed.
        job: `trial` is the seed.
    """
    with use_threads(1):
        return _train_seed(seed_path(path, job.trial), job)


def _train_seed(path: Path, job: Job) -> Result:
    run = prepare(job.config)
    provenance = run_provenance(run.train, run.val)
    state, history, diverged = run.start(), History(), ""
    saved = load_whole(path)
    if saved is not None and is_saved_run(saved, job.config, provenance):
        if saved.num_epochs > job.config.num_epochs:
            raise ValueError(f"num_epochs must be at least {saved.num_epochs}, as in {path}")
        state, history = saved.state(), saved.history
    tell = partial(print, file=sys.stderr)
    epochs = saving(path, run, provenance, run.epochs(state, history), tell=tell)
    try:
        for _, history in epochs:  # noqa: B007  # the last one is used
            pass
    except DivergenceError as error:
        diverged = str(error)
    return Result(job.trial, job.stop, tuple(map(float, history.val_accuracy)), diverged)
