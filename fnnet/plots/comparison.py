"""The picture of settings that are compared over seeds."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from fnnet.checks import as_integer
from fnnet.plots.figures import BLUE, GRAY, ORANGE, tidy, tint
from fnnet.search.comparison import Sample, examples_error


@np.errstate(all="ignore")
def plot_comparison(samples: Sequence[Sample], examples: int) -> Figure:
    """Draw mean ± standard deviation over seeds of each setting, the best one at the top.

    Small dots are the seeds. The band is the best mean ± the standard error that the number of
    validation examples alone gives.

    Args:
        samples: at least one.
        examples: how many validation examples the accuracies were measured on.

    Raises:
        TypeError, ValueError: `samples` is empty, or `examples` is not an integer of at least 1.
    """
    examples = as_integer("examples", examples, low=1)
    if not samples:
        raise ValueError("samples must hold at least one, found none")
    ranking = sorted(samples, key=lambda sample: sample.mean)
    figure = Figure(figsize=(7, 1.7 + 0.45 * len(ranking)), layout="constrained")
    axes = figure.subplots()
    best = ranking[-1].mean
    error = examples_error(best, examples)
    axes.axvspan(
        100 * (best - error), 100 * (best + error), color=tint(ORANGE, 0.25), zorder=0,
        label=f"best mean ± error of {examples} examples",
    )  # fmt: skip
    for place, sample in enumerate(ranking):
        values = 100 * np.array([*sample.accuracies.values()])
        label = "mean ± standard deviation" if place == 0 else None
        axes.plot(
            values, np.full(len(values), place - 0.18), "o", color=GRAY, markersize=3.5,
            label="a seed" if place == 0 else None,
        )  # fmt: skip
        axes.errorbar(
            100 * sample.mean, place, xerr=100 * np.nan_to_num(sample.deviation), color=BLUE,
            fmt="o", capsize=4, label=label,
        )  # fmt: skip
    axes.set_yticks(range(len(ranking)), [sample.name for sample in ranking], parse_math=False)
    axes.set_ylim(-0.6, len(ranking) - 0.4)
    axes.set_xlabel("validation accuracy after the last epoch (%)")
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    tidy(axes)
    return figure
