"""Optimizers as pairs of pure functions, and learning rates as functions of the step.

optimizer.init(params)                  -> state
optimizer.update(params, state, grads)  -> (params, state)
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from attrs import frozen

from fnnet.checks import Array, float_array, function, instance, integer, real
from fnnet.layers import WeightGradient
from fnnet.models import Params, lock_all, unevaluated
from fnnet.threads import BLOCK, product_elements, spread

Schedule = Callable[[int], float]
"""step (0 for the first) -> learning rate."""


@frozen
class Optimizer:
    """An update rule as two pure functions; :func:`sgd` makes one."""

    init: Callable[[Params], Any]
    """params -> state before the first step."""
    update: Callable[[Params, Any, Params], tuple[Params, Any]]
    """params, state, grads -> (params, state) after one step."""


@frozen(eq=False)
class SgdState:
    """What SGD carries from step to step."""

    step: int
    """How many steps were taken."""
    velocity: Params
    """The last step of each parameter; empty without momentum."""


def sgd(
    learning_rate: float | Schedule, momentum: float = 0.0, nesterov: bool = False
) -> Optimizer:
    """Stochastic gradient descent with momentum (Sutskever et al. 2013, eq. 1 and 2).

        v ← momentum · v - learning_rate(step) · grad        (v = 0 before the first step)
        p ← p + v

    With Nesterov's momentum (eq. 3 and 4, rewritten for the point where the gradient is
    taken) the last line is p ← p + momentum · v - learning_rate(step) · grad.

    Args:
        learning_rate: a finite number >= 0, or a schedule from the step (0, 1, …) to one.
        momentum: in [0, 1); 0 is plain gradient descent.
        nesterov: whether to look ahead.

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
    momentum = real("momentum", momentum, low=0, high=1)
    if momentum == 1:
        raise ValueError("momentum must be below 1, found 1")
    instance("nesterov", nesterov, bool)
    schedule = learning_rate if callable(learning_rate) else constant(learning_rate)

    def init(params: Params) -> SgdState:
        arrays = {
            name: float_array(f"params[{name}]", p)
            for name, p in instance("params", params, Mapping).items()
        }
        zeros = {name: np.zeros_like(p) for name, p in arrays.items()} if momentum else {}
        return SgdState(step=0, velocity=lock_all(zeros))

    def update(params: Params, state: SgdState, grads: Params) -> tuple[Params, SgdState]:
        instance("state", state, SgdState)
        instance("params", params, Mapping)
        given = {"grads": grads} | ({"velocity in state": state.velocity} if momentum else {})
        for name, values in given.items():
            if instance(name, values, Mapping).keys() != params.keys():
                raise ValueError(
                    f"{name} must have the keys of params, {[*params]}, found {[*values]}"
                )
        step = integer("step", state.step, low=0)
        rate = real(f"learning_rate({step})", schedule(step), low=0)
        new_params: dict[str, Array] = {}
        velocity: dict[str, Array] = {}
        for name, p in params.items():
            p = float_array(name, p)
            gradient = unevaluated(grads, name)
            if not isinstance(gradient, WeightGradient):
                gradient = float_array(f"grads[{name}]", gradient, p.shape, like=(name, p))
            elif gradient.shape != p.shape or gradient.dtype != p.dtype:
                raise ValueError(
                    f"grads[{name}] must be {p.dtype} of shape {p.shape}, "
                    f"found {gradient.dtype} of shape {gradient.shape}"
                )
            v = None
            if momentum:
                v = float_array(f"velocity[{name}]", state.velocity[name], p.shape, like=(name, p))
            new_params[name], new_v = _descend(p, gradient, rate, v, momentum, nesterov)
            if new_v is not None:
                velocity[name] = new_v
        return lock_all(new_params), SgdState(step + 1, lock_all(velocity))

    return Optimizer(init, update)


