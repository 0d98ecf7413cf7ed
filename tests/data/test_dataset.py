"""Batches and splits hold each example once, in an order that seed and epoch decide."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fnnet import Dataset, load_digits, minibatches, num_batches, split
from fnnet.data import first, take
from tests.helpers import FORMS, same
from tests.strategies import datasets, seeds

epochs = st.integers(0, 100)
sizes = st.integers(1, 50)


def ids(images: Any) -> list[int]:
    """Return the number of each image, which `datasets` writes into its first two bytes."""
    numbers: list[int] = (images[:, 0, 0].astype(int) * 256 + images[:, 0, 1]).tolist()
    return numbers


def order(dataset: Dataset, batch_size: int, seed: int, epoch: int) -> list[int]:
    return [i for x, _ in minibatches(dataset, batch_size, seed, epoch) for i in ids(x)]


@given(datasets(), sizes, seeds, epochs)
def test_batches_partition_the_epoch_the_last_partial_one_included(
    dataset: Dataset, batch_size: int, seed: int, epoch: int
) -> None:
    batches = [*minibatches(dataset, batch_size, seed, epoch)]
    full, rest = divmod(len(dataset), batch_size)
    assert [len(x) for x, _ in batches] == [batch_size] * full + [rest] * (rest > 0)
    assert len(batches) == num_batches(dataset, batch_size)
    assert sorted(i for x, _ in batches for i in ids(x)) == [*range(len(dataset))]
    for x, labels in batches:
        assert same(x, dataset.images[ids(x)])
        assert same(labels, dataset.labels[ids(x)])


@given(datasets(), sizes, sizes, seeds, epochs)
def test_the_order_is_a_function_of_seed_and_epoch_alone(
    dataset: Dataset, batch_size: int, other_size: int, seed: int, epoch: int
) -> None:
    expected = order(dataset, batch_size, seed, epoch)
    order(dataset, batch_size, seed + 1, epoch)
    np.random.default_rng(seed).random()
    assert order(dataset, batch_size, seed, epoch) == expected
    assert order(dataset, other_size, seed, epoch) == expected


@given(seeds, epochs)
def test_other_seeds_and_epochs_have_other_orders(seed: int, epoch: int) -> None:
    digits = load_digits()
    firsts = [
        next(minibatches(digits, 50, *key))[0].tobytes()
        for key in ((seed, epoch), (seed + 1, epoch), (seed, epoch + 1))
    ]
    assert len(set(firsts)) == 3


@given(datasets(), st.integers(1, 20), st.integers(1, 20), seeds)
def test_a_split_draws_disjoint_examples_with_their_labels(
    dataset: Dataset, num_train: int, num_val: int, seed: int
) -> None:
    assume(num_train + num_val <= len(dataset))
    train, val = split(dataset, num_train, num_val, seed)
    assert (len(train), len(val)) == (num_train, num_val)
    drawn = ids(train.images) + ids(val.images)
    assert len(set(drawn)) == num_train + num_val
    for part in (train, val):
        assert same(part.images, dataset.images[ids(part.images)])
        assert same(part.labels, dataset.labels[ids(part.images)])
        assert part.class_names == dataset.class_names
    again = split(dataset, num_train, num_val, seed)
    assert [ids(part.images) for part in again] == [ids(part.images) for part in (train, val)]


def test_a_split_is_random_and_its_training_part_independent_of_num_val() -> None:
    digits = load_digits()
    train, val = split(digits, 200, 100, seed=0)
    assert same(train.images, split(digits, 200, 5, seed=0)[0].images)
    assert not same(train.images, split(digits, 200, 100, seed=1)[0].images)
    assert not same(val.images, split(digits, 200, 100, seed=1)[1].images)
    assert not same(train.images, digits.images[:200])


def test_a_split_and_the_order_of_batches_are_drawn_independently() -> None:
    digits = load_digits()
    n = len(digits)
    train, val = split(digits, n - 1, 1, seed=0)
    drawn = np.concatenate([train.images, val.images])
    (batch,) = minibatches(digits, n, seed=0, epoch=0)
    assert (drawn == batch[0]).all(axis=(1, 2)).sum() < 20  # about one stays in place by chance


@pytest.mark.parametrize("seed", range(5))
def test_a_class_of_one_example_stands_in_the_middle_of_a_stratified_split(seed: int) -> None:
    labels = np.array([0] * 4 + [1] + [0] * 5)
    dataset = Dataset(np.arange(10.0)[:, None], labels, ("often", "once"))
    train, _ = split(dataset, 6, 4, seed, stratified=True)
    assert train.labels.sum() == 1
    train, val = split(dataset, 4, 2, seed, stratified=True)
    assert (train.labels.sum(), val.labels.sum()) == (0, 1)


def test_examples_at_the_same_place_of_a_stratified_split_keep_the_order_drawn() -> None:
    dataset = Dataset(np.arange(200.0)[:, None], np.arange(200) % 4, ("a", "b", "c", "d"))
    plain = [int(x) for part in split(dataset, 199, 1, seed=3) for x in part.images[:, 0]]
    seen, places = [0] * 4, {}
    for x in plain:
        places[x] = (seen[x % 4] + 0.5) / 50
        seen[x % 4] += 1
    train, _ = split(dataset, 199, 1, seed=3, stratified=True)
    assert train.images[:, 0].tolist() == sorted(plain, key=lambda x: places[x])[:199]


def test_a_split_is_stratified_only_if_that_is_asked_for() -> None:
    digits = load_digits()
    plain, same_, other = (
        split(digits, 100, 50, seed=0),
        split(digits, 100, 50, seed=0, stratified=False),
        split(digits, 100, 50, seed=0, stratified=True),
    )
    assert same(plain, same_)
    assert not same(plain, other)


def test_a_stratified_split_is_random() -> None:
    digits = load_digits()
    parts = [split(digits, 500, 500, seed, stratified=True) for seed in (0, 1)]
    for a, b in zip(*parts, strict=True):
        seen = {image.tobytes() for image in a.images}
        both = np.mean([image.tobytes() in seen for image in b.images])
        assert both == pytest.approx(500 / 1797, abs=0.1)
    train, _ = parts[0]
    assert np.abs(np.corrcoef(train.labels[:-1], train.labels[1:])[0, 1]) < 0.2


@given(datasets(), st.integers(1, 60))
def test_the_first_examples_are_as_many_as_are_asked_for(dataset: Dataset, number: int) -> None:
    part = first(dataset, number)
    assert len(part) == min(number, len(dataset))
    assert same(part.images, dataset.images[:number])
    assert same(part.labels, dataset.labels[:number])
    assert np.shares_memory(part.images, dataset.images)


def test_a_split_is_a_copy(dataset: Dataset) -> None:
    train, _ = split(dataset, 10, 10, seed=0)
    assert not np.shares_memory(train.images, dataset.images)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: split(d.images, 1, 1, 0), "dataset must be a Dataset, found ndarray"),
        (
            lambda d: split(d, 1, 1, 0, stratified=1),  # type: ignore[arg-type]
            "stratified must be a bool, found int",
        ),
    ],
)
def test_a_split_of_something_else_is_refused(
    dataset: Dataset, call: Callable[[Any], object], message: str
) -> None:
    with pytest.raises(TypeError, match=f"^{message}$"):
        call(dataset)


@pytest.mark.parametrize(
    ("numbers", "error", "message"),
    [
        ((30, 11), ValueError, r"num_train \+ num_val must be at most 40.*found 30 \+ 11 = 41"),
        ((0, 5), ValueError, "num_train must be at least 1, found 0"),
        ((5, 0), ValueError, "num_val must be at least 1, found 0"),
        ((-5, 5), ValueError, "num_train must be at least 1"),
        ((5.0, 5), TypeError, "num_train must be an integer"),
        ((5, True), TypeError, "num_val must be an integer"),
    ],
)
def test_a_split_that_is_impossible_is_refused(
    dataset: Dataset, numbers: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        split(dataset, numbers[0], numbers[1], seed=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 0, 0), ValueError, "batch_size must be at least 1, found 0"),
        ((-1, 0, 0), ValueError, "batch_size must be at least 1"),
        ((2.0, 0, 0), TypeError, "batch_size must be an integer"),
        ((1, -1, 0), ValueError, "seed must be at least 0"),
        ((1, 0, -1), ValueError, "epoch must be at least 0"),
        ((1, None, 0), TypeError, "seed must be an integer"),
    ],
)
def test_minibatches_refuse_at_once_and_not_at_the_first_batch(
    dataset: Dataset, arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        minibatches(dataset, *arguments)
    if arguments[0] != 1:
        with pytest.raises(error, match=message):
            num_batches(dataset, arguments[0])


def test_the_digits_are_the_digits() -> None:
    digits = load_digits()
    assert digits.images.shape == (1797, 8, 8)
    assert (digits.images.min(), digits.images.max()) == (0, 16)
    # as published with the data set
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(digits.labels).tolist() == counts
    assert digits.labels[:10].tolist() == [*range(10)]
    assert digits.class_names == tuple("0123456789")
    assert repr(digits) == "Dataset(1797 images of shape (8, 8), 10 classes)"
    assert digits.images[0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_a_dataset_cannot_be_changed_and_copies_nothing(dataset: Dataset) -> None:
    frozen: Any = dataset
    for array in (frozen.images, frozen.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(AttributeError):
        frozen.labels = frozen.labels
    images = np.zeros((2, 3), np.uint8)
    assert np.shares_memory(Dataset(images, np.array([0, 0]), ("a",)).images, images)
    images[0] = 1  # the caller's own array stays writable


@pytest.mark.parametrize("form", FORMS)
def test_a_dataset_takes_any_memory_layout(dataset: Dataset, form: str) -> None:
    images, labels = FORMS[form](dataset.images), FORMS[form](dataset.labels)
    other = Dataset(images, labels, dataset.class_names)
    for a, b in zip(minibatches(other, 7, 0, 0), minibatches(dataset, 7, 0, 0), strict=True):
        assert same(a, b)


IMAGES, LABELS, NAMES = np.zeros((2, 3), np.uint8), np.array([0, 1]), ("a", "b")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((IMAGES.astype(int), LABELS, NAMES), TypeError, "images must be uint8, .*found int64"),
        (
            (np.zeros((2, 3, 3)), LABELS, NAMES),
            ValueError,
            r"^floating features must have shape \(N, D\), found \(2, 3, 3\): "
            "images must be uint8, pixels from 0 to 255$",
        ),
        (
            (np.array([[0.0], [np.nan]]), LABELS, NAMES),
            ValueError,
            r"^features must be finite, found nan at index \(1, 0\)$",
        ),
        ((IMAGES.astype(object), LABELS, NAMES), TypeError, "images must be uint8"),
        ((IMAGES.astype(complex), LABELS, NAMES), TypeError, "images must be uint8"),
        ((IMAGES.tolist(), LABELS, NAMES), TypeError, "images must be a NumPy array"),
        ((IMAGES[0], LABELS, NAMES), ValueError, r"images must have shape \(N, ...\)"),
        ((IMAGES[:0], LABELS[:0], NAMES), ValueError, "images must have .*not be empty"),
        ((IMAGES, LABELS[:1], NAMES), ValueError, r"labels must have shape \(2,\)"),
        ((IMAGES, np.array([0, 12]), NAMES), ValueError, r"labels must lie in \[0, 2\), found 12"),
        ((IMAGES, np.array([-1, 0]), NAMES), ValueError, "found -1 at index 0"),
        ((IMAGES, np.array([0.0, 1.0]), NAMES), TypeError, "labels must be integers"),
        ((IMAGES, [0, 1], NAMES), TypeError, "labels must be a NumPy array"),
        ((IMAGES, LABELS, ["a", "b"]), TypeError, "class_names must be a tuple of strings"),
        ((IMAGES, LABELS, (1, 2)), TypeError, "class_names must be a tuple of strings"),
        ((IMAGES, LABELS, ()), ValueError, r"labels must lie in \[0, 0\)"),
    ],
)
def test_what_is_no_dataset_is_refused(
    arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Dataset(*arguments)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_with_the_channels_last_are_stored_channels_first(channels: int) -> None:
    images = np.random.default_rng(0).integers(256, size=(2, 5, 4, channels), dtype=np.uint8)
    stored = Dataset(images, LABELS, NAMES)
    assert stored.images.shape == (2, channels, 5, 4)
    for n, c, h, w in np.ndindex(stored.images.shape):
        assert stored.images[n, c, h, w] == images[n, h, w, c]
    assert same(Dataset(stored.images, LABELS, NAMES), stored)


@pytest.mark.parametrize("shape", [(2, 3, 4, 3), (2, 1, 4, 3), (2, 3, 4, 1), (2, 3, 3, 3)])
def test_an_ambiguous_place_of_the_channels_is_asked_for(shape: tuple[int, ...]) -> None:
    images = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    with pytest.raises(
        ValueError, match=r': say layout="channels_first" or layout="channels_last"$'
    ):
        Dataset(images, LABELS, NAMES)
    first_ = Dataset(images, LABELS, NAMES, layout="channels_first")
    assert np.array_equal(first_.images, images)
    last = Dataset(images, LABELS, NAMES, layout="channels_last")
    assert np.array_equal(last.images, np.moveaxis(images, 3, 1))
    for made in (first_, last):  # copies and parts do not ask again
        for again in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
            assert same(again, made)
            assert again.images.shape == made.images.shape
        assert same(take(made, np.array([0, 1])), made)
        assert same(first(made, 2), made)


def test_parts_of_images_three_pixels_wide_keep_their_channels() -> None:
    images = np.random.default_rng(0).integers(256, size=(20, 3, 5, 3), dtype=np.uint8)
    made = Dataset(images, np.arange(20) % 2, NAMES, layout="channels_last")
    assert made.images.shape == (20, 3, 3, 5)
    for part in split(made, 9, 8, 0):
        rows = {image.tobytes() for image in part.images}
        assert rows <= {image.tobytes() for image in np.moveaxis(images, 3, 1)}
    for x, _ in minibatches(made, 7, 0, 0):
        assert x.shape[1:] == (3, 3, 5)


def test_images_with_transparency_and_unknown_layouts_are_refused() -> None:
    images = np.zeros((2, 5, 6, 4), np.uint8)
    message = 'RGB with transparency: remove the fourth channel, or say layout="channels_first"$'
    with pytest.raises(ValueError, match=message):
        Dataset(images, LABELS, NAMES)
    with pytest.raises(ValueError, match="layout must be auto, channels_first or channels_last"):
        Dataset(images, LABELS, NAMES, layout="first")  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_features_keep_their_dtype(dtype: Any) -> None:
    features = np.array([[0.5, -1], [3, 2]], dtype)
    made = Dataset(features, LABELS, NAMES)
    assert made.images.dtype == dtype
    assert np.array_equal(made.images, features)
    assert repr(made) == "Dataset(2 examples of 2 features, 2 classes)"
    assert same(pickle.loads(pickle.dumps(made)), made)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.data(), seeds)
def test_a_stratified_split_has_the_classes_in_proportion(
    counts: list[int], data: st.DataObject, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    n = len(labels)
    assume(n >= 2)
    dataset = Dataset(np.arange(n, dtype=np.float64)[:, None], labels, tuple("abcdef"))
    num_train = data.draw(st.integers(1, n - 1))
    num_val = data.draw(st.integers(1, n - num_train))
    train, val = split(dataset, num_train, num_val, seed, stratified=True)
    assert (len(train), len(val)) == (num_train, num_val)
    assert not {*train.images[:, 0]} & {*val.images[:, 0]}
    for label, count in enumerate(counts):
        # The k-th of a class stands at (k + 1/2) / count: rounding costs each class 1/2 at most.
        most = 0.5 + len(counts) / 2 * count / n + 1e-9
        for part, bound in ((train, most), (val, 2 * most)):
            expected = len(part) * count / n
            assert abs((part.labels == label).sum() - expected) <= bound
    assert same(split(dataset, num_train, num_val, seed, stratified=True), (train, val))
    other, _ = split(dataset, num_train, 1, seed, stratified=True)
    assert same(other, train)
