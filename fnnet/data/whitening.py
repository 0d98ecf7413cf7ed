"""PCA whitening: uncorrelated inputs from images or features."""

import math
from typing import Any

import numpy as np
from attrs import field, frozen

from fnnet.checks import (
    Array,
    Watch,
    as_float_array,
    as_float_dtype,
    as_integer,
    as_number,
    check_finite,
    check_type,
)
from fnnet.data.dataset import Dataset
from fnnet.data.standardization import check_fitted_shape, like_fitted
from fnnet.values import Rebuilt, by_content, lock, locked_copy


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
    of_features: bool = False
    """Whether it was fitted to floating features, not to bytes."""

    def __attrs_post_init__(self) -> None:
        as_integer("pool", self.pool, low=1)
        mean = as_float_array("mean", self.mean, ("d",))
        matrix = as_float_array("matrix", self.matrix, (mean.size, "D"), like=("mean", mean))
        if matrix.size == 0:
            raise ValueError(f"matrix must not be empty, found shape {matrix.shape}")
        check_finite("mean", mean)
        check_finite("matrix", matrix)
        check_fitted_shape(self.shape, mean.size * self.pool**2)
        _check_pool(self.pool, self.shape, self.of_features)
        object.__setattr__(self, "mean", locked_copy(mean))
        object.__setattr__(self, "matrix", locked_copy(matrix))


def _check_pool(pool: int, shape: tuple[int, ...] | None, of_features: bool) -> None:
    """Raise ValueError unless examples of a shape have blocks of pool×pool pixels."""
    if pool == 1 or (shape is None and not of_features):
        return
    if of_features or len(shape or ()) < 2 or any(side % pool for side in (shape or ())[-2:]):
        kind = "features" if of_features else f"shape {shape}"
        raise ValueError(f"pool must divide the height and the width, found {pool} for {kind}")


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
        dtype: of the result, float64 for features; the covariance is computed in float64.
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
    if not 0 < covariance.trace() < np.inf:
        raise ValueError("features must have variances that float64 can hold: scale them")
    eigenvalues, eigenvectors = np.linalg.eigh(covariance)
    kept = slice(-1, -components - 1, -1)
    floor = max(epsilon * float(eigenvalues.mean()), np.finfo(np.float64).tiny)
    matrix = eigenvectors[:, kept] / np.sqrt(np.maximum(eigenvalues[kept], 0) + floor)
    shape, of_features = dataset.images.shape[1:], dataset.images.dtype.kind == "f"
    if of_features:  # their mean may be far larger than their spread
        return Whitening(pool, mean, matrix, shape, of_features)
    return Whitening(pool, mean.astype(dtype), matrix.astype(dtype), shape)


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
    images = like_fitted(fitted, images, fitted.mean.size * fitted.pool**2)
    if fitted.of_features:  # they may be far from 0: subtract in float64 at least
        return lock(((images - fitted.mean) @ fitted.matrix).astype(dtype))
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
        # Sums of bytes are exact in float32 for blocks of up to 256×256 pixels.
        rows = images[..., ::pool, :].astype(np.promote_types(dtype, np.float32))
        for i in range(1, pool):
            rows += images[..., i::pool, :]
        images = rows[..., ::pool].copy()
        for i in range(1, pool):
            images += rows[..., i::pool]
        images /= pool**2
    return images.reshape(len(images), math.prod(images.shape[1:])).astype(dtype, copy=pool == 1)
