"""Checks of a run's data: classes, copies, inputs, and whether the labels fit the examples."""

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
from attrs import frozen

from fnnet.checks import Array
from fnnet.data.preprocessing import preprocess
from fnnet.runs.run import Run

SOME = 2000
"""Training examples whose values are looked at; the labels of the second half are guessed."""
MOST = 20_000_000
"""Numbers that are looked at: 160 MB of memory."""


@frozen
class Finding:
    """What one check of a run found; ``print`` shows it as a line."""

    check: str
    found: str
    cure: str
    """What to change if it is not ok."""
    badness: float
    look: float
    """From this badness on, the finding is worth a look."""
    wrong: float = math.inf
    """From this one on, a net cannot learn, or its accuracy is not true."""

    @property
    def verdict(self) -> Literal["ok", "look", "wrong"]:
        """How bad it is; a badness of NaN is wrong."""
        if self.badness < self.look:
            return "ok"
        return "look" if self.badness < self.wrong else "wrong"

    def __str__(self) -> str:
        cure = "" if self.verdict == "ok" else f": {self.cure}"
        return f"{self.verdict:<5}  {self.check}: {self.found}{cure}"


def check_classes(run: Run) -> Finding:
    """Count the training examples of each class: two classes at least, none ten times another."""
    names, n = run.train.class_names, len(run.train)
    counts = np.bincount(run.train.labels, minlength=len(names))
    most, least = int(counts.argmax()), int(counts.argmin())
    found = f"{counts[least]} ({names[least]}) to {counts[most]} ({names[most]}) examples each"
    cure = f"more examples of {names[least]}: a net needs two classes, of similar size"
    return Finding("classes", found, cure, counts[most] / max(1, counts[least]), min(10, n), n)


def check_copies(run: Run) -> Iterator[Finding]:
    """Count exact copies of training examples, in the training and in the validation part."""
    train, val = ([hash(i.tobytes()) for i in part.images] for part in (run.train, run.val))
    known, cure = {*train}, "remove copies from --dataset"
    copies, leak = len(train) - len(known), sum(digest in known for digest in val)
    found = f"{copies} of {len(train)} training examples are copies of others"
    yield Finding("duplicates", found, cure, copies / len(train), 1 / len(train), 0.05)
    found = f"{leak} of {len(val)} validation examples are in training, too"
    # A small table may have two equal rows.
    yield Finding("leak", found, cure, leak, 1, max(0.05 * len(val), 3))


def check_inputs(run: Run) -> Iterator[Finding]:
    """Look for features that never change, for outliers, and for inputs far from size 1.

    A huge outlier makes the standard deviation of its feature so large that all other
    examples are nearly equal in it: less than 0.02 lies between the 5th and the 95th percentile.
    """
    images, x = run.train.images, _inputs(run)
    share = float(np.mean(images.max(axis=0) == images.min(axis=0)))
    cure = "remove them from --dataset, or see whether it was read right"
    yield Finding("constant inputs", f"{share:.0%} never change", cure, share, 0.3, 0.5)
    low, high = np.quantile(x, [0.05, 0.95], axis=0)
    share = float(np.mean((low < high) & (high - low < 0.02)))
    cure = "huge values hide all others: remove codes for missing ones, or take logarithms"
    yield Finding("outliers", f"in {share:.0%} of the inputs", cure, share, 1e-9, 0.1)
    size = math.sqrt(np.mean(np.square(x)))
    cure = "it should be about 1, as --preprocessing standardize makes it"
    badness = max(size / 5, 0.01 / max(size, 1e-9))
    yield Finding("scale of inputs", f"root mean square {size:.2g}", cure, badness, 0.4, 1)


def check_labels(run: Run) -> Finding:
    """Guess the labels of some training examples from others, without training.

    The guess is the label of the nearest example, or the class of a mean that is nearer. If the
    labels were shuffled, it would be right as often as two independent draws agree: by luck it
    is two standard deviations better in 2 of 100 cases, and three in 1 of 700.
    """
    x = _inputs(run)
    half = len(x) // 2
    known, labels = np.split(run.train.labels[: len(x)], [half])
    classes = np.unique(known)
    means = [x[:half][known == label].mean(axis=0) for label in classes]
    others, of_others = np.concatenate([means, x[:half]]), np.concatenate([classes, known])
    squares = np.square(others).sum(axis=1) - 2 * x[half:] @ others.T  # plus that of x
    guess = of_others[squares.argmin(axis=1)]
    right, chance = float(np.mean(guess == labels)), float(np.mean(guess[:, None] == labels))
    above = (right - chance) / math.sqrt(max(chance * (1 - chance), 1e-12) / len(labels))
    found = f"{right:.0%} are guessed from other examples, {chance:.0%} by chance"
    cure = "they look shuffled: do labels and examples in --dataset have the same order?"
    return Finding("labels", found, cure, -above, -3, -2 if half >= 100 else math.inf)


def _inputs(run: Run) -> Array:
    """Return the inputs of the first training examples, in float64, and not more than fit."""
    some = min(SOME, 2 + MOST // run.train.images[0].size)
    return preprocess(run.preprocessing, run.train.images[:some], np.float64)
