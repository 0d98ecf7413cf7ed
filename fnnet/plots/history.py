"""The picture of a training: its loss and its accuracy."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fnnet.checks import Array, as_integer, check_type
from fnnet.plots.figures import BLUE, GRAY, LEGEND, ORANGE, show_epochs, tidy, tint
from fnnet.training import History

FEW_EPOCHS = 30
"""With more epochs than this, no markers are drawn: they would hide the lines."""
POINTS = 1000
"""Points of the smoothed loss: more than a page can show."""


@np.errstate(all="ignore")
def plot_history(history: History, train_sample: int | None = None) -> Figure:
    """Draw the losses and the accuracy of a run against its epochs.

    On the left: the data loss of each step, its mean over half an epoch, the validation loss
    after each epoch, and the mean regularization of each epoch, which the data loss does not
    include. A history of an earlier version holds only their sum, which is drawn instead. On
    the right: the accuracy in percent on training and on validation examples. A star marks
    the best epoch, the first one of equals.

    Args:
        history: of at least one epoch and one step.
        train_sample: how many training examples the train accuracy is measured on, if not all.

    Raises:
        TypeError: `history` is not a History, or `train_sample` not an integer.
        ValueError: `history` has no epoch or no step.
    """
    check_type("history", history, History)
    if train_sample is not None:
        as_integer("train_sample", train_sample, low=1)
    for what, column in (("epoch", history.val_accuracy), ("step", history.losses)):
        if not column.size:
            raise ValueError(f"history must have at least one {what}, found none")
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    _draw_losses(loss_axes, history)
    _draw_accuracy(accuracy_axes, history, train_sample)
    return figure


def _draw_losses(axes: Axes, history: History) -> None:
    num_epochs = len(history.val_accuracy)
    apart = not np.isnan(history.data_losses).all()
    losses = history.data_losses if apart else history.losses
    steps = np.flatnonzero(np.isfinite(losses)) + 1
    losses = losses[steps - 1]
    steps_per_epoch = len(history.losses) // num_epochs
    axes.plot(
        steps / steps_per_epoch, losses,
        color=tint(BLUE, 0.35), linewidth=0.7, label="training, each step",
    )  # fmt: skip
    middles, means = _moving_mean(losses, max(1, min(len(losses), steps_per_epoch // 2)))
    middles = np.interp(middles, np.arange(1, len(steps) + 1), steps) / steps_per_epoch
    marker = "o" if len(middles) == 1 else None  # a line through one point cannot be seen
    axes.plot(middles, means, color=BLUE, linewidth=1.8, marker=marker, label="mean of ½ epoch")
    few = num_epochs <= FEW_EPOCHS
    epochs = np.arange(1, num_epochs + 1)
    if not np.isnan(history.val_loss).all():
        axes.plot(
            epochs, history.val_loss, "--", color=ORANGE, linewidth=1.8,
            marker="s" if few else None, markersize=3.5, label="validation",
        )  # fmt: skip
    top = 1.1 * float(np.quantile(losses, 0.995))  # the first few may be far above all others
    if apart and history.regularization[np.isfinite(history.regularization)].any():
        axes.plot(
            epochs, history.regularization, ":", color=GRAY, linewidth=1.8,
            marker="." if few else None, label="regularization",
        )  # fmt: skip
    title = "Loss without regularization" if apart else "Training loss with regularization"
    axes.set(xlabel="epoch", ylabel="loss", title=title, xlim=(0, num_epochs))
    axes.set_ylim(0, top if top > 0 else 1)
    legend = axes.legend(loc="best", **LEGEND)
    for line in legend.get_lines():
        line.set_linewidth(2.5)
    tidy(axes)


def _moving_mean(values: Array, window: int) -> tuple[Array, Array]:
    """Return the middles of at most POINTS windows of values, and the windows' means.

    The first value has position 1.
    """
    last = len(values)
    ends = np.unique(np.linspace(window, last, POINTS).astype(int))
    # Differences of running sums would be faster, but lose small values after a large one.
    return ends - (window - 1) / 2, np.array([values[end - window : end].mean() for end in ends])


def _draw_accuracy(axes: Axes, history: History, train_sample: int | None) -> None:
    some = "" if train_sample is None else f" (first {train_sample})"
    num_epochs = len(history.val_accuracy)
    epochs = np.arange(1, num_epochs + 1)
    for label, values, color, style, marker in (
        (f"training{some}", history.train_accuracy, BLUE, "-", "o"),
        ("validation", history.val_accuracy, ORANGE, "--", "s"),
    ):
        axes.plot(
            epochs, 100 * values, style, color=color, label=label,
            marker=marker if num_epochs <= FEW_EPOCHS else None, markersize=3.5,
        )  # fmt: skip
    best = history.best_epoch
    accuracy = 100 * history.val_accuracy[best - 1]
    axes.plot(
        [best], [accuracy], linestyle="none", marker="*", markersize=13, color=ORANGE,
        markeredgecolor="black", label=f"best: {accuracy:.2f}% after epoch {best}",
    )  # fmt: skip
    show_epochs(axes, num_epochs)
    axes.set(ylabel="accuracy (%)", title="Accuracy")
    axes.margins(y=0.1)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -1), min(high, 101))  # there is nothing beyond 0 and 100 %
    axes.legend(loc="best", **LEGEND)
    tidy(axes)
