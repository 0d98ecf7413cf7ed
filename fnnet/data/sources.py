"""interim"""

from pathlib import Path

from fnnet.data.cifar10 import load_cifar10
from fnnet.data.dataset import Dataset, split
from fnnet.data.digits import load_digits


def load(
    source: str | Path,
    *,
    image_size: int | None = None,
    data_dir: Path | None = None,
    cache: Path | None = None,
) -> tuple[Dataset, Dataset]:
    if source == "cifar10":
        return load_cifar10(data_dir)
    digits = load_digits()
    return split(digits, len(digits) - 360, 360, seed=0)
