"""All settings of a training run: one frozen value, checked when it is made."""

import numbers
from pathlib import Path
from typing import Any, Literal

import numpy as np
from attrs import Attribute, asdict, field, frozen
from attrs.validators import optional

from fnnet.checks import as_integer
from fnnet.data.folders import default_data_dir
from fnnet.files import home
from fnnet.limits import (
    MAX_COUNT,
    MAX_LAYERS,
    MAX_MICRO_BATCHES,
    MAX_SHIFT,
    MAX_SIDE,
    MAX_THREADS,
    MAX_WIDTH,
)
from fnnet.threads import default_num_threads
from fnnet.validators import at_least, between, boolean, one_of, path


def _named(_: object, attribute: "Attribute[Any]", value: object) -> None:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{attribute.name} must be a name or a path, found {value!r}")


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _as_widths(value: object) -> object:
    """Return one width, or a list of widths, as a tuple; 0 is none, as in a linear classifier."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return (int(value),) if value else ()
    if isinstance(value, list | tuple):
        return tuple(int(w) if isinstance(w, np.integer) else w for w in value)
    return value


def _widths(_: object, attribute: "Attribute[Any]", value: object) -> None:
    widths: Any = value
    if not isinstance(value, tuple):
        raise TypeError(
            f"{attribute.name} must be an integer, or several, found {type(value).__name__}"
        )
    for width in widths:
        as_integer(attribute.name, width, 1, MAX_WIDTH)
    if len(widths) > MAX_LAYERS:
        raise ValueError(f"{attribute.name} must have at most {MAX_LAYERS} widths")


@frozen(kw_only=True)
class TrainConfig:
    """Settings of a training run; :func:`default_config` has good ones for each dataset.

    Raises:
        TypeError, ValueError: a setting has the wrong type or is out of its range.
    """

    dataset: str = field(converter=_as_text, validator=_named)
    """What to train on: digits, cifar10, or the path of a folder or an .npz file."""
    image_size: int | None = field(default=None, validator=optional(at_least(1, MAX_SIDE)))
    """A folder of pictures: resize the shorter side to this number of pixels, crop the center."""
    num_train: int | None = field(default=None, validator=optional(at_least(1, MAX_COUNT)))
    """Examples to train on; None for all that do not validate."""
    num_val: int | None = field(default=None, validator=optional(at_least(1, MAX_COUNT)))
    """Examples to validate on; None for a tenth."""
    preprocessing: Literal["standardize", "whiten"] = field(
        default="standardize", validator=one_of("standardize", "whiten")
    )
    """How pixels become inputs: each one standardized, or all whitened by PCA."""
    components: int = field(default=512, validator=at_least(1, MAX_COUNT))
    """Whitening: how many principal components to keep, at most."""
    epsilon: float = field(default=0.3, validator=between(1e-12))
    """Whitening: added to each variance, as a multiple of the mean variance."""
    pool: int = field(default=1, validator=at_least(1, MAX_SIDE))
    """Whitening: average blocks of pool×pool pixels first."""
    flip: bool = field(default=False, validator=boolean)
    """Augmentation: mirror each training image with probability 1/2."""
    shift: int = field(default=0, validator=at_least(0, MAX_SHIFT))
    """Augmentation: move each training image by up to this number of pixels in each direction."""
    rotate: float = field(default=0.0, validator=between(0, 180))
    """Augmentation: turn each training image by up to this number of degrees to either side."""
    zoom: float = field(default=0.0, validator=between(0, 1))
    """Augmentation: enlarge or shrink each training image by a factor of up to 1 + this number."""
    color: float = field(default=0.0, validator=between(0, 1))
    """Augmentation: change contrast, brightness and color of each training image by up to this
    fraction."""
    tta_flip: bool = field(default=False, validator=boolean)
    """Test-time augmentation: average the scores of an image and its mirror image."""
    patience: int | None = field(default=None, validator=optional(at_least(1, MAX_COUNT)))
    """End a run whose validation accuracy has not improved for this number of epochs."""
    tta_shift: int = field(default=0, validator=at_least(0, MAX_SHIFT))
    """Test-time augmentation after the last epoch: average the scores of an image moved by up to
    this number of pixels, too."""
    hidden_dim: tuple[int, ...] = field(converter=_as_widths, validator=_widths)
    """Width of each hidden layer; none for a linear classifier."""
    batch_size: int = field(validator=at_least(1, MAX_COUNT))
    """Examples in a minibatch."""
    num_epochs: int = field(validator=at_least(1, MAX_COUNT))
    """Passes over the training examples."""
    learning_rate: float = field(validator=between(0))
    """Learning rate of SGD, at its highest."""
    schedule: Literal["constant", "linear", "cosine", "step"] = field(
        default="constant", validator=one_of("constant", "linear", "cosine", "step")
    )
    """How the learning rate falls; "step" divides it by 10 after 1/2 and 3/4 of the steps."""
    warm_up: float = field(default=0.0, validator=between(0, MAX_COUNT))
    """Epochs in which the learning rate rises from 0."""
    momentum: float = field(default=0.0, validator=between(0, 1, below_high=True))
    """Momentum of SGD, in [0, 1); 0 is plain SGD."""
    nesterov: bool = field(default=False, validator=boolean)
    """Use Nesterov's momentum."""
    reg: float = field(validator=between(0))
    """Strength of the L2 regularization of the weights."""
    seed: int = field(default=0, validator=at_least(0))
    """Decides the split, the initial weights, the order of the batches and the augmentation."""
    dtype: Literal["float32", "float64"] = field(
        default="float32", validator=one_of("float32", "float64")
    )
    """Precision of the training."""
    micro_batches: int = field(default=1, validator=at_least(1, MAX_MICRO_BATCHES))
    """Parts of a batch that ranks can share; another number rounds gradients in another way."""
    num_threads: int = field(factory=default_num_threads, validator=at_least(1, MAX_THREADS))
    """Threads of the BLAS library; another number may round in another way."""
    data_dir: Path = field(factory=default_data_dir, converter=home, validator=path)
    """Folder that holds cifar-10-batches-bin or cifar-10-batches-py."""

    def __attrs_post_init__(self) -> None:
        if self.micro_batches > self.batch_size:
            raise ValueError(
                f"micro_batches must be at most batch_size, {self.batch_size}, "
                f"found {self.micro_batches}"
            )

    def dims(self, input_dim: int, num_classes: int) -> tuple[int, ...]:
        """Return the widths of the network's layers, as :func:`fnnet.mlp` takes them."""
        return (input_dim, *self.hidden_dim, num_classes)


FREE = frozenset({"dataset", "data_dir", "patience", "tta_shift"})
"""Settings that change no bit of the parameters or of the history.

The digests of the data say which data they are, wherever they lie.
"""


def without_effect(config: TrainConfig) -> dict[str, str]:
    """Return the settings that change nothing beside the others, by name, and why."""
    unused: dict[str, str] = {}
    if config.preprocessing != "whiten":
        unused |= dict.fromkeys(("components", "epsilon", "pool"), "without whitening")
    if not config.momentum:
        unused["nesterov"] = "without momentum"
    if config.dataset != "cifar10":
        unused["data_dir"] = f"on the dataset {config.dataset}"
    return unused


def fixed_settings(config: TrainConfig) -> dict[str, Any]:
    """Return the settings, by name, that the bits of a run depend on."""
    return {name: value for name, value in asdict(config).items() if name not in FREE}
