"""The arrays in a training state, by name, and the state from them again.

Only the optimizer knows what its state holds: its ``init`` makes a state of the same structure,
and the saved numbers replace those in it.

    arrays = flatten(state.opt_state)                        # {"step": …, "velocity/W1": …}
    state = restore(optimizer.init(params), arrays)
"""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import numpy as np

from fnnet.checks import Array, check_finite
from fnnet.runs.archive import CheckpointError
from fnnet.values import Params


def flatten(value: Any, path: str = "") -> dict[str, Array]:
    """Return the arrays and numbers of a value by their path, such as ``velocity/W1``.

    Args:
        value: an array, a number, or a mapping, tuple or attrs class of such values.
        path: of the value itself.
    """
    parts = _parts(value)
    if parts is None:
        return {path: np.asarray(value)}
    return {
        name: array
        for key, part in parts
        for name, array in flatten(part, f"{path}/{key}" if path else key).items()
    }


def restore(like: Any, arrays: Mapping[str, Array], path: str = "") -> Any:
    """Return a value of the structure of `like`, with the numbers of :func:`flatten`.

    Raises:
        CheckpointError: an array is missing, or has another shape or dtype than in `like`.
    """
    parts = _parts(like)
    if parts is None:
        return _leaf(like, arrays, path)
    values = {key: restore(part, arrays, f"{path}/{key}" if path else key) for key, part in parts}
    if attrs.has(type(like)):
        return attrs.evolve(like, **values)
    if isinstance(like, Params):
        return Params(values)
    return tuple(values.values()) if isinstance(like, tuple) else values


def _parts(value: Any) -> Iterable[tuple[str, Any]] | None:
    """Return the named parts of a value, or None if it is an array or a number."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, tuple):
        return ((str(i), part) for i, part in enumerate(value))
    if attrs.has(type(value)):
        return ((f.name, getattr(value, f.name)) for f in attrs.fields(type(value)))
    return None


def _leaf(like: Any, arrays: Mapping[str, Array], path: str) -> Any:
    if path not in arrays:
        raise CheckpointError(f"cannot resume: the checkpoint does not hold {path}")
    array, wanted = arrays[path], np.asarray(like)
    if array.shape != wanted.shape or array.dtype != wanted.dtype:
        raise CheckpointError(
            f"cannot resume: {path} must be {wanted.dtype} of shape {wanted.shape}, "
            f"found {array.dtype} of shape {array.shape}"
        )
    if isinstance(like, np.ndarray):
        check_finite(path, array)
        return array
    return array.item()
