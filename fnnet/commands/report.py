"""The pictures of a report: what can be drawn from a checkpoint alone, and from data."""

from pathlib import Path
from typing import Any

from tqdm import tqdm

from fnnet.checks import Array
from fnnet.data.dataset import Dataset
from fnnet.runs.checkpoint import Checkpoint

Figures = dict[str, Any]
"""Figures by the name of their file."""


def figures_of(checkpoint: Checkpoint) -> Figures:
    """Return the figures that need no data, by the name of their file."""
    from fnnet.plots import plot_history, plot_weights  # matplotlib is slow to import

    figures = {}
    if checkpoint.num_epochs:
        figures["history.png"] = plot_history(checkpoint.history)
    shape = checkpoint.preprocessing.shape
    if shape is not None and len(shape) > 1:
        figures["weights.png"] = plot_weights(checkpoint.params, checkpoint.preprocessing, shape)
    return figures


def figures_with(scores: Array, dataset: Dataset) -> Figures:
    """Return the figures of what a model says of data, by the name of their file."""
    from fnnet import plots

    predicted = scores.argmax(axis=1)
    figures = {
        "confusion.png": plots.plot_confusion(predicted, dataset),
        "classes.png": plots.plot_classes(predicted, dataset),
        "calibration.png": plots.plot_calibration(scores, dataset),
    }
    if dataset.images.ndim > 2:
        figures["mistakes.png"] = plots.plot_mistakes(scores, dataset)
        figures["predictions.png"] = plots.plot_predictions(scores, dataset)
    return figures


def write_report(folder: Path, figures: Figures) -> str:
    """Write figures into a folder, and return a line that names them."""
    from fnnet.plots import save

    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in tqdm(figures.items(), "pictures", leave=False, disable=None):
        save(figure, folder / name)
    return f"wrote {', '.join(figures)} to {folder}"
