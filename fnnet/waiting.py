"""Waits that end, and that say what they wait for."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE = 10.0  # seconds of waiting without a word


def within(seconds: float, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function that may never return, and wait this long for it.

    Raises:
        TimeoutError: it did not return in time; a thread of its own waits on.
    """
    outcome: SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = SimpleQueue()

    def call() -> None:
        try:
            outcome.put((function(*args, **kwargs), None))
        except BaseException as error:
            outcome.put((None, error))

    threading.Thread(target=call, daemon=True).start()
    try:
        result, error = outcome.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds") from None
    try:
        if error is not None:
            raise error
        return result  # type: ignore[return-value]
    finally:
        del error  # this frame would keep it, and so all that its frames hold, such as a socket


@contextmanager
def telling(say: Callable[[], object]) -> Iterator[None]:
    """Call `say`, once, if what is done in this context takes longer than ten seconds."""
    timer = threading.Timer(PATIENCE, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def announced(items: Iterable[T], say: Callable[[], object]) -> Iterator[T]:
    """Pass items on; call `say` when the next one takes longer than ten seconds to come."""
    rest, end = iter(items), object()
    while True:
        with telling(say):
            item = next(rest, end)
        if item is end:
            return
        yield item  # type: ignore[misc]
