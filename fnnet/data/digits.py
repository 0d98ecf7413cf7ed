"""The handwritten digits that come with the package."""

from importlib import resources

import numpy as np

from fnnet.data.dataset import Dataset


def load_digits() -> Dataset:
    """Load 1,797 handwritten digits, images (N, 8, 8) of values 0 to 16, ten classes.

    They come with the package: E. Alpaydin and C. Kaynak (1998), Optical
    Recognition of Handwritten Digits, UCI Machine Learning Repository,
    https://doi.org/10.24432/C50P49 (CC BY 4.0).

    >>> load_digits()
    Dataset(1797 images of shape (8, 8), 10 classes)
    """
    with (
        resources.files("fnnet.data").joinpath("digits.npz").open("rb") as file,
        np.load(file) as arrays,
    ):
        return Dataset(arrays["images"], arrays["labels"], tuple("0123456789"))
