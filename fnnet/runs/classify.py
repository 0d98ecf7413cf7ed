"""From a checkpoint and new examples to classes and their probabilities."""

import numpy as np

from fnnet.checks import Array, Watch, as_array, check_type
from fnnet.data.augmentation import tta_views
from fnnet.data.dataset import Dataset
from fnnet.evaluation import predict_scores, probabilities
from fnnet.runs.checkpoint import Checkpoint
from fnnet.threads import use_threads


def classify(checkpoint: Checkpoint, images: Array, watch: Watch = iter) -> tuple[Array, Array]:
    """Return the class of each example, and the probabilities of all classes.

    The scores are averaged over the same views as in the evaluation of the run. They and the
    labels do not depend on the other examples, but for rounding.

    Args:
        checkpoint: what :func:`fnnet.load_checkpoint` returned.
        images: images (N, ...) uint8 or features (N, D), of the shape that the model was
            trained on.
        watch: passes the beginnings of blocks of examples on, and may show progress.

    Returns:
        labels (N,) int64, numbers in `checkpoint.class_names`; probabilities (N, C) float64.

    Raises:
        TypeError, ValueError: an argument has the wrong type, or the images have another shape.
    """
    check_type("checkpoint", checkpoint, Checkpoint)
    images = as_array("images", images)
    if images.ndim == 0:
        raise ValueError("images must have shape (N, ...), found ()")
    if len(images) == 0:
        checkpoint.preprocess(images)  # refuses another shape
        return np.empty(0, np.int64), np.empty((0, len(checkpoint.class_names)))
    names = checkpoint.class_names
    unlabelled = Dataset(images, np.zeros(len(images), np.int64), names, layout="channels_first")
    scores = scores_of(checkpoint, unlabelled, watch)
    return scores.argmax(axis=1), probabilities(scores.astype(np.float64))


def scores_of(checkpoint: Checkpoint, dataset: Dataset, watch: Watch = iter) -> Array:
    """Return the scores (N, C) of a dataset, averaged over the configured views."""
    config = checkpoint.config
    with use_threads(config.num_threads):
        return predict_scores(
            checkpoint.model,
            checkpoint.params,
            dataset,
            checkpoint.preprocess,
            views=tta_views(config.tta_flip, config.tta_shift),
            watch=watch,
        )
