"""Trainings of one or several settings with several seeds, and the table that compares them."""

import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from tqdm import tqdm

from fnnet.commands.tables import write_tables
from fnnet.commands.train_flags import TrainCommand
from fnnet.files import check_writable, locked
from fnnet.runs.outputs import load_whole, saving
from fnnet.runs.parts import load_parts
from fnnet.runs.provenance import run_provenance
from fnnet.runs.resume import is_saved_run
from fnnet.runs.run import prepare
from fnnet.search.comparison import Sample, compare, verdict
from fnnet.search.halving import Job
from fnnet.search.plan import show
from fnnet.search.space import Choice, Range, Space
from fnnet.search.workers import processes
from fnnet.threads import default_num_threads, use_threads
from fnnet.training import DivergenceError, History
from fnnet.waiting import announced


@frozen
class SeedRun(Job):
    """The training of one setting with one seed, and where it is saved."""

    setting: str
    path: Path


def seed_path(path: Path, seed: int, changes: Mapping[str, Any]) -> Path:
    """Return where the run of a seed is saved.

    >>> seed_path(Path("checkpoint.npz"), 3, {}).name
    'checkpoint.seed-3.npz'
    >>> seed_path(Path("checkpoint.npz"), 0, {"reg": 0.01}).name
    'checkpoint.reg-0.01.seed-0.npz'
    """
    words = [f"{name}-{show(value)}" for name, value in changes.items()]
    return path.with_name(".".join([path.stem, *words, f"seed-{seed}"]) + path.suffix)


def seed_runs(command: TrainCommand, ranges: Mapping[str, Range]) -> Iterator[SeedRun]:
    """Yield the runs that the command line asks for: each combination of choices, each seed.

    Raises:
        ValueError, TypeError: a range is not a choice, or a setting cannot have a value.
    """
    choices = {name: r.values for name, r in ranges.items() if isinstance(r, Choice)}
    for name in sorted(ranges.keys() - choices.keys()):
        raise ValueError(
            f"{name} must be one value or choice:A,B,C with seeds, found {ranges[name]}"
        )
    if choices:
        Space(ranges)  # checks that the settings can have the values
    seeds = range(command.config.seed, command.config.seed + (command.seeds or 1))
    for trial, (*chosen, seed) in enumerate(itertools.product(*choices.values(), seeds)):
        changes = dict(zip(choices, chosen, strict=True))
        words = ", ".join(f"{name} {show(value)}" for name, value in changes.items())
        path = seed_path(command.checkpoint_file, seed, changes)
        config = evolve(command.config, **changes, seed=seed, num_threads=1)
        yield SeedRun(trial, config, 0, config.num_epochs, words or "these settings", path)


def train_seeds(command: TrainCommand, ranges: Mapping[str, Range]) -> int:
    """Train each run, going on with what is saved; print and write the accuracies.

    Returns:
        the exit code: 1 if a run diverged.
    """
    runs = [*seed_runs(command, ranges)]
    check_writable("checkpoint_file", runs[0].path)
    workers = min(command.workers or default_num_threads(), len(runs))
    print(f"runs: {len(runs)}, processes of one thread: {workers}")
    examples = len(load_parts(command.config)[1])
    is_new = not any(run.path.exists() for run in runs)
    missing = {run.trial: run for run in runs}
    samples: dict[str, dict[int, float]] = {}

    def say() -> None:
        if bar.disable:
            paths = [str(run.path) for run in missing.values()]
            print(f"waiting for {', '.join(paths[:5])}", file=sys.stderr)

    with (
        locked(command.checkpoint_file),
        processes(workers) as pool,
        tqdm(total=len(runs), unit="run", leave=False, disable=None) as bar,
    ):
        done: Iterable[Any] = pool.run(train_seed, runs)  # type: ignore[arg-type]
        for trial, accuracy, text in announced(done, say):
            bar.update()
            run = missing.pop(trial)
            tqdm.write(f"seed {run.config.seed}, {run.setting}: {text}  {run.path}")
            if accuracy is not None:
                samples.setdefault(run.setting, {})[run.config.seed] = accuracy
    if samples:
        _report(command.checkpoint_file.with_suffix(".seeds.npz"), samples, examples, is_new)
    if diverged := len(runs) - sum(map(len, samples.values())):
        print(f"{diverged} of {len(runs)} runs diverged", file=sys.stderr)
    return int(diverged > 0)


def _report(path: Path, samples: Mapping[str, Sample], examples: int, is_new: bool) -> None:
    """Print the table of the settings, and write it with its figure."""
    from fnnet.plots.comparison import plot_comparison  # matplotlib is slow to import

    print(f"validation accuracy after the last epoch, on {examples} examples")
    write_tables(path, compare(samples, examples), plot_comparison(samples, examples), is_new)
    if len(samples) > 1:
        print(verdict(samples, examples))


def train_seed(job: SeedRun) -> tuple[int, float | None, str]:
    """Train a run on one thread, from where it is saved, and save every epoch.

    Returns:
        the number of the run; its validation accuracy after the last epoch, averaged over shifts
        if the settings say so, or None if it diverged; and the same in words.
    """
    with use_threads(1):
        run = prepare(job.config)
        provenance = run_provenance(run.train, run.val)
        state, history = run.start(), History()
        saved = load_whole(job.path)
        if saved is not None and is_saved_run(saved, job.config, provenance):
            if (done := saved.num_epochs) > job.stop:
                raise ValueError(f"num_epochs must be at least {done}, as in {job.path}")
            state, history = saved.state(), saved.history
        epochs = run.epochs(state, history)
        tell = partial(print, file=sys.stderr)
        try:
            for state, history in saving(job.path, run, provenance, epochs, tell=tell):  # noqa: B007
                pass  # the last ones are used
        except DivergenceError as error:
            return job.trial, None, str(error)
        accuracy, best = float(history.val_accuracy[-1]), history.val_accuracy.max()
        text = f"last epoch {accuracy:.2%}, best {best:.2%} after epoch {history.best_epoch}"
        if shift := job.config.tta_shift:
            accuracy = run.accuracy(state.params, run.val, shift)
            text += f", {accuracy:.2%} over shifts"
        return job.trial, accuracy, text
