"""CIFAR-10 and CIFAR-100: the official layouts, read without running a pickle's code."""

import re
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from fnnet.checks import Array, as_path
from fnnet.data.cifar_layouts import CIFAR10_CLASSES, PIXELS, Layout, find_kind
from fnnet.data.dataset import Dataset
from fnnet.data.errors import DataError
from fnnet.data.pickle_machine import PickledArray, PickledDtype
from fnnet.data.pickles import SavedAgainError, unpickle

MAX_BYTES_PER_IMAGE = 3_200
"""Official pickles have about 3,100: the pixels, a label or two and the name of a file."""
MAX_STEPS_PER_IMAGE = 8
"""Official pickles have 5 at most: a label or two, and the name of a file in three."""
MAX_STEPS = 1_000  # for all the rest
MAX_NAMES_SIZE = 100_000  # bytes of a file of class names
HEAD = 4_096  # bytes that tell who wrote a pickle

Part = tuple[Array, Array]


def load_cifar10(folder: str | Path) -> tuple[Dataset, Dataset]:
    """Load the training set (50,000) and the test set (10,000) of CIFAR-10.

    A. Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.

    Args:
        folder: holds ``cifar-10-batches-bin`` or ``cifar-10-batches-py`` as the official
            archives unpack them (the first is taken if both are there), or is one of them.

    Returns:
        train, test; images (N, 3, 32, 32) in the official order.

    Raises:
        DataError (a ValueError): a file is missing, has the wrong size, is another one of
            the files, or holds anything but the official layout; a pickle that reaches for
            code is refused unrun.
    """
    return load("CIFAR-10", as_path("folder", folder))


def load_cifar100(folder: str | Path) -> tuple[Dataset, Dataset]:
    """Load the training set (50,000) and the test set (10,000) of CIFAR-100, with fine labels.

    Args:
        folder: holds ``cifar-100-binary`` or ``cifar-100-python``, or is one of them; see
            :func:`load_cifar10`.

    Returns:
        train, test; images (N, 3, 32, 32) in the official order, labels of 100 classes.

    Raises:
        DataError (a ValueError): see :func:`load_cifar10`.
    """
    return load("CIFAR-100", as_path("folder", folder))


def load(kind: str, folder: Path) -> tuple[Dataset, Dataset]:
    """Load CIFAR-10 or CIFAR-100."""
    layout, place = find_kind(folder, kind)
    names = CIFAR10_CLASSES if layout.names_file is None else read_names(layout, place)
    train, test = read(layout, place)
    return Dataset(*train, names), Dataset(*test, names)


def read(layout: Layout, place: Path) -> tuple[Part, Part]:
    """Return (train images, labels), (test images, labels) of the files in a folder."""
    files: dict[str, Part] = {}
    parts = []
    for sizes in (layout.train, layout.test):
        images = np.empty((sum(sizes.values()), 3, 32, 32), np.uint8)
        labels = np.empty(len(images), np.uint8)
        start = 0
        for name, size in sizes.items():
            rows = slice(start, start + size)
            files[name] = images[rows].reshape(size, PIXELS), labels[rows]
            read_file(place / name, layout, *files[name])
            start += size
        parts.append((images, labels))
    check_different(place, files)
    train, test = parts
    return train, test


def check_different(place: Path, files: Mapping[str, Part]) -> None:
    """Raise DataError if two files hold the same images and labels."""
    for one, other in combinations(files, 2):
        # The labels first: images are compared only where all labels are equal.
        if all(np.array_equal(a, b) for a, b in zip(files[one][::-1], files[other][::-1])):  # noqa: B905
            raise DataError(f"{place / other} holds the same images as {one}: it is a copy")


def read_file(path: Path, layout: Layout, images: Array, labels: Array) -> None:
    """Read a file of len(labels) images (N, 3072) in either kind of layout.

    A wrong size and a label outside the classes are noticed. A changed pixel is not: the
    format does not hold a checksum. The SHA-256 of the archive covers it, while unpacking.
    """
    if layout.label_bytes:
        found_images, found_labels = read_bin(path, layout.label_bytes, len(labels))
    else:
        found_images, found_labels = read_py(path, layout.label_key, len(labels))
    if found_labels.max() >= layout.num_classes:
        index = int(np.argmax(found_labels >= layout.num_classes))
        raise DataError(
            f"{path}: labels must lie in [0, {layout.num_classes}), "
            f"found {found_labels[index]} at index {index}"
        )
    images[:] = found_images
    labels[:] = found_labels


