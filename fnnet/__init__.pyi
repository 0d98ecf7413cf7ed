"""Neural networks as pure functions over dicts of NumPy arrays."""

from .data.cifar import load_cifar10, load_cifar100
from .data.dataset import Dataset, minibatches, num_batches, split
from .data.digits import load_digits
from .data.errors import DataError
from .data.preprocessing import Standardization, fit_standardization, standardize
from .data.sources import load
from .data.spirals import load_spirals
from .evaluation import accuracy, predict, predict_scores, probabilities
from .gradcheck import GradientReport, check_gradients, numeric_gradient
from .layers import fc_backward, fc_forward, relu_backward, relu_forward
from .losses import l2_loss, l2_regularization, softmax_loss
from .models import Loss, Model, linear_classifier, mlp, two_layer_net
from .optim import Optimizer, sgd
from .runs.archive import CheckpointError
from .runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .runs.classify import classify
from .runs.presets import default_config
from .runs.settings import TrainConfig
from .runs.state import load_state, save_state
from .threads import use_threads
from .training import History, TrainState, make_train_step
from .values import Params
from .version import __version__ as __version__

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "DataError",
    "Dataset",
    "GradientReport",
    "History",
    "Loss",
    "Model",
    "Optimizer",
    "Params",
    "Standardization",
    "TrainConfig",
    "TrainState",
    "accuracy",
    "check_gradients",
    "classify",
    "default_config",
    "fc_backward",
    "fc_forward",
    "fit_standardization",
    "l2_loss",
    "l2_regularization",
    "linear_classifier",
    "load",
    "load_checkpoint",
    "load_cifar10",
    "load_cifar100",
    "load_digits",
    "load_spirals",
    "load_state",
    "make_train_step",
    "minibatches",
    "mlp",
    "num_batches",
    "numeric_gradient",
    "predict",
    "predict_scores",
    "probabilities",
    "relu_backward",
    "relu_forward",
    "save_checkpoint",
    "save_state",
    "sgd",
    "softmax_loss",
    "split",
    "standardize",
    "two_layer_net",
    "use_threads",
]
