"""The work of a search's worker: train one trial from one rung to the next, on mapped images.

A search has a folder that its workers share. It holds the training and the validation part,
whose images each process maps into memory, and the states from which trials go on.
A state that is missing or damaged costs time and changes nothing: the trial is trained anew.
"""

import threading
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fnnet.data.dataset import Dataset
from fnnet.data.preprocessing import Preprocessing
from fnnet.files import atomic_write
from fnnet.runs.presets import default_config
from fnnet.runs.run import assemble, fit_preprocessing
from fnnet.runs.state import load_state, save_state
from fnnet.search.halving import Job, Result
from fnnet.threads import use_threads
from fnnet.training import DivergenceError, History

FITTED_BY = ("preprocessing", "components", "epsilon", "pool", "dtype")
"""The settings that decide the preprocessing; most searches give them one value."""

_one_at_a_time = threading.Lock()  # the BLAS library's threads are set for the whole process


def save_parts(folder: Path, train: Dataset, val: Dataset) -> None:
    """Write the two parts into the folder, for :func:`train_trial`; files that exist stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, dataset in (("train", train), ("val", val)):
        names = np.array(dataset.class_names)
        for kind, array in (
            ("images", dataset.images), ("labels", dataset.labels), ("names", names)
        ):  # fmt: skip
            path = folder / f"{part}-{kind}.npy"
            if not path.exists():  # a worker of an interrupted search may still map it
                with atomic_write(path) as file:
                    np.save(file, array)


@lru_cache(maxsize=1)
def map_parts(folder: Path) -> tuple[Dataset, Dataset]:
    """Return what :func:`save_parts` wrote; the images stay in their files."""

    def load(part: str) -> Dataset:
        images = np.load(folder / f"{part}-images.npy", mmap_mode="r")
        labels, names = (np.load(folder / f"{part}-{kind}.npy") for kind in ("labels", "names"))
        return Dataset(images, labels, tuple(map(str, names)), layout="channels_first")

    return load("train"), load("val")


@lru_cache(maxsize=1)
def _fit(folder: Path, **settings: Any) -> Preprocessing:
    return fit_preprocessing(default_config(**settings), map_parts(folder)[0])


def train_trial(folder: Path, job: Job) -> Result:
    """Train a trial, on one thread, from the state that its last job left in the folder.

    The result is a pure function of the job and of the data.

    Args:
        folder: holds the parts. A process maps them once for a path: give other data
            another path.
        job: what to do.

    Raises:
        ValueError: the settings do not fit the data; the message names the trial.
        OSError: the folder cannot be read or written.
    """
    with _one_at_a_time, use_threads(1):
        try:
            return _train(folder, job)
        except ValueError as error:
            raise ValueError(f"trial {job.trial} cannot be trained: {error}") from None


def _train(folder: Path, job: Job) -> Result:
    config = job.config
    fitted = _fit(folder, **{name: getattr(config, name) for name in FITTED_BY})
    run = assemble(config, *map_parts(folder), fitted)
    state, done = run.start(), 0
    if job.start:
        with suppress(ValueError):  # then train from the start, to the same bits
            state, done = load_state(state_path(folder, job.trial, job.start), state), job.start
    history, diverged = History(), ""
    try:
        for result in islice(run.epochs(state), job.stop - done):
            state, history = result
    except DivergenceError as error:
        diverged = str(error)
    if not diverged and job.stop < config.num_epochs:
        save_state(state_path(folder, job.trial, job.stop), state)
    curve = tuple(map(float, history.val_accuracy[job.start - done :]))
    return Result(job.trial, job.stop, curve, diverged)


def state_path(folder: Path, trial: int, epochs: int) -> Path:
    """Return where the state of a trial after a number of epochs is kept."""
    return folder / f"trial-{trial}-epoch-{epochs}.npz"
