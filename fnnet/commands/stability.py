"""Check the softmax loss on scores of ±1e3 and ±1e30, beside the naive formula."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tyro
from attrs import frozen

from fnnet.checks import Array
from fnnet.commands.submission import show_module
from fnnet.losses import softmax_loss
from fnnet.submissions.layers import extreme_scores


@frozen
class StabilityCase:
    """The softmax loss of one row of extreme scores."""

    scores: Array
    label: int
    naive: float
    """-log(exp(s[label]) / sum(exp(s))), as the textbook writes it."""
    loss: float
    exact: float
    gradient_sum: float

    @property
    def passed(self) -> bool:
        """Whether the loss is finite and exact, and the gradient sums to 0."""
        return (
            math.isfinite(self.loss)
            and math.isclose(self.loss, self.exact, rel_tol=1e-15)
            and abs(self.gradient_sum) <= 4 * np.finfo(self.scores.dtype).eps
        )


def check_softmax_stability() -> Iterator[StabilityCase]:
    """Yield the softmax loss of scores of ±1e3 and ±1e30, with right and with wrong labels.

    Of three classes, two share the largest score a and one has the smallest, b.
    In exact arithmetic the loss is log(2 + exp(b - a)) for a class with score a, and
    larger by a - b for the class with score b; exp(b - a) is below 1e-400 here.
    """
    for scores, label in extreme_scores():
        loss, grad = softmax_loss(scores[None], np.array([label]))
        with np.errstate(all="ignore"):
            exp = np.exp(scores)
            naive = float(-np.log(exp[label] / exp.sum()))
        exact = math.log(2) + (float(scores[0]) - float(scores[1])) * label
        yield StabilityCase(scores, label, naive, loss, exact, float(grad.sum()))


def show_cases(module: Path | None = None, json: bool = False) -> int:
    """Check the softmax loss on scores of ±1e3 and ±1e30, beside the naive formula.

    A module is checked in a process of its own, with limits on time (60 s), memory (2 GB) and
    output (1 MB), not on files and network: use a container for the files of strangers.

    Args:
        module: Python file with a softmax_loss of your own, which is checked instead.
        json: print the report on the module as JSON.
    """
    if module is not None or json:
        return show_module(module, "stability", json)
    print(f"{'dtype':<8} {'scores':<24} label {'naive':>12} {'fnnet':>24} {'exact':>24} grad sum")
    failed = 0
    for case in check_softmax_stability():
        scores = "[" + ", ".join(f"{score:g}" for score in case.scores) + "]"
        print(
            f"{case.scores.dtype!s:<8} {scores:<24} {case.label:>5} {case.naive:>12g} "
            f"{case.loss:>24.17g} {case.exact:>24.17g} {case.gradient_sum:>8g}"
            + ("" if case.passed else "  FAILED")
        )
        failed += not case.passed
    print(f"FAILED: {failed} cases" if failed else "passed: every loss is finite and exact")
    return 1 if failed else 0


def main() -> int:
    """Check the softmax loss, as the command line says."""
    return tyro.cli(show_cases)
