"""A configured run: data, preprocessing, model and optimizer, put together from a TrainConfig."""

from collections.abc import Iterator

from attrs import frozen

from fnnet.checks import Array
from fnnet.config import TrainConfig
from fnnet.datasets import Dataset, load_cifar10, load_digits, minibatches, num_batches, split
from fnnet.models import Model, Params, mlp
from fnnet.optim import Optimizer, sgd
from fnnet.preprocessing import Standardization, fit_standardization, standardize
from fnnet.seeds import generator
from fnnet.training import (
    Batch,
    TrainState,
    accuracy,
    fold,
    init_state,
    make_step,
    make_train_step,
    predict_dataset,
)

DIGITS_TEST = 360  # the digits have no official test set of their own


def load_dataset(config: TrainConfig) -> tuple[Dataset, Dataset]:
    """Return (what may be trained and validated on, test set) of the configured dataset.

    Raises:
        DataError (a ValueError): the files of CIFAR-10 are missing or damaged.
    """
    if config.dataset == "cifar10":
        return load_cifar10(config.data_dir)
    digits = load_digits()
    # A fixed seed: the test set is the same for every run.
    return split(digits, len(digits) - DIGITS_TEST, DIGITS_TEST, seed=0)


@frozen(eq=False)
class Experiment:
    """What a run trains, on what, and how."""

    config: TrainConfig
    train: Dataset
    val: Dataset
    preprocessing: Standardization
    model: Model
    optimizer: Optimizer
    steps_per_epoch: int

    def preprocess(self, images: Array) -> Array:
        """Return images (N, ...) uint8 as inputs (N, D) of the configured dtype."""
        return standardize(self.preprocessing, images, self.config.dtype)

    def batches(self) -> Iterator[Batch]:
        """Yield the minibatches of every epoch, lazily."""
        config = self.config
        for epoch in range(config.num_epochs):
            for images, labels in minibatches(self.train, config.batch_size, config.seed, epoch):
                yield self.preprocess(images), labels

    def states(self) -> Iterator[TrainState]:
        """Yield the state after each step of the run, lazily."""
        step = make_step(make_train_step(self.model), self.optimizer, self.config.reg)
        start = init_state(self.model, self.optimizer, generator(self.config.seed, "init"))
        return fold(step, start, self.batches())

    def evaluate(self, params: Params) -> tuple[float, float]:
        """Return the accuracy on training and on validation examples, as many of each.

        Where there are more training examples, the first ones stand for all: their
        accuracy is then as exact as that on the validation part, and as quickly found.
        """
        some = Dataset(
            self.train.images[: len(self.val)],
            self.train.labels[: len(self.val)],
            self.train.class_names,
        )
        train, val = (
            accuracy(predict_dataset(self.model, params, part, self.preprocess), part.labels)
            for part in (some, self.val)
        )
        return train, val


def prepare(config: TrainConfig) -> Experiment:
    """Load and split the data, fit the preprocessing, and build model and optimizer.

    Raises:
        ValueError: the data are missing or damaged, or fewer than asked for.
    """
    dataset, _ = load_dataset(config)
    train, val = split(dataset, config.num_train, config.num_val, config.seed)
    preprocessing = fit_standardization(train)
    return Experiment(
        config=config,
        train=train,
        val=val,
        preprocessing=preprocessing,
        model=mlp(config.dims(preprocessing.mean.size, len(train.class_names)), config.dtype),
        optimizer=sgd(config.learning_rate, config.momentum),
        steps_per_epoch=num_batches(train, config.batch_size),
    )
