"""All settings of a training run: one frozen value, checked when it is made."""

import math
import os
from pathlib import Path
from typing import Any, Literal

from attrs import Attribute, field, frozen, validators

from fnnet.checks import as_integer, as_number, as_path, as_picture_path
from fnnet.limits import MAX_MICRO_BATCHES, MAX_SHIFT, MAX_THREADS, MAX_WIDTH
from fnnet.threads import default_num_threads

DATASETS = ("digits", "cifar10")


def default_data_dir() -> Path:
    """Return ``$FNNET_DATA_DIR`` or the platform's cache folder for fnnet."""
    import platformdirs

    return Path(os.environ.get("FNNET_DATA_DIR") or platformdirs.user_cache_path("fnnet"))


def _at_least(low: int, high: int | None = None) -> Any:
    def check(_: object, attribute: "Attribute[Any]", value: object) -> None:
        as_integer(attribute.name, value, low, high)

    return check


def _between(low: float, high: float = math.inf, *, below_high: bool = False) -> Any:
    def check(_: object, attribute: "Attribute[Any]", value: object) -> None:
        number = as_number(attribute.name, value, low, high)
        if below_high and number == high:
            raise ValueError(f"{attribute.name} must be below {high:g}, found {value}")

    return check


def _one_of(*names: str) -> Any:
    def check(_: object, attribute: "Attribute[Any]", value: object) -> None:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"{attribute.name} must be one of {', '.join(names)}, found {value!r}")

    return check


def _preset(config: object, attribute: "Attribute[Any]", value: object) -> None:
    _one_of(*PRESETS)(config, attribute, value)


def _as_path(value: str | Path) -> Path:
    return Path(value) if isinstance(value, str) else value  # the validator knows its name


def _path(_: object, attribute: "Attribute[Any]", value: object) -> None:
    as_path(attribute.name, value)


def _picture_path(_: object, attribute: "Attribute[Any]", value: object) -> None:
    as_picture_path(attribute.name, value)


_BOOL: Any = validators.instance_of(bool)


@frozen(kw_only=True)
class TrainConfig:
    """Settings of a training run; :func:`default_config` has good ones for each dataset.

    Raises:
        TypeError, ValueError: a setting has the wrong type or is out of its range.
    """

    preset: Literal["digits", "cifar10", "homework", "fast", "minute", "best"] = field(
        validator=_preset
    )
    """The defaults for the rest: those of a dataset, or a recipe for CIFAR-10 (see the README)."""
    dataset: Literal["digits", "cifar10"] = field(validator=_one_of(*DATASETS))
    """What to train on; each dataset has its own defaults."""
    num_train: int = field(validator=_at_least(1))
    """Examples to train on."""
    num_val: int = field(validator=_at_least(1))
    """Examples to validate on."""
    preprocessing: Literal["standardize", "whiten"] = field(
        default="standardize", validator=_one_of("standardize", "whiten")
    )
    """How pixels become inputs: each one standardized, or all whitened by PCA."""
    components: int = field(default=512, validator=_at_least(1))
    """Whitening: how many principal components to keep."""
    epsilon: float = field(default=0.3, validator=_between(1e-12))
    """Whitening: added to each variance, as a multiple of the mean variance."""
    pool: int = field(default=1, validator=_at_least(1))
    """Whitening: average blocks of pool×pool pixels first."""
    flip: bool = field(default=False, validator=_BOOL)
    """Augmentation: mirror each training image with probability 1/2."""
    shift: int = field(default=0, validator=_at_least(0, MAX_SHIFT))
    """Augmentation: move each training image by up to so many pixels in each direction."""
    mirror: bool = field(default=False, validator=_BOOL)
    """Evaluation: average the scores of an image and its mirror image."""
    test_shift: int = field(default=0, validator=_at_least(0, MAX_SHIFT))
    """Last evaluation: average the scores of an image moved by up to so many pixels, too."""
    hidden_dim: int = field(validator=_at_least(0, MAX_WIDTH))
    """Width of the hidden layer; 0 for a linear classifier."""
    batch_size: int = field(validator=_at_least(1))
    """Examples in a minibatch."""
    num_epochs: int = field(validator=_at_least(1))
    """Passes over the training examples."""
    learning_rate: float = field(validator=_between(0))
    """Learning rate of SGD, at its highest."""
    schedule: Literal["constant", "linear", "cosine", "step"] = field(
        default="constant", validator=_one_of("constant", "linear", "cosine", "step")
    )
    """How the learning rate falls; "step" divides it by 10 after 1/2 and 3/4 of the steps."""
    warm_up: float = field(default=0.0, validator=_between(0))
    """Epochs in which the learning rate rises from 0."""
    momentum: float = field(default=0.0, validator=_between(0, 1, below_high=True))
    """Momentum of SGD, in [0, 1); 0 is plain SGD."""
    nesterov: bool = field(default=False, validator=_BOOL)
    """Use Nesterov's momentum."""
    reg: float = field(validator=_between(0))
    """Strength of the L2 regularization of the weights."""
    seed: int = field(default=0, validator=_at_least(0))
    """Decides the split, the initial weights, the order of the batches and the augmentation."""
    dtype: Literal["float32", "float64"] = field(
        default="float32", validator=_one_of("float32", "float64")
    )
    """Precision of the training."""
    micro_batches: int = field(default=1, validator=_at_least(1, MAX_MICRO_BATCHES))
    """Parts of a batch that ranks can share; another number rounds gradients in another way."""
    num_threads: int = field(factory=default_num_threads, validator=_at_least(1, MAX_THREADS))
    """Threads of large products and passes; another number may round in another way."""
    data_dir: Path = field(factory=default_data_dir, converter=_as_path, validator=_path)
    """Folder that holds cifar-10-batches-bin or cifar-10-batches-py."""
    plot_file: Path = field(default=Path("plot.pdf"), converter=_as_path, validator=_picture_path)
    """Where to draw losses and accuracies: .pdf, .png or .svg."""
    checkpoint_file: Path = field(
        default=Path("checkpoint.npz"), converter=_as_path, validator=_path
    )
    """Where to save the model; what was there before is kept as <name>.previous.npz."""
    print_every: int = field(default=100, validator=_at_least(1))
    """Print the loss every so many steps."""
    checkpoint_every: int = field(default=1, validator=_at_least(1))
    """Save the model every so many epochs, and after the last one."""

    def __attrs_post_init__(self) -> None:
        if self.plot_file == self.checkpoint_file:
            raise ValueError(f"plot_file and checkpoint_file must differ, found {self.plot_file}")
        if self.micro_batches > self.batch_size:
            raise ValueError(
                f"micro_batches must be at most batch_size, {self.batch_size}, "
                f"found {self.micro_batches}"
            )

    def dims(self, input_dim: int, num_classes: int) -> tuple[int, ...]:
        """Return the widths of the network's layers, as :func:`fnnet.mlp` takes them."""
        return (input_dim, *filter(None, [self.hidden_dim]), num_classes)


