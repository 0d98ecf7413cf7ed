"""Standardization and whitening use the exact statistics of the images they were fitted to."""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fnnet import Dataset, Standardization, fit_standardization, load_digits, split, standardize
from fnnet.data.preprocessing import Whitening, fit_whitening, preprocess, whiten
from fnnet.data.whitening import average_blocks
from tests.helpers import FORMS, is_immutable, same
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


@pytest.mark.parametrize("shape", [(2,), (2, 2), ()])
def test_a_shape_of_another_number_of_pixels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape must be that of 3 numbers, found"):
        Standardization(ONES, ONES, shape)
    with pytest.raises(ValueError, match="shape must be that of 12 numbers, found"):
        Whitening(2, ONES, np.ones((3, 2)), shape)


STATS = Standardization(ONES, ONES)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((2, 3)), TypeError, "images must be a uint8 array, found float64"),
        (np.zeros((2, 3), object), TypeError, "images must be a uint8 array"),
        (np.zeros((2, 3), complex), TypeError, "images must be a uint8 array"),
        ([[0, 0, 0]], TypeError, "images must be a NumPy array, found list"),
        (np.zeros((2, 4), np.uint8), ValueError, "images must have 3 numbers each"),
        (np.zeros((1, 2, 2), np.uint8), ValueError, "images must have 3 numbers each"),
        (np.zeros(3, np.uint8), ValueError, "images must have 3 numbers each"),
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