def _descend(
    p: Array,
    gradient: Array | WeightGradient,
    rate: float,
    v: Array | None,
    momentum: float,
    nesterov: bool,
) -> tuple[Array, Array | None]:
    """Return a parameter and its velocity (None without momentum) after one step of :func:`sgd`.

    Block by block of rows, from a gradient that is never formed as a whole: while a
    block is in the cache, every pass over it is cheap.
    """
    new_p = np.empty_like(p)
    new_v = None if v is None else np.empty_like(p)
    elements, keep = p.size, 1.0
    if isinstance(gradient, WeightGradient):
        elements += product_elements(gradient.x.T, gradient.grad_y)
        if v is None and gradient.w is p:  # the decay of p goes into the pass that adds p
            keep -= rate * gradient.decay
            gradient = WeightGradient(gradient.x, gradient.grad_y)
        gradient = gradient.scaled(-rate)

    def descend_rows(rows: slice) -> None:
        out = (new_p if new_v is None else new_v)[rows]
        if isinstance(gradient, WeightGradient):
            gradient.write(rows, out)
        else:
            np.multiply(gradient[rows], -rate, out=out)
        if v is None:
            out += p[rows] if keep == 1 else keep * p[rows]
            return
        out += np.multiply(v[rows], momentum, out=new_p[rows])  # new_p as scratch, for once
        np.add(p[rows], out, out=new_p[rows])
        if nesterov:  # -rate · grad is what the velocity has gained
            new_p[rows] += momentum * (out - v[rows])

    # What overflows here is found, and named, by the next step's forward pass.
    with np.errstate(over="ignore", invalid="ignore"):
        spread(descend_rows, len(p), elements, BLOCK * len(p) // max(1, p.size))
    return new_p, new_v


def constant(learning_rate: float) -> Schedule:
    """Return the schedule with the same learning rate at every step.

    >>> constant(0.1)(1000)
    0.1
    """
    learning_rate = real("learning_rate", learning_rate, low=0)
    return lambda step: learning_rate


def linear(learning_rate: float, num_steps: int) -> Schedule:
    """Return the schedule that falls in a straight line to 0 at step `num_steps`.

    >>> [linear(0.5, num_steps=10)(step) for step in (0, 5, 10, 11)]
    [0.5, 0.25, 0.0, 0.0]
    """
    learning_rate = real("learning_rate", learning_rate, low=0)
    num_steps = integer("num_steps", num_steps, low=1)
    return lambda step: learning_rate * max(0.0, 1 - step / num_steps)


def cosine(learning_rate: float, num_steps: int) -> Schedule:
    """Return the schedule that falls to 0 along half a cosine (Loshchilov & Hutter 2017, eq. 5).

    >>> [round(cosine(0.5, num_steps=10)(step), 6) for step in (0, 5, 10, 11)]
    [0.5, 0.25, 0.0, 0.0]
    """
    learning_rate = real("learning_rate", learning_rate, low=0)
    num_steps = integer("num_steps", num_steps, low=1)
    return lambda step: learning_rate * (1 + math.cos(math.pi * min(1, step / num_steps))) / 2


def step_decay(learning_rate: float, num_steps: int) -> Schedule:
    """Return the schedule that divides by 10 at 1/2 and again at 3/4 of `num_steps`.

    >>> [round(step_decay(0.5, num_steps=8)(step), 6) for step in (0, 3, 4, 5, 6, 9)]
    [0.5, 0.5, 0.05, 0.05, 0.005, 0.005]
    """
    learning_rate = real("learning_rate", learning_rate, low=0)
    num_steps = integer("num_steps", num_steps, low=1)
    drops = (num_steps / 2, 3 * num_steps / 4)
    return lambda step: learning_rate / 10 ** sum(step >= drop for drop in drops)


def warm_up(schedule: Schedule, num_steps: int) -> Schedule:
    """Return the schedule with its first `num_steps` rates raised in a straight line.

    >>> [warm_up(constant(1.0), num_steps=4)(step) for step in (0, 1, 3, 4)]
    [0.25, 0.5, 1.0, 1.0]
    """
    function("schedule", schedule)
    num_steps = integer("num_steps", num_steps, low=0)
    return lambda step: schedule(step) * min(1.0, (step + 1) / max(1, num_steps))
