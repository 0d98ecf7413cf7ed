"""All settings of a training run: one frozen value, checked when it is made."""

import math
import os
from pathlib import Path
from typing import Any, Literal

import platformdirs
from attrs import Attribute, field, frozen, validators

from fnnet.checks import integer, real
from fnnet.threads import default_num_threads

DatasetName = Literal["digits", "cifar10"]


DATASETS = ("digits", "cifar10")


def default_data_dir() -> Path:
    """Return ``$FNNET_DATA_DIR`` or the platform's cache folder for fnnet."""
    return Path(os.environ.get("FNNET_DATA_DIR") or platformdirs.user_cache_path("fnnet"))


def _at_least(low: int) -> Any:
    def check(_: object, attribute: "Attribute[Any]", value: object) -> None:
        integer(attribute.name, value, low)

    return check


def _between(low: float, high: float = math.inf, *, below_high: bool = False) -> Any:
    def check(_: object, attribute: "Attribute[Any]", value: object) -> None:
        number = real(attribute.name, value, low, high)
        if below_high and number == high:
            raise ValueError(f"{attribute.name} must be below {high:g}, found {value}")

    return check


def _plot_ending(_: object, attribute: "Attribute[Any]", value: Path) -> None:
    if value.suffix.lower() not in (".pdf", ".png"):
        raise ValueError(f"{attribute.name} must end in .pdf or .png, found {value}")


@frozen(kw_only=True)
class TrainConfig:
    """Settings of a training run; :func:`default_config` has good ones for each dataset.

    Raises:
        TypeError, ValueError: a setting has the wrong type or is out of its range.
    """

    dataset: Literal["digits", "cifar10"] = field(validator=validators.in_(DATASETS))
    """What to train on; each dataset has its own defaults for the rest."""
    num_train: int = field(validator=_at_least(1))
    """Examples to train on."""
    num_val: int = field(validator=_at_least(1))
    """Examples to validate on."""
    hidden_dim: int = field(validator=_at_least(0))
    """Width of the hidden layer; 0 for a linear classifier."""
    batch_size: int = field(validator=_at_least(1))
    """Examples in a minibatch."""
    num_epochs: int = field(validator=_at_least(1))
    """Passes over the training examples."""
    learning_rate: float = field(validator=_between(0))
    """Learning rate of SGD."""
    momentum: float = field(default=0.0, validator=_between(0, 1, below_high=True))
    """Momentum of SGD, in [0, 1); 0 is plain SGD."""
    reg: float = field(validator=_between(0))
    """Strength of the L2 regularization of the weights."""
    seed: int = field(default=0, validator=_at_least(0))
    """Decides the split, the initial weights and the order of the batches."""
    dtype: Literal["float32", "float64"] = field(
        default="float32", validator=validators.in_(("float32", "float64"))
    )
    """Precision of the training."""
    num_threads: int = field(factory=default_num_threads, validator=_at_least(1))
    """Threads to compute with; decides the speed, never the result."""
    data_dir: Path = field(factory=default_data_dir, converter=Path)
    """Folder that holds cifar-10-batches-bin or cifar-10-batches-py."""
    plot_file: Path = field(default=Path("plot.pdf"), converter=Path, validator=_plot_ending)
    """Where to draw losses and accuracies: .pdf or .png."""
    checkpoint_file: Path = field(default=Path("checkpoint.npz"), converter=Path)
    """Where to save the trained model."""
    print_every: int = field(default=100, validator=_at_least(1))
    """Print the loss every so many steps."""

    def __attrs_post_init__(self) -> None:
        if self.plot_file == self.checkpoint_file:
            raise ValueError(f"plot_file and checkpoint_file must differ, found {self.plot_file}")

    def dims(self, input_dim: int, num_classes: int) -> tuple[int, ...]:
        """Return the widths of the network's layers, as :func:`fnnet.mlp` takes them."""
        return (input_dim, *filter(None, [self.hidden_dim]), num_classes)


_DEFAULTS: dict[str, dict[str, Any]] = {
    "digits": {
        "num_train": 1200,
        "num_val": 237,
        "hidden_dim": 256,
        "batch_size": 32,
        "num_epochs": 30,
        "learning_rate": 0.1,
        "reg": 1e-2,
    },
    "cifar10": {
        "num_train": 45_000,
        "num_val": 5_000,
        "hidden_dim": 256,
        "batch_size": 128,
        "num_epochs": 12,
        "learning_rate": 0.02,
        "reg": 1e-3,
    },
}


def default_config(dataset: str = "digits", **changes: Any) -> TrainConfig:
    """Return the settings that suit a dataset, with some of them changed.

    Raises:
        TypeError, ValueError: no such dataset or setting, or one out of its range.

    >>> default_config("digits", hidden_dim=16).hidden_dim
    16
    """
    if dataset not in _DEFAULTS:
        raise ValueError(f"dataset must be one of {', '.join(_DEFAULTS)}, found {dataset!r}")
    return TrainConfig(dataset=dataset, **{**_DEFAULTS[dataset], **changes})  # type: ignore[arg-type]
