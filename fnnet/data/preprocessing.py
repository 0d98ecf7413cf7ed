"""From images or features to network inputs: statistics, and the functions that fit and apply them.

The statistics come from the training part alone and are saved with the model, so every
evaluation uses the same ones. They remember the shape of one example and refuse another.
"""

import math
from typing import Any

import numpy as np
from attrs import field, frozen

from fnnet.checks import (
    Array,
    Watch,
    as_array,
    as_float_array,
    as_float_dtype,
    as_integer,
    as_number,
    check_finite,
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

    def __attrs_post_init__(self) -> None:
        mean = as_float_array("mean", self.mean, ("D",))
        std = as_float_array("std", self.std, mean.shape, like=("mean", mean))
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise ValueError(
                f"mean and std must be finite, and std above 0, found {mean} and {std}"
            )
        _check_shape(self.shape, mean.size)
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
    Standardization(mean=array([2., 7.]), std=array([2., 1.]), shape=(2,))
    """
    n = len(check_type("dataset", dataset, Dataset))
    shape = dataset.images.shape[1:]
    if dataset.images.dtype.kind == "f":
        return Standardization(*_feature_statistics(dataset.images), shape)
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
    # Divided by the largest first: neither a sum nor a square overflows.
    largest = np.maximum(np.abs(x).max(axis=0), np.finfo(np.float64).tiny)
    x /= largest
    mean = x.mean(axis=0)
    deviation = x.std(axis=0)
    constant = (x == x[0]).all(axis=0)
    std = np.where(constant, 1.0, np.maximum(deviation * largest, np.finfo(np.float64).tiny))
    return np.where(constant, features[0], mean * largest), std


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
    images = _examples(images, stats.shape, stats.mean.size)
    dtype = as_float_dtype("dtype", dtype)
    x = images.reshape(len(images), stats.mean.size)
    if images.dtype.kind == "f":  # features may be far from 0: subtract in float64 at least
        return lock(((x - stats.mean) / stats.std).astype(dtype))
    mean, scale = stats.mean.astype(dtype), (1 / stats.std).astype(dtype)
    x = x.astype(dtype)
    x -= mean
    x *= scale
    return lock(x)


@frozen
class Whitening(Rebuilt):
    """Mean and matrix of PCA whitening, fitted to the training examples."""

    pool: int
    """Side of the blocks of pixels that are averaged first; 1 for none."""
    mean: Array = field(eq=by_content)
    """(d,): mean of each averaged pixel."""
    matrix: Array = field(eq=by_content)
    """(d, D): from averaged pixels to components."""
    shape: tuple[int, ...] | None = None
    """Shape of one example; None for any shape with d averaged pixels."""

    def __attrs_post_init__(self) -> None:
        as_integer("pool", self.pool, low=1)
        mean = as_float_array("mean", self.mean, ("d",))
        matrix = as_float_array("matrix", self.matrix, (mean.size, "D"), like=("mean", mean))
        if matrix.size == 0:
            raise ValueError(f"matrix must not be empty, found shape {matrix.shape}")
        check_finite("mean", mean)
        check_finite("matrix", matrix)
        _check_shape(self.shape, mean.size * self.pool**2)
        object.__setattr__(self, "mean", locked_copy(mean))
        object.__setattr__(self, "matrix", locked_copy(matrix))


@np.errstate(all="ignore")
def fit_whitening(
    dataset: Dataset,
    components: int,
    epsilon: float,
    pool: int = 1,
    dtype: Any = np.float64,
    watch: Watch = iter,
) -> Whitening:
    """Fit PCA whitening (Krizhevsky 2009, appendix A).

    With λ_i, u_i the eigenvalues and eigenvectors of the images' covariance, the
    components are x_i = u_i·(image - mean) / sqrt(λ_i + epsilon · mean(λ)), for the
    largest λ. They are uncorrelated. Without epsilon each would have variance 1;
    with it, the faint ones, mostly noise, stay faint: variance λ_i / (λ_i + epsilon · mean(λ)).

    Args:
        dataset: the training part; images (N, ..., height, width) or features (N, d).
        components: D, how many to keep, at most the number d of (averaged) pixels.
        epsilon: a finite number > 0.
        pool: average blocks of pool×pool pixels first; with 2, d falls to a quarter
            and the covariance costs a sixteenth. Must be 1 for features.
        dtype: of the result; the covariance is computed in float64.
        watch: passes the beginnings of blocks of examples on, and may show progress.

    Raises:
        TypeError, ValueError: an argument is out of its range, or all examples are the same.
    """
    components = as_integer("components", components, low=1)
    epsilon = as_number("epsilon", epsilon, low=np.finfo(np.float64).tiny)
    pool = as_integer("pool", pool, low=1)
    dtype = as_float_dtype("dtype", dtype)
    n = len(check_type("dataset", dataset, Dataset))
    starts = range(0, n, 5000)
    blocks = (average_blocks(dataset.images[i : i + 5000], pool, np.float64) for i in starts)
    mean = sum(block.sum(axis=0) for block in blocks) / n
    if components > mean.size:
        raise ValueError(f"components must be at most {mean.size}, found {components}")
    covariance = np.zeros((mean.size, mean.size))
    for i in watch(starts):
        block = average_blocks(dataset.images[i : i + 5000], pool, np.float64)
        block -= mean
        covariance += block.T @ block
    covariance /= n
    if all((dataset.images[i : i + 5000] == dataset.images[0]).all() for i in starts):
        raise ValueError(f"dataset must have examples that differ, found {n} that are the same")
    eigenvalues, eigenvectors = np.linalg.eigh(covariance)
    kept = slice(-1, -components - 1, -1)
    floor = max(epsilon * float(eigenvalues.mean()), np.finfo(np.float64).tiny)
    matrix = eigenvectors[:, kept] / np.sqrt(np.maximum(eigenvalues[kept], 0) + floor)
    return Whitening(pool, mean.astype(dtype), matrix.astype(dtype), dataset.images.shape[1:])


@np.errstate(all="ignore")
def whiten(fitted: Whitening, images: Array, dtype: Any = np.float64) -> Array:
    """Return the examples as network inputs: x = (averaged pixels - mean) matrix.

    Args:
        fitted: what :func:`fit_whitening` returned.
        images: uint8 images or floating features (N, ...), of the shape that was fitted.
        dtype: floating dtype of the result.

    Returns:
        x (N, D).

    Raises:
        TypeError, ValueError: `images` is neither uint8 nor floating, or has another shape.
    """
    check_type("fitted", fitted, Whitening)
    dtype = as_float_dtype("dtype", dtype)
    images = _examples(images, fitted.shape, fitted.mean.size * fitted.pool**2)
    if images.dtype.kind == "f":  # features may be far from 0: subtract in float64 at least
        return lock((images - fitted.mean).astype(dtype) @ fitted.matrix.astype(dtype, copy=False))
    pixels = average_blocks(images, fitted.pool, dtype)
    pixels -= fitted.mean.astype(dtype, copy=False)
    return lock(pixels @ fitted.matrix.astype(dtype, copy=False))


def average_blocks(images: Array, pool: int, dtype: Any) -> Array:
    """Return the mean of each block of pool×pool pixels: (N, ..., height, width) -> (N, d)."""
    if pool > 1:
        if images.ndim < 3 or images.shape[-2] % pool or images.shape[-1] % pool:
            raise ValueError(
                f"images must have a height and a width divisible by pool, {pool}, "
                f"found shape {images.shape}"
            )
        total = np.zeros(
            (*images.shape[:-2], images.shape[-2] // pool, images.shape[-1] // pool), np.uint32
        )
        for i in range(pool):
            for j in range(pool):
                total += images[..., i::pool, j::pool]
        images = total
    pixels = images.reshape(len(images), math.prod(images.shape[1:])).astype(dtype)
    if pool > 1:
        pixels /= pool**2
    return pixels


Preprocessing = Standardization | Whitening
"""What was fitted to the training part."""


def preprocess(fitted: Preprocessing, images: Array, dtype: Any = np.float64) -> Array:
    """Return images or features (N, ...) as network inputs x (N, D)."""
    apply = whiten if isinstance(fitted, Whitening) else standardize
    return apply(fitted, images, dtype)  # type: ignore[arg-type]


def input_dim(fitted: Preprocessing) -> int:
    """Return D, the width of the network's input."""
    return fitted.matrix.shape[1] if isinstance(fitted, Whitening) else fitted.mean.size


def _examples(images: Array, shape: tuple[int, ...] | None, size: int) -> Array:
    """Return images or features that were checked to have the shape that was fitted."""
    images = as_array("images", images)
    if images.dtype.kind == "f" and images.ndim != 2:
        raise ValueError(f"floating features must have shape (N, D), found {images.shape}")
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise TypeError(f"images must be uint8 or floating features, found {images.dtype}")
    found = images.shape[1:]
    if images.ndim < 2 or (found != shape if shape else math.prod(found) != size):
        wanted = f"{size} numbers" if shape is None else f"shape {shape}"
        raise ValueError(f"images must have {wanted} each, found shape {images.shape}")
    return images


def _check_shape(shape: tuple[int, ...] | None, size: int) -> None:
    if shape is not None and math.prod(shape) != size:
        raise ValueError(f"shape must be that of {size} numbers, found {shape}")
