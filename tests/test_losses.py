from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet import l2_loss, l2_regularization, numeric_gradient, softmax_loss
from fnnet.checks import Array
from tests.helpers import (
    assert_any_form,
    assert_pure,
    central_difference,
    inner,
    reference_softmax,
    wide,
)
from tests.strategies import (
    FLOATS,
    arrays,
    dtypes,
    labels_of,
    normal,
    regs,
    scores_and_labels,
    seeds,
    shapes,
    wide_dtypes,
)


def decimal_softmax(row: list[float], label: int) -> tuple[Decimal, list[Decimal]]:
    """Return the loss and the gradient of one example with 60 digits."""
    with localcontext() as context:
        context.prec = 60
        ratio = [(Decimal(score) - Decimal(row[label])).exp() for score in row]
        rest = sum((r for i, r in enumerate(ratio) if i != label), Decimal(0))
        # log(1 + rest), by its series where 1 + rest would round
        loss = rest - rest * rest / 2 if rest < Decimal("1e-30") else (1 + rest).ln()
        grad = [r / (1 + rest) for r in ratio]
        grad[label] = -rest / (1 + rest)
        return loss, grad


@given(
    st.sampled_from([np.float32, np.float64]).flatmap(
        lambda kind: scores_and_labels(st.just(kind), size=500)
    )
)
def test_softmax_agrees_with_60_digits_to_the_last_few_bits(case: tuple[Array, Array]) -> None:
    scores, labels = case
    loss, grad = softmax_loss(scores, labels)
    rows = zip(scores.tolist(), labels.tolist(), strict=True)
    losses, grads = zip(*(decimal_softmax(row, label) for row, label in rows), strict=True)
    n = len(scores)
    assert loss == pytest.approx(float(sum(losses) / n), rel=1e-12, abs=1e-300)
    digits = 1e-12 if scores.dtype == np.float64 else 3e-7
    tiny = float(np.finfo(scores.dtype).smallest_normal)
    np.testing.assert_allclose(grad * n, np.array(grads, float), rtol=digits, atol=tiny * n)


@given(scores_and_labels(wide_dtypes))
def test_softmax_gradient_agrees_with_central_differences(case: tuple[Array, Array]) -> None:
    scores, labels = case
    numeric = numeric_gradient(lambda s: softmax_loss(s, labels)[0], scores)
    np.testing.assert_allclose(softmax_loss(scores, labels)[1], numeric, atol=1e-9)


@given(scores_and_labels(), seeds)
def test_softmax_gradient_is_the_vector_jacobian_product(
    case: tuple[Array, Array], seed: int
) -> None:
    scores, labels = case
    v = normal(seed, scores.shape)
    slope = central_difference(lambda t: reference_softmax(wide(scores) + t * wide(v), labels))
    assert inner(softmax_loss(scores, labels)[1], v) == pytest.approx(float(slope), abs=1e-5)


@given(st.data(), dtypes, st.integers(-(2**20), 2**20))
def test_a_shift_of_the_scores_of_an_example_changes_no_bit(
    data: st.DataObject, dtype: type, shift: int
) -> None:
    # Integers this small stay exact when shifted, in float32 too.
    n, c = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    scores = data.draw(arrays((n, c), dtype, 100)).round()
    labels = data.draw(labels_of(n, c))
    loss, grad = softmax_loss(scores, labels)
    shifted_loss, shifted_grad = softmax_loss(scores + np.array(shift, dtype), labels)
    assert loss == shifted_loss
    assert np.array_equal(grad, shifted_grad)


@given(
    st.sampled_from([1.0, 1e3, float(np.float32(1e30))]).flatmap(
        lambda size: scores_and_labels(size=size)
    )
)
def test_softmax_gradient_rows_sum_to_0_and_all_is_finite(case: tuple[Array, Array]) -> None:
    scores, labels = case
    loss, grad = softmax_loss(scores, labels)
    assert np.isfinite(loss)
    assert loss >= 0
    assert np.isfinite(grad).all()
    sums = wide(grad).sum(axis=1)
    assert np.abs(sums).max() <= 4 * np.finfo(grad.dtype).eps / len(scores)


@pytest.mark.parametrize("size", [1e3, 1e30])
@pytest.mark.parametrize("dtype", FLOATS)
def test_extreme_scores_have_the_exact_loss_and_gradient(size: float, dtype: type) -> None:
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


