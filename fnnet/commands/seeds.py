"""Trainings of one or several settings with several seeds, and the table that compares them."""

import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
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
from fnnet.runs.settings import TrainConfig
from fnnet.search.comparison import Sample, aligned, compare, verdict
from fnnet.search.halving import Job
from fnnet.search.plan import show
from fnnet.search.space import Choice, Range, Space
from fnnet.search.workers import processes
from fnnet.threads import default_num_threads, use_threads
from fnnet.training import DivergenceError, History
from fnnet.waiting import announced


@frozen
class SeedResult:
    """What a run reached."""

    trial: int
    curve: tuple[float, ...]
    """Validation accuracy after each epoch."""
    final: float
    """That of the last epoch; averaged over shifts if the settings say so."""
    diverged: str = ""
    """Why it ended early, if it did."""


@frozen
class SeedRun:
    """A run of one setting with one seed, and where it is saved."""

    setting: str
    seed: int
    path: Path
    config: TrainConfig


def seed_path(path: Path, seed: int, changes: Mapping[str, Any]) -> Path:
    """Return where the run of a seed is saved.

    >>> seed_path(Path("checkpoint.npz"), 3, {}).name
    'checkpoint.seed-3.npz'
    >>> seed_path(Path("checkpoint.npz"), 0, {"reg": 0.01}).name
    'checkpoint.reg-0.01.seed-0.npz'
    """
    words = [f"{name}-{show(value)}" for name, value in changes.items()]
    return path.with_name(".".join([path.stem, *words, f"seed-{seed}"]) + path.suffix)


def seed_runs(command: TrainCommand, ranges: Mapping[str, Range]) -> list[SeedRun]:
    """Return the runs that the command line asks for: each combination of choices, each seed.

    Raises:
        ValueError, TypeError: a range is not a choice, or a setting cannot have a value.
    """
    for name, values in ranges.items():
        if not isinstance(values, Choice):
            raise ValueError(f"{name} must be one value or choice:A,B,C with seeds, found {values}")
    choices: dict[str, Sequence[Any]] = {
        name: values.values for name, values in ranges.items() if isinstance(values, Choice)
    }
    if choices:
        Space(ranges)  # checks that the settings can have the values
    config, number = command.config, command.seeds or 1
    runs = []
    for chosen in itertools.product(*choices.values()):
        changes = dict(zip(choices, chosen, strict=True))
        setting = ", ".join(f"{name} {show(value)}" for name, value in changes.items())
        for seed in range(config.seed, config.seed + number):
            path = seed_path(command.checkpoint_file, seed, changes)
            settings = evolve(config, **changes, seed=seed, num_threads=1)
            runs.append(SeedRun(setting or "these settings", seed, path, settings))
    return runs


def train_seeds(command: TrainCommand, ranges: Mapping[str, Range]) -> int:
    """Train each run, going on with what is saved; print and write the accuracies.

    Returns:
        the exit code: 1 if a run diverged.
    """
    runs = seed_runs(command, ranges)
    check_writable("checkpoint_file", runs[0].path)
    workers = min(command.workers or default_num_threads(), len(runs))
    settings = len(runs) // (command.seeds or 1)
    what = f"{settings} settings, {command.seeds} seeds each" if ranges else f"{len(runs)} seeds"
    print(f"{what}, on {workers} processes of one thread")
    examples = len(load_parts(command.config)[1])
    is_new = not any(run.path.exists() for run in runs)
    results: dict[int, SeedResult] = {}
    jobs = [Job(i, run.config, 0, run.config.num_epochs) for i, run in enumerate(runs)]
    with (
        locked(command.checkpoint_file),
        processes(workers) as pool,
        tqdm(total=len(runs), unit="run", leave=False, disable=None) as bar,
    ):
        train: Any = partial(train_seed, [run.path for run in runs])
        done: Iterable[Any] = pool.run(train, jobs)
        for result in announced(done, partial(_tell, bar, runs, results)):
            bar.update()
            results[result.trial] = result
            run = runs[result.trial]
            name = f"{run.setting}, seed {run.seed}" if ranges else f"seed {run.seed}"
            tqdm.write(f"{name}: {result.diverged or _accuracies(result)}  {run.path}")
    good = {i: result for i, result in sorted(results.items()) if not result.diverged}
    if good:
        _report(command.checkpoint_file, runs, good, examples, is_new)
    if len(good) < len(runs):
        print(f"{len(runs) - len(good)} of {len(runs)} runs diverged", file=sys.stderr)
    return int(len(good) < len(runs))


def _report(
    path: Path, runs: Sequence[SeedRun], good: Mapping[int, SeedResult], examples: int, is_new: bool
) -> None:
    """Print the table of the settings, and write it with its figure."""
    last = samples(runs, good)
    rows = compare(last, examples)
    print(f"validation accuracy after the last epoch, on {examples} examples")
    print(aligned(rows))
    if len(last) > 1:
        print(verdict(last, examples))
    from fnnet.plots.comparison import plot_comparison  # matplotlib is slow to import

    base = path.with_suffix(".seeds.npz")
    written = write_tables(base, rows, plot_comparison(last, examples), is_new)
    print("wrote", ", ".join(map(str, written)))


def samples(runs: Sequence[SeedRun], results: Mapping[int, SeedResult]) -> list[Sample]:
    """Return the final accuracies of the runs with these numbers, as a sample for each setting."""
    found: dict[str, dict[int, float]] = {}
    for i, result in results.items():
        found.setdefault(runs[i].setting, {})[runs[i].seed] = result.final
    return [Sample(name, values) for name, values in found.items()]


def _tell(bar: "tqdm[Any]", runs: Sequence[SeedRun], results: Iterable[int]) -> None:
    """Say what is waited for, unless a progress bar shows it."""
    if bar.disable:
        missing = [str(run.path) for i, run in enumerate(runs) if i not in results]
        print(f"waiting for {', '.join(missing[:5])}", file=sys.stderr)


def _accuracies(result: SeedResult) -> str:
    best = max(result.curve)
    epoch = result.curve.index(best) + 1
    averaged = "" if result.final == result.curve[-1] else f", {result.final:.2%} over shifts"
    return f"last epoch {result.curve[-1]:.2%}{averaged}, best {best:.2%} after epoch {epoch}"


def train_seed(paths: Sequence[Path], job: Job) -> SeedResult:
    """Train a run on one thread, from where it is saved, and save every epoch.

    Args:
        paths: where the runs are saved, by the number of the job's trial.
        job: what to train.
    """
    with use_threads(1):
        return _train_seed(paths[job.trial], job)


def _train_seed(path: Path, job: Job) -> SeedResult:
    run = prepare(job.config)
    provenance = run_provenance(run.train, run.val)
    state, history = run.start(), History()
    saved = load_whole(path)
    if saved is not None and is_saved_run(saved, job.config, provenance):
        if saved.num_epochs > job.config.num_epochs:
            raise ValueError(f"num_epochs must be at least {saved.num_epochs}, as in {path}")
        state, history = saved.state(), saved.history
    tell = partial(print, file=sys.stderr)
    epochs = saving(path, run, provenance, run.epochs(state, history), tell=tell)
    try:
        for state, history in epochs:  # noqa: B007  # the last ones are used
            pass
    except DivergenceError as error:
        return SeedResult(job.trial, tuple(map(float, history.val_accuracy)), 0.0, str(error))
    curve = tuple(map(float, history.val_accuracy))
    shift = job.config.tta_shift
    final = run.accuracy(state.params, run.val, shift) if shift else curve[-1]
    return SeedResult(job.trial, curve, final)
