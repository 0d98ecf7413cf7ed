"""What a trained model says of data: predictions, scores of whole datasets, accuracy."""

from collections.abc import Callable, Sequence

import numpy as np

from fnnet.checks import (
    Array,
    Watch,
    as_array,
    as_float_array,
    as_integer,
    check_callable,
    check_finite,
    check_type,
    widened,
)
from fnnet.data.augmentation import View
from fnnet.data.dataset import Dataset
from fnnet.losses import below_max
from fnnet.models import Model
from fnnet.values import ParamsLike


def predict(model: Model, params: ParamsLike, x: Array) -> Array:
    """Return the class with the largest score for each example, the first one of a tie.

    Args:
        model, params: the classifier.
        x: inputs (N, D).

    Returns:
        labels (N,) int64.

    Raises:
        TypeError, ValueError: as `model.apply` does.
    """
    return np.asarray(check_type("model", model, Model).apply(params, x).argmax(axis=1))


@np.errstate(all="ignore")
def probabilities(scores: Array) -> Array:
    """Return the softmax of each row: p[j] = exp(s[j]) / sum over k of exp(s[k]).

    The row's largest score is subtracted first, which changes no p and keeps every
    exponential at most 1. The arithmetic is at least float64, whatever the dtype.

    Args:
        scores: unnormalized log-probabilities (N, C), finite.

    Returns:
        probabilities (N, C) in the dtype of `scores`; each row sums to 1.

    Raises:
        TypeError: `scores` is not a floating array.
        ValueError: `scores` has another number of axes, C is 0, or a score is not finite.

    >>> probabilities(np.array([[1000.0, 1000.0], [0.0, -1000.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    scores = as_float_array("scores", scores, ("N", "C"))
    if scores.shape[1] == 0:
        raise ValueError(f"scores must have at least one class, found shape {scores.shape}")
    check_finite("scores", scores)
    below = below_max(scores)
    exp = np.exp(below, out=below)
    exp /= exp.sum(axis=0)
    return exp.T.astype(scores.dtype, order="C")


def predict_scores(
    model: Model,
    params: ParamsLike,
    dataset: Dataset,
    preprocess: Callable[[Array], Array],
    batch_size: int = 500,
    views: Sequence[View] = (np.asarray,),
    watch: Watch = iter,
) -> Array:
    """Return the scores of each example of a dataset, in blocks of `batch_size`.

    Args:
        model, params: the classifier.
        dataset: N examples and, unused here, their labels.
        preprocess: images or features (n, ...) -> inputs (n, D).
        batch_size: how many examples to convert at a time; bounds the memory.
        views: ways to look at the images (:func:`fnnet.data.augmentation.tta_views`), at least
            one; the result is the mean of their scores.
        watch: passes the beginnings of the blocks on, and may show progress, such as ``tqdm``.

    Returns:
        scores (N, C). Nothing random is drawn.

    Raises:
        TypeError, ValueError: the images do not fit the model, `batch_size` is below 1, or
            `views` is empty.
    """
    check_type("model", model, Model)
    check_type("dataset", dataset, Dataset)
    check_callable("preprocess", preprocess)
    batch_size = as_integer("batch_size", batch_size, low=1)
    if not isinstance(views, Sequence) or not views or not all(map(callable, views)):
        raise ValueError(f"views must be a sequence of at least one function, found {views!r}")
    scores = []
    for i in watch(range(0, len(dataset), batch_size)):
        images = dataset.images[i : i + batch_size]
        of_views = [model.apply(params, preprocess(view(images))) for view in views]
        scores.append(_mean(of_views))
    return np.concatenate(scores)


@np.errstate(all="ignore")
def _mean(arrays: Sequence[Array]) -> Array:
    """Return the mean of arrays of one dtype, summed in float64 at least."""
    dtype = arrays[0].dtype
    # Divided before they are summed: the mean of finite numbers is finite.
    parts = [array.astype(widened(dtype)) / len(arrays) for array in arrays]
    return np.asarray(np.sum(parts, axis=0), dtype)


def accuracy(predicted: Array, labels: Array) -> float:
    """Return the fraction of the labels (N,) that were predicted.

    Raises:
        TypeError: an argument is not an array of integers.
        ValueError: the shapes differ, or the arrays are empty.

    >>> accuracy(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0]))
    0.75
    """
    labels = as_array("labels", labels, ("N",))
    predicted = as_array("predicted", predicted, labels.shape)
    for name, array in (("predicted", predicted), ("labels", labels)):
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name} must be integers, found {array.dtype}")
    if labels.size == 0:
        raise ValueError("labels must not be empty")
    return float(np.mean(predicted == labels))
