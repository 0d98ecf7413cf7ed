"""A space draws what its names say, and halving keeps the best trials in any order."""

import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st

from fnnet import Dataset, TrainConfig, default_config
from fnnet.search import (
    Choice,
    Job,
    LogUniform,
    Range,
    Result,
    Rung,
    Space,
    Uniform,
    cost,
    plan_rungs,
    rank,
    sample,
    successive_halving,
)
from fnnet.search.halving import check_known
from fnnet.search.journal import open_journal
from fnnet.search.plan import plan_search
from fnnet.search.space import SAME_FOR_ALL, number_type
from tests.strategies import seeds

# What is drawn from a space.

REG = Uniform(0, 0.5)
SPACE = Space(
    {
        "learning_rate": LogUniform(1e-4, 10),
        "reg": REG,
        "hidden_dim": LogUniform(4, 512),
        "batch_size": Uniform(1, 3),
        "schedule": Choice(["constant", "cosine"]),
    }
)


@st.composite
def bounds(draw: st.DrawFn, low: float) -> tuple[float, float]:
    values = st.floats(low, allow_infinity=False) | st.integers(max(1, math.ceil(low)), 2**60)
    pair = draw(st.lists(values, min_size=2, max_size=2, unique=True))
    return min(pair), max(pair)


@given(bounds(1e-300), bounds(0), seeds)
def test_numbers_lie_inside_the_bounds(
    log: tuple[float, float], linear: tuple[float, float], seed: int
) -> None:
    space = Space({"learning_rate": LogUniform(*log), "reg": Uniform(*linear)})
    for settings in sample(space, 5, seed):
        assert log[0] <= settings["learning_rate"] <= log[1]
        assert linear[0] <= settings["reg"] <= linear[1]
        assert {*map(type, settings.values())} == {float}


@given(st.floats(1e-300, 1e300), seeds)
def test_rounding_leaves_no_range(low: float, seed: int) -> None:
    high = math.nextafter(low, math.inf)
    space = Space({"learning_rate": LogUniform(low, high), "reg": Uniform(low, high)})
    for settings in sample(space, 5, seed):
        assert {*settings.values()} <= {low, high}


@given(st.integers(0, 500), st.integers(1, 500), seeds)
def test_integer_settings_are_integers_with_both_bounds(low: int, more: int, seed: int) -> None:
    ranges: dict[str, Range] = {
        "hidden_dim": Uniform(low, low + more),
        "components": LogUniform(1 + low, 2 + low),
    }
    drawn = sample(Space(ranges), 40, seed)
    assert all(type(value) is int for settings in drawn for value in settings.values())
    assert {low <= settings["hidden_dim"] <= low + more for settings in drawn} == {True}
    assert {settings["components"] for settings in drawn} == {1 + low, 2 + low}


@given(st.integers(1, 30), st.integers(1, 30), seeds)
def test_a_trial_depends_on_space_seed_and_number_alone(n: int, more: int, seed: int) -> None:
    drawn = sample(SPACE, n, seed)
    assert len(drawn) == n
    assert sample(SPACE, n + more, seed)[:n] == drawn
    backwards = Space(dict(reversed([*SPACE.ranges.items()])))
    assert backwards == SPACE
    assert sample(backwards, n, seed) == drawn
    assert sample(SPACE, n, seed + 1) != drawn


def largest_gap(values: Sequence[float]) -> float:
    """Return the Kolmogorov-Smirnov distance of values to the uniform distribution on [0, 1]."""
    ordered, n = np.sort(np.array(values)), len(values)
    return float(max((np.arange(1, n + 1) / n - ordered).max(), (ordered - np.arange(n) / n).max()))


