"""A run in one file, to evaluate or to go on with: save and load, without pickle on either side.

The file is an ``.npz`` archive. ``meta`` holds UTF-8 JSON (configuration,
class names, record, test accuracy); every other entry is an array, named
``params/W1``, ``velocity/W1``, ``preprocessing/mean``, ``history/losses`` and
so on. The file ends in a digest of its content, so that no damage goes unnoticed.
"""

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import asdict, field, frozen
from attrs.validators import deep_iterable, deep_mapping, instance_of, optional

from fnnet.checks import Array, as_float_array, as_path, check_finite, check_type
from fnnet.data.preprocessing import (
    Preprocessing,
    Standardization,
    Whitening,
    input_dim,
    preprocess,
)
from fnnet.files import atomic_write
from fnnet.models import Model, mlp
from fnnet.optim import SgdState
from fnnet.runs.provenance import environment
from fnnet.runs.settings import TrainConfig
from fnnet.training import History, TrainState, fraction
from fnnet.values import FrozenDict, Params, as_params, lock

FORMAT = 2
DIGEST_SIZE = 64  # hexadecimal SHA-256


class CheckpointError(ValueError):
    """A file is missing, is no checkpoint, or its parts do not fit together."""


def _fixed(record: Mapping[str, str]) -> FrozenDict[str]:
    return FrozenDict(record)


@frozen(kw_only=True)
class Checkpoint:
    """A trained model and all that is needed to evaluate it and to train it again."""

    config: TrainConfig
    params: Params = field(converter=as_params)
    preprocessing: Preprocessing
    class_names: tuple[str, ...] = field(validator=deep_iterable(instance_of(str)))
    history: History
    velocity: Params = field(default=Params({}), converter=as_params)
    """The last step of each parameter (:class:`fnnet.optim.SgdState`); none without momentum."""
    record: FrozenDict[str] = field(
        factory=environment,
        converter=_fixed,
        validator=deep_mapping(instance_of(str), instance_of(str)),
    )
    """What made it: programs, machine, and the digest of the training data, by name."""
    test_accuracy: float | None = field(default=None, validator=optional(fraction))
    """Fraction of the test set that is right; None as long as it was never evaluated."""

    @property
    def model(self) -> Model:
        """The model that the parameters belong to."""
        dims = self.config.dims(input_dim(self.preprocessing), len(self.class_names))
        return mlp(dims, self.config.dtype)

    @property
    def state(self) -> TrainState:
        """Where training stands.

        Raises:
            CheckpointError: the run has momentum, and its velocity was not saved.
        """
        losses = self.history.losses
        step = len(losses)
        if self.config.momentum and not self.velocity:
            raise CheckpointError("cannot resume: the checkpoint holds no velocity")
        loss = float(losses[-1]) if step else math.nan
        return TrainState(step, self.params, SgdState(step, self.velocity), loss)

    def preprocess(self, images: Array) -> Array:
        """Return images (N, ...) uint8 as inputs (N, D), as the model was trained on them."""
        return preprocess(self.preprocessing, images, self.config.dtype)


def _plain(value: object) -> object:
    """Return what JSON knows for what it does not: numbers of NumPy, and paths."""
    return value.item() if isinstance(value, np.generic) else str(value)


