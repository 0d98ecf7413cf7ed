"""A trained model in one file: save and load, without pickle on either side.

The file is an ``.npz`` archive. ``meta`` holds UTF-8 JSON (configuration,
class names, accuracies, versions); every other entry is an array, named
``params/W1``, ``preprocessing/mean``, ``history/losses`` and so on. The file
ends in a digest of its content, so that no damage goes unnoticed.
"""

import hashlib
import io
import json
import platform
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import asdict, field, frozen
from attrs.validators import deep_iterable, deep_mapping, instance_of, optional

from fnnet.checks import Array, read_only
from fnnet.config import TrainConfig
from fnnet.files import atomic_write
from fnnet.models import Model, Params, freeze, mlp
from fnnet.preprocessing import (
    Preprocessing,
    Standardization,
    Whitening,
    input_dim,
    preprocess,
)
from fnnet.training import History, fraction

FORMAT = 1
DIGEST_SIZE = 64  # hexadecimal SHA-256


class CheckpointError(ValueError):
    """A file is missing, is no checkpoint, or its parts do not fit together."""


def current_versions() -> dict[str, str]:
    """Return the versions of what computes: fnnet, Python and NumPy."""
    from importlib import metadata  # costs a fifth of `import fnnet`

    return {
        "fnnet": metadata.version("fnnet"),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


@frozen(eq=False, kw_only=True)
class Checkpoint:
    """A trained model and all that is needed to evaluate it and to train it again."""

    config: TrainConfig
    params: Params = field(converter=freeze)
    preprocessing: Preprocessing
    class_names: tuple[str, ...] = field(validator=deep_iterable(instance_of(str)))
    history: History
    versions: dict[str, str] = field(
        factory=current_versions, validator=deep_mapping(instance_of(str), instance_of(str))
    )
    """What made it."""
    test_accuracy: float | None = field(default=None, validator=optional(fraction))
    """Fraction of the test set that is right; None as long as it was never evaluated."""

    @property
    def model(self) -> Model:
        """The model that the parameters belong to."""
        dims = self.config.dims(input_dim(self.preprocessing), len(self.class_names))
        return mlp(dims, self.config.dtype)

    def preprocess(self, images: Array) -> Array:
        """Return images (N, ...) uint8 as inputs (N, D), as the model was trained on them."""
        return preprocess(self.preprocessing, images, self.config.dtype)


def _plain(value: object) -> object:
    """Return what JSON knows for what it does not: numbers of NumPy, and paths."""
    return value.item() if isinstance(value, np.generic) else str(value)


def under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return the arrays whose names have the prefix, without it."""
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


def restore_preprocessing(fitted: Mapping[str, Array]) -> Preprocessing:
    """Return what was fitted, from its arrays by name."""
    if "matrix" in fitted:
        return Whitening(fitted["pool"].item(), fitted["mean"], fitted["matrix"])
    return Standardization(fitted["mean"], fitted["std"])


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint: to a temporary file, flushed to disk, then renamed to `path`.

    The same checkpoint gives the same bytes.

    Raises:
        OSError: the file cannot be written; what `path` held before is still there.
    """
    meta = {
        "format": FORMAT,
        "config": asdict(checkpoint.config),
        "class_names": checkpoint.class_names,
        "train_accuracy": checkpoint.history.train_accuracy,
        "val_accuracy": checkpoint.history.val_accuracy,
        "versions": checkpoint.versions,
        "test_accuracy": checkpoint.test_accuracy,
    }
    arrays = {
        "meta": np.frombuffer(json.dumps(meta, default=_plain).encode(), np.uint8),
        **{
            f"preprocessing/{name}": np.asarray(value)
            for name, value in asdict(checkpoint.preprocessing, recurse=False).items()
        },
        "history/losses": checkpoint.history.losses,
        **{f"params/{name}": array for name, array in checkpoint.params.items()},
    }
    write_archive(Path(path), arrays)


def write_archive(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write an .npz archive that ends in the SHA-256 of everything before it.

    The digest stands in the archive's comment, so NumPy reads the file as any other.
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = bytes(DIGEST_SIZE)
    content = buffer.getvalue()[:-DIGEST_SIZE]
    with atomic_write(path) as file:
        file.write(content)
        file.write(hashlib.sha256(content).hexdigest().encode())


def read_archive(path: Path) -> dict[str, Array]:
    """Read what :func:`write_archive` wrote, if not one bit of it has changed."""
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}")
    raw = path.read_bytes()
    if hashlib.sha256(raw[:-DIGEST_SIZE]).hexdigest().encode() != raw[-DIGEST_SIZE:]:
        raise CheckpointError(f"{path} is no checkpoint of fnnet, or is damaged")
    with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
        return dict(archive)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint and check that its parts fit together.

    Raises:
        CheckpointError (a ValueError): the file is missing or damaged, is no
            checkpoint, or its parameters belong to another shape of model.
    """
    path = Path(path)
    try:
        arrays = read_archive(path)
        meta: dict[str, Any] = json.loads(arrays["meta"].tobytes())
        if meta["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has checkpoint format {meta['format']}, this fnnet reads {FORMAT}"
            )
        checkpoint = Checkpoint(
            config=TrainConfig(**meta["config"]),
            params=under("params/", arrays),
            preprocessing=restore_preprocessing(under("preprocessing/", arrays)),
            class_names=tuple(meta["class_names"]),
            history=History(
                read_only(arrays["history/losses"]),
                tuple(meta["train_accuracy"]),
                tuple(meta["val_accuracy"]),
            ),
            versions=meta["versions"],
            test_accuracy=meta["test_accuracy"],
        )
        # Refuse parameters of another model now, not in the middle of an evaluation.
        x = np.zeros((1, input_dim(checkpoint.preprocessing)), checkpoint.config.dtype)
        checkpoint.model.apply(checkpoint.params, x)
    except CheckpointError:
        raise
    except Exception as error:  # a file made up by somebody else can raise nearly anything
        raise CheckpointError(f"{path} does not hold a checkpoint: {error}") from error
    return checkpoint
