"""The picture of what the first layer looks for."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from fnnet.checks import Array, as_float_array, as_integer, check_finite, check_type
from fnnet.data.preprocessing import Preprocessing, Standardization, Whitening, input_dim
from fnnet.plots.figures import MAX_IMAGES, check_image_shape, draw_sheet
from fnnet.values import ParamsLike


@np.errstate(all="ignore")
def plot_weights(
    params: ParamsLike, fitted: Preprocessing, image_shape: Sequence[int], number: int = 64
) -> Figure:
    """Draw the strongest columns of W1 as images: what each hidden unit, or class, looks for.

    A bright pixel is a positive weight, a dark one a negative weight, and gray is 0. The
    number above is the unit's. In each image, white and black stand for its 99.5th
    percentile of |weight|; larger weights look the same.

    With standardization, a weight is the effect of one standard deviation of its pixel:
    then pixels that rarely vary do not outshine the others. A pixel whose standard deviation
    is at most 1, one gray level, is drawn as 0: its weight hardly ever had an effect, and
    is still the random number that it started from. (If all are so, all are drawn.)
    With whitening, a weight is the effect of one gray level of its (averaged) pixel.

    Args:
        params: with W1 (D, H).
        fitted: the preprocessing that the images went through; D outputs.
        image_shape: of one image: (height, width), (1, height, width) or (3, height, width).
        number: how many columns at most, in [1, 1000]: those with the largest norm.

    Raises:
        TypeError: an argument is of another type.
        ValueError: W1 is missing, is not finite, or has another shape; `image_shape` has not
            as many pixels as `fitted`; `number` is out of its range.
    """
    if not isinstance(fitted, Standardization | Whitening):
        raise TypeError(
            f"fitted must be a Standardization or a Whitening, found {type(fitted).__name__}"
        )
    if "W1" not in check_type("params", params, Mapping):
        raise ValueError(f"params must have W1, found {sorted(map(str, params))}")
    w = as_float_array("W1", params["W1"], (input_dim(fitted), "H"))
    check_finite("W1", w)
    if w.size == 0:
        raise ValueError(f"W1 must not be empty, found shape {w.shape}")
    shape = _checked_shape(image_shape, fitted)
    number = as_integer("number", number, 1, MAX_IMAGES)

    w = w / (np.abs(w).max() or 1)  # the squares of huge weights would overflow
    strongest = np.sort(np.argsort(-np.square(w).sum(axis=0), kind="stable")[:number])
    pixels = _as_pixels(w[:, strongest].astype(np.float64), fitted)
    images = [_scaled(column).reshape(shape) for column in pixels.T]
    heading = "First-layer weights: white is positive, black negative"
    return draw_sheet(images, [*map(str, strongest)], [False] * len(images), 1.1, heading)


def _checked_shape(image_shape: Sequence[int], fitted: Preprocessing) -> tuple[int, ...]:
    """Return the shape of the image that the weights make."""
    if not isinstance(image_shape, tuple | list):
        raise TypeError(f"image_shape must be a tuple, found {type(image_shape).__name__}")
    shape = tuple(as_integer("image_shape", length, low=1) for length in image_shape)
    check_image_shape("image_shape", shape)
    pool = fitted.pool if isinstance(fitted, Whitening) else 1
    *channels, height, width = shape
    averaged = (*channels, height // pool, width // pool)
    if height % pool or width % pool or math.prod(averaged) != fitted.mean.size:
        blocks = f" after averaging {pool}×{pool}" if pool > 1 else ""
        raise ValueError(f"image_shape must have {fitted.mean.size} pixels{blocks}, found {shape}")
    return averaged


def _as_pixels(w: Array, fitted: Preprocessing) -> Array:
    """Return weights of inputs (D, n) as weights of pixels (d, n)."""
    if isinstance(fitted, Whitening):
        return np.asarray(fitted.matrix @ w)
    varies = fitted.std > 1
    return np.where(varies[:, None], w, 0) if varies.any() else w


def _scaled(weights: Array) -> Array:
    """Return weights as brightness in [0, 1]; 0 becomes ½."""
    size = np.abs(weights)
    limit = float(np.quantile(size, 0.995)) or float(size.max()) or 1.0
    return np.asarray(0.5 + 0.5 * np.clip(weights / limit, -1, 1))
