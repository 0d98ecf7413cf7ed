"""Settings are compared with the right errors, and a table never says more than it knows."""

import math
import re
from statistics import mean, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet.plots.comparison import plot_comparison
from fnnet.search.comparison import (
    compare,
    decimals,
    difference,
    examples_error,
    percent,
    t_quantile,
    table,
    verdict,
)

accuracies = st.lists(st.integers(0, 500).map(lambda n: n / 500), min_size=1, max_size=6)
samples = st.lists(accuracies, min_size=1, max_size=5).map(
    lambda lists: {f"setting {i}": dict(enumerate(v)) for i, v in enumerate(lists)}
)


def test_quantiles_are_those_of_student_s_tables() -> None:
    tabled = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 9: 2.262, 30: 2.042, 1000: 1.962}
    for degrees, value in tabled.items():
        assert t_quantile(degrees) == pytest.approx(value, abs=6e-4)


def test_the_error_of_examples_is_the_spread_of_accuracies_on_random_examples() -> None:
    rng = np.random.default_rng(0)
    measured = (rng.random((4000, 400)) < 0.65).mean(axis=1)
    assert examples_error(0.65, 400) == pytest.approx(measured.std(), rel=0.05)


def test_equal_settings_are_told_apart_in_one_case_of_twenty() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(2000):
        values = 0.6 + 0.01 * rng.standard_normal((2, 4)) + 0.05 * rng.standard_normal(4)
        a, b = (dict(enumerate(v)) for v in values)
        found += " is better than " in verdict({"a": a, "b": b}, 10**9)
    assert 0.035 < found / 2000 < 0.065


def test_pairs_find_a_difference_that_is_smaller_than_the_spread_of_the_seeds() -> None:
    a = {0: 0.50, 1: 0.60, 2: 0.70}
    b = {2: 0.691, 1: 0.590, 0: 0.489, 7: 0.1}
    lead, unsure = difference(a, b, 5000)
    assert lead == pytest.approx(0.01)
    assert unsure == pytest.approx(4.303 * stdev([0.011, 0.010, 0.009]) / math.sqrt(3), rel=1e-3)
    assert verdict({"b": b, "a": a}, 5000).startswith("a is better than b by 1.0 ± 0.2")


def test_one_seed_is_judged_by_the_number_of_examples() -> None:
    made = {"a": {0: 0.653}, "b": {0: 0.650}}
    assert "a and b cannot be told apart" in verdict(made, 5000)
    assert "a is better than b" in verdict(made, 10**6)
    lead, unsure = difference(made["a"], made["b"], 5000)
    assert lead == pytest.approx(0.003)
    assert unsure == pytest.approx(1.96 * math.sqrt(2 * 0.653 * 0.347 / 5000))


@given(samples, st.integers(1, 10**6))
def test_a_table_has_a_row_for_each_setting_the_best_mean_first(
    made: dict[str, dict[int, float]], examples: int
) -> None:
    rows = compare(made, examples)
    assert sorted(row["setting"] for row in rows) == sorted(made)
    means = {name: mean(sample.values()) for name, sample in made.items()}
    ordered = [means[row["setting"]] for row in rows]
    assert ordered == sorted(ordered, reverse=True)
    lines = table(rows).splitlines()
    assert len(lines) == len(made) + 2
    assert len({(len(line), line.count("|")) for line in lines}) == 1
    if len(made) > 1:
        assert verdict(made, examples)


COLUMNS = [
    "setting", "seeds", "mean (%)", "standard deviation", "error of the examples",
    "difference from the best", "accuracies",
]  # fmt: skip