@pytest.mark.parametrize("seed", range(3))
def test_the_distributions_are_what_their_names_say(seed: int) -> None:
    n = 4000
    drawn = sample(SPACE, n, seed)
    limit = 1.95 / math.sqrt(n)  # passed by chance once in a thousand
    logs = [(math.log10(s["learning_rate"]) + 4) / 5 for s in drawn]
    assert largest_gap(logs) < limit
    assert largest_gap([s["reg"] / 0.5 for s in drawn]) < limit
    assert largest_gap([s["learning_rate"] / 10 for s in drawn]) > 10 * limit
    # An integer k stands for [k, k + 1), so that its share is the logarithm of (k + 1) / k.
    whole = [s["hidden_dim"] for s in drawn]
    for below in (5, 8, 32, 200):
        expected = math.log(below / 4) / math.log(513 / 4)
        assert abs(np.mean([k < below for k in whole]) - expected) < limit
    for name, values in (("schedule", ("constant", "cosine")), ("batch_size", (1, 2, 3))):
        for value in values:
            share = np.mean([s[name] == value for s in drawn])
            assert abs(share - 1 / len(values)) < 4 * math.sqrt(0.25 / n)
    settings = [logs, [s["reg"] for s in drawn], [s["schedule"] == "cosine" for s in drawn]]
    assert np.abs(np.corrcoef(settings) - np.eye(3)).max() < 4 / math.sqrt(n)


@pytest.mark.parametrize("seed", range(3))
def test_small_integers_come_as_often_as_their_ranges_are_long(seed: int) -> None:
    n = 3000
    ranges: dict[str, Range] = {"hidden_dim": LogUniform(1, 4), "batch_size": Uniform(3, 6)}
    drawn = sample(Space(ranges), n, seed)
    lengths = {"hidden_dim": [math.log((k + 1) / k) for k in (1, 2, 3, 4)], "batch_size": [1.0] * 4}
    for name, low in (("hidden_dim", 1), ("batch_size", 3)):
        counts = np.bincount([s[name] - low for s in drawn], minlength=4)
        expected = n * np.array(lengths[name]) / sum(lengths[name])
        # The chi-square statistic of 4 outcomes, passed by chance once in a thousand.
        assert ((counts - expected) ** 2 / expected).sum() < 16.3


WIDTHS = ((8, 4), (16,), [2, 2, 2], 0, 5)


def test_a_choice_may_be_of_several_widths(dataset: Dataset, tmp_path: Path) -> None:
    config = default_config(num_epochs=9)
    ranges: dict[str, Range] = {"hidden_dim": Choice(WIDTHS), "reg": Uniform(0, 1)}
    search = plan_search(config, ranges, 40, None)
    wanted = {"(8, 4)": (8, 4), "(16,)": (16,), "[2, 2, 2]": (2, 2, 2), "0": (), "5": (5,)}
    assert {str(settings["hidden_dim"]) for settings in search.settings} == {*wanted}
    for settings, made in zip(search.settings, search.configs, strict=True):
        assert made.hidden_dim == wanted[str(settings["hidden_dim"])]
    rows = search.rows([Result(i, 1, (0.5,)) for i in range(40)], 100)
    assert "(8, 4)" in {row["hidden_dim"] for row in rows}
    # The tuple of the fixed widths comes back from the journal as a list.
    for fixed in (search, plan_search(evolve(config, hidden_dim=(3, 2)), {"reg": REG}, 9, None)):
        for _ in range(2):
            with open_journal(tmp_path / f"{id(fixed)}.jsonl", fixed.identity(dataset, dataset)):
                pass


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("hidden_dim", int),
        ("batch_size", int),
        ("reg", float),
        ("flip", None),
        ("schedule", None),
        ("dataset", None),
        ("image_size", None),
    ],
)
def test_numbers_stand_for_some_settings(name: str, kind: type | None) -> None:
    assert number_type(name) is kind


def test_a_space_is_a_frozen_value() -> None:
    ranges: dict[str, Any] = {"reg": Uniform(0, 1)}
    space = Space(ranges)
    ranges["reg"] = Uniform(0, 2)
    assert space == Space({"reg": Uniform(0, 1)}) != Space(ranges)
    with pytest.raises(TypeError):
        space.ranges["reg"] = Uniform(0, 3)  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        space.ranges = ranges  # type: ignore[misc]


