"""Losses keep accuracy and dtypes, change no argument, and refuse what does not fit."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet import l2_loss, l2_regularization, softmax_loss
from fnnet.checks import Array
from tests.helpers import assert_any_form, assert_pure, wide
from tests.strategies import normal, scores_and_labels, seeds


def test_float32_squares_are_summed_without_losing_digits() -> None:
    w = np.full(1_000_001, 0.1, np.float32)
    exact = w.size * float(w[0]) ** 2
    assert l2_regularization(w, 2.0)[0] == pytest.approx(exact, rel=1e-6, abs=0)
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


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_argument_that_is_not_finite_is_named(value: float) -> None:
    good, bad = np.zeros((2, 1)), np.array([[0.0], [value]])
    losses: dict[str, Callable[[], object]] = {
        "pred": lambda: l2_loss(bad, good),
        "target": lambda: l2_loss(good, bad),
        "w": lambda: l2_regularization(bad, 0.5),
    }
    for name, loss in losses.items():
        with pytest.raises(
            ValueError, match=rf"^{name} must be finite, found .* at index \(1, 0\)"
        ):
            loss()


@pytest.mark.parametrize(("dtype", "reg"), [(np.float16, 1e5), (np.float32, 1e39)])
@pytest.mark.parametrize("weight", [0.0, 1e-7])
def test_a_strength_beyond_the_dtype_of_the_weights_is_refused(
    weight: float, dtype: type, reg: float
) -> None:
    # Infinity times 0 would be NaN, and times a small weight no longer small.
    with pytest.raises(ValueError, match=r"^reg \* w must be finite, found (nan|inf) at index 0"):
        l2_regularization(np.full(2, weight, dtype), reg)


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
        (1e-21, 5000),  # squares that float32 holds with two digits
        (3e25, 5000),  # squares above it
        (1e18, 5000),  # the sum of squares at its upper end
    ],
)
def test_squares_are_added_up_as_accurately_as_float32_has_them(value: float, size: int) -> None:
    w = np.full(size, value, np.float32)
    exact = float(np.longdouble(w[0]) ** 2 * size)
    assert l2_regularization(w, 2.0)[0] == pytest.approx(exact, rel=1e-6, abs=0)
    assert l2_regularization(w.astype(np.float64), 2.0)[0] == pytest.approx(exact, rel=1e-12, abs=0)


@given(seeds, st.integers(0, 5000), st.integers(-30, 30))
def test_squares_of_random_weights_are_added_up_accurately(
    seed: int, size: int, exponent: int
) -> None:
    w = (normal(seed, (size,)) * 10.0**exponent).astype(np.float32)
    exact = float((wide(w) ** 2).sum())
    assert l2_regularization(w, 2.0)[0] == pytest.approx(exact, rel=1e-6, abs=0)


def test_halves_are_widened_before_they_are_squared() -> None:
    loss, grad = l2_regularization(np.full(100, 1e-4, np.float16), 1.0)
    assert loss == pytest.approx(5.0016595e-07, rel=1e-7, abs=0)
    assert grad.dtype == np.float16
    pred, target = np.full((300, 2), 300, np.float16), np.zeros((300, 2), np.float16)
    assert l2_loss(pred, target)[0] == 90000.0  # the largest half is 65504
    far = np.full((4, 1), 60000, np.float16)
    loss, grad = l2_loss(far, -far)
    assert loss == pytest.approx(float(2 * far[0, 0].astype(float)) ** 2 / 2)
    assert grad.tolist() == [[30000]] * 4


def test_the_mean_of_finite_squared_errors_is_finite() -> None:
    loss, _ = l2_loss(np.full((8, 1), 1.5e154), np.zeros((8, 1)))
    assert loss == pytest.approx(1.125e308)
