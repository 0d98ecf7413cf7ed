"""Probabilities; predictions, scores and accuracies are tested with the data and the models."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from fnnet import probabilities, softmax_loss
from fnnet.checks import Array
from tests.strategies import FLOATS, normal, scores_and_labels

EXTREMES = {
    "both ends": np.array([[1e300, -1e300, 0.0]]),
    "all large": np.array([[1e300, 1e300, 1e300]]),
    "all small": np.array([[-1e300, -1e300, -1e300]]),
    "a difference beyond float64": np.array([[1.7e308, -1.7e308, 0.0]]),
    "no difference": np.zeros((2, 3)),
    "one class": np.array([[-5.0], [7.0]]),
}


@given(scores_and_labels(size=1000))
def test_rows_sum_to_1_and_keep_their_order(case: tuple[Array, Array]) -> None:
    scores, _ = case
    p = probabilities(scores)
    assert ((p >= 0) & (p <= 1)).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    assert (np.take_along_axis(p, scores.argmax(axis=1)[:, None], 1)[:, 0] == p.max(axis=1)).all()


@given(scores_and_labels())
def test_the_gradient_of_the_softmax_loss_is_the_probability_less_the_label(
    case: tuple[Array, Array],
) -> None:
    scores, labels = case
    n, num_classes = scores.shape
    _, grad = softmax_loss(scores, labels)
    onehot = np.arange(num_classes) == labels[:, None]
    np.testing.assert_allclose(probabilities(scores), grad * n + onehot, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, *FLOATS])
def test_the_dtype_is_kept_and_the_arithmetic_is_wider(dtype: Any) -> None:
    scores = (4 * normal(0, (5, 300))).astype(dtype)
    p = probabilities(scores)
    assert p.dtype == dtype
    exp = np.exp(scores.astype(np.longdouble))
    expected = exp / exp.sum(axis=1, keepdims=True)
    eps = np.finfo(dtype).eps * (1 if np.dtype(dtype).itemsize < 8 else 64)
    tiny = float(np.finfo(dtype).smallest_subnormal)
    np.testing.assert_allclose(p.astype(np.longdouble), expected, rtol=float(eps), atol=tiny)


@pytest.mark.parametrize("shift", [-1024.0, 2.0**40])
def test_a_number_added_to_a_row_changes_nothing(shift: float) -> None:
    scores = np.array([[0.5, -1.0, 2.0], [3.0, 3.0, 0.0]])
    assert (scores + shift - shift == scores).all()  # exact: only the softmax could differ
    np.testing.assert_array_equal(probabilities(scores + shift), probabilities(scores))


@pytest.mark.parametrize("kind", EXTREMES)
def test_extreme_scores_give_probabilities_whatever_the_error_state(kind: str) -> None:
    with np.errstate(all="raise"):
        p = probabilities(EXTREMES[kind])
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-15)
    assert np.isfinite(p).all()


def test_the_scores_are_not_changed_and_the_result_is_a_new_array() -> None:
    scores = normal(0, (4, 3))
    before = scores.copy()
    p = probabilities(scores)
    np.testing.assert_array_equal(scores, before)
    assert not np.shares_memory(p, scores)


def test_no_rows_give_no_rows() -> None:
    assert probabilities(np.empty((0, 3), np.float32)).shape == (0, 3)


@pytest.mark.parametrize(
    ("scores", "pattern"),
    [
        ([[1.0]], "scores must be a NumPy array, found list"),
        (np.ones((2, 2), int), "scores must have a floating dtype"),
        (np.ones(3), r"scores must have shape \(N, C\), found \(3,\)"),
        (np.ones((3, 0)), r"scores must have at least one class, found shape \(3, 0\)"),
        (np.array([[0.0, np.nan]]), r"scores must be finite, found nan at index \(0, 1\)"),
        (np.array([[np.inf, 0.0]]), r"scores must be finite, found inf at index \(0, 0\)"),
    ],
)
def test_other_scores_are_refused_by_name(scores: Any, pattern: str) -> None:
    with pytest.raises((TypeError, ValueError), match=pattern):
        probabilities(scores)
