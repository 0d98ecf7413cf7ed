"""Models as triples of pure functions over immutable dicts of parameters.

    model.init(rng)              -> params
    model.apply(params, x)       -> scores
    model.grad(params, x, loss)  -> (loss, grads)

A model does not store its parameters: they are an argument. The loss is
a function of the scores, ``scores -> (loss, grad_scores)``, so that training
passes the softmax loss, a gradient check passes a linear one, and no cache of
the forward pass leaves the model.
"""

import numbers
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from attrs import field, frozen

from fnnet.checks import (
    Array,
    as_array,
    as_float_array,
    as_float_dtype,
    as_integer,
    check_callable,
    check_finite,
    check_type,
)
from fnnet.layers import (
    FcCache,
    ReluCache,
    fc_backward,
    fc_backward_params,
    fc_forward,
    relu_backward,
    relu_forward,
)
from fnnet.limits import MAX_WIDTH
from fnnet.values import Params, ParamsLike, lock, parts

Loss = Callable[[Array], tuple[float, Array]]
"""scores (N, C) -> (loss, gradient of the loss with respect to the scores)."""


@frozen
class Model:
    """A network as three pure functions; :func:`mlp` makes one.

    Models with the same settings are equal, and can be pickled.
    """

    init: Callable[[np.random.Generator], Params] = field(eq=parts)
    """rng -> params."""
    apply: Callable[[ParamsLike, Array], Array] = field(eq=parts)
    """params, x (N, D) -> scores (N, C)."""
    grad: Callable[[ParamsLike, Array, Loss], tuple[float, Params]] = field(eq=parts)
    """params, x (N, D), loss -> (loss, gradient of the loss for every key of params)."""


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
    widths = tuple(as_integer(f"dims[{i}]", dim, 1, MAX_WIDTH) for i, dim in enumerate(dims))
    if len(widths) < 2:
        raise ValueError(f"dims must have at least an input and an output, found {widths}")
    return Model(
        partial(_init, widths, as_float_dtype("dtype", dtype)),
        partial(_apply, widths),
        partial(_grad, widths),
    )


def _init(widths: Sequence[int], dtype: np.dtype[Any], rng: np.random.Generator) -> Params:
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"rng must be a numpy.random.Generator, found {type(rng).__name__}: "
            "use np.random.default_rng(0)"
        )
    params: dict[str, Array] = {}
    for layer, (fan_in, fan_out) in enumerate(pairwise(widths), start=1):
        weights = rng.standard_normal((fan_in, fan_out)) * np.sqrt(2 / fan_in)
        params[f"W{layer}"] = weights.astype(dtype)
        params[f"b{layer}"] = np.zeros(fan_out, dtype)
    return Params.owning(params)


def _apply(widths: Sequence[int], params: ParamsLike, x: Array) -> Array:
    return _forward(widths, params, x)[0]


def _grad(widths: Sequence[int], params: ParamsLike, x: Array, loss: Loss) -> tuple[float, Params]:
    check_callable("loss", loss)
    scores, fc_caches, relu_caches = _forward(widths, params, x)
    pair = loss(lock(scores))
    if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], numbers.Real):
        raise TypeError(f"loss must return a number and a gradient, found {pair!r}")
    value, grad_y = pair
    grad_y = as_float_array("the loss's gradient", grad_y, scores.shape, like=("scores", scores))
    grads: dict[str, Array] = {}
    for layer in range(len(fc_caches), 1, -1):
        grad_y, grads[f"W{layer}"], grads[f"b{layer}"] = fc_backward(grad_y, fc_caches[layer - 1])
        grad_y = relu_backward(grad_y, relu_caches[layer - 2])
    grads["W1"], grads["b1"] = fc_backward_params(grad_y, fc_caches[0])
    return value, Params.owning({name: grads[name] for name in params})


def _forward(
    widths: Sequence[int], params: ParamsLike, x: Array
) -> tuple[Array, list[FcCache], list[ReluCache]]:
    """Return the scores, the cache of each fc layer, and of each ReLU between two of them."""
    check_type("params", params, Mapping)
    if {name: getattr(p, "shape", None) for name, p in params.items()} != _shapes(widths):
        _check_params(widths, params)
    y = as_array("x", x, ("N", widths[0]))
    fc_caches: list[FcCache] = []
    relu_caches: list[ReluCache] = []
    for i in range(1, len(widths)):
        if fc_caches:
            y, relu_cache = relu_forward(y)
            relu_caches.append(relu_cache)
        try:
            y, fc_cache = fc_forward(y, params[f"W{i}"], params[f"b{i}"])
        except (TypeError, ValueError):
            _check_params(widths, params)  # the layer says w: name W1 or W2 instead
            as_float_array("x", x, like=("W1", params["W1"]))
            raise
        fc_caches.append(fc_cache)
    return y, fc_caches, relu_caches


def _shapes(widths: Sequence[int]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (fan_in, fan_out) in enumerate(pairwise(widths), start=1):
        shapes |= {f"W{layer}": (fan_in, fan_out), f"b{layer}": (fan_out,)}
    return shapes


def _check_params(widths: Sequence[int], params: ParamsLike) -> None:
    """Raise an error that names the first parameter that does not fit, if there is one."""
    shapes = _shapes(widths)
    if params.keys() != shapes.keys():
        raise ValueError(f"params must have the keys {', '.join(shapes)}, found {[*params]}")
    for name, shape in shapes.items():
        p = as_float_array(name, params[name], shape, like=("W1", params["W1"]))
        check_finite(name, p)


def linear_classifier(input_dim: int, num_classes: int, dtype: Any = np.float64) -> Model:
    """Linear classifier, scores = x W1 + b1: an :func:`mlp` with no hidden layer."""
    dims = {"input_dim": input_dim, "num_classes": num_classes}
    return mlp([as_integer(name, dim, 1, MAX_WIDTH) for name, dim in dims.items()], dtype)


def two_layer_net(
    input_dim: int, hidden_dim: int, num_classes: int, dtype: Any = np.float64
) -> Model:
    """Two-layer net (fc, ReLU, fc): an :func:`mlp` with one hidden layer."""
    dims = {"input_dim": input_dim, "hidden_dim": hidden_dim, "num_classes": num_classes}
    return mlp([as_integer(name, dim, 1, MAX_WIDTH) for name, dim in dims.items()], dtype)
