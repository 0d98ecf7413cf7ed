"""A training step has the same bits under other people's executors."""

import asyncio
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fnnet as fn

SEEDS = range(8)


def train(seed: int, num_threads: int | None = None) -> tuple[fn.Params, Any, float]:
    """Train an epoch from the initial parameters; return them, the optimizer's state, the loss."""
    if num_threads is not None:
        with fn.use_threads(num_threads):
            return train(seed)
    rng = np.random.default_rng(seed)
    images = rng.integers(256, size=(60, 8, 8), dtype=np.uint8)
    dataset = fn.Dataset(images, np.arange(60) % 3, ("a", "b", "c"))
    model, optimizer = fn.two_layer_net(64, 20, 3), fn.sgd(0.1, 0.9)
    step = fn.make_train_step(model)
    params = model.init(rng)
    state = optimizer.init(params)
    for x, labels in fn.minibatches(dataset, 16, seed=seed, epoch=0):
        loss, grads = step(params, (x.reshape(len(x), -1) / 255, labels), 1e-3)
        params, state = optimizer.update(params, state, grads)
    return params, state, loss


def by_processes(method: str, seeds: Sequence[int]) -> list[Any]:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        return [*pool.map(train, seeds)]


def by_threads(seeds: Sequence[int], num_threads: int | None = None) -> list[Any]:
    with ThreadPoolExecutor(8) as pool:
        return [*pool.map(partial(train, num_threads=num_threads), seeds)]


def by_joblib(backend: str, seeds: Sequence[int]) -> list[Any]:
    joblib = pytest.importorskip("joblib")
    results: list[Any] = joblib.Parallel(n_jobs=2, backend=backend)(
        joblib.delayed(train)(s) for s in seeds
    )
    if backend == "loky":  # its processes would outlive the test
        joblib.externals.loky.get_reusable_executor().shutdown(wait=True)
    return results


def by_coroutines(seeds: Sequence[int]) -> list[Any]:
    async def one(seed: int) -> Any:
        await asyncio.sleep(0)
        return train(seed)

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*map(one, seeds))

    return asyncio.run(all_of_them())


def by_to_thread(seeds: Sequence[int]) -> list[Any]:
    async def all_of_them() -> Any:
        return await asyncio.gather(*(asyncio.to_thread(train, seed) for seed in seeds))

    results: list[Any] = asyncio.run(all_of_them())
    return results


def by_command_line(seeds: Sequence[int]) -> list[Any]:
    code = (
        "import pickle, sys; from tests.test_executors import train; "
        "sys.stdout.buffer.write(pickle.dumps([train(int(s)) for s in sys.argv[1:]]))"
    )
    words = [sys.executable, "-c", code, *map(str, seeds)]
    root = Path(__file__).parents[1]
    done = subprocess.run(words, cwd=root, check=True, capture_output=True, timeout=60)
    results: list[Any] = pickle.loads(done.stdout)
    return results


EXECUTORS: dict[str, Callable[[Sequence[int]], list[Any]]] = {
    "processes that fork": partial(by_processes, "fork"),
    "processes that spawn": partial(by_processes, "spawn"),
    "eight threads": by_threads,
    "eight threads that set the number of BLAS threads": partial(by_threads, num_threads=1),
    "joblib's processes": partial(by_joblib, "loky"),
    "joblib's threads": partial(by_joblib, "threading"),
    "coroutines": by_coroutines,
    "asyncio.to_thread": by_to_thread,
    "python -c": by_command_line,
}


@pytest.mark.parametrize("name", EXECUTORS)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_training_step_has_the_same_bits(name: str) -> None:
    expected = [train(seed) for seed in SEEDS]
    found = EXECUTORS[name](SEEDS)
    assert found == expected
    assert len({pickle.dumps(result) for result in expected}) == len(SEEDS)
