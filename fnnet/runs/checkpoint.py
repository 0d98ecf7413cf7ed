"""A run in one file, to evaluate or to go on with: save and load, without pickle on either side.

The file is an archive (:mod:`fnnet.runs.archive`). ``meta`` holds UTF-8 JSON (settings, class
names, provenance, test accuracy); every other entry is an array, named ``params/W1``,
``opt_state/velocity/W1``, ``preprocessing/mean``, ``history/losses`` and so on.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import asdict, field, frozen
from attrs.validators import deep_iterable, deep_mapping, instance_of, optional

from fnnet.checks import Array, as_file_path, check_type
from fnnet.data.preprocessing import (
    Preprocessing,
    Standardization,
    Whitening,
    input_dim,
    preprocess,
)
from fnnet.models import Model, mlp
from fnnet.optim import Optimizer, sgd
from fnnet.runs.archive import CheckpointError, is_whole, read_archive, write_archive
from fnnet.runs.formats import from_format_2
from fnnet.runs.names import previous_path
from fnnet.runs.provenance import environment
from fnnet.runs.settings import TrainConfig
from fnnet.runs.state import check_array, flatten, restore
from fnnet.training import History, TrainState
from fnnet.validators import boolean, fraction
from fnnet.values import FrozenDict, Params, as_params

FORMAT = 4


def _fixed(provenance: Mapping[str, str]) -> FrozenDict[str]:
    return FrozenDict(provenance)


@frozen(kw_only=True)
class Checkpoint:
    """A trained model and all that is needed to evaluate it and to train it again."""

    config: TrainConfig
    params: Params = field(converter=as_params)
    preprocessing: Preprocessing
    class_names: tuple[str, ...] = field(validator=deep_iterable(instance_of(str)))
    history: History
    opt_state: Params = field(default=Params({}), converter=as_params)
    """The arrays of the optimizer's state, by path (:func:`fnnet.runs.state.flatten`)."""
    provenance: FrozenDict[str] = field(
        factory=environment,
        converter=_fixed,
        validator=deep_mapping(instance_of(str), instance_of(str)),
    )
    """What made it: programs, machine, and the digests of training and validation data, by name
    (:func:`fnnet.runs.provenance.run_provenance`)."""
    test_accuracy: float | None = field(default=None, validator=optional(fraction))
    """Fraction of the test set that is right; None as long as it was never evaluated."""
    test_set_used: bool = field(default=False, validator=boolean)
    """Whether any epoch of this run was evaluated on the test set."""

    @property
    def model(self) -> Model:
        """The model that the parameters belong to."""
        dims = self.config.dims(input_dim(self.preprocessing), len(self.class_names))
        return mlp(dims, self.config.dtype)

    def state(self, optimizer: Optimizer | None = None) -> TrainState:
        """Return where training stands.

        Args:
            optimizer: the one of the run; by default SGD with its settings.

        Raises:
            CheckpointError: the optimizer's state was not saved, or is that of another one.
        """
        losses = self.history.losses
        if optimizer is None:  # neither the learning rate nor nesterov is part of the state
            optimizer = sgd(0.0, self.config.momentum)
        opt_state = restore(optimizer.init(self.params), self.opt_state)
        loss = float(losses[-1]) if len(losses) else math.nan
        return TrainState(len(losses), self.params, opt_state, loss)

    @property
    def num_epochs(self) -> int:
        """Epochs that it was trained for."""
        return len(self.history.val_accuracy)

    def preprocess(self, images: Array) -> Array:
        """Return images or features (N, ...) as inputs (N, D), as the model was trained on them."""
        return preprocess(self.preprocessing, images, self.config.dtype)


def checkpoint_of(state: TrainState, **parts: Any) -> Checkpoint:
    """Return the checkpoint of a training state and of the other parts of a run, by name."""
    return Checkpoint(params=state.params, opt_state=flatten(state.opt_state), **parts)


