"""Data from a name or a path: what lies there decides how it is read."""

from pathlib import Path

from fnnet.checks import as_path
from fnnet.data import cifar
from fnnet.data.cifar import load_cifar10
from fnnet.data.cifar_layouts import find as find_cifar
from fnnet.data.dataset import Dataset, split
from fnnet.data.digits import load_digits
from fnnet.data.errors import DataError
from fnnet.data.folders import default_data_dir
from fnnet.data.idx import holds_idx, load_idx
from fnnet.data.npz import load_npz
from fnnet.data.pictures import load_pictures

NAMED = ("digits", "cifar10")
"""Datasets with a name; any other word is a path."""
DIGITS_TEST = 360  # the digits have no official test set of their own
TEST_SHARE = 5  # a fifth of data without a test part is held out


def load(
    source: str | Path,
    *,
    image_size: int | None = None,
    data_dir: str | Path | None = None,
    cache: str | Path | None = None,
) -> tuple[Dataset, Dataset]:
    """Load what may be trained and validated on, and the test set.

    Args:
        source: ``digits``; ``cifar10``; an ``.npz`` file (:func:`fnnet.data.npz.load_npz`); or
            a folder of CIFAR-10, CIFAR-100, IDX files (MNIST) or pictures in one subfolder a
            class (:func:`fnnet.data.pictures.load_pictures`).
        image_size: pictures only: the side of the square that each is scaled and cut to.
        data_dir: holds CIFAR-10, for ``cifar10``; by default the folder of ``fnnet download``.
        cache: where decoded pictures are kept; by default the same folder.

    Returns:
        train, test. Data without a test part give a fifth of their examples, drawn by class,
        always the same ones.

    Raises:
        DataError (a ValueError): the data are missing, damaged, or not of a known kind.
    """
    if isinstance(source, str) and source in NAMED:
        if image_size is not None:
            raise DataError(f"image_size is for folders of pictures, not for {source}")
        if source == "cifar10":
            return load_cifar10(default_data_dir() if data_dir is None else data_dir)
        digits = load_digits()
        # A fixed seed: the test set is the same for every run.
        return split(digits, len(digits) - DIGITS_TEST, DIGITS_TEST, seed=0)
    path = as_path("source", source)
    train, test = _load_path(path, image_size, default_data_dir() if cache is None else cache)
    return hold_out(train) if test is None else (train, test)


def _load_path(
    path: Path, image_size: int | None, cache: str | Path
) -> tuple[Dataset, Dataset | None]:
    if not path.exists():
        raise DataError(
            f"there is no {path}: a dataset is {' or '.join(NAMED)}, or the path of a folder or "
            "of an .npz file"
        )
    found: tuple[Dataset, Dataset | None] | None = None
    if path.suffix.lower() == ".npz":
        found = load_npz(path)
    elif path.is_dir():
        layout = find_cifar(path)
        if layout is not None:
            found = cifar.load(layout[0].kind, path)
        elif holds_idx(path):
            found = load_idx(path)
        else:
            return load_pictures(path, image_size=image_size, cache=cache)
    if found is None:
        raise DataError(f"{path} must be a folder or an .npz file")
    if image_size is not None:
        raise DataError(f"image_size is for folders of pictures, not for {path}")
    return found


def hold_out(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """Return the larger part of a dataset, and a fifth of it drawn by class to test on."""
    number = max(1, len(dataset) // TEST_SHARE)
    if len(dataset) < 2:
        raise DataError("a dataset must have at least two examples, found one")
    return split(dataset, len(dataset) - number, number, seed=0, stratified=True)
