"""Training as a lazy fold of a pure step over a stream of minibatches.

    step    = make_update(make_train_step(model), optimizer, reg)
    states  = fold(step, init_state(model, optimizer, rng), batches)    # lazy
    results = epochs(states, steps_per_epoch, evaluate)                 # lazy

Progress bars, printing, early stopping and checkpoints are consumers of these
streams; nothing in here knows of them.
"""

import itertools
import math
from collections.abc import Callable, Generator, Iterable, Iterator
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
    data_loss: float = field(default=math.nan, eq=repr)
    """The same without the regularization."""


NOTHING = lock(np.empty(0))


@frozen
class History(Rebuilt):
    """What a run has to show: losses of each step; accuracies and a loss of each epoch.

    Raises:
        TypeError, ValueError: a column has another length or a number out of its range.
    """

    losses: Array = field(default=NOTHING, eq=by_content)
    """(steps,) float64: loss of each step's batch, regularization included."""
    train_accuracy: Array = field(default=NOTHING, eq=by_content)
    """(epochs,) float64: fraction of training examples that are right after each epoch."""
    val_accuracy: Array = field(default=NOTHING, eq=by_content)
    """(epochs,) float64: fraction of validation examples that are right after each epoch."""
    data_losses: Array = field(default=NOTHING, eq=by_content)
    """(steps,) float64: loss of each step's batch without regularization; NaN if not recorded."""
    val_loss: Array = field(default=NOTHING, eq=by_content)
    """(epochs,) float64: loss of the validation examples after each epoch, without
    regularization; NaN if not recorded."""

    def __attrs_post_init__(self) -> None:
        for name, axis in (
            ("losses", "steps"), ("train_accuracy", "epochs"), ("val_accuracy", "epochs")
        ):  # fmt: skip
            column = as_float_array(name, getattr(self, name), (axis,))
            check_finite(name, column)
            if axis == "epochs" and (wrong := column[(column < 0) | (column > 1)].tolist()):
                raise ValueError(f"{name} must lie in [0, 1], found {wrong[0]}")
            object.__setattr__(self, name, lock(column.astype(np.float64)))
        steps, epochs = len(self.losses), len(self.train_accuracy)
        if len(self.val_accuracy) != epochs:
            raise ValueError(
                f"train_accuracy and val_accuracy must have the same length, "
                f"found {epochs} and {len(self.val_accuracy)}"
            )
        if steps % epochs if epochs else steps:
            raise ValueError(
                f"the number of losses must be a multiple of the number of epochs, {epochs}, "
                f"found {steps}"
            )
        for name, length in (("data_losses", steps), ("val_loss", epochs)):
            column = as_float_array(name, getattr(self, name), ("N",)).astype(np.float64)
            column = column if len(column) else np.full(length, np.nan)
            if len(column) != length:
                raise ValueError(f"{name} must have {length} numbers, found {len(column)}")
            if np.isinf(column).any():
                raise ValueError(f"{name} must be finite or NaN, found an infinity")
            object.__setattr__(self, name, lock(column))

    @property
    def best_epoch(self) -> int:
        """The first epoch (1 for the first) with the best validation accuracy.

        Raises:
            ValueError: there is no epoch.
        """
        if not len(self.val_accuracy):
            raise ValueError("history must have at least one epoch, found none")
        return int(np.argmax(self.val_accuracy)) + 1

    def is_stuck(self, patience: int | None) -> bool:
        """Tell whether the validation accuracy has not improved for `patience` epochs."""
        epochs = len(self.val_accuracy)
        return patience is not None and epochs > 0 and epochs - self.best_epoch >= patience

    @property
    def data_loss(self) -> Array:
        """(epochs,) Mean data loss of each epoch's steps."""
        return self._means(self.data_losses)

    @property
    def regularization(self) -> Array:
        """(epochs,) Mean regularization of each epoch's steps: the loss minus the data loss."""
        return self._means(self.losses - self.data_losses)

    def _means(self, column: Array) -> Array:
        epochs = len(self.val_accuracy)
        return column.reshape(epochs, -1).mean(axis=1) if epochs else column


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
    if reg == 0:
        return loss, as_params(grads)
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
        before = f" (it was {state.loss:.4g} at step {state.step})" if state.step else ""
        try:
            # Without reg it is the data loss; the regularization is added apart, to record both.
            data_loss, grads = train_step(state.params, batch, 0.0)
            loss, grads = regularized(data_loss, grads, state.params, reg)
        except NonFiniteError as error:
            reason = f"the loss is not finite{before}: {error}"
            raise DivergenceError(state.step + 1, reason) from None
        if not math.isfinite(loss):
            raise DivergenceError(state.step + 1, f"the loss is {loss}{before}")
        params, opt_state = optimizer.update(state.params, state.opt_state, grads)
        return TrainState(state.step + 1, params, opt_state, loss, data_loss)

    return step


def fold(
    step: Callable[[TrainState, Batch], TrainState], state: TrainState, batches: Iterable[Batch]
) -> Iterator[TrainState]:
    """Yield the state after each batch, lazily: a batch is drawn when its state is asked for."""
    return itertools.islice(itertools.accumulate(batches, step, initial=state), 1, None)


def epochs(
    states: Iterable[TrainState],
    steps_per_epoch: int,
    evaluate: Callable[[Params], tuple[float, float, float]],
    history: History | None = None,
) -> Generator[tuple[TrainState, History]]:
    """Yield the state and the history so far at the end of each epoch, lazily.

    Args:
        states: one for each step, as :func:`fold` yields them.
        steps_per_epoch: at least 1; an incomplete last epoch is dropped.
        evaluate: params -> (train accuracy, validation accuracy, validation loss).
        history: what came before the first state; nothing by default.
    """
    steps_per_epoch = as_integer("steps_per_epoch", steps_per_epoch, low=1)
    history = History() if history is None else history
    states = iter(states)
    while True:
        steps: list[tuple[float, float]] = []
        for state in itertools.islice(states, steps_per_epoch):
            steps.append((state.loss, state.data_loss))
        if len(steps) < steps_per_epoch:
            return
        try:
            train_accuracy, val_accuracy, val_loss = evaluate(state.params)
        except NonFiniteError as error:
            reason = f"the loss was {state.loss:.4g}, but then scores are not finite: {error}"
            raise DivergenceError(state.step, reason) from None
        losses, data_losses = zip(*steps, strict=True)
        history = History(
            np.append(history.losses, losses),
            np.append(history.train_accuracy, train_accuracy),
            np.append(history.val_accuracy, val_accuracy),
            np.append(history.data_losses, data_losses),
            np.append(history.val_loss, val_loss),
        )
        yield state, history
