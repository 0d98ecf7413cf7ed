"""Arrays in ``.npy`` files that anybody may have made: no pickle, no warning, no size unchecked."""

import io
import math
import warnings
from typing import Any, BinaryIO

import numpy as np

from fnnet.checks import Array

LAST_CHARACTER = 0x10FFFF  # of Unicode


def read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of a .npy file: the shape, whether in Fortran order, and the dtype.

    Raises:
        ValueError: there is no header of version (1, 0).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a header of Python 2, an old name of a dtype
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"version must be (1, 0), found {version}")
            return np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # a hostile header can raise nearly anything
        raise ValueError(f"has a bad header: {error}") from None


def from_npy(raw: bytes, kinds: str, wanted: str) -> Array:
    """Return the array in a .npy file: a view of `raw`, in the byte order of the file.

    Args:
        raw: the file.
        kinds: the kinds of dtype that it may have, as NumPy's letters.
        wanted: the same in words.

    Raises:
        ValueError: the header is bad, the dtype is of another kind, the size is not that of
            the data, or a string holds what is not Unicode.
    """
    file = io.BytesIO(raw)
    shape, fortran, dtype = read_header(file)
    if dtype.kind not in kinds:
        raise ValueError(f"must hold {wanted}, found {dtype}")
    size = len(raw) - file.tell()
    fits = math.prod(shape) * dtype.itemsize == size and min(shape, default=0) >= 0
    if not fits or dtype.itemsize == 0:
        raise ValueError(f"has {size} bytes of data for {dtype} of shape {shape}")
    flat = np.frombuffer(raw, dtype, offset=file.tell())
    if dtype.kind == "U":
        _check_unicode(flat.view(np.dtype(np.uint32).newbyteorder(dtype.byteorder)))
    return flat.reshape(shape, order="F" if fortran else "C")


def _check_unicode(codes: Array) -> None:
    """Raise ValueError unless all numbers are those of characters that UTF-8 can hold."""
    if ((codes > LAST_CHARACTER) | ((codes >= 0xD800) & (codes < 0xE000))).any():
        raise ValueError("holds strings with a number that is not that of a character")
