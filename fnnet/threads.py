"""Large arrays worked on in row blocks, spread over threads, with the same bits for any number.

How an array is cut depends on its shape alone, and partial results are
combined in the order of the blocks, so the number of threads decides how fast
a result comes and never what it is.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from fnnet.checks import integer

T = TypeVar("T")

NUM_BLOCKS = 4
MAX_BLOCK = 1 << 19  # elements; what a block works on should stay in the cache
MIN_WORK = 1 << 23  # multiply-adds; below, handing out blocks costs more than it saves
ELEMENTWISE = 8  # multiply-adds of a matrix product in the time of an elementwise operation


def row_blocks(shape: Sequence[int], work: int) -> list[slice]:
    """Cut the rows of an array into blocks, all but the last of one length.

    Args:
        shape: of the array.
        work: what is to be done with all of it, in multiply-adds of a matrix product.
    """
    num_rows = shape[0]
    if work < MIN_WORK:
        return [slice(0, num_rows)]
    length = max(1, min(-(-num_rows // NUM_BLOCKS), MAX_BLOCK // math.prod(shape[1:])))
    return [slice(i, min(i + length, num_rows)) for i in range(0, num_rows, length)]


_pool: ContextVar[tuple[ThreadPoolExecutor, int] | None] = ContextVar("pool", default=None)


@contextmanager
def use_threads(num_threads: int | None = None) -> Iterator[None]:
    """Work on large arrays with several threads while the context lasts.

    The BLAS library gets one thread meanwhile: the blocks already keep every
    thread busy, and its results then do not depend on the number either.

    Args:
        num_threads: at least 1; :func:`default_num_threads` if it is not given.

    Raises:
        TypeError, ValueError: `num_threads` is no integer or below 1.
    """
    from threadpoolctl import threadpool_limits

    num_threads = default_num_threads() if num_threads is None else num_threads
    num_threads = integer("num_threads", num_threads, low=1)
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(num_threads, "fnnet") as executor,
    ):
        token = _pool.set((executor, num_threads))
        try:
            yield
        finally:
            _pool.reset(token)


def default_num_threads() -> int:
    """Return one thread for each processor this process may use, at most one for each block."""
    if hasattr(os, "sched_getaffinity"):
        return min(NUM_BLOCKS, len(os.sched_getaffinity(0)))
    return min(NUM_BLOCKS, os.cpu_count() or 1)


def spread(function: Callable[[slice], T], blocks: Iterable[slice]) -> list[T]:
    """Return ``[function(block) for block in blocks]``, worked out by the threads in use."""
    blocks = list(blocks)
    pool = _pool.get()
    if pool is None or len(blocks) == 1:
        return [function(block) for block in blocks]
    executor, num_threads = pool
    results: dict[int, T] = {}
    left = iter(enumerate(blocks))

    def work() -> None:
        for i, block in left:
            results[i] = function(block)

    # This thread works too, and a helper that wakes too late is not waited for.
    helpers = [executor.submit(work) for _ in range(min(num_threads, len(blocks)) - 1)]
    work()
    for helper in helpers:
        if not helper.cancel():
            helper.result()
    return [results[i] for i in range(len(blocks))]
