"""The picture of a training shows every loss, both accuracies and the best epoch."""

from typing import Any

import numpy as np
import pytest
from attrs import evolve
from matplotlib.colors import to_rgb, to_rgba

from fnnet import History
from fnnet.checks import Array
from fnnet.plots import plot_history
from tests.plots.drawn import gray, legend_labels, markers, pixels
from tests.strategies import normal


def history(epochs: int = 3, steps: int = 4) -> History:
    losses = 1 + normal(0, (epochs * steps,)) ** 2
    return History(losses, np.linspace(0.25, 0.5, epochs), np.linspace(0.2, 0.25, epochs))


def test_the_loss_of_every_step_and_its_mean_are_drawn() -> None:
    run = history(epochs=3, steps=4)
    axes = plot_history(run).axes[0]
    steps, mean = axes.get_lines()
    np.testing.assert_array_equal(steps.get_xdata(), np.arange(1, 13) / 4)
    np.testing.assert_array_equal(steps.get_ydata(), run.losses)
    # Two steps are half an epoch; each mean stands in the middle of its steps.
    np.testing.assert_allclose(np.asarray(mean.get_ydata()), (run.losses[1:] + run.losses[:-1]) / 2)
    np.testing.assert_allclose(np.asarray(mean.get_xdata()), (np.arange(1, 12) + 0.5) / 4)
    assert axes.get_xlim() == (0, 3)
    assert mean.get_marker() == "None"


def test_with_two_steps_an_epoch_the_mean_is_that_of_one_step() -> None:
    run = history(epochs=3, steps=2)
    _, mean = plot_history(run).axes[0].get_lines()
    np.testing.assert_array_equal(mean.get_ydata(), run.losses)


def test_a_large_early_loss_does_not_change_later_means() -> None:
    losses = np.ones(100)
    losses[0] = 1e30
    _, mean = plot_history(History(losses, np.ones(5), np.ones(5))).axes[0].get_lines()
    assert np.asarray(mean.get_ydata())[1:].tolist() == [1.0] * 90


def test_the_mean_of_a_long_training_has_a_thousand_points() -> None:
    _, mean = plot_history(history(epochs=10, steps=1000)).axes[0].get_lines()
    assert len(np.asarray(mean.get_xdata())) == 1000


@pytest.mark.parametrize(
    ("losses", "top"),
    [
        (np.ones(1000), 1.1),
        (np.r_[500.0, np.ones(999)], 1.1),
        (np.full(4, 0.5), 0.55),
        (np.zeros(4), 1),
    ],
)
def test_the_loss_axis_begins_at_0_and_leaves_a_few_large_losses_out(
    losses: Array, top: float
) -> None:
    figure = plot_history(History(losses, np.ones(1), np.ones(1)))
    assert figure.axes[0].get_ylim() == pytest.approx((0, top))


def whole_history(reg: float = 1.0) -> History:
    """Return a history as this version records it: three epochs of four steps."""
    data = 1 + normal(1, (12,)) ** 2
    accuracies = np.linspace(0.25, 0.5, 3)
    return History(data + reg, accuracies, accuracies, data, np.array([3.0, 2.0, 1.5]))


def test_the_lines_of_the_loss_legend_are_thick_enough_to_see() -> None:
    for run, labels in (
        (history(), ["training, each step", "mean of ½ epoch"]),
        (
            whole_history(),
            ["training, each step", "mean of ½ epoch", "validation", "regularization"],
        ),
        (whole_history(0), ["training, each step", "mean of ½ epoch", "validation"]),
    ):
        legend = plot_history(run).axes[0].get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == labels
        assert all(line.get_linewidth() >= 2 for line in legend.get_lines())


def test_the_legends_have_no_frame_and_the_star_has_no_line_there() -> None:
    figure = plot_history(history())
    legends = [legend for axes in figure.axes if (legend := axes.get_legend())]
    assert [to_rgba(legend.get_frame().get_edgecolor())[3] for legend in legends] == [0, 0]
    assert [line.get_linestyle() for line in legends[1].get_lines()] == ["-", "--", "None"]
    labels = ["training", "validation", "best: 25.00% after epoch 3"]
    assert [text.get_text() for text in legends[1].get_texts()] == labels


