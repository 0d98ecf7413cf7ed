"""Training as a lazy fold of a pure step over a stream of minibatches.

    step    = make_update(make_train_step(model), optimizer, reg)
    states  = fold(step, init_state(model, optimizer, rng), batches)    # lazy
    results = epochs(states, steps_per_epoch, evaluate)                 # lazy

Progress bars, printing, early stopping and checkpoints are consumers of these
streams; nothing in here knows of them.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
from attrs import field, frozen

from fnnet.checks import (
    Array,
    NonFiniteError,
    as_float_array,
    as_integer,
    as_number,
    check_finite,
    check_type,
)
from fnnet.losses import l2_regularization, softmax_loss
from fnnet.models import Model, is_weight
from fnnet.optim import Optimizer
from fnnet.values import Params, ParamsLike, Rebuilt, as_params, by_content, lock

Batch = tuple[Array, Array]
"""x (N, D) and labels (N,)."""

TrainStep = Callable[[ParamsLike, Batch, float], tuple[float, Params]]
"""params, batch, reg -> (loss, grads)."""


class DivergenceError(ArithmeticError):
    """The loss or a score became NaN or infinite: training cannot go on."""

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(step, reason)
        self.step = step
        """The step, from 1, whose loss is not finite, or after which the scores are not."""
        self.reason = reason

    def __str__(self) -> str:
        return f"training diverged at step {self.step}: {self.reason}"


@frozen
class TrainState:
    """Where training stands after some steps: all that the next step depends on."""

    step: int
    """How many steps were taken."""
    params: Params = field(converter=as_params)
    opt_state: Any
    loss: float = field(eq=repr)  # NaN equals NaN
    """Loss, regularization included, of the last step's batch before its update; NaN at step 0."""


def _column(name: str, axis: str, values: object) -> Array:
    """Return a column of a history, checked, as a read-only copy."""
    column = lock(as_float_array(name, values, (axis,)).astype(np.float64))
    check_finite(name, column)
    if axis == "epochs" and not ((column >= 0) & (column <= 1)).all():
        raise ValueError(f"{name} must be numbers in [0, 1], one for each epoch")
    return column


NOTHING = lock(np.empty(0))


@frozen
class History(Rebuilt):
    """What a run has to show: a loss for each step, accuracies for each epoch."""

    losses: Array = field(default=NOTHING, eq=by_content)
    """(steps,) float64."""
    train_accuracy: Array = field(default=NOTHING, eq=by_content)
    """(epochs,) float64: fraction of training examples that are right after each epoch."""
    val_accuracy: Array = field(default=NOTHING, eq=by_content)
    """(epochs,) float64: fraction of validation examples that are right after each epoch."""

    def __attrs_post_init__(self) -> None:
        for name in ("losses", "train_accuracy", "val_accuracy"):
            axis = "steps" if name == "losses" else "epochs"
            object.__setattr__(self, name, _column(name, axis, getattr(self, name)))
        steps, epochs = len(self.losses), len(self.train_accuracy)
        if len(self.val_accuracy) != epochs:
            raise ValueError(
                f"train_accuracy and val_accuracy must have the same length, "
                f"found {epochs} and {len(self.val_accuracy)}"
            )
        if steps % epochs if epochs else steps:
            raise ValueError(
                f"losses must be as many for each of {epochs} epochs, found {steps} in all"
            )

    @property
    def best_epoch(self) -> int:
        """The first epoch (1 for the first) with the best validation accuracy."""
        return int(np.argmax(self.val_accuracy)) + 1


def make_train_step(model: Model) -> TrainStep:
    """Return the pure function that training folds over minibatches.

    Its loss is the softmax loss of the batch plus reg/2 · sum(W²) over every
    weight; its gradient is that of this loss. Biases are not regularized.

    Returns:
        train_step(params, batch, reg) -> (loss, grads), where batch is the pair
        x (N, D), labels (N,) and reg a finite number >= 0. It raises TypeError or
        ValueError for what does not fit.

    >>> from fnnet.models import linear_classifier
    >>> model = linear_classifier(2, 3)
    >>> params = {"W1": np.zeros((2, 3)), "b1": np.zeros(3)}
    >>> loss, grads = make_train_step(model)(params, (np.ones((4, 2)), np.array([0, 1, 2, 0])), 0.1)
    >>> round(loss, 6)  # log(3)
    1.098612
    """
    return partial(_train_step, check_type("model", model, Model))


