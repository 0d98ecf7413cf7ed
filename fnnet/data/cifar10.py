"""The files of CIFAR-10: both official layouts, read without running a pickle's code."""

import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fnnet.checks import Array, as_path
from fnnet.data.dataset import Dataset

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
BIN_FOLDER = "cifar-10-batches-bin"
PY_FOLDER = "cifar-10-batches-py"
TRAIN_FILES = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST_FILES = ("test_batch",)
FILES = TRAIN_FILES + TEST_FILES

ROWS = 10_000  # images in a file
PIXELS = 3 * 32 * 32  # bytes of an image: R, G and B planes, row by row
BIN_SIZE = ROWS * (1 + PIXELS)
# The pickles differ by the length of their file names; official ones have about 31 MB.
MAX_SIZE = 32_000_000

NAMES = {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
"""What a pickled array reaches for, in a pickle's own words: a module and a name."""
OPCODES = frozenset(
    "PROTO STOP MARK NONE NEWFALSE BININT BININT1 BININT2 BINSTRING SHORT_BINSTRING "  # noqa: SIM905
    "TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS "
    "BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL REDUCE BUILD".split()
)
"""What Python 2 writes for a dict of strings, numbers, lists and arrays."""
MAX_OPCODES = 200_000  # official files have some 50,000


class DataError(ValueError):
    """A data file is missing, damaged, or not what its name says."""


def load_cifar10(folder: str | Path) -> tuple[Dataset, Dataset]:
    """Load the training set (50,000) and the test set (10,000) of CIFAR-10.

    A. Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.

    Args:
        folder: holds ``cifar-10-batches-bin`` or ``cifar-10-batches-py`` as the official
            archives unpack them (the first is taken if both are there), or is one of them.

    Returns:
        train, test; images (N, 3, 32, 32) in the official order.

    Raises:
        DataError (a ValueError): a file is missing, has the wrong size, or holds anything
            but the official layout; a pickle that reaches for code is refused unrun.
    """
    return tuple(  # type: ignore[return-value]
        Dataset(images, labels, CLASS_NAMES) for images, labels in read(as_path("folder", folder))
    )


def read(folder: Path) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return (train images, labels), (test images, labels); see :func:`load_cifar10`."""
    place, suffix, read_into = find(folder)
    parts = []
    for names in (TRAIN_FILES, TEST_FILES):
        images = np.empty((len(names) * ROWS, 3, 32, 32), np.uint8)
        labels = np.empty(len(names) * ROWS, np.uint8)
        for i, name in enumerate(names):
            rows = slice(i * ROWS, (i + 1) * ROWS)
            read_into(place / (name + suffix), images[rows].reshape(ROWS, PIXELS), labels[rows])
        parts.append((images, labels))
    train, test = parts
    return train, test


Reader = Callable[[Path, Array, Array], None]


def find(folder: Path) -> tuple[Path, str, Reader]:
    """Return the folder of the batch files, their ending, and the reader of their layout."""
    layouts: tuple[tuple[str, str, Reader], ...] = (
        (BIN_FOLDER, ".bin", read_bin),
        (PY_FOLDER, "", read_py),
    )
    for name, suffix, reader in layouts:
        for place in (folder / name, folder):
            if (place / f"{TRAIN_FILES[0]}{suffix}").is_file():
                return place, suffix, reader
    raise DataError(
        f"found no CIFAR-10 in {folder}: expected a folder {BIN_FOLDER} or {PY_FOLDER} in it; "
        "`fnnet download` fetches it"
    )


def read_bin(path: Path, images: Array, labels: Array) -> None:
    """Read a file of 10,000 records: a label byte, then 3,072 pixel bytes.

    A wrong size and a label outside the classes are noticed. A changed pixel is not: the
    format does not hold a checksum. The SHA-256 of the archive covers it, while unpacking.
    """
    size = file_size(path)
    if size != BIN_SIZE:
        raise DataError(f"{path} must have {BIN_SIZE:,} bytes, found {size:,}")
    records = np.fromfile(path, np.uint8)
    if records.size != BIN_SIZE:  # it shrank since
        raise DataError(f"{path} must have {BIN_SIZE:,} bytes, found {records.size:,}")
    records = records.reshape(ROWS, 1 + PIXELS)
    store(path, records[:, 1:], records[:, 0], images, labels)


def read_py(path: Path, images: Array, labels: Array) -> None:
    """Read a pickle made by Python 2: a dict with `data` and `labels`.

    A changed pixel goes unnoticed, as in :func:`read_bin`; nothing in the file is ever run.
    """
    size = file_size(path)
    if size > MAX_SIZE:
        raise DataError(f"{path} must have at most {MAX_SIZE:,} bytes, found {size:,}")
    try:
        batch = unpickle(path.read_bytes())
    except DataError as error:
        raise DataError(f"{path} was refused: {error}") from None
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise DataError(f"{path} is damaged: {type(error).__name__}: {error}") from None
    match batch:
        case {b"data": data, b"labels": list(numbers)}:
            state = getattr(data, "state", None)
        case _:
            raise DataError(f"{path} must hold a dict with `data` and a list `labels`")
    match state:
        case (1, shape, dtype, False, bytes(pixels)) if (
            shape == (ROWS, PIXELS)
            and getattr(dtype, "code", None) == b"u1"
            and len(pixels) == ROWS * PIXELS
        ):
            found = np.frombuffer(pixels, np.uint8).reshape(ROWS, PIXELS)
        case _:
            raise DataError(f"{path}: `data` must be a uint8 array of shape ({ROWS}, {PIXELS})")
    if len(numbers) != ROWS or not all(type(n) is int and 0 <= n < 256 for n in numbers):
        raise DataError(f"{path}: `labels` must be {ROWS} integers in [0, {len(CLASS_NAMES)})")
    store(path, found, np.array(numbers, np.uint8), images, labels)


def store(
    path: Path, found_images: Array, found_labels: Array, images: Array, labels: Array
) -> None:
    """Copy a file's images and labels into their place, if every label is a class."""
    if found_labels.max() >= len(CLASS_NAMES):
        index = int(np.argmax(found_labels >= len(CLASS_NAMES)))
        raise DataError(
            f"{path}: labels must lie in [0, {len(CLASS_NAMES)}), "
            f"found {found_labels[index]} at index {index}"
        )
    images[:] = found_images
    labels[:] = found_labels


def file_size(path: Path) -> int:
    """Return the size of a file in bytes, or raise DataError if there is no such file."""
    if not path.is_file():
        raise DataError(f"{path} is missing")
    return path.stat().st_size


def unpickle(raw: bytes) -> Any:
    """Unpickle a batch file without running any code that it names.

    A pickle is a program. All of it is read before any of it runs: it may use only the
    instructions that a batch file needs, a bounded number of them, and reach only for the
    three names of NumPy that build an array. Even these are inert stand-ins that record
    what they are given, made anew for each file.

    Raises:
        DataError: the pickle holds anything else.
        Exception: it is damaged in another way.
    """
    for count, (opcode, argument, _) in enumerate(pickletools.genops(raw)):
        if opcode.name not in OPCODES:
            raise DataError(f"it holds the instruction {opcode.name}, which no batch needs")
        if opcode.name == "GLOBAL" and argument not in NAMES:
            name = repr(str(argument).replace(" ", "."))[:200]
            raise DataError(f"it reaches for {name}, which no batch needs")
        # The unpickler makes room for every number below the largest one.
        memo = argument if opcode.name == "LONG_BINPUT" else 0
        if max(count, memo or 0) > MAX_OPCODES:
            raise DataError("it holds more than the images and labels of a batch")

    class Pickled:
        def __init__(self, code: object = None) -> None:
            self.code = code
            self.state: object = None

        def __setstate__(self, state: object) -> None:
            self.state = state

    stand_ins = {
        "_reconstruct": lambda subtype, shape, code: Pickled(),
        "ndarray": None,
        "dtype": lambda code, align, copy: Pickled(code),
    }

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return stand_ins[name]

    return Unpickler(io.BytesIO(raw), encoding="bytes").load()
