"""What ``scripts/tune.py`` is made of: command line, identity of a search, table of its trials."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import tyro
from attrs import asdict, evolve, field, fields_dict, frozen

from fnnet.checks import as_integer, as_path
from fnnet.commands.program import defaults
from fnnet.data.dataset import Dataset
from fnnet.runs.provenance import data_digest, environment
from fnnet.runs.resume import FREE
from fnnet.runs.settings import TrainConfig
from fnnet.search.halving import Result, Rung, cost, plan_rungs
from fnnet.search.journal import encode
from fnnet.search.space import Choice, LogUniform, Range, Space, Uniform, sample
from fnnet.search.workers import Workers, cluster, processes
from fnnet.threads import default_num_threads

KINDS: dict[str, Any] = {"uniform": Uniform, "log": LogUniform, "choice": Choice}


@frozen
class TuneCommand:
    """Settings of a search."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="", help="Settings of all trainings.")]
    trials: int = 27
    """How many combinations of settings to try."""
    budget: int | None = None
    """Epochs of all trainings together; by default a third of trials times num-epochs."""
    workers: int = field(factory=default_num_threads)
    """Processes that train, each with one thread."""
    scheduler: str | None = None
    """Train on the workers of a Dask cluster instead: tcp://HOST:PORT."""
    journal: Path = Path("tune.jsonl")
    """Where results are noted as they come in; an interrupted search goes on from it."""


@frozen(eq=False)
class Search:
    """A search, checked as far as it can be without the data."""

    command: TuneCommand
    space: Space
    rungs: Sequence[Rung]
    settings: Sequence[Mapping[str, Any]]
    """Those of each trial that have a range."""
    configs: Sequence[TrainConfig]
    """All settings of each trial."""

    def workers(self) -> AbstractContextManager[Workers]:
        """Return who trains, as the command line says."""
        scheduler = self.command.scheduler
        return processes(self.command.workers) if scheduler is None else cluster(scheduler)

    def identity(self, train: Dataset, val: Dataset) -> dict[str, Any]:
        """Return all that the results depend on, by name: settings, data, programs, machine."""
        settings = asdict(self.command.config) | {n: str(r) for n, r in self.space.ranges.items()}
        return {
            "trials": self.rungs[0].trials,
            "budget": cost(self.rungs),
            **{n: value for n, value in settings.items() if n not in FREE | {"preset"}},
            "training data": data_digest(train),
            "validation data": data_digest(val),
            **environment(),
        }

    def folder(self, identity: Mapping[str, Any]) -> Path:
        """Return where the workers find the data and keep states, a place of this search alone."""
        digest = hashlib.sha256(encode(identity)).hexdigest()
        return self.command.journal.absolute().with_suffix(".work") / digest[:16]

    def epochs_of(self, results: Iterable[Result]) -> int:
        """Return the epochs that were trained for the results."""
        heights = [0, *(rung.epochs for rung in self.rungs)]
        return sum(r.epochs - heights[heights.index(r.epochs) - 1] for r in results)

    def progress(self, results: Sequence[Result], workers: int) -> str:
        """Return what is done, what is running, and the best so far, as a few words."""
        left = [r.trials - sum(x.epochs == r.epochs for x in results) for r in self.rungs]
        running = min(next(filter(None, left), 0), workers)
        done = f"{len(results)} of {len(results) + sum(left)} done, {running} running"
        best = max((result.score for result in results), default=-1)
        return done if best < 0 else f"{done}, best {best:.2%}"

    def table(self, ranking: Sequence[Result]) -> str:
        """Return the ranked trials as lines of text."""
        names = sorted(self.space.ranges)
        rows = [("rank", "trial", "epochs", "validation", *names)]
        for place, result in enumerate(ranking, start=1):
            accuracy = "diverged" if result.diverged else f"{result.score:.2%}"
            values = (show(self.settings[result.trial][name]) for name in names)
            rows.append((str(place), str(result.trial), str(result.epochs), accuracy, *values))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = (map(str.rjust, row, widths) for row in rows)
        return "\n".join("  ".join(line) for line in lines)


def show(value: object) -> str:
    """Return a setting as the table shows it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def tune_command(args: Sequence[str]) -> Search:
    """Return the search that the command line asks for.

    Raises:
        ValueError, TypeError: no setting has a range, or one cannot have it; the budget is
            too small; or anything else that is wrong. The message names the flag.
    """
    args, ranges = pull_ranges(args)
    command = tyro.cli(
        TuneCommand,
        default=TuneCommand(evolve(defaults(args), num_threads=1)),
        args=args,
        description="Search for the settings with the best validation accuracy. Instead of a "
        "value, a setting can have a range: uniform:LOW:HIGH, log:LOW:HIGH or choice:A,B,C, "
        "as in --learning-rate log:0.01:1.",
    )
    config = command.config
    if not ranges:
        raise ValueError("no setting has a range: give one, as in --learning-rate log:0.01:1")
    if config.num_threads != 1:
        raise ValueError(
            f"num_threads must be 1, found {config.num_threads}: a worker has one thread"
        )
    if as_path("journal", command.journal).suffix != ".jsonl":
        raise ValueError(f"journal must end in .jsonl, found {command.journal}")
    as_integer("workers", command.workers, low=1)
    space = Space(ranges)
    rungs = plan_rungs(command.trials, config.num_epochs, command.budget)
    settings = sample(space, command.trials, config.seed)
    configs = [evolve(config, **values) for values in settings]
    return Search(command, space, rungs, settings, configs)


def pull_ranges(args: Sequence[str]) -> tuple[list[str], dict[str, Range]]:
    """Return the command line without the settings that are given a range, and these.

    Raises:
        ValueError: a range cannot be read, or a setting is given twice.

    >>> pull_ranges(["--reg", "log:1e-4:1", "--seed", "3"])
    (['--seed', '3'], {'reg': LogUniform(low=0.0001, high=1.0)})
    """
    words, rest, ranges = [*args], list[str](), dict[str, Range]()
    fixed = set()
    while words:
        word = words.pop(0)
        flag, equals, value = word.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if not equals and words:
            value = words[0]
        if flag.startswith("--") and name in fields_dict(TrainConfig):
            if name in ranges:
                raise ValueError(f"{name} is given twice")
            if value.partition(":")[0] in KINDS and ":" in value:
                ranges[name] = parse_range(name, value)
                words = words if equals else words[1:]
                continue
            fixed.add(name)
        rest.append(word)
    if fixed & ranges.keys():
        raise ValueError(f"{min(fixed & ranges.keys())} is given twice")
    return rest, ranges


def parse_range(name: str, text: str) -> Range:
    """Return the range of a setting that the text stands for.

    >>> parse_range("hidden_dim", "choice:64,128")
    Choice(values=(64, 128))
    """
    kind, _, rest = text.partition(":")
    values = [parse_value(name, part) for part in rest.split("," if kind == "choice" else ":")]
    if kind == "choice":
        return Choice(values)
    if len(values) != 2:
        raise ValueError(f"{name} must be {kind}:LOW:HIGH, found {text}")
    try:
        made: Range = KINDS[kind](*values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be {kind}:LOW:HIGH, found {text}: {error}") from None
    return made


def parse_value(name: str, text: str) -> object:
    """Return the value of a setting that the text stands for; :class:`Space` checks it."""
    kind: Any = fields_dict(TrainConfig)[name].type
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text) if kind in (int, float) else text
    except (KeyError, ValueError):
        wanted = {bool: "True or False", int: "an integer", float: "a number"}[kind]
        raise ValueError(f"{name} must be {wanted}, found {text[:40]!r}") from None
