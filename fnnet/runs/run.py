"""An assembled run: data, preprocessing, model and optimizer, as the settings say."""

from collections.abc import Callable, Iterator

from attrs import frozen

from fnnet.checks import Array
from fnnet.data.augmentation import flip, shift, tta_views
from fnnet.data.cifar10 import load_cifar10
from fnnet.data.dataset import Dataset, first, minibatches, num_batches, split
from fnnet.data.digits import load_digits
from fnnet.data.preprocessing import (
    Preprocessing,
    fit_standardization,
    fit_whitening,
    input_dim,
    preprocess,
)
from fnnet.evaluation import accuracy, predict_scores
from fnnet.models import Model, mlp
from fnnet.optim import (
    Optimizer,
    Schedule,
    constant,
    cosine,
    linear,
    sgd,
    step_decay,
    warm_up,
)
from fnnet.runs.ranks import SERIAL, Comm, make_distributed_train_step
from fnnet.runs.settings import TrainConfig
from fnnet.seeds import generator
from fnnet.training import (
    Batch,
    DivergenceError,
    History,
    TrainState,
    epochs,
    fold,
    init_state,
    make_update,
)
from fnnet.values import Params

MAX_TRAIN_SAMPLE = 2000  # more training examples would take noticeable time after each epoch
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


Watch = Callable[[Iterator[TrainState]], Iterator[TrainState]]
"""A function that passes the states on unchanged, and may print or show progress on the way."""


@frozen(eq=False)
class Run:
    """What is trained, on what, and how."""

    config: TrainConfig
    train: Dataset
    val: Dataset
    preprocessing: Preprocessing
    model: Model
    schedule: Schedule
    optimizer: Optimizer
    steps_per_epoch: int

    def preprocess(self, images: Array) -> Array:
        """Return images (N, ...) uint8 as inputs (N, D) of the configured dtype."""
        return preprocess(self.preprocessing, images, self.config.dtype)

    def batches(self, first_epoch: int = 0) -> Iterator[Batch]:
        """Yield the minibatches of every epoch, augmented, lazily: inputs (N, D) and labels (N,).

        An epoch's batches do not depend on earlier epochs, so a run can begin at any epoch.
        """
        config = self.config
        for epoch in range(first_epoch, config.num_epochs):
            rng = generator(config.seed, "augmentation", epoch)
            for images, labels in minibatches(self.train, config.batch_size, config.seed, epoch):
                if config.shift:
                    images = shift(rng, images, config.shift)
                if config.flip:
                    images = flip(rng, images)
                yield self.preprocess(images), labels

    def start(self) -> TrainState:
        """Return the state before the first step."""
        return init_state(self.model, self.optimizer, generator(self.config.seed, "init"))

    def states(self, start: TrainState | None = None, comm: Comm = SERIAL) -> Iterator[TrainState]:
        """Yield the state after each step of the run, lazily; all ranks yield the same ones.

        Args:
            start: the state to go on from, at the end of an epoch; the first one by default.
            comm: the ranks that share the work.

        Raises:
            ValueError: `start` lies within an epoch, or the ranks cannot share the
                configured micro-batches.
        """
        start = self.start() if start is None else start
        first_epoch, rest = divmod(start.step, self.steps_per_epoch)
        if rest:
            raise ValueError(
                f"start must lie at the end of an epoch of {self.steps_per_epoch} steps, "
                f"found step {start.step}"
            )
        train_step = make_distributed_train_step(self.model, self.config.micro_batches, comm)
        update = make_update(train_step, self.optimizer, self.config.reg)
        return fold(update, start, self.batches(first_epoch))

    def epochs(
        self,
        start: TrainState | None = None,
        history: History | None = None,
        comm: Comm = SERIAL,
        watch: Watch = iter,
    ) -> Iterator[tuple[TrainState, History]]:
        """Yield state and history at the end of each epoch, lazily: this runs a training.

        Args:
            start, comm: as for :meth:`states`.
            history: what came before `start`; nothing by default.
            watch: sees the state after each step on its way.

        Raises:
            DivergenceError: with epoch, step, loss and learning rate, and what to try.
        """
        states = watch(self.states(start, comm))
        try:
            yield from epochs(states, self.steps_per_epoch, self.evaluate, history)
        except DivergenceError as error:
            epoch = (error.step - 1) // self.steps_per_epoch + 1
            rate = self.schedule(error.step - 1)
            reason = (
                f"{error.reason}; this is epoch {epoch} with a learning rate of {rate:.4g}: "
                "try a lower learning_rate, a longer warm_up or a lower momentum"
            )
            raise DivergenceError(error.step, reason) from None

    def accuracy(self, params: Params, dataset: Dataset, tta_shift: int = 0) -> float:
        """Return the accuracy on a dataset, each image scored as the mean over its views.

        The views are the image, its mirror image if `tta_flip` is set, and each of these
        shifted by up to `tta_shift` pixels.
        """
        looks = tta_views(self.config.tta_flip, tta_shift)
        scores = predict_scores(self.model, params, dataset, self.preprocess, views=looks)
        return accuracy(scores.argmax(axis=1), dataset.labels)

    def evaluate(self, params: Params) -> tuple[float, float]:
        """Return the accuracy on the first training examples and on the validation part."""
        some = first(self.train, min(len(self.val), MAX_TRAIN_SAMPLE))
        return self.accuracy(params, some), self.accuracy(params, self.val)


