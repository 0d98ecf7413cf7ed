"""Named settings: the defaults of each dataset, and recipes for CIFAR-10."""

from typing import Any

from fnnet.data.sources import NAMED
from fnnet.runs.settings import TrainConfig

_CIFAR10: dict[str, Any] = {"dataset": "cifar10", "num_train": 45_000, "num_val": 5_000}

_AUGMENTED: dict[str, Any] = {
    **_CIFAR10,
    "preprocessing": "whiten",
    "pool": 2,
    "flip": True,
    "tta_flip": True,
    "momentum": 0.9,
    "schedule": "linear",
}

_DEEP: dict[str, Any] = {
    **_AUGMENTED,
    "shift": 4,
    "hidden_dim": (2048, 2048),
    "batch_size": 512,
    "learning_rate": 0.4,
    "warm_up": 2.0,
    "reg": 3e-4,
    "tta_shift": 3,
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
        "components": 256,
        "shift": 1,
        "hidden_dim": 1024,
        "batch_size": 256,
        "num_epochs": 7,
        "learning_rate": 0.3,
        "warm_up": 0.5,
        "reg": 5e-4,
        "tta_shift": 1,
    },
    "minute": {
        **_AUGMENTED,
        "components": 384,
        "shift": 2,
        "hidden_dim": 2048,
        "batch_size": 512,
        "num_epochs": 30,
        "learning_rate": 0.4,
        "warm_up": 2.0,
        "reg": 5e-4,
        "tta_shift": 2,
    },
    "best": {
        **_AUGMENTED,
        "shift": 3,
        "rotate": 6.0,
        "zoom": 0.1,
        "color": 0.15,
        "hidden_dim": 4096,
        "batch_size": 512,
        "num_epochs": 200,
        "learning_rate": 0.25,
        "warm_up": 2.0,
        "reg": 2.5e-4,
        "tta_shift": 3,
    },
    "deep": {
        **_DEEP,
        "rotate": 10.0,
        "zoom": 0.15,
        "color": 0.2,
        "num_epochs": 100,
    },
    "record": {
        **_DEEP,
        "rotate": 15.0,
        "zoom": 0.2,
        "color": 0.25,
        "num_epochs": 350,
    },
}
"""Named settings: the defaults of each dataset, and recipes for CIFAR-10."""


def default_config(preset: str = "digits", **changes: Any) -> TrainConfig:
    """Return the settings of a preset, with some of them changed.

    Args:
        preset: digits or cifar10, for the dataset's defaults, or homework, fast, minute,
            best, deep or record, recipes for CIFAR-10. With another `dataset` among the changes,
            num_train and num_val are those of that dataset, or None.
        changes: settings of :class:`TrainConfig`.

    Raises:
        TypeError, ValueError: no such preset or setting, or one out of its range.

    >>> default_config("digits", hidden_dim=16).hidden_dim
    (16,)
    """
    if not isinstance(preset, str) or preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, found {preset!r}")
    settings = PRESETS[preset]
    dataset = changes.get("dataset", settings["dataset"])
    if dataset != settings["dataset"]:  # the numbers of examples are those of the other data
        others = PRESETS[dataset] if dataset in NAMED else {}
        settings = {**settings, **{name: others.get(name) for name in ("num_train", "num_val")}}
    return TrainConfig(**{**settings, **changes})
