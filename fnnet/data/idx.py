"""MNIST, Fashion-MNIST and others of their format: IDX files, gzipped or not."""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from fnnet.checks import Array, as_path
from fnnet.data.dataset import Dataset
from fnnet.data.errors import DataError
from fnnet.data.sizes import FACTOR, ROOM

TRAIN, TEST = "train", "t10k"
IMAGES, LABELS = ("images", 3), ("labels", 1)
UBYTE = 8  # the code of a type in the third byte of a file; the fourth is the number of axes


def find_file(folder: Path, part: str, kind: tuple[str, int]) -> Path | None:
    """Return a part's file, ``train-images-idx3-ubyte`` or with a dot or ``.gz``, or None."""
    name, axes = kind
    for dash in "-.":
        for ending in ("", ".gz"):
            path = folder / f"{part}-{name}{dash}idx{axes}-ubyte{ending}"
            if path.is_file():
                return path
    return None


def holds_idx(folder: Path) -> bool:
    """Tell whether a folder has a file of MNIST's names."""
    parts = [(part, kind) for part in (TRAIN, TEST) for kind in (IMAGES, LABELS)]
    return any(find_file(folder, part, kind) for part, kind in parts)


def load_idx(folder: str | Path) -> tuple[Dataset, Dataset | None]:
    """Load images (N, height, width) and labels from files named as those of MNIST.

    Y. LeCun, C. Cortes and C. Burges, The MNIST database of handwritten digits.

    Args:
        folder: holds ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, and perhaps
            those of ``t10k``; each may end in ``.gz``.

    Returns:
        train, and test if there is one; the classes are named by their numbers.

    Raises:
        DataError (a ValueError): a file is missing or damaged.
    """
    folder = as_path("folder", folder)
    train = _part(folder, TRAIN)
    test = _part(folder, TEST) if find_file(folder, TEST, IMAGES) else None
    high = max(int(labels.max()) for _, labels in filter(None, [train, test]))
    if np.unique(train[1]).size != high + 1 or high == 0:
        present = set(train[1].tolist())
        missing = next((c for c in range(high + 1) if c not in present), None)
        if missing is None:
            raise DataError(f"{folder} must have at least two classes, found one")
        raise DataError(f"{folder}: the class {missing} has no example to train on")
    names = tuple(map(str, range(high + 1)))
    if test is not None and test[0].shape[1:] != train[0].shape[1:]:
        raise DataError(
            f"{folder}: train and t10k must have images of one size, found "
            f"{train[0].shape[1:]} and {test[0].shape[1:]}"
        )
    return Dataset(*train, names), None if test is None else Dataset(*test, names)


def _part(folder: Path, part: str) -> tuple[Array, Array]:
    """Return the images and the labels of a part."""
    images, labels = (_read(folder, part, kind) for kind in (IMAGES, LABELS))
    if len(images) != len(labels):
        raise DataError(f"{folder}: {part} has {len(images)} images, and {len(labels)} labels")
    return images, labels


def _read(folder: Path, part: str, kind: tuple[str, int]) -> Array:
    """Read one file: magic number, a big-endian uint32 for each axis, then the bytes."""
    path = find_file(folder, part, kind)
    if path is None:
        raise DataError(f"{folder / f'{part}-{kind[0]}-idx{kind[1]}-ubyte'} is missing")
    axes = kind[1]
    magic = bytes([0, 0, UBYTE, axes])
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            head = file.read(4 + 4 * axes)
            if head[:4] != magic:
                raise DataError(f"{path} must begin with {magic.hex()}, found {head[:4].hex()}")
            if len(head) < 4 + 4 * axes:
                raise DataError(f"{path} is damaged: it ends before it has stated its shape")
            shape = tuple(int.from_bytes(head[i : i + 4], "big") for i in range(4, len(head), 4))
            size = math.prod(shape)
            if not 0 < size <= FACTOR * path.stat().st_size + ROOM:
                raise DataError(f"{path} states the shape {shape}, which its size cannot have")
            raw = file.read(size + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}") from None
    if len(raw) != size:
        more = "more" if len(raw) > size else f"{len(raw):,}"
        raise DataError(f"{path} must hold {size:,} bytes for the shape {shape}, found {more}")
    return np.frombuffer(raw, np.uint8).reshape(shape)
