"""Threads: how many, and large arrays worked on in slices that they share.

Inside :func:`use_threads` every matrix product and every pass over a large
array is cut into slices, a thread of ours takes each, and the BLAS library
stays on the thread that calls it. One pool for both is what makes this fast:
a BLAS library that keeps threads of its own spinning takes the processors
from the passes between the products, which are a third of a training step.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context

import numpy as np

from fnnet.checks import Array, integer

MAX_THREADS = 1024  # far beyond any processor; a thread takes memory
SMALLEST = 3 << 16  # elements; a pass over fewer takes less time than waking a thread
BLOCK = 1 << 18  # elements; a few arrays of this size fit into the cache that cores share
PRODUCT_COST = 64  # multiply-adds of a matrix product that take as long as an element of a pass

_pool: ContextVar[tuple[int, ThreadPoolExecutor] | None] = ContextVar("_pool", default=None)


def default_num_threads() -> int:
    """Return one thread for each processor that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MAX_THREADS)
    return min(os.cpu_count() or 1, MAX_THREADS)


@contextmanager
def use_threads(num_threads: int) -> Iterator[None]:
    """Let the functions of this package use so many threads while the context lasts.

    The context belongs to the thread that enters it. NumPy's BLAS library, which all
    threads of a process share, is held to one thread for as long; outside of any
    context it uses what it finds best, and nothing else is spread over threads.

    Raises:
        TypeError, ValueError: `num_threads` is no integer in [1, 1024].
    """
    from threadpoolctl import threadpool_limits

    num_threads = integer("num_threads", num_threads, 1, MAX_THREADS)
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(num_threads, "fnnet") as executor,
    ):
        token = _pool.set((num_threads, executor))
        try:
            yield
        finally:
            _pool.reset(token)


def spread(
    work: Callable[[slice], object], length: int, elements: int, longest: int | None = None
) -> None:
    """Call `work` with slices that cover range(length), shared out among the threads.

    Args:
        work: what to do with a slice; it writes to places of its own.
        length: of the axis that is cut.
        elements: the size of the whole work, in elements that a pass goes over.
        longest: the greatest length of a slice, counted as 1 if below; by default `length`.
    """
    longest = length if longest is None else max(1, longest)
    pool = _pool.get()
    num_threads = min(pool[0], elements // SMALLEST, length) if pool else 1
    if num_threads <= 1 and length <= longest:
        work(slice(0, length))
        return
    num_threads = max(1, num_threads)
    count = num_threads * -(-length // (num_threads * longest))
    slices = [slice(i * length // count, (i + 1) * length // count) for i in range(count)]

    def share(thread: int) -> None:
        for part in slices[thread::num_threads]:
            work(part)

    if pool is None or num_threads == 1:
        share(0)
        return
    token = _pool.set(None)  # what `work` calls stays in its thread
    # A copy of the context, so that NumPy's error state holds in every thread.
    futures = [
        pool[1].submit(copy_context().run, share, thread) for thread in range(1, num_threads)
    ]
    try:
        share(0)
    finally:
        errors = [future.exception() for future in futures]  # waits for each
        _pool.reset(token)
    for error in filter(None, errors):
        raise error


def product_elements(a: Array, b: Array) -> int:
    """Return the size of a matrix product as :func:`spread` counts it."""
    return len(a) * b.size // PRODUCT_COST


def product(a: Array, b: Array) -> Array:
    """Return the matrix product a b, (M, K) times (K, N), cut along its longer side."""
    result = np.empty((len(a), b.shape[1]), a.dtype)
    elements = product_elements(a, b)
    if len(a) >= b.shape[1]:
        spread(lambda part: np.matmul(a[part], b, out=result[part]), len(a), elements)
    else:
        spread(lambda part: np.matmul(a, b[:, part], out=result[:, part]), b.shape[1], elements)
    return result