@given(st.data(), shapes, wide_dtypes)
def test_l2_loss_agrees_with_a_plain_loop_and_central_differences(
    data: st.DataObject, shape: tuple[int], dtype: type
) -> None:
    pred, target = data.draw(arrays(shape, dtype)), data.draw(arrays(shape, dtype))
    loss, grad = l2_loss(pred, target)
    pairs = zip(pred.ravel().tolist(), target.ravel().tolist(), strict=True)
    assert loss == pytest.approx(sum((p - t) ** 2 for p, t in pairs) / (2 * shape[0]))
    numeric = numeric_gradient(lambda p: l2_loss(p, target)[0], pred)
    np.testing.assert_allclose(grad, numeric, atol=1e-7)
    np.testing.assert_allclose(grad, (pred - target) / shape[0])


@given(st.data(), shapes, wide_dtypes, regs)
def test_l2_regularization_agrees_with_a_plain_loop_and_central_differences(
    data: st.DataObject, shape: tuple[int], dtype: type, reg: float
) -> None:
    w = data.draw(arrays(shape, dtype))
    loss, grad = l2_regularization(w, reg)
    assert loss == pytest.approx(reg / 2 * sum(a * a for a in w.ravel().tolist()))
    numeric = numeric_gradient(lambda a: l2_regularization(a, reg)[0], w)
    np.testing.assert_allclose(grad, numeric, atol=1e-6)


@given(st.data(), shapes, dtypes, seeds)
def test_l2_gradients_are_vector_jacobian_products(
    data: st.DataObject, shape: tuple[int], dtype: type, seed: int
) -> None:
    a, b = data.draw(arrays(shape, dtype)), data.draw(arrays(shape, dtype))
    v = normal(seed, a.shape)
    slope = inner(a.astype(np.float64) - b, v) / len(a)
    assert inner(l2_loss(a, b)[1], v) == pytest.approx(slope, rel=1e-5, abs=1e-4)
    assert inner(l2_regularization(a, 0.3)[1], v) == pytest.approx(
        0.3 * inner(a, v), rel=1e-5, abs=1e-4
    )


def test_float32_squares_are_summed_without_losing_digits() -> None:
    w = np.full(1_000_001, 0.1, np.float32)
    exact = w.size * float(w[0]) ** 2
    assert l2_regularization(w, 2.0)[0] == pytest.approx(exact, rel=1e-6)
    assert l2_loss(w, np.zeros_like(w))[0] == pytest.approx(exact / (2 * w.size), rel=1e-6)


@pytest.mark.parametrize("size", [5e151, 1e155, 1.7e308])
@pytest.mark.parametrize("length", [3, 1 << 17])
def test_a_loss_too_large_for_a_float_is_infinite_or_refused(size: float, length: int) -> None:
    big = np.full((1, length), size)
    losses: list[Callable[[], tuple[float, Array]]]
    losses = [lambda: l2_regularization(big, 4.0), lambda: l2_loss(big, -big)]
    for loss in losses:
        try:
            value = loss()[0]
        except ValueError:
            continue
        assert value > 1e300


@given(scores_and_labels())
def test_losses_are_python_floats_and_gradients_keep_the_dtype(case: tuple[Array, Array]) -> None:
    scores, labels = case
    for loss, grad in (
        softmax_loss(scores, labels),
        l2_loss(scores, scores + scores),
        l2_regularization(scores, 1),
    ):
        assert type(loss) is float
        assert grad.dtype == scores.dtype
        assert grad.shape == scores.shape