def test_the_steps_are_a_thin_pale_line_behind_the_others() -> None:
    steps, *others = plot_history(whole_history()).axes[0].get_lines()
    widths = {line.get_linewidth() for line in others}
    assert len(widths) == 1
    assert steps.get_linewidth() < min(widths) / 2
    assert gray(steps.get_color()) > max(gray(line.get_color()) for line in others)


def test_data_loss_validation_loss_and_regularization_are_drawn_apart() -> None:
    run = whole_history()
    axes = plot_history(run).axes[0]
    steps, _, val, reg = axes.get_lines()
    np.testing.assert_array_equal(steps.get_ydata(), run.data_losses)
    np.testing.assert_array_equal(val.get_ydata(), run.val_loss)
    np.testing.assert_allclose(np.asarray(reg.get_ydata(), float), [1, 1, 1])
    np.testing.assert_array_equal(val.get_xdata(), [1, 2, 3])
    assert axes.get_title() == "Loss without regularization"
    assert len({line.get_linestyle() for line in (steps, val, reg)}) == 3
    before = history()
    old = plot_history(before).axes[0]
    assert old.get_title() == "Training loss with regularization"
    np.testing.assert_array_equal(old.get_lines()[0].get_ydata(), before.losses)
    assert len(old.get_lines()) == 2


def test_a_resumed_history_draws_what_was_recorded_of_its_later_epochs() -> None:
    whole = whole_history()
    data_losses, val_loss = whole.data_losses.copy(), whole.val_loss.copy()
    data_losses[:4] = val_loss[:1] = np.nan  # the first epoch is that of an earlier version
    figure = plot_history(evolve(whole, data_losses=data_losses, val_loss=val_loss))
    figure.draw_without_rendering()
    steps, means, val, reg = figure.axes[0].get_lines()
    np.testing.assert_array_equal(steps.get_ydata(), whole.data_losses[4:])
    np.testing.assert_allclose(np.asarray(steps.get_xdata(), float), np.arange(5, 13) / 4)
    for line in (means, val, reg):
        shown = np.asarray(line.get_xdata(), float)[np.isfinite(np.asarray(line.get_ydata()))]
        assert 1 < shown.min() <= shown.max() <= 3


def test_the_legend_says_how_many_examples_the_train_accuracy_is_of() -> None:
    assert "training (first 2000)" in legend_labels(plot_history(history(), 2000))
    assert "training" in legend_labels(plot_history(history()))
    with pytest.raises(TypeError, match="train_sample must be an integer"):
        plot_history(history(), 2.5)  # type: ignore[arg-type]


def test_both_accuracies_are_drawn_in_percent_apart_in_gray_and_in_style() -> None:
    run = history()
    train, val, _ = plot_history(run).axes[1].get_lines()
    np.testing.assert_array_equal(train.get_ydata(), 100 * run.train_accuracy)
    np.testing.assert_array_equal(val.get_ydata(), 100 * run.val_accuracy)
    np.testing.assert_array_equal(val.get_xdata(), [1, 2, 3])
    assert (train.get_linestyle(), val.get_linestyle()) == ("-", "--")
    assert train.get_marker() != val.get_marker()
    assert abs(gray(train.get_color()) - gray(val.get_color())) > 0.25


def test_the_axes_are_named_and_the_star_has_the_color_of_the_validation() -> None:
    losses, accuracies = plot_history(history()).axes
    assert (losses.get_xlabel(), losses.get_ylabel()) == ("epoch", "loss")
    assert (accuracies.get_xlabel(), accuracies.get_ylabel()) == ("epoch", "accuracy (%)")
    assert accuracies.get_title() == "Accuracy"
    _, val, best = accuracies.get_lines()
    assert best.get_color() == val.get_color()
    assert gray(best.get_markeredgecolor()) == 0


@pytest.mark.parametrize("epochs", [1, 2, 3, 40])
def test_the_accuracy_axes_show_all_points_and_little_more(epochs: int) -> None:
    run = history(epochs)
    axes = plot_history(run).axes[1]
    left, right = axes.get_xlim()
    assert 1 - max(1, 0.05 * epochs) < left < 1 <= epochs < right < epochs + max(1, 0.05 * epochs)
    assert 1 - left == pytest.approx(right - epochs)
    low, high = axes.get_ylim()
    values = 100 * np.r_[run.train_accuracy, run.val_accuracy]
    assert low < values.min() <= values.max() < high
    assert high - low == pytest.approx(1.2 * np.ptp(values))


