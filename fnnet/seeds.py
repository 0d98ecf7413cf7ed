"""One seed, many independent streams of random numbers: no use changes those of another."""

import numpy as np

from fnnet.checks import as_integer

STREAMS = ("split", "init", "batches", "augmentation", "search", "spirals")
"""What random numbers are drawn for. Append only: the place in the list is part of the seed."""


def generator(seed: int, stream: str, epoch: int = 0) -> np.random.Generator:
    """Return the generator of a seed, a stream and an epoch, independent of all others.

    Args:
        seed: integer >= 0.
        stream: one of :data:`STREAMS`.
        epoch: integer >= 0.

    Raises:
        TypeError, ValueError: an argument has the wrong type or is out of its range.

    >>> generator(0, "init").integers(100, size=3)
    array([48, 94, 96])
    """
    if stream not in STREAMS:
        raise ValueError(f"stream must be one of {', '.join(STREAMS)}, found {stream!r}")
    key = (STREAMS.index(stream), as_integer("epoch", epoch, low=0))
    # The bit generator is named, so that a new default of NumPy changes no run.
    sequence = np.random.SeedSequence(as_integer("seed", seed, low=0), spawn_key=key)
    return np.random.Generator(np.random.PCG64(sequence))
