from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from fnnet import TrainState, make_train_step, mlp, sgd, use_threads
from fnnet.threads import default_num_threads
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
