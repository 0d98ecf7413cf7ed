"""The picture of the weights shows the strongest columns, each scaled by itself."""

from typing import Any

import numpy as np
import pytest

from fnnet import Dataset, Standardization, fit_standardization
from fnnet.checks import Array
from fnnet.data.preprocessing import Whitening, fit_whitening
from fnnet.plots import plot_weights
from tests.plots.drawn import images, titles
from tests.strategies import normal

W = normal(0, (12, 4))
STATS = Standardization(np.zeros(12), np.full(12, 9.0))


def test_the_strongest_columns_are_drawn_in_their_order_with_their_numbers() -> None:
    w = W / np.sqrt(np.square(W).sum(axis=0)) * [1, 4, 2, 3]
    figure = plot_weights({"W1": w}, STATS, (3, 4), number=2)
    assert titles(figure) == ["1", "3"]
    assert titles(plot_weights({"W1": w}, STATS, (3, 4))) == ["0", "1", "2", "3"]


def test_each_column_is_scaled_by_itself_and_0_is_gray() -> None:
    w = np.zeros((12, 3))
    w[:, 0] = np.linspace(-1, 1, 12)
    w[:, 1] = 1e-3 * w[:, 0]
    first, second, nothing = images(plot_weights({"W1": w}, STATS, (3, 4)))
    np.testing.assert_allclose(first, second)
    np.testing.assert_allclose(first.ravel(), 0.5 + 0.5 * w[:, 0])
    np.testing.assert_array_equal(nothing, np.full((3, 4), 0.5))


def test_a_single_huge_weight_does_not_make_the_others_gray() -> None:
    w = np.tile([[1.0], [-1.0]], (500, 1))
    w[0] = 1000
    fitted = Standardization(np.zeros(1000), np.full(1000, 9.0))
    (image,) = images(plot_weights({"W1": w}, fitted, (20, 50)))
    assert {*np.unique(image)} == {0.0, 1.0}


def test_pixels_that_rarely_vary_do_not_outshine_the_others() -> None:
    # The same weights, whatever the standard deviation: the effect of a typical change.
    uneven = Standardization(np.zeros(12), np.linspace(1.5, 90, 12))
    a, b = (images(plot_weights({"W1": W}, fitted, (3, 4))) for fitted in (STATS, uneven))
    np.testing.assert_array_equal(a, b)


def test_constant_pixels_are_gray_however_large_their_weights() -> None:
    pictures = np.random.default_rng(0).integers(256, size=(40, 3, 4), dtype=np.uint8)
    pictures[:, 0] = 7
    fitted = fit_standardization(Dataset(pictures, np.zeros(40, np.int64), ("a",)))
    w = W.copy()
    w[:4] = 1e6
    for image, column in zip(images(plot_weights({"W1": w}, fitted, (3, 4))), W.T, strict=True):
        np.testing.assert_array_equal(image[0], 0.5)
        rest = column[4:]
        limit = np.quantile(np.abs(np.r_[np.zeros(4), rest]), 0.995)
        expected = 0.5 + 0.5 * np.clip(rest / limit, -1, 1)
        np.testing.assert_allclose(image[1:].ravel(), expected, atol=1e-9)


def test_images_of_zeros_and_ones_are_not_taken_for_constant() -> None:
    floored = Standardization(np.full(12, 0.5), np.ones(12))
    a, b = (images(plot_weights({"W1": W}, fitted, (3, 4))) for fitted in (STATS, floored))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(3, 4), (1, 3, 4), (3, 2, 2)])
def test_gray_and_color_weights_are_drawn(shape: tuple[int, ...]) -> None:
    image = images(plot_weights({"W1": W}, STATS, shape))[0]
    color = len(shape) == 3 and shape[0] == 3
    assert image.shape == ((2, 2, 3) if color else (3, 4))
    back = np.moveaxis(image, -1, 0) if color else image
    np.testing.assert_array_equal(np.sign(back.ravel() - 0.5), np.sign(W[:, 0]))


