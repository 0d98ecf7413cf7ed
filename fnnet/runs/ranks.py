"""Data-parallel training steps whose bits do not depend on the number of processes.

A batch is cut into micro-batches, and the gradient is the sum over these along one
binary tree, whichever rank works on them. With four micro-batches:

    (0 + 1) + (2 + 3)        one rank computes all of it
                             two ranks: one computes 0 + 1, the other 2 + 3; the last + is
                             between them
                             four ranks: one micro-batch each; every + is between ranks

Nothing in here knows of MPI: see :mod:`fnnet.commands.mpi`.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from attrs import frozen

from fnnet.checks import (
    Array,
    as_array,
    as_float_array,
    as_integer,
    as_number,
    check_callable,
    check_type,
)
from fnnet.limits import MAX_MICRO_BATCHES
from fnnet.losses import softmax_loss
from fnnet.models import Model
from fnnet.training import Batch, TrainStep, make_train_step, regularized
from fnnet.values import Params, ParamsLike, lock


@frozen(eq=False)
class Comm:
    """One process of several, its rank, and how it reaches the others."""

    rank: int
    """0 for the first."""
    size: int
    """How many ranks there are."""
    exchange: Callable[[int, Array, Array], None]
    """exchange(other, send, receive) sends one array to the rank `other` and receives one from it.

    Both arrays are contiguous. The other rank makes the same call with this rank's number."""

    def __attrs_post_init__(self) -> None:
        as_integer("size", self.size, low=1)
        as_integer("rank", self.rank, 0, self.size - 1)
        check_callable("exchange", self.exchange)


def _nobody(other: int, send: Array, receive: Array) -> None:
    raise ValueError(f"there is no rank {other}: this process is alone")


SERIAL = Comm(0, 1, _nobody)
"""One process alone."""


def check_ranks(size: int, micro_batches: int) -> None:
    """Raise ValueError unless `size` is a power of two that divides `micro_batches`."""
    if size & (size - 1) or micro_batches % size:
        raise ValueError(
            "the number of ranks must be a power of two that divides micro_batches, "
            f"{micro_batches}, found {size} ranks"
        )


def check_same(comm: Comm, texts: Mapping[str, str]) -> None:
    """Raise ValueError on at least one rank unless all ranks have the same texts.

    Every rank compares its own with those of the ranks 1, 2, 4, … away. These pairs connect
    all ranks: if any two ranks differ, the two of some pair do.
    """
    for name, text in texts.items():
        mine = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
        theirs = np.empty_like(mine)
        for bit in range(comm.size.bit_length() - 1):
            other = comm.rank ^ 1 << bit
            comm.exchange(other, mine, theirs)
            if not np.array_equal(mine, theirs):
                raise ValueError(
                    f"all ranks must have the same {name}, rank {other} has another than "
                    f"rank {comm.rank}: {text}"
                )


def make_distributed_train_step(model: Model, micro_batches: int, comm: Comm = SERIAL) -> TrainStep:
    """Return a train_step that the ranks take together, each on its share of the batch.

    Every rank calls it with the same arguments and gets the same loss and gradients, to
    the bit, whether there are 1, 2, 4, … ranks. They are those of
    :func:`fnnet.make_train_step` but for rounding, which depends on `micro_batches`.

    Args:
        model: the classifier.
        micro_batches: how many contiguous parts of (nearly) equal size a batch is cut
            into; with 1 this is the plain train_step.
        comm: the ranks; their number is a power of two that divides `micro_batches`.

    Returns:
        train_step(params, batch, reg) -> (loss, grads). Rank r of P looks only at the
        parts r M/P to (r + 1) M/P - 1 of M. For G bytes of gradients it sends
        2 G (P - 1)/P bytes (Thakur et al. 2005, §4.4, with the nearest rank first).

    Raises:
        TypeError, ValueError: an argument, here or of train_step, does not fit.

    >>> from fnnet.models import linear_classifier
    >>> model = linear_classifier(2, 3)
    >>> params = {"W1": np.zeros((2, 3)), "b1": np.zeros(3)}
    >>> train_step = make_distributed_train_step(model, micro_batches=2)
    >>> loss, grads = train_step(params, (np.ones((4, 2)), np.array([0, 1, 2, 0])), 0.1)
    >>> round(loss, 6)  # log(3)
    1.098612
    """
    check_type("model", model, Model)
    micro_batches = as_integer("micro_batches", micro_batches, 1, MAX_MICRO_BATCHES)
    check_type("comm", comm, Comm)
    check_ranks(comm.size, micro_batches)
    if micro_batches == 1:
        return make_train_step(model)
    return partial(_train_step, model, micro_batches, comm)


