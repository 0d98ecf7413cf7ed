"""How many threads the matrix products use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from fnnet.checks import integer


def default_num_threads() -> int:
    """Return one thread for each processor that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def use_threads(num_threads: int) -> Iterator[None]:
    """Let NumPy's BLAS library use so many threads while the context lasts.

    Raises:
        TypeError, ValueError: `num_threads` is no integer or below 1.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(integer("num_threads", num_threads, low=1), user_api="blas"):
        yield
