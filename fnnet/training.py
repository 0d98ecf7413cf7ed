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
    as_integer,
    as_number,
    check_type,
)
from fnnet.history import History as History
from fnnet.losses import l2_regularization, softmax_loss
from fnnet.models import Model, is_weight
from fnnet.optim import Optimizer
from fnnet.values import Params, ParamsLike, as_params

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
