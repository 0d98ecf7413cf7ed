"""Pictures of what a classifier says of images: its confusions, mistakes and predictions."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fnnet.checks import Array, as_integer, as_labels, check_type
from fnnet.data.dataset import Dataset
from fnnet.plots.figures import (
    MAX_IMAGES,
    check_image_shape,
    checked_probabilities,
    draw_sheet,
    short,
)

FEW_CLASSES = 20
"""With more classes than this, the cells of a confusion matrix are too small for numbers."""
MANY_CLASSES = 100
"""With more classes than this, only some names are written."""


@np.errstate(all="ignore")
def plot_confusion(predicted: Array, dataset: Dataset) -> Figure:
    """Draw how often the images of each class were predicted as each class.

    Row: the true class. Column: the predicted class. A cell is the percentage of the images
    of the true class. It is empty if there is no such image, so 0 means some,
    but at most half a percent. With more than 20 classes, colors alone show the numbers.

    Args:
        predicted: labels (N,) that were predicted for the images, integers in [0, C).
        dataset: N images of C classes; only their labels and class names are used.

    Raises:
        TypeError: `predicted` is not an array of integers, or `dataset` not a Dataset.
        ValueError: `predicted` has another length, or a label outside [0, C).
    """
    check_type("dataset", dataset, Dataset)
    names = dataset.class_names
    num_classes = len(names)
    predicted = as_labels("predicted", predicted, len(dataset), num_classes)
    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, (dataset.labels, predicted), 1)
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    side = min(max(4.5, 2.5 + 0.5 * num_classes), 16.0)  # inches, with room for the title
    colorbar = 1.5 if num_classes > FEW_CLASSES else 0
    figure = Figure(figsize=(side + colorbar, side), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    if num_classes <= FEW_CLASSES:
        for (row, column), value in np.ndenumerate(percent):
            if counts[row, column]:
                color = "white" if value > 55 else "black"
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=color)
    else:
        figure.colorbar(picture, label="% of the true class", shrink=0.7)
    _name_classes(axes, names)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title("Confusion (% of the true class)")
    axes.spines[:].set_visible(False)
    return figure


def _name_classes(axes: Axes, names: tuple[str, ...]) -> None:
    """Write class names at the axes, as many as there is room for."""
    shown = range(0, len(names), math.ceil(len(names) / MANY_CLASSES))
    texts = [names[i] for i in shown]
    size = 10 if len(names) <= FEW_CLASSES else 6
    axes.set_xticks(shown, texts, fontsize=size, parse_math=False)
    if size == 6 or max(map(len, names)) > 3:  # names side by side would overlap
        for label in axes.get_xticklabels():
            label.set(rotation=45 if size == 10 else 90, rotation_mode="anchor")
            label.set(horizontalalignment="right", verticalalignment="center")
    axes.set_yticks(shown, texts, fontsize=size, parse_math=False)


@np.errstate(all="ignore")
def plot_mistakes(scores: Array, dataset: Dataset, number: int = 40) -> Figure:
    """Draw the wrong predictions that the model is surest of, the surest first.

    Above each image: the predicted class with its probability, and the true class.

    Args:
        scores: of the images (N, C), finite.
        dataset: N images of C classes; (height, width), (1, height, width) or
            (3, height, width). The largest byte of all images is drawn white.
        number: how many at most, in [1, 1000].

    Raises:
        TypeError: an argument is of another type.
        ValueError: `scores` has another shape or is not finite, the images have another
            shape, or `number` is out of its range.
    """
    p, number = _checked(scores, dataset, number)
    predicted = p.argmax(axis=1)
    wrong = np.flatnonzero(predicted != dataset.labels)
    surest = wrong[np.argsort(-p[wrong, predicted[wrong]], kind="stable")][:number]
    if not surest.size:
        figure = Figure(figsize=(6, 1.5), layout="constrained")
        figure.text(
            0.5, 0.5, f"No mistakes: all {len(dataset)} predictions are right",
            ha="center", va="center",
        )  # fmt: skip
        return figure
    heading = f"Mistakes: the surest {len(surest)} of {len(wrong)}"
    return _sheet(p, dataset, surest, False, heading)


@np.errstate(all="ignore")
def plot_predictions(scores: Array, dataset: Dataset, number: int = 40) -> Figure:
    """Draw the first images with what is predicted for them.

    Above each image: the predicted class with its probability. A wrong prediction is red,
    has a frame, and the true class below it.

    Args:
        scores, dataset, number: as of :func:`plot_mistakes`.

    Raises:
        TypeError, ValueError: as :func:`plot_mistakes` does.
    """
    p, number = _checked(scores, dataset, number)
    heading = "Predictions and their probabilities; wrong ones have a frame"
    return _sheet(p, dataset, np.arange(min(number, len(dataset))), True, heading)


def _checked(scores: Array, dataset: Dataset, number: int) -> tuple[Array, int]:
    """Return the probabilities of the scores, and how many images to draw."""
    check_type("dataset", dataset, Dataset)
    check_image_shape("the shape of the images of dataset", dataset.images.shape[1:])
    p = checked_probabilities(scores, dataset)
    return p, as_integer("number", number, 1, MAX_IMAGES)


def _sheet(p: Array, dataset: Dataset, chosen: Array, framed: bool, heading: str) -> Figure:
    """Draw the chosen images with their predictions; `framed` puts a frame on wrong ones."""
    names, labels = dataset.class_names, dataset.labels[chosen]
    predicted = p[chosen].argmax(axis=1)
    wrong = predicted != labels
    titles = [
        f"{short(names[guess])}: {p[i, guess]:.0%}\n"
        + f"true: {short(names[label])}" * bool(is_wrong)
        for i, guess, label, is_wrong in zip(chosen, predicted, labels, wrong, strict=True)
    ]
    white = max(1, int(dataset.images.max()))  # 255 in most datasets, 16 in the digits
    images = [dataset.images[i] / white for i in chosen]
    return draw_sheet(images, titles, [bool(w) and framed for w in wrong], 1.5, heading)
