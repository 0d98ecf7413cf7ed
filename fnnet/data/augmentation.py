"""Random and fixed changes of images that leave their class alone, as pure functions.

Images have the shape (N, ..., height, width); the same generator state gives
the same result, and the argument is never written to.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fnnet.checks import Array, as_array, as_integer, as_number, check_type
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


def rotate(
    rng: np.random.Generator, images: Array, max_angle: float, max_zoom: float = 0.0
) -> Array:
    """Turn and zoom each image about its center, to the nearest pixel.

    What comes in at a border repeats the border's pixels.

    Args:
        rng: draws the angle, all equally likely, and the factor, its logarithm equally likely.
        images: (N, ..., height, width).
        max_angle: degrees in [0, 180]; the angles lie in [-max_angle, max_angle].
        max_zoom: in [0, 1]; the factors lie in [1 / (1 + max_zoom), 1 + max_zoom].

    Raises:
        TypeError, ValueError: a number is out of its range, or the images do not have a height
            and a width.
    """
    images = _plain(images)
    check_type("rng", rng, np.random.Generator)
    max_angle = math.radians(as_number("max_angle", max_angle, low=0, high=180))
    max_zoom = math.log1p(as_number("max_zoom", max_zoom, low=0, high=1))
    n, *channels, height, width = images.shape
    angle = rng.uniform(-max_angle, max_angle, (n, 1, 1))
    factor = np.exp(rng.uniform(-max_zoom, max_zoom, (n, 1, 1)))
    cos, sin = np.cos(angle) / factor, np.sin(angle) / factor
    # The pixel at (i, j), measured from the center, comes from where the inverse takes it.
    i = np.arange(height)[:, None] - (height - 1) / 2
    j = np.arange(width) - (width - 1) / 2
    row = _nearest(cos * i, sin * j, height)
    column = _nearest(-sin * i, cos * j, width)
    source = (row * width + column).reshape(n, height * width)
    planes = images.reshape(n, math.prod(channels), height * width)
    result = np.empty_like(planes)
    for image, places, out in zip(planes, source, result, strict=True):  # faster than all at once
        image.take(places, axis=1, out=out, mode="clip")
    return result.reshape(images.shape)


def _nearest(a: Array, b: Array, length: int) -> Array:
    """Return a + b, measured from the middle of a side, as indices of the side's pixels."""
    place: Array = (a + length / 2).astype(np.float32) + b.astype(np.float32)
    np.clip(place, 0, length - 1, out=place)
    return place.astype(np.int32)  # rounds down; half the memory of int64, so twice as fast


def recolor(rng: np.random.Generator, images: Array, strength: float) -> Array:
    """Change contrast, brightness and color of each image.

    With factors drawn from [1 - strength, 1 + strength], and for the color from half of that, a
    pixel p of an image with mean m becomes brightness · color[channel] · (m + contrast · (p - m)).

    Args:
        rng: draws the factors, all equally likely.
        images: bytes (N, height, width) or (N, channels, height, width); without channels
            there is no color to change.
        strength: in [0, 1].

    Returns:
        bytes of the same shape, rounded, and cut off at 0 and 255.

    Raises:
        TypeError, ValueError: `strength` is out of its range, or the images are not bytes.
    """
    images = _plain(images)
    check_type("rng", rng, np.random.Generator)
    strength = as_number("strength", strength, low=0, high=1)
    if images.dtype != np.uint8:
        raise TypeError(f"images must be uint8, found {images.dtype}")
    n, *channels, height, width = images.shape
    planes = images.reshape(n, math.prod(channels), height * width)
    contrast, brightness = rng.uniform(1 - strength, 1 + strength, (2, n, 1, 1))
    if channels:
        half = strength / 2
        brightness = brightness * rng.uniform(1 - half, 1 + half, (n, planes.shape[1], 1))
    mean = planes.mean(axis=(1, 2), keepdims=True)
    pixels: Array = planes * (brightness * contrast).astype(np.float32)
    pixels += (brightness * (1 - contrast) * mean + 0.5).astype(np.float32)
    np.clip(pixels, 0, 255, out=pixels)
    return pixels.astype(np.uint8).reshape(images.shape)  # rounds down


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