@pytest.mark.parametrize(
    ("epochs", "limits", "ticks"),
    [
        (1, (0.5, 1.5), [1]),
        (2, (0.5, 2.5), [1, 2]),
        (9, (0.5, 9.5), [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (16, (0.5, 16.5), [2, 4, 6, 8, 10, 12, 14, 16]),
        (30, (0.1, 30.9), [5, 10, 15, 20, 25, 30]),
        (100, (-2, 103), [0, 20, 40, 60, 80, 100]),
    ],
)
def test_the_epochs_have_round_ticks(
    epochs: int, limits: tuple[float, float], ticks: list[int]
) -> None:
    axes = plot_history(history(epochs)).axes[1]
    assert axes.get_xlim() == pytest.approx(limits)
    left, right = limits
    assert [tick for tick in axes.get_xticks() if left <= tick <= right] == ticks


@pytest.mark.parametrize("epochs", [30, 31])
def test_a_training_of_more_than_30_epochs_has_no_markers_but_the_best_epoch(epochs: int) -> None:
    steps = np.ones(epochs)
    run = History(3 * steps, steps / 2, steps / 4, 2 * steps, 3 * steps)
    losses, accuracies = plot_history(run).axes
    train, val, best = accuracies.get_lines()
    for line in (train, val, *losses.get_lines()[2:]):  # a point an epoch
        assert (line.get_marker() == "None") == (epochs > 30)
    assert best.get_marker() == "*"


def test_a_measure_has_one_color_in_both_panels() -> None:
    losses, accuracies = plot_history(whole_history()).axes
    _, train_loss, val_loss, regularization = losses.get_lines()
    train, val, _ = accuracies.get_lines()
    assert train_loss.get_color() == train.get_color()
    assert val_loss.get_color() == val.get_color()
    red, green, blue = to_rgb(regularization.get_color())
    assert red == green == blue  # gray: neither training nor validation


def test_the_grid_is_faint_and_behind_the_lines_and_two_sides_are_open() -> None:
    for axes in plot_history(history()).axes:
        assert axes.get_axisbelow()
        assert {side for side in axes.spines if axes.spines[side].get_visible()} == {
            "left", "bottom"
        }  # fmt: skip
        for line in axes.get_xgridlines() + axes.get_ygridlines():
            assert (line.get_alpha() or 1) < 0.5


def test_the_best_epoch_is_marked_the_first_one_of_equals() -> None:
    accuracy = np.array([0.25, 0.75, 0.5, 0.75])
    figure = plot_history(History(np.ones(4), np.ones(4), accuracy))
    assert markers(figure.axes[1], "*") == [(2.0, 75.0)]
    assert "best: 75.00% after epoch 2" in legend_labels(figure)


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 1.0])
def test_the_accuracy_axis_does_not_go_far_beyond_0_and_100(accuracy: float) -> None:
    column = np.full(3, accuracy)
    low, high = plot_history(History(np.ones(3), column, column)).axes[1].get_ylim()
    assert -1 <= low < 100 * accuracy < high <= 101 or accuracy in (low / 100, high / 100)


def test_accuracies_from_0_to_100_have_a_percent_of_room() -> None:
    column = np.array([0.0, 0.5, 1.0])
    assert plot_history(History(np.ones(3), column, column)).axes[1].get_ylim() == (-1, 101)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 40])
def test_any_number_of_steps_and_epochs_is_drawn(epochs: int, steps: int) -> None:
    figure = plot_history(history(epochs, steps))
    assert len(pixels(figure)) > 0
    _, mean = figure.axes[0].get_lines()
    assert len(np.asarray(mean.get_xdata())) > 1 or mean.get_marker() == "o"
    ticks = [tick for tick in figure.axes[1].get_xticks() if 1 <= tick <= epochs]
    assert ticks
    assert all(tick == round(tick) for tick in figure.axes[1].get_xticks())


@pytest.mark.parametrize(
    ("run", "pattern"),
    [
        (History(), "^history must have at least one epoch, found none"),
        (
            History(np.empty(0), np.ones(1), np.ones(1)),
            "^history must have at least one step, found none",
        ),
        (None, "^history must be a History, found NoneType"),
        (np.ones(3), "^history must be a History, found ndarray"),
    ],
)
def test_anything_but_a_training_is_refused_by_name(run: Any, pattern: str) -> None:
    with pytest.raises((TypeError, ValueError), match=pattern):
        plot_history(run)