_CIFAR10: dict[str, Any] = {"dataset": "cifar10", "num_train": 45_000, "num_val": 5_000}

_AUGMENTED: dict[str, Any] = {
    **_CIFAR10,
    "preprocessing": "whiten",
    "pool": 2,
    "flip": True,
    "mirror": True,
    "momentum": 0.9,
    "schedule": "linear",
}

PRESETS: dict[str, dict[str, Any]] = {
    "digits": {
        "dataset": "digits",
        "num_train": 1200,
        "num_val": 237,
        "hidden_dim": 256,
        "batch_size": 32,
        "num_epochs": 30,
        "learning_rate": 0.1,
        "reg": 1e-2,
    },
    "cifar10": {
        **_CIFAR10,
        "hidden_dim": 256,
        "batch_size": 128,
        "num_epochs": 12,
        "learning_rate": 0.02,
        "reg": 1e-3,
    },
    "homework": {
        **_CIFAR10,
        "hidden_dim": 256,
        "batch_size": 100,
        "num_epochs": 12,
        "learning_rate": 0.1,
        "schedule": "linear",
        "warm_up": 1.0,
        "reg": 1e-3,
    },
    "fast": {
        **_AUGMENTED,
        "components": 384,
        "shift": 1,
        "hidden_dim": 768,
        "batch_size": 256,
        "num_epochs": 8,
        "learning_rate": 0.3,
        "warm_up": 0.5,
        "reg": 1e-3,
    },
    "minute": {
        **_AUGMENTED,
        "shift": 2,
        "hidden_dim": 1536,
        "batch_size": 512,
        "num_epochs": 12,
        "learning_rate": 0.3,
        "warm_up": 2.0,
        "reg": 8e-4,
        "test_shift": 1,
    },
    "best": {
        **_AUGMENTED,
        "shift": 3,
        "hidden_dim": 4096,
        "batch_size": 512,
        "num_epochs": 90,
        "learning_rate": 0.4,
        "warm_up": 2.0,
        "reg": 3e-4,
        "test_shift": 2,
    },
}
"""Named settings: the defaults of each dataset, and recipes for CIFAR-10."""


def default_config(preset: str = "digits", **changes: Any) -> TrainConfig:
    """Return the settings of a preset, with some of them changed.

    Args:
        preset: a dataset, for its defaults, or homework, fast, minute or best.
        changes: settings of :class:`TrainConfig`.

    Raises:
        TypeError, ValueError: no such preset or setting, or one out of its range.

    >>> default_config("digits", hidden_dim=16).hidden_dim
    16
    """
    if not isinstance(preset, str) or preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, found {preset!r}")
    return TrainConfig(**{"preset": preset, **PRESETS[preset], **changes})
