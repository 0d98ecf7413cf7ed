"""What a run has to show: the losses of its steps, and the accuracies of its epochs."""

import numpy as np
from attrs import field, frozen

from fnnet.checks import Array, as_float_array, check_finite
from fnnet.values import Rebuilt, by_content, lock

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
            ValueError: the history is empty.
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

    @np.errstate(all="ignore")
    def _means(self, column: Array) -> Array:
        epochs = len(self.val_accuracy)
        steps = len(column) // max(1, epochs)
        if not steps:
            return np.full(epochs, np.nan)
        # Divided before they are summed: the mean of finite losses is finite.
        return np.asarray((column.reshape(epochs, steps) / steps).sum(axis=1))