def images_of(seed: int, n: int, *shape: int) -> Any:
    """Images whose neighboring pixels are alike, as in photographs."""
    noise = np.random.default_rng(seed).integers(64, size=(n, *shape)).cumsum(axis=-1)
    return (noise % 256).astype(np.uint8)


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("epsilon", [1e-9, 0.1, 1.0])
def test_whitened_training_images_have_unit_covariance_up_to_epsilon(
    epsilon: float, pool: int
) -> None:
    dataset = dataset_of(images_of(0, 500, 3, 4, 4))
    d = 3 * (4 // pool) ** 2
    fitted = fit_whitening(dataset, components=d, epsilon=epsilon, pool=pool)
    x = whiten(fitted, dataset.images)
    covariance = x.T @ x / len(x)
    pixels = dataset.images.reshape(-1, 3, 4 // pool, pool, 4 // pool, pool).mean(axis=(3, 5))
    eigenvalues = np.linalg.eigvalsh(np.cov(pixels.reshape(len(x), -1).T, bias=True))[::-1]
    variances = eigenvalues / (eigenvalues + epsilon * eigenvalues.mean())
    np.testing.assert_allclose(covariance, np.diag(variances), atol=1e-4)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-9)


def test_examples_are_prepared_as_they_were_fitted(dataset: Dataset) -> None:
    standard, whitening = fit_standardization(dataset), fit_whitening(dataset, 2, 0.1)
    images = dataset.images
    assert same(preprocess(standard, images, np.float32), standardize(standard, images, np.float32))
    assert same(preprocess(whitening, images, np.float32), whiten(whitening, images, np.float32))
    assert same(preprocess(whitening, images), whiten(whitening, images))


def test_fewer_components_are_the_first_of_all() -> None:
    dataset = dataset_of(images_of(0, 300, 4, 4))
    every = whiten(fit_whitening(dataset, 16, 0.1), dataset.images)
    some = whiten(fit_whitening(dataset, 5, 0.1), dataset.images)
    np.testing.assert_array_equal(some, every[:, :5])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whitening_keeps_the_dtype_and_applies_to_each_image_alone(dtype: Any) -> None:
    dataset = dataset_of(images_of(1, 50, 3, 4, 4))
    fitted = fit_whitening(dataset, 7, 0.1, pool=2, dtype=dtype)
    x = whiten(fitted, dataset.images, dtype)
    assert x.dtype == fitted.matrix.dtype == dtype
    assert x.shape == (50, 7)
    one = np.concatenate([whiten(fitted, dataset.images[i : i + 1], dtype) for i in range(50)])
    np.testing.assert_allclose(one, x, atol=1e-4 if dtype == np.float32 else 1e-12)


def averaged_by_hand(images: Any, pool: int) -> Any:
    """Return the mean of each block of pixels, (N, d), pixel by pixel."""
    *outer, height, width = images.shape
    result = np.zeros((*outer, height // pool, width // pool))
    for place in np.ndindex(images.shape):
        *front, i, j = place
        result[(*front, i // pool, j // pool)] += int(images[place])
    return result.reshape(len(images), -1) / pool**2


@pytest.mark.parametrize("dtype", [np.float16, *FLOATS])
@pytest.mark.parametrize("pool", [1, 2, 4])
@pytest.mark.parametrize("shape", [(3, 4, 8), (2, 3, 8, 4)])
def test_blocks_of_pixels_are_averaged(shape: tuple[int, ...], pool: int, dtype: Any) -> None:
    images = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    found = average_blocks(images, pool, dtype)
    assert found.dtype == dtype
    assert np.array_equal(found, averaged_by_hand(images, pool).astype(dtype))


@pytest.mark.parametrize(("height", "width"), [(4, 6), (6, 4), (2, 4)])
def test_blocks_that_do_not_fill_the_image_are_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match="height and a width divisible by pool, 4, found shape"):
        average_blocks(np.zeros((2, height, width), np.uint8), 4, np.float64)


# Bits of the dtype are lost where components of photographs are small differences of pixels.
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(np.float16, 0.1), (np.float32, 1e-4), (np.float64, 1e-9), (np.longdouble, 1e-9)],
)
@pytest.mark.parametrize("pool", [1, 2, 4, None])
def test_components_are_those_of_the_eigenvectors(
    pool: int | None, dtype: Any, tolerance: float
) -> None:
    examples = images_of(0, 400, 4, 8)
    pixels = averaged_by_hand(examples, pool or 1)
    if pool is None:  # features
        examples = pixels = pixels / 255
    dataset, d, epsilon = dataset_of(examples), pixels.shape[1], 0.01
    fitted = fit_whitening(dataset, d, epsilon, pool or 1, dtype=dtype)
    x = whiten(fitted, examples, dtype)
    assert (x.dtype, x.shape) == (dtype, (400, d))
    assert fitted.matrix.dtype == (np.float64 if pool is None else dtype)
    values, vectors = np.linalg.eigh(np.cov(pixels.T, bias=True).reshape(d, d))
    for i in range(d):
        scale = np.sqrt(values[d - 1 - i] + epsilon * values.mean())
        component = (pixels - pixels.mean(axis=0)) @ vectors[:, d - 1 - i] / scale
        sign = np.sign(component @ x[:, i].astype(np.float64))
        np.testing.assert_allclose(sign * component, x[:, i].astype(float), atol=tolerance)


def test_whitening_gives_the_same_bits_again() -> None:
    dataset = dataset_of(images_of(2, 200, 4, 4))
    fits = [fit_whitening(dataset, 9, 0.2) for _ in range(2)]
    assert same(fits[0].matrix, fits[1].matrix)
    assert same(fits[0].mean, fits[1].mean)


def test_whitening_agrees_with_numpy_for_many_images() -> None:
    images = np.random.default_rng(0).integers(4, size=(10_003, 2, 2), dtype=np.uint8)
    # An image that is read twice, or not at all, shows wherever a block ends.
    images[[4999, 5000, 5001, 9999, 10_000, 10_001]] = 40 * np.arange(1, 7)[:, None, None]
    epsilon = 0.5
    fitted = fit_whitening(dataset_of(images), 4, epsilon)
    pixels = images.reshape(-1, 4).astype(np.float64)
    np.testing.assert_allclose(fitted.mean, pixels.mean(axis=0), rtol=1e-12)
    covariance = np.cov(pixels.T, bias=True)
    # The matrix is U (Λ + epsilon · mean(λ))^(-1/2), with covariance U Λ U'.
    expected = covariance + epsilon * np.trace(covariance) / 4 * np.eye(4)
    found = np.linalg.inv(fitted.matrix @ fitted.matrix.T)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_large_blocks_of_bright_pixels_are_averaged_exactly() -> None:
    images = np.full((2, 40, 20), 255, np.uint8)
    images[1, 20:] = 0
    fitted = fit_whitening(dataset_of(images), 2, 0.1, pool=20)
    assert fitted.mean.tolist() == [255, 127.5]


@pytest.mark.parametrize("epsilon", [1e-12, 1e-18, 1e-300])
def test_fewer_images_than_pixels_can_be_whitened_with_next_to_no_epsilon(epsilon: float) -> None:
    # 39 eigenvalues are 0 but for rounding, some of them below 0.
    dataset = dataset_of(images_of(0, 10, 3, 4, 4))
    fitted = fit_whitening(dataset, 48, epsilon)
    assert np.isfinite(fitted.matrix).all()
    variances = whiten(fitted, dataset.images)[:, :9].var(axis=0)
    np.testing.assert_allclose(variances, 1, rtol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prepared_examples_cannot_be_changed(dtype: Any) -> None:
    images = images_of(0, 9, 3, 4, 4)
    prepared = [
        whiten(fit_whitening(dataset_of(images), 4, 0.1, pool), images, dtype) for pool in (1, 2)
    ]
    prepared.append(standardize(fit_standardization(dataset_of(images)), images, dtype))
    features = np.random.default_rng(0).normal(size=(9, 4))
    prepared.append(standardize(fit_standardization(dataset_of(features)), features, dtype))
    prepared.append(whiten(fit_whitening(dataset_of(features), 2, 0.1), features, dtype))
    for x in prepared:
        assert is_immutable(x)
        with pytest.raises(ValueError, match="read-only"):
            x[0] = 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("examples", [np.full((5, 2, 2), 7, np.uint8), np.full((10, 3), 0.1)])
def test_examples_that_do_not_differ_cannot_be_whitened(examples: Any, dtype: Any) -> None:
    with pytest.raises(ValueError, match="dataset must have examples that differ"):
        fit_whitening(dataset_of(examples), 2, 0.1, dtype=dtype)
    with pytest.raises(ValueError, match="dataset must have examples that differ"):
        fit_whitening(dataset_of(examples[:1]), 2, 0.1, dtype=dtype)


@pytest.mark.parametrize("place", [0, 4999, 5000, 10_000])
def test_one_example_that_differs_is_enough_wherever_it_stands(place: int) -> None:
    images = np.full((10_001, 1, 2), 7, np.uint8)
    images[place] = 9
    x = whiten(fit_whitening(dataset_of(images), 1, 1e-9), images)
    assert x.var() == pytest.approx(1)


def test_the_variances_of_components_are_those_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    bright = rng.integers(0, 255, size=(4000, 1, 1))
    images = (bright + rng.integers(0, 2, size=(4000, 16, 16))).astype(np.uint8)
    fitted = fit_whitening(dataset_of(images), 256, 1e-6)
    # Sums of integers below 2⁵³ are exact in float64: only the division rounds.
    pixels = images.reshape(4000, 256).astype(np.float64)
    total = pixels.sum(axis=0)
    covariance = (4000 * (pixels.T @ pixels) - np.outer(total, total)) / 4000**2
    eigenvalues = np.linalg.eigvalsh(covariance)[::-1]
    expected = eigenvalues / (eigenvalues + 1e-6 * eigenvalues.mean())
    np.testing.assert_allclose(whiten(fitted, images).var(axis=0), expected, rtol=1e-6)


finite_features = st.integers(2, 9).flatmap(
    lambda n: hnp.arrays(
        st.sampled_from([np.float32, np.float64]).map(np.dtype),
        st.tuples(st.just(n), st.integers(1, 4)),
        elements=st.floats(-(2.0**99), 2.0**99, width=32),
    )
)


@given(finite_features)
def test_features_are_standardized_by_their_exact_statistics(features: Any) -> None:
    dataset = dataset_of(features)
    stats = fit_standardization(dataset)
    assert stats.of_features
    assert stats.shape == features.shape[1:]
    for d, column in enumerate(features.T.tolist()):
        exact = [Fraction(value) for value in column]
        mean = sum(exact) / len(exact)
        variance = sum((value - mean) ** 2 for value in exact) / len(exact)
        deviation = float(variance) ** 0.5 if variance else 1.0
        size = max(map(abs, column))
        assert stats.mean[d] == pytest.approx(float(mean), rel=1e-14, abs=1e-15 * size)
        assert stats.std[d] == pytest.approx(deviation, rel=1e-12, abs=1e-300)
    x = standardize(stats, features)
    assert np.array_equal(x, (features - stats.mean) / stats.std)


@pytest.mark.parametrize("center", [1.0, -1e9, 1.6e9, 1e300])
@pytest.mark.parametrize("n", [2, 7, 1000])
def test_a_spread_of_a_few_roundings_keeps_its_digits(center: float, n: int) -> None:
    ulp = float(np.spacing(abs(center)))
    places = np.random.default_rng(n).integers(0, 9, size=(n, 3)).astype(float)
    places[0], places[1] = 0, 8
    features = center + places * ulp
    stats = fit_standardization(dataset_of(features))
    # The places are known: statistics of small integers, not of the features.
    np.testing.assert_allclose(stats.std / ulp, places.std(axis=0), rtol=1e-12)
    np.testing.assert_allclose((stats.mean - center) / ulp, places.mean(axis=0), atol=0.5001)
    x = standardize(stats, features, np.float32)
    expected = (places - (stats.mean - center) / ulp) / places.std(axis=0)
    np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-6)


def test_huge_features_are_standardized() -> None:
    parts = np.array([[1.0, 0.5], [-1.0, 0.5], [0.5, 0.25]])
    for scale in (2.0**-1000, 2.0**1000, 1e300):
        x = standardize(fit_standardization(dataset_of(parts * scale)), parts * scale)
        np.testing.assert_allclose(x, (parts - parts.mean(axis=0)) / parts.std(axis=0), rtol=1e-14)


@pytest.mark.parametrize("signs", [[1, -1], [1, -1, -1], [1, 1, -1, 1], [-1, 1, 1, 1, 1]])
def test_features_at_both_ends_of_float64_are_standardized(signs: list[float]) -> None:
    parts = np.array(signs)[:, None]
    features = parts * float(np.finfo(np.float64).max)
    stats = fit_standardization(dataset_of(features))
    with np.errstate(all="raise"):
        x = standardize(stats, features)
    np.testing.assert_allclose(x, (parts - parts.mean()) / parts.std(), rtol=1e-14)


def test_the_smallest_features_are_standardized() -> None:
    places = np.arange(8.0)[:, None]
    features = places * 5e-324
    x = standardize(fit_standardization(dataset_of(features)), features)
    # A standard deviation counts as the smallest normal number at least.
    np.testing.assert_allclose(x, (features - 4 * 5e-324) / np.finfo(np.float64).tiny, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float16, *FLOATS])
def test_the_smallest_numbers_of_each_dtype_keep_their_digits(dtype: Any) -> None:
    places = np.array([[0.0], [1], [3], [4]])
    tiny = np.finfo(dtype).smallest_subnormal if dtype in (np.float16, np.float32) else 1e-300
    features = (places * float(tiny)).astype(dtype)
    x = standardize(fit_standardization(dataset_of(features)), features)
    np.testing.assert_allclose(x.astype(float), (places - 2) / places.std(), rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9 / 3, 1e300, 5e-324])
