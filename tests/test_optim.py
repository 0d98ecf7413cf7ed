"""Optimizers and schedules follow their equations, are pure, and refuse what does not fit."""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet import mlp, sgd
from fnnet.checks import Array
from fnnet.optim import constant, cosine, linear, step_decay, warm_up
from fnnet.values import ParamsLike
from tests.helpers import FORMS, assert_pure, close, same, wide
from tests.strategies import FLOATS, Network, networks, normal, seeds

rates = st.floats(0, 2)
momenta = st.floats(0, 0.99)


def grads_of(params: ParamsLike, seed: int) -> dict[str, Array]:
    return {name: normal(seed + i, p.shape, p.dtype) for i, (name, p) in enumerate(params.items())}


@given(networks(), seeds, st.lists(rates, min_size=1, max_size=5), momenta)
def test_sgd_agrees_with_a_plain_loop_in_extended_precision(
    network: Network, seed: int, schedule: list[float], momentum: float
) -> None:
    optimizer = sgd(schedule.__getitem__, momentum)
    params, state = network.params, optimizer.init(network.params)
    exact = {name: wide(p) for name, p in params.items()}
    velocity = {name: np.longdouble(0) * p for name, p in exact.items()}
    for step, rate in enumerate(schedule):
        grads = grads_of(params, seed + step)
        params, state = optimizer.update(params, state, grads)
        for name, grad in grads.items():
            velocity[name] = np.longdouble(momentum) * velocity[name] - np.longdouble(rate) * grad
            exact[name] = exact[name] + velocity[name]
    for name, p in params.items():
        eps = float(np.finfo(p.dtype).eps)
        np.testing.assert_allclose(wide(p), exact[name], rtol=100 * eps, atol=300 * eps)


@given(networks(), seeds, rates, momenta)
def test_a_constant_rate_is_a_constant_schedule(
    network: Network, seed: int, rate: float, momentum: float
) -> None:
    results = []
    for optimizer in (sgd(rate, momentum), sgd(lambda step: rate, momentum)):
        params, state = network.params, optimizer.init(network.params)
        for step in range(3):
            params, state = optimizer.update(params, state, grads_of(params, seed + step))
        results.append(params)
    assert same(*results)


def test_a_schedule_is_asked_for_the_steps_0_1_2() -> None:
    asked: list[int] = []
    optimizer = sgd(lambda step: asked.append(step) or 0.1)  # type: ignore[func-returns-value]
    params: Any = {"W1": np.ones(2)}
    state = optimizer.init(params)
    for _ in range(3):
        params, state = optimizer.update(params, state, params)
    assert asked == [0, 1, 2]


@given(networks(), seeds, momenta)
def test_updates_are_pure_and_keep_dtypes_and_keys(
    network: Network, seed: int, momentum: float
) -> None:
    optimizer = sgd(0.1, momentum)
    names = [*network.params]
    start = optimizer.init(network.params)

    def two_updates(*arrays: Array) -> object:
        params: ParamsLike = dict(zip(names, arrays[: len(names)], strict=True))
        grads = dict(zip(names, arrays[len(names) :], strict=True))
        # The same state twice: an update that wrote into it would be seen.
        first, state = optimizer.update(params, start, grads)
        assert same(first, optimizer.update(params, start, grads)[0])
        second, _ = optimizer.update(first, state, grads)
        assert same(second, optimizer.update(first, state, grads)[0])
        return first, second

    arrays = (*network.params.values(), *grads_of(network.params, seed).values())
    assert_pure(two_updates, *arrays)
    results: Any = two_updates(*arrays)
    for params in results:
        assert [*params] == names
        for name, p in params.items():
            assert (p.shape, p.dtype) == (network.params[name].shape, network.params[name].dtype)


@pytest.mark.parametrize("momentum", [0, 0.9])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_update_takes_any_memory_layout(form: str, momentum: float, dtype: type) -> None:
    # Large enough for several blocks of a blocked implementation, and no multiple of one.
    params = {"W1": normal(0, (1001, 129), dtype), "b1": normal(1, (129,), dtype)}
    grads = grads_of(params, 2)
    optimizer = sgd(0.1, momentum)
    plain = optimizer.update(params, optimizer.init(params), grads)[0]
    p, g = ({k: FORMS[form](a) for k, a in part.items()} for part in (params, grads))
    p, state = optimizer.update(p, optimizer.init(p), g)  # type: ignore[assignment]
    assert close({k: a.astype(dtype) for k, a in p.items()}, dict(plain))
    again = optimizer.update(p, state, g)[0]
    factor = 0.1 * (2 + momentum)
    for name in params:
        expected = params[name] - factor * grads[name]
        np.testing.assert_allclose(again[name].astype(float), expected, rtol=1e-4, atol=1e-4)


