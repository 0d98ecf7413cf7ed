"""Random and fixed changes of images that leave their class alone, as pure functions.

Images have the shape (N, ..., height, width); the same generator state gives
the same result, and the argument is never written to.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fnnet.checks import Array, as_array, as_integer, check_type
from fnnet.limits import MAX_SHIFT

View = Callable[[Array], Array]
"""images -> images of the same shape, nothing random."""


def flip(rng: np.random.Generator, images: Array) -> Array:
    """Mirror each image left to right with probability 1/2.

    >>> flip(np.random.default_rng(0), np.array([[[1, 2]], [[3, 4]]], np.uint8)).tolist()
    [[[1, 2]], [[4, 3]]]
    """
    images = _plain(images)
    check_type("rng", rng, np.random.Generator)
    chosen = rng.random(len(images)) < 0.5
    result = images.copy()
    result[chosen] = mirror(images[chosen])
    return result


def shift(rng: np.random.Generator, images: Array, max_shift: int) -> Array:
    """Move each image by up to `max_shift` pixels down or up and right or left, all equally likely.

    What comes in at a border repeats the border's pixels.

    Raises:
        TypeError, ValueError: `max_shift` is not an integer in [0, 100], or the images do not
            have a height and a width.
    """
    images = _plain(images)
    check_type("rng", rng, np.random.Generator)
    k = as_integer("max_shift", max_shift, low=0, high=MAX_SHIFT)
    n, *channels, height, width = images.shape
    padded = _pad(images.reshape(n, math.prod(channels), height, width), k)
    windows = sliding_window_view(padded, (height, width), axis=(2, 3))
    down, right = rng.integers(2 * k + 1, size=(2, n))
    return windows[np.arange(n), :, down, right].reshape(images.shape)


def mirror(images: Array) -> Array:
    """Return the images mirrored left to right.

    >>> mirror(np.array([[[1, 2, 3]]])).tolist()
    [[[3, 2, 1]]]
    """
    return _plain(images)[..., ::-1]


def shifted(images: Array, down: int, right: int) -> Array:
    """Return the images moved by some pixels (negative: up, left), repeating the border.

    >>> shifted(np.array([[[1, 2], [3, 4]]]), down=0, right=1).tolist()
    [[[1, 1], [3, 3]]]
    """
    images = _plain(images)
    down = as_integer("down", down, low=-MAX_SHIFT, high=MAX_SHIFT)
    right = as_integer("right", right, low=-MAX_SHIFT, high=MAX_SHIFT)
    height, width = images.shape[-2:]
    k = max(abs(down), abs(right))
    return _pad(images, k)[..., k - down : k - down + height, k - right : k - right + width]


def tta_views(mirrored: bool, max_shift: int) -> list[View]:
    """Return the views of test-time augmentation; the model's scores for them are averaged.

    The image itself; with `mirrored` its mirror image; each of these moved by
    -max_shift, …, max_shift pixels down and right.
    """
    check_type("mirrored", mirrored, bool)
    max_shift = as_integer("max_shift", max_shift, low=0, high=MAX_SHIFT)
    moves = range(-max_shift, max_shift + 1)

    def view(flipped: bool, down: int, right: int) -> View:
        def look(images: Array) -> Array:
            moved = shifted(images, down, right) if down or right else images
            return mirror(moved) if flipped else moved

        return look

    return [
        view(flipped, down, right)
        for flipped in ([False, True] if mirrored else [False])
        for down in moves
        for right in moves
    ]


def _pad(images: Array, k: int) -> Array:
    return np.pad(images, [(0, 0)] * (images.ndim - 2) + [(k, k), (k, k)], mode="edge")


def _plain(images: Array) -> Array:
    images = as_array("images", images)
    if images.ndim < 3 or 0 in images.shape[1:]:
        raise ValueError(f"images must have shape (N, ..., height, width), found {images.shape}")
    return images
