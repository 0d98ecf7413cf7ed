"""Numeric gradients are central differences, and the report names every wrong gradient."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fnnet import (
    check_gradients,
    make_train_step,
    numeric_gradient,
    softmax_loss,
    two_layer_net,
)
from fnnet.checks import Array
from tests.helpers import FORMS, assert_pure, inner
from tests.strategies import (
    Network,
    arrays,
    float64,
    normal,
    seeds,
    shapes,
    smooth_networks,
    wide_dtypes,
)


@given(st.data(), shapes, wide_dtypes, seeds)
def test_the_gradient_of_a_quadratic_is_found(
    data: st.DataObject, shape: tuple[int], dtype: type, seed: int
) -> None:
    x = data.draw(arrays(shape, dtype))
    a = normal(seed, shape)
    gradient = numeric_gradient(lambda x: inner(a, x * x) / 2, x)
    assert (gradient.shape, gradient.dtype) == (x.shape, x.dtype)
    np.testing.assert_allclose(gradient.astype(float), a * x.astype(float), atol=1e-7)


@pytest.mark.parametrize("h", [0.5, 0.25, 1e-3])
def test_it_is_the_central_difference_with_the_step_asked_for(h: float) -> None:
    # (f(x + h) - f(x - h)) / 2h of x³ is 3 x² + h²: a one-sided difference would add 3 x h.
    x = np.array([2.0, -1.0])
    found = numeric_gradient(lambda x: float((x**3).sum()), x, h)
    np.testing.assert_allclose(found, 3 * x**2 + h**2, rtol=1e-9)
    found = numeric_gradient(lambda x: float((x**3).sum()), x, np.array([h, 2 * h]))
    np.testing.assert_allclose(found, 3 * x**2 + h**2 * np.array([1, 4]), rtol=1e-9)


def test_the_default_step_grows_with_x_and_suits_the_dtype() -> None:
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 1e-3), (np.longdouble, 1e-9)):
        x = np.array([0.1, 1, -1, 1000], dtype)
        seen: list[Array] = []

        def f(x: Array, seen: list[Array] = seen) -> float:
            seen.append(x)
            return float(np.sin(x / 1000).sum())

        gradient = numeric_gradient(f, x)
        np.testing.assert_allclose(
            gradient.astype(float), np.cos(x.astype(float) / 1000) / 1000, atol=tolerance
        )
        assert len(seen) == 2 * x.size
        steps = [float(np.abs(point - x).max()) for point in seen]
        expected = float(np.finfo(dtype).eps) ** (1 / 3) * np.repeat([1.0, 1, 1, 1000], 2)
        np.testing.assert_allclose(steps, expected, rtol=0.02)  # x ± h is rounded


@given(st.data(), shapes, wide_dtypes)
def test_it_is_pure_and_hands_out_no_array_of_its_caller(
    data: st.DataObject, shape: tuple[int], dtype: type
) -> None:
    x = data.draw(arrays(shape, dtype))

    def spoils_its_argument(x: Array) -> float:
        value = inner(x, x)
        x[...] = 7
        return value

    assert_pure(lambda x: numeric_gradient(spoils_its_argument, x), x)
    np.testing.assert_allclose(
        numeric_gradient(spoils_its_argument, x).astype(float), 2 * x.astype(float), atol=1e-6
    )


@pytest.mark.parametrize("form", FORMS)
def test_it_takes_any_memory_layout(form: str) -> None:
    x = normal(0, (3, 4))
    gradient = numeric_gradient(lambda x: inner(x, x), FORMS[form](x))
    assert gradient.dtype == x.dtype
    np.testing.assert_allclose(gradient, 2 * x, atol=1e-8)


@pytest.mark.parametrize("h", [0, -1e-6, np.nan, np.inf])
def test_a_step_that_is_none_is_refused(h: float) -> None:
    with pytest.raises(ValueError, match="h must be"):
        numeric_gradient(np.sum, np.ones(2), h)
    with pytest.raises(ValueError, match="h must be finite and above 0, found"):
        numeric_gradient(np.sum, np.ones(2), np.array([1e-6, h]))


@pytest.mark.parametrize("value", ["1", None, 1j, np.ones(1)])
def test_a_function_that_returns_no_number_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=f"^f must return a number, found {type(value).__name__}$"):
        numeric_gradient(lambda x: value, np.ones(2))


def test_a_step_too_small_to_move_x_is_refused() -> None:
    with pytest.raises(ValueError, match=r"h must|numeric gradient"):
        numeric_gradient(lambda x: float(x.sum()), np.array([1e20]), h=1e-6)


@pytest.mark.parametrize("state", ["ignore", "warn", "raise"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308, np.float64(1e308)])
def test_a_function_that_is_not_finite_is_an_error(value: float, state: Any) -> None:
    with (
        np.errstate(all=state),
        pytest.raises(ValueError, match="the numeric gradient must be finite"),
    ):
        numeric_gradient(lambda x: value if x[0] > 1 else 0.0, np.ones(2))


def quadratic(args: Mapping[str, Array]) -> float:
    return sum(inner(a, a) / 2 for a in args.values())


@given(st.data(), seeds, st.sampled_from(["a", "b"]))
def test_an_error_of_a_thousandth_in_one_element_is_caught_and_named(
    data: st.DataObject, seed: int, name: str
) -> None:
    args = {key: 1 + np.abs(normal(seed + i, (3, 4))) for i, key in enumerate("ab")}
    index = (data.draw(st.integers(0, 2)), data.draw(st.integers(0, 3)))
    assert check_gradients(quadratic, args, args, tolerance=1e-8).passed
    wrong = {key: value.copy() for key, value in args.items()}
    wrong[name][index] *= 1.001
    report = check_gradients(quadratic, args, wrong, tolerance=1e-8)
    assert not report.passed
    assert [d.name for d in report.differences] == ["a", "b"]
    (worst,) = [d for d in report.differences if not d.passed]
    assert (worst.name, worst.index) == (name, index)
    assert worst.analytic == wrong[name][index]
    assert worst.numeric == pytest.approx(args[name][index])
    assert worst.max_abs_diff == report.max_abs_diff
    assert worst.max_abs_diff == pytest.approx(args[name][index] / 1000, rel=1e-4)
    for line, difference in zip(str(report).splitlines(), report.differences, strict=True):
        assert line.split()[0] == difference.name
        assert line.split()[2] == ("FAILED" if difference is worst else "ok")
        assert str([*difference.index]) in line


@given(smooth_networks(float64), st.data())
def test_a_wrong_element_of_a_train_step_is_caught(network: Network, data: st.DataObject) -> None:
    step = make_train_step(network.model)

    def loss(params: Mapping[str, Array]) -> float:
        return step(params, network.batch, network.reg)[0]

    grads = step(network.params, network.batch, network.reg)[1]
    name = data.draw(st.sampled_from([*grads]))
    index = np.unravel_index(np.abs(grads[name]).argmax(), grads[name].shape)
    assume(abs(grads[name][index]) > 1e-2)
    wrong = grads[name].copy()
    wrong[index] *= 0.999
    report = check_gradients(loss, network.params, {**grads, name: wrong}, tolerance=1e-7)
    assert [d.name for d in report.differences if not d.passed] == [name]


@given(smooth_networks(float64))
def test_a_gradient_without_the_regularization_is_caught(network: Network) -> None:
    step = make_train_step(network.model)
    params, (x, labels) = network.params, network.batch
    grads = network.model.grad(params, x, lambda s: softmax_loss(s, labels))[1]
    report = check_gradients(
        lambda p: step(p, network.batch, 0.1)[0], params, grads, tolerance=1e-5
    )
    failed = {d.name for d in report.differences if not d.passed}
    assert failed == {name for name in params if name[0] == "W"}


@pytest.mark.parametrize("error", [1e-3, 1e-5])
def test_the_tolerance_decides(error: float) -> None:
    args = {"a": np.array([1.0, 2.0])}
    grads = {"a": args["a"] + [0, error]}
    for tolerance, passed in ((2 * error, True), (error / 2, False), (0, False)):
        report = check_gradients(quadratic, args, grads, tolerance)
        assert report.passed == passed
        assert report.tolerance == tolerance


def test_a_difference_as_large_as_the_tolerance_fails() -> None:
    # All numbers are powers of 2, so that nothing is rounded.
    report = check_gradients(
        lambda args: float(args["a"].sum()), {"a": np.ones(1)}, {"a": np.array([1.25])}, 0.25, 0.5
    )
    assert report.max_abs_diff == 0.25
    assert not report.passed


@pytest.mark.parametrize("state", ["warn", "raise"])
def test_a_difference_beyond_the_floats_fails(state: Any) -> None:
    args, grads = {"x": np.ones(1)}, {"x": np.full(1, 1.5e308)}
    with np.errstate(all=state):
        report = check_gradients(lambda a: -1.5e308 * float(a["x"][0]), args, grads, 1e-6)
    assert (report.max_abs_diff, report.differences[0].verdict) == (np.inf, "FAILED")


def test_the_first_of_equal_differences_is_shown() -> None:
    x = np.zeros((2, 3))
    grads = np.array([[0.0, 1, 0], [-1, 0, 1]])
    (found,) = check_gradients(lambda args: 0.0, {"x": x}, {"x": grads}, 1e-9).differences
    assert found.index == (0, 1)


ARGS = {"a": np.ones(2)}


@pytest.mark.parametrize(
    ("args", "grads", "error"),
    [
        ({}, {}, ValueError),
        (ARGS, {}, ValueError),
        (ARGS, {"a": np.ones(2), "b": np.ones(2)}, ValueError),
        (ARGS, {"b": np.ones(2)}, ValueError),
        (ARGS, {"a": np.ones(1)}, ValueError),  # would broadcast
        (ARGS, {"a": np.ones((1, 2))}, ValueError),
        (ARGS, {"a": np.array([1.0, np.nan])}, ValueError),
        (ARGS, {"a": np.ones(2, np.float32)}, TypeError),
        (ARGS, {"a": [1.0, 1.0]}, TypeError),
        ({"a": np.ones(2, int)}, {"a": np.ones(2)}, TypeError),
        ({"a": np.array([1.0, np.inf])}, {"a": np.ones(2)}, ValueError),
        ({"a": np.ones(0)}, {"a": np.ones(0)}, ValueError),
    ],
)
def test_what_cannot_be_compared_is_refused(args: Any, grads: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="must"):
        check_gradients(quadratic, args, grads, tolerance=1e-6)


@pytest.mark.parametrize("tolerance", [-1, np.nan, np.inf])
def test_a_tolerance_that_is_none_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance must be"):
        check_gradients(quadratic, ARGS, ARGS, tolerance)


@pytest.mark.parametrize("h", [1e-4, 0.5])
def test_the_step_is_passed_on(h: float) -> None:
    report = check_gradients(
        lambda a: float((a["a"] ** 3).sum()), ARGS, {"a": 3 * np.ones(2)}, 1, h
    )
    assert report.max_abs_diff == pytest.approx(h * h, rel=1e-3)


def relu_sum(args: Mapping[str, Array]) -> float:
    return float(np.maximum(args["x"], 0).sum())


@pytest.mark.parametrize("dtype", [np.float64, np.longdouble])
@pytest.mark.parametrize("analytic", [0.0, 0.25, 1.0])
def test_a_gradient_between_the_slopes_of_a_kink_is_not_called_wrong(
    analytic: float, dtype: Any
) -> None:
    args = {"x": np.array([1.0, 0.0, -1.0], dtype)}
    grads = {"x": np.array([1.0, analytic, 0.0], dtype)}
    report = check_gradients(relu_sum, args, grads, tolerance=1e-8)
    (found,) = report.differences
    assert (found.verdict, found.passed, report.passed) == ("kink", False, False)
    assert (found.index, found.analytic) == ((1,), analytic)
    assert found.numeric == pytest.approx(0.5)
    assert found.slopes == pytest.approx((0, 1), abs=1e-8)
    line = str(report)
    assert "kink" in line
    assert "one-sided differences disagree: +0.000000" in line
    assert "FAILED" not in line


@pytest.mark.parametrize("analytic", [-1e-3, -1.0, 1.001, 7.0])
def test_a_gradient_outside_the_slopes_of_a_kink_is_wrong(analytic: float) -> None:
    args, grads = {"x": np.array([0.0, 1.0])}, {"x": np.array([analytic, 1.0])}
    (found,) = check_gradients(relu_sum, args, grads, tolerance=1e-8).differences
    assert (found.verdict, found.index, found.slopes) == ("FAILED", (0,), None)


@pytest.mark.parametrize("place", [0, 1])
def test_a_wrong_gradient_does_not_hide_behind_a_larger_difference_at_a_kink(place: int) -> None:
    x, grads = np.array([0.0, 0.0]), np.array([0.0, 0.0])
    x[place], grads[place] = 1.0, 1.001
    (found,) = check_gradients(relu_sum, {"x": x}, {"x": grads}, tolerance=1e-8).differences
    assert (found.verdict, found.index) == ("FAILED", (place,))
    assert found.max_abs_diff == pytest.approx(1e-3, rel=1e-4)


@pytest.mark.parametrize("slopes", [[1.0, 3.0], [3.0, 1.0]])
def test_the_worst_of_several_kinks_is_shown(slopes: list[float]) -> None:
    (found,) = check_gradients(
        lambda args: inner(slopes, np.abs(args["x"])),
        {"x": np.zeros(2)},
        {"x": np.array(slopes) / 2},
        1e-8,
    ).differences
    assert (found.verdict, found.index) == ("kink", (int(np.argmax(slopes)),))
    assert found.slopes == pytest.approx((-3, 3))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_kink_within_a_step_is_called_a_kink(share: float, side: int) -> None:
    h = 1e-3
    x = np.array([side * share * h])
    grads = {"x": np.array([float(side > 0)])}
    (found,) = check_gradients(relu_sum, {"x": x}, grads, 1e-8, h).differences
    assert found.verdict == "kink"


@given(seeds, st.sampled_from([1e-3, 1e-6, 1e-8]), st.sampled_from([None, 1e-4]))
def test_curvature_is_not_taken_for_a_kink(seed: int, error: float, h: float | None) -> None:
    x = normal(seed, (3,))
    grads = np.cos(x) * np.exp(np.sin(x))
    wrong = grads + error * np.array([0, -1, 1])

    def f(args: Mapping[str, Array]) -> float:
        return float(np.exp(np.sin(args["x"])).sum())

    (found,) = check_gradients(f, {"x": x}, {"x": wrong}, error / 2, h).differences
    assert found.verdict == "FAILED"
    assert found.index[0] > 0


@given(seeds, st.floats(-1e6, 1e6), st.sampled_from([0, 1e-14]))
def test_rounding_is_not_taken_for_a_kink(seed: int, offset: float, tolerance: float) -> None:
    a = normal(seed, (3,))
    report = check_gradients(
        lambda args: float(offset + a @ args["x"]), {"x": np.ones(3)}, {"x": a}, tolerance
    )
    assert report.differences[0].verdict in ("FAILED", "ok")


def test_a_step_whose_half_does_not_move_x_finds_no_kink() -> None:
    x = np.array([1.0])
    h = float(np.finfo(float).eps) * 0.75  # rounds to one spacing; its half to none
    (found,) = check_gradients(quadratic, {"x": x}, {"x": x + 5}, 1e-3, h).differences
    assert found.verdict == "FAILED"


@pytest.mark.parametrize("seed", range(5))
def test_a_row_of_zeros_puts_the_hidden_biases_of_a_fresh_net_at_a_kink(seed: int) -> None:
    model = two_layer_net(4, 5, 3)
    params = model.init(np.random.default_rng(seed))
    x = normal(seed, (3, 4))
    x[1] = 0
    batch = x, np.array([0, 1, 2])
    step = make_train_step(model)
    grads = step(params, batch, 0.1)[1]
    report = check_gradients(lambda p: step(p, batch, 0.1)[0], params, grads, tolerance=1e-7)
    assert {d.name: d.verdict for d in report.differences} == {
        "W1": "ok", "b1": "kink", "W2": "ok", "b2": "ok"
    }  # fmt: skip
    wrong = {**grads, "W2": grads["W2"] * 1.001}
    report = check_gradients(lambda p: step(p, batch, 0.1)[0], params, wrong, tolerance=1e-7)
    assert {d.name for d in report.differences if d.verdict == "FAILED"} == {"W2"}


@pytest.mark.parametrize("h", [1e39, 1e-46])
def test_a_step_that_is_infinite_or_0_in_the_dtype_of_x_is_refused(h: float) -> None:
    x = np.ones(2, np.float32)
    with pytest.raises(ValueError, match="h must be finite and above 0"):
        numeric_gradient(lambda x: float(x.sum()), x, h)


@pytest.mark.parametrize("n", [5, 50, 500])
def test_of_equal_differences_the_first_is_named(n: int) -> None:
    args, grads = {"x": np.ones(n)}, {"x": np.arange(n) % 3.0}
    [worst] = check_gradients(lambda _: 0.0, args, grads, 1e-6).differences
    assert (worst.index, worst.max_abs_diff) == ((2,), 2.0)
