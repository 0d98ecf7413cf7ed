"""Arrays of .npy files are read without a warning, and only if all they say is true."""

import re
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from fnnet.npy import from_npy
from tests.helpers import same
from tests.runs.test_hostile_checkpoint import header, npy

ARRAY = np.arange(24, dtype=np.float32).reshape(6, 4)


def read(raw: bytes) -> Any:
    return from_npy(raw, "fSU", "numbers or strings")


@pytest.mark.parametrize("text", [header(), header().replace("6, 4", "6L, 4L")])
def test_headers_of_every_python_are_read_without_a_warning(text: str) -> None:
    assert same(read(npy(text, ARRAY.tobytes())), ARRAY)


def test_old_names_of_dtypes_give_no_warning() -> None:
    with suppress(ValueError):  # NumPy 2.5 does not know it
        assert read(npy(header("a4", (2,)), b"catsdogs")).tolist() == [b"cats", b"dogs"]


def test_the_order_of_the_axes_and_of_the_bytes_is_kept() -> None:
    found = read(npy(header(">f4", fortran_order=True), ARRAY.astype(">f4").tobytes("F")))
    assert np.array_equal(found, ARRAY)
    assert found.flags.f_contiguous
    assert found.dtype == np.dtype(">f4")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("code", [0x110000, 2**32 - 1, 0xD800, 0xDFFF])
def test_strings_hold_characters_only(code: int, order: str) -> None:
    for number, fine in ((code, False), (0x10FFFF, True), (0xD7FF, True), (0xE000, True)):
        raw = npy(header(f"{order}U2", (1,)), np.array([97, number], f"{order}u4").tobytes())
        if fine:
            assert read(raw).tolist() == ["a" + chr(number)]
        else:
            with pytest.raises(ValueError, match="that is not that of a character"):
                read(raw)


WRONG = {
    "negative": (header(shape=(-6, -4)), "has 96 bytes of data"),
    "too large": (header(shape=(7, 4)), "has 96 bytes of data"),
    "empty strings": (header("<U0", (3,)), "has 96 bytes of data"),
    "another kind": (header("<c8", (12,)), "must hold numbers or strings, found complex64"),
    "no header": ("[1, 2]\n", "has a bad header"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_not_true_is_refused(kind: str) -> None:
    text, message = WRONG[kind]
    with pytest.raises(ValueError, match=re.escape(message)):
        read(npy(text, ARRAY.tobytes()))