def test_a_row_has_the_columns_of_the_table() -> None:
    best, second = rows = compare({"low": {1: 0.25}, "a|b": {3: 0.5, 1: 0.74}}, 100)
    assert [[*row] for row in rows] == [COLUMNS, COLUMNS]
    assert (best["setting"], best["seeds"], best["mean (%)"]) == ("a|b", 2, "62")
    assert (second["setting"], second["seeds"], second["mean (%)"]) == ("low", 1, "25")
    assert best["accuracies"] == "0.74 0.5"  # in the order of the seeds
    assert best["error of the examples"] == "5"  # of sqrt(0.62 · 0.38 / 100)
    assert best["difference from the best"] == ""
    assert " ± " in second["difference from the best"]
    # A bar in a name is escaped, as Markdown wants it: it does not begin a cell.
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table(rows).splitlines()]
    assert [cell.strip() for cell in lines[0]] == COLUMNS[:-1]
    assert [line[0].strip() for line in lines[2:]] == [r"a\|b", "low"]


@given(st.floats(0, 1), st.floats(1e-6, 0.5))
def test_digits_end_where_the_error_begins(value: float, error: float) -> None:
    shown = percent(value, error)
    step = 10.0 ** -decimals(error)  # the last digit, in percent
    assert abs(float(shown) - 100 * value) <= 0.5001 * step
    assert step > 0.0999 * 100 * error or decimals(error) == 0
    assert step <= 100 * error or decimals(error) == 0
    assert percent(math.nan, error) == "unknown"


@pytest.mark.parametrize(
    ("error", "digits"),
    [(0.0, 1), (1.0, 1), (1.5, 1), (math.nan, 1), (0.2, 0), (0.02, 0), (0.0199, 1), (0.0019, 2)],
)
def test_an_error_that_begins_with_1_keeps_two_digits(error: float, digits: int) -> None:
    assert decimals(error) == digits


def test_the_spread_of_two_seeds_has_the_digits_that_it_allows_itself() -> None:
    narrow, single = compare({"a": {0: 0.6, 1: 0.602}, "b": {0: 0.5}}, 100)
    assert narrow["standard deviation"] == "0.14"  # 0.002 / sqrt(2)
    assert single["standard deviation"] == "unknown"


def test_equal_means_are_in_the_order_of_their_names() -> None:
    made = {"b": {0: 0.25}, "c": {0: 0.5}, "a": {1: 0.25}}
    assert [row["setting"] for row in compare(made, 100)] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("a", "b", "examples", "sentence"),
    [
        # t = 12.706 for the one degree of freedom of two pairs, whose deviation is 0.001 · sqrt(2)
        (
            {0: 0.75, 1: 0.752},
            {0: 0.5, 1: 0.5},
            5000,
            "a is better than b by 25.1 ± 1.3 points (paired over 2 seeds, 95 %)",
        ),
        (
            {0: 0.5},
            {0: 0.25, 1: 0.3},
            100,
            "a is better than b by 22 ± 14 points (on 100 examples, 95 %)",
        ),
        # 75 % against 50 % of four examples: one more is right, which may be luck.
        (
            {0: 0.75, 1: 0.75},
            {0: 0.5, 1: 0.5},
            4,
            "a and b cannot be told apart: they differ by 25.0 ± 0.0 points "
            "(paired over 2 seeds, 95 %)",
        ),
        # Of five examples, 25 % are more than one.
        (
            {0: 0.75, 1: 0.75},
            {0: 0.5, 1: 0.5},
            5,
            "a is better than b by 25.0 ± 0.0 points (paired over 2 seeds, 95 %)",
        ),
    ],
)
def test_a_verdict_says_how_much_and_on_what(
    a: dict[int, float], b: dict[int, float], examples: int, sentence: str
) -> None:
    assert verdict({"b": b, "a": a}, examples) == sentence


def test_the_picture_shows_every_seed_and_the_best_at_the_top() -> None:
    made = {"Ba$$in": {0: 0.6, 1: 0.63}, "low": {0: 0.5, 1: 0.52}}
    (axes,) = plot_comparison(made, 1000).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["low", "Ba$$in"]
    shown = {float(x) for line in axes.lines for x in np.asarray(line.get_xdata())}
    for value in (50, 52, 60, 63, 51, 61.5):
        assert min(abs(x - value) for x in shown) < 1e-9
    with pytest.raises(ValueError, match="samples must hold at least one"):
        plot_comparison({}, 10)
    with pytest.raises(ValueError, match="examples must be at least 1"):
        plot_comparison(made, 0)
