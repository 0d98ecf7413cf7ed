import threading
import time
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from fnnet import (
    Dataset,
    TrainState,
    fc_forward,
    fit_standardization,
    make_train_step,
    mlp,
    score_dataset,
    sgd,
    standardize,
    use_threads,
)
from fnnet.checks import Array, NonFiniteError
from fnnet.threads import default_num_threads, product, spread
from fnnet.training import fold, init_state, make_step
from tests.helpers import same
from tests.strategies import normal


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.parametrize("num_threads", [1, 2])
def test_the_number_of_threads_is_set_and_set_back(num_threads: int) -> None:
    before = blas_threads()
    with use_threads(num_threads):
        assert blas_threads() == {1}  # the threads are ours
    assert blas_threads() == before


def test_the_default_is_a_processor_each() -> None:
    assert 1 <= default_num_threads() <= 1024


@pytest.mark.parametrize("num_threads", [0, -1, 1.0, "2", None, True])
def test_what_is_no_number_of_threads_is_refused(num_threads: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="num_threads must"), use_threads(num_threads):
        pass


def train(num_threads: int) -> TrainState:
    model, optimizer = mlp((1000, 301, 10), np.float32), sgd(0.01, 0.9)
    step = make_step(make_train_step(model), optimizer, 0.1)
    start = init_state(model, optimizer, np.random.default_rng(0))
    batches = [(normal(i, (50, 1000), np.float32), np.arange(50) % 10) for i in range(3)]
    with use_threads(num_threads):
        *_, end = fold(step, start, batches)
    return end


def test_the_same_number_of_threads_gives_the_same_bits_and_another_nearly() -> None:
    once, again, other = train(2), train(2), train(1)
    assert once.loss == again.loss
    assert same(dict(once.params), dict(again.params))
    for name, p in once.params.items():
        np.testing.assert_allclose(other.params[name], p, rtol=1e-4, atol=1e-5)


def large(seed: int, rows: int, columns: int) -> Array:
    """Return a matrix whose products and passes are shared out among threads."""
    return np.random.default_rng(seed).standard_normal((rows, columns))


@given(
    length=st.integers(1, 5000),
    num_threads=st.integers(1, 5),
    longest=st.none() | st.integers(-1, 5000),
    elements=st.integers(0, 10**7),
)
def test_every_index_is_worked_on_once(
    length: int, num_threads: int, longest: int | None, elements: int
) -> None:
    slices: list[slice] = []
    with use_threads(num_threads):
        spread(slices.append, length, elements, longest)
    covered = sorted(i for part in slices for i in range(length)[part])
    assert covered == [*range(length)]
    assert len({part.start for part in slices}) == len(slices)
    if longest is not None:
        assert max(part.stop - part.start for part in slices) <= max(1, longest)


@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_large_works_are_shared_out_among_so_many_threads(num_threads: int) -> None:
    names: list[str] = []
    together = threading.Barrier(num_threads, timeout=20)

    def work(part: slice) -> None:
        names.append(threading.current_thread().name)
        together.wait()  # passes only if as many are at work at once

    with use_threads(num_threads):
        spread(work, length=99, elements=10**9)
    assert len({*names}) == num_threads
    spread(lambda part: names.append("alone"), length=99, elements=10**9)
    assert names[num_threads:] == ["alone"]


def test_what_a_thread_calls_stays_in_it() -> None:
    inside: list[tuple[str, str]] = []

    def outer(_: slice) -> None:
        caller = threading.current_thread().name
        spread(lambda _: inside.append((caller, threading.current_thread().name)), 9, 10**9)

    with use_threads(2):
        spread(outer, 2, 10**9)
    assert len(inside) == 2
    assert all(caller == own for caller, own in inside)


@pytest.mark.parametrize("at", [0, 1])
def test_an_error_in_any_thread_comes_out_when_all_are_done(at: int) -> None:
    done: list[int] = []

    def work(part: slice) -> None:
        if part.start == at:
            raise KeyError(at)
        time.sleep(0.01)
        done.append(part.start)

    with use_threads(2):
        with pytest.raises(KeyError):
            spread(work, 2, 10**9)
        assert done == [1 - at]
        spread(lambda part: done.append(part.start), 2, 10**9)  # the threads are still there
    assert len(done) == 3


@pytest.mark.parametrize("num_threads", [1, 2, 3])
@pytest.mark.parametrize(
    ("rows", "inner", "columns"), [(2000, 301, 70), (70, 301, 2000), (1, 9000, 9), (3, 0, 4)]
)
def test_products_are_those_of_numpy(rows: int, inner: int, columns: int, num_threads: int) -> None:
    a, b = large(0, rows, inner), large(1, inner, columns)
    with use_threads(num_threads):
        np.testing.assert_allclose(product(a, b), a @ b, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(product(b.T, a.T), (a @ b).T, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_what_overflows_in_a_thread_is_an_error_and_no_warning(num_threads: int) -> None:
    w = np.full((500, 400), 1e300)
    x = np.full((200, 500), 1e300)
    with use_threads(num_threads), pytest.raises(NonFiniteError, match="x w"):
        fc_forward(x, w, np.zeros(400))


def test_a_context_belongs_to_the_thread_that_enters_it() -> None:
    names: list[str] = []

    def work() -> None:
        spread(lambda _: names.append(threading.current_thread().name), 9, 10**9)

    with use_threads(2):
        other = threading.Thread(target=work, name="other")
        other.start()
        other.join()
        with use_threads(1):
            work()
        assert names == ["other", threading.current_thread().name]
        work()
    assert len(names) == 4


@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_scores_gradients_and_statistics_do_not_depend_on_threads_but_for_rounding(
    num_threads: int,
) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(1201, 3, 16, 16), dtype=np.uint8)
    dataset = Dataset(images, rng.integers(9, size=1201), tuple("abcdefghi"))
    model = mlp((768, 200, 9))
    params = model.init(rng)

    def results() -> list[Array]:
        stats = fit_standardization(dataset)
        x = standardize(stats, images)
        _, grads = make_train_step(model)(params, (x, dataset.labels), 0.1)
        scores = score_dataset(model, params, dataset, partial(standardize, stats))
        return [x, scores, *(grads[name] for name in grads)]

    alone = results()
    with use_threads(num_threads):
        for a, b in zip(alone, results(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
