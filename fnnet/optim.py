"""Optimizers as pairs of pure functions, and learning rates as functions of the step.

optimizer.init(params)                  -> state
optimizer.update(params, state, grads)  -> (params, state)
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import frozen

from fnnet.checks import Array, float_array, real
from fnnet.models import Params, freeze

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
    """Running sum of the gradients, by parameter; empty without momentum."""


def sgd(learning_rate: float | Schedule, momentum: float = 0.0) -> Optimizer:
    """Stochastic gradient descent with momentum (Sutskever et al. 2013, eq. 1-2, with v / -lr).

        v ← momentum · v + grad        (v = 0 before the first step)
        p ← p - learning_rate(step) · v

    Args:
        learning_rate: a finite number >= 0, or a schedule from the step (0, 1, …) to one.
        momentum: in [0, 1); 0 is plain gradient descent.

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
    schedule = learning_rate if callable(learning_rate) else constant(learning_rate)

    def init(params: Params) -> SgdState:
        zeros = {name: np.zeros_like(p) for name, p in params.items()} if momentum else {}
        return SgdState(step=0, velocity=freeze(zeros))

    def update(params: Params, state: SgdState, grads: Params) -> tuple[Params, SgdState]:
        if grads.keys() != params.keys():
            raise ValueError(f"grads must have the keys {[*params]}, found {[*grads]}")
        rate = real(f"learning_rate({state.step})", schedule(state.step), low=0)
        new_params: dict[str, Array] = {}
        velocity: dict[str, Array] = {}
        for name, p in params.items():
            v = float_array(f"grads[{name}]", grads[name], p.shape, like=(name, p))
            if momentum:
                velocity[name] = v = momentum * state.velocity[name] + v
            new_params[name] = p - rate * v
        return freeze(new_params), SgdState(state.step + 1, freeze(velocity))

    return Optimizer(init, update)


def constant(learning_rate: float) -> Schedule:
    """Return the schedule with the same learning rate at every step.

    >>> constant(0.1)(1000)
    0.1
    """
    learning_rate = real("learning_rate", learning_rate, low=0)
    return lambda step: learning_rate
