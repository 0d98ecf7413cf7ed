"""Neural networks as pure functions over dicts of NumPy arrays."""

from fnnet.data.cifar import load_cifar10, load_cifar100
from fnnet.data.dataset import Dataset, minibatches, num_batches, split
from fnnet.data.digits import load_digits
from fnnet.data.errors import DataError
from fnnet.data.preprocessing import Standardization, fit_standardization, standardize
from fnnet.data.sources import load
from fnnet.evaluation import accuracy, predict, predict_scores, probabilities
from fnnet.gradcheck import GradientReport, check_gradients, numeric_gradient
from fnnet.layers import fc_backward, fc_forward, relu_backward, relu_forward
from fnnet.losses import l2_loss, l2_regularization, softmax_loss
from fnnet.models import Loss, Model, linear_classifier, mlp, two_layer_net
from fnnet.optim import Optimizer, sgd
from fnnet.runs.archive import CheckpointError
from fnnet.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fnnet.runs.classify import classify
from fnnet.runs.presets import default_config
from fnnet.runs.settings import TrainConfig
from fnnet.threads import use_threads
from fnnet.training import History, TrainState, make_train_step
from fnnet.values import Params
from fnnet.version import __version__ as __version__

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
    "sgd",
    "softmax_loss",
    "split",
    "standardize",
    "two_layer_net",
    "use_threads",
]
