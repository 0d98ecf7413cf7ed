from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet import Dataset, Standardization, fit_standardization, load_digits, split, standardize
from tests.helpers import FORMS, same
from tests.strategies import FLOATS, datasets, dtypes, seeds


def dataset_of(images: Any) -> Dataset:
    return Dataset(images, np.zeros(len(images), int), ("a",))


@given(datasets())
def test_the_statistics_are_exact(dataset: Dataset) -> None:
    stats = fit_standardization(dataset)
    n = len(dataset)
    for d, column in enumerate(dataset.images.reshape(n, -1).T.tolist()):
        variance = Fraction(sum(p * p for p in column), n) - Fraction(sum(column), n) ** 2
        assert stats.mean[d] == sum(column) / n
        assert stats.std[d] == pytest.approx(max(1.0, float(variance) ** 0.5), rel=1e-15)


@given(st.integers(1, 700), seeds)
def test_the_statistics_agree_with_numpy_for_many_images(n: int, seed: int) -> None:
    images = np.random.default_rng(seed).integers(256, size=(n, 5), dtype=np.uint8)
    stats = fit_standardization(dataset_of(images))
    wide = images.astype(np.float64)
    np.testing.assert_allclose(stats.mean, wide.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(stats.std, np.maximum(wide.std(axis=0), 1), rtol=1e-12)
    assert stats.mean.dtype == stats.std.dtype == np.float64


def test_nothing_cancels_or_overflows_where_all_pixels_are_bright() -> None:
    images = np.full((3000, 2), 255, np.uint8)
    images[0] = 0
    stats = fit_standardization(dataset_of(images))
    assert stats.mean[0] == 255 * 2999 / 3000
    assert stats.std[0] == pytest.approx(255 * np.sqrt(2999) / 3000, rel=1e-14)


@pytest.mark.parametrize("form", FORMS)
def test_the_statistics_take_any_memory_layout(dataset: Dataset, form: str) -> None:
    other = Dataset(FORMS[form](dataset.images), dataset.labels, dataset.class_names)
    a, b = fit_standardization(dataset), fit_standardization(other)
    assert same((a.mean, a.std), (b.mean, b.std))
    x = standardize(a, dataset.images)
    assert same(standardize(a, other.images), x)


@given(datasets(), dtypes)
def test_standardize_subtracts_the_mean_and_divides_by_the_deviation(
    dataset: Dataset, dtype: type
) -> None:
    stats = fit_standardization(dataset)
    before = dataset.images.copy()
    x = standardize(stats, dataset.images, dtype)
    assert x.dtype == dtype
    assert np.array_equal(before, dataset.images)
    pixels = dataset.images.reshape(len(dataset), -1)
    tolerance = 1e-12 if dtype != np.float32 else 1e-4
    np.testing.assert_allclose(x.astype(float), (pixels - stats.mean) / stats.std, atol=tolerance)


def test_the_training_part_has_mean_0_and_deviation_1_and_others_have_not() -> None:
    train, val = split(load_digits(), 500, 500, seed=0)
    stats = fit_standardization(train)
    x = standardize(stats, train.images)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-13)
    lively = train.images.reshape(500, -1).std(axis=0) > 1
    np.testing.assert_allclose(x.std(axis=0)[lively], 1)
    assert np.abs(standardize(stats, val.images).mean(axis=0)).max() > 0.01


@pytest.mark.parametrize("dtype", FLOATS)
def test_an_image_is_standardized_alike_in_any_company(dataset: Dataset, dtype: Any) -> None:
    stats = fit_standardization(dataset)
    whole = standardize(stats, dataset.images, dtype)
    for i in range(0, len(dataset), 7):
        assert same(standardize(stats, dataset.images[i : i + 7], dtype), whole[i : i + 7])


def test_a_pixel_that_never_changes_is_not_blown_up() -> None:
    images = np.full((10, 2), 7, np.uint8)
    images[0, 1] = 8  # deviation 0.3
    stats = fit_standardization(dataset_of(images))
    assert stats.std.tolist() == [1, 1]
    assert np.abs(standardize(stats, images)).max() <= 1


def test_statistics_cannot_be_changed(dataset: Dataset) -> None:
    stats: Any = fit_standardization(dataset)
    for array in (stats.mean, stats.std):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(AttributeError):
        stats.mean = stats.std


ONES = np.ones(3)


@pytest.mark.parametrize(
    ("mean", "std", "error"),
    [
        (ONES, np.zeros(3), ValueError),
        (ONES, -ONES, ValueError),
        (ONES * np.nan, ONES, ValueError),
        (ONES, ONES * np.inf, ValueError),
        (ONES, np.ones(2), ValueError),
        (np.ones((1, 3)), ONES, ValueError),
        (ONES, ONES.astype(np.float32), TypeError),
        (ONES.astype(int), ONES.astype(int), TypeError),
        (ONES.astype(object), ONES, TypeError),
        ([1.0], [1.0], TypeError),
    ],
)
def test_statistics_that_are_none_are_refused(mean: Any, std: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"mean|std"):
        Standardization(mean, std)


STATS = Standardization(ONES, ONES)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((2, 3)), TypeError, "images must be a uint8 array, found float64"),
        (np.zeros((2, 3), object), TypeError, "images must be a uint8 array"),
        (np.zeros((2, 3), complex), TypeError, "images must be a uint8 array"),
        ([[0, 0, 0]], TypeError, "images must be a uint8 array, found list"),
        (np.zeros((2, 4), np.uint8), ValueError, "images must have 3 bytes each"),
        (np.zeros((1, 2, 2), np.uint8), ValueError, "images must have 3 bytes each"),
        (np.zeros(3, np.uint8), ValueError, "images must have 3 bytes each"),
    ],
)
def test_images_that_do_not_fit_are_refused(
    images: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        standardize(STATS, images)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool, object, complex])
def test_inputs_of_a_dtype_that_is_not_floating_are_refused(dtype: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="dtype must be floating"):
        standardize(STATS, np.zeros((2, 3), np.uint8), dtype)
