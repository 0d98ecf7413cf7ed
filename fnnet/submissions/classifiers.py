"""Checks of classes: linear classifiers and two-layer nets."""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from fnnet.checks import Array
from fnnet.models import Model, mlp
from fnnet.submissions.checks import Args, Check, Found, Mistake, call, check, results, same
from fnnet.submissions.layers import case, draw_network, pair, twice

METHODS = {"parameters", "forward", "backward"}
NAMES = ("W1", "b1", "W2", "b2")


def classes_in(names: Mapping[str, Any]) -> dict[str, type]:
    """Return the classes that have the three methods, but not those that others derive from."""
    return {
        name: kind
        for name, kind in names.items()
        if isinstance(kind, type) and {*dir(kind)} >= METHODS and not kind.__subclasses__()
    }


def check_class(kind: type, seed: int, tolerance: float) -> Check:
    """Check a class: a linear classifier or a two-layer net.

    Args:
        kind: has `parameters()`, `forward(X)` and `backward(grad_scores, cache)`. Its
            constructor takes nothing, or (input_dim, num_classes) with hidden_dim between.
        seed: of parameters and inputs.
        tolerance: every absolute difference must be below it.
    """
    try:
        model = call(_construct, kind)
        own = call(_parameters, model)
    except Mistake as mistake:
        return Check(kind.__name__, False, (str(mistake),))
    weights = [p for p in own.values() if p.ndim == 2]
    dims = [*map(len, weights), weights[-1].shape[1]]
    rng, right, cases = np.random.default_rng(seed), partial(_reference, mlp(dims)), []
    for n in (7, 1):
        grad = rng.standard_normal((n, dims[-1])) / (n * dims[-1])
        cases.append(case(right, {**draw_network(rng, n, dims), "grad_scores": grad}))
    return check(kind.__name__, partial(_run, model, own), cases, tolerance)


def _construct(kind: type) -> Any:
    parameters = inspect.signature(kind).parameters.values()
    needed = [p for p in parameters if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
    return kind(*{2: (6, 4), 3: (6, 5, 4)}.get(len(needed), ()))


def _parameters(model: Any) -> dict[Any, Array]:
    """Return the parameters by their own names, in the order W1, b1, W2, b2."""
    own = _named(model.parameters())
    if any(not isinstance(p, np.ndarray) or p.dtype != float for p in own.values()):
        raise Mistake("parameters() must return float64 arrays")
    weights, biases = ([key for key in own if own[key].ndim == ndim] for ndim in (2, 1))
    if not 0 < len(weights) == len(biases) < 3:
        raise Mistake("parameters() must return W1, b1, or W1, b1, W2, b2")
    return {key: own[key] for both in zip(weights, biases, strict=True) for key in both}


def _named(value: Any) -> dict[Any, Any]:
    return dict(value if isinstance(value, Mapping) else enumerate(value))


def _run(model: Any, own: Mapping[Any, Array], args: Args) -> Found:
    names = [name for name in NAMES if name in args]
    for p, name in zip(own.values(), names, strict=True):
        p[...] = args[name]
    if not same(own, _parameters(model)):
        raise Mistake("parameters() must return the arrays that forward reads, not copies")
    scores, cache = pair(model.forward, args["x"])

    def backward(grad_scores: Array) -> Found:
        grads = _named(model.backward(grad_scores, cache))
        if grads.keys() != own.keys():
            raise Mistake(f"backward must return gradients for {[*own]}, found {[*grads]}")
        return results([grads[key] for key in own], [f"grad_{name}" for name in names])

    return results(scores, ["scores"]) | twice(backward, args["grad_scores"])


def _reference(net: Model, args: Args) -> Found:
    """Return the right results, and the linear loss whose gradients they are."""
    x, grad = args["x"], args["grad_scores"]
    params = {name: args[name] for name in NAMES if name in args}
    loss, grads = net.grad(params, x, lambda scores: (float(np.sum(grad * scores)), grad))
    names = ["loss", "scores", *(f"grad_{name}" for name in grads)]
    return results((loss, net.apply(params, x), *grads.values()), names)
