"""The same seed gives the same bits: today, in another process, and in later versions."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fnnet import (
    Dataset,
    Standardization,
    accuracy,
    fc_backward,
    fc_forward,
    l2_loss,
    l2_regularization,
    load_checkpoint,
    make_train_step,
    minibatches,
    mlp,
    predict,
    relu_backward,
    relu_forward,
    sgd,
    softmax_loss,
    split,
    standardize,
)
from fnnet.checks import Array
from fnnet.data.augmentation import flip, shift
from fnnet.seeds import generator
from tests.helpers import same
from tests.programs import ENVIRONMENT, call
from tests.test_crash import RUN

NUMBERED = Dataset(np.arange(100, dtype=np.uint8)[:, None], np.zeros(100, int), ("one",))


@pytest.mark.parametrize(
    ("seed", "epoch", "expected"),
    [
        (0, 0, [64, 97, 36, 56, 46, 50]),
        (0, 1, [26, 54, 69, 63, 32, 91]),
        (0, 29, [6, 32, 96, 37, 81, 25]),
        (1, 0, [32, 67, 43, 61, 27, 23]),
        (2**64, 3, [16, 75, 5, 77, 18, 64]),
    ],
)
def test_the_first_batch_of_an_epoch_is_the_one_of_all_versions(
    seed: int, epoch: int, expected: list[int]
) -> None:
    images, _ = next(minibatches(NUMBERED, 6, seed, epoch))
    assert images.ravel().tolist() == expected


def test_the_split_is_the_one_of_all_versions() -> None:
    train, val = split(NUMBERED, num_train=5, num_val=3, seed=0)
    assert train.images.ravel().tolist() == [81, 94, 89, 76, 72]
    assert val.images.ravel().tolist() == [28, 26, 93]


def sha256(*arrays: Array) -> str:
    return hashlib.sha256(
        b"".join(a.astype(a.dtype.newbyteorder("<")).tobytes() for a in arrays)
    ).hexdigest()


@pytest.mark.parametrize(
    ("dtype", "first", "digest"),
    [
        (
            np.float32,
            ["0x1.ca7bf20000000p-4", "0x1.32e12c0000000p-4", "0x1.1091c60000000p-5"],
            "db160828e0c10482ad839c62f9e0fba3fe8080cf897b58754549315be8e208ee",
        ),
        (
            np.float64,
            ["0x1.ca7bf2cc67a3fp-4", "0x1.32e12b107ce87p-4", "0x1.1091c65695517p-5"],
            "a24d9a276ffb2e1ad4a419aa5f2fa4f72ea1ee947cb3dd80c67a3bec5e5b8334",
        ),
    ],
)
def test_the_initial_parameters_are_those_of_all_versions(
    dtype: Any, first: list[str], digest: str
) -> None:
    params = mlp((64, 256, 10), dtype).init(generator(0, "init"))
    assert [float(w).hex() for w in params["W1"][0, :3]] == first
    assert sha256(*(params[name] for name in ("W1", "b1", "W2", "b2"))) == digest


def test_the_augmentation_is_the_one_of_all_versions() -> None:
    images = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    moved = shift(generator(0, "augmentation", 1), images, 1)
    flipped = flip(generator(0, "augmentation", 2), images)
    digest = "36d0ded33c606ecc26e0117dadfb5843635e01537dff0a768de14d3f3cad9287"
    assert sha256(moved, flipped) == digest


SHORT = [*RUN.split(), "--num-epochs", "3"]  # with augmentation, momentum, whitening, a schedule


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    assert call(folder, "train.py", *SHORT).returncode == 0
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONHASHSEED": "1", "OPENBLAS_NUM_THREADS": "1"},
        {
            "LC_ALL": "tr_TR.UTF-8",
            "PYTHONHASHSEED": "2",
            "TZ": "Asia/Tokyo",
            "OPENBLAS_NUM_THREADS": "2",
        },
    ],
    ids=["repeated", "plain locale", "another locale"],
)
def test_another_process_writes_the_same_bytes(
    reference: Path, tmp_path: Path, changes: dict[str, str]
) -> None:
    folder = tmp_path / "an öther folder"
    folder.mkdir()
    done = call(folder, "train.py", *SHORT, env=ENVIRONMENT | changes)
    assert done.returncode == 0, done.stderr
    for name in ("checkpoint.npz", "checkpoint.previous.npz", "plot.pdf"):
        assert (folder / name).read_bytes() == (reference / name).read_bytes(), name


def test_what_is_printed_and_how_often_is_saved_change_no_bit(
    reference: Path, tmp_path: Path
) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()  # a terminal: with a progress bar
    try:
        args = (*SHORT, "--print-every", 1, "--checkpoint-every", 2, "--plot-file", "other.pdf")
        done = call(tmp_path, "train.py", *args, stderr=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0
    assert done.stdout.count("  data loss ") == 21
    saved, other = (load_checkpoint(f / "checkpoint.npz") for f in (reference, tmp_path))
    previous = load_checkpoint(tmp_path / "checkpoint.previous.npz")
    assert len(previous.history.val_accuracy) == 2
    assert same(dict(saved.params), dict(other.params))
    assert same(dict(saved.opt_state), dict(other.opt_state))
    assert same(saved.history.losses, other.history.losses)
    assert (tmp_path / "other.pdf").read_bytes() == (reference / "plot.pdf").read_bytes()


MODEL = mlp((2, 2))
PARAMS = MODEL.init(generator(0, "init"))
TINY = np.array([[1e-200, -1e-160], [1e-310, 3.0]])
LABELS = np.array([1, 0])


def tiny_training() -> object:
    model, optimizer = mlp((2, 3, 2)), sgd(1e-200, 0.9, nesterov=True)
    params = {name: 1e-200 * p for name, p in model.init(generator(0, "init")).items()}
    step, state = make_train_step(model), optimizer.init(params)
    for _ in range(3):
        _, grads = step(params, (TINY, LABELS), 1e-200)
        params, state = optimizer.update(params, state, grads)  # type: ignore[assignment]
    return dict(params), dict(state.velocity)


# Each of these underflows, overflows or meets an exp(-1000) somewhere.
EXTREME: dict[str, Callable[[], object]] = {
    "softmax of far scores": lambda: softmax_loss(np.array([[0.0, -1000.0, 3.0]]), LABELS[1:]),
    "softmax of the farthest scores": lambda: softmax_loss(
        np.array([[1.7e308, -1.7e308]]), LABELS[:1]
    ),
    "softmax of tiny scores": lambda: softmax_loss(TINY, LABELS),
    "l2 loss": lambda: l2_loss(TINY, -TINY),
    "l2 loss of large numbers": lambda: l2_loss(np.full((1, 2), 1e200), np.zeros((1, 2))),
    "regularization": lambda: l2_regularization(TINY, 1e-200),
    "regularization in float32": lambda: l2_regularization(np.full(9, 1e-30, np.float32), 1e-9),
    "regularization of large weights": lambda: l2_regularization(np.full(9, 1e200), 1.0),
    "fc": lambda: fc_backward(TINY, fc_forward(TINY, TINY, TINY[0])[1]),
    "relu": lambda: relu_backward(TINY, relu_forward(TINY)[1]),
    "relu of an infinite gradient": lambda: relu_backward(np.array([np.inf]), np.array([False])),
    "standardization": lambda: standardize(
        Standardization(np.array([1e-300]), np.array([1e300])), np.zeros((2, 1), np.uint8)
    ),
    "training": tiny_training,
    "probabilities": lambda: accuracy(predict(MODEL, PARAMS, TINY), LABELS),
}


@pytest.mark.parametrize("name", EXTREME)
def test_the_callers_error_state_changes_nothing(name: str) -> None:
    with np.errstate(all="ignore"):
        expected = EXTREME[name]()
    for state in ("raise", "warn"):  # a warning fails a test here
        with np.errstate(all=state):
            assert same(EXTREME[name](), expected)
