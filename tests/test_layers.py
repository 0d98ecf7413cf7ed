"""Layers compute their formula, keep dtypes and accuracy, and write into no argument."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet import fc_backward, fc_forward, l2_loss, relu_backward, relu_forward
from fnnet.checks import Array
from tests.helpers import assert_any_form, assert_pure, read_only, same
from tests.strategies import FcCase, arrays, dtypes, fc_cases, normal, shapes, wide_dtypes


@given(fc_cases())
def test_fc_is_x_w_plus_b(case: FcCase) -> None:
    y, _ = fc_forward(case.x, case.w, case.b)
    for i, row in enumerate(case.x.tolist()):
        for j, bias in enumerate(case.b.tolist()):
            exact = sum(a * b for a, b in zip(row, case.w[:, j].tolist(), strict=True)) + bias
            assert y[i, j] == pytest.approx(exact, rel=1e-5, abs=1e-4)


@given(st.data(), shapes, dtypes)
def test_relu_is_the_larger_of_0_and_x(data: st.DataObject, shape: tuple[int], dtype: type) -> None:
    x = data.draw(arrays(shape, dtype))
    y, _ = relu_forward(x)
    assert y.tolist() == np.vectorize(lambda a: max(a, 0.0), otypes=[dtype])(x).tolist()
    assert y.dtype == dtype


def fc_round_trip(x: Array, w: Array, b: Array, grad_y: Array) -> object:
    y, cache = fc_forward(x, w, b)
    return y, fc_backward(grad_y, cache)


def relu_round_trip(x: Array, grad_y: Array) -> object:
    y, cache = relu_forward(x)
    return y, relu_backward(grad_y, cache)


@given(fc_cases())
def test_layers_write_into_no_argument_and_take_read_only_ones(case: FcCase) -> None:
    assert_pure(fc_round_trip, case.x, case.w, case.b, case.grad_y)
    assert_pure(relu_round_trip, case.x, 2 * case.x)


@given(fc_cases())
def test_backward_leaves_the_cache_as_it_is(case: FcCase) -> None:
    _, cache = fc_forward(case.x, case.w, case.b)
    first = fc_backward(case.grad_y, cache)
    _, mask = relu_forward(case.x)
    once = relu_backward(case.x, mask)
    for a, b in zip(first, fc_backward(case.grad_y, cache), strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(once, relu_backward(case.x, mask))


def test_a_foreign_cache_is_refused_by_its_type() -> None:
    with pytest.raises(TypeError, match=r"^cache must be that of fc_forward, found dict$"):
        fc_backward(np.ones((2, 3)), {"x": np.ones((2, 4))})  # type: ignore[arg-type]


@given(fc_cases())
def test_layers_take_any_memory_layout(case: FcCase) -> None:
    assert_any_form(fc_round_trip, case.x, case.w, case.b, case.grad_y)
    assert_any_form(relu_round_trip, case.x, 2 * case.x)


@given(fc_cases())
def test_layers_keep_the_dtype(case: FcCase) -> None:
    y, cache = fc_forward(case.x, case.w, case.b)
    z, mask = relu_forward(y)
    results = [y, z, relu_backward(case.grad_y, mask), *fc_backward(case.grad_y, cache)]
    assert {a.dtype for a in results} == {case.x.dtype}


def test_a_product_that_overflows_is_an_error_and_no_infinity() -> None:
    big = np.full((2, 2), 1e200)
    with pytest.raises(ValueError, match="x w \\+ b must be finite"):
        fc_forward(big, big, np.zeros(2))


@pytest.mark.parametrize("bad", [np.ones((2, 2)), np.ones((3, 3)), np.ones(3), np.ones((0, 2))])
def test_backward_refuses_a_gradient_of_another_shape(bad: Array) -> None:
    x = np.ones((3, 4))
    with pytest.raises(ValueError, match="grad_y must have shape \\(3, 2\\)"):
        fc_backward(bad, fc_forward(x, np.ones((4, 2)), np.ones(2))[1])
    with pytest.raises(ValueError, match="grad_y must have shape \\(3, 4\\)"):
        relu_backward(bad, relu_forward(x)[1])


def test_a_nan_stays_a_nan_in_a_relu() -> None:
    y, cache = relu_forward(np.array([np.nan, 1.0]))
    assert np.isnan(y).tolist() == [True, False]
    assert np.isnan(relu_backward(np.array([1.0, np.nan]), cache)[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(70, 3001, 257), (1, 3000, 3001), (2000, 65, 129)])
def test_large_layers_are_as_right_as_small_ones(shape: tuple[int, int, int], dtype: Any) -> None:
    # Large enough that an implementation may cut them into blocks, and no multiple of one.
    n, d, h = shape
    x, w, b = normal(0, (n, d), dtype), normal(1, (d, h), dtype), normal(2, (h,), dtype)
    grad_y = normal(3, (n, h), dtype)
    wide_x, wide_w, wide_grad = (a.astype(np.float64) for a in (x, w, grad_y))
    y, cache = fc_forward(x, w, b)
    results = [y, *fc_backward(grad_y, cache)]
    expected = [wide_x @ wide_w + b, wide_grad @ wide_w.T, wide_x.T @ wide_grad, wide_grad.sum(0)]
    for found, exact in zip(results, expected, strict=True):
        assert found.dtype == dtype
        assert float(np.abs(found - exact).max()) < 3e4 * float(np.finfo(dtype).eps)
    again, cache = fc_forward(read_only(x), w.copy(), b)
    assert same((again, *fc_backward(grad_y, cache)), tuple(results))


def linear_regression_step(
    x: Array, target: Array, w: Array, b: Array, rate: float
) -> tuple[float, Array, Array, Array, Array]:
    pred, cache = fc_forward(x, w, b)
    loss, grad_pred = l2_loss(pred, target)
    _, grad_w, grad_b = fc_backward(grad_pred, cache)
    return loss, w - rate * grad_w, b - rate * grad_b, grad_w, grad_b


@given(fc_cases(wide_dtypes))
def test_a_linear_regression_step_has_the_closed_form_gradient_and_descends(case: FcCase) -> None:
    x, target = case.x, case.grad_y
    n = len(x)
    design = np.column_stack([x, np.ones(n)]).astype(np.float64)
    # The loss is quadratic with Hessian designᵀ design / N: this rate is below 1 / curvature.
    rate = n / max(1.0, float((design**2).sum()))
    loss, w, b, grad_w, grad_b = linear_regression_step(x, target, case.w, case.b, rate)
    residual = design @ np.vstack([case.w, case.b]).astype(np.float64) - target
    np.testing.assert_allclose(
        np.vstack([grad_w, grad_b]).astype(np.float64), design.T @ residual / n, atol=1e-9
    )
    after = linear_regression_step(x, target, w, b, rate)[0]
    slope = float((grad_w**2).sum() + (grad_b**2).sum())
    assert after <= loss - rate / 2 * slope + 1e-9 * (1 + loss)


def test_linear_regression_finds_the_least_squares_solution() -> None:
    x, target = normal(0, (30, 3)), normal(1, (30, 2))
    w, b = np.zeros((3, 2)), np.zeros(2)
    for _ in range(300):
        _, w, b, _, _ = linear_regression_step(x, target, w, b, 0.5)
    exact = np.linalg.lstsq(np.column_stack([x, np.ones(30)]), target)[0]
    np.testing.assert_allclose(np.vstack([w, b]), exact, atol=1e-9)


def test_bias_gradients_keep_the_accuracy_of_many_examples() -> None:
    grad_y = np.full((2_000_000, 1), 0.1, np.float32)
    x, w = np.zeros((len(grad_y), 1), np.float32), np.zeros((1, 1), np.float32)
    grad_b = fc_backward(grad_y, (x, w))[2]
    assert grad_b.dtype == np.float32
    assert float(grad_b[0]) == pytest.approx(float(grad_y[0, 0]) * len(grad_y), rel=1e-6)


def test_half_precision_is_widened_in_sums() -> None:
    grad_y = np.ones((4096, 3), np.float16)
    x, w = np.ones((4096, 2), np.float16), np.ones((2, 3), np.float16)
    grad_x, grad_w, grad_b = fc_backward(grad_y, (x, w))
    assert {grad_x.dtype, grad_w.dtype, grad_b.dtype} == {np.dtype(np.float16)}
    assert grad_b.tolist() == [4096] * 3  # adding 1 to 2048 changes no half
    assert grad_w.tolist() == [[4096] * 3] * 2
    y = fc_forward(np.ones((1, 4096), np.float16), np.ones((4096, 1), np.float16), w[0, :1])[0]
    assert y.tolist() == [[4096]]  # the next half after 4096 is 4100
