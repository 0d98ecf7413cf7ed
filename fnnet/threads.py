"""How many threads the matrix products use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from fnnet.checks import integer

MAX_THREADS = 1024  # BLAS libraries have fewer, and take a C int


def default_num_threads() -> int:
    """Return one thread for each processor that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MAX_THREADS)
    return min(os.cpu_count() or 1, MAX_THREADS)


@contextmanager
def use_threads(num_threads: int) -> Iterator[None]:
    """Let NumPy's BLAS library use so many threads while the context lasts.

    Raises:
        TypeError, ValueError: `num_threads` is no integer in [1, 1024].
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(integer("num_threads", num_threads, 1, MAX_THREADS), user_api="blas"):
        yield
