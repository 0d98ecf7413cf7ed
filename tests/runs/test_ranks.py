"""Ranks as threads of one process: the bits do not depend on which rank does the work."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from itertools import pairwise
from queue import Queue
from typing import Any, TypeVar

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from fnnet import TrainConfig, linear_classifier, make_train_step, mlp, softmax_loss, use_threads
from fnnet.checks import Array
from fnnet.limits import MAX_MICRO_BATCHES
from fnnet.runs.ranks import (
    SERIAL,
    Comm,
    all_reduce,
    check_ranks,
    check_same,
    make_distributed_train_step,
)
from fnnet.runs.run import prepare
from tests.helpers import is_immutable, same, wide
from tests.strategies import Network, networks, normal

T = TypeVar("T")
counts = st.integers(1, 9)


def on_ranks(size: int, work: Callable[[Comm], T], sent: list[int] | None = None) -> list[T]:
    """Return what `work` returns on each rank; note the bytes that rank 0 sends."""
    mail: dict[tuple[int, int], Queue[Array]] = {
        (a, b): Queue() for a in range(size) for b in range(size)
    }

    def exchange(rank: int, other: int, send: Array, receive: Array) -> None:
        assert send.flags.c_contiguous
        assert receive.flags.c_contiguous
        if sent is not None and rank == 0:
            sent.append(send.nbytes)
        mail[rank, other].put(send.copy())
        got = mail[other, rank].get(timeout=10)
        assert (got.dtype, got.shape) == (receive.dtype, receive.shape)
        receive[...] = got

    comms = [Comm(rank, size, partial(exchange, rank)) for rank in range(size)]
    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(copy_context().run, work, comm) for comm in comms]
        return [future.result() for future in futures]


def step_on(size: int, micro_batches: int, network: Network) -> tuple[float, dict[str, Array]]:
    """Return loss and gradients, the same on all ranks, to the bit."""

    def work(comm: Comm) -> tuple[float, dict[str, Array]]:
        step = make_distributed_train_step(network.model, micro_batches, comm)
        loss, grads = step(network.params, network.batch, network.reg)
        return loss, dict(grads)

    first, *others = on_ranks(size, work)
    assert all(bits(other) == bits(first) for other in others)
    return first


def bits(result: tuple[float, dict[str, Array]]) -> Any:
    """Return what tells 0 from -0, too; the bytes between two longdoubles are anything."""
    loss, grads = result
    return loss.hex(), {
        name: (g.dtype, g.shape, repr(g.tolist()) if g.dtype.itemsize > 8 else g.tobytes())
        for name, g in grads.items()
    }


@given(networks(), counts)
def test_the_step_is_the_plain_one_but_for_rounding(network: Network, micro_batches: int) -> None:
    plain_loss, plain = make_train_step(network.model)(network.params, network.batch, network.reg)
    loss, grads = step_on(1, micro_batches, network)
    assert [*grads] == [*plain]
    assert math.isclose(loss, plain_loss, rel_tol=1e-6 if plain["W1"].dtype == "f4" else 1e-12)
    for name, expected in plain.items():
        found = grads[name]
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        # The softmax works in float64 and returns the dtype of the scores.
        eps = max(np.finfo(found.dtype).eps, np.finfo(np.float64).eps)
        scale = 1 + np.abs(wide(expected)).max()
        assert np.abs(wide(found) - wide(expected)).max() <= 200 * eps * scale


@given(networks(), st.sampled_from([(8, (2, 4, 8)), (4, (2, 4)), (12, (2, 4)), (6, (2,))]))
def test_any_number_of_ranks_gives_the_same_bits(
    network: Network, case: tuple[int, tuple[int, ...]]
) -> None:
    micro_batches, sizes = case
    alone = bits(step_on(1, micro_batches, network))
    for size in sizes:
        assert bits(step_on(size, micro_batches, network)) == alone


def large(micro_batches: int, dtype: Any = np.float32) -> Network:
    """A network whose gradients are cut into blocks, and a batch that is not cut evenly."""
    dims, n = (700, 1000, 3), 10 * micro_batches + 3
    model = mlp(dims, dtype)
    batch = normal(1, (n, dims[0]), dtype), np.arange(n) % 3
    return Network(dims, model, model.init(np.random.default_rng(0)), batch, 0.1)


def by_hand(network: Network) -> tuple[float, dict[str, Array]]:
    """Return loss and gradients of four micro-batches, added up as (0 + 1) + (2 + 3)."""
    x, labels = network.batch
    n = len(x)
    cuts = [0, n // 4, 2 * n // 4, 3 * n // 4, n]
    losses, grads = [], []
    for start, stop in pairwise(cuts):
        weight = (stop - start) / n

        def loss(scores: Array, y: Array = labels[start:stop], weight: float = weight) -> Any:
            value, grad = softmax_loss(scores, y)
            return weight * value, weight * grad

        value, grad = network.model.grad(network.params, x[start:stop], loss)
        losses.append(value)
        grads.append(grad)
    total = (losses[0] + losses[1]) + (losses[2] + losses[3])
    result = {}
    for name, p in network.params.items():
        g0, g1, g2, g3 = (grad[name] for grad in grads)
        result[name] = (g0 + g1) + (g2 + g3)
        if name[0] == "W":
            total += network.reg / 2 * float((wide(p) ** 2).sum())
            result[name] += network.reg * p
    return total, result


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_gradients_are_added_up_along_the_tree(size: int) -> None:
    small = mlp([3, 4, 2], np.float32)
    network = Network(
        (3, 4, 2), small, small.init(np.random.default_rng(0)),
        (normal(5, (11, 3), np.float32), np.arange(11) % 2), 0.25,
    )  # fmt: skip
    loss, grads = step_on(size, 4, network)
    expected_loss, expected = by_hand(network)
    assert math.isclose(loss, expected_loss, rel_tol=1e-6)
    assert same(grads, expected)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_ranks_add_up_along_the_tree_whatever_the_length(size: int) -> None:
    def tree(a: list[Any]) -> Any:
        if len(a) == 2:
            return a[0] + a[1]
        if len(a) == 4:
            return (a[0] + a[1]) + (a[2] + a[3])
        return ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]))

    for length in (0, 1, 2, 7, 64, 101):
        rows = 10.0 ** normal(length, (size, length)) * normal(1, (size, length))

        def work(comm: Comm, rows: Array = rows) -> Array:
            sums: Array = rows[comm.rank].copy()
            all_reduce(comm, sums)
            return sums

        for found in on_ranks(size, work):
            assert found.tobytes() == tree([*rows]).tobytes()
    assert tree([*rows]).tobytes() != sum([*rows[1:]], rows[0]).tobytes() or size == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_blocks_and_threads_keep_the_bits(threads: int) -> None:
    network = large(4)
    with use_threads(threads):
        results = [bits(step_on(size, 4, network)) for size in (1, 2, 4)]
    assert results[0] == results[1] == results[2]
    plain = make_train_step(network.model)(network.params, network.batch, network.reg)
    loss, grads = step_on(1, 4, network)
    assert math.isclose(loss, plain[0], rel_tol=1e-6)
    for name, g in grads.items():
        assert np.allclose(g, plain[1][name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_a_rank_sends_no_more_than_an_all_reduce(size: int) -> None:
    network = large(8)
    gradients = sum(p.nbytes for p in network.params.values())
    sent: list[int] = []
    on_ranks(
        size,
        lambda comm: make_distributed_train_step(network.model, 8, comm)(
            network.params, network.batch, 0.0
        ),
        sent,
    )
    assert abs(sum(sent) - 2 * gradients * (size - 1) / size) < 100
    assert len(sent) == 4 * math.log2(size)  # for the loss as many messages, of a few bytes


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_rank_looks_only_at_its_share(size: int) -> None:
    network = large(4)
    x, labels = network.batch
    n = len(x)

    def work(comm: Comm) -> float:
        mine = slice(comm.rank * n // size, (comm.rank + 1) * n // size)
        seen = np.full_like(x, np.nan)
        seen[mine] = x[mine]
        step = make_distributed_train_step(network.model, 4, comm)
        return step(network.params, (seen, labels), 0.1)[0]

    assert {*on_ranks(size, work)} == {step_on(1, 4, network)[0]}


def test_nothing_is_changed_and_nothing_can_be() -> None:
    network = large(2)
    step = make_distributed_train_step(network.model, 2)
    x, labels = network.batch
    before = x.copy()
    _, grads = step(network.params, (x, labels), 0.1)
    kept = {name: g.copy() for name, g in grads.items()}
    x *= 2
    step(network.params, (x, labels), 0.1)
    assert same(dict(grads), kept)
    assert np.array_equal(x, 2 * before)
    for g in grads.values():
        assert is_immutable(g)
        with pytest.raises(ValueError, match="read-only"):
            g[0] = 1


def test_a_gradient_that_overflows_is_refused_as_by_the_plain_step() -> None:
    model = mlp([2, 2], np.float32)
    params = {"W1": np.full((2, 2), 1e30, np.float32), "b1": np.zeros(2, np.float32)}
    batch = np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])
    for step in (make_train_step(model), make_distributed_train_step(model, 2)):
        with pytest.raises(ValueError, match=r"reg \* w must be finite, found inf"):
            step(params, batch, 1e30)


def test_one_micro_batch_is_the_plain_step() -> None:
    network = large(1)
    plain = make_train_step(network.model)(network.params, network.batch, 0.1)
    found = make_distributed_train_step(network.model, 1)(network.params, network.batch, 0.1)
    assert same((plain[0], dict(plain[1])), (found[0], dict(found[1])))


@pytest.mark.parametrize(
    "changes",
    [
        {"momentum": 0.9, "nesterov": True, "schedule": "cosine", "flip": True},
        {"preprocessing": "whiten", "components": 9, "pool": 2, "shift": 1, "hidden_dim": 0},
    ],
    ids=["momentum", "whitened"],
)
def test_a_run_has_the_same_bits_on_any_number_of_ranks(
    small_config: TrainConfig, changes: dict[str, Any]
) -> None:
    # 70 examples in batches of 32 leave a last one of 6: two of eight micro-batches are empty.
    config = evolve(small_config, micro_batches=8, num_threads=1, **changes)
    experiment = prepare(config)

    def run(comm: Comm) -> Any:
        *_, state = experiment.states(comm=comm)
        return state.step, bits((state.loss, dict(state.params)))

    runs = [*on_ranks(1, run), *on_ranks(2, run), *on_ranks(8, run)]
    assert all(found == runs[0] for found in runs)
    other = evolve(experiment, config=evolve(config, micro_batches=2))
    *_, state = other.states()
    assert bits((state.loss, dict(state.params))) != runs[0][1]


@pytest.mark.parametrize(("size", "micro_batches"), [(2, 1), (2, 3), (3, 3), (6, 12), (8, 4)])
def test_ranks_that_cannot_share_the_micro_batches_are_refused(
    size: int, micro_batches: int
) -> None:
    comm = Comm(0, size, SERIAL.exchange)
    found = rf"must be a power of two that divides micro_batches, {micro_batches}, found {size}"
    with pytest.raises(ValueError, match=found):
        make_distributed_train_step(mlp([2, 2]), micro_batches, comm)
    with pytest.raises(ValueError, match=found):
        check_ranks(size, micro_batches)


def test_what_is_no_batch_is_refused() -> None:
    step = make_distributed_train_step(mlp([2, 2]), 2)
    params = mlp([2, 2]).init(np.random.default_rng(0))
    x, labels = np.ones((3, 2)), np.array([0, 1, 0])
    with pytest.raises(TypeError, match="batch must be a pair of x and labels, found ndarray"):
        step(params, x, 0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"x must have at least one example, found shape \(0, 2\)"):
        step(params, (x[:0], labels[:0]), 0.1)
    with pytest.raises(ValueError, match=r"labels must have shape \(3,\), found \(2,\)"):
        step(params, (x, labels[:2]), 0.1)
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\), found 2"):
        step(params, (x, labels + 1), 0.1)


@pytest.mark.parametrize("number", [0, MAX_MICRO_BATCHES + 1])
def test_a_number_of_micro_batches_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"micro_batches must be at .*, found {number}"):
        make_distributed_train_step(linear_classifier(2, 3), number)


def test_a_rank_is_one_of_its_number() -> None:
    with pytest.raises(ValueError, match="rank must be at most 1, found 2"):
        Comm(2, 2, SERIAL.exchange)
    with pytest.raises(ValueError, match=r"^size must be at least 1, found 0$"):
        Comm(0, 0, SERIAL.exchange)
    with pytest.raises(TypeError, match=r"^exchange must be .*, found NoneType"):
        Comm(0, 1, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^model must be a Model, found NoneType"):
        make_distributed_train_step(None, 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^comm must be a Comm, found int"):
        make_distributed_train_step(mlp([2, 2]), 1, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is no rank 1: this process is alone"):
        all_reduce(Comm(0, 2, SERIAL.exchange), np.ones(2))


def test_ranks_that_differ_are_told_which_and_how() -> None:
    def check(comm: Comm, odd: int) -> str:
        try:
            check_same(comm, {"seed": "7", "data": "b" if comm.rank == odd else "a"})
        except ValueError as error:
            return str(error)
        return "fine"

    assert on_ranks(4, partial(check, odd=4)) == ["fine"] * 4
    assert check(SERIAL, 0) == "fine"
    for odd in range(2):
        found = on_ranks(2, partial(check, odd=odd))
        assert found[1 - odd] == (
            f"all ranks must have the same data, rank {odd} has another than rank {1 - odd}: a"
        )


@pytest.mark.parametrize(("size", "distance"), [(4, 1), (4, 2), (8, 1), (8, 2), (8, 4)])
def test_ranks_that_differ_are_found_however_far_away(size: int, distance: int) -> None:
    def check(comm: Comm) -> str:
        try:
            check_same(comm, {"seed": "7" if comm.rank & distance else "8"})
        except ValueError as error:
            return str(error)
        return "fine"

    assert on_ranks(size, check) == [
        f"all ranks must have the same seed, rank {rank ^ distance} has another than "
        f"rank {rank}: {7 if rank & distance else 8}"
        for rank in range(size)
    ]
