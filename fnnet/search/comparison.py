"""Settings compared over seeds: means with their errors, and whether two can be told apart."""

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np
from attrs import frozen

CONFIDENCE = 0.95
"""How sure a statement is that one setting is better than another."""


@frozen
class Sample:
    """What one setting reached: its validation accuracies in [0, 1] by seed, at least one."""

    name: str
    accuracies: Mapping[int, float]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return mean(self.accuracies.values())

    @property
    def deviation(self) -> float:
        """Standard deviation over the seeds (n - 1 in the denominator); NaN of a single one."""
        return stdev(self.accuracies.values()) if len(self.accuracies) > 1 else math.nan


def examples_error(accuracy: float, examples: int) -> float:
    """Return the standard error sqrt(p (1 - p) / n) of an accuracy p on n examples.

    It tells how far the accuracy on all possible examples may be, whatever the seed.

    >>> round(examples_error(0.65, 5000), 4)
    0.0067
    """
    return math.sqrt(accuracy * (1 - accuracy) / examples)


def difference(a: Sample, b: Sample) -> tuple[float, float]:
    """Return the mean paired difference a - b over the common seeds, and its uncertainty.

    The uncertainty is half the width of the confidence interval t · s / sqrt(n) (Student 1908),
    where s is the standard deviation of the n differences. With fewer than two it is infinite.
    """
    pairs = [
        a.accuracies[seed] - b.accuracies[seed] for seed in a.accuracies if seed in b.accuracies
    ]
    if len(pairs) < 2:
        return a.mean - b.mean, math.inf
    return mean(pairs), t_quantile(len(pairs) - 1) * stdev(pairs) / math.sqrt(len(pairs))


def t_quantile(degrees: int) -> float:
    """Return the t that Student's distribution exceeds in absolute value in 5 % of all cases.

    With t = sqrt(degrees) · tan(angle) the density of the angle is cos(angle)^(degrees - 1).

    >>> [round(t_quantile(degrees), 2) for degrees in (1, 2, 9)]
    [12.71, 4.3, 2.26]
    """
    edges = np.linspace(0, np.pi / 2, 200_001)
    density = np.cos((edges[1:] + edges[:-1]) / 2) ** (degrees - 1)
    share = np.concatenate([[0], density.cumsum() / density.sum()])
    return float(math.sqrt(degrees) * math.tan(np.interp(CONFIDENCE, share, edges)))


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
    return "" if math.isnan(value) else f"{100 * value:.{decimals(error)}f}"


def compare(samples: Sequence[Sample], examples: int) -> list[dict[str, Any]]:
    """Return a row of a table for each setting, the best mean first.

    Args:
        samples: at least one.
        examples: how many validation examples the accuracies were measured on.
    """
    ranking = sorted(samples, key=lambda sample: -sample.mean)
    rows = []
    for sample in ranking:
        error = examples_error(sample.mean, examples)
        coarse = max(error, 0.0 if math.isnan(sample.deviation) else sample.deviation)
        behind, unsure = difference(sample, ranking[0])
        row = {
            "setting": sample.name,
            "seeds": len(sample.accuracies),
            "mean (%)": percent(sample.mean, coarse),
            "standard deviation": percent(sample.deviation, sample.deviation or error),
            "error of the examples": percent(error, error),
            "difference from the best": "",
            "accuracies": " ".join(map(str, sample.accuracies.values())),
        }
        if sample is not ranking[0]:
            allowed = unsure if 0 < unsure < math.inf else math.sqrt(2) * error
            row["difference from the best"] = f"{percent(behind, allowed)} ± " + (
                percent(unsure, allowed) if unsure < math.inf else "unknown"
            )
        rows.append(row)
    return rows


def verdict(samples: Sequence[Sample], examples: int) -> str:
    """Return whether the best setting can be told apart from the second best, as a sentence."""
    best, second = sorted(samples, key=lambda sample: -sample.mean)[:2]
    lead, unsure = difference(best, second)
    if unsure < math.inf:
        basis = f"paired over {len(best.accuracies.keys() & second.accuracies.keys())} seeds"
    else:  # two independent samples would have this error; the same examples have less
        unsure = 1.96 * math.sqrt(2) * examples_error(best.mean, examples)
        basis = f"one seed, {examples} validation examples"
    size = f"{percent(lead, unsure)} ± {percent(unsure, unsure)} points ({basis}, 95 %)"
    if lead > max(unsure, 1 / examples):  # one example more is no lead
        return f"{best.name} is better than {second.name} by {size}"
    return f"{best.name} and {second.name} cannot be told apart: they differ by {size}"


def aligned(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows with the same columns as lines of text, without the single accuracies."""
    lines = [[*rows[0]], *([*map(str, row.values())] for row in rows)]
    columns = [column for column in zip(*lines, strict=True) if column[0] != "accuracies"]
    widths = [max(map(len, column)) for column in columns]
    return "\n".join("  ".join(map(str.rjust, line, widths)) for line in zip(*columns, strict=True))


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows with the same columns as a Markdown table, without the single accuracies."""
    rows = [{k: v for k, v in row.items() if k != "accuracies"} for row in rows]
    lines = [[*rows[0]], ["---"] * len(rows[0]), *([*map(str, row.values())] for row in rows)]
    cells = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)
