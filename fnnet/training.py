"""Training as a lazy fold of a pure step over a stream of minibatches.

    step    = make_step(make_train_step(model), optimizer, reg)
    states  = fold(step, init_state(model, optimizer, rng), batches)    # lazy
    results = epochs(states, steps_per_epoch, evaluate)                 # lazy

Progress bars, printing, early stopping and checkpoints are consumers of these
streams; nothing in here knows of them.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from attrs import Attribute, field, frozen
from attrs.validators import and_, ge, instance_of, le

from fnnet.augmentation import View
from fnnet.checks import (
    Array,
    NonFiniteError,
    finite,
    float_array,
    function,
    instance,
    integer,
    lock,
    plain_array,
    read_only,
    real,
)
from fnnet.datasets import Dataset, num_batches
from fnnet.layers import WeightGradient
from fnnet.losses import l2_regularization, regularization_loss, softmax_loss
from fnnet.models import Grads, Model, Params, is_weight, unevaluated
from fnnet.optim import Optimizer
from fnnet.threads import spread

Batch = tuple[Array, Array]
"""x (N, D) and labels (N,)."""

TrainStep = Callable[[Params, Batch, float], tuple[float, Params]]
"""params, batch, reg -> (loss, grads)."""


class DivergenceError(ArithmeticError):
    """The loss or a score became NaN or infinite: training cannot go on."""

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(step, reason)
        self.step = step
        """The step (1 for the first) whose loss, or whose result, is not finite."""
        self.reason = reason

    def __str__(self) -> str:
        return f"training diverged at step {self.step}: {self.reason}"


@frozen(eq=False)
class TrainState:
    """Where training stands after some steps: all that the next step depends on."""

    step: int
    """How many steps were taken."""
    params: Params
    opt_state: Any
    loss: float
    """Loss, regularization included, of the last step's batch before its update; NaN at step 0."""


fraction: Any = and_(instance_of(float), ge(0), le(1))
"""Validator of an accuracy."""


def _column(axis: str, _: object, attribute: "Attribute[Any]", values: object) -> None:
    finite(attribute.name, float_array(attribute.name, values, (axis,)))


def _nothing() -> Array:
    return np.empty(0)


def _fractions(_: object, attribute: "Attribute[Any]", values: Array) -> None:
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"{attribute.name} must be numbers in [0, 1], one for each epoch")


@frozen(eq=False)
class History:
    """What a run has to show: a loss for each step, accuracies for each epoch."""

    losses: Array = field(factory=_nothing, validator=partial(_column, "steps"))
    """(steps,) float64."""
    train_accuracy: Array = field(
        factory=_nothing, validator=[partial(_column, "epochs"), _fractions]
    )
    """(epochs,) float64: fraction of training examples that are right after each epoch."""
    val_accuracy: Array = field(
        factory=_nothing, validator=[partial(_column, "epochs"), _fractions]
    )
    """(epochs,) float64: fraction of validation examples that are right after each epoch."""

    def __attrs_post_init__(self) -> None:
        for name in ("losses", "train_accuracy", "val_accuracy"):
            column = getattr(self, name)
            if column.flags.writeable or column.dtype != np.float64:
                object.__setattr__(self, name, lock(column.astype(np.float64)))
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
    instance("model", model, Model)

    def train_step(params: Params, batch: Batch, reg: float) -> tuple[float, Params]:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(f"batch must be a pair of x and labels, found {type(batch).__name__}")
        x, labels = batch
        reg = real("reg", reg, low=0)
        loss, grads = model.grad(params, x, partial(softmax_loss, labels=labels))
        total = {name: unevaluated(grads, name) for name in grads}
        for name in filter(is_weight, params):
            w, gradient = params[name], total[name]
            loss += regularization_loss(w, reg)
            total[name] = (
                WeightGradient(gradient.x, gradient.grad_y, w, reg)
                if isinstance(gradient, WeightGradient)
                else gradient + l2_regularization(w, reg)[1]
            )
        return loss, Grads(total)

    return train_step


