"""Hypothesis profile and the fixtures that several modules share."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, settings

from fnnet import Dataset, TrainConfig, default_config
from tests.cifar10_files import write_layout

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=15, database=None)
settings.register_profile("thorough", deadline=None, max_examples=1000)
# For mutation testing: whether a test fails counts, not the smallest example.
settings.register_profile(
    "mutation",
    derandomize=True,
    deadline=None,
    max_examples=15,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile("ci")  # `pytest --hypothesis-profile=thorough` searches longer


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=10, help="how many trainings to kill")
    parser.addoption("--mutants", type=int, default=2000, help="how many hostile files to read")


@pytest.fixture
def kills(pytestconfig: pytest.Config) -> int:
    """How many training processes the crash test kills."""
    number: int = pytestconfig.getoption("--kills")
    return number


@pytest.fixture
def mutants(pytestconfig: pytest.Config) -> int:
    """How many hostile files the fuzzer reads."""
    number: int = pytestconfig.getoption("--mutants")
    return number


@pytest.fixture
def dataset() -> Dataset:
    """Forty small images of three classes, the class visible in the pixels."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 3
    images = rng.integers(0, 100, (40, 2, 3)) + 50 * labels[:, None, None]
    return Dataset(images.astype(np.uint8), labels, ("a", "b", "c"))


@pytest.fixture
def small_config() -> TrainConfig:
    """A run on the digits of a few milliseconds."""
    return default_config(
        num_train=70,
        num_val=20,
        hidden_dim=5,
        num_epochs=3,
    )


@pytest.fixture(scope="session")
def cifar_bin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The official binary layout, whole, with made-up images."""
    with disposable(tmp_path_factory.mktemp("bin")) as folder:
        yield write_layout(folder, "bin")


@pytest.fixture(scope="session")
def cifar_py(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same images in the official layout of Python 2 pickles."""
    with disposable(tmp_path_factory.mktemp("py")) as folder:
        yield write_layout(folder, "py")


LOOPBACK = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": logging.FATAL}


@pytest.fixture(scope="session")
def scheduler() -> Iterator[str]:
    """The address of a Dask scheduler with two worker processes on this machine."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, **LOOPBACK) as cluster:
        yield cluster.scheduler_address


@contextmanager
def disposable(folder: Path) -> Iterator[Path]:
    """Remove the folder at the end: pytest would keep its 180 MB for three more runs."""
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
