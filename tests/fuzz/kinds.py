"""The kinds of hostile files."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

from attrs import frozen

from fnnet import CheckpointError, DataError
from fnnet.search.journal import JournalError
from tests.fuzz.archives import read_tar, tar
from tests.fuzz.cifar import cifar_files, read_cifar
from tests.fuzz.datasets import Check, Files, idx_files, npz, read_data, read_npz_inputs
from tests.fuzz.pictures import picture_cache, pictures, read_cached, read_one, read_scaled
from tests.fuzz.runs import checkpoint, journal, read_checkpoint, read_journal


@frozen
class Kind:
    """A kind of file; a reader takes the folder of a mutant, and returns what checks it."""

    make: Callable[[Random], Files]
    readers: tuple[Callable[[Path], Check], ...]
    error: type[Exception] | tuple[()] = DataError
    """The only error that a reader may raise."""


KINDS = {
    "checkpoint": Kind(checkpoint, (read_checkpoint,), CheckpointError),
    "npz": Kind(npz, (partial(read_data, "data.npz"), read_npz_inputs)),
    "idx": Kind(idx_files, (partial(read_data, ""),)),
    "cifar": Kind(cifar_files, (read_cifar,)),
    "pictures": Kind(pictures, (partial(read_data, "root"), read_scaled, read_one)),
    "cache": Kind(picture_cache, (read_cached,), ()),
    "journal": Kind(journal, (read_journal,), JournalError),
    "tar": Kind(tar, (read_tar,)),
}
