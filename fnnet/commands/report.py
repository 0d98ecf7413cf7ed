"""The pictures of a report: what can be drawn from a checkpoint alone, and from data."""

from pathlib import Path

from tqdm import tqdm

from fnnet.checks import Array
from fnnet.data.dataset import Dataset
from fnnet.runs.checkpoint import Checkpoint


def write_report(
    folder: Path, checkpoint: Checkpoint, scored: tuple[Array, Dataset] | None = None
) -> str:
    """Draw a model, and if there are data what it says of them; return a line that names the files.

    Args:
        folder: where the pictures go; it is made.
        checkpoint: the model and its history.
        scored: its scores of data, and the data.
    """
    from fnnet import plots  # matplotlib is slow to import

    figures, fitted = {}, checkpoint.preprocessing
    if scored is not None:
        scores, dataset = scored
        predicted = scores.argmax(axis=1)
        figures["confusion.png"] = plots.plot_confusion(predicted, dataset)
        figures["classes.png"] = plots.plot_classes(predicted, dataset)
        figures["calibration.png"] = plots.plot_calibration(scores, dataset)
        if dataset.images.ndim > 2:
            figures["mistakes.png"] = plots.plot_mistakes(scores, dataset)
            figures["predictions.png"] = plots.plot_predictions(scores, dataset)
    if checkpoint.num_epochs:
        figures["history.png"] = plots.plot_history(checkpoint.history)
    if fitted.shape is not None and len(fitted.shape) > 1:
        figures["weights.png"] = plots.plot_weights(checkpoint.params, fitted, fitted.shape)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in tqdm(figures.items(), "pictures", leave=False, disable=None):
        plots.save(figure, folder / name)
    return f"wrote {', '.join(figures)} to {folder}"
