"""Optimizers as pairs of pure functions, and learning rates as functions of the step.

optimizer.init(params)                  -> state
optimizer.update(params, state, grads)  -> (params, state)
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from attrs import field, frozen

from fnnet.checks import as_float_array, as_integer, as_number, check_callable, check_type
from fnnet.values import Params, ParamsLike, as_params, parts

Schedule = Callable[[int], float]
"""step (0 for the first) -> learning rate."""


@frozen
class Optimizer:
    """An update rule as two pure functions; :func:`sgd` makes one.

    Optimizers with the same settings are equal. One can be pickled if its schedule can.
    """

    init: Callable[[ParamsLike], Any] = field(eq=parts)
    """params -> state before the first step."""
    update: Callable[[ParamsLike, Any, ParamsLike], tuple[Params, Any]] = field(eq=parts)
    """params, state, grads -> (params, state) after one step."""


@frozen
class SgdState:
    """What SGD carries from step to step."""

    step: int
    """How many steps were taken."""
    velocity: Params = field(converter=as_params)
    """v of :func:`sgd` for each parameter; empty without momentum."""


def sgd(
    learning_rate: float | Schedule, momentum: float = 0.0, nesterov: bool = False
) -> Optimizer:
    """Stochastic gradient descent with momentum (Sutskever et al. 2013, eq. 1 and 2).

        v ← momentum · v - learning_rate(step) · grad        (v = 0 before the first step)
        p ← p + v

    With Nesterov's momentum (eq. 3 and 4, rewritten for the point where the gradient is
    taken) the last line is p ← p + momentum · v - learning_rate(step) · grad.

    Args:
        learning_rate: a finite number >= 0, or a :data:`Schedule` that returns one.
        momentum: in [0, 1); 0 is plain gradient descent.
        nesterov: whether to use Nesterov's momentum.

    Returns:
        the optimizer, whose state is an :class:`SgdState`.

    Raises:
        TypeError, ValueError: a setting is out of its range, or later the
            gradients do not have the keys, shapes and dtypes of the parameters.

    >>> optimizer = sgd(learning_rate=0.1)
    >>> params = {"W1": np.array([1.0])}
    >>> params, state = optimizer.update(
    ...     params, optimizer.init(params), {"W1": np.array([2.0])})
    >>> params["W1"], state.step
    (array([0.8]), 1)
    """
    momentum = as_number("momentum", momentum, low=0, high=1)
    if momentum == 1:
        raise ValueError("momentum must be below 1, found 1")
    check_type("nesterov", nesterov, bool)
    schedule = learning_rate if callable(learning_rate) else constant(learning_rate)
    return Optimizer(
        partial(_sgd_init, momentum), partial(_sgd_update, schedule, momentum, nesterov)
    )


def _sgd_init(momentum: float, params: ParamsLike) -> SgdState:
    check_type("params", params, Mapping)
    arrays = {name: as_float_array(f"params[{name}]", p) for name, p in params.items()}
    zeros = {name: np.zeros_like(p) for name, p in arrays.items()} if momentum else {}
    return SgdState(0, Params.owning(zeros))


# What overflows in an update is found, and named, by the next step's forward pass.
@np.errstate(all="ignore")
def _sgd_update(
    schedule: Schedule,
    momentum: float,
    nesterov: bool,
    params: ParamsLike,
    state: SgdState,
    grads: ParamsLike,
) -> tuple[Params, SgdState]:
    check_type("params", params, Mapping)
    step = as_integer("step", check_type("state", state, SgdState).step, low=0)
    _check_keys("grads", grads, params)
    if momentum:
        _check_keys("velocity in state", state.velocity, params)
    rate = as_number(f"learning_rate({step})", schedule(step), low=0)
    new_params, velocity = {}, {}
    for name, p in params.items():
        p = as_float_array(name, p)
        g = as_float_array(f"grads[{name}]", grads[name], p.shape, like=(name, p))
        if not momentum:
            new_params[name] = p + -rate * g
            continue
        v = as_float_array(f"velocity[{name}]", state.velocity[name], p.shape, like=(name, p))
        velocity[name] = v = momentum * v - rate * g
        new_params[name] = p + (momentum * v - rate * g if nesterov else v)
    return Params.owning(new_params), SgdState(step + 1, Params.owning(velocity))


def _check_keys(name: str, values: ParamsLike, params: ParamsLike) -> None:
    if check_type(name, values, Mapping).keys() != params.keys():
        raise ValueError(f"{name} must have the keys of params, {[*params]}, found {[*values]}")


def constant(learning_rate: float) -> Schedule:
    """Return the schedule with the same learning rate at every step.

    >>> constant(0.1)(1000)
    0.1
    """
    return partial(_constant, as_number("learning_rate", learning_rate, low=0))


def _constant(learning_rate: float, step: int) -> float:
    return learning_rate


def linear(learning_rate: float, num_steps: int) -> Schedule:
    """Return the schedule that falls in a straight line to 0 at step `num_steps`.

    >>> [linear(0.5, num_steps=10)(step) for step in (0, 5, 10, 11)]
    [0.5, 0.25, 0.0, 0.0]
    """
    return partial(_linear, *_falling(learning_rate, num_steps))


def _linear(learning_rate: float, num_steps: int, step: int) -> float:
    return learning_rate * max(0.0, 1 - step / num_steps)


def cosine(learning_rate: float, num_steps: int) -> Schedule:
    """Return the schedule that falls to 0 along half a cosine (Loshchilov & Hutter 2017, eq. 5).

    >>> [round(cosine(0.5, num_steps=10)(step), 6) for step in (0, 5, 10, 11)]
    [0.5, 0.25, 0.0, 0.0]
    """
    return partial(_cosine, *_falling(learning_rate, num_steps))


def _cosine(learning_rate: float, num_steps: int, step: int) -> float:
    return learning_rate * (1 + math.cos(math.pi * min(1, step / num_steps))) / 2


def step_decay(learning_rate: float, num_steps: int) -> Schedule:
    """Return the schedule that divides by 10 at 1/2 and again at 3/4 of `num_steps`.

    >>> [round(step_decay(0.5, num_steps=8)(step), 6) for step in (0, 3, 4, 5, 6, 9)]
    [0.5, 0.5, 0.05, 0.05, 0.005, 0.005]
    """
    return partial(_step_decay, *_falling(learning_rate, num_steps))


def _step_decay(learning_rate: float, num_steps: int, step: int) -> float:
    drops = (num_steps / 2, 3 * num_steps / 4)
    return learning_rate / 10.0 ** sum(step >= drop for drop in drops)


def warm_up(schedule: Schedule, num_steps: int) -> Schedule:
    """Return the schedule with its first n = `num_steps` rates times 1/n, 2/n, …, 1.

    >>> [warm_up(constant(1.0), num_steps=4)(step) for step in (0, 1, 3, 4)]
    [0.25, 0.5, 1.0, 1.0]
    """
    check_callable("schedule", schedule)
    num_steps = as_integer("num_steps", num_steps, low=0)
    return partial(_warm_up, schedule, num_steps)


def _warm_up(schedule: Schedule, num_steps: int, step: int) -> float:
    return schedule(step) * min(1.0, (step + 1) / max(1, num_steps))


def _falling(learning_rate: float, num_steps: int) -> tuple[float, int]:
    return as_number("learning_rate", learning_rate, low=0), as_integer(
        "num_steps", num_steps, low=1
    )