BAD_SPACES: list[tuple[Any, str]] = [
    ({}, "^ranges must hold a setting, found none$"),
    ([], "^ranges must be a"),
    ({"rate": Uniform(0, 1)}, "'rate'"),
    ({"reg": 0.5}, r"ranges\['reg'\] must be a range"),
    ({"reg": Uniform(-1, 1)}, "reg must be .* at least 0, found -1"),
    ({"momentum": Uniform(0, 1)}, "momentum must be below 1"),
    ({"hidden_dim": Uniform(1, 2.5)}, "hidden_dim must be an integer"),
    ({"hidden_dim": LogUniform(1, 2**40)}, "hidden_dim must be at most"),
    ({"hidden_dim": Choice(((8, 0),))}, "hidden_dim must be at least 1, found 0"),
    ({"hidden_dim": Choice(("8",))}, "hidden_dim must be an integer, or several"),
    ({"schedule": Choice(("constant", "wild"))}, "schedule must be one of .* 'wild'"),
    ({"schedule": Uniform(0, 1)}, "schedule must be a choice"),
    ({"flip": Uniform(0, 1)}, "flip must be a choice"),
    ({"flip": Choice((1,))}, "flip"),
    *(
        ({name: Choice((1,))}, f"{name} must be the same for all trials")
        for name in sorted(SAME_FOR_ALL)
    ),
]


def test_what_decides_the_data_and_the_length_of_trials_is_the_same_for_all() -> None:
    # An accuracy on other validation examples, or after more epochs, cannot be compared.
    names = {"dataset", "data_dir", "image_size", "num_train", "num_val", "seed", "num_epochs"}
    assert names | {"num_threads", "patience", "tta_shift"} == SAME_FOR_ALL