@np.errstate(all="ignore")  # what overflows is found, and named, by the next step's forward pass
def _train_step(
    model: Model, micro_batches: int, comm: Comm, params: ParamsLike, batch: Batch, reg: float
) -> tuple[float, Params]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError(f"batch must be a pair of x and labels, found {type(batch).__name__}")
    x = as_array("x", batch[0], ("N", *np.shape(batch[0])[1:]))
    if x.size == 0:
        raise ValueError(f"x must have at least one example, found shape {x.shape}")
    labels = as_array("labels", batch[1], (len(x),))
    reg = as_number("reg", reg, low=0)
    for name, p in check_type("params", params, Mapping).items():
        as_float_array(f"params[{name}]", p)

    def add_up(first: int, last: int) -> tuple[Array, Array]:
        """Return the loss and the gradients, in one array each, of some micro-batches."""
        if last - first > 1:
            middle = (first + last) // 2
            (loss, gradients), others = add_up(first, middle), add_up(middle, last)
            return loss + others[0], gradients + others[1]
        part = slice(first * len(x) // micro_batches, last * len(x) // micro_batches)
        weight = (part.stop - part.start) / len(x)
        if not weight:  # an empty part adds zeros: without them a sum of 0 could be -0
            return np.zeros(1), _flatten({name: np.zeros_like(p) for name, p in params.items()})

        def weighted_loss(scores: Array) -> tuple[float, Array]:
            value, grad_scores = softmax_loss(scores, labels[part])
            return weight * value, weight * grad_scores

        value, grads = model.grad(params, x[part], weighted_loss)
        return np.array([value]), _flatten(grads)

    share = micro_batches // comm.size
    loss, gradients = add_up(comm.rank * share, (comm.rank + 1) * share)
    for sums in (loss, gradients):
        all_reduce(comm, sums)
    return regularized(float(loss[0]), _unflatten(lock(gradients), params), params, reg)


def _flatten(arrays: ParamsLike) -> Array:
    """Return all numbers in one array, so that one all_reduce adds them up."""
    return np.concatenate([array.ravel() for array in arrays.values()])


def _unflatten(numbers: Array, params: ParamsLike) -> Params:
    """Return the numbers of :func:`_flatten` in the shapes of the parameters."""
    ends = np.cumsum([p.size for p in params.values()])[:-1]
    pieces = zip(params.items(), np.split(numbers, ends), strict=True)
    return Params.owning({name: piece.reshape(p.shape) for (name, p), piece in pieces})


def all_reduce(comm: Comm, sums: Array, distance: int = 1) -> None:
    """Replace an array by its sum over all ranks, along the tree of the module's docstring.

    Neighbors send each other the half that the other one adds up, then do the same
    with the ranks 2, 4, … away, and on the way back send each other the results. a + b
    and b + a have the same bits, so either of the two ranks may add.
    """
    if distance == comm.size:
        return
    other = comm.rank ^ distance
    halves = sums[: sums.size // 2], sums[sums.size // 2 :]
    mine, theirs = halves if comm.rank < other else halves[::-1]
    received = np.empty_like(mine)
    comm.exchange(other, theirs, received)
    mine += received
    all_reduce(comm, mine, 2 * distance)
    comm.exchange(other, mine, theirs)