def _plain(value: object) -> object:
    """Convert NumPy scalars and paths to JSON types."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _under(prefix: str, arrays: Mapping[str, Array]) -> Params:
    """Return the arrays whose names have the prefix, without it."""
    found = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    return Params.owning(found)


def _listed(meta: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    """Return a list in JSON as a tuple; a string is refused."""
    if not isinstance(meta[name], list):
        raise TypeError(f"{name} must be a list, found {type(meta[name]).__name__}")
    return tuple(meta[name])


def _restore_preprocessing(fitted: Mapping[str, Any]) -> Preprocessing:
    """Return what was fitted, from its arrays by name."""
    known = {
        "shape": tuple(fitted["shape"].tolist()) if "shape" in fitted else None,
        "of_features": bool(fitted.get("of_features", False)),
    }
    if "matrix" in fitted:
        return Whitening(**{**fitted, **known, "pool": fitted["pool"].item()})
    return Standardization(**{**fitted, **known})


def save_checkpoint(
    path: str | Path, checkpoint: Checkpoint, previous: str | Path | None = None
) -> None:
    """Write the checkpoint: to a temporary file, flushed to disk, then renamed to `path`.

    The same checkpoint gives the same bytes. The file's size is the sum of the parameters'
    (twice with momentum), the preprocessing's, 16 bytes for each step, 24 for each epoch, and
    at most 16,384 for the rest.

    Args:
        path: the file; at every moment it is the old one or the new one, whole.
        checkpoint: what to write.
        previous: a second name, in the same folder, that the old file gets if it is whole.

    Raises:
        CheckpointError (a ValueError): the parts do not fit together; such a file could not
            be loaded.
        OSError: the file cannot be written; what `path` held before is still there.
    """
    path = as_file_path("path", path)
    try:
        _check_parts(check_type("checkpoint", checkpoint, Checkpoint))
    except ValueError as error:
        raise CheckpointError(f"the checkpoint cannot be saved: {error}") from None
    meta = {
        "format": FORMAT,
        "config": asdict(checkpoint.config),
        "class_names": checkpoint.class_names,
        "provenance": dict(checkpoint.provenance),
        "test_accuracy": checkpoint.test_accuracy,
        "test_set_used": checkpoint.test_set_used,
    }
    arrays = {
        "meta": np.frombuffer(json.dumps(meta, default=_plain).encode(), np.uint8),
        **{
            f"preprocessing/{name}": np.asarray(int(value) if isinstance(value, bool) else value)
            for name, value in asdict(checkpoint.preprocessing).items()
            if value is not None
        },
        **{f"history/{name}": column for name, column in asdict(checkpoint.history).items()},
        **{f"params/{name}": array for name, array in checkpoint.params.items()},
        **{f"opt_state/{name}": array for name, array in checkpoint.opt_state.items()},
    }
    keep = previous is not None and is_whole(path)
    write_archive(path, arrays, Path(previous) if previous is not None and keep else None)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint and check that its parts fit together.

    Raises:
        CheckpointError (a ValueError): the file is missing or damaged, is not a
            checkpoint, or its parameters belong to another shape of model. The
            message names the previous checkpoint if there is one.
    """
    path = as_file_path("path", path)
    try:
        return _load(path)
    except Exception as error:  # a hostile file can raise nearly anything
        known = isinstance(error, CheckpointError)
        reason = str(error) if known else f"{path} does not hold a checkpoint: {error}"
        previous = previous_path(path)
        if previous.is_file():
            reason += f"; the one before it is {previous}"
        raise CheckpointError(reason) from error


def _load(path: Path) -> Checkpoint:
    arrays = read_archive(path)
    meta: dict[str, Any] = json.loads(arrays["meta"].tobytes())
    if meta["format"] == 2:
        meta, arrays = from_format_2(meta, arrays)
    elif meta["format"] not in (3, FORMAT):
        raise CheckpointError(
            f"{path} has checkpoint format {meta['format']}, this fnnet reads 2 to {FORMAT}"
        )
    history = _under("history/", arrays)
    checkpoint = Checkpoint(
        config=TrainConfig(**meta["config"]),
        params=_under("params/", arrays),
        preprocessing=_restore_preprocessing(_under("preprocessing/", arrays)),
        class_names=_listed(meta, "class_names"),
        history=History(**history),
        opt_state=_under("opt_state/", arrays),
        provenance=meta["provenance"],
        test_accuracy=meta["test_accuracy"],
        test_set_used=meta.get("test_set_used", meta["test_accuracy"] is not None),
    )
    _check_parts(checkpoint)
    return checkpoint


def _check_parts(checkpoint: Checkpoint) -> None:
    """Raise ValueError unless the parts of a checkpoint fit together."""
    for name, array in {**checkpoint.params, **checkpoint.opt_state}.items():
        check_array(name, array)
    # Refuse parameters of another model here, not in the middle of an evaluation.
    dtype = np.dtype(checkpoint.config.dtype)
    x = np.zeros((1, input_dim(checkpoint.preprocessing)), dtype)
    try:
        checkpoint.model.apply(checkpoint.params, x)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the parameters do not belong to hidden_dim {checkpoint.config.hidden_dim} and "
            f"dtype {dtype}: {error}"
        ) from None