@pytest.mark.parametrize(("ranges", "message"), BAD_SPACES, ids=[str(r) for r, _ in BAD_SPACES])
def test_a_range_that_a_setting_cannot_have_is_refused_by_name(ranges: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Space(ranges)


@pytest.mark.parametrize("make", [Uniform, LogUniform])
def test_crossed_bounds_are_refused(make: Any) -> None:
    for low, high in ((2, 1), (1, 1)):
        with pytest.raises(ValueError, match=f"found low {low} and high {high}"):
            make(low, high)
    with pytest.raises(ValueError, match="low must be above 0"):
        LogUniform(0, 1)


# How much is trained.


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 50_000) | st.none())
def test_the_fewest_rungs_that_fit_are_planned(
    trials: int, num_epochs: int, budget: int | None
) -> None:
    every = [  # all ways to divide by 3, as long as there is something to divide
        [(max(1, trials // 3**i), num_epochs // 3 ** (cuts - i)) for i in range(cuts + 1)]
        for cuts in range(10)
        if num_epochs // 3**cuts >= 1 and (cuts == 0 or trials // 3 ** (cuts - 1) > 1)
    ]
    costs = [
        sum(n * (high - low) for (n, high), (_, low) in zip(p, [(0, 0), *p], strict=False))
        for p in every
    ]
    limit = max(costs[-1], trials * num_epochs // 3) if budget is None else budget
    fitting = [plan for plan, epochs in zip(every, costs, strict=True) if epochs <= limit]
    if not fitting:
        with pytest.raises(ValueError, match=f"budget must be at least {costs[-1]} .* {budget}"):
            plan_rungs(trials, num_epochs, budget)
        return
    plan = plan_rungs(trials, num_epochs, budget)
    assert [(rung.trials, rung.epochs) for rung in plan] == fitting[0]
    assert cost(plan) == costs[every.index(fitting[0])] <= limit


def test_more_than_a_million_trials_are_refused() -> None:
    assert plan_rungs(1_000_000, 1)[0].trials == 1_000_000
    with pytest.raises(ValueError, match="trials must be at most 1000000, found 1000001"):
        plan_rungs(1_000_001, 1)
    with pytest.raises(ValueError, match="n must be at most 1000000, found 1000001"):
        sample(SPACE, 1_000_001, 0)


def test_a_budget_for_all_is_a_random_search_and_the_default_is_a_third() -> None:
    assert plan_rungs(2, 9) == (Rung(2, 3), Rung(1, 9))  # a single trial is not cut further
    assert plan_rungs(10, 9, 90) == (Rung(10, 9),)
    assert plan_rungs(27, 27) == (Rung(27, 3), Rung(9, 9), Rung(3, 27))
    assert cost(plan_rungs(27, 27)) == 27 * 3 + 9 * 6 + 3 * 18 <= 27 * 27 / 3


def test_a_search_counts_planned_epochs_and_says_how_far_it_is() -> None:
    search = plan_search(default_config(num_epochs=9), {"reg": REG}, 9, None)
    assert [(rung.trials, rung.epochs) for rung in search.rungs] == [(9, 1), (3, 3), (1, 9)]
    first = [Result(i, 1, (i / 10,)) for i in range(8)]
    second = [Result(8, 1, (), "diverged"), Result(7, 3, (0.25, 0.5))]
    last = Result(7, 9, (0.5,) * 6)
    assert search.epochs_of([]) == 0
    assert search.epochs_of(first) == 8
    assert search.epochs_of(second) == 1 + 2
    assert search.epochs_of([last]) == 6
    assert search.progress([], 4) == "0 of 13 done, 4 running"
    assert search.progress(second[:1], 4) == "1 of 13 done, 4 running"
    assert search.progress(first, 4) == "8 of 13 done, 1 running, best 70.00%"
    assert search.progress(first[:1], 4) == "1 of 13 done, 4 running, best 0.00%"
    assert search.progress([*first, *second], 4) == "10 of 13 done, 2 running, best 70.00%"
    rows = search.rows(rank([*first, *second, last]), 2500)
    columns = ["rank", "trial", "epochs", "validation (%)", "error of the examples", "reg"]
    assert all([*row] == columns for row in rows)
    assert [[*row.values()][:5] for row in (rows[0], rows[1], rows[-1])] == [
        [1, 7, 9, "50.0", "1.0"],
        [2, 6, 1, "60.0", "1.0"],
        [9, 8, 1, "diverged", ""],
    ]
    for row in rows:
        assert row["reg"] == f"{search.settings[row['trial']]['reg']:.4g}"


def test_the_identity_of_a_search_has_all_that_its_results_depend_on(dataset: Dataset) -> None:
    def identity(train: Dataset, val: Dataset, trials: int = 9, **changes: Any) -> dict[str, Any]:
        config = evolve(default_config(num_epochs=9), **changes)
        return plan_search(config, {"reg": REG}, trials, None).identity(train, val)

    labels = dataset.labels.copy()
    labels[0] = 1
    other = Dataset(dataset.images, labels, dataset.class_names)
    before = identity(dataset, dataset)
    assert before == identity(dataset, dataset)
    for now, names in (
        (identity(other, dataset), {"training data"}),
        (identity(dataset, other), {"validation data"}),
        (identity(dataset, dataset, trials=10), {"trials", "budget"}),
        (identity(dataset, dataset, momentum=0.5), {"momentum"}),
        (identity(dataset, dataset, seed=7), {"seed"}),
        (identity(dataset, dataset, tta_shift=1), set()),
    ):
        assert {name for name in before if before[name] != now[name]} == names
    assert before["reg"] == "uniform:0:0.5"


# Which trials go on.

CONFIG = default_config(num_threads=1)


@st.composite
def searches(draw: st.DrawFn) -> tuple[list[list[float]], list[int], tuple[Rung, ...]]:
    """Learning curves with many ties, the epoch after which each diverges, and rungs."""
    trials, num_epochs = draw(st.integers(1, 12)), draw(st.integers(1, 10))
    rungs = draw(st.sampled_from([trials * num_epochs, None]))
    few = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    curve = st.lists(few, min_size=num_epochs, max_size=num_epochs)
    curves = draw(st.lists(curve, min_size=trials, max_size=trials))
    ends = st.sampled_from([*range(num_epochs), 99, 99, 99])
    return (
        curves,
        draw(st.lists(ends, min_size=trials, max_size=trials)),
        plan_rungs(trials, num_epochs, rungs),
    )


def trainer(curves: list[list[float]], ends: list[int]) -> Any:
    def train(job: Job) -> Result:
        end = min(job.stop, ends[job.trial])
        curve = tuple(curves[job.trial][job.start : end])
        return Result(job.trial, job.stop, curve, "" if end == job.stop else "diverged")

    return train


def configs_of(rungs: Sequence[Rung]) -> list[TrainConfig]:
    return [CONFIG] * rungs[0].trials


def halved_by_hand(
    curves: list[list[float]], ends: list[int], rungs: Sequence[Rung]
) -> list[tuple[int, int, list[float], bool]]:
    """Return (trial, epochs, curve, diverged) in rank order: nothing is shared with the code."""
    table, alive, heights = [], [*range(len(curves))], [rung.epochs for rung in rungs]
    for i, height in enumerate(heights):
        fine = [t for t in alive if ends[t] >= height]
        table += [(t, height, curves[t][: ends[t]], True) for t in alive if ends[t] < height]
        if i + 1 == len(heights):
            kept = []
        else:
            kept = fine[:]
            while len(kept) > rungs[i + 1].trials:  # drop the worst, of a tie the last one
                worst = min(curves[t][height - 1] for t in kept)
                kept.remove(max(t for t in kept if curves[t][height - 1] == worst))
        table += [(t, height, curves[t][:height], False) for t in fine if t not in kept]
        alive = kept
    return sorted(table, key=lambda row: (row[3], -row[1], -row[2][-1] if row[2] else 0, row[0]))


def rows(results: Iterable[Result]) -> list[tuple[int, int, list[float], bool]]:
    return [(r.trial, r.epochs, [*r.val_accuracy], bool(r.diverged)) for r in rank(results)]


@given(searches())
def test_the_best_of_each_rung_go_on(search: Any) -> None:
    curves, ends, rungs = search
    results = [*successive_halving(configs_of(rungs), rungs, trainer(curves, ends))]
    found, expected = rows(results), halved_by_hand(curves, ends, rungs)
    assert [row for row in found if not row[3]] == [row for row in expected if not row[3]]
    assert sorted(row for row in found if row[3]) == sorted(row for row in expected if row[3])
    assert len(found) == len(curves)


@given(searches(), st.randoms(use_true_random=False))
def test_the_order_of_completion_changes_nothing(search: Any, order: random.Random) -> None:
    curves, ends, rungs = search

    def shuffled(train: Any, jobs: Sequence[Job]) -> list[Result]:
        return [train(job) for job in order.sample(jobs, len(jobs))]

    train, configs = trainer(curves, ends), configs_of(rungs)
    expected = [*successive_halving(configs, rungs, train)]
    results = [*successive_halving(configs, rungs, train, shuffled)]
    assert rank(results) == rank(order.sample(results, len(results))) == rank(expected)
    assert {*results} == {*expected}


@given(searches(), st.randoms(use_true_random=False))
def test_a_search_goes_on_from_any_point(search: Any, order: random.Random) -> None:
    curves, ends, rungs = search
    train, configs = trainer(curves, ends), configs_of(rungs)
    expected = [*successive_halving(configs, rungs, train)]
    known = expected[: order.randint(0, len(expected))]
    done = {(result.trial, result.epochs) for result in known}
    check_known(order.sample(known, len(known)), rungs)

    def only_new(job: Job) -> Result:
        assert (job.trial, job.stop) not in done
        return train(job)  # type: ignore[no-any-return]

    news = [*successive_halving(configs, rungs, only_new, known=order.sample(known, len(known)))]
    assert rank([*known, *news]) == rank(expected)
    assert len(known) + len(news) == len(expected)


FIRST = [Result(i, 1, (i / 10,)) for i in range(9)]
STRANGE: dict[str, tuple[list[Result], str]] = {
    "no such trial": ([Result(9, 1, (0.5,))], "has not trained trial 9 to epoch 1"),
    "a huge trial": ([Result(10**9, 1, (0.5,))], "has not trained trial 1000000000"),
    "no such rung": ([Result(0, 2, (0.5, 0.5))], "has not trained trial 0 to epoch 2"),
    "a rung too early": ([Result(8, 3, (0.5, 0.5))], "has not trained trial 8 to epoch 3"),
    "a trial that lost": ([*FIRST, Result(0, 3, (0.5, 0.5))], "has not trained trial 0 to"),
    "twice": ([*FIRST, Result(0, 1, (0.0,))], "trial 0 has two results of 1 epochs"),
    "no accuracy": ([Result(0, 1, ())], "trial 0 must have 1 accuracies, found 0"),
    "a long curve": ([*FIRST, Result(8, 3, (0.5,) * 3)], "trial 8 must have 2 accuracies, found 3"),
    "diverged at the end": ([Result(0, 1, (0.5,), "nan")], "fewer than 1 accuracies, found 1"),
}


@pytest.mark.parametrize("curve", [0.5, None, "0.5", (1,), (1.5,), (-0.1,), (float("nan"),)])
def test_the_accuracies_of_a_result_are_a_tuple_of_fractions(curve: Any) -> None:
    listed: Any = [0.0, 1.0]
    assert Result(0, 2, listed) == Result(0, 2, (0.0, 1.0))
    with pytest.raises((TypeError, ValueError), match="val_accuracy"):
        Result(0, 1, curve)


@pytest.mark.parametrize("kind", STRANGE)
def test_results_that_no_search_has_are_refused(kind: str) -> None:
    rungs = (Rung(9, 1), Rung(3, 3))
    check_known([*FIRST, Result(8, 3, (0.5, 0.5))], rungs)
    results, message = STRANGE[kind]
    with pytest.raises(ValueError, match=message):
        check_known(results, rungs)


def test_a_search_is_lazy_and_each_job_goes_on_from_the_last() -> None:
    rungs, seen = plan_rungs(9, 9), list[Job]()
    configs = [evolve(CONFIG, hidden_dim=i) for i in range(9)]

    def train(job: Job) -> Result:
        seen.append(job)
        return Result(job.trial, job.stop, (job.trial / 10,) * (job.stop - job.start))

    results = successive_halving(configs, rungs, train)
    assert seen == []
    next(results)
    assert seen == [Job(0, configs[0], 0, 1)]
    assert len([*results]) == 12
    assert [job.trial for job in seen[9:]] == [6, 7, 8, 8]
    for trial in {job.trial for job in seen}:
        own = [job for job in seen if job.trial == trial]
        assert [job.start for job in own] == [0, *(job.stop for job in own[:-1])]
        assert {job.config for job in own} == {configs[trial]}


def test_trials_that_get_nothing_right_go_on_if_all_do() -> None:
    rungs = plan_rungs(9, 9)
    results = [*successive_halving(configs_of(rungs), rungs, trainer([[0.0] * 9] * 9, [99] * 9))]
    assert [(r.trial, r.epochs) for r in results[9:]] == [(0, 3), (1, 3), (2, 3), (0, 9)]


def test_a_search_without_a_survivor_ends() -> None:
    rungs = plan_rungs(9, 9)
    train = trainer([[0.5] * 9] * 9, [0] * 9)
    results = [*successive_halving(configs_of(rungs), rungs, train)]
    assert len(results) == 9
    assert [result.trial for result in rank(results)] == [*range(9)]
    assert {result.score for result in results} == {-1.0}


def test_trials_that_diverged_rank_last_however_long_they_were_trained() -> None:
    results = [
        Result(0, 9, (0.9,) * 8, "diverged"),
        Result(1, 1, (), "diverged"),
        Result(2, 3, (0.1,) * 3),
        Result(3, 9, (0.2,) * 9),
        Result(4, 9, (0.3,) * 9),
        Result(5, 9, (1.0,) * 8, "diverged"),
    ]
    order = [result.trial for result in rank(results)]
    assert order[:3] == [4, 3, 2]
    assert {*order[3:]} == {0, 1, 5}


def test_rungs_of_other_trials_are_refused() -> None:
    for rungs in ((), plan_rungs(4, 9)):
        with pytest.raises(ValueError, match="rungs must begin with 5 trials"):
            [*successive_halving([CONFIG] * 5, rungs, trainer([], []))]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 5), st.randoms(use_true_random=False))
def test_progress_counts_no_job_of_a_trial_that_diverged(
    trials: int, num_epochs: int, workers: int, order: random.Random
) -> None:
    def train(job: Job) -> Result:
        diverged = "diverged" if order.random() < 0.4 else ""
        return Result(job.trial, job.stop, (0.5,), diverged)

    def run(train: Any, jobs: Sequence[Job]) -> Iterable[Result]:
        listed = order.sample(jobs, len(jobs))
        for number, job in enumerate(listed):
            running = min(workers, len(listed) - number)
            assert f" done, {running} running" in search.progress(results, workers)
            yield train(job)

    config = default_config(num_epochs=num_epochs)
    search = plan_search(config, {"reg": REG}, trials, None)
    results: list[Result] = []
    totals = [search.cost(results)]
    for result in successive_halving(search.configs, search.rungs, train, run):
        results.append(result)
        totals.append(search.cost(results))
    assert search.progress(results, workers).startswith(f"{len(results)} of {len(results)} done, 0")
    assert totals == sorted(totals, reverse=True)
    assert totals[0] == cost(search.rungs)
    assert totals[-1] == search.epochs_of(results)
