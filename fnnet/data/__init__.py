"""Data: labelled images, where they come from, and how they become the inputs of a network."""

from fnnet.data.augmentation import flip, mirror, recolor, rotate, shift, shifted, tta_views
from fnnet.data.cifar import load_cifar10, load_cifar100
from fnnet.data.dataset import Dataset, first, minibatches, num_batches, split, take
from fnnet.data.digits import load_digits
from fnnet.data.errors import DataError
from fnnet.data.preprocessing import (
    Preprocessing,
    Standardization,
    Whitening,
    fit_standardization,
    fit_whitening,
    input_dim,
    preprocess,
    standardize,
    whiten,
)
from fnnet.data.sources import load
from fnnet.data.spirals import load_spirals

__all__ = [
    "DataError",
    "Dataset",
    "Preprocessing",
    "Standardization",
    "Whitening",
    "first",
    "fit_standardization",
    "fit_whitening",
    "flip",
    "input_dim",
    "load",
    "load_cifar10",
    "load_cifar100",
    "load_digits",
    "load_spirals",
    "minibatches",
    "mirror",
    "num_batches",
    "preprocess",
    "recolor",
    "rotate",
    "shift",
    "shifted",
    "split",
    "standardize",
    "take",
    "tta_views",
    "whiten",
]
