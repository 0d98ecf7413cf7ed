"""Checks of a run's data: classes, copies, inputs, and whether the labels fit the examples."""

import math
from hashlib import blake2b
from typing import Literal

import numpy as np
from attrs import frozen

from fnnet.checks import Array
from fnnet.data.dataset import Dataset
from fnnet.data.preprocessing import preprocess
from fnnet.runs.run import Run

Verdict = Literal["ok", "look", "wrong"]
"""Fine; worth a look; and what keeps a net from learning, or its accuracy from being true."""

SOME = 1000
"""Training examples whose values are looked at; the labels of the second half are guessed."""
MOST = 20_000_000
"""Numbers that are looked at: 160 MB of memory."""
NARROW = 0.02
"""Standard deviations between the 5th and the 95th percentile of a feature with an outlier."""
BY_CHANCE = 3.0
"""Standard deviations above chance that guesses reach by luck once in 700 times."""


@frozen
class Finding:
    """What one check of a run found; ``print`` shows it as a line."""

    check: str
    verdict: Verdict
    found: str
    cure: str
    """What to change if it is not ok."""

    def __str__(self) -> str:
        cure = "" if self.verdict == "ok" else f": {self.cure}"
        return f"{self.verdict:<5}  {self.check}: {self.found}{cure}"


def judge(
    check: str, found: str, cure: str, badness: float, look: float, wrong: float = math.inf
) -> Finding:
    """Return the finding of a number that should be below `look`, and must be below `wrong`."""
    verdict: Verdict = "wrong" if badness >= wrong else "look" if badness >= look else "ok"
    return Finding(check, verdict, found, cure)


def check_data(run: Run) -> list[Finding]:
    """Return what there is to say of a run's examples; after one class alone, nothing more."""
    classes = check_classes(run.train)
    if classes.verdict == "wrong":
        return [classes]
    copies, inputs = check_copies(run.train, run.val), check_inputs(run)
    return [classes, *copies, *inputs, check_labels(run)]


def check_classes(train: Dataset) -> Finding:
    """Count the training examples of each class: two classes at least, none ten times another."""
    counts = np.bincount(train.labels, minlength=len(train.class_names))
    most, least = int(counts.argmax()), int(counts.argmin())
    share, name = counts[most] / len(train), train.class_names[most]
    if share == 1:
        found, cure = f"all training examples are {name}", "give examples of two classes at least"
        return Finding("classes", "wrong", found, cure)
    found = f"{counts[least]} ({train.class_names[least]}) to {counts[most]} ({name}) examples"
    cure = f"collect more of the rare ones; an accuracy of {share:.0%} means nothing"
    return judge("classes", found, cure, counts[most] / max(1, counts[least]), look=10)


def check_copies(train: Dataset, val: Dataset) -> list[Finding]:
    """Count the examples that are, number for number, in the training part before."""
    known = set(_digests(train))
    copies, leak = len(train) - len(known), sum(d in known for d in _digests(val))
    cure = "remove copies from --dataset before it is split"
    found = f"{copies} of {len(train)} training examples are copies of others"
    leaked = f"{leak} of {len(val)} validation examples are in training, too"
    few = max(0.05, 3 / len(val))  # a small table may have two equal rows
    return [
        judge("duplicates", found, cure, copies / len(train), 1 / len(train), 0.05),
        judge("leak", leaked, cure, leak / len(val), 1 / len(val), few),
    ]


def _digests(dataset: Dataset) -> list[bytes]:
    return [blake2b(image.tobytes(), digest_size=16).digest() for image in dataset.images]


def check_inputs(run: Run) -> list[Finding]:
    """Look for features that never change, for outliers, and for inputs far from size 1.

    A huge outlier makes the standard deviation of its feature so large that all other
    examples are nearly equal in it: then the 5th and the 95th percentile lie close together.
    """
    images = run.train.images
    constant, size = int((images.max(axis=0) == images.min(axis=0)).sum()), images[0].size
    x = _inputs(run)
    low, high = np.quantile(x, [0.05, 0.95], axis=0)
    narrow = int(((low < high) & (high - low < NARROW)).sum())
    rms = math.sqrt(np.mean(np.square(x)))
    return [
        judge(
            "constant inputs", f"{constant} of {size} never change in training",
            "remove them from --dataset, or look whether it was read right",
            constant / size, 0.3, 0.5,
        ),
        judge(
            "outliers", f"{narrow} of {x.shape[1]} inputs; the largest value is "
            f"{np.abs(x).max():.3g} standard deviations",
            "a few huge values in --dataset, such as a code for missing ones, hide all others: "
            "remove them, or take logarithms",
            narrow / x.shape[1], 1 / x.shape[1], 0.1,
        ),
        judge(
            "scale of inputs", f"{rms:.2g} (root mean square)",
            "use inputs of size 1, such as --preprocessing standardize makes",
            max(rms / 5, 0.01 / max(rms, 1e-9)), 0.4, 1,
        ),
    ]  # fmt: skip


def check_labels(run: Run) -> Finding:
    """Guess the labels of some training examples from others, in two ways that need no training.

    The guess is the class with the nearest mean, or the label of the nearest example. If the
    labels were shuffled, neither would be right more often than two independent draws agree.
    """
    x = _inputs(run)
    half, labels = len(x) // 2, run.train.labels[: len(x)]
    known, classes = labels[:half], np.unique(labels[:half])
    if half < 2:
        return Finding("labels", "look", "too few examples to compare", "use a larger --num-train")
    means = np.array([x[:half][known == label].mean(axis=0) for label in classes])
    guesses = [_nearest(x[half:], means, classes), _nearest(x[half:], x[:half], known)]
    above, found = max(_above_chance(guess, labels[half:]) for guess in guesses)
    cure = "they look shuffled: see whether labels and examples in --dataset have the same order"
    return judge("labels", found, cure, -above, -BY_CHANCE, -BY_CHANCE if half >= 100 else math.inf)


def _inputs(run: Run) -> Array:
    """Return the inputs of the first training examples, in float64, and not more than fit."""
    images = run.train.images
    return preprocess(
        run.preprocessing, images[: min(SOME, 2 + MOST // images[0].size)], np.float64
    )


def _nearest(x: Array, others: Array, labels: Array) -> Array:
    """Return for each row of x the label of the row of `others` at the least distance."""
    squares = np.square(others).sum(axis=1) - 2 * x @ others.T  # and x², the same for all others
    return np.asarray(labels[squares.argmin(axis=1)])


def _above_chance(guess: Array, labels: Array) -> tuple[float, str]:
    """Return the standard deviations above chance, and the accuracy as text."""
    n, right = len(labels), float(np.mean(guess == labels))
    size = int(max(guess.max(), labels.max())) + 1
    by_chance = (
        float(np.bincount(guess, minlength=size) @ np.bincount(labels, minlength=size)) / n**2
    )
    spread = math.sqrt(max(by_chance * (1 - by_chance), 1e-12) / n)
    text = f"{right:.0%} right from the nearest example or class mean, {by_chance:.0%} by chance"
    return (right - by_chance) / spread, text
