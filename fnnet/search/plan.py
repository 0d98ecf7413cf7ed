"""A whole search as one value: what is tried, what it depends on, and how far it has come."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import asdict, evolve, frozen

from fnnet.data.dataset import Dataset
from fnnet.runs.provenance import data_digest, environment
from fnnet.runs.settings import FREE, TrainConfig
from fnnet.search.comparison import examples_error, percent
from fnnet.search.halving import Result, Rung, cost, plan_rungs
from fnnet.search.space import Range, Space, sample


@frozen(eq=False)
class Search:
    """A search, checked as far as it can be without the data."""

    config: TrainConfig
    """The settings; in each trial its own values replace those that have a range."""
    space: Space
    rungs: Sequence[Rung]
    settings: Sequence[Mapping[str, Any]]
    """Those of each trial that have a range."""
    configs: Sequence[TrainConfig]
    """All settings of each trial."""

    def identity(self, train: Dataset, val: Dataset) -> dict[str, Any]:
        """Return all that the results depend on, by name: settings, data, programs, machine."""
        settings = asdict(self.config) | {n: str(r) for n, r in self.space.ranges.items()}
        return {
            "trials": self.rungs[0].trials,
            "budget": cost(self.rungs),
            **{n: value for n, value in settings.items() if n not in FREE},
            "training data": data_digest(train),
            "validation data": data_digest(val),
            **environment(),
        }

    def epochs_of(self, results: Iterable[Result]) -> int:
        """Return the planned epochs of the results; one that diverged counts in full."""
        heights = [0, *(rung.epochs for rung in self.rungs)]
        return sum(r.epochs - heights[heights.index(r.epochs) - 1] for r in results)

    def jobs(self, results: Sequence[Result]) -> list[int]:
        """Return how many trials each rung trains; those that diverged are in no later rung."""
        numbers: list[int] = []
        alive = self.rungs[0].trials
        for rung in self.rungs:
            numbers.append(min(rung.trials, alive))
            diverged = sum(r.epochs == rung.epochs and bool(r.diverged) for r in results)
            alive = numbers[-1] - diverged
        return numbers

    def cost(self, results: Sequence[Result]) -> int:
        """Return the planned epochs of all jobs, as far as it is known which ones there are."""
        return cost(
            [evolve(r, trials=n) for r, n in zip(self.rungs, self.jobs(results), strict=True)]
        )

    def progress(self, results: Sequence[Result], workers: int) -> str:
        """Return what is done, what is running, and the best so far, as a few words."""
        jobs = self.jobs(results)
        left = [
            number - sum(x.epochs == rung.epochs for x in results)
            for rung, number in zip(self.rungs, jobs, strict=True)
        ]
        running = min(next(filter(None, left), 0), workers)
        done = f"{len(results)} of {sum(jobs)} done, {running} running"
        best = max((result.score for result in results), default=-1)
        return done if best < 0 else f"{done}, best {best:.2%}"

    def rows(self, ranking: Sequence[Result], examples: int) -> list[dict[str, Any]]:
        """Return a row of a table for each trial; accuracies have the digits that n examples allow.

        Args:
            ranking: the trials, the best first.
            examples: how many validation examples the accuracies were measured on.
        """
        rows = []
        for place, result in enumerate(ranking, start=1):
            accuracy, spread = "diverged", ""
            if not result.diverged:
                error = examples_error(result.score, examples)
                accuracy, spread = percent(result.score, error), percent(error, error)
            row = {
                "rank": place,
                "trial": result.trial,
                "epochs": result.epochs,
                "validation (%)": accuracy,
                "error of the examples": spread,
            }
            values = self.settings[result.trial]
            rows.append(row | {name: show(values[name]) for name in sorted(self.space.ranges)})
        return rows


def show(value: object) -> str:
    """Return a setting as the table shows it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def plan_search(
    config: TrainConfig, ranges: Mapping[str, Range], trials: int, budget: int | None
) -> Search:
    """Return the search that tries `trials` combinations of settings from their ranges.

    Raises:
        ValueError, TypeError: no setting has a range, or one cannot have it; the budget is
            too small. The message names the setting.
    """
    if not ranges:
        raise ValueError("no setting has a range: give one, as in --learning-rate log:0.01:1")
    space = Space(ranges)
    rungs = plan_rungs(trials, config.num_epochs, budget)
    settings = sample(space, trials, config.seed)
    return Search(config, space, rungs, settings, [evolve(config, **v) for v in settings])
