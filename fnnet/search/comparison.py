"""Settings compared over seeds: means with their errors, and whether two can be told apart."""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from statistics import mean, stdev
from typing import Any

import numpy as np

Sample = Mapping[int, float]
"""The validation accuracies in [0, 1] that one setting reached, by seed; at least one."""


def ranked(samples: Mapping[str, Sample]) -> list[tuple[str, Sample]]:
    """Return the settings with their samples, the best mean first, equal ones by name."""
    return sorted(samples.items(), key=lambda item: (-mean(item[1].values()), item[0]))


def deviation(sample: Sample) -> float:
    """Return the standard deviation over seeds (n - 1 in the denominator); NaN of a single one."""
    return stdev(sample.values()) if len(sample) > 1 else math.nan


def examples_error(accuracy: float, examples: int) -> float:
    """Return the standard error sqrt(p (1 - p) / n) of an accuracy p on n examples.

    It tells how far the accuracy on all possible examples may be, whatever the seed.

    >>> round(examples_error(0.65, 5000), 4)
    0.0067
    """
    return math.sqrt(accuracy * (1 - accuracy) / examples)


def difference(a: Sample, b: Sample, examples: int) -> tuple[float, float]:
    """Return the mean paired difference a - b over the common seeds, and its uncertainty.

    The uncertainty is half the width of the confidence interval t · s / sqrt(n) (Student 1908),
    where s is the standard deviation of the n differences. With fewer than two it is that of two
    accuracies on independent examples; on the same examples it is less.
    """
    pairs = [a[seed] - b[seed] for seed in a if seed in b]
    if len(pairs) < 2:
        best, second = mean(a.values()), mean(b.values())
        return best - second, 1.96 * math.sqrt(2) * examples_error(best, examples)
    return mean(pairs), t_quantile(len(pairs) - 1) * stdev(pairs) / math.sqrt(len(pairs))


@cache
def t_quantile(degrees: int) -> float:
    """Return the t that Student's distribution exceeds in absolute value in 5 % of all cases.

    With t = sqrt(degrees) · tan(angle) the density of the angle is cos(angle)^(degrees - 1).

    >>> [round(t_quantile(degrees), 2) for degrees in (1, 2, 9)]
    [12.71, 4.3, 2.26]
    """
    edges = np.linspace(0, np.pi / 2, 200_001)
    density = np.cos((edges[1:] + edges[:-1]) / 2) ** (degrees - 1)
    share = np.concatenate([[0], density.cumsum() / density.sum()])
    return float(math.sqrt(degrees) * math.tan(np.interp(0.95, share, edges)))


def decimals(error: float) -> int:
    """Return how many decimals of a percentage an error in [0, 1] allows.

    The error keeps one digit, or two if it begins with 1.

    >>> decimals(0.0067), decimals(0.011), decimals(0.00012)
    (1, 1, 3)
    """
    if not 0 < error < 1:
        return 1
    first = math.floor(math.log10(100 * error))
    return max(0, -first + (100 * error < 2 * 10.0**first))


def percent(value: float, error: float) -> str:
    """Return an accuracy in percent, with the digits that its error allows.

    >>> percent(0.65432, 0.0067)
    '65.4'
    """
    return "unknown" if math.isnan(value) else f"{100 * value:.{decimals(error)}f}"


def compare(samples: Mapping[str, Sample], examples: int) -> list[dict[str, Any]]:
    """Return a row of a table for each setting, the best mean first.

    Args:
        samples: at least one, by the name of the setting.
        examples: how many validation examples the accuracies were measured on.
    """
    rows, ranking = [], ranked(samples)
    for place, (name, sample) in enumerate(ranking):
        center, spread = mean(sample.values()), deviation(sample)
        error = examples_error(center, examples)
        behind, unsure = difference(sample, ranking[0][1], examples)
        row = {
            "setting": name,
            "seeds": len(sample),
            "mean (%)": percent(center, float(np.fmax(error, spread))),
            "standard deviation": percent(spread, spread or error),
            "error of the examples": percent(error, error),
            "difference from the best": f"{percent(behind, unsure)} ± {percent(unsure, unsure)}",
            "accuracies": " ".join(str(sample[seed]) for seed in sorted(sample)),
        }
        rows.append(row if place else row | {"difference from the best": ""})
    return rows


def verdict(samples: Mapping[str, Sample], examples: int) -> str:
    """Return whether the best setting can be told apart from the second best, as a sentence."""
    (best, a), (second, b) = ranked(samples)[:2]
    lead, unsure = difference(a, b, examples)
    common = len(a.keys() & b.keys())
    basis = f"paired over {common} seeds" if common > 1 else f"on {examples} examples"
    size = f"{percent(lead, unsure)} ± {percent(unsure, unsure)} points ({basis}, 95 %)"
    if lead > max(unsure, 1 / examples):  # one example more is no lead
        return f"{best} is better than {second} by {size}"
    return f"{best} and {second} cannot be told apart: they differ by {size}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows with the same columns as a Markdown table, without the single accuracies."""
    names = [name for name in rows[0] if name != "accuracies"]
    lines = [names, *([str(row[name]).replace("|", r"\|") for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "".join(f"| {' | '.join(map(str.rjust, line, widths))} |\n" for line in lines)
