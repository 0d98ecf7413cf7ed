"""The picture of a search shows every trial, the best one, and those that diverged."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fnnet.plots.search import plot_search
from fnnet.search import Choice, LogUniform, Space, Uniform, rank, sample
from fnnet.search.halving import Result
from fnnet.search.space import Range
from tests.plots.drawn import gray, legend_labels, markers, pixels

RANGES: dict[str, Range] = {
    "learning_rate": LogUniform(0.01, 1),
    "hidden_dim": Uniform(8, 64),
    "schedule": Choice(("constant", "linear")),
    "flip": Choice((True, False)),
}
RATE = Space({"learning_rate": RANGES["learning_rate"]})


def search(*accuracies: float, diverged: int = 0) -> Figure:
    """Draw a search of one epoch, in which trial i has the learning rate 0.01 · (i + 1)."""
    results = [Result(i, 1, (accuracy,)) for i, accuracy in enumerate(accuracies)]
    results += [Result(len(accuracies) + i, 1, (), "diverged") for i in range(diverged)]
    return plot_search(results, [{"learning_rate": 0.01 * (r.trial + 1)} for r in results], RATE)


def drawn(axes: Axes, kind: str) -> list[tuple[float, float]]:
    return sorted((round(x, 6), round(y, 6)) for x, y in markers(axes, kind))


def test_each_trial_has_a_marker_in_each_panel_and_the_best_one_a_star() -> None:
    settings, curves = search(0.875, 0.9, 0.95).axes
    assert drawn(settings, "o") == [(0.02, 90.0), (0.03, 95.0)]
    assert drawn(settings, "*") == [(0.03, 95.0)]
    assert len(drawn(settings, "v")) == 1
    assert drawn(curves, "o") == [(1.0, 90.0)]  # curves of a single epoch are seen
    assert drawn(curves, "*") == [(1.0, 95.0)]
    assert (settings.get_xlabel(), curves.get_xlabel()) == ("learning_rate", "epoch")
    assert settings.get_ylabel() == "validation accuracy (%)"


@pytest.mark.parametrize("step", [0.02, 0.2])
def test_the_trials_that_are_shown_have_room_on_both_sides(step: float) -> None:
    low, high = search(0.5, 0.5 + step, 0.5 + 2 * step).axes[0].get_ylim()
    shown = 100 * (0.5 + step), 100 * (0.5 + 2 * step)
    for room in (shown[0] - low, high - shown[1]):
        assert 0.05 < room / (high - low) < 0.5


@pytest.mark.parametrize("worst", [0.0, 0.1, 0.5])
def test_a_bad_trial_does_not_squeeze_the_good_ones(worst: float) -> None:
    figure = search(0.94, 0.95, 0.96, worst)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert 93.5 < low < 94.5
        assert 96 < high < 97
    low = round(low, 6)
    assert drawn(figure.axes[0], "v") == [(0.04, low)]
    assert "below this range" in legend_labels(figure)
    assert "diverged" not in legend_labels(figure)


def test_all_accuracies_of_the_curves_are_below_the_upper_edge() -> None:
    results = [Result(0, 3, (0.5, 0.99, 0.9)), Result(1, 3, (0.5, 0.8, 0.85))]
    figure = plot_search(results, [{"learning_rate": 0.1}] * 2, RATE)
    assert 99 < figure.axes[1].get_ylim()[1] <= 101


def test_the_axis_goes_at_most_a_percent_beyond_0_and_100() -> None:
    assert search(0.5, 0.5, 1.0).axes[0].get_ylim() == pytest.approx((42.5, 101))
    assert search(0.0, 0.0, 1.0).axes[0].get_ylim() == (-1, 101)


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 1.0])
def test_trials_that_do_not_differ_have_an_axis_of_a_percent_or_more(accuracy: float) -> None:
    figure = search(accuracy, accuracy)
    low, high = figure.axes[0].get_ylim()
    assert -1 <= low < 100 * accuracy < high <= 101
    assert high - low >= 1
    assert len(drawn(figure.axes[0], "o")) == 2


def test_trials_that_diverged_are_crosses_at_the_lower_edge() -> None:
    figure = search(0.9, 0.95, diverged=2)
    settings, curves = figure.axes
    low = round(settings.get_ylim()[0], 6)
    assert drawn(settings, "x") == [(0.03, low), (0.04, low)]
    assert drawn(curves, "x") == [(1.0, low)] * 2
    assert "diverged" in legend_labels(figure)
    assert "below this range" not in legend_labels(figure)


def test_the_cross_stands_in_the_epoch_in_which_a_trial_diverged() -> None:
    results = [Result(0, 4, (0.5, 0.5), "loss is NaN"), Result(1, 1, (0.75,))]
    figure = plot_search(results, [{"learning_rate": 0.1}] * 2, RATE)
    assert [x for x, _ in drawn(figure.axes[1], "x")] == [3.0]
    assert figure.axes[1].get_xlim() == (0.5, 3.5)


def test_if_all_trials_diverged_none_is_the_best() -> None:
    figure = search(diverged=3)
    assert [len(drawn(axes, "x")) for axes in figure.axes] == [3, 3]
    assert not any(drawn(axes, "*") for axes in figure.axes)
    assert legend_labels(figure) == ["1 epoch", "diverged"]
    assert [axes.get_ylim() for axes in figure.axes] == [(0, 100)] * 2


def test_longer_training_is_darker_and_the_legend_says_so() -> None:
    results = [
        Result(0, 9, tuple(np.linspace(0.5, 0.9, 9))), Result(1, 2, (0.9, 0.9)),
        Result(2, 1, (0.9,)), Result(3, 9, tuple(np.linspace(0.5, 0.895, 9))),
    ]  # fmt: skip
    figure = plot_search(results, [{"learning_rate": 0.1}] * 4, RATE)
    assert legend_labels(figure) == ["1 epoch", "2 epochs", "9 epochs", "best: trial 0, 90.00%"]
    (legend,) = figure.legends
    shades = [gray(line.get_color()) for line in legend.get_lines()]
    assert shades[0] > shades[1] + 0.1 > shades[2] + 0.2
    assert shades[0] < 0.85  # it can be seen on white
    lines = figure.axes[1].get_lines()
    by_length = {len(np.asarray(line.get_xdata())): gray(line.get_color()) for line in lines[:2]}
    assert by_length[1] == pytest.approx(shades[0])


def test_the_legend_shows_the_markers_of_the_picture() -> None:
    results = [
        Result(0, 1, (0.9,)), Result(1, 3, (0.9, 0.9, 0.95)), Result(2, 1, (0.1,)),
        Result(3, 1, (), "diverged"),
    ]  # fmt: skip
    figure = plot_search(results, [{"learning_rate": 0.1}] * 4, RATE)

    def look(line: Line2D) -> tuple[Any, ...]:
        return line.get_marker(), line.get_color(), line.get_markeredgecolor()

    drawn = {
        (line.get_marker(), *np.asarray(line.get_ydata())): line for line in figure.axes[0].lines
    }
    (legend,) = figure.legends
    found = {
        text.get_text(): line
        for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
    }
    for label, kind, height in (
        ("1 epoch", "o", 90), ("3 epochs", "o", 95), ("best: trial 1, 95.00%", "*", 95)
    ):  # fmt: skip
        (line,) = [
            line for (marker, y), line in drawn.items() if marker == kind and round(y, 6) == height
        ]
        assert look(found[label]) == look(line)
    assert {line.get_linestyle() for line in found.values()} == {"None"}
    for label, kind in (("below this range", "v"), ("diverged", "x")):
        assert look(found[label])[:2] == (kind, "gray")  # of no number of epochs


def test_a_curve_begins_at_its_first_epoch() -> None:
    results = [Result(0, 3, (0.5, 0.6, 0.75)), Result(1, 2, (0.5, 0.7))]
    lines = plot_search(results, [{"learning_rate": 0.1}] * 2, RATE).axes[1].get_lines()
    curves = [
        np.asarray(line.get_xdata()).tolist() for line in lines if line.get_linestyle() != "None"
    ]
    assert curves == [[1, 2], [1, 2, 3]]


def test_the_best_curve_is_dashed() -> None:
    results = [Result(0, 2, (0.5, 0.75)), Result(1, 2, (0.5, 0.7))]
    figure = plot_search(results, [{"learning_rate": 0.1}] * 2, RATE)
    curves = [line for line in figure.axes[1].get_lines() if line.get_linestyle() != "None"]
    assert [(line.get_linestyle(), line.get_ydata()[-1]) for line in curves] == [  # type: ignore[index]
        ("-", 70), ("--", 75)
    ]  # fmt: skip


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_there_is_a_panel_for_each_setting_and_one_for_the_curves(number: int) -> None:
    space = Space(dict([*RANGES.items()][:number]))
    results = [Result(i, 1, (0.5,)) for i in range(3)]
    figure = plot_search(results, sample(space, 3, seed=0), space)
    shown = [axes.get_xlabel() for axes in figure.axes if axes.axison]
    assert shown == [*sorted(space.ranges), "epoch"]
    assert len(pixels(figure)) > 0


def test_choices_stand_side_by_side_with_their_names() -> None:
    space = Space({"schedule": RANGES["schedule"]})
    results = [Result(0, 1, (0.5,)), Result(1, 1, (0.75,))]
    figure = plot_search(results, [{"schedule": "linear"}, {"schedule": "constant"}], space)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["constant", "linear"]
    assert drawn(axes, "*") == [(0.0, 75.0)]
    assert axes.get_xlim() == (-0.5, 1.5)


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.003, 3, ["0.003", "0.01", "0.03", "0.1", "0.3", "1", "3"]),
        (10, 100, ["10", "20", "50", "100"]),
        (1e-8, 1, ["1e-08", "1e-06", "0.0001", "0.01", "1"]),
        (0.11, 0.19, ["0.11", "0.145", "0.19"]),
        (0.9, 2.1, ["1", "2"]),
        (0.9, 1.9, ["0.9", "1.31", "1.9"]),
        (1e-300, 1e300, None),
    ],
)
def test_a_logarithmic_axis_has_a_few_round_ticks(
    low: float, high: float, labels: list[str] | None
) -> None:
    space = Space({"learning_rate": LogUniform(low, high)})
    figure = plot_search([Result(0, 1, (0.5,))], [{"learning_rate": low}], space)
    axes = figure.axes[0]
    left, right = axes.get_xlim()
    assert left < low < high < right
    assert np.log(right) - np.log(left) < 1.1 * (np.log(high) - np.log(low))
    found = [label.get_text() for label in axes.get_xticklabels()]
    assert found == labels or (labels is None and 2 <= len(found) <= 7)
    assert axes.get_xticks(minor=True).size == 0


def test_the_whole_range_of_a_setting_is_shown() -> None:
    space = Space({"hidden_dim": RANGES["hidden_dim"]})
    figure = plot_search([Result(0, 1, (0.5,))], [{"hidden_dim": 30}], space)
    assert figure.axes[0].get_xlim() == pytest.approx((8 - 0.04 * 56, 64 + 0.04 * 56))


def test_results_and_their_ranking_give_the_same_picture_in_any_order() -> None:
    parts = [
        Result(0, 1, (0.5,)), Result(1, 1, (0.6,)), Result(2, 1, (), "loss is NaN"),
        Result(1, 3, (0.7, 0.8)),
    ]  # fmt: skip
    settings = [{"learning_rate": rate} for rate in (0.1, 0.2, 0.3)]
    pictures = {
        pixels(plot_search(results, settings, RATE))
        for results in (parts, parts[::-1], tuple(rank(parts)), iter(parts))
    }
    assert len(pictures) == 1


GOOD: dict[str, Any] = {
    "results": [Result(0, 1, (0.5,)), Result(1, 1, (0.6,))],
    "settings": [{"learning_rate": 0.1}, {"learning_rate": 0.2}],
    "space": RATE,
}
BAD: list[tuple[str, Any, str]] = [
    ("results", [], "^results must hold at least one result, found none"),
    ("results", [0.5], "^results must hold a Result each, found 0.5"),
    ("results", None, "^results must be a Iterable, found NoneType"),
    ("results", [Result(0, 1, ())], "^results must have accuracies, found none of trial 0"),
    ("results", [Result(2, 1, (0.5,))], "^settings must hold those of trial 2, found 2 trials"),
    ("settings", None, "^settings must be a list, found NoneType"),
    ("settings", {0: {}}, "^settings must be a list, found dict"),
    ("settings", [{"learning_rate": 0.1}], "^settings must hold those of trial 1, found 1 trials"),
    ("settings", [3, 4], r"^settings\[0\] must be a Mapping, found int"),
    ("settings", [{"reg": 0.1}] * 2, r"^settings\[0\] must have 'learning_rate', found \['reg'\]"),
    ("settings", [{"learning_rate": 2.0}] * 2, r"^settings\[0\]\['learning_rate'\] must be a fin"),
    ("settings", [{"learning_rate": "1"}] * 2, r"^settings\[0\]\['learning_rate'\] must be a num"),
    ("settings", [{"learning_rate": np.nan}] * 2, r"^settings\[0\]\['learning_rate'\] must be a"),
    ("space", None, "^space must be a Space, found NoneType"),
    ("space", RANGES, "^space must be a Space, found dict"),
]


@pytest.mark.parametrize(("name", "value", "pattern"), BAD)
def test_wrong_arguments_are_refused_by_name(name: str, value: Any, pattern: str) -> None:
    with pytest.raises((TypeError, ValueError), match=pattern):
        plot_search(**{**GOOD, name: value})


def test_a_value_that_is_not_a_choice_is_refused_by_name() -> None:
    space = Space({"schedule": RANGES["schedule"]})
    with pytest.raises(ValueError, match=r"^settings\[0\]\['schedule'\] must be one of .* 'cos'"):
        plot_search([Result(0, 1, (0.5,))], [{"schedule": "cos"}], space)


def test_a_choice_of_several_widths_is_drawn() -> None:
    widths = ((8, 4), (16,), 0)
    space = Space({"hidden_dim": Choice(widths)})
    settings = sample(space, 12, seed=0)
    results = [Result(i, 1, (0.5 + i / 100,)) for i in range(12)]
    axes = plot_search(results, settings, space).axes[0]
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks == ["(8, 4)", "(16,)", "0"]
    assert drawn(axes, "*") == [(widths.index(settings[11]["hidden_dim"]), 61.0)]
