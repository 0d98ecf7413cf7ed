"""A training state as arrays by name, in a file, and the state from them again.

Only the optimizer knows what its state holds: its ``init`` makes a state of the same structure,
and the saved numbers replace those in it.

    arrays = flatten(state.opt_state)                        # {"step": …, "velocity/W1": …}
    state = restore(optimizer.init(params), arrays)

    save_state("own.npz", state)                             # a TrainState of any model
    state = load_state("own.npz", init_state(model, optimizer, rng))
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from fnnet.checks import Array, as_array, as_file_path, check_finite
from fnnet.runs.archive import CheckpointError, read_archive, write_archive
from fnnet.values import FrozenDict

PREFIX = "state/"


def flatten(value: Any, path: str = "") -> dict[str, Array]:
    """Return the arrays and numbers of a value by their path, such as ``velocity/W1``.

    Args:
        value: an array, a number, or a mapping, tuple or attrs class of such values.
        path: of the value itself.

    Raises:
        TypeError: a part is anything else, such as a list, None or text.
        ValueError: a key of a mapping is not printable text, or two parts have the same path.
    """
    parts = _parts(value)
    if parts is None:
        return {path: _saved(path, value)}
    arrays: dict[str, Array] = {}
    for key, part in parts:
        found = flatten(part, _join(path, key))
        if found.keys() & arrays.keys():
            raise ValueError(f"two parts of the state have the path {_join(path, key)}")
        arrays |= found
    return arrays


def restore(like: Any, arrays: Mapping[str, Array]) -> Any:
    """Return a value of the structure of `like`, with the numbers of :func:`flatten`.

    Raises:
        CheckpointError: an array is missing, has another shape or dtype than in `like`, or
            has no place in `like`.
    """
    value = _restore(like, arrays, "")
    if extra := sorted(arrays.keys() - flatten(like).keys()):
        raise CheckpointError(f"cannot resume: the checkpoint holds {extra[0]}, the state does not")
    return value


def save_state(path: str | Path, state: Any) -> None:
    """Write a training state, or any other value that :func:`flatten` takes, to an .npz file.

    It is the way to save a model of your own: a :class:`fnnet.Checkpoint` is that of a
    :class:`fnnet.TrainConfig`. The file is at every moment the old one or the new one, whole.

    Args:
        path: the file.
        state: such as a :class:`fnnet.TrainState`. Its arrays must be finite. A single number
            may be NaN or infinite, as the loss before the first step is.

    Raises:
        TypeError, ValueError: what :func:`flatten` raises, or an array is not finite.
        OSError: the file cannot be written; what `path` held before is still there.
    """
    path = as_file_path("path", path)
    arrays = flatten(state)
    for name, array in arrays.items():
        check_array(name, array)
    write_archive(path, {PREFIX + name: array for name, array in arrays.items()})


def load_state(path: str | Path, like: Any) -> Any:
    """Read what :func:`save_state` wrote, bit for bit.

    Args:
        path: the file.
        like: a value of the same structure, shapes and dtypes, such as the state before the
            first step; its numbers are not used.

    Raises:
        CheckpointError (a ValueError): the file is missing or damaged, or does not fit `like`.
    """
    flatten(like)  # refuses it before the file is read
    arrays = read_archive(as_file_path("path", path))
    return restore(like, {name.removeprefix(PREFIX): array for name, array in arrays.items()})


def check_array(name: str, array: Array) -> None:
    """Raise NonFiniteError unless the array is finite, or a single number."""
    if array.ndim and array.dtype.kind == "f":
        check_finite(name, array)


def _restore(like: Any, arrays: Mapping[str, Array], path: str) -> Any:
    parts = _parts(like)
    if parts is None:
        return _leaf(like, arrays, path)
    values = {key: _restore(part, arrays, _join(path, key)) for key, part in parts}
    if attrs.has(type(like)):
        return attrs.evolve(like, **values)
    if isinstance(like, FrozenDict):
        return type(like)(values)
    if hasattr(like, "_fields"):  # a named tuple
        return type(like)(*values.values())
    return tuple(values.values()) if isinstance(like, tuple) else values


def _join(path: str, key: str) -> str:
    return f"{path}/{key}" if path else key


def _parts(value: Any) -> Iterable[tuple[str, Any]] | None:
    """Return the named parts of a value, or None if it is an array or a number."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or not key.isprintable():
                raise ValueError(f"keys of the state must be printable text, found {key!r}")
        return value.items()
    if isinstance(value, tuple):
        return ((str(i), part) for i, part in enumerate(value))
    if attrs.has(type(value)):
        fields = attrs.fields(type(value))
        return ((f.alias, getattr(value, f.name)) for f in fields if f.init)
    return None


def _saved(path: str, value: Any) -> Array:
    """Return an array or a number as it is saved: truth values as bytes."""
    own = isinstance(value, np.ndarray | np.generic)
    array = as_array(path, value) if isinstance(value, np.ndarray) else np.asarray(value)
    # A Python integer of kind "u" or "O" does not fit in int64: another one would not restore.
    if not (own or isinstance(value, int | float)) or array.dtype.kind not in "bif" + "u" * own:
        raise TypeError(
            f"{path or 'the state'} must be an array of numbers or a number of 64 bits, or a dict, "
            f"tuple or attrs class of them, found {type(value).__name__}"
        )
    return array.view(np.uint8) if array.dtype == bool else array


def _leaf(like: Any, arrays: Mapping[str, Array], path: str) -> Any:
    if path not in arrays:
        raise CheckpointError(f"cannot resume: the checkpoint does not hold {path}")
    array, wanted = arrays[path], _saved(path, like)
    if array.shape != wanted.shape or array.dtype != wanted.dtype:
        raise CheckpointError(
            f"cannot resume: {path} must be {wanted.dtype} of shape {wanted.shape}, "
            f"found {array.dtype} of shape {array.shape}"
        )
    if not isinstance(like, np.ndarray):
        return type(like)(array[()])
    check_array(path, array)
    return array.astype(bool) if like.dtype == bool else array
