"""Pictures of how far a classifier's probabilities and classes can be trusted."""

import numpy as np
from matplotlib.figure import Figure

from fnnet.checks import Array, as_labels, check_type
from fnnet.data.dataset import Dataset
from fnnet.plots.figures import BLUE, GRAY, LEGEND, ORANGE, checked_probabilities, tidy

BINS = 10
"""Intervals of the probability."""


@np.errstate(all="ignore")
def plot_calibration(scores: Array, dataset: Dataset) -> Figure:
    """Draw how often predictions are right, against how probable they say they are.

    The predictions are grouped by the probability of the predicted class. A well calibrated
    model lies on the diagonal. The title has the expected calibration error, the mean distance
    from it weighted by the number of examples (Guo et al. 2017, eq. 3). Below: how many examples.

    Args:
        scores: of the examples (N, C), finite.
        dataset: N examples of C classes; only their labels are used.

    Raises:
        TypeError: `scores` is not a floating array, or `dataset` not a Dataset.
        ValueError: `scores` has another shape or is not finite.
    """
    p = checked_probabilities(scores, dataset)
    confidence, is_right = p.max(axis=1), p.argmax(axis=1) == dataset.labels
    _, group = np.unique((BINS * confidence).clip(max=BINS - 1).astype(int), return_inverse=True)
    counts, sums, right = (np.bincount(group, w) for w in (None, confidence, is_right))
    error = 100 * np.sum(np.abs(right - sums)) / len(p)
    predicted, found = 100 * sums / counts, 100 * right / counts
    spread = np.sqrt(found * (100 - found) / counts)

    figure = Figure(figsize=(5, 5.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 100], [0, 100], color=GRAY, linestyle="--", label="perfectly calibrated")
    label = "this model ± standard error"
    upper.errorbar(predicted, found, spread, fmt="o-", color=BLUE, capsize=3, label=label)
    upper.set(xlim=(0, 100), ylim=(0, 102), ylabel="right predictions (%)")
    upper.set_title(f"Calibration: expected error {error:.1f} points")
    upper.legend(loc="upper left", **LEGEND)
    lower.hist(100 * confidence, BINS, range=(0, 100), color=BLUE, rwidth=0.9)
    lower.set(xlabel="probability of the predicted class (%)", ylabel="examples")
    for axes in (upper, lower):
        tidy(axes)
    return figure


@np.errstate(all="ignore")
def plot_classes(predicted: Array, dataset: Dataset) -> Figure:
    """Draw precision and recall of each class.

    Precision: of all predictions of this class, the share that is right. Recall: of all examples
    of this class, the share that is predicted as this class. A class that is never predicted has
    no precision, and a class without examples no recall.

    Args:
        predicted: labels (N,) that were predicted, integers in [0, C).
        dataset: N examples of C classes; only labels and class names are used.

    Raises:
        TypeError: `predicted` is not an array of integers, or `dataset` not a Dataset.
        ValueError: `predicted` has another length, or a label outside [0, C).
    """
    check_type("dataset", dataset, Dataset)
    names = dataset.class_names
    predicted = as_labels("predicted", predicted, len(dataset), len(names))
    right = np.bincount(predicted[predicted == dataset.labels], minlength=len(names))
    precision = 100 * right / np.bincount(predicted, minlength=len(names))
    recall = 100 * right / np.bincount(dataset.labels, minlength=len(names))
    places = np.arange(len(names))
    figure = Figure(figsize=(6, 1.8 + 0.3 * min(len(names), 100)), layout="constrained")
    axes = figure.subplots()
    axes.barh(places - 0.2, precision, 0.38, color=BLUE, label="precision")
    axes.barh(places + 0.2, recall, 0.38, color=ORANGE, label="recall")
    axes.set_yticks(places, names, parse_math=False, fontsize=10 if len(names) <= 30 else 5)
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="%")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    tidy(axes)
    return figure
