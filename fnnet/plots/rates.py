"""The picture of a learning-rate range test."""

import numpy as np
from matplotlib.figure import Figure

from fnnet.checks import check_type
from fnnet.plots.figures import BLUE, LEGEND, ORANGE, tidy, tint
from fnnet.runs.rates import RATES, RateTest


@np.errstate(all="ignore")
def plot_rates(test: RateTest, learning_rate: float) -> Figure:
    """Draw the data loss of each step of a range test against its learning rate.

    The range to search in is shaded; a line marks the configured rate. Losses far above the
    first ones are cut off.

    Args:
        test: what :func:`fnnet.runs.rates.rate_test` returned.
        learning_rate: that of the run, at least 0.

    Raises:
        TypeError: `test` is not a RateTest.
    """
    check_type("test", test, RateTest)
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    rates = RATES[: len(test.losses)]
    axes.plot(rates, test.losses, color=tint(BLUE, 0.4), linewidth=0.8, label="each step")
    axes.plot(rates, test.smooth, color=BLUE, linewidth=2, label="median of 7 steps")
    if test.lowest:
        low, high = test.lowest / 100, test.lowest
        label = f"to search: {low:.1g} to {high:.1g}, where the loss is lowest"
        axes.axvspan(low, high, color=tint(BLUE, 0.12), label=label)
    if learning_rate:
        label = f"configured: {learning_rate:g}"
        axes.axvline(learning_rate, color=ORANGE, linestyle="--", linewidth=1.6, label=label)
    axes.set(xscale="log", ylim=(0, min(1.3 * test.smooth[0], 100)))
    axes.set(xlabel="learning rate (log scale)", ylabel="data loss of the batch (nats)")
    axes.set_title("Learning-rate range test")
    axes.legend(loc="lower left", fontsize=8, **LEGEND)
    tidy(axes)
    return figure
