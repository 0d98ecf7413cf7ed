"""Immutable values: arrays, mappings and classes that stay read-only when copied or pickled."""

from collections.abc import ItemsView, Iterator, KeysView, Mapping
from functools import partial
from typing import Any, TypeVar

import numpy as np
from attrs import cmp_using, fields

from fnnet.checks import Array, as_array

T = TypeVar("T")


def lock(array: Array) -> Array:
    """Return a read-only view of an array that has no other reference.

    The array itself is made read-only, too, so that the view cannot be made writable again.
    """
    array.flags.writeable = False
    return array.view()


def locked_copy(array: Array) -> Array:
    """Return a read-only copy, laid out in memory as the array is."""
    return lock(np.array(array, order="K"))


def equal_arrays(a: object, b: object) -> bool:
    """Tell whether two arrays have the same dtype, shape and numbers; NaN equals NaN."""
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray) or a.dtype != b.dtype:
        return False
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


by_content: Any = cmp_using(eq=equal_arrays)
"""``field(eq=by_content)`` compares the arrays of a class."""


def parts(function: object) -> object:
    """Return a value that is equal for equal functions: the parts of a ``partial``.

    ``field(eq=parts)`` makes functions equal that are bound to equal arguments.
    """
    if not isinstance(function, partial):
        return function
    bound = [(name, parts(value)) for name, value in sorted(function.keywords.items())]
    return (function.func, *map(parts, function.args), *bound)


class Rebuilt:
    """Base of a frozen attrs class: copying and unpickling call its constructor.

    So a copy is checked and read-only, too.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        values = {field.name: getattr(self, field.name) for field in fields(type(self))}  # type: ignore[arg-type]
        return partial(type(self), **values), ()


class FrozenDict(Mapping[str, T]):
    """An immutable mapping that can be copied and pickled.

    >>> FrozenDict({"seed": 0})
    FrozenDict({'seed': 0})
    """

    __slots__ = ("_entries",)
    _entries: dict[str, T]

    def __init__(self, entries: Mapping[str, T]) -> None:
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> T:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self._entries.keys()

    def items(self) -> ItemsView[str, T]:
        """Return the pairs of a name and its value."""
        return self._entries.items()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._entries})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._entries,)


class Params(FrozenDict[Array]):
    """Immutable mapping of read-only arrays: W1 (D, H), b1 (H,), W2 (H, C), b2 (C,), and so on.

    The arrays are copies of those given. Params are equal to a mapping with the same
    names, dtypes, shapes and numbers.

    >>> Params({"b1": np.zeros(2)})
    Params({'b1': array([0., 0.])})
    """

    __slots__ = ()

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        super().__init__(
            {name: locked_copy(as_array(name, array)) for name, array in arrays.items()}
        )

    @classmethod
    def owning(cls, arrays: Mapping[str, Array]) -> "Params":
        """Return Params of arrays that have no other references: nothing is copied."""
        params = cls.__new__(cls)
        params._entries = {name: lock(array) for name, array in arrays.items()}
        return params

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.keys() == other.keys() and all(
            equal_arrays(self[name], other[name]) for name in self
        )

    __hash__ = None  # type: ignore[assignment]  # not hashable, like a dict


ParamsLike = Mapping[str, Array]
"""Params, or a plain dict of arrays: what functions accept."""


def as_params(arrays: ParamsLike) -> Params:
    """Return the argument if it is a Params, else a Params with copies of its arrays."""
    return arrays if isinstance(arrays, Params) else Params(arrays)
