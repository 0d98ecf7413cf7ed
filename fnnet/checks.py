"""Arguments are checked before anything is computed.

Every public function refuses what it cannot handle, by name: a message says
which argument, what was expected and what was found. The checks of arrays
return a plain ``ndarray`` in the machine's byte order, so that memory maps and
files from other machines just work.
"""

import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T")

Watch = Callable[[Sequence[int]], Iterable[int]]
"""Passes the numbers of the parts of a long work on, and may show progress: ``iter``, ``tqdm``."""


class NonFiniteError(ValueError):
    """A NaN or an infinity where only finite numbers have a meaning."""


def as_array(name: str, value: object, shape: Sequence[int | str] | None = None) -> Array:
    """Return `value` as a plain array of the given shape; letters stand for any length.

    None allows any shape.
    """
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, found {type(value).__name__}")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must not be a masked array: its mask would be ignored")
    array = value if type(value) is np.ndarray else value.view(np.ndarray)
    if shape is not None and array.shape != shape and not _fits(array.shape, shape):
        wanted = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        raise ValueError(f"{name} must have shape ({wanted}), found {array.shape}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _fits(found: tuple[int, ...], wanted: Sequence[int | str]) -> bool:
    if len(found) != len(wanted):
        return False
    for length, want in zip(found, wanted, strict=True):  # all() takes three times as long
        if want != length and not isinstance(want, str):
            return False
    return True


def as_float_array(
    name: str,
    value: object,
    shape: Sequence[int | str] | None = None,
    like: tuple[str, Array] | None = None,
) -> Array:
    """Return `value` as a floating array; `like`: name and array whose dtype it must have."""
    # Nearly every array passes at once. A training step checks thirty of them.
    if (
        type(value) is np.ndarray
        and (shape is None or value.shape == shape or _fits(value.shape, shape))
        and value.dtype.kind == "f"
        and value.dtype.isnative
        and (like is None or value.dtype == like[1].dtype)
    ):
        return value
    array = as_array(name, value, shape)
    if array.dtype.kind != "f":
        raise TypeError(f"{name} must have a floating dtype, found {array.dtype}")
    if like is not None and array.dtype != like[1].dtype:
        raise TypeError(
            f"{name} must have the dtype of {like[0]}, {like[1].dtype}, found {array.dtype}"
        )
    return array


def as_labels(name: str, value: object, length: int | str, num_classes: int) -> Array:
    """Return `value` as labels: integers, shape (length,), each in [0, num_classes)."""
    array = as_array(name, value, (length,))
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, found {array.dtype}")
    if array.size and (array.min() < 0 or array.max() >= num_classes):
        index = int(np.argmax((array < 0) | (array >= num_classes)))
        raise ValueError(
            f"{name} must lie in [0, {num_classes}), found {array[index]} at index {index}"
        )
    return array


def check_finite(name: str, array: Array) -> None:
    """Raise NonFiniteError if there is a NaN or an infinity; it gives the place of the first."""
    fine = np.isfinite(array)
    if not fine.all():
        index = tuple(int(i) for i in np.unravel_index(np.argmin(fine), array.shape))
        place = index[0] if len(index) == 1 else index
        raise NonFiniteError(f"{name} must be finite, found {array[index]} at index {place}")


def as_number(name: str, value: object, low: float, high: float = math.inf) -> float:
    """Return `value` as a finite float in [low, high]."""
    # float first: to ask whether something is a numbers.Real is slow
    if not isinstance(value, float) and (
        isinstance(value, bool) or not isinstance(value, numbers.Real)
    ):
        raise TypeError(f"{name} must be a number, found {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the floats
        number = math.inf
    if not (math.isfinite(number) and low <= number <= high):
        wanted = f"at least {low:g}" if high == math.inf else f"in [{low:g}, {high:g}]"
        raise ValueError(f"{name} must be a finite number {wanted}, found {value}")
    return number


def as_integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` as an int of at least `low` and, if given, at most `high`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, found {type(value).__name__}")
    number = int(value)
    if number < low:
        raise ValueError(f"{name} must be at least {low}, found {value}")
    if high is not None and number > high:
        raise ValueError(f"{name} must be at most {high}, found {value}")
    return number


def check_type(name: str, value: T, kind: type[Any]) -> T:
    """Return `value` if it is of the type."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, found {type(value).__name__}")
    return value


def check_callable(name: str, value: object) -> None:
    """Raise TypeError unless `value` can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, found {type(value).__name__}")


def widened(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which sums of numbers of a dtype are accurate: at least float64."""
    return np.promote_types(dtype, np.float64)


def as_float_dtype(name: str, value: Any) -> np.dtype[Any]:
    """Return `value` as a floating dtype in native byte order."""
    try:
        dtype = np.dtype(None if value is None else value).newbyteorder("=")
    except (TypeError, ValueError):
        dtype = None
    if value is None or dtype is None or dtype.kind != "f":
        raise TypeError(f"{name} must be floating, found {value!r}")
    return dtype


def as_path(name: str, value: object) -> Path:
    """Return `value` as a path; ``~`` at its beginning is the home folder."""
    if not isinstance(value, str | Path):
        raise TypeError(f"{name} must be a path, found {type(value).__name__}")
    if "\0" in str(value):
        raise ValueError(f"{name} must not hold the character NUL, found {str(value)!r}")
    try:
        return Path(value).expanduser()
    except RuntimeError:  # ~name of a user that is not known
        raise ValueError(f"{name} begins with a home folder that is not known: {value}") from None


def as_file_path(name: str, value: object) -> Path:
    """Return `value` as a path that can be that of a file."""
    path = as_path(name, value)
    if not path.name:
        raise ValueError(f"{name} must be the name of a file, found {str(value)!r}")
    return path


def as_picture_path(name: str, value: object) -> Path:
    """Return `value` as a path that ends in .pdf, .png or .svg."""
    path = as_path(name, value)
    if path.suffix.lower() not in (".pdf", ".png", ".svg"):
        raise ValueError(f"{name} must end in .pdf, .png or .svg, found {path}")
    return path
