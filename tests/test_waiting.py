"""Waits end, and say what they wait for."""

import threading
import time
from typing import Any

import pytest

from fnnet.waiting import announced, telling, within


def fail(error: BaseException) -> None:
    raise error


def test_what_is_done_in_time_returns_its_result() -> None:
    assert within(20, sorted, [2, 1], reverse=True) == [2, 1]


@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError("late"), KeyboardInterrupt()])
def test_an_error_is_raised_here(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        within(20, fail, error)
    assert caught.value is error


def test_what_never_returns_is_given_up() -> None:
    never = threading.Event()
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="no answer within 0 seconds"):
        within(0.05, never.wait, 30)
    assert time.monotonic() - start < 10
    never.set()


@pytest.mark.parametrize("patience", [0.05, 30.0])
def test_only_a_long_wait_is_told_and_only_once(
    patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnnet.waiting.PATIENCE", patience)
    told: list[str] = []
    with telling(lambda: told.append("waiting")):
        time.sleep(0.3)
    assert told == ["waiting"] * (patience < 1)


def test_each_long_wait_for_an_item_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fnnet.waiting.PATIENCE", 0.2)
    told: list[Any] = []

    def items() -> Any:
        for pause in (0, 0.5, 0, 0.5):
            time.sleep(pause)
            yield pause

    seen: list[float] = []
    for item in announced(items(), lambda: told.append(len(seen))):
        seen.append(item)
        time.sleep(0.3)  # the consumer's own time is no wait
    assert seen == [0, 0.5, 0, 0.5]
    assert told == [1, 3]
