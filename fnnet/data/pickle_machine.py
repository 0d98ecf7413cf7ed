"""The machine that reads a pickle: a file, a place in it, a stack with marks, and a memo."""

import struct
from typing import Any

from attrs import define, field, frozen

from fnnet.data.errors import DataError


@frozen
class Name:
    """A name that a pickled array reaches for; never looked up."""

    name: str


@define(eq=False)
class PickledArray:
    """What a pickle says of an array."""

    state: tuple[Any, ...] = ()
    """(version, shape, dtype, whether in Fortran order, bytes), or () before it is said."""


@define(eq=False)
class PickledDtype:
    """What a pickle says of a dtype."""

    code: bytes
    """Such as ``u1``."""
    state: tuple[Any, ...] = ()


@define(eq=False)
class Machine:
    """The state of the machine; its instructions are in :mod:`fnnet.data.pickles`."""

    raw: bytes
    at: int = 0
    stack: list[Any] = field(factory=list)
    marks: list[int] = field(factory=list)
    memo: dict[int, Any] = field(factory=dict)

    def byte(self) -> int:
        """Return the next byte of the file."""
        if self.at >= len(self.raw):
            raise DataError("it is damaged: it ends too early")
        self.at += 1
        return self.raw[self.at - 1]

    def number(self, form: struct.Struct) -> int:
        """Return the next number of the file."""
        if self.at + form.size > len(self.raw):
            raise DataError("it is damaged: it ends too early")
        (number,) = form.unpack_from(self.raw, self.at)
        self.at += form.size
        return int(number)

    def string(self, length: int) -> None:
        """Push the next bytes of the file."""
        end = self.at + length
        if not self.at <= end <= len(self.raw):
            raise DataError("it is damaged: it ends too early")
        self.stack.append(self.raw[self.at : end])
        self.at = end

    def pop(self) -> Any:
        """Return the top of the stack, and take it off."""
        if not self.stack:
            raise DataError("it is damaged: it takes from an empty stack")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        """Return what lies above the last mark, and take it off."""
        if not self.marks:
            raise DataError("it is damaged: it looks for a mark that is not there")
        place = self.marks.pop()
        items = self.stack[place:]
        del self.stack[place:]
        return items

    def top(self, kind: type) -> Any:
        """Return the top of the stack, which must have a type."""
        if not self.stack or type(self.stack[-1]) is not kind:
            raise DataError(f"it is damaged: it fills a {kind.__name__} that is not there")
        return self.stack[-1]
