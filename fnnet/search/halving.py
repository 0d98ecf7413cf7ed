"""Which settings are best: random search and successive halving, on any kind of workers.

    configs = [evolve(config, **settings) for settings in sample(space, trials, seed)]
    rungs   = plan_rungs(trials, num_epochs, budget)
    results = successive_halving(configs, rungs, train, run=map)        # lazy
    table   = rank(results)

A result is a pure function of its job (train one trial from one rung to the next), and the next
jobs depend on the set of results alone. So `run` may be ``map`` or anything like it that returns
results in any order, on any number of workers: the table is the same, bit for bit.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from attrs import Attribute, field, frozen, validators

from fnnet.checks import as_integer, check_callable, check_type
from fnnet.limits import MAX_TRIALS
from fnnet.runs.settings import TrainConfig
from fnnet.search.space import as_tuple
from fnnet.validators import at_least, fraction

T = TypeVar("T")

REDUCTION = 3  # a third of the trials go on, to three times the epochs


@frozen
class Rung:
    """A part of a search: at most `trials` trials are trained to `epochs` epochs in all."""

    trials: int
    epochs: int


def plan_rungs(trials: int, num_epochs: int, budget: int | None = None) -> tuple[Rung, ...]:
    """Return the rungs of successive halving (Jamieson & Talwalkar 2016) that fit into a budget.

    After each rung the best third of the trials goes on to three times the epochs. The last
    rung has `num_epochs`. Accuracy after few epochs is a poor guide, so the plan has as few
    rungs as the budget allows. A budget of trials · num_epochs allows one rung: a random search.

    Args:
        trials: how many begin.
        num_epochs: of a whole training.
        budget: epochs of all trainings together; by default a third of trials · num_epochs,
            or the cost of the cheapest plan if that is more.

    Raises:
        TypeError, ValueError: a number is not an integer of at least 1, there are more than a
            million trials, or the budget is too small.

    >>> [(rung.trials, rung.epochs) for rung in plan_rungs(27, 27)]
    [(27, 3), (9, 9), (3, 27)]
    """
    trials = as_integer("trials", trials, 1, MAX_TRIALS)
    num_epochs = as_integer("num_epochs", num_epochs, low=1)
    sizes, heights = [trials], [num_epochs]
    while sizes[-1] > 1 and heights[-1] >= REDUCTION:
        sizes.append(max(1, sizes[-1] // REDUCTION))
        heights.append(heights[-1] // REDUCTION)
    plans = [
        tuple(map(Rung, sizes[:number], reversed(heights[:number])))
        for number in range(1, len(sizes) + 1)
    ]
    least = cost(plans[-1])
    limit = max(trials * num_epochs // REDUCTION, least)
    if budget is not None:
        limit = as_integer("budget", budget, low=1)
    for plan in plans:
        if cost(plan) <= limit:
            return plan
    raise ValueError(
        f"budget must be at least {least} epochs with trials {trials} and num_epochs {num_epochs}, "
        f"found {budget}"
    )


def cost(rungs: Sequence[Rung]) -> int:
    """Return the epochs of all trainings together; a trial goes on from where it was.

    >>> cost(plan_rungs(27, 27))
    189
    """
    starts = (0, *(rung.epochs for rung in rungs[:-1]))
    return sum(r.trials * (r.epochs - start) for r, start in zip(rungs, starts, strict=True))


@frozen
class Job:
    """Train one trial from one rung to the next."""

    trial: int
    config: TrainConfig
    start: int
    """Epochs that it has been trained for."""
    stop: int
    """Epochs to train it to, in all."""


def _fractions(_: object, attribute: "Attribute[Any]", values: object) -> None:
    validators.deep_iterable(fraction, validators.instance_of(tuple))(None, attribute, values)  # type: ignore[arg-type]


@frozen
class Result:
    """What came of a job, or of all jobs of a trial."""

    trial: int = field(validator=[validators.instance_of(int), at_least(0)])
    epochs: int = field(validator=[validators.instance_of(int), at_least(1)])
    """Epochs of the trial at the end of its rung, in all; one that diverged did fewer."""
    val_accuracy: tuple[float, ...] = field(converter=as_tuple, validator=_fractions)
    """Fraction of the validation examples that are right, after each epoch."""
    diverged: str = field(default="", validator=validators.instance_of(str))
    """Why training ended too early; empty if it did not."""

    @property
    def score(self) -> float:
        """What trials are chosen by: validation accuracy after the last epoch, -1 if diverged."""
        return -1.0 if self.diverged else self.val_accuracy[-1]


Run = Callable[[Callable[[Job], Result], Sequence[Job]], Iterable[Result]]
"""``map``, or what does the same with the results in any order."""


def successive_halving(
    configs: Sequence[TrainConfig],
    rungs: Sequence[Rung],
    train: Callable[[Job], Result],
    run: Run = map,
    known: Iterable[Result] = (),
) -> Iterator[Result]:
    """Yield the result of each job of a search as soon as it is there, lazily.

    Args:
        configs: the settings of each trial.
        rungs: as :func:`plan_rungs` returns them; the first one is of all trials.
        train: a pure function; it goes on from where the trial's last job ended.
        run: calls `train` with each job, such as ``map``.
        known: results of an earlier run of the same search; they are not computed again.

    Raises:
        TypeError, ValueError: an argument has the wrong type, or the rungs do not begin with
            all trials.
    """
    configs, rungs = _listed("configs", configs, TrainConfig), _listed("rungs", rungs, Rung)
    check_callable("train", train)
    check_callable("run", run)
    if not rungs or rungs[0].trials != len(configs):
        raise ValueError(f"rungs must begin with {len(configs)} trials, found {rungs}")
    results = {(result.trial, result.epochs): result for result in _listed("known", known, Result)}
    alive: Sequence[int] = range(len(configs))
    start = 0
    for rung in rungs:
        alive = _best(results, alive, start, rung)
        jobs = [Job(trial, configs[trial], start, rung.epochs) for trial in sorted(alive)]
        for result in run(train, [job for job in jobs if (job.trial, job.stop) not in results]):
            results[result.trial, result.epochs] = result
            yield result
        start = rung.epochs


def check_known(known: Iterable[Result], rungs: Sequence[Rung]) -> None:
    """Check that results are those of a search, whole or interrupted.

    Args:
        known: the results, in any order.
        rungs: of the search, at least one.

    Raises:
        TypeError, ValueError: an argument has the wrong type, a job has two results, the search
            has not had the job of a result, or a result lacks accuracies of epochs.
    """
    results: dict[tuple[int, int], Result] = {}
    for result in _listed("known", known, Result):
        if (result.trial, result.epochs) in results:
            raise ValueError(f"trial {result.trial} has two results of {result.epochs} epochs")
        results[result.trial, result.epochs] = result
    if not (rungs := _listed("rungs", rungs, Rung)):
        raise ValueError("rungs must hold a rung, found none")
    missing, left = False, dict(results)
    alive: Sequence[int] = range(rungs[0].trials)
    start = 0
    for rung in rungs:
        alive = _best(results, alive, start, rung)
        for trial in alive:
            found = left.pop((trial, rung.epochs), None)
            missing |= found is None
            if found is not None:
                _check_curve(found, rung.epochs - start)
        if missing:
            break
        start = rung.epochs
    for trial, epochs in left:
        raise ValueError(f"the search has not trained trial {trial} to epoch {epochs}")


def _check_curve(result: Result, epochs: int) -> None:
    """Raise ValueError unless there is an accuracy for each epoch, or fewer if it diverged."""
    number = len(result.val_accuracy)
    if number >= epochs if result.diverged else number != epochs:
        wanted = f"fewer than {epochs}" if result.diverged else epochs
        raise ValueError(f"trial {result.trial} must have {wanted} accuracies, found {number}")


def _best(
    results: Mapping[tuple[int, int], Result], alive: Iterable[int], epochs: int, rung: Rung
) -> list[int]:
    """Return the trials that go on to a rung, the best first, from those of the rung before."""
    best = sorted(alive, key=lambda trial: (-_score(results, trial, epochs), trial))
    return [trial for trial in best[: rung.trials] if _score(results, trial, epochs) >= 0]


def _score(results: Mapping[tuple[int, int], Result], trial: int, epochs: int) -> float:
    return results[trial, epochs].score if epochs else 0.0


def _listed(name: str, values: object, kind: type[T]) -> list[T]:
    """Return things of one type as a list."""
    items = [*check_type(name, values, Iterable)]  # type: ignore[misc]
    for item in items:
        if not isinstance(item, kind):
            raise TypeError(f"{name} must hold a {kind.__name__} each, found {item!r}")
    return items


def rank(results: Iterable[Result]) -> list[Result]:
    """Return one result for each trial, the best first, whatever the order of the results.

    Those trained longest come first, then those of higher accuracy; of the same accuracy,
    the lower trial number. Those that diverged come last.

    >>> [result.trial for result in rank([Result(0, 1, (0.5,)), Result(1, 1, (0.75,))])]
    [1, 0]
    """
    by_trial = itertools.groupby(
        sorted(_listed("results", results, Result), key=lambda r: (r.trial, r.epochs)),
        lambda r: r.trial,
    )
    whole = []
    for trial, group in by_trial:
        parts = [*group]
        curve = tuple(a for part in parts for a in part.val_accuracy)
        whole.append(Result(trial, parts[-1].epochs, curve, parts[-1].diverged))
    return sorted(whole, key=lambda r: (bool(r.diverged), -r.epochs, -r.score, r.trial))
