"""Classes and probabilities of new examples are the means over the views of each, one by one."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet import Checkpoint, Dataset, History, default_config, fit_standardization, mlp
from fnnet.checks import Array
from fnnet.data.preprocessing import fit_whitening, input_dim
from fnnet.runs.classify import classify, scores_of
from tests.helpers import reference_layers, same, wide

NAMES = ("cat", "dog", "eel")
SHAPE = (3, 5, 4)


def images_of(n: int, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(256, size=(n, *shape), dtype=np.uint8)


def checkpoint_for(examples: Array, seed: int = 0, **settings: Any) -> Checkpoint:
    """Return an untrained model of examples like these."""
    config = default_config(hidden_dim=(6, 4), seed=seed, num_threads=1, **settings)
    dataset = Dataset(examples, np.arange(len(examples)) % 3, NAMES, layout="channels_first")
    fitted = (
        fit_whitening(dataset, 3, 0.1, config.pool, config.dtype)
        if config.preprocessing == "whiten"
        else fit_standardization(dataset)
    )
    return Checkpoint(
        config=config,
        params=mlp(config.dims(input_dim(fitted), 3), config.dtype).init(
            np.random.default_rng(seed)
        ),
        preprocessing=fitted,
        class_names=NAMES,
        history=History(),
    )


def views_of(image: Array, flip: bool, most: int) -> list[Array]:
    """Return the views of one image (channels, height, width), pixel by pixel."""
    _, height, width = image.shape
    views = []
    for mirrored in (False, True) if flip else (False,):
        for down in range(-most, most + 1):
            for right in range(-most, most + 1):
                view = np.empty_like(image)
                for i, j in np.ndindex(height, width):
                    row = min(max(i - down, 0), height - 1)
                    column = min(max(j - right, 0), width - 1)
                    view[:, i, width - 1 - j if mirrored else j] = image[:, row, column]
                views.append(view)
    return views


@given(
    st.integers(1, 9), st.booleans(), st.integers(0, 2), st.sampled_from(["standardize", "whiten"])
)
def test_labels_and_probabilities_are_those_of_a_loop_over_the_views(
    n: int, flip: bool, most: int, preprocessing: str
) -> None:
    checkpoint = checkpoint_for(
        images_of(12), seed=n, tta_flip=flip, tta_shift=most, preprocessing=preprocessing
    )
    images = images_of(n, seed=n + 1)
    labels, found = classify(checkpoint, images)
    assert labels.dtype == np.int64
    assert (labels.shape, found.shape) == ((n,), (n, 3))
    assert found.dtype == np.float64
    for image, label, row in zip(images, labels, found, strict=True):
        views = np.stack(views_of(image, flip, most))
        assert len(views) == (1 + flip) * (2 * most + 1) ** 2
        scores = reference_layers(checkpoint.params, checkpoint.preprocess(views))[-1].mean(axis=0)
        exp = np.exp(wide(scores) - scores.max())
        np.testing.assert_allclose(row, (exp / exp.sum()).astype(float), atol=2e-5)
        assert row[label] == row.max()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)


def test_the_company_of_an_example_changes_only_roundings() -> None:
    checkpoint, images = checkpoint_for(images_of(12), tta_flip=True), images_of(1100)
    labels, found = classify(checkpoint, images)
    for i in (0, 499, 500, 1099):
        alone, row = classify(checkpoint, images[i : i + 1])
        np.testing.assert_allclose(row[0], found[i], atol=1e-6)
        assert alone[0] == labels[i] or np.ptp(np.sort(found[i])[-2:]) < 1e-6
    assert same(classify(checkpoint, images), (labels, found))


def test_the_progress_sees_each_block_once_and_changes_nothing() -> None:
    checkpoint, images = checkpoint_for(images_of(12)), images_of(1100)
    seen: list[int] = []

    def watch(starts: Any) -> Any:
        for start in starts:
            seen.append(start)
            yield start

    assert same(classify(checkpoint, images, watch), classify(checkpoint, images))
    assert seen == [0, 500, 1000]
    dataset = Dataset(images, np.zeros(1100, int), NAMES)
    assert same(scores_of(checkpoint, dataset, watch), scores_of(checkpoint, dataset))


def test_features_are_classified() -> None:
    features = 1e9 + np.random.default_rng(0).standard_normal((30, 4))
    checkpoint = checkpoint_for(features)
    labels, found = classify(checkpoint, features)
    x = (features - features.mean(axis=0)) / features.std(axis=0)
    scores = reference_layers(checkpoint.params, x.astype(np.float32))[-1]
    assert labels.tolist() == scores.argmax(axis=1).tolist()
    assert len({*labels.tolist()}) > 1
    assert found.shape == (30, 3)


@pytest.mark.parametrize("shape", [SHAPE, (5, 4)])
def test_no_examples_have_no_classes(shape: tuple[int, ...]) -> None:
    labels, found = classify(checkpoint_for(images_of(12, shape)), images_of(0, shape))
    assert same((labels, found), (np.empty(0, np.int64), np.empty((0, 3))))


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (
            images_of(2, (5, 4, 3)),
            ValueError,
            r"shape \(3, 5, 4\) each, found shape \(2, 5, 4, 3\)",
        ),
        (
            images_of(0, (5, 4, 3)),
            ValueError,
            r"shape \(3, 5, 4\) each, found shape \(0, 5, 4, 3\)",
        ),
        (images_of(2, (60,)), ValueError, r"shape \(3, 5, 4\) each, found shape \(2, 60\)"),
        (images_of(1)[0], ValueError, "images must have shape"),
        (np.array(3, np.uint8), ValueError, r"images must have shape \(N, ...\), found \(\)"),
        (np.zeros((2, 60)), TypeError, "images must be a uint8 array, found float64"),
        (images_of(2).astype(int), TypeError, "images must be uint8"),
        (images_of(2).tolist(), TypeError, "images must be a NumPy array"),
    ],
)
def test_other_examples_are_refused(images: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        classify(checkpoint_for(images_of(12)), images)


def test_features_that_are_not_finite_are_refused() -> None:
    features = np.random.default_rng(0).standard_normal((9, 4))
    checkpoint = checkpoint_for(features)
    features[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"features must be finite, found nan at index \(3, 1\)"):
        classify(checkpoint, features)
    with pytest.raises(TypeError, match="checkpoint must be"):
        classify({}, features)  # type: ignore[arg-type]
