"""Pictures of a run. The only module that imports matplotlib, without its global state."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fnnet.checks import Array
from fnnet.files import atomic_write
from fnnet.training import History

LOSS_COLOR = "#4878a8"
TRAIN_COLOR = "#4878a8"
VAL_COLOR = "#d1605e"


def plot_history(history: History, path: str | Path) -> None:
    """Draw the loss of every step, and the accuracy of every epoch, against epochs.

    Args:
        history: of at least one epoch.
        path: the file to write, .pdf or .png; the same history gives the same bytes.

    Raises:
        ValueError: the history is empty or the ending is another.
        OSError: the file cannot be written.
    """
    path = Path(path)
    num_epochs = len(history.val_accuracy)
    if num_epochs == 0:
        raise ValueError("history must have at least one epoch, found none")
    if path.suffix.lower() not in (".pdf", ".png"):
        raise ValueError(f"path must end in .pdf or .png, found {path}")
    steps_per_epoch = len(history.losses) // num_epochs

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss_axes, accuracy_axes = figure.subplots(1, 2)

    at = np.arange(1, len(history.losses) + 1) / steps_per_epoch
    loss_axes.plot(at, history.losses, color=LOSS_COLOR, alpha=0.25, linewidth=0.6, label="step")
    smooth = moving_average(history.losses, max(1, steps_per_epoch // 2))
    loss_axes.plot(at[len(at) - len(smooth) :], smooth, color=LOSS_COLOR, label="mean of ½ epoch")
    top = np.quantile(history.losses, 0.995) * 1.1
    loss_axes.set(xlabel="epoch", ylabel="loss", title="Training loss", xlim=(0, num_epochs))
    loss_axes.set_ylim(0, top if top > 0 else 1)
    loss_axes.legend(frameon=False)

    epochs = np.arange(1, num_epochs + 1)
    marker = "o" if num_epochs <= 30 else None
    for name, values, color in (
        ("train", history.train_accuracy, TRAIN_COLOR),
        ("validation", history.val_accuracy, VAL_COLOR),
    ):
        percent = 100 * np.array(values)
        accuracy_axes.plot(epochs, percent, color=color, marker=marker, markersize=3.5, label=name)
    accuracy_axes.set(xlabel="epoch", ylabel="accuracy (%)", title="Accuracy")
    accuracy_axes.set_xlim(0, num_epochs * 1.02)
    accuracy_axes.legend(frameon=False, loc="lower right")

    for axes in (loss_axes, accuracy_axes):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def moving_average(values: Array, window: int) -> Array:
    """Return the mean of each `window` consecutive values (N,) -> (N - window + 1,)."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    return np.asarray((sums[window:] - sums[:-window]) / window)


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the format of the file's ending, without the date."""
    kind = path.suffix.lower().removeprefix(".")
    metadata = {"CreationDate": None} if kind == "pdf" else {}
    with atomic_write(path) as file:
        figure.savefig(file, format=kind, dpi=150, metadata=metadata)