@pytest.mark.parametrize("n", [1, 3, 10])
def test_a_constant_feature_has_standard_deviation_1(value: float, n: int) -> None:
    features = np.full((n, 2), value)
    features[:, 1] = np.arange(n)
    stats = fit_standardization(dataset_of(features))
    assert (stats.mean[0], stats.std[0]) == (value, 1)
    assert not standardize(stats, features)[:, 0].any()
    assert stats.std[1] == pytest.approx(np.arange(n).std() if n > 1 else 1)


@pytest.mark.parametrize("dtype", [np.float16, *FLOATS])
def test_features_of_any_floating_dtype_are_prepared(dtype: Any) -> None:
    features = np.random.default_rng(0).integers(-9, 9, size=(20, 3)).astype(dtype)
    wide = features.astype(np.float64)
    x = standardize(fit_standardization(dataset_of(features)), features, np.float32)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, (wide - wide.mean(axis=0)) / wide.std(axis=0), atol=1e-6)
    fitted = fit_whitening(dataset_of(features), 3, 1e-9)
    np.testing.assert_allclose(np.cov(whiten(fitted, features).T, bias=True), np.eye(3), atol=1e-6)


@pytest.mark.parametrize(("center", "scale"), [(1.6e9, 1.0), (0.0, 1e50), (0.0, 1e-50)])
def test_features_far_from_1_are_whitened_for_float32(center: float, scale: float) -> None:
    features = center + scale * np.random.default_rng(0).standard_normal((200, 3))
    fitted = fit_whitening(dataset_of(features), 3, 1e-9, dtype=np.float32)
    x = whiten(fitted, features, np.float32)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(x.T, bias=True), np.eye(3), atol=1e-5)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_variances_beyond_float64_are_refused(scale: float) -> None:
    features = np.array([[1.0, 2.0], [3.0, -1.0], [0.0, 0.5]]) * scale
    with pytest.raises(ValueError, match="features must have variances that float64 can hold"):
        fit_whitening(dataset_of(features), 1, 0.1)


