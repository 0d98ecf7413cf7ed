"""Pictures of a run. The only module that imports matplotlib, without its global state."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from fnnet.checks import Array, as_picture_path
from fnnet.data.dataset import Dataset
from fnnet.data.preprocessing import Preprocessing, Whitening
from fnnet.files import atomic_write
from fnnet.search.halving import Result
from fnnet.search.space import Choice, LogUniform, Space
from fnnet.training import History
from fnnet.values import ParamsLike

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
    path = as_picture_path("path", path)
    num_epochs = len(history.val_accuracy)
    if num_epochs == 0:
        raise ValueError("history must have at least one epoch, found none")
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


def plot_search(
    ranking: Sequence[Result], settings: Sequence[Mapping[str, Any]], space: Space, path: Path
) -> None:
    """Draw the accuracy of each trial against each setting, and the learning curves.

    Args:
        ranking: of at least one trial, the best first (:func:`fnnet.search.rank`).
        settings: the values of each trial.
        space: their ranges.
        path: the file to write, .pdf or .png.
    """
    names = sorted(space.ranges)
    columns = 2 if len(names) in (1, 3) else 3  # two or four panels make a rectangle
    rows = -(-(len(names) + 1) // columns)
    figure = Figure(figsize=(4 * columns, 3.2 * rows), layout="constrained")
    panels: list[Axes] = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    heights = sorted({result.epochs for result in ranking})
    # Trained longest: darkest. Those that diverged stand at 0.
    shades = {n: 0.25 + 0.75 * (i + 1) / len(heights) for i, n in enumerate(heights)}
    for axes, name in zip(panels, names, strict=False):
        values = space.ranges[name]
        shown = [settings[result.trial][name] for result in ranking]
        if isinstance(values, Choice):
            shown = [values.values.index(value) for value in shown]
            axes.set_xticks(range(len(values.values)), map(str, values.values))
        elif isinstance(values, LogUniform):
            axes.set_xscale("log")
            ticks = (1, 3) if values.high > 50 * values.low else (1, 2, 5)
            axes.xaxis.set_major_locator(LogLocator(subs=ticks, numticks=6))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(name)
        for result, value in zip(ranking, shown, strict=True):
            axes.scatter(
                value, 100 * max(0, result.score), s=24, alpha=shades[result.epochs],
                color=TRAIN_COLOR, marker="x" if result.diverged else "o",
            )  # fmt: skip
    for result in ranking:
        curve = 100 * np.array(result.val_accuracy)
        panels[len(names)].plot(
            range(1, len(curve) + 1), curve, linewidth=1,
            color=TRAIN_COLOR, alpha=shades[result.epochs],
        )  # fmt: skip
    panels[len(names)].set(xlabel="epoch")
    best = ranking[0]
    if not best.diverged:
        for axes, name in zip(panels, names, strict=False):
            value, values = settings[best.trial][name], space.ranges[name]
            at = values.values.index(value) if isinstance(values, Choice) else value
            axes.scatter(at, 100 * best.score, s=40, color=VAL_COLOR, zorder=3)
        curve = 100 * np.array(best.val_accuracy)
        label = f"trial {best.trial}, the best"
        panels[len(names)].plot(range(1, len(curve) + 1), curve, color=VAL_COLOR, label=label)
        panels[len(names)].legend(frameon=False, loc="lower right")
    for axes in panels[len(names) + 1 :]:
        axes.set_axis_off()
    for axes in panels:
        axes.set_ylabel("validation accuracy (%)")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def plot_confusion(predicted: Array, dataset: Dataset, path: Path) -> None:
    """Draw how often each class (row) was taken for each other (column), in percent of its images.

    Args:
        predicted: labels (N,) of the dataset's images.
        dataset: the images and what they are.
        path: the file to write, .pdf or .png.
    """
    names = dataset.class_names
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, (dataset.labels, predicted), 1)
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(percent):
        color = "white" if value > 55 else "black"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true", title="Confusion (% of the true class)")
    axes.spines[:].set_visible(False)
    save(figure, path)


def plot_mistakes(scores: Array, dataset: Dataset, path: Path, number: int = 40) -> None:
    """Draw the wrong predictions that the model was surest of, the surest first."""
    p = softmax(scores)
    predicted = p.argmax(axis=1)
    wrong = np.flatnonzero(predicted != dataset.labels)
    chosen = wrong[np.argsort(-p[wrong, predicted[wrong]], kind="stable")][:number]
    _sheet(p, dataset, chosen, path, "The surest mistakes: predicted (true)")


def plot_predictions(scores: Array, dataset: Dataset, path: Path, number: int = 40) -> None:
    """Draw the first images with what was predicted, wrong predictions in red."""
    chosen = np.arange(min(number, len(dataset)))
    _sheet(softmax(scores), dataset, chosen, path, "Predictions: wrong ones in red (true)")


def plot_weights(
    params: ParamsLike,
    fitted: Preprocessing,
    image_shape: tuple[int, ...],
    path: Path,
    number: int = 64,
) -> None:
    """Draw what each hidden unit (or class) looks for: the strongest columns of W1 as images.

    The weights are mapped back through the preprocessing, and each is scaled to its own
    largest pixel; gray is 0.
    """
    w = params["W1"]
    strongest = np.sort(np.argsort(-np.square(w).sum(axis=0), kind="stable")[:number])
    if isinstance(fitted, Whitening):
        pixels = fitted.matrix @ w[:, strongest]
        *channels, height, width = image_shape
        image_shape = (*channels, height // fitted.pool, width // fitted.pool)
    else:
        pixels = w[:, strongest] / fitted.std[:, None]
    pixels = 0.5 + 0.5 * pixels / np.maximum(np.abs(pixels).max(axis=0), 1e-30)
    images = pixels.T.reshape(-1, *image_shape)
    figure, panels = _panels(len(images), 8, 1.0, "First-layer weights as images")
    for axes, image in zip(panels, images, strict=False):
        _show(axes, image)
    save(figure, path)


def softmax(scores: Array) -> Array:
    """Return the probabilities (N, C) that the scores stand for."""
    exp = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=1, keepdims=True))


def _sheet(p: Array, dataset: Dataset, chosen: Array, path: Path, title: str) -> None:
    figure, panels = _panels(len(chosen), 8, 1.5, title)
    names = dataset.class_names
    for axes, i in zip(panels, chosen, strict=False):
        _show(axes, dataset.images[i] / max(1, int(dataset.images.max())))
        predicted, label = int(p[i].argmax()), int(dataset.labels[i])
        text = f"{names[predicted]} {p[i, predicted]:.0%}"
        wrong = predicted != label
        axes.set_title(
            f"{text}\n({names[label]})" if wrong else f"{text}\n",
            fontsize=7.5, color=VAL_COLOR if wrong else "black", pad=2,
        )  # fmt: skip
    save(figure, path)


def _panels(number: int, columns: int, size: float, title: str) -> tuple[Figure, Sequence[Axes]]:
    rows = max(1, -(-number // columns))
    figure = Figure(figsize=(columns * size, rows * size + 0.4), layout="constrained")
    panels: list[Axes] = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in panels:
        axes.set_axis_off()
    figure.suptitle(title, fontsize=11)
    return figure, panels


def _show(axes: Axes, image: Array) -> None:
    """Show an image (height, width) or (3, height, width) of values in [0, 1]."""
    if image.ndim == 3:
        image = image.transpose(1, 2, 0)
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


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