@given(networks(), seeds)
def test_updated_params_cannot_be_changed(network: Network, seed: int) -> None:
    optimizer = sgd(0.1, 0.9)
    state = optimizer.init(network.params)
    params: Any = optimizer.update(network.params, state, grads_of(network.params, seed))[0]
    with pytest.raises(TypeError):
        params["W1"] = params["W1"]
    for array in params.values():
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@given(networks(), seeds, momenta)
def test_a_rate_of_0_changes_no_bit(network: Network, seed: int, momentum: float) -> None:
    optimizer = sgd(0, momentum)
    state = optimizer.init(network.params)
    params = optimizer.update(network.params, state, grads_of(network.params, seed))[0]
    assert same(dict(params), dict(network.params))


@pytest.mark.parametrize("momentum", [-0.1, 1, 1.5, np.nan, np.inf])
def test_a_momentum_outside_0_and_1_is_refused(momentum: float) -> None:
    with pytest.raises(ValueError, match="momentum must be"):
        sgd(0.1, momentum)


@pytest.mark.parametrize("rate", [-0.1, np.nan, np.inf])
def test_a_learning_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="learning_rate must be a finite number at least 0"):
        sgd(rate)
    params = {"W1": np.ones(2)}
    optimizer = sgd(lambda step: rate)
    with pytest.raises(ValueError, match=r"learning_rate\(0\) must be a finite number"):
        optimizer.update(params, optimizer.init(params), params)


@pytest.mark.parametrize(("rate", "momentum"), [("1", 0), (None, 0), (True, 0), (1, "0")])
def test_settings_that_are_no_numbers_are_refused(rate: Any, momentum: Any) -> None:
    with pytest.raises(TypeError, match="must be a number"):
        sgd(rate, momentum)


@pytest.mark.parametrize("momentum", [0, 0.9])
@pytest.mark.parametrize(
    ("grads", "error"),
    [
        ({"W1": np.ones(3)}, ValueError),
        ({"W1": np.ones(3), "b2": np.ones(2)}, ValueError),
        ({"W1": np.ones(3), "b1": np.ones(1)}, ValueError),  # would broadcast
        ({"W1": np.ones(3), "b1": np.ones(2, np.float32)}, (TypeError, ValueError)),
        ({"W1": np.ones(3), "b1": [1.0, 1.0]}, TypeError),
    ],
)
def test_gradients_that_do_not_fit_are_refused(grads: Any, error: Any, momentum: float) -> None:
    params = {"W1": np.ones(3), "b1": np.ones(2)}
    optimizer = sgd(0.1, momentum)
    with pytest.raises(error, match="grads"):
        optimizer.update(params, optimizer.init(params), grads)


@pytest.mark.parametrize("dtype", [object, complex, np.int64])
def test_params_that_are_not_floating_are_refused(dtype: Any) -> None:
    params = {"W1": np.ones(3, dtype)}
    optimizer = sgd(0.1)
    with pytest.raises((TypeError, ValueError), match="W1"):
        optimizer.update(params, optimizer.init(params), params)


FALLING = {"linear": linear, "cosine": cosine, "step": step_decay}


@pytest.mark.parametrize("schedule", FALLING.values(), ids=FALLING)
@given(rate=st.floats(1e-6, 10), num_steps=st.integers(4, 1000))
def test_a_schedule_starts_at_the_rate_and_never_rises(
    schedule: Any, rate: float, num_steps: int
) -> None:
    rates = [schedule(rate, num_steps)(step) for step in range(num_steps + 3)]
    assert rates[0] == rate
    assert all(later <= earlier for earlier, later in pairwise(rates))
    assert all(r >= 0 for r in rates)


@pytest.mark.parametrize(("schedule", "slope"), [(linear, 1.0), (cosine, np.pi / 2)])
@given(num_steps=st.integers(1, 1000))
def test_a_continuous_schedule_ends_at_0_and_makes_no_jump(
    schedule: Any, slope: float, num_steps: int
) -> None:
    rates = [schedule(1.0, num_steps)(step) for step in range(num_steps + 2)]
    assert rates[num_steps] == rates[num_steps + 1] == 0
    assert all(a - b <= slope / num_steps + 1e-12 for a, b in pairwise(rates))


@given(num_steps=st.integers(1, 1000))
def test_the_cosine_and_the_line_are_symmetric_about_their_middle(num_steps: int) -> None:
    for schedule in (linear(1.0, num_steps), cosine(1.0, num_steps)):
        for step in range(num_steps + 1):
            assert schedule(step) + schedule(num_steps - step) == pytest.approx(1)


@given(num_steps=st.integers(1, 100))
def test_a_step_schedule_divides_by_10_after_a_half_and_three_quarters(num_steps: int) -> None:
    schedule = step_decay(1.0, num_steps)
    for step in range(num_steps + 1):
        drops = (step >= num_steps / 2) + (step >= num_steps * 3 / 4)
        assert schedule(step) == pytest.approx(0.1**drops)


@given(num_steps=st.integers(0, 50))
def test_a_warm_up_rises_in_a_line_to_the_schedule_and_then_is_it(num_steps: int) -> None:
    base = linear(1.0, 100)
    schedule = warm_up(base, num_steps)
    for step in range(101):
        factor = min(1, (step + 1) / num_steps) if num_steps else 1
        assert schedule(step) == pytest.approx(factor * base(step))


