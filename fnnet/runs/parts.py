"""The data of a run: what it trains on, what it validates on, and its test set."""

from fnnet.data.dataset import Dataset, split
from fnnet.data.sources import NAMED, load
from fnnet.runs.settings import TrainConfig


def load_dataset(config: TrainConfig) -> tuple[Dataset, Dataset]:
    """Return (what may be trained and validated on, test set) of the configured dataset.

    Raises:
        DataError (a ValueError): the data are missing or damaged.
    """
    return load(config.dataset, image_size=config.image_size, data_dir=config.data_dir)


def load_parts(config: TrainConfig) -> tuple[Dataset, Dataset]:
    """Return the training and the validation part of the configured dataset.

    Raises:
        ValueError: the data are missing or damaged, or fewer than num_train + num_val.
    """
    return split_parts(config, load_dataset(config)[0])


def split_parts(config: TrainConfig, dataset: Dataset) -> tuple[Dataset, Dataset]:
    """Return the configured training and validation part of a dataset.

    Data from a path are split by class, so that a rare class is in both parts.
    """
    num_val = config.num_val or max(1, len(dataset) // 10)
    num_train = config.num_train or max(1, len(dataset) - num_val)
    return split(dataset, num_train, num_val, config.seed, stratified=config.dataset not in NAMED)