def test_whitened_weights_are_drawn_as_the_pixels_that_they_weigh() -> None:
    # With one component for each pixel, whitened and plain weights look the same.
    plain = images(plot_weights({"W1": W}, STATS, (3, 2, 2)))
    same = images(plot_weights({"W1": W}, Whitening(1, np.zeros(12), np.eye(12)), (3, 2, 2)))
    np.testing.assert_array_equal(plain, same)
    mixed = Whitening(1, np.zeros(12), np.roll(np.eye(12), 1, axis=0))
    rolled = images(plot_weights({"W1": np.roll(W, -1, axis=0)}, mixed, (3, 2, 2)))
    np.testing.assert_array_equal(plain, rolled)


def test_weights_of_averaged_pixels_are_drawn_at_their_size() -> None:
    pictures = np.random.default_rng(0).integers(256, size=(40, 3, 4, 6), dtype=np.uint8)
    fitted = fit_whitening(Dataset(pictures, np.zeros(40, np.int64), ("a",)), 5, 0.5, pool=2)
    figure = plot_weights({"W1": normal(1, (5, 2))}, fitted, (3, 4, 6))
    assert [image.shape for image in images(figure)] == [(2, 3, 3)] * 2


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_weights_of_any_size_and_dtype_are_drawn_the_same(scale: float) -> None:
    expected = images(plot_weights({"W1": W}, STATS, (3, 4)))
    found = images(plot_weights({"W1": W * scale}, STATS, (3, 4)))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    for dtype in (np.float16, np.float32, np.longdouble):
        found = images(plot_weights({"W1": W.astype(dtype)}, STATS, [3, 4]))
        np.testing.assert_allclose(found, expected, atol=1e-3)


def with_nan(array: Array) -> Array:
    copy = array.copy()
    copy[1, 2] = np.nan
    return copy


GOOD: dict[str, Any] = {"params": {"W1": W}, "fitted": STATS, "image_shape": (3, 4), "number": 4}
BAD: list[tuple[str, Any, str]] = [
    ("params", {"b1": W}, r"^params must have W1, found \['b1'\]"),
    ("params", W, "^params must be a Mapping, found ndarray"),
    ("params", {"W1": W[:11]}, r"^W1 must have shape \(12, H\), found \(11, 4\)"),
    ("params", {"W1": W[0]}, r"^W1 must have shape \(12, H\)"),
    ("params", {"W1": W[:, :0]}, "^W1 must not be empty"),
    ("params", {"W1": W.astype(int)}, "^W1 must have a floating dtype"),
    ("params", {"W1": with_nan(W)}, r"^W1 must be finite, found nan at index \(1, 2\)"),
    ("fitted", W, "^fitted must be a Standardization or a Whitening, found ndarray"),
    ("fitted", None, "^fitted must be a Standardization or a Whitening, found NoneType"),
    ("fitted", Whitening(2, np.zeros(3), np.ones((3, 12))), "^image_shape must have 3 pixels"),
    (
        "fitted",
        Whitening(2, np.zeros(2), np.ones((2, 12))),
        "^image_shape must have 2 pixels after averaging 2×2, found",
    ),
    ("image_shape", (3, 5), r"^image_shape must have 12 pixels, found \(3, 5\)"),
    ("image_shape", (12,), r"^image_shape must be \(height, width\)"),
    ("image_shape", (2, 2, 3), r"^image_shape must be \(height, width\)"),
    ("image_shape", (3, 0), "^image_shape must be at least 1"),
    ("image_shape", (3.0, 4), "^image_shape must be an integer, found float"),
    ("image_shape", "34", "^image_shape must be a tuple, found str"),
    ("number", 0, "^number must be at least 1"),
    ("number", 1001, "^number must be at most 1000"),
    ("number", "4", "^number must be an integer"),
]


@pytest.mark.parametrize(("name", "value", "pattern"), BAD)
def test_wrong_arguments_are_refused_by_name(name: str, value: Any, pattern: str) -> None:
    with pytest.raises((TypeError, ValueError), match=pattern):
        plot_weights(**{**GOOD, name: value})