@pytest.mark.parametrize("schedule", FALLING.values(), ids=FALLING)
@pytest.mark.parametrize(
    ("args", "name"),
    [((-1, 5), "learning_rate"), ((np.inf, 5), "learning_rate"), ((0.1, 0), "num_steps")],
)
def test_a_schedule_refuses_what_is_none(schedule: Any, args: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must"):
        schedule(*args)


@given(networks(), seeds, st.lists(rates, min_size=1, max_size=5), momenta)
def test_nesterov_momentum_agrees_with_a_plain_loop_in_extended_precision(
    network: Network, seed: int, schedule: list[float], momentum: float
) -> None:
    optimizer = sgd(schedule.__getitem__, momentum, nesterov=True)
    params, state = network.params, optimizer.init(network.params)
    exact = {name: wide(p) for name, p in params.items()}
    velocity = {name: np.longdouble(0) * p for name, p in exact.items()}
    mu = np.longdouble(momentum)
    for step, rate in enumerate(schedule):
        grads = grads_of(params, seed + step)
        params, state = optimizer.update(params, state, grads)
        for name, grad in grads.items():
            velocity[name] = mu * velocity[name] - np.longdouble(rate) * grad
            exact[name] = exact[name] + mu * velocity[name] - np.longdouble(rate) * grad
    for name, p in params.items():
        eps = float(np.finfo(p.dtype).eps)
        np.testing.assert_allclose(wide(p), exact[name], rtol=100 * eps, atol=1000 * eps)


def exact(number: Any) -> Fraction:
    return Fraction(*number.as_integer_ratio())


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [np.float16, *FLOATS])
@given(seed=seeds)
def test_each_number_follows_the_equations_in_exact_arithmetic(
    dtype: Any, momentum: float, nesterov: bool, seed: int
) -> None:
    rates, mu = [0.5, 0.1, 0.3, 0.0, 0.7], Fraction(momentum)
    optimizer = sgd(rates.__getitem__, momentum, nesterov)
    params: ParamsLike = {"W1": normal(seed, (1, 3), dtype)}
    gradients = [normal(seed + i, (1, 3), dtype) for i in range(1, 6)]
    states = [(params, optimizer.init(params))]
    for g in gradients:
        states.append(optimizer.update(*states[-1], {"W1": g}))
    for j in range(3):
        p, v, size = exact(params["W1"][0, j]), Fraction(0), 8.0
        for step, (rate, g) in enumerate(zip(rates, gradients, strict=True), start=1):
            change = Fraction(rate) * exact(g[0, j])
            v = mu * v - change
            p += mu * v - change if nesterov else v
            found, state = states[step]
            assert state.step == step
            error = abs(exact(found["W1"][0, j]) - p)
            assert found["W1"].dtype == dtype
            assert error <= step * size * float(np.finfo(dtype).eps)


CLOSED_FORMS: dict[str, tuple[Any, Callable[[float], float]]] = {
    "constant": (lambda rate, n: constant(rate), lambda part: 1.0),
    "linear": (linear, lambda part: 1 - part),
    "cosine": (cosine, lambda part: math.cos(math.pi / 2 * part) ** 2),  # half-angle formula
    "step_decay": (step_decay, lambda part: 1 if part < 0.5 else 0.1 if part < 0.75 else 0.01),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
@given(st.floats(0, 10), st.integers(1, 10**6), st.integers(0, 50), st.data())
def test_a_schedule_has_its_closed_form_up_to_its_last_step_and_beyond(
    name: str, rate: float, num_steps: int, warm: int, data: st.DataObject
) -> None:
    make, form = CLOSED_FORMS[name]
    schedule = make(rate, num_steps)
    warmed = warm_up(schedule, warm)
    drawn = data.draw(st.integers(0, num_steps))
    ends = [0, 1, warm - 1, warm, warm + 1, num_steps - 1, num_steps, num_steps + 1, 10**9]
    for step in filter(lambda step: step >= 0, [drawn, *ends]):
        expected = rate * form(min(1.0, step / num_steps))
        assert schedule(step) == pytest.approx(float(expected), rel=1e-9, abs=1e-15 * rate)
        factor = (step + 1) / warm if step < warm else 1
        assert warmed(step) == pytest.approx(factor * expected, rel=1e-9, abs=1e-15 * rate)
    if warm:
        assert warmed(0) == pytest.approx(schedule(0) / warm)
        assert warmed(warm - 1) == schedule(warm - 1)


@pytest.mark.parametrize("momentum", [0, 0.9])
def test_an_update_that_overflows_is_found_by_the_next_forward_pass(momentum: float) -> None:
    model, optimizer = mlp((2, 2)), sgd(1e10, momentum)
    params: ParamsLike = {"W1": np.full((2, 2), 1e308), "b1": np.zeros(2)}
    state = optimizer.init(params)
    for sign in (-1, 1):
        grads = {name: np.full_like(p, sign * 1e308) for name, p in params.items()}
        params, state = optimizer.update(params, state, grads)
        with pytest.raises(ValueError, match=r"^W1 must be finite, found (inf|nan) at"):
            model.apply(params, np.ones((1, 2)))
