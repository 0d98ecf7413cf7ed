"""Images or features with their labels in an ``.npz`` file, read without pickle."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fnnet.checks import Array, as_path
from fnnet.data.dataset import Dataset
from fnnet.data.errors import DataError
from fnnet.data.sizes import check_unpacked_size
from fnnet.npy import from_npy

KERAS = ("x_train", "y_train", "x_test", "y_test")
OWN = ("images", "features", "labels")
MORE = ("class_names", "layout")
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # LZMA may ask for 4 GB of memory
MAX_CLASSES = 100_000  # more is a column of numbers that are not classes


def load_npz(path: str | Path) -> tuple[Dataset, Dataset | None]:
    """Load `images` or `features` with `labels`, or Keras's `x_train, y_train, x_test, y_test`.

    `images` are bytes (N, height, width) or (N, channels, height, width), or with the channels
    last; an entry `layout` says which, where the shape does not ("channels_first" or
    "channels_last"). `features` are numbers (N, D). `labels` (N,) or (N, 1) are integers from
    0, or strings. An entry `class_names` names the classes; otherwise the numbers do, or the
    strings, sorted.

    Returns:
        train, and test if there is one.

    Raises:
        DataError (a ValueError): the file is missing, damaged, or not as above.
    """
    path = as_path("path", path)
    entries = read_entries(path)
    if "x_train" in entries:
        parts = [("x_train", "y_train")] + [("x_test", "y_test")] * ("x_test" in entries)
        allowed: tuple[str, ...] = KERAS + MORE
    else:
        parts = [("features" if "features" in entries else "images", "labels")]
        allowed = OWN + MORE
    needed = {name for part in parts for name in part}
    if not needed <= entries.keys() or not entries.keys() <= {*allowed}:
        raise DataError(
            f"{path} must hold images or features, and labels, or {', '.join(KERAS)}; "
            f"found {', '.join(sorted(entries)) or 'nothing'}"
        )
    if {"images", "features"} <= entries.keys():
        raise DataError(f"{path} must hold images or features, found both")
    labels = [_labels(path, name, entries[name], entries[label]) for name, label in parts]
    names, numbers = _classes(path, labels, entries.get("class_names"))
    datasets = [
        _build(path, _inputs(path, name, entries[name]), label, names, entries)
        for (name, _), label in zip(parts, numbers, strict=True)
    ]
    _check_classes(path, datasets[0])
    _check_alike(path, datasets[0].images, datasets[-1].images)
    return datasets[0], datasets[1] if len(datasets) > 1 else None


def read_inputs(path: str | Path) -> Array:
    """Return the images or features of a file to predict: labels and other entries are ignored.

    Raises:
        DataError (a ValueError): the file is missing, damaged, or has neither or both.
    """
    path = as_path("path", path)
    entries = read_entries(path)
    found = [name for name in ("images", "features", "x_test") if name in entries]
    if len(found) != 1:
        raise DataError(
            f"{path} must hold images or features, found {', '.join(sorted(entries)) or 'nothing'}"
        )
    inputs = _inputs(path, found[0], entries[found[0]])
    unlabelled = np.zeros(len(inputs), np.uint8)
    return _build(path, inputs, unlabelled, ("unknown",), entries).images


def read_entries(path: Path) -> dict[str, Array]:
    """Return the arrays in an .npz file, after each stated size was compared with its bytes.

    Raises:
        DataError: the file is missing or damaged, or holds objects.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing" if not path.exists() else f"{path} must be a file")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            check_unpacked_size(path, sum(member.file_size for member in members))
            if any(member.compress_type not in METHODS for member in members):
                raise DataError(f"{path} is compressed in another way than NumPy's")
            entries: dict[str, Array] = {}
            for member in members:
                name = member.filename.removesuffix(".npy")
                if name in entries:
                    raise DataError(f"{path} has the entry {name} twice")
                with archive.open(member) as file:
                    raw = file.read(member.file_size + 1)
                entries[name] = _array(f"{path}: {name}", raw)
            return entries
    except (DataError, MemoryError):
        raise
    except Exception as error:  # a damaged archive can raise nearly anything
        raise DataError(f"{path} is damaged, or not an .npz file: {error}") from None


def _array(name: str, raw: bytes) -> Array:
    try:
        array = from_npy(raw, "buifU", "numbers or strings")
    except ValueError as error:
        raise DataError(f"{name} {error}") from None
    return array.astype(array.dtype.newbyteorder("="), order="C", copy=False)


