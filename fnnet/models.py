"""Models as triples of pure functions over immutable dicts of parameters.

    model.init(rng)              -> params
    model.apply(params, x)       -> scores
    model.grad(params, x, loss)  -> (loss, grads)

A model holds no numbers: parameters go in and gradients come out. The loss is
a function of the scores, ``scores -> (loss, grad_scores)``, so that training
passes the softmax loss, a gradient check passes a linear one, and no cache of
the forward pass leaves the model.
"""

import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
from attrs import frozen

from fnnet.checks import (
    Array,
    NonFiniteError,
    finite,
    float_array,
    floating,
    function,
    instance,
    integer,
    lock,
    read_only,
)
from fnnet.layers import (
    FcCache,
    ReluCache,
    WeightGradient,
    fc_forward,
    relu_backward,
    relu_forward,
)
from fnnet.threads import product

MAX_WIDTH = 2**31 - 1  # what BLAS counts to

Params = Mapping[str, Array]
"""Read-only mapping of read-only arrays: W1 (D, H), b1 (H,), W2 (H, C), b2 (C,), …"""

Loss = Callable[[Array], tuple[float, Array]]
"""scores (N, C) -> (loss, gradient of the loss with respect to the scores)."""


@frozen
class Model:
    """A network as three pure functions; :func:`mlp` makes one."""

    init: Callable[[np.random.Generator], Params]
    """rng -> params."""
    apply: Callable[[Params, Array], Array]
    """params, x (N, D) -> scores (N, C)."""
    grad: Callable[[Params, Array, Loss], tuple[float, Params]]
    """params, x (N, D), loss -> (loss, gradient of the loss for every key of params)."""


def lock_all(arrays: Mapping[str, Array]) -> Params:
    """Make arrays that nobody else has yet read-only, and return a read-only mapping of them."""
    return MappingProxyType({name: lock(array) for name, array in arrays.items()})


def freeze(arrays: Mapping[str, Array]) -> Params:
    """Return a read-only mapping of read-only views of the arrays."""
    return MappingProxyType({name: read_only(array) for name, array in arrays.items()})


class Grads(Mapping[str, Array]):
    """Gradients by parameter, read-only; those of weights are worked out when asked for.

    ``grads["W1"]`` is an array like any other. :func:`unevaluated` gives what is
    behind it, for those who go through a gradient block by block.
    """

    def __init__(self, entries: Mapping[str, Array | WeightGradient]) -> None:
        # What depends on an array that somebody could still write to is worked out now.
        self._entries = {
            name: entry.array()
            if isinstance(entry, WeightGradient) and not entry.is_settled
            else entry
            for name, entry in entries.items()
        }

    def __getitem__(self, name: str) -> Array:
        entry = self._entries[name]
        if isinstance(entry, WeightGradient):
            entry = self._entries[name] = lock(entry.array())
        return read_only(entry)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Grads({dict(self)})"


def unevaluated(grads: Params, name: str) -> Array | WeightGradient:
    """Return the gradient of one parameter as it is kept, a WeightGradient if it can be."""
    return grads._entries[name] if isinstance(grads, Grads) else grads[name]


def is_weight(name: str) -> bool:
    """Tell whether the parameter is a weight W1, W2, … (regularized) or a bias (never)."""
    return name.startswith("W")


