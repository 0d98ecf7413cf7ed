"""Standardization: each pixel or feature with mean 0 and standard deviation 1 on the training part.

The statistics remember the shape of one example and refuse another.
"""

import math
from typing import Any

import numpy as np
from attrs import field, frozen

from fnnet.checks import (
    Array,
    as_array,
    as_float_array,
    as_float_dtype,
    as_integer,
    check_type,
)
from fnnet.data.dataset import Dataset
from fnnet.values import Rebuilt, by_content, lock, locked_copy


@frozen
class Standardization(Rebuilt):
    """Mean and standard deviation of each of the D numbers of a training example."""

    mean: Array = field(eq=by_content)
    """(D,) floating."""
    std: Array = field(eq=by_content)
    """(D,) floating, above 0."""
    shape: tuple[int, ...] | None = None
    """Shape of one example; None for any shape of D numbers."""
    of_features: bool = False
    """Whether it was fitted to floating features, not to bytes."""

    def __attrs_post_init__(self) -> None:
        mean = as_float_array("mean", self.mean, ("D",))
        std = as_float_array("std", self.std, mean.shape, like=("mean", mean))
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise ValueError(
                f"mean and std must be finite, and std above 0, found {mean} and {std}"
            )
        check_fitted_shape(self.shape, mean.size)
        object.__setattr__(self, "mean", locked_copy(mean))
        object.__setattr__(self, "std", locked_copy(std))


@np.errstate(all="ignore")
def fit_standardization(dataset: Dataset) -> Standardization:
    """Return the mean and the standard deviation of each pixel, or of each feature.

    A pixel's standard deviation below 1, one gray level, counts as 1: the noise of a pixel
    that is the same in (nearly) all training images must not be amplified. So does that of a
    feature that is the same in all training examples.

    >>> images = np.array([[0, 7], [4, 7]], np.uint8)
    >>> fit_standardization(Dataset(images, np.array([0, 0]), ("a",)))
    Standardization(mean=array([2., 7.]), std=array([2., 1.]), shape=(2,), of_features=False)
    """
    n = len(check_type("dataset", dataset, Dataset))
    shape = dataset.images.shape[1:]
    if dataset.images.dtype.kind == "f":
        return Standardization(*_feature_statistics(dataset.images), shape, of_features=True)
    images = dataset.images.reshape(n, -1)
    total = np.zeros(images.shape[1], np.int64)
    squares = np.zeros(images.shape[1], np.int64)
    for i in range(0, n, 256):
        block = images[i : i + 256].astype(np.uint16)
        total += block.sum(axis=0, dtype=np.int64)
        squares += np.square(block).sum(axis=0, dtype=np.int64)
    # n² var = n Σx² - (Σx)². Python integers make this exact: no rounding, no overflow.
    exact = n * squares.astype(object) - total.astype(object) ** 2
    variance = (exact / n**2).astype(np.float64)
    return Standardization(total / n, np.sqrt(np.maximum(variance, 1.0)), shape)


def _feature_statistics(features: Array) -> tuple[Array, Array]:
    """Return the mean and the standard deviation of each column, as float64."""
    x = features.astype(np.float64)
    # Times a power of 2, which is exact: neither a sum nor a square overflows. From the first
    # example on: a small spread far from 0 keeps its digits.
    _, exponent = np.frexp(np.abs(x).max(axis=0))
    x = np.ldexp(x, -exponent)
    deviation = x - x[0]
    mean = np.ldexp(x[0] + deviation.mean(axis=0), exponent)
    std = np.maximum(np.ldexp(deviation.std(axis=0), exponent), np.finfo(np.float64).tiny)
    return mean, np.where((deviation == 0).all(axis=0), 1.0, std)


@np.errstate(all="ignore")
def standardize(stats: Standardization, images: Array, dtype: Any = np.float64) -> Array:
    """Return the examples as network inputs: x = (example - mean) / std.

    Args:
        stats: what :func:`fit_standardization` returned.
        images: uint8 images or floating features (N, ...), of the shape that was fitted.
        dtype: floating dtype of the result.

    Returns:
        x (N, D).

    Raises:
        TypeError, ValueError: `images` is neither uint8 nor floating or has another shape,
            or `dtype` is not floating.

    >>> images = np.array([[0, 7], [4, 7]], np.uint8)
    >>> standardize(Standardization(np.array([2.0, 7.0]), np.array([2.0, 1.0])), images)
    array([[-1.,  0.],
           [ 1.,  0.]])
    """
    check_type("stats", stats, Standardization)
    images = like_fitted(stats, images, stats.mean.size)
    dtype = as_float_dtype("dtype", dtype)
    x = images.reshape(len(images), stats.mean.size)
    if stats.of_features:
        # They may be far from 0: subtract in float64 at least. The difference of two halves
        # is finite where x and the mean are near the two ends of float64.
        half = np.float64(0.5)
        return lock(((x * half - stats.mean * half) / (stats.std * half)).astype(dtype))
    mean, scale = stats.mean.astype(dtype), (1 / stats.std).astype(dtype)
    x = x.astype(dtype)
    x -= mean
    x *= scale
    return lock(x)


def like_fitted(fitted: Any, images: Array, size: int) -> Array:
    """Return images or features that were checked to be like those that were fitted."""
    images = as_array("images", images)
    if images.dtype.kind != "f" if fitted.of_features else images.dtype != np.uint8:
        wanted = "floating features" if fitted.of_features else "a uint8 array"
        raise TypeError(f"images must be {wanted}, found {images.dtype}")
    found, shape = images.shape[1:], fitted.shape
    if images.ndim < 2 or (found != shape if shape else math.prod(found) != size):
        wanted = f"{size} numbers" if shape is None else f"shape {shape}"
        raise ValueError(f"images must have {wanted} each, found shape {images.shape}")
    return images


def check_fitted_shape(shape: tuple[int, ...] | None, size: int) -> None:
    """Raise ValueError unless the shape of an example is that of `size` numbers."""
    if shape is None:
        return
    for length in shape:
        as_integer("shape", length, low=1)
    if math.prod(shape) != size:
        raise ValueError(f"shape must be that of {size} numbers, found {shape}")