def _train_step(model: Model, params: ParamsLike, batch: Batch, reg: float) -> tuple[float, Params]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError(f"batch must be a pair of x and labels, found {type(batch).__name__}")
    x, labels = batch
    reg = as_number("reg", reg, low=0)
    loss, grads = model.grad(params, x, partial(softmax_loss, labels=labels))
    return regularized(loss, grads, params, reg)


@np.errstate(all="ignore")
def regularized(
    loss: float, grads: ParamsLike, params: ParamsLike, reg: float
) -> tuple[float, Params]:
    """Add the L2 regularization of every weight, and of no bias, to a loss and its gradients."""
    total = dict(as_params(grads))
    for name in filter(is_weight, params):
        penalty, grad_w = l2_regularization(params[name], reg)
        loss += penalty
        grad_w += total[name]  # a new array of our own: in place saves a pass through memory
        total[name] = grad_w
    return loss, Params.owning(total)


def init_state(model: Model, optimizer: Optimizer, rng: np.random.Generator) -> TrainState:
    """Return the state before the first step."""
    params = model.init(rng)
    return TrainState(0, params, optimizer.init(params), math.nan)


def make_update(
    train_step: TrainStep, optimizer: Optimizer, reg: float
) -> Callable[[TrainState, Batch], TrainState]:
    """Return the pure function (state, batch) -> state: one train_step, one update.

    It raises DivergenceError when the loss or a score is NaN or infinite.
    """

    def step(state: TrainState, batch: Batch) -> TrainState:
        before = f", after {state.loss:.4g} at step {state.step}" if state.step else ""
        try:
            loss, grads = train_step(state.params, batch, reg)
        except NonFiniteError as error:
            reason = f"the loss is not finite{before} ({error})"
            raise DivergenceError(state.step + 1, reason) from None
        if not math.isfinite(loss):
            raise DivergenceError(state.step + 1, f"the loss is {loss}{before}")
        params, opt_state = optimizer.update(state.params, state.opt_state, grads)
        return TrainState(state.step + 1, params, opt_state, loss)

    return step


def fold(
    step: Callable[[TrainState, Batch], TrainState], state: TrainState, batches: Iterable[Batch]
) -> Iterator[TrainState]:
    """Yield the state after each batch, lazily: a batch is drawn when its state is asked for."""
    return itertools.islice(itertools.accumulate(batches, step, initial=state), 1, None)


def epochs(
    states: Iterable[TrainState],
    steps_per_epoch: int,
    evaluate: Callable[[Params], tuple[float, float]],
    history: History | None = None,
) -> Iterator[tuple[TrainState, History]]:
    """Yield the state and the history so far at the end of each epoch, lazily.

    Args:
        states: one for each step, as :func:`fold` yields them.
        steps_per_epoch: at least 1; states that do not fill an epoch yield nothing.
        evaluate: params -> (train accuracy, validation accuracy).
        history: what came before the first state; nothing by default.
    """
    steps_per_epoch = as_integer("steps_per_epoch", steps_per_epoch, low=1)
    history = History() if history is None else history
    states = iter(states)
    while True:
        losses: list[float] = []
        for state in itertools.islice(states, steps_per_epoch):
            losses.append(state.loss)
        if len(losses) < steps_per_epoch:
            return
        try:
            train_accuracy, val_accuracy = evaluate(state.params)
        except NonFiniteError as error:
            reason = f"the loss is {state.loss:.4g}, and then scores are not finite ({error})"
            raise DivergenceError(state.step, reason) from None
        history = History(
            np.append(history.losses, losses),
            np.append(history.train_accuracy, train_accuracy),
            np.append(history.val_accuracy, val_accuracy),
        )
        yield state, history