def under(prefix: str, arrays: Mapping[str, Array]) -> Params:
    """Return the arrays whose names have the prefix, without it."""
    return Params.owning(
        {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    )


def listed(meta: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    """Return the list of that name in JSON; a string, too, would make a tuple."""
    if not isinstance(meta[name], list):
        raise TypeError(f"{name} must be a list, found {type(meta[name]).__name__}")
    return tuple(meta[name])


def restore_preprocessing(fitted: Mapping[str, Array]) -> Preprocessing:
    """Return what was fitted, from its arrays by name."""
    if "matrix" in fitted:
        return Whitening(**{**fitted, "pool": fitted["pool"].item()})
    return Standardization(**fitted)


def previous_path(path: Path) -> Path:
    """Return where training keeps the checkpoint before the one at `path`.

    >>> previous_path(Path("runs/checkpoint.npz")).name
    'checkpoint.previous.npz'
    """
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_checkpoint(
    path: str | Path, checkpoint: Checkpoint, previous: str | Path | None = None
) -> None:
    """Write the checkpoint: to a temporary file, flushed to disk, then renamed to `path`.

    The same checkpoint gives the same bytes. Their number is that of the parameters'
    bytes (twice with momentum) and of the preprocessing's, 8 for each step, 16 for each
    epoch, and at most 16,384 for the rest.

    Args:
        path: the file; at every moment it is the old one or the new one, whole.
        checkpoint: what to write.
        previous: a second name, in the same folder, that the old file gets if it is whole.

    Raises:
        OSError: the file cannot be written; what `path` held before is still there.
    """
    path = as_path("path", path)
    check_type("checkpoint", checkpoint, Checkpoint)
    meta = {
        "format": FORMAT,
        "config": asdict(checkpoint.config),
        "class_names": checkpoint.class_names,
        "record": dict(checkpoint.record),
        "test_accuracy": checkpoint.test_accuracy,
    }
    arrays = {
        "meta": np.frombuffer(json.dumps(meta, default=_plain).encode(), np.uint8),
        **{
            f"preprocessing/{name}": np.asarray(value)
            for name, value in asdict(checkpoint.preprocessing).items()
        },
        **{f"history/{name}": column for name, column in asdict(checkpoint.history).items()},
        **{f"params/{name}": array for name, array in checkpoint.params.items()},
        **{f"velocity/{name}": array for name, array in checkpoint.velocity.items()},
    }
    keep = previous is not None and is_whole(path)
    try:
        write_archive(path, arrays, Path(previous) if previous is not None and keep else None)
    except OSError as error:
        reason = f"cannot write the checkpoint, the old one is still there: {error.strerror}"
        raise OSError(error.errno, reason, str(path)) from error


def write_archive(path: Path, arrays: Mapping[str, Array], previous: Path | None = None) -> None:
    """Write an .npz archive that ends in the SHA-256 of everything before it.

    The digest stands in the archive's comment, so NumPy reads the file as any other.
    `previous` is a second name for what `path` held before.
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = bytes(DIGEST_SIZE)
    content = buffer.getbuffer()[:-DIGEST_SIZE]
    with atomic_write(path, previous) as file:
        file.write(content)
        file.write(hashlib.sha256(content).hexdigest().encode())


def is_whole(path: Path) -> bool:
    """Tell whether the file is there and not one bit has changed since it was written."""
    return path.is_file() and _ends_in_digest(path.read_bytes())


def _ends_in_digest(raw: bytes) -> bool:
    content = memoryview(raw)[:-DIGEST_SIZE]
    return hashlib.sha256(content).hexdigest().encode() == raw[-DIGEST_SIZE:]


def read_archive(path: Path) -> dict[str, Array]:
    """Read what :func:`write_archive` wrote, if not one bit of it has changed.

    The digest finds damage, but whoever makes up a file can make up its digest, too: every
    size that the file states is compared with the bytes that are there before it is believed.

    Raises:
        CheckpointError: the file is missing, damaged, or not as :func:`write_archive` writes.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}")
    raw = path.read_bytes()
    if not _ends_in_digest(raw):
        raise CheckpointError(f"{path} is no checkpoint of fnnet, or is damaged")
    arrays: dict[str, Array] = {}
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise CheckpointError(f"{path} has a compressed entry")
        if sum(entry.file_size for entry in entries) > len(raw):
            raise CheckpointError(f"{path} has entries that are larger than the file")
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name in arrays:
                raise CheckpointError(f"{path} has the entry {name} twice")
            arrays[name] = read_array(f"{path}: {name}", archive.read(entry))
    return arrays


def read_array(name: str, raw: bytes) -> Array:
    """Return the array of numbers in a .npy file, read-only for good and in native byte order.

    It is laid out in memory as the saved one was: training goes on with the same bits.
    """
    file = io.BytesIO(raw)
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"version must be (1, 0), found {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # a literal made up by somebody else can raise nearly anything
        raise CheckpointError(f"{name} has a bad header: {error}") from None
    if dtype.kind not in "uif":
        raise CheckpointError(f"{name} must hold integers or floating numbers, found {dtype}")
    size = len(raw) - file.tell()
    if math.prod(shape) * dtype.itemsize != size:
        raise CheckpointError(f"{name} has {size} bytes of data for {dtype} of shape {shape}")
    array = np.frombuffer(raw, dtype, offset=file.tell())
    array = array.reshape(shape, order="F" if fortran else "C")
    return lock(array.astype(dtype.newbyteorder("=")))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint and check that its parts fit together.

    Raises:
        CheckpointError (a ValueError): the file is missing or damaged, is no
            checkpoint, or its parameters belong to another shape of model. It
            names the previous checkpoint if there is one.
    """
    path = as_path("path", path)
    try:
        return _load(path)
    except Exception as error:  # a file made up by somebody else can raise nearly anything
        known = isinstance(error, CheckpointError)
        reason = str(error) if known else f"{path} does not hold a checkpoint: {error}"
        previous = previous_path(path)
        if previous.is_file():
            reason += f"; the one before it is {previous}"
        raise CheckpointError(reason) from error


def _load(path: Path) -> Checkpoint:
    arrays = read_archive(path)
    meta: dict[str, Any] = json.loads(arrays["meta"].tobytes())
    if meta["format"] != FORMAT:
        raise CheckpointError(
            f"{path} has checkpoint format {meta['format']}, this fnnet reads {FORMAT}"
        )
    history = under("history/", arrays)
    checkpoint = Checkpoint(
        config=TrainConfig(**meta["config"]),
        params=under("params/", arrays),
        preprocessing=restore_preprocessing(under("preprocessing/", arrays)),
        class_names=listed(meta, "class_names"),
        history=History(history["losses"], history["train_accuracy"], history["val_accuracy"]),
        velocity=under("velocity/", arrays),
        record=meta["record"],
        test_accuracy=meta["test_accuracy"],
    )
    for name, array in checkpoint.params.items():
        check_finite(name, array)
    # Refuse what belongs to another model now, not in the middle of an evaluation.
    x = np.zeros((1, input_dim(checkpoint.preprocessing)), checkpoint.config.dtype)
    checkpoint.model.apply(checkpoint.params, x)
    params, velocity = checkpoint.params, checkpoint.velocity
    if velocity and velocity.keys() != params.keys():
        raise CheckpointError(f"{path} must hold a velocity for {[*params]}, found {[*velocity]}")
    for name, v in velocity.items():
        p = params[name]
        check_finite(f"velocity/{name}", as_float_array(f"velocity/{name}", v, p.shape, (name, p)))
    return checkpoint
