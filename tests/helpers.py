"""What several test modules compare with: purity, memory layouts, and slow references."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

from fnnet.checks import Array

Wide = Any  # a longdouble, or an array of them: the extended precision of the references


def same(a: Any, b: Any) -> bool:
    """Tell whether two results are the same, dtypes and bits, at any depth."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, Mapping):
        return [*a] == [*b] and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(type(a) is type(b) and a == b)


def close(a: Any, b: Any) -> bool:
    """Tell whether two results have the same dtypes and, but for rounding, numbers."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.allclose(a, b, rtol=1e-5, atol=1e-6)
    if isinstance(a, Mapping):
        return [*a] == [*b] and all(close(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(close, a, b))
    return type(a) is type(b) and bool(np.isclose(a, b, rtol=1e-5, atol=1e-6))


def read_only(array: Array) -> Array:
    """Return a copy that cannot be written to."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def is_immutable(array: Array) -> bool:
    """Tell whether nobody can write to the array's memory, not through its bases either."""
    owner: object = array
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return False
        owner = owner.base
    try:
        array.flags.writeable = True
    except ValueError:
        return True
    return False


def assert_pure(f: Callable[..., Any], *args: Array) -> None:
    """Check that f takes read-only arrays, leaves writable ones alone, and repeats itself."""
    writable = [arg.copy() for arg in args]
    first = f(*writable)
    assert all(map(same, args, writable)), "an argument was written to"
    assert same(first, f(*map(read_only, args)))
    assert same(first, f(*writable)), "the second call has another result"


def every_second(array: Array) -> Array:
    """Return a view of every second column of a larger array."""
    larger = np.full((*array.shape[:-1], 2 * array.shape[-1]), 77, array.dtype)
    larger[..., ::2] = array
    return larger[..., ::2]


def mapped(array: Array) -> Array:
    """Return a memory-mapped copy."""
    with tempfile.TemporaryFile() as file:
        array.tofile(file)
        file.flush()
        return np.memmap(file, array.dtype, "r", shape=array.shape)


FORMS: dict[str, Callable[[Array], Array]] = {
    "fortran": np.asfortranarray,
    "every second": every_second,
    "backwards": lambda a: np.flip(np.flip(a).copy()),
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "memory-mapped": mapped,
}


def assert_any_form(f: Callable[..., Any], *args: Array) -> None:
    """Check that the memory layout and the byte order of the arguments change no result."""
    expected = f(*args)
    for name, form in FORMS.items():
        assert close(f(*map(form, args)), expected), name


def central_difference(f: Callable[[Wide], Wide], h: float = 1e-6) -> Wide:
    """Return df/dt at t = 0."""
    step = np.longdouble(h)
    return (f(step) - f(-step)) / (2 * step)


def wide(array: Array) -> Wide:
    """Return the array in extended precision."""
    return array.astype(np.longdouble)


def inner(a: Any, b: Any) -> float:
    """Return the inner product, accumulated in extended precision."""
    return float((wide(np.asarray(a)) * wide(np.asarray(b))).sum())


def reference_layers(params: Mapping[str, Array], x: Array) -> list[Wide]:
    """Return the output of each fc layer before its ReLU; the last one is the scores."""
    outputs: list[Wide] = []
    y = wide(x)
    for i in count(1):
        if f"W{i}" not in params:
            return outputs
        if outputs:
            y = np.where(outputs[-1] > 0, outputs[-1], 0)
        y = (y[:, :, None] * wide(params[f"W{i}"])).sum(axis=1) + wide(params[f"b{i}"])
        outputs.append(y)
    raise AssertionError


def reference_softmax(scores: Array, labels: Sequence[int] | Array) -> Wide:
    """Return the mean cross-entropy as a longdouble."""
    shifted = wide(scores) - wide(scores).max(axis=1, keepdims=True)
    right = shifted[np.arange(len(shifted)), labels]
    return (np.log(np.exp(shifted).sum(axis=1)) - right).mean()


def reference_loss(params: Mapping[str, Array], x: Array, labels: Array, reg: float) -> Wide:
    """Return the loss that training minimizes: softmax, and L2 on the weights only."""
    squares = sum((wide(p) ** 2).sum() for name, p in params.items() if name[0] == "W")
    return reference_softmax(reference_layers(params, x)[-1], labels) + reg * squares / 2
