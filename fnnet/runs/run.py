"""An assembled run: data, preprocessing, model and optimizer, as the settings say."""

import math
from collections.abc import Callable, Generator, Iterator

from attrs import frozen

from fnnet.checks import Array, Watch
from fnnet.data.augmentation import flip, recolor, rotate, shift, tta_views
from fnnet.data.dataset import Dataset, first, minibatches, num_batches
from fnnet.data.preprocessing import (
    Preprocessing,
    fit_standardization,
    fit_whitening,
    input_dim,
    preprocess,
)
from fnnet.evaluation import accuracy, predict_scores
from fnnet.losses import softmax_loss
from fnnet.models import Model, mlp
from fnnet.optim import Optimizer, Schedule, constant, cosine, linear, sgd, step_decay, warm_up
from fnnet.runs.parts import load_parts
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

ALL_TRAIN = 5000  # training examples that take no noticeable time to evaluate
SOME_TRAIN = 2000  # how many of more than these are evaluated after each epoch
IMAGES_ONLY = ("flip", "shift", "rotate", "zoom", "color", "tta_flip", "tta_shift")


WatchStates = Callable[[Iterator[TrainState]], Iterator[TrainState]]
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

    @property
    def train_sample(self) -> int:
        """Number of training examples, the first ones, that are evaluated after each epoch."""
        n = len(self.train)
        return n if n <= ALL_TRAIN else SOME_TRAIN

    def preprocess(self, images: Array) -> Array:
        """Return images or features (N, ...) as inputs (N, D) of the configured dtype."""
        return preprocess(self.preprocessing, images, self.config.dtype)

    def batches(self, first_epoch: int = 0) -> Iterator[Batch]:
        """Yield the minibatches of every epoch, augmented, lazily: inputs (N, D) and labels (N,).

        An epoch's batches do not depend on earlier epochs, so a run can begin at any epoch.
        """
        config = self.config
        for epoch in range(first_epoch, config.num_epochs):
            rng = generator(config.seed, "augmentation", epoch)
            for images, labels in minibatches(self.train, config.batch_size, config.seed, epoch):
                if config.rotate or config.zoom:
                    images = rotate(rng, images, config.rotate, config.zoom)
                if config.shift:
                    images = shift(rng, images, config.shift)
                if config.flip:
                    images = flip(rng, images)
                if config.color:
                    images = recolor(rng, images, config.color)
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
        watch: WatchStates = iter,
    ) -> Generator[tuple[TrainState, History]]:
        """Yield state and history at the end of each epoch, lazily: this runs a training.

        It ends early when the validation accuracy has not improved for `patience` epochs.

        Args:
            start, comm: as for :meth:`states`.
            history: what came before `start`; nothing by default.
            watch: sees the state after each step on its way.

        Raises:
            DivergenceError: with epoch, step, loss and learning rate, and what to try.
        """
        patience = self.config.patience
        if history is not None and history.is_stuck(patience):
            return
        states = watch(self.states(start, comm))
        try:
            for result in epochs(states, self.steps_per_epoch, self.evaluate, history):
                yield result
                if result[1].is_stuck(patience):
                    return
        except DivergenceError as error:
            epoch = (error.step - 1) // self.steps_per_epoch + 1
            rate = self.schedule(error.step - 1)
            reason = (
                f"{error.reason}; this is epoch {epoch} with a learning rate of {rate:.4g}: "
                f"try {_cure(self.config)}"
            )
            raise DivergenceError(error.step, reason) from None

    def scores(
        self, params: Params, dataset: Dataset, tta_shift: int = 0, watch: Watch = iter
    ) -> Array:
        """Return the scores (N, C) of a dataset, each example's as the mean over its views.

        The views are the image, its mirror image if `tta_flip` is set, and each of these
        shifted by up to `tta_shift` pixels.
        """
        views = tta_views(self.config.tta_flip, tta_shift)
        return predict_scores(self.model, params, dataset, self.preprocess, 500, views, watch)

    def accuracy(
        self, params: Params, dataset: Dataset, tta_shift: int = 0, watch: Watch = iter
    ) -> float:
        """Return the accuracy on a dataset, of the scores that :meth:`scores` returns."""
        return accuracy(
            self.scores(params, dataset, tta_shift, watch).argmax(axis=1), dataset.labels
        )

    def evaluate(self, params: Params) -> tuple[float, float, float]:
        """Return train accuracy, validation accuracy and validation loss.

        The train accuracy is that of the first :attr:`train_sample` training examples.
        """
        train_accuracy = self.accuracy(params, first(self.train, self.train_sample))
        scores = self.scores(params, self.val)
        val_loss, _ = softmax_loss(scores, self.val.labels)
        return train_accuracy, accuracy(scores.argmax(axis=1), self.val.labels), val_loss


def _cure(config: TrainConfig) -> str:
    """Return what to change in a run that diverged."""
    product = config.learning_rate * config.reg
    if product >= 1:  # a step takes more from a weight than there is
        return f"a lower learning_rate or reg: their product is {product:.4g}, it must be below 2"
    momentum = " or a lower momentum" if config.momentum else ""
    return f"a lower learning_rate or a longer warm_up{momentum}"


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


def fit_preprocessing(config: TrainConfig, train: Dataset, watch: Watch = iter) -> Preprocessing:
    """Fit the configured preprocessing to the training part."""
    if config.preprocessing == "whiten":
        pixels = math.prod(train.images.shape[1:]) // config.pool**2
        components = max(1, min(config.components, pixels))
        return fit_whitening(train, components, config.epsilon, config.pool, config.dtype, watch)
    return fit_standardization(train)


def prepare(config: TrainConfig, fitted: Preprocessing | None = None, watch: Watch = iter) -> Run:
    """Load and split the data, fit the preprocessing, and build model and optimizer.

    Args:
        config: the settings.
        fitted: the preprocessing, if it has been fitted before.
        watch: sees the blocks of examples to which whitening is fitted.

    Raises:
        ValueError: the data are missing or damaged, or fewer than num_train + num_val.
    """
    return assemble(config, *load_parts(config), fitted, watch)


def assemble(
    config: TrainConfig,
    train: Dataset,
    val: Dataset,
    fitted: Preprocessing | None = None,
    watch: Watch = iter,
) -> Run:
    """Build what :func:`prepare` returns from the parts that it would load.

    Raises:
        ValueError: the settings do not fit the data.
    """
    if train.images.dtype.kind == "f":
        for name in IMAGES_ONLY:
            if getattr(config, name):
                raise ValueError(f"{name} needs images: {config.dataset} has features")
    preprocessing = fit_preprocessing(config, train, watch) if fitted is None else fitted
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
