"""Set how many threads the BLAS library uses. No other threads compute."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fnnet.checks import as_integer
from fnnet.limits import MAX_THREADS

# The setting belongs to the whole process, so the open contexts are kept here, in order of entry.
_open: dict[object, int] = {}
_before: list[tuple[Any, int]] = []  # each library, and what it had before the first of them
_lock = threading.RLock()


def default_num_threads() -> int:
    """Return one thread for each processor that this process may use."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(number or 1, MAX_THREADS)


@contextmanager
def use_threads(num_threads: int) -> Iterator[None]:
    """Let the BLAS library use this number of threads in the whole process.

    Contexts may overlap in any order and in any threads. The open context that was entered
    last decides. When none is open, the numbers from before the first one are restored.

    Raises:
        TypeError, ValueError: `num_threads` is not an integer in [1, 1024].
    """
    num_threads = as_integer("num_threads", num_threads, 1, MAX_THREADS)
    context = object()
    try:
        _update(context, {context: num_threads})
        yield
    finally:
        try:
            _update(context, {})
        except KeyboardInterrupt:  # Ctrl-C at this very moment
            _update(context, {})
            raise


def _update(context: object, entry: dict[object, int]) -> None:
    """Let the entry take the place of the context's own, and set the number that now holds."""
    from threadpoolctl import ThreadpoolController

    with _lock:
        if not _before:
            libraries = ThreadpoolController().select(user_api="blas").lib_controllers
            _before[:] = [(library, library.num_threads) for library in libraries]
        others = [number for key, number in _open.items() if key is not context]
        for library, before in _before:
            # Since threadpoolctl 3.8 the thread that sets the number owns it: give that up.
            release = getattr(library, "clear_controlling_thread", lambda force: None)
            release(force=True)
            library.set_num_threads([before, *others, *entry.values()][-1])
            release(force=True)
        # Last, so that what an interrupt cut short can be done again.
        _open.pop(context, None)
        _open.update(entry)
        if not _open:
            _before.clear()


if hasattr(os, "register_at_fork"):  # a child must not inherit a lock that nobody releases
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )
