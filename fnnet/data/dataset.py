"""Labelled examples, images or features, and the pure functions that split and batch them."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from attrs import field, frozen

from fnnet.checks import (
    Array,
    as_array,
    as_integer,
    as_labels,
    check_finite,
    check_type,
)
from fnnet.seeds import generator
from fnnet.values import Rebuilt, by_content, locked_copy

Layout = Literal["auto", "channels_first", "channels_last"]


@frozen
class Dataset(Rebuilt):
    """Labelled examples: images of one byte a pixel, or rows of floating-point features.

    They may lie in memory or in a memory-mapped file, and are not copied: do not write to
    the array after you have made a dataset of it. The labels are copied.

    >>> Dataset(np.zeros((2, 8, 8), np.uint8), np.array([0, 1]), ("cat", "dog"))
    Dataset(2 images of shape (8, 8), 2 classes)
    >>> Dataset(np.zeros((2, 30)), np.array([0, 1]), ("ill", "well"))
    Dataset(2 examples of 30 features, 2 classes)

    Raises:
        TypeError, ValueError: an array is empty or not of the type and shape below, a label
            lies outside [0, number of classes), a feature is not finite, or the place of the
            channels is ambiguous.
    """

    images: Array = field(eq=by_content)
    """uint8 images (N, height, width) or (N, channels, height, width), color as R, G and B
    planes; or floating features (N, D). Images with the channels last are stored channels first."""
    labels: Array = field(eq=by_content)
    """(N,) integers in [0, number of classes)."""
    class_names: tuple[str, ...]
    """Name of each class, in the order of the labels."""
    layout: Layout = field(default="auto", kw_only=True, eq=False, repr=False)
    """Where images of four axes have their channels: "channels_first", "channels_last", or
    "auto" to tell from the shape. Afterwards always "channels_first"."""

    def __attrs_post_init__(self) -> None:
        images = as_array("images", self.images)
        if images.dtype != np.uint8 and images.dtype.kind != "f":
            raise TypeError(f"images must be uint8, or floating features, found {images.dtype}")
        if images.ndim < 2 or images.size == 0:
            raise ValueError(
                f"images must have shape (N, ...) and not be empty, found {images.shape}"
            )
        if images.dtype.kind == "f":
            if images.ndim != 2:
                raise ValueError(
                    f"floating features must have shape (N, D), found {images.shape}: "
                    "images must be uint8, pixels from 0 to 255"
                )
            check_finite("features", images)
        names = self.class_names
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"class_names must be a tuple of strings, found {names!r}")
        # Copied before they are checked: nobody can change them in between.
        labels = locked_copy(as_array("labels", self.labels))
        as_labels("labels", labels, len(images), len(names))
        images = _channels_first(images, self.layout).view()
        images.flags.writeable = False
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "layout", "channels_first")

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        kind = (
            f"images of shape {self.images.shape[1:]}"
            if self.images.dtype == np.uint8
            else f"examples of {self.images.shape[1]} features"
        )
        return f"Dataset({len(self)} {kind}, {len(self.class_names)} classes)"


def _channels_first(images: Array, layout: Layout) -> Array:
    """Return images of four axes as (N, channels, height, width), and others as they are."""
    if layout not in ("auto", "channels_first", "channels_last"):
        raise ValueError(f"layout must be auto, channels_first or channels_last, found {layout!r}")
    if images.ndim != 4 or layout == "channels_first":
        return images
    first, last = images.shape[1] in (1, 3), images.shape[3] in (1, 3)
    if layout == "auto" and images.shape[3] == 4 and not first:
        raise ValueError(
            f"images of shape {images.shape} may be RGB with transparency: remove the fourth "
            'channel, or say layout="channels_first"'
        )
    if layout == "auto" and first and last:
        raise ValueError(
            f"images of shape {images.shape} may have their channels first or last: "
            'say layout="channels_first" or layout="channels_last"'
        )
    if layout == "auto" and not last:
        return images
    return np.ascontiguousarray(np.moveaxis(images, 3, 1))


def split(
    dataset: Dataset, num_train: int, num_val: int, seed: int, *, stratified: bool = False
) -> tuple[Dataset, Dataset]:
    """Draw a training set and a validation set without overlap; the rest is left out.

    Args:
        dataset: what to draw from.
        num_train: examples to train on, at least 1.
        num_val: examples to validate on, at least 1.
        seed: the same seed gives the same sets; `num_val` does not change `train`.
        stratified: give both sets the classes in the proportions of the dataset, to within
            about one example of each class.

    Returns:
        train, val; their images are copies.

    Raises:
        TypeError, ValueError: a number is out of range, or more examples are asked
            for than there are.

    >>> from fnnet.data.digits import load_digits
    >>> split(load_digits(), num_train=1000, num_val=500, seed=0)[1]
    Dataset(500 images of shape (8, 8), 10 classes)
    """
    check_type("dataset", dataset, Dataset)
    num_train = as_integer("num_train", num_train, low=1)
    num_val = as_integer("num_val", num_val, low=1)
    check_type("stratified", stratified, bool)
    if num_train + num_val > len(dataset):
        raise ValueError(
            f"num_train + num_val must be at most {len(dataset)}, the size of the data, "
            f"found {num_train} + {num_val} = {num_train + num_val}"
        )
    order = generator(seed, "split").permutation(len(dataset))
    if stratified:
        order = order[_by_share(dataset.labels[order])]
    return (
        take(dataset, order[:num_train]),
        take(dataset, order[num_train : num_train + num_val]),
    )


def _by_share(labels: Array) -> Array:
    """Return an order in which every stretch has nearly the same share of each class.

    The k-th of the n examples of a class stands at (k + 1/2) / n of the way.
    """
    places = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        places[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.argsort(places, kind="stable")


def take(dataset: Dataset, indices: Array) -> Dataset:
    """Return the examples at the indices, in their order, as a copy."""
    return _of(dataset, dataset.images[indices], dataset.labels[indices])


def first(dataset: Dataset, number: int) -> Dataset:
    """Return the first examples of a dataset, or all if there are fewer; images are not copied."""
    return _of(dataset, dataset.images[:number], dataset.labels[:number])


def _of(dataset: Dataset, images: Array, labels: Array) -> Dataset:
    return Dataset(images, labels, dataset.class_names, layout="channels_first")


def minibatches(
    dataset: Dataset, batch_size: int, seed: int, epoch: int
) -> Iterator[tuple[Array, Array]]:
    """Yield the batches of one epoch: every example exactly once, in random order.

    Args:
        dataset: N examples.
        batch_size: examples in a batch, at least 1; the last batch has what remains.
        seed, epoch: integers >= 0 that alone decide the order.

    Returns:
        an iterator of :func:`num_batches` pairs: images or features (batch_size, ...), and
        labels (batch_size,).

    Raises:
        TypeError, ValueError: an argument is not an integer, or out of range.
    """
    check_type("dataset", dataset, Dataset)
    batch_size = as_integer("batch_size", batch_size, low=1)
    order = generator(seed, "batches", epoch).permutation(len(dataset))
    parts = (order[i : i + batch_size] for i in range(0, len(order), batch_size))
    return ((dataset.images[part], dataset.labels[part]) for part in parts)


def num_batches(dataset: Dataset, batch_size: int) -> int:
    """Return the number of batches of an epoch, a partial last one included.

    >>> from fnnet.data.digits import load_digits
    >>> num_batches(load_digits(), batch_size=100)
    18
    """
    check_type("dataset", dataset, Dataset)
    return -(-len(dataset) // as_integer("batch_size", batch_size, low=1))
