"""Search for the settings with the best validation accuracy, on processes or on a cluster."""

import hashlib
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from attrs import field, frozen
from tqdm import tqdm

from fnnet.checks import as_integer, as_path
from fnnet.commands.flags import (
    command_line,
    default_settings,
    note_unused,
    preset_of,
    program,
)
from fnnet.commands.program import printable
from fnnet.commands.ranges import pull_ranges
from fnnet.commands.tables import write_tables
from fnnet.commands.train_flags import Preset
from fnnet.files import check_writable
from fnnet.runs.parts import load_parts
from fnnet.runs.presets import PRESETS
from fnnet.runs.settings import TrainConfig, without_effect
from fnnet.search.cluster import cluster
from fnnet.search.comparison import examples_error, percent, verdict
from fnnet.search.halving import Result, cost, rank, successive_halving
from fnnet.search.journal import encode, open_journal
from fnnet.search.plan import Search, plan_search
from fnnet.search.trial import save_parts, train_trial
from fnnet.search.workers import Workers, processes
from fnnet.threads import default_num_threads, use_threads
from fnnet.validators import one_of
from fnnet.waiting import announced


@frozen
class TuneCommand:
    """Settings of a search."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="", help="Settings of all trainings.")]
    preset: Preset = field(default="digits", validator=one_of(*PRESETS))
    """Where the defaults of the settings come from: a dataset, or a recipe for CIFAR-10."""
    trials: int = 27
    """How many combinations of settings to try."""
    budget: int | None = None
    """Most epochs of all trainings together; by default a third of trials times num-epochs, or the
    least that a search needs if that is more."""
    workers: int = field(factory=default_num_threads)
    """Processes that train, each with one thread."""
    scheduler: str | None = None
    """Train on the workers of a Dask cluster instead: tcp://HOST:PORT."""
    journal: Path = Path("tune.jsonl")
    """Where results are noted as they come in; an interrupted search goes on from it."""


def tune_command(args: Sequence[str]) -> tuple[TuneCommand, Search]:
    """Return what the command line says, and the search that it asks for.

    Raises:
        ValueError, TypeError: no setting has a range, or one cannot have it; the budget is
            too small; or anything else that is wrong. The message names the flag.
    """
    args, ranges = pull_ranges(args)
    preset = preset_of(args)
    default = TuneCommand(default_settings(args, num_threads=1), preset)  # type: ignore[arg-type]
    command = tyro.cli(
        TuneCommand,
        default=default,
        args=args,
        description="Search for the settings with the best validation accuracy. Instead of a "
        "value, a setting can have a range: uniform:LOW:HIGH, log:LOW:HIGH or choice:A,B,C, "
        "as in --learning-rate log:0.01:1. --patience and --num-threads are for single runs, and "
        "refused.",
    )
    if command.config.num_threads != 1:
        raise ValueError(
            f"num_threads must be 1, found {command.config.num_threads}: a worker has one thread"
        )
    if command.config.patience is not None:
        raise ValueError("patience must be None: a search ends trials by their rank")
    if as_path("journal", command.journal).suffix != ".jsonl":
        raise ValueError(f"journal must end in .jsonl, found {command.journal}")
    as_integer("workers", command.workers, low=1)
    search = plan_search(command.config, ranges, command.trials, command.budget)
    everywhere = [without_effect(config).items() for config in search.configs]
    note_unused(args, dict(set.intersection(*map(set, everywhere))))
    return command, search


def main() -> int:
    """Search as the command line says."""
    return tune(*tune_command(sys.argv[1:]))


def tune(command: TuneCommand, search: Search) -> int:
    """Run a search, or go on with it, and return the exit code."""
    check_writable("journal", command.journal)
    with use_threads(1):
        parts = load_parts(search.config)
        identity = search.identity(*parts)
    folder = _folder(command, identity)
    scheduler, tell = command.scheduler, partial(tqdm.write, file=sys.stderr)
    results: list[Result] = []
    with (
        processes(command.workers) if scheduler is None else cluster(scheduler, tell) as workers,
        open_journal(command.journal, identity, search.rungs) as (known, append),
    ):
        results += known
        _announce(command, search, known, workers)
        try:
            save_parts(folder, *parts)
            train = partial(train_trial, folder)
            news = successive_halving(search.configs, search.rungs, train, workers.run, known)
            for result in _with_progress(search, results, workers.number, news):
                append(result)
                results.append(result)
        except (KeyboardInterrupt, OSError, MemoryError):
            kept = f"results kept in {command.journal}: {len(results)}"
            print(f"{kept}; the same command goes on from there", file=sys.stderr)
            raise
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # another search, or the user, has something in it
        folder.parent.rmdir()
    return _finish(command, search, rank(results), len(parts[1]), is_new=not known)


def _folder(command: TuneCommand, identity: Mapping[str, Any]) -> Path:
    """Return where the workers find the data and keep states, a place of this search alone."""
    digest = hashlib.sha256(encode(identity)).hexdigest()
    return command.journal.absolute().with_suffix(".work") / digest[:16]


def _announce(
    command: TuneCommand, search: Search, known: Sequence[Result], workers: Workers
) -> None:
    plan = ", ".join(f"{rung.trials} to epoch {rung.epochs}" for rung in search.rungs)
    print(f"training: {plan}; {cost(search.rungs)} epochs in all")
    if known:
        print(f"going on after {len(known)} results in {command.journal}")
    for line in workers.differences:
        print(printable(f"{line}: the last bits may change"), file=sys.stderr)


def _with_progress(
    search: Search, results: Sequence[Result], workers: int, news: Iterator[Result]
) -> Iterator[Result]:
    """Pass results on, and show a progress bar; the caller adds them to `results`.

    Without a terminal, a line says what is waited for when no result comes for ten seconds.
    """

    def say() -> None:
        if bar.disable:
            print(f"waiting: {search.progress(results, workers)}", file=sys.stderr)

    with tqdm(
        total=cost(search.rungs), initial=search.epochs_of(results),
        unit="epoch", mininterval=0, smoothing=0, leave=False, disable=None,
    ) as bar:  # fmt: skip
        bar.set_postfix_str(search.progress(results, workers))
        for result in announced(news, say):
            yield result
            bar.set_postfix_str(search.progress(results, workers), refresh=False)
            bar.total = search.cost(results)
            bar.update(search.epochs_of([result]))


def _finish(
    command: TuneCommand, search: Search, ranking: Sequence[Result], examples: int, is_new: bool
) -> int:
    """Print the trials, the best first, write the table, and print how to train the best."""
    best = ranking[0]
    rows = search.rows(ranking, examples)
    from fnnet.plots.search import plot_search  # matplotlib is slow to import: training goes first

    figure = plot_search(ranking, search.settings, search.space)
    write_tables(command.journal, rows, figure, is_new, command.journal)
    if best.diverged:
        print("every trial diverged: try lower learning rates")
        return 1
    rivals = [r for r in ranking[:2] if r.epochs == best.epochs and not r.diverged]
    if len(rivals) == 2:
        print(verdict({f"trial {r.trial}": {0: r.score} for r in rivals}, examples))
    after = f"epoch {best.epochs} of {search.config.num_epochs}"
    accuracy = percent(best.score, examples_error(best.score, examples))
    print(f"best: trial {best.trial}, validation accuracy {accuracy} % after {after}; train it:")
    print(shlex.join([*program("train"), *command_line(search.configs[best.trial])]))
    return 0
