"""The number of BLAS threads is set, and set back however contexts overlap."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import get_context
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from fnnet import TrainState, make_train_step, mlp, sgd, use_threads
from fnnet.threads import default_num_threads
from fnnet.training import fold, init_state, make_update
from tests.helpers import same
from tests.strategies import normal


def blas_threads() -> int:
    [number] = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    return int(number)


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    """A number that is not the default of any test machine: what must be there at the end."""
    with threadpool_limits(3, user_api="blas"):
        yield
        assert blas_threads() == 3


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_the_number_of_threads_is_set_and_set_back(num_threads: int) -> None:
    with use_threads(num_threads):
        assert blas_threads() == num_threads
    assert blas_threads() == 3


def test_the_default_is_a_processor_each(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= default_num_threads() <= 1024
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(3), raising=False)
    assert default_num_threads() == 3  # of five processors this process may use three
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS and Windows
    assert default_num_threads() == 5
    for number, threads in ((None, 1), (5000, 1024)):
        monkeypatch.setattr(os, "cpu_count", lambda number=number: number)
        assert default_num_threads() == threads


@pytest.mark.parametrize("num_threads", [0, -1, 1.0, "2", None, True, 1025])
def test_what_is_not_a_number_of_threads_is_refused(num_threads: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="num_threads must"), use_threads(num_threads):
        pass


@given(st.lists(st.integers(0, 5), min_size=1, max_size=14))
def test_contexts_overlap_in_any_order_and_the_last_one_restores(moves: list[int]) -> None:
    # A move closes that one of the open contexts, or else enters a new one.
    open_contexts: list[tuple[int, Any]] = []
    for move in moves:
        if move < len(open_contexts):
            open_contexts.pop(move)[1].__exit__(None, None, None)
        else:
            context = use_threads(move + 1)
            context.__enter__()
            open_contexts.append((move + 1, context))
        assert blas_threads() == ([3] + [number for number, _ in open_contexts])[-1]
    for _, context in open_contexts:
        context.__exit__(None, None, None)
    assert blas_threads() == 3


def test_contexts_of_threads_that_leave_in_another_order_end_at_what_was_there_before() -> None:
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))
    seen: list[int] = []

    def first() -> None:
        with use_threads(1):
            first_is_in.set()
            second_is_in.wait(20)
        first_is_out.set()

    def second() -> None:
        first_is_in.wait(20)
        with use_threads(2):
            second_is_in.set()
            first_is_out.wait(20)
            seen.append(blas_threads())

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert seen == [2]


def test_many_threads_at_once_leave_the_number_as_it_was() -> None:
    def work(number: int) -> None:
        for _ in range(20):
            with use_threads(number):
                pass

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2, 4, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert blas_threads() == 3


def test_a_suspended_generator_may_end_in_another_thread() -> None:
    def numbers(number: int) -> Iterator[int]:
        with use_threads(number):
            yield blas_threads()

    one, two = numbers(1), numbers(2)
    assert [next(one), next(two)] == [1, 2]
    thread = threading.Thread(target=one.close)  # type: ignore[attr-defined]
    thread.start()
    thread.join(20)
    assert blas_threads() == 2
    del two
    assert blas_threads() == 3


def test_an_interrupt_inside_restores_the_number() -> None:
    with pytest.raises(KeyboardInterrupt), use_threads(1):
        raise KeyboardInterrupt


class InterruptingLibrary:
    """A BLAS library, at whose calls Ctrl-C comes once."""

    def __init__(self, number: int, at: int) -> None:
        self.num_threads, self.calls_left = number, at

    def set_num_threads(self, number: int) -> None:
        for change in (False, True):  # before the number is set, and after it
            if change:
                self.num_threads = number
            self.calls_left -= 1
            if self.calls_left == 0:
                raise KeyboardInterrupt


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_an_interrupt_while_the_number_is_set_leaves_what_was_there(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = InterruptingLibrary(7, at)
    controller = SimpleNamespace(lib_controllers=[library])
    monkeypatch.setattr(
        "threadpoolctl.ThreadpoolController",
        lambda: SimpleNamespace(select=lambda user_api: controller),
    )
    for _ in range(2):
        with suppress(KeyboardInterrupt), use_threads(1):
            assert library.num_threads == 1
        assert library.num_threads == 7
    assert library.calls_left < 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("where", ["inside", "after"])
def test_a_pool_of_forks_can_compute(where: str) -> None:
    with use_threads(2):
        expected = forward()
        if where == "inside":
            with get_context("fork").Pool(2) as pool:
                found = pool.map_async(forward, range(4)).get(30)
    if where == "after":
        with get_context("fork").Pool(2) as pool, use_threads(2):
            found = pool.map_async(forward_on_two, range(4)).get(30)
    assert all(same(y, expected) for y in found)


def forward(_: int = 0) -> np.ndarray[Any, Any]:
    model = mlp((2000, 300, 10), np.float32)
    return model.apply(model.init(np.random.default_rng(0)), normal(0, (700, 2000), np.float32))


def forward_on_two(_: int) -> np.ndarray[Any, Any]:
    with use_threads(2):
        return forward()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_inside_can_compute() -> None:
    model = mlp((2000, 300, 10), np.float32)
    params, x = model.init(np.random.default_rng(0)), normal(0, (700, 2000), np.float32)
    with use_threads(2):
        expected = model.apply(params, x)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with use_threads(2):
                    code = 0 if same(model.apply(params, x), expected) else 1
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_sets_the_number_can_set_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_setting, plain = threading.Event(), ThreadpoolController.select

    def slow(self: Any, **kinds: Any) -> Any:
        is_setting.set()
        time.sleep(0.2)
        return plain(self, **kinds)

    def work() -> None:
        with use_threads(2):
            pass

    monkeypatch.setattr(ThreadpoolController, "select", slow)
    thread = threading.Thread(target=work)
    thread.start()
    is_setting.wait(20)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    thread.join(20)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def train(num_threads: int) -> TrainState:
    model, optimizer = mlp((1000, 301, 10), np.float32), sgd(0.01, 0.9)
    step = make_update(make_train_step(model), optimizer, 0.1)
    start = init_state(model, optimizer, np.random.default_rng(0))
    batches = [(normal(i, (50, 1000), np.float32), np.arange(50) % 10) for i in range(3)]
    with use_threads(num_threads):
        *_, end = fold(step, start, batches)
    return end


def test_the_same_number_of_threads_gives_the_same_bits_and_another_nearly() -> None:
    once, again, other = train(2), train(2), train(1)
    assert once == again
    for name, p in once.params.items():
        np.testing.assert_allclose(other.params[name], p, rtol=1e-4, atol=1e-5)