def mlp(dims: Sequence[int], dtype: Any = np.float64) -> Model:
    """Multi-layer perceptron: fully connected layers with a ReLU between each two.

    Weights start as N(0, 2 / fan_in) (He et al. 2015, eq. 10), biases as 0. The
    numbers are drawn in float64 and rounded to `dtype`, so that a float32 and a
    float64 network of one seed start from the same point.

    Args:
        dims: width of the input, of each hidden layer, and of the scores: (D, H1, …, C).
        dtype: floating dtype of the parameters that `init` makes.

    Returns:
        the model; its functions raise TypeError or ValueError that name what does
        not fit, and NonFiniteError (a ValueError) where a number is NaN or infinite.

    Raises:
        TypeError, ValueError: fewer than two dims, one below 1, or no floating dtype.

    >>> model = mlp([4, 5, 3])
    >>> params = model.init(np.random.default_rng(0))
    >>> {name: array.shape for name, array in params.items()}
    {'W1': (4, 5), 'b1': (5,), 'W2': (5, 3), 'b2': (3,)}
    >>> model.apply(params, np.ones((2, 4))).shape
    (2, 3)
    """
    if not isinstance(dims, Sequence) or isinstance(dims, str | bytes):
        raise TypeError(f"dims must be a sequence of integers, found {type(dims).__name__}")
    widths = tuple(integer(f"dims[{i}]", dim, 1, MAX_WIDTH) for i, dim in enumerate(dims))
    if len(widths) < 2:
        raise ValueError(f"dims must have at least an input and an output, found {widths}")
    dtype = floating("dtype", dtype)
    depth = len(widths) - 1
    names = tuple(f"{kind}{layer}" for layer in range(1, depth + 1) for kind in "Wb")

    def init(rng: np.random.Generator) -> Params:
        instance("rng", rng, np.random.Generator)
        params: dict[str, Array] = {}
        for layer in range(1, depth + 1):
            fan_in, fan_out = widths[layer - 1 : layer + 1]
            weights = rng.standard_normal((fan_in, fan_out)) * np.sqrt(2 / fan_in)
            params[f"W{layer}"] = weights.astype(dtype)
            params[f"b{layer}"] = np.zeros(fan_out, dtype)
        return lock_all(params)

    def layers(params: Params) -> Iterator[tuple[Array, Array]]:
        if instance("params", params, Mapping).keys() != set(names):
            raise ValueError(f"params must have the keys {', '.join(names)}, found {[*params]}")
        for i, (fan_in, fan_out) in enumerate(pairwise(widths), start=1):
            w = float_array(f"W{i}", params[f"W{i}"], (fan_in, fan_out))
            yield w, float_array(f"b{i}", params[f"b{i}"], (fan_out,), like=(f"W{i}", w))

    def forward(params: Params, x: Array) -> tuple[Array, list[FcCache], list[ReluCache]]:
        fc_caches: list[FcCache] = []
        relu_caches: list[ReluCache] = []
        y = x
        for w, b in layers(params):
            if fc_caches:
                y, relu_cache = relu_forward(y)
                lock(y)
                relu_caches.append(relu_cache)
            else:
                y = float_array("x", x, ("N", widths[0]), like=("W1", w))
            try:
                y, fc_cache = fc_forward(y, w, b)
            except NonFiniteError:
                for name, p in params.items():  # the layer knows its weights as w
                    finite(name, p)
                raise
            fc_caches.append(fc_cache)
        return y, fc_caches, relu_caches

    def apply(params: Params, x: Array) -> Array:
        return forward(params, x)[0]

    def grad(params: Params, x: Array, loss: Loss) -> tuple[float, Params]:
        function("loss", loss)
        scores, fc_caches, relu_caches = forward(params, x)
        pair = loss(lock(scores))
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], numbers.Real):
            raise TypeError(f"loss must return a number and a gradient, found {pair!r}")
        value, grad_y = pair
        grad_y = float_array("the loss's gradient", grad_y, scores.shape, like=("scores", scores))
        grad_y = lock(grad_y.copy())  # the loss may use its own again
        grads: dict[str, Array | WeightGradient] = {}
        for layer in range(depth, 0, -1):
            x, w = fc_caches[layer - 1]
            grads[f"W{layer}"] = WeightGradient(x, grad_y)
            grads[f"b{layer}"] = grad_y.sum(axis=0)
            # Nobody needs the gradient with respect to the network's input; it
            # would be a third of the work.
            if layer > 1:
                grad_y = lock(relu_backward(product(grad_y, w.T), relu_caches[layer - 2]))
        return value, Grads({name: grads[name] for name in names})

    return Model(init, apply, grad)


def linear_classifier(input_dim: int, num_classes: int, dtype: Any = np.float64) -> Model:
    """Linear classifier, scores = x W1 + b1: an :func:`mlp` with no hidden layer."""
    dims = {"input_dim": input_dim, "num_classes": num_classes}
    return mlp([integer(name, dim, 1, MAX_WIDTH) for name, dim in dims.items()], dtype)


def two_layer_net(
    input_dim: int, hidden_dim: int, num_classes: int, dtype: Any = np.float64
) -> Model:
    """Two-layer net (fc, ReLU, fc): an :func:`mlp` with one hidden layer."""
    dims = {"input_dim": input_dim, "hidden_dim": hidden_dim, "num_classes": num_classes}
    return mlp([integer(name, dim, 1, MAX_WIDTH) for name, dim in dims.items()], dtype)