@given(scores_and_labels())
def test_losses_are_pure_and_take_any_memory_layout(case: tuple[Array, Array]) -> None:
    scores, labels = case
    for check in (assert_pure, assert_any_form):
        check(softmax_loss, scores, labels)
        check(l2_loss, scores, 2 * scores)
        check(lambda w: l2_regularization(w, 0.5), scores)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_an_empty_batch_is_refused(shape: tuple[int, int]) -> None:
    empty = np.zeros(shape)
    with pytest.raises(ValueError, match="scores must not be empty"):
        softmax_loss(empty, np.zeros(shape[0], int))
    with pytest.raises(ValueError, match=r"pred must .*not be empty"):
        l2_loss(empty, empty)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 12], ValueError, r"labels must lie in \[0, 10\), found 12 at index 1"),
        ([-1, 0], ValueError, r"labels must lie in \[0, 10\), found -1 at index 0"),
        ([0, 10], ValueError, r"found 10 at index 1"),
        ([0.0, 1.0], TypeError, "labels must be integers, found float64"),
        ([True, False], TypeError, "labels must be integers, found bool"),
        ([0], ValueError, r"labels must have shape \(2,\), found \(1,\)"),
        ([[0, 1]], ValueError, r"labels must have shape \(2,\), found \(1, 2\)"),
        (["0", "1"], TypeError, "labels must be integers"),
    ],
)
def test_a_wrong_label_is_an_error(labels: list[object], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        softmax_loss(np.zeros((2, 10)), np.array(labels))


def test_a_gradient_too_large_for_the_dtype_is_refused_by_name() -> None:
    big = np.full(1, 3e38, np.float32)
    with pytest.raises(ValueError, match=r"^\(pred - target\) / N must be finite, found inf at"):
        l2_loss(big, -big)
    with pytest.raises(ValueError, match=r"^reg \* w must be finite, found inf at index 0"):
        l2_regularization(np.full(2, 1e308), 1e3)


def test_a_loss_beyond_the_floats_is_infinite_without_a_warning() -> None:
    loss, grad = softmax_loss(np.array([[1.5e308, -1.5e308]]), np.array([1]))
    assert loss == np.inf
    assert grad.tolist() == [[1, -1]]


def test_a_large_row_of_squares_hides_no_small_one() -> None:
    w = np.zeros(4096, np.float32)
    w[0], w[2048:] = 1, 4096
    assert l2_regularization(w, 2)[0] == 2**35 + 1  # no float32


@pytest.mark.parametrize("reg", [-0.1, np.nan, np.inf])
def test_a_regularization_that_is_no_strength_is_refused(reg: float) -> None:
    with pytest.raises(ValueError, match="reg must be a finite number at least 0"):
        l2_regularization(np.ones(3), reg)


@pytest.mark.parametrize("reg", ["1", None, True, 1j, np.ones(1)])
def test_a_regularization_that_is_no_number_is_refused(reg: float) -> None:
    with pytest.raises(TypeError, match="reg must be a number"):
        l2_regularization(np.ones(3), reg)


# What sums must not lose: (number, how many), and the dtype.
@pytest.mark.parametrize(
    ("value", "size"),
    [
        (0.1, 3_000_000),
        (0.1, 1023),
        (1e-4, 1_000_001),
        (1e-25, 5000),  # squares below the range of float32
        (1e-19, 5000),  # squares at the lower end of its normal numbers
        (3e25, 5000),  # squares above it
        (1e18, 5000),  # the sum of squares at its upper end
    ],
)
def test_squares_are_added_up_as_accurately_as_float32_has_them(value: float, size: int) -> None:
    w = np.full(size, value, np.float32)
    exact = float(np.longdouble(w[0]) ** 2 * size)
    assert l2_regularization(w, 2.0)[0] == pytest.approx(exact, rel=1e-6)
    assert l2_regularization(w.astype(np.float64), 2.0)[0] == pytest.approx(exact, rel=1e-12)


@given(seeds, st.integers(0, 5000), st.integers(-30, 30))
def test_squares_of_random_weights_are_added_up_accurately(
    seed: int, size: int, exponent: int
) -> None:
    w = (normal(seed, (size,)) * 10.0**exponent).astype(np.float32)
    exact = float((wide(w) ** 2).sum())
    assert l2_regularization(w, 2.0)[0] == pytest.approx(exact, rel=1e-6)


def test_halves_are_widened_before_they_are_squared() -> None:
    loss, grad = l2_regularization(np.full(100, 1e-4, np.float16), 1.0)
    assert loss == pytest.approx(5.0016595e-07, rel=1e-7)
    assert grad.dtype == np.float16
    pred, target = np.full((300, 2), 300, np.float16), np.zeros((300, 2), np.float16)
    assert l2_loss(pred, target)[0] == 90000.0  # the largest half is 65504
    far = np.full((4, 1), 60000, np.float16)
    loss, grad = l2_loss(far, -far)
    assert loss == pytest.approx(float(2 * far[0, 0].astype(float)) ** 2 / 2)
    assert grad.tolist() == [[30000]] * 4


def test_the_mean_of_finite_losses_is_finite() -> None:
    assert softmax_loss(np.array([[1.5e308, 0.0]] * 2), np.array([1, 1]))[0] == 1.5e308
    assert softmax_loss(np.array([[1.5e308, 0.0]] * 9), np.ones(9, int))[0] == pytest.approx(
        1.5e308
    )
    loss, _ = l2_loss(np.full((8, 1), 1.5e154), np.zeros((8, 1)))
    assert loss == pytest.approx(1.125e308)