def init_state(model: Model, optimizer: Optimizer, rng: np.random.Generator) -> TrainState:
    """Return the state before the first step."""
    params = model.init(rng)
    return TrainState(0, params, optimizer.init(params), math.nan)


def make_step(
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
    steps_per_epoch = integer("steps_per_epoch", steps_per_epoch, low=1)
    history = History() if history is None else history
    columns = [history.losses, history.train_accuracy, history.val_accuracy]
    lengths = [len(column) for column in columns]
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
        for i, new in enumerate((losses, [train_accuracy], [val_accuracy])):
            columns[i] = _appended(columns[i], lengths[i], new)
            lengths[i] += len(new)
        yield state, History(*map(_first, columns, lengths))


def _first(column: Array, number: int) -> Array:
    return read_only(column[:number])


def _appended(column: Array, length: int, new: Sequence[float]) -> Array:
    """Return an array that begins with the first numbers of the column and the new ones.

    It is the column itself as long as there is room: numbers once written stay, so the
    histories that share it never change, and a long run copies none of them every epoch.
    """
    end = length + len(new)
    if end > len(column):
        column = np.concatenate([column[:length], np.empty(end)])
    column[length:end] = new
    return column


def predict(model: Model, params: Params, x: Array) -> Array:
    """Return the class with the largest score for each example, the first one of a tie.

    Args:
        model, params: the classifier.
        x: inputs (N, D).

    Returns:
        labels (N,) int64.

    Raises:
        TypeError, ValueError: as `model.apply` does.
    """
    return np.asarray(instance("model", model, Model).apply(params, x).argmax(axis=1))


def score_dataset(
    model: Model,
    params: Params,
    dataset: Dataset,
    preprocess: Callable[[Array], Array],
    batch_size: int = 500,
    views: Sequence[View] = (np.asarray,),
) -> Array:
    """Return the scores of each image of a dataset, in blocks of `batch_size`.

    Args:
        model, params: the classifier.
        dataset: N images and, unused here, their labels.
        preprocess: images (n, ...) uint8 -> inputs (n, D).
        batch_size: how many images to convert at a time; bounds the memory.
        views: ways to look at the images (:func:`fnnet.augmentation.views`), at least
            one; the result is the mean of their scores.

    Returns:
        scores (N, C). Nothing random is drawn.

    Raises:
        TypeError, ValueError: the images do not fit the model, `batch_size` is below 1, or
            there are no views.
    """
    instance("model", model, Model)
    instance("dataset", dataset, Dataset)
    function("preprocess", preprocess)
    batch_size = integer("batch_size", batch_size, low=1)
    if not isinstance(views, Sequence) or not views or not all(map(callable, views)):
        raise ValueError(f"views must be a sequence of at least one function, found {views!r}")
    blocks: dict[int, Array] = {}

    def score(numbers: slice) -> None:
        for i in range(numbers.start, numbers.stop):
            images = dataset.images[i * batch_size : (i + 1) * batch_size]
            scores = [model.apply(params, preprocess(view(images))) for view in views]
            blocks[i] = np.asarray(sum(scores) / len(views))

    # A thread works on whole blocks: it waits for no other until the end.
    num_blocks = num_batches(dataset, batch_size)
    spread(score, num_blocks, dataset.images.size)
    return np.concatenate([blocks[i] for i in range(num_blocks)])


def accuracy(predicted: Array, labels: Array) -> float:
    """Return the fraction of the labels (N,) that were predicted.

    Raises:
        TypeError: an argument is no array of integers.
        ValueError: the shapes differ, or there are no labels.

    >>> accuracy(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0]))
    0.75
    """
    labels = plain_array("labels", labels, ("N",))
    predicted = plain_array("predicted", predicted, labels.shape)
    for name, array in (("predicted", predicted), ("labels", labels)):
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name} must be integers, found {array.dtype}")
    if labels.size == 0:
        raise ValueError("labels must not be empty")
    return float(np.mean(predicted == labels))
