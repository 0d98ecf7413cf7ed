"""The picture of a learning-rate range test."""

import math

import numpy as np
from matplotlib.figure import Figure

from fnnet.checks import as_number, check_type
from fnnet.plots.figures import BLUE, GRAY, LEGEND, ORANGE, RED, tidy, tint
from fnnet.runs.rates import RateTest


@np.errstate(all="ignore")
def plot_rates(test: RateTest, learning_rate: float) -> Figure:
    """Draw the data loss of each step of a range test against its learning rate.

    The range to search in is shaded; a line marks the configured rate. Losses far above the
    first ones are cut off.

    Args:
        test: what :func:`fnnet.runs.rates.rate_test` returned.
        learning_rate: that of the run.

    Raises:
        TypeError, ValueError: an argument is of another type, or out of its range.
    """
    check_type("test", test, RateTest)
    as_number("learning_rate", learning_rate, low=0)
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    if test.falls:
        range_ = f"to search: {test.low:g} to {test.high:g}"
        axes.axvspan(test.low, test.high, color=tint(BLUE, 0.12), label=range_)
    axes.plot(test.rates, test.losses, color=tint(BLUE, 0.4), linewidth=0.8, label="each step")
    axes.plot(test.rates, test.smooth, color=BLUE, linewidth=2, label="median of 7 steps")
    for rate, color, style, label in (
        (learning_rate, ORANGE, "--", f"configured: {learning_rate:g}"),
        (test.steepest, GRAY, ":", f"falls fastest: {test.steepest:.2g}"),
        (test.diverges, RED, "-.", f"diverges: {test.diverges:.2g}"),
    ):
        if 0 < rate < math.inf:
            axes.axvline(rate, color=color, linestyle=style, linewidth=1.6, label=label)
    top, low = 1.3 * float(test.smooth[0]), float(test.losses.min())
    axes.set(
        xscale="log", xlabel="learning rate (log scale)", ylabel="data loss of the batch (nats)"
    )
    axes.set(
        title="Learning-rate range test", ylim=(0.8 * low, top) if low < top < math.inf else (0, 1)
    )
    seen = [rate for rate in (learning_rate, *test.rates) if 0 < rate < 5 * test.diverges]
    axes.set_xlim(min(seen) / 1.3, max(learning_rate, *seen) * 1.3)
    axes.legend(loc="lower left", fontsize=8, **LEGEND)
    tidy(axes)
    return figure
