"""From images or features to network inputs, in either of two ways.

The statistics come from the training part alone and are saved with the model, so every
evaluation uses the same ones.
"""

from typing import Any

import numpy as np

from fnnet.checks import Array
from fnnet.data.standardization import Standardization, fit_standardization, standardize
from fnnet.data.whitening import Whitening, fit_whitening, whiten

__all__ = [
    "Preprocessing",
    "Standardization",
    "Whitening",
    "fit_standardization",
    "fit_whitening",
    "input_dim",
    "preprocess",
    "standardize",
    "whiten",
]

Preprocessing = Standardization | Whitening
"""What was fitted to the training part."""


def preprocess(fitted: Preprocessing, images: Array, dtype: Any = np.float64) -> Array:
    """Return images or features (N, ...) as network inputs x (N, D)."""
    apply = whiten if isinstance(fitted, Whitening) else standardize
    return apply(fitted, images, dtype)  # type: ignore[arg-type]


def input_dim(fitted: Preprocessing) -> int:
    """Return D, the width of the network's input."""
    return fitted.matrix.shape[1] if isinstance(fitted, Whitening) else fitted.mean.size
