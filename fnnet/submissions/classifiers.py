"""Checks of whole classifiers: a two-layer net of somebody's layers, and classes."""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from fnnet.checks import Array
from fnnet.layers import fc_forward
from fnnet.models import mlp
from fnnet.submissions.checks import Check, Found, Mistake, call, check, results, same
from fnnet.submissions.layers import FNNET, RESULTS, Args, Functions, case

LAYERS = tuple(name for name in RESULTS if name != "l2_loss")
METHODS = ("parameters", "forward", "backward")
NAMES = ("W1", "b1", "W2", "b2")
D, H, C = 6, 5, 4


def check_network(functions: Functions, seed: int, tolerance: float) -> Check:
    """Check loss and gradients of fc, ReLU, fc, softmax loss and L2, of these functions."""
    rng, cases = np.random.default_rng(seed), []
    for n in (7, 1):
        params, x = _away_from_kinks(rng, (D, H, C), n)
        args = {"x": x, "y": rng.integers(C, size=n), **params, "reg": rng.uniform(0.1, 1)}
        cases.append(case(partial(_network, FNNET), args, tolerance))
    return check("two_layer_net", partial(_network, functions), cases)


def _network(f: Functions, a: Args) -> Found:
    hidden, cache1 = f["fc_forward"](a["x"], a["W1"], a["b1"])
    active, relu_cache = f["relu_forward"](hidden)
    scores, cache2 = f["fc_forward"](active, a["W2"], a["b2"])
    loss, grad_scores = f["softmax_loss"](scores, a["y"])
    grad_active, grad_w2, grad_b2 = f["fc_backward"](grad_scores, cache2)
    grad_hidden = f["relu_backward"](grad_active, relu_cache)
    _, grad_w1, grad_b1 = f["fc_backward"](grad_hidden, cache1)
    loss1, decay1 = f["l2_regularization"](a["W1"], a["reg"])
    loss2, decay2 = f["l2_regularization"](a["W2"], a["reg"])
    grads = grad_w1 + decay1, grad_b1, grad_w2 + decay2, grad_b2
    return results((loss + loss1 + loss2, *grads), ["loss", *(f"grad_{key}" for key in NAMES)])


def _away_from_kinks(
    rng: np.random.Generator, dims: tuple[int, ...], n: int
) -> tuple[dict[str, Array], Array]:
    """Draw small params and inputs for which no ReLU is within some steps of its kink."""
    while True:
        params = {k: p / 5 + rng.normal(0, 0.1, p.shape) for k, p in mlp(dims).init(rng).items()}
        x = rng.normal(0, 0.3, (n, dims[0]))
        if np.abs(fc_forward(x, params["W1"], params["b1"])[0]).min() > 1e-4:
            return params, x


def classes_in(names: Mapping[str, Any]) -> dict[str, type]:
    """Return the classes that have the three methods, but not those that others derive from."""
    classes = {name: kind for name, kind in names.items() if isinstance(kind, type)}
    bases = {base for kind in classes.values() for base in kind.__mro__[1:]}
    whole = {kind for kind in classes.values() if all(hasattr(kind, m) for m in METHODS)}
    return {name: kind for name, kind in classes.items() if kind in whole - bases}


def check_class(kind: type, seed: int, tolerance: float) -> Check:
    """Check a class: a linear classifier or a two-layer net.

    Args:
        kind: has `parameters()`, `forward(X)` and `backward(grad_scores, cache)`. Its
            constructor takes nothing, or (input_dim, num_classes) with hidden_dim between.
        seed: of parameters and inputs.
        tolerance: every absolute difference must be below it.
    """
    rng, cases = np.random.default_rng(seed), []
    try:
        model = call(_construct, kind)
        own = call(_parameters, model)
    except Mistake as mistake:
        return Check(kind.__name__, False, (mistake.args[0],))
    dims = (*(len(p) for p in own.values() if p.ndim == 2), [*own.values()][-1].size)
    for n in (7, 1):
        params, x = _away_from_kinks(rng, dims, n)
        grad = rng.standard_normal((n, dims[-1])) / (n * dims[-1])
        cases.append(case(_reference, {"x": x, **params, "grad_scores": grad}, tolerance))
    return check(kind.__name__, partial(_run_class, model, own), cases)


def _construct(kind: type) -> Any:
    parameters = inspect.signature(kind).parameters.values()
    needed = [p for p in parameters if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
    return kind(*{2: (D, C), 3: (D, H, C)}.get(len(needed), ()))


def _parameters(model: Any) -> dict[Any, Array]:
    """Return the parameters by their own names, in the order W1, b1, W2, b2."""
    own = _named(model.parameters())
    if any(not isinstance(p, np.ndarray) or p.dtype != float for p in own.values()):
        raise Mistake("parameters() must return float64 arrays")
    weights, biases = ([key for key in own if own[key].ndim == ndim] for ndim in (2, 1))
    if not 0 < len(weights) == len(biases) < 3:
        raise Mistake("parameters() must return W1, b1, or W1, b1, W2, b2")
    return {key: own[key] for pair in zip(weights, biases, strict=True) for key in pair}


def _named(value: Any) -> dict[Any, Any]:
    return dict(value if isinstance(value, Mapping) else enumerate(value))


def _run_class(model: Any, own: Mapping[Any, Array], args: Args) -> Found:
    for p, key in zip(own.values(), NAMES, strict=False):
        p[...] = args[key]
    if not same(own, _parameters(model)):
        raise Mistake("parameters() must return the arrays that forward reads, not copies")
    spare = args["grad_scores"].copy()
    scores, cache = model.forward(args["x"])

    def backward(grad_scores: Array) -> Found:
        grads = _named(model.backward(grad_scores, cache))
        if grads.keys() != own.keys():
            raise Mistake(f"backward must return gradients for {[*own]}, found {[*grads]}")
        names = ["scores", *(f"grad_{key}" for key in NAMES[: len(own)])]
        return results((scores, *(grads[key] for key in own)), names)

    found = backward(args["grad_scores"])
    if not same(found, backward(spare)):
        raise Mistake("a second backward with the same cache gives other gradients")
    return found


def _reference(args: Args) -> Found:
    params = {key: args[key] for key in NAMES if key in args}
    grad, x = args["grad_scores"], args["x"]
    model = mlp([*(len(params[key]) for key in params if key[0] == "W"), grad.shape[1]])
    _, grads = model.grad(params, x, lambda scores: (float(np.sum(grad * scores)), grad))
    return {"scores": model.apply(params, x), **{f"grad_{k}": grads[k] for k in grads}}