def test_the_progress_of_whitening_sees_each_block_once() -> None:
    images = np.random.default_rng(0).integers(256, size=(10_001, 2, 2), dtype=np.uint8)
    seen: list[int] = []

    def watch(starts: Any) -> Any:
        for start in starts:
            seen.append(start)
            yield start

    fitted = fit_whitening(dataset_of(images), 2, 0.1, watch=watch)
    assert seen == [0, 5000, 10_000]
    assert fitted == fit_whitening(dataset_of(images), 2, 0.1)


@pytest.mark.parametrize("fit", [fit_standardization, lambda d: fit_whitening(d, 3, 0.1)])
def test_what_was_fitted_refuses_other_kinds_and_shapes(fit: Any) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(9, 3, 4, 5), dtype=np.uint8)
    features = rng.normal(size=(9, 60))
    for examples, others in (
        (images, [images.transpose(0, 2, 3, 1), images.reshape(9, 60), images[:, 0]]),
        (features, [features[:, :59], features.reshape(9, 3, 20)]),
    ):
        fitted = fit(dataset_of(examples))
        apply = standardize if fit is fit_standardization else whiten
        assert len(apply(fitted, examples)) == 9
        for other in others:
            with pytest.raises(ValueError, match=r"images must have shape \(.*found shape \("):
                apply(fitted, other)
    with pytest.raises(TypeError, match="images must be floating features, found uint8"):
        apply(fitted, images.reshape(9, 60))
    with pytest.raises(TypeError, match="images must be a uint8 array, found float64"):
        apply(fit(dataset_of(images)), images / 255)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"components": 0}, "components"),
        ({"components": 49}, "components"),
        ({"components": 2.0}, "components"),
        ({"epsilon": 0}, "epsilon"),
        ({"epsilon": np.nan}, "epsilon"),
        ({"pool": 3}, "images"),
        ({"pool": 0}, "pool"),
    ],
    ids=str,
)
def test_whitening_refuses_what_it_cannot_fit(changes: dict[str, Any], name: str) -> None:
    settings = {"components": 4, "epsilon": 0.1, **changes}
    with pytest.raises((TypeError, ValueError), match=f"{name} must"):
        fit_whitening(dataset_of(images_of(0, 9, 3, 4, 4)), **settings)


