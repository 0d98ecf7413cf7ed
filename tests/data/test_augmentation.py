"""Changed images are the right ones, drawn by the seed alone."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fnnet.checks import Array
from fnnet.data.augmentation import flip, mirror, recolor, rotate, shift, shifted, tta_views
from fnnet.limits import MAX_SHIFT
from tests.helpers import assert_pure

images = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=4, min_side=1, max_side=6))
seeds = st.integers(0, 2**32)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def moved(image: Array, down: int, right: int) -> Array:
    """Move an image pixel by pixel, repeating the border."""
    *_, height, width = image.shape
    result = np.empty_like(image)
    for i in range(height):
        for j in range(width):
            row, column = np.clip(i - down, 0, height - 1), np.clip(j - right, 0, width - 1)
            result[..., i, j] = image[..., row, column]
    return result


@given(images)
def test_mirroring_twice_changes_nothing(x: Array) -> None:
    assert np.array_equal(mirror(mirror(x)), x)
    assert np.array_equal(mirror(x)[..., 0], x[..., -1])


@given(images, seeds)
def test_a_flip_mirrors_some_images_whole_and_is_an_involution(x: Array, seed: int) -> None:
    once = flip(rng(seed), x)
    assert once.dtype == x.dtype
    for before, after in zip(x, once, strict=True):
        assert np.array_equal(after, before) or np.array_equal(after, before[..., ::-1])
    assert np.array_equal(flip(rng(seed), once), x)


def test_a_flip_mirrors_half_of_the_images() -> None:
    x = np.tile(np.array([[0, 1]], np.uint8), (1_000_000, 1, 1))
    share = flip(rng(0), x)[:, 0, 0].mean()
    assert abs(share - 0.5) < 0.002  # four standard deviations


@given(images, st.integers(-4, 4), st.integers(-4, 4))
def test_a_shift_moves_the_content_and_repeats_the_border(x: Array, down: int, right: int) -> None:
    assert np.array_equal(shifted(x, down, right), moved(x, down, right))


@given(images, seeds, st.integers(0, 4))
def test_a_random_shift_is_one_of_the_shifts(x: Array, seed: int, k: int) -> None:
    result = shift(rng(seed), x, k)
    assert result.dtype == x.dtype
    moves = range(-k, k + 1)
    for before, after in zip(x, result, strict=True):
        assert any(np.array_equal(after, moved(before, i, j)) for i in moves for j in moves)


def chi_square(counts: Array) -> float:
    """Return the test statistic of counts that should be equal."""
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2 / expected).sum())


# By chance passed once in a thousand; for degrees of freedom, the number of outcomes less one.
LIMITS = {1: 10.8, 3: 16.3, 8: 26.1, 24: 51.2, 48: 84.0, 80: 124.8}


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_every_shift_comes_equally_often(k: int, channels: tuple[int, ...]) -> None:
    side = 2 * k + 1
    x = np.zeros((200 * side**2, *channels, side, side), np.uint8)
    x[..., k, k] = 1  # after the shift it tells by how much
    result = shift(rng(0), x, k)
    if channels:
        assert (result == result[:, :1]).all()
        result = result[:, 0]
    counts = result.sum(axis=0, dtype=int)
    assert counts.sum() == len(x)
    assert chi_square(counts) < LIMITS[side**2 - 1]


@pytest.mark.parametrize("seed", range(3))
def test_neighboring_images_change_independently(seed: int) -> None:
    x = np.zeros((40_000, 3, 3), np.uint8)
    x[:, 1, 1] = 1
    moves = shift(rng(seed), x, 1).reshape(-1, 9).argmax(axis=1)
    x[:, 1, 2] = 2
    flips = flip(rng(seed), x)[:, 1, 0] // 2
    for outcomes, kinds in ((flips.astype(int), 2), (moves, 9)):
        assert chi_square(np.bincount(outcomes, minlength=kinds)) < LIMITS[kinds - 1]
        pairs = np.bincount(kinds * outcomes[::2] + outcomes[1::2], minlength=kinds**2)
        assert chi_square(pairs) < LIMITS[kinds**2 - 1]


def assert_turned(before: Array, after: Array, angle: float, factor: float) -> None:
    """Check every pixel of a turned and zoomed image; at the edge of two, either one is right."""
    *_, height, width = before.shape
    cos, sin = math.cos(math.radians(angle)) / factor, math.sin(math.radians(angle)) / factor
    for row in range(height):
        for column in range(width):
            i, j = row - (height - 1) / 2, column - (width - 1) / 2
            from_row = cos * i + sin * j + (height - 1) / 2
            from_column = cos * j - sin * i + (width - 1) / 2
            rows = {round(np.clip(from_row + d, 0, height - 1)) for d in (-1e-3, 1e-3)}
            columns = {round(np.clip(from_column + d, 0, width - 1)) for d in (-1e-3, 1e-3)}
            found = after[..., row, column]
            assert any(np.array_equal(found, before[..., i, j]) for i in rows for j in columns)


@given(images, seeds, st.floats(0, 180), st.floats(0, 1))
def test_images_are_turned_and_zoomed_about_their_centers(
    x: Array, seed: int, max_angle: float, max_zoom: float
) -> None:
    result = rotate(rng(seed), x, max_angle, max_zoom)
    assert (result.dtype, result.shape) == (x.dtype, x.shape)
    draws, n = rng(seed), len(x)
    angles = draws.uniform(-max_angle, max_angle, n)
    factors = (1 + max_zoom) ** draws.uniform(-1, 1, n)
    for before, after, angle, factor in zip(x, result, angles, factors, strict=True):
        assert_turned(before, after, angle, factor)


@given(images, seeds)
def test_no_angle_and_no_zoom_change_nothing(x: Array, seed: int) -> None:
    assert np.array_equal(rotate(rng(seed), x, 0), x)


def test_a_turn_moves_all_corners_the_same_way_round() -> None:
    x = np.arange(25, dtype=np.uint8).reshape(1, 5, 5)
    corners = [0, 4, 24, 20]  # clockwise
    for seed in range(20):
        result = rotate(rng(seed), x, 180)[0]
        assert result[2, 2] == 12
        if sorted(found := [result[c // 5, c % 5] for c in corners]) == sorted(corners):
            first = corners.index(found[0])
            assert found == corners[first:] + corners[:first]


@given(images, seeds, st.floats(0, 1))
def test_colors_change_by_the_factors_of_each_image(x: Array, seed: int, strength: float) -> None:
    result = recolor(rng(seed), x, strength)
    assert (result.dtype, result.shape) == (x.dtype, x.shape)
    draws, n, channels = rng(seed), len(x), x.shape[1:-2]
    contrast, brightness = draws.uniform(1 - strength, 1 + strength, (2, n))
    color = np.ones((n, 1))
    if channels:
        color = draws.uniform(1 - strength / 2, 1 + strength / 2, (n, *channels))
    planes = x.reshape(n, color.shape[1], -1)
    for image, found, c, b, tint in zip(
        planes, result.reshape(planes.shape), contrast, brightness, color, strict=True
    ):
        mean = sum(map(int, image.ravel())) / image.size
        wanted = np.clip(b * tint[:, None] * (mean + c * (image - mean)), 0, 255)
        assert np.abs(found - wanted).max() < 0.501


@given(images, seeds)
def test_no_strength_changes_no_color(x: Array, seed: int) -> None:
    assert np.array_equal(recolor(rng(seed), x, 0), x)


def test_colors_change_about_as_far_down_as_up() -> None:
    x = np.full((20_000, 3, 2, 2), 100, np.uint8)
    result = recolor(rng(0), x, 0.25).astype(int)
    assert abs(result.mean() - 100) < 0.5
    assert 65 <= result.min() < 70 < 135 < result.max() <= 141  # 100 (1 ± 0.25) (1 ± 0.125)
    tints = result / result.mean(axis=1, keepdims=True)
    assert np.abs(np.corrcoef(tints[:, 0, 0, 0], tints[:, 1, 0, 0])[0, 1] + 0.5) < 0.05


def test_colors_of_floats_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^images must be uint8, found float64$"):
        recolor(rng(0), np.zeros((1, 2, 2)), 0.5)


@given(images, seeds)
def test_augmentation_is_a_function_of_its_seed_and_of_its_images(x: Array, seed: int) -> None:
    changes: list[Callable[[Array], Array]]
    changes = [
        lambda x: flip(rng(seed), x),
        lambda x: shift(rng(seed), x, 2),
        lambda x: rotate(rng(seed), x, 30, 0.5),
        lambda x: recolor(rng(seed), x, 0.5),
    ]
    for f in changes:
        assert_pure(f, x)
        assert np.array_equal(f(x), f(x))


def test_another_seed_draws_otherwise() -> None:
    x = np.random.default_rng(0).integers(256, size=(50, 3, 8, 8), dtype=np.uint8)
    assert not np.array_equal(flip(rng(0), x), flip(rng(1), x))
    assert not np.array_equal(shift(rng(0), x, 2), shift(rng(1), x, 2))
    assert not np.array_equal(rotate(rng(0), x, 30), rotate(rng(1), x, 30))
    assert not np.array_equal(recolor(rng(0), x, 0.5), recolor(rng(1), x, 0.5))


@given(images, st.booleans(), st.integers(0, 2))
def test_the_views_are_the_shifts_and_their_mirror_images(x: Array, mirrored: bool, k: int) -> None:
    found = [view(x).tobytes() for view in tta_views(mirrored, k)]
    moves = range(-k, k + 1)
    expected = [moved(x, i, j) for i in moves for j in moves]
    expected += [mirror(image) for image in expected] if mirrored else []
    assert sorted(found) == sorted(image.tobytes() for image in expected)


@pytest.mark.parametrize(
    "x", [np.zeros((3, 4), np.uint8), np.zeros((3, 0, 4), np.uint8), [[1]], np.zeros(3)], ids=str
)
def test_what_has_no_height_and_width_is_refused(x: Any) -> None:
    calls: list[Callable[[], Array]]
    calls = [
        lambda: flip(rng(0), x),
        lambda: shift(rng(0), x, 1),
        lambda: rotate(rng(0), x, 1),
        lambda: recolor(rng(0), x, 1),
        lambda: shifted(x, 0, 1),
    ]
    for f in calls:
        with pytest.raises((TypeError, ValueError), match="images must"):
            f()


@pytest.mark.parametrize("k", [-1, 1.0, True])
def test_a_shift_by_no_number_of_pixels_is_refused(k: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="max_shift must"):
        shift(rng(0), np.zeros((1, 2, 2), np.uint8), k)


def test_the_largest_shift_is_taken_and_one_pixel_more_is_refused() -> None:
    x = np.zeros((1, 2, 2), np.uint8)
    calls: list[tuple[str, Callable[[int], Any]]] = [
        ("max_shift", lambda k: shift(rng(0), x, k)),
        ("max_shift", lambda k: tta_views(False, k)),
        ("down", lambda k: shifted(x, k, 0)),
        ("down", lambda k: shifted(x, -k, 0)),
        ("right", lambda k: shifted(x, 0, k)),
        ("right", lambda k: shifted(x, 0, -k)),
    ]
    for name, f in calls:
        f(MAX_SHIFT)
        with pytest.raises(ValueError, match=f"^{name} must be at (most|least) -?{MAX_SHIFT}, "):
            f(MAX_SHIFT + 1)
