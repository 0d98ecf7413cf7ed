"""The picture of settings that are compared over seeds."""

from collections.abc import Mapping
from statistics import mean

import numpy as np
from matplotlib.figure import Figure

from fnnet.checks import as_integer
from fnnet.plots.figures import BLUE, GRAY, ORANGE, tidy, tint
from fnnet.search.comparison import Sample, deviation, examples_error, ranked


@np.errstate(all="ignore")
def plot_comparison(samples: Mapping[str, Sample], examples: int) -> Figure:
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
    names, ranking = zip(*reversed(ranked(samples)), strict=True)
    means = 100 * np.array([mean(sample.values()) for sample in ranking])
    spreads = 100 * np.nan_to_num([deviation(sample) for sample in ranking])
    seeds = [(100 * a, i - 0.18) for i, sample in enumerate(ranking) for a in sample.values()]
    error = 100 * examples_error(means[-1] / 100, examples)
    figure = Figure(figsize=(7, 1.7 + 0.45 * len(ranking)), layout="constrained")
    axes = figure.subplots()
    label = f"best mean ± error of {examples} examples"
    axes.axvspan(means[-1] - error, means[-1] + error, color=tint(ORANGE, 0.25), label=label)
    axes.plot(*np.transpose(seeds), "o", color=GRAY, markersize=3.5, label="a seed")
    label, places = "mean ± standard deviation", range(len(ranking))
    axes.errorbar(means, places, xerr=spreads, color=BLUE, fmt="o", capsize=4, label=label)
    axes.set_yticks(places, names, parse_math=False)
    axes.set_ylim(-0.6, len(ranking) - 0.4)
    axes.set_xlabel("validation accuracy after the last epoch (%)")
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    tidy(axes)
    return figure
