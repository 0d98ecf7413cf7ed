"""Waits that end, and that say what they wait for."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE = 10.0  # seconds of waiting without a word


def within(seconds: float, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function that may never return, and wait this long for it.

    Raises:
        TimeoutError: it did not return in time; a thread of its own waits on.
    """
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future.result(seconds)


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
