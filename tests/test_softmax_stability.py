"""The softmax loss and its gradient are right to the last digits, however extreme the scores.

The oracle computes both with 60 digits. The loss of scores that one may meet must agree with it,
and so must each element of the gradient, to a relative accuracy: a probability of 1e-200 is not 0.
Where the exact result is a simple number, as for scores of 1e300, that number is expected.
"""

from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet import softmax_loss
from fnnet.checks import Array
from tests.helpers import same, wide
from tests.strategies import FLOATS, arrays, dtypes, labels_of, scores_and_labels

SIZES: dict[Any, list[float]] = {
    np.float32: [1e3, 1e30],
    np.float64: [1e3, 1e30, 1e300],
    np.longdouble: [1e3, 1e30, 1e300],
}
EXTREME = [(dtype, size) for dtype, sizes in SIZES.items() for size in sizes]


def decimal_softmax(row: list[float], label: int) -> tuple[Decimal, list[Decimal]]:
    """Return the loss and the gradient p - onehot(label) of one example with 60 digits."""
    with localcontext() as context:
        context.prec = 60
        largest = max(map(Decimal, row))
        exp = [(Decimal(score) - largest).exp() for score in row]
        others = sum((e for i, e in enumerate(exp) if i != label), Decimal(0))
        total = others + exp[label]
        # The label's probability is 1 - others / total. Where this rounds to 1, -log(1 - q) = q.
        q = others / total
        loss = q if q < Decimal("1e-30") else total.ln() + (largest - Decimal(row[label]))
        grad = [e / total for e in exp]
        grad[label] = -q
        return loss, grad


@st.composite
def extreme_scores(draw: st.DrawFn, dtype: Any) -> tuple[Array, Array]:
    """Scores of very different sizes beside each other, and labels right and wrong."""
    n, c = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    sizes = [sign * size for size in [0.0, 1.0, *SIZES[dtype]] for sign in (-1, 1)]
    score = st.sampled_from(sizes) | st.floats(-1000, 1000, width=32)
    rows = draw(st.lists(st.lists(score, min_size=c, max_size=c), min_size=n, max_size=n))
    return np.array(rows, dtype), draw(labels_of(n, c))


def assert_60_digits(scores: Array, labels: Array) -> None:
    loss, grad = softmax_loss(scores, labels)
    rows = zip(scores.tolist(), labels.tolist(), strict=True)
    losses, grads = zip(*(decimal_softmax(row, label) for row, label in rows), strict=True)
    n = len(scores)
    assert loss == pytest.approx(float(sum(losses) / n), rel=1e-12, abs=1e-300)
    digits = 1e-12 if scores.dtype == np.float64 else 3e-7
    tiny = float(np.finfo(scores.dtype).smallest_normal)
    np.testing.assert_allclose(grad * n, np.array(grads, float), rtol=digits, atol=tiny * n)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_random_scores_agree_with_60_digits(data: st.DataObject, dtype: Any) -> None:
    assert_60_digits(*data.draw(scores_and_labels(st.just(dtype), size=500)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_extreme_scores_agree_with_60_digits(data: st.DataObject, dtype: Any) -> None:
    assert_60_digits(*data.draw(extreme_scores(dtype)))


@given(st.data(), dtypes)
def test_a_shift_of_the_scores_of_an_example_changes_no_bit(
    data: st.DataObject, dtype: type
) -> None:
    # Integers this small stay exact when shifted, in float32 too.
    n, c = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    scores = data.draw(arrays((n, c), dtype, 100)).round()
    labels = data.draw(labels_of(n, c))
    shifts = st.lists(st.integers(-(2**20), 2**20), min_size=n, max_size=n)
    shifted = scores + np.array(data.draw(shifts), dtype)[:, None]
    assert same(softmax_loss(shifted, labels), softmax_loss(scores, labels))


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_rows_of_the_gradient_sum_to_0_and_everything_is_finite(
    data: st.DataObject, dtype: Any
) -> None:
    moderate = scores_and_labels(st.just(dtype))
    scores, labels = data.draw(moderate | extreme_scores(dtype))
    loss, grad = softmax_loss(scores, labels)
    assert np.isfinite(loss)
    assert loss >= 0
    assert np.isfinite(grad).all()
    sums = wide(grad).sum(axis=1)
    assert np.abs(sums).max() <= 4 * np.finfo(grad.dtype).eps / len(scores)


@pytest.mark.parametrize(("dtype", "size"), EXTREME)
def test_one_score_far_above_all_others_has_the_exact_loss_and_gradient(
    dtype: Any, size: float
) -> None:
    scores: Array = np.array([[size, -size, 0.0]], dtype)
    gap = 2 * float(scores[0, 0])
    for label, loss in enumerate((0.0, gap, gap / 2)):
        expected = np.eye(3)[[0]] - np.eye(3)[[label]]
        found = softmax_loss(scores, np.array([label]))
        assert found[0] == loss
        np.testing.assert_allclose(found[1], expected, rtol=0, atol=1e-300)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("gap", [1000, 2000, 123_456])
def test_a_wrong_label_costs_by_how_much_it_loses(gap: int, dtype: type) -> None:
    loss, grad = softmax_loss(np.array([[0, -gap]], dtype), np.array([1]))
    assert loss == gap
    assert grad.tolist() == [[1, -1]]


@given(st.integers(1, 6), st.integers(1, 6), dtypes)
def test_equal_scores_cost_log_c_however_many_examples(n: int, c: int, dtype: type) -> None:
    loss, grad = softmax_loss(np.full((n, c), 3, dtype), np.zeros(n, int))
    assert loss == pytest.approx(np.log(c), rel=1e-15)
    np.testing.assert_allclose(grad[:, 0], (1 / c - 1) / n, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_no_score_raises_a_floating_point_error_or_warns(data: st.DataObject, dtype: Any) -> None:
    scores, labels = data.draw(extreme_scores(dtype))
    with np.errstate(all="ignore"):
        expected = softmax_loss(scores, labels)
    for state in ("raise", "warn"):  # a warning fails a test here
        with np.errstate(all=state):
            assert same(softmax_loss(scores, labels), expected)


def test_a_loss_beyond_the_floats_is_infinite_without_a_warning() -> None:
    loss, grad = softmax_loss(np.array([[1.5e308, -1.5e308]]), np.array([1]))
    assert loss == np.inf
    assert grad.tolist() == [[1, -1]]


@pytest.mark.parametrize("n", [2, 9])
def test_the_mean_of_finite_losses_is_finite(n: int) -> None:
    loss, _ = softmax_loss(np.array([[1.5e308, 0.0]] * n), np.ones(n, int))
    assert loss == pytest.approx(1.5e308, rel=1e-15)