def make_schedule(config: TrainConfig, steps_per_epoch: int) -> Schedule:
    """Return the configured learning rate as a function of the step."""
    num_steps = config.num_epochs * steps_per_epoch
    schedule = {
        "constant": constant(config.learning_rate),
        "linear": linear(config.learning_rate, num_steps),
        "cosine": cosine(config.learning_rate, num_steps),
        "step": step_decay(config.learning_rate, num_steps),
    }[config.schedule]
    return warm_up(schedule, round(config.warm_up * steps_per_epoch))


def fit_preprocessing(config: TrainConfig, train: Dataset) -> Preprocessing:
    """Fit the configured preprocessing to the training part."""
    if config.preprocessing == "whiten":
        return fit_whitening(train, config.components, config.epsilon, config.pool, config.dtype)
    return fit_standardization(train)


def prepare(config: TrainConfig, fitted: Preprocessing | None = None) -> Run:
    """Load and split the data, fit the preprocessing, and build model and optimizer.

    Args:
        config: the settings.
        fitted: the preprocessing, if it has been fitted before.

    Raises:
        ValueError: the data are missing or damaged, or fewer than num_train + num_val.
    """
    return assemble(config, *load_parts(config), fitted)


def load_parts(config: TrainConfig) -> tuple[Dataset, Dataset]:
    """Return the training and the validation part of the configured dataset.

    Raises:
        ValueError: the data are missing or damaged, or fewer than num_train + num_val.
    """
    dataset, _ = load_dataset(config)
    return split(dataset, config.num_train, config.num_val, config.seed)


def assemble(
    config: TrainConfig, train: Dataset, val: Dataset, fitted: Preprocessing | None = None
) -> Run:
    """Build what :func:`prepare` returns from the parts that it would load.

    Raises:
        ValueError: the settings do not fit the images.
    """
    preprocessing = fit_preprocessing(config, train) if fitted is None else fitted
    steps_per_epoch = num_batches(train, config.batch_size)
    schedule = make_schedule(config, steps_per_epoch)
    return Run(
        config=config,
        train=train,
        val=val,
        preprocessing=preprocessing,
        model=mlp(config.dims(input_dim(preprocessing), len(train.class_names)), config.dtype),
        schedule=schedule,
        optimizer=sgd(schedule, config.momentum, config.nesterov),
        steps_per_epoch=steps_per_epoch,
    )
