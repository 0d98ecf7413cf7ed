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

SOME = 2000
"""Training examples whose values are looked at; the labels of the second half are guessed."""
MOST = 20_000_000
"""Numbers that are looked at: 160 MB of memory."""
NARROW = 0.02
"""Standard deviations between the 5th and the 95th percentile of a feature with an outlier."""


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
    copies = check_copies(run.train, run.val)
    return [classes, *copies, *check_inputs(run), check_labels(run)]


def check_classes(train: Dataset) -> Finding:
    """Count the training examples of each class: two classes at least, none ten times another."""
    counts, names = np.bincount(train.labels, minlength=len(train.class_names)), train.class_names
    most, least = int(counts.argmax()), int(counts.argmin())
    found = f"{counts[least]} ({names[least]}) to {counts[most]} ({names[most]}) examples each"
    cure = f"collect more of the rare ones: {names[most]} is always the best guess"
    if counts[most] == len(train):
        cure = f"all examples are {names[most]}: give two classes at least"
        return Finding("classes", "wrong", found, cure)
    return judge("classes", found, cure, counts[most] / max(1, counts[least]), look=10)


def check_copies(train: Dataset, val: Dataset) -> list[Finding]:
    """Count exact copies: of training examples in the training part, and in the validation part."""
    known, n, cure = set(_digests(train)), len(val), "remove copies from --dataset"
    copies, leak = len(train) - len(known), sum(digest in known for digest in _digests(val))
    found = f"{copies} of {len(train)} training examples are copies of others"
    leaked = f"{leak} of {n} validation examples are in training, too"
    few = max(0.05, 3 / n)  # a small table may have two equal rows
    return [
        judge("duplicates", found, cure, copies / len(train), 1 / len(train), 0.05),
        judge("leak", leaked, cure, leak / n, 1 / n, few),
    ]


def _digests(dataset: Dataset) -> list[bytes]:
    return [blake2b(image.tobytes(), digest_size=16).digest() for image in dataset.images]


def check_inputs(run: Run) -> list[Finding]:
    """Look for features that never change, for outliers, and for inputs far from size 1.

    A huge outlier makes the standard deviation of its feature so large that all other
    examples are nearly equal in it: then the 5th and the 95th percentile lie close together.
    """
    images, x = run.train.images, _inputs(run)
    constant, size = int((images.max(axis=0) == images.min(axis=0)).sum()), images[0].size
    low, high = np.quantile(x, [0.05, 0.95], axis=0)
    narrow, n = int(((low < high) & (high - low < NARROW)).sum()), x.shape[1]
    rms = math.sqrt(np.mean(np.square(x)))
    still, scale = f"{constant} of {size} never change in training", f"root mean square {rms:.2g}"
    hidden = f"in {narrow} of {n} inputs; the largest value is {np.abs(x).max():.3g}"
    cures = (
        "remove them from --dataset, or see whether it was read right",
        "huge values hide all others: remove codes for missing ones, or take logarithms",
        "it should be about 1, as --preprocessing standardize makes it",
    )
    return [
        judge("constant inputs", still, cures[0], constant / size, 0.3, 0.5),
        judge("outliers", hidden, cures[1], narrow / n, 1 / n, 0.1),
        judge("scale of inputs", scale, cures[2], max(rms / 5, 0.01 / max(rms, 1e-9)), 0.4, 1),
    ]


def check_labels(run: Run) -> Finding:
    """Guess the labels of some training examples from others, in two ways that need no training.

    The guess is the class with the nearest mean, or the label of the nearest example. If the
    labels were shuffled, neither would be right more often than two independent draws agree;
    by luck one is two standard deviations better in 5 of 100 cases, and three in 1 of 400.
    """
    x = _inputs(run)
    half, labels = len(x) // 2, run.train.labels[: len(x)]
    known, classes = labels[:half], np.unique(labels[:half])
    means = np.array([x[:half][known == label].mean(axis=0) for label in classes])
    guesses = [_nearest(x[half:], means, classes), _nearest(x[half:], x[:half], known)]
    above, right, chance = max(_above_chance(guess, labels[half:]) for guess in guesses)
    found = f"{right:.0%} are guessed from other examples, {chance:.0%} by chance"
    cure = "they look shuffled: do labels and examples in --dataset have the same order?"
    return judge("labels", found, cure, -above, -3, -2 if half >= 100 else math.inf)


def _inputs(run: Run) -> Array:
    """Return the inputs of the first training examples, in float64, and not more than fit."""
    some = min(SOME, 2 + MOST // run.train.images[0].size)
    return preprocess(run.preprocessing, run.train.images[:some], np.float64)


def _nearest(x: Array, others: Array, labels: Array) -> Array:
    """Return for each row of x the label of the row of `others` at the least distance."""
    squares = np.square(others).sum(axis=1) - 2 * x @ others.T  # and x², the same for all others
    return np.asarray(labels[squares.argmin(axis=1)])


def _above_chance(guess: Array, labels: Array) -> tuple[float, float, float]:
    """Return the standard deviations above chance, the accuracy, and that of chance."""
    right, chance = np.mean(guess == labels), np.mean(guess[:, None] == labels)
    spread = math.sqrt(max(chance * (1 - chance), 1e-12) / len(labels))
    return float(right - chance) / spread, float(right), float(chance)
