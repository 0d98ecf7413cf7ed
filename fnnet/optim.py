"""Optimizers as pairs of pure functions, and learning rates as functions of the step.

optimizer.init(params)                  -> state
optimizer.update(params, state, grads)  -> (params, state)
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import frozen

from fnnet.checks import Array, real
from fnnet.layers import WeightGradient
from fnnet.models import Params, freeze, unevaluated
from fnnet.threads import ELEMENTWISE, row_blocks, spread

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
            gradient = unevaluated(grads, name)
            if gradient.shape != p.shape or gradient.dtype != p.dtype:
                raise ValueError(
                    f"grads[{name}] must be {p.dtype} of shape {p.shape}, "
                    f"found {gradient.dtype} of shape {gradient.shape}"
                )
            new_params[name], v = _sgd_step(p, gradient, state.velocity.get(name), rate, momentum)
            if v is not None:
                velocity[name] = v
        return freeze(new_params), SgdState(state.step + 1, freeze(velocity))

    return Optimizer(init, update)


def _sgd_step(
    p: Array, gradient: Array | WeightGradient, v: Array | None, rate: float, momentum: float
) -> tuple[Array, Array | None]:
    """Return p - rate·(momentum·v + gradient) and the new v, block by block of rows.

    Working out a block of the gradient and using it at once keeps it in the
    cache: with 3072×512 weights the update would otherwise wait for memory
    longer than the matrix products take at small batch sizes.
    """
    new_p = np.empty_like(p)
    new_v = None if v is None else np.empty_like(v)

    def update(rows: slice) -> None:
        g, out = gradient[rows], new_p[rows]
        if v is not None and new_v is not None:
            np.multiply(v[rows], momentum, out=new_v[rows])
            g = np.add(new_v[rows], g, out=new_v[rows])
        np.multiply(g, rate, out=out)
        np.subtract(p[rows], out, out=out)

    if isinstance(gradient, WeightGradient):
        blocks = gradient.blocks()
    else:
        blocks = row_blocks(p.shape, 4 * ELEMENTWISE * p.size)
    spread(update, blocks)
    return new_p, new_v


def constant(learning_rate: float) -> Schedule:
    """Return the schedule with the same learning rate at every step.

    >>> constant(0.1)(1000)
    0.1
    """
    learning_rate = real("learning_rate", learning_rate, low=0)
    return lambda step: learning_rate
