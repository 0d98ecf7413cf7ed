"""Checkpoints of earlier versions under the names of today."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fnnet.checks import Array


def from_format_2(
    meta: Mapping[str, Any], arrays: Mapping[str, Array]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return a checkpoint of format 2 under the names of format 3. SGD was the only optimizer."""
    new_names = {"mirror": "tta_flip", "test_shift": "tta_shift"}
    dropped = {"preset", "plot_file", "checkpoint_file", "print_every", "checkpoint_every"}
    config = {new_names.get(n, n): v for n, v in meta["config"].items() if n not in dropped}
    renamed = {
        f"opt_state/{name}" if name.startswith("velocity/") else name: array
        for name, array in arrays.items()
    }
    renamed["opt_state/step"] = np.asarray(len(arrays["history/losses"]))
    return {**meta, "config": config, "provenance": meta["record"]}, renamed
