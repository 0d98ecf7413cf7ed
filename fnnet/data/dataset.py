"""Labelled images kept as bytes, and the pure functions that split and batch them."""

from collections.abc import Iterator

import numpy as np
from attrs import field, frozen

from fnnet.checks import (
    Array,
    as_array,
    as_integer,
    as_labels,
    check_type,
)
from fnnet.seeds import generator
from fnnet.values import Rebuilt, by_content, locked_copy


@frozen
class Dataset(Rebuilt):
    """Labelled images of one byte a pixel, in memory or in a memory-mapped file.

    The images are not copied: who makes a dataset gives its array away, and must not write
    to it any more. The labels are a copy.

    >>> Dataset(np.zeros((2, 4), np.uint8), np.array([0, 1]), ("cat", "dog"))
    Dataset(2 images of shape (4,), 2 classes)

    Raises:
        TypeError, ValueError: an array is not of the type and shape below, a
            label lies outside [0, number of classes), or it is empty.
    """

    images: Array = field(eq=by_content)
    """(N, ...) uint8; color images are (N, 3, height, width): R, G and B planes."""
    labels: Array = field(eq=by_content)
    """(N,) integers in [0, number of classes)."""
    class_names: tuple[str, ...]
    """Name of each class, in the order of the labels."""

    def __attrs_post_init__(self) -> None:
        images, labels = self.images, self.labels
        images = as_array("images", images)
        if images.dtype != np.uint8:
            raise TypeError(f"images must be uint8, found {images.dtype}")
        if images.ndim < 2 or images.size == 0:
            raise ValueError(
                f"images must have shape (N, ...) and not be empty, found {images.shape}"
            )
        names = self.class_names
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"class_names must be a tuple of strings, found {names!r}")
        # Copied before they are checked: nobody can change them in between.
        labels = locked_copy(as_array("labels", labels))
        as_labels("labels", labels, len(images), len(names))
        images = images.view()
        images.flags.writeable = False
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return (
            f"Dataset({len(self)} images of shape {self.images.shape[1:]}, "
            f"{len(self.class_names)} classes)"
        )


def split(dataset: Dataset, num_train: int, num_val: int, seed: int) -> tuple[Dataset, Dataset]:
    """Draw a training set and a validation set without overlap; the rest is left out.

    Args:
        dataset: what to draw from.
        num_train: examples to train on, at least 1.
        num_val: examples to validate on, at least 1.
        seed: the same seed gives the same sets; `num_val` does not change `train`.

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
    if num_train + num_val > len(dataset):
        raise ValueError(
            f"num_train + num_val must be at most {len(dataset)}, the size of the data, "
            f"found {num_train} + {num_val} = {num_train + num_val}"
        )
    order = generator(seed, "split").permutation(len(dataset))
    return (
        take(dataset, order[:num_train]),
        take(dataset, order[num_train : num_train + num_val]),
    )


def take(dataset: Dataset, indices: Array) -> Dataset:
    """Return the examples at the indices, in their order, as a copy."""
    return Dataset(dataset.images[indices], dataset.labels[indices], dataset.class_names)


def first(dataset: Dataset, number: int) -> Dataset:
    """Return the first examples of a dataset, or all if there are fewer; nothing is copied."""
    return Dataset(dataset.images[:number], dataset.labels[:number], dataset.class_names)


def minibatches(
    dataset: Dataset, batch_size: int, seed: int, epoch: int
) -> Iterator[tuple[Array, Array]]:
    """Yield the batches of one epoch: every example exactly once, in random order.

    Args:
        dataset: N examples.
        batch_size: examples in a batch, at least 1; the last batch has what remains.
        seed, epoch: integers >= 0 that alone decide the order.

    Returns:
        an iterator of :func:`num_batches` pairs: images (batch_size, ...) uint8, and
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