def read_bin(path: Path, label_bytes: int, rows: int) -> Part:
    """Read records of some label bytes and 3,072 pixel bytes; the last label byte counts."""
    wanted = rows * (label_bytes + PIXELS)
    size = file_size(path)
    if size != wanted:
        raise DataError(f"{path} must have {wanted:,} bytes, found {size:,}")
    records = np.fromfile(path, np.uint8, count=wanted)
    if records.size != wanted:  # it shrank since
        raise DataError(f"{path} must have {wanted:,} bytes, found {records.size:,}")
    records = records.reshape(rows, -1)
    return records[:, label_bytes:], records[:, label_bytes - 1]


def read_py(path: Path, label_key: bytes, rows: int) -> Part:
    """Read a pickle made by Python 2: a dict with `data` and a list of labels."""
    batch = read_pickle(path, rows * MAX_BYTES_PER_IMAGE, MAX_STEPS + rows * MAX_STEPS_PER_IMAGE)
    key = label_key.decode()
    data, numbers = batch.get(b"data"), batch.get(label_key)
    if not isinstance(data, PickledArray) or not isinstance(numbers, list):
        raise DataError(f"{path} must hold a dict with `data` and a list `{key}`")
    match data.state:
        case (1, shape, PickledDtype(code=b"u1"), False, bytes(pixels)) if (
            shape == (rows, PIXELS) and len(pixels) == rows * PIXELS
        ):
            images = np.frombuffer(pixels, np.uint8).reshape(rows, PIXELS)
        case _:
            raise DataError(f"{path}: `data` must be a uint8 array of shape ({rows}, {PIXELS})")
    if len(numbers) != rows or not all(type(n) is int and 0 <= n < 256 for n in numbers):
        raise DataError(f"{path}: `{key}` must be {rows} integers that are labels")
    check_name(path, batch.get(b"batch_label"))
    return images, np.array(numbers, np.uint8)


def check_name(path: Path, batch_label: object) -> None:
    """Raise DataError if what the file says of itself is another file's name.

    The official words are "training batch 2 of 5" and "testing batch 1 of 1".
    """
    if not isinstance(batch_label, bytes):
        return
    said = re.fullmatch(rb"(train|test)ing batch (\d) of \d", batch_label)
    if said is None:
        return
    kind = b"test" if path.name.startswith("test") else b"train"
    number = path.name[-1:] if path.name[-1:].isdigit() else "1"
    if said.groups() != (kind, number.encode()):
        raise DataError(f"{path} says that it is {batch_label.decode()!r}: it is another file")


def read_pickle(path: Path, max_size: int, max_steps: int) -> dict[bytes, Any]:
    """Return the dict of a pickle made by Python 2; nothing in it is ever run."""
    size = file_size(path)
    with path.open("rb") as file:
        raw = file.read(max_size + 1 if size <= max_size else HEAD)
    try:
        if len(raw) <= max_size >= size:
            return unpickle(raw, max_steps)
        unpickle(raw[:HEAD], max_steps)
    except SavedAgainError as error:
        raise DataError(f"{path} was refused: {error}") from None
    except DataError as error:
        if len(raw) <= max_size >= size:
            raise DataError(f"{path} was refused: {error}") from None
    raise DataError(f"{path} must have at most {max_size:,} bytes, found {size:,}")


def read_names(layout: Layout, place: Path) -> tuple[str, ...]:
    """Return the names of the classes of CIFAR-100, in the order of the labels."""
    assert layout.names_file is not None
    path = place / layout.names_file
    if layout.label_bytes:
        if file_size(path) > MAX_NAMES_SIZE:
            raise DataError(f"{path} must have at most {MAX_NAMES_SIZE:,} bytes")
        lines = [line.strip() for line in path.read_bytes().splitlines()]
        found: object = [line for line in lines if line]
    else:
        found = read_pickle(path, MAX_NAMES_SIZE, MAX_STEPS).get(b"fine_label_names")
    if not isinstance(found, list) or not all(isinstance(name, bytes) for name in found):
        raise DataError(f"{path} must hold a list of strings `fine_label_names`")
    names = tuple(name.decode("ascii", "replace") for name in found)
    if len({*names}) != layout.num_classes or len(names) != layout.num_classes:
        raise DataError(f"{path} must hold {layout.num_classes} names, found {len({*names})}")
    for name in names:
        if re.fullmatch(r"[!-~][ -~]{0,59}", name) is None:
            raise DataError(f"{path} must hold names of classes, found {name[:60]!r}")
    return names


def file_size(path: Path) -> int:
    """Return the size of a file in bytes, or raise DataError if there is no such file."""
    if not path.is_file():
        raise DataError(f"{path} is missing")
    return path.stat().st_size
