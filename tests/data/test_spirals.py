"""Spirals: the stated formula, the same for a seed, balanced, and not linearly separable."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet import Dataset, load_spirals
from fnnet.seeds import generator
from tests.helpers import same
from tests.strategies import seeds


@given(seeds, st.integers(1, 6), st.integers(2, 40))
def test_points_are_finite_balanced_and_on_circles_of_the_stated_radii(
    seed: int, num_classes: int, per_class: int
) -> None:
    spirals = load_spirals(seed, num_classes, per_class)
    assert spirals.images.shape == (num_classes * per_class, 2)
    assert spirals.images.dtype == np.float64
    assert np.isfinite(spirals.images).all()
    assert np.bincount(spirals.labels).tolist() == [per_class] * num_classes
    assert len(spirals.class_names) == num_classes
    radii = np.linalg.norm(spirals.images, axis=1).reshape(num_classes, per_class)
    assert np.allclose(radii, np.arange(per_class) / (per_class - 1))


def test_angles_are_those_of_the_formula() -> None:
    """The angle of a point less what the formula says is noise of standard deviation 0.2."""
    spirals = load_spirals(seed=0, num_classes=4, per_class=5000)
    radii = np.linalg.norm(spirals.images, axis=1)
    angles = np.arctan2(spirals.images[:, 0], spirals.images[:, 1])
    noise = angles - 2 * np.pi * spirals.labels / 4 - 4 * radii
    noise = ((noise + np.pi) % (2 * np.pi) - np.pi)[radii > 0]
    drawn = generator(0, "spirals").standard_normal(len(radii))[radii > 0]
    assert np.allclose(noise, 0.2 * drawn, atol=1e-9)
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 0.2) < 0.01


@given(seeds)
def test_the_seed_alone_decides(seed: int) -> None:
    first, again, other = (load_spirals(s) for s in (seed, seed, seed + 1))
    assert first == again
    assert same(first.images, again.images)
    assert not same(first.images, other.images)


def test_the_dataset_is_read_only() -> None:
    spirals = load_spirals(0)
    assert isinstance(spirals, Dataset)
    assert not spirals.images.flags.writeable


@pytest.mark.parametrize(
    ("args", "name"),
    [
        ((-1,), "seed"),
        ((0.0,), "seed"),
        ((0, 0), "num_classes"),
        ((0, 101), "num_classes"),
        ((0, 3, 1), "per_class"),
        ((0, 3, 10_001), "per_class"),
        ((0, 3, True), "per_class"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(args: Any, name: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be"):
        load_spirals(*args)