def _inputs(path: Path, name: str, array: Array) -> Array:
    """Return images as uint8, or features as floating numbers."""
    if array.ndim < 2:
        raise DataError(f"{path}: {name} must have shape (N, ...), found {array.shape}")
    if name != "features" and (array.dtype.kind != "f" or name == "images"):
        if array.dtype.kind not in "ui":
            raise DataError(
                f"{path}: {name} must be integers from 0 to 255, found {array.dtype}: multiply "
                "by 255 and store uint8, or name them features, of shape (N, D)"
            )
        if array.size and (array.min() < 0 or array.max() > 255):
            raise DataError(
                f"{path}: {name} must lie in [0, 255], found {array.min()} to {array.max()}"
            )
        return array.astype(np.uint8, copy=False)
    if array.dtype.kind not in "buif" or array.ndim != 2:
        raise DataError(
            f"{path}: {name} must be numbers of shape (N, D), found {array.dtype} {array.shape}"
        )
    if array.dtype.kind != "f":
        check_unpacked_size(path, array.size * np.dtype(np.float64).itemsize)
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _classes(
    path: Path, labels: list[Array], names: Array | None
) -> tuple[tuple[str, ...], list[Array]]:
    """Return the names of the classes, and the labels of each part as numbers from 0."""
    flat = [a[:, 0] if a.ndim == 2 and a.shape[1] == 1 else a for a in labels]
    for array in flat:
        if array.ndim != 1 or array.size == 0:
            raise DataError(f"{path}: labels must have shape (N,) or (N, 1), found {array.shape}")
        if array.dtype.kind not in "buiU" or array.dtype.kind != flat[0].dtype.kind:
            raise DataError(f"{path}: labels must be integers or strings, found {array.dtype}")
    if names is not None and (names.dtype.kind != "U" or names.ndim != 1):
        raise DataError(f"{path}: class_names must be strings of shape (C,), found {names.dtype}")
    if flat[0].dtype.kind == "U":
        words = np.unique(np.concatenate(flat)) if names is None else names
        order = {str(word): i for i, word in enumerate(words)}
        if strange := {str(word) for a in flat for word in a} - order.keys():
            raise DataError(f"{path}: class_names lacks the label {min(strange)!r}")
        numbers = [np.array([order[str(word)] for word in a]) for a in flat]
        return tuple(map(str, words)), numbers
    flat = [a.astype(np.uint8) if a.dtype.kind == "b" else a for a in flat]
    low, high = min(int(a.min()) for a in flat), max(int(a.max()) for a in flat)
    number = high + 1 if names is None else len(names)
    if low < 0 or high >= number or number > MAX_CLASSES:
        raise DataError(
            f"{path}: labels must lie in [0, {min(number, MAX_CLASSES)}), found {low} to {high}"
        )
    return tuple(map(str, range(number) if names is None else names)), flat


def _labels(path: Path, name: str, inputs: Array, labels: Array) -> Array:
    """Return labels after counting them: to name the classes of strings takes a while."""
    if inputs.ndim and labels.ndim and len(inputs) != len(labels):
        raise DataError(f"{path}: {name} has {len(inputs)} examples, and {len(labels)} labels")
    return labels


def _build(
    path: Path, inputs: Array, labels: Array, names: tuple[str, ...], entries: Mapping[str, Array]
) -> Dataset:
    layout = str(entries["layout"]) if "layout" in entries else "auto"
    try:
        return Dataset(inputs, labels, names, layout=layout)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        hint = f"; or add an entry layout to {path.name}" if "layout=" in str(error) else ""
        raise DataError(f"{path}: {error}{hint}") from None


def _check_classes(path: Path, train: Dataset) -> None:
    """Raise DataError unless there are two classes, each with an example to train on."""
    counts = np.bincount(train.labels, minlength=len(train.class_names))
    if len(counts) < 2:
        raise DataError(f"{path} must have at least two classes, found {len(counts)}")
    if not counts.all():
        empty = train.class_names[int(counts.argmin())]
        raise DataError(f"{path}: the class {empty!r} has no example to train on")


def _check_alike(path: Path, train: Array, test: Array) -> None:
    """Raise DataError unless examples have one shape, and are all images or all features."""
    if train.shape[1:] != test.shape[1:] or train.dtype.kind != test.dtype.kind:
        raise DataError(
            f"{path}: x_train and x_test must have examples of one shape and kind, found "
            f"{train.dtype} {train.shape[1:]} and {test.dtype} {test.shape[1:]}"
        )
