"""From bytes to network inputs: frozen statistics, and the pure functions that fit and apply them.

The statistics come from the training part alone and travel with the saved
model, so that every evaluation uses the very same ones.
"""

from typing import Any

import numpy as np
from attrs import frozen

from fnnet.checks import Array, float_array, lock, read_only
from fnnet.datasets import Dataset


@frozen(eq=False)
class Standardization:
    """Statistics of the D pixels of the training images."""

    mean: Array
    """(D,) float64."""
    std: Array
    """(D,) float64, above 0."""

    def __attrs_post_init__(self) -> None:
        mean = float_array("mean", self.mean, ("D",))
        std = float_array("std", self.std, mean.shape, like=("mean", mean))
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise ValueError("mean and std must be finite, and std above 0")
        object.__setattr__(self, "mean", read_only(mean))
        object.__setattr__(self, "std", read_only(std))


def fit_standardization(dataset: Dataset) -> Standardization:
    """Return the mean and the standard deviation of each pixel.

    A standard deviation below 1, one gray level, counts as 1: a pixel that is
    the same in (nearly) all training images must not be blown up.

    >>> images = np.array([[0, 7], [4, 7]], np.uint8)
    >>> fit_standardization(Dataset(images, np.array([0, 0]), ("a",)))
    Standardization(mean=array([2., 7.]), std=array([2., 1.]))
    """
    n = len(dataset)
    images = dataset.images.reshape(n, -1)
    total = np.zeros(images.shape[1], np.int64)
    squares = np.zeros(images.shape[1], np.int64)
    for i in range(0, n, 256):
        block = images[i : i + 256].astype(np.uint16)
        total += block.sum(axis=0, dtype=np.int64)
        squares += np.square(block).sum(axis=0, dtype=np.int64)
    # n² var = n Σx² - (Σx)² in integers: exact up to 10^7 images, so nothing cancels.
    variance = (n * squares - total * total) / n**2
    return Standardization(total / n, np.sqrt(np.maximum(variance, 1.0)))


def standardize(stats: Standardization, images: Array, dtype: Any = np.float64) -> Array:
    """Return the images as network inputs: x = (pixel - mean) / std.

    Args:
        stats: what :func:`fit_standardization` returned.
        images: (N, ...) uint8, D bytes each.
        dtype: floating dtype of the result.

    Returns:
        x (N, D).

    Raises:
        TypeError, ValueError: `images` is not uint8 or not of D bytes each, or `dtype`
            is not floating.

    >>> images = np.array([[0, 7], [4, 7]], np.uint8)
    >>> standardize(Standardization(np.array([2.0, 7.0]), np.array([2.0, 1.0])), images)
    array([[-1.,  0.],
           [ 1.,  0.]])
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        found = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
        raise TypeError(f"images must be a uint8 array, found {found}")
    if images.ndim < 2 or np.prod(images.shape[1:]) != stats.mean.size:
        raise ValueError(
            f"images must have {stats.mean.size} bytes each, found shape {images.shape}"
        )
    if np.dtype(dtype).kind != "f":
        raise TypeError(f"dtype must be floating, found {np.dtype(dtype)}")
    x = images.reshape(len(images), -1).astype(dtype)
    x -= stats.mean.astype(dtype)
    x *= (1 / stats.std).astype(dtype)
    return lock(x)
