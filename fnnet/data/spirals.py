"""Spirals: a toy set in two dimensions, to draw what a classifier has learned."""

import numpy as np

from fnnet.checks import as_integer
from fnnet.data.dataset import Dataset
from fnnet.seeds import generator

TURN = 4.0  # radians that each arm winds
NOISE = 0.2  # standard deviation of the angle, in radians


def load_spirals(seed: int, num_classes: int = 3, per_class: int = 100) -> Dataset:
    """Draw C interleaved spiral arms of K points, features (C K, 2), one class for each arm.

    Point k of arm c has the radius r = k / (K - 1) and the angle t = 2π c / C + 4 r + 0.2 z,
    where z is a standard normal number, and lies at (r sin t, r cos t). The spirals are those
    of the course CS231n (https://cs231n.github.io/neural-networks-case-study/), whose three arms
    begin at the angles 0, 4 and 8. No straight line separates them.

    Args:
        seed: integer >= 0; the same seed gives the same points.
        num_classes: number C of arms, from 1 to 100.
        per_class: number K of points of each arm, from 2 to 10,000.

    Returns:
        float64 features in [-1, 1], the labels 0, …, 0, 1, …, 1, and so on.

    Raises:
        TypeError, ValueError: an argument is not an integer, or out of range.

    >>> load_spirals(seed=0)
    Dataset(300 examples of 2 features, 3 classes)
    """
    rng = generator(seed, "spirals")
    num_classes = as_integer("num_classes", num_classes, 1, 100)
    per_class = as_integer("per_class", per_class, 2, 10_000)
    labels = np.repeat(np.arange(num_classes), per_class)
    r = np.tile(np.linspace(0, 1, per_class), num_classes)
    t = 2 * np.pi * labels / num_classes + TURN * r + NOISE * rng.standard_normal(len(r))
    features = np.column_stack([r * np.sin(t), r * np.cos(t)])
    return Dataset(features, labels, tuple(f"arm {c}" for c in range(num_classes)))