def test_whitening_refuses_other_images() -> None:
    fitted = fit_whitening(dataset_of(images_of(0, 9, 3, 4, 4)), 4, 0.1, pool=2)
    for images in (images_of(0, 2, 3, 2, 2), images_of(0, 2, 3, 5, 4), np.zeros((2, 48), np.uint8)):
        with pytest.raises(ValueError, match="images must"):
            whiten(fitted, images)
    with pytest.raises(TypeError, match="images must"):
        whiten(fitted, np.zeros((2, 3, 4, 4)))


@pytest.mark.parametrize(
    ("mean", "matrix"),
    [
        (np.zeros(3), np.zeros((4, 2))),
        (np.zeros(3), np.zeros(3)),
        (np.zeros(3, int), np.zeros((3, 2))),
        (np.full(3, np.nan), np.zeros((3, 2))),
        (np.zeros(3), np.full((3, 2), np.inf)),
    ],
)
def test_a_whitening_that_is_none_is_refused(mean: Any, matrix: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"mean|matrix"):
        Whitening(1, mean, matrix)


@pytest.mark.parametrize(
    ("pool", "shape", "of_features"),
    [(2, (3, 8), False), (2, (24,), False), (2, (4, 6), True), (2, None, True)],
)
def test_a_whitening_must_have_blocks_of_its_pool(pool: int, shape: Any, of_features: bool) -> None:
    Whitening(pool, np.zeros(6), np.eye(6), (4, 6))
    what = "features" if of_features else f"shape {shape}"
    message = f"pool must divide the height and the width, found 2 for {what}"
    with pytest.raises(ValueError, match=re.escape(message)):
        Whitening(pool, np.zeros(6), np.eye(6), shape, of_features)


@pytest.mark.parametrize("shape", [(-2, -3), (2.0, 3.0), (True, 6), (6, 0)], ids=str)
def test_the_shape_of_an_example_has_integers_above_0(shape: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="shape must be"):
        Standardization(np.zeros(6), np.ones(6), shape)
    with pytest.raises((TypeError, ValueError), match="shape must be"):
        Whitening(1, np.zeros(6), np.eye(6), shape)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Standardization(np.zeros(3, "f4"), np.ones(3)), "std .* of mean, float32"),
        (lambda: Whitening(1, np.zeros(3, "f4"), np.eye(3)), "matrix .* of mean, float32"),
        (
            lambda: Standardization(np.eye(2), np.eye(2)),
            r"mean must have shape \(D,\), found \(2, 2",
        ),
        (lambda: Whitening(1, np.zeros(3), np.eye(2)), r"matrix must have shape \(3, D\), found"),
        (lambda: Whitening(1, np.zeros((3, 1)), np.eye(3)), r"mean must have shape \(d,\), found"),
        (lambda: Whitening(1, np.full(3, np.nan), np.eye(3)), "mean must be finite, found nan"),
        (lambda: Whitening(1, np.zeros(3), np.eye(3) / 0), "matrix must be finite, found inf"),
    ],
)
@np.errstate(all="ignore")
def test_what_does_not_fit_the_mean_is_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        make()
