"""Checks of whole classifiers: a two-layer net of somebody's layers, and classes."""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from fnnet.checks import Array
from fnnet.layers import fc_forward
from fnnet.models import mlp
from fnnet.submissions.checks import Check, Found, Mistake, call, check, results
from fnnet.submissions.layers import FNNET, RESULTS, Args, Functions, case, same

LAYERS = tuple(name for name in RESULTS if name != "l2_loss")
NAMES = ("W1", "b1", "W2", "b2")
D, H, C = 6, 5, 4
# What constructors call their arguments, beside those of the handout.
WIDTHS = {
    **dict.fromkeys(("input_dim", "input_size", "in_dim", "D"), D),
    **dict.fromkeys(("hidden_dim", "hidden_size", "H"), H),
    **dict.fromkeys(("num_classes", "output_dim", "output_size", "C"), C),
}


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
    (loss1, decay1), (loss2, decay2) = (
        f["l2_regularization"](a[key], a["reg"]) for key in ("W1", "W2")
    )
    grads = grad_w1 + decay1, grad_b1, grad_w2 + decay2, grad_b2
    return results((loss + loss1 + loss2, *grads), ["loss", *(f"grad_{key}" for key in NAMES)])


def _away_from_kinks(
    rng: np.random.Generator, dims: tuple[int, ...], n: int
) -> tuple[dict[str, Array], Array]:
    """Draw small params and inputs for which no ReLU is within some steps of its kink."""
    while True:
        params = {k: p + rng.normal(0, 0.1, p.shape) for k, p in mlp(dims).init(rng).items()}
        x = rng.normal(0, 0.3, (n, dims[0]))
        if np.abs(fc_forward(x, params["W1"], params["b1"])[0]).min() > 1e-4:
            return params, x


def classes_in(names: Mapping[str, Any]) -> dict[str, type]:
    """Return the classes with the three methods, but those that others are derived from."""
    found = {
        name: kind
        for name, kind in names.items()
        if isinstance(kind, type)
        and all(callable(getattr(kind, m, None)) for m in ("parameters", "forward", "backward"))
    }
    bases = {base for kind in found.values() for base in kind.__mro__[1:]}
    return {name: kind for name, kind in found.items() if kind not in bases}


def check_class(name: str, kind: type, seed: int, tolerance: float) -> Check:
    """Check a class: a linear classifier or a two-layer net.

    Args:
        name: of the class.
        kind: has `parameters()`, `forward(X)` and `backward(grad_scores, cache)`.
        seed: of parameters and inputs.
        tolerance: every absolute difference must be below it.
    """
    rng, cases = np.random.default_rng(seed), []
    try:
        model = call(_construct, kind)
        own = call(_parameters, model)
    except Mistake as mistake:
        return Check(name, False, (mistake.args[0],))
    dims = (*(p.shape[0] for p in own.values() if p.ndim == 2), [*own.values()][-1].size)
    for n in (7, 1):
        params, x = _away_from_kinks(rng, dims, n)
        grad = rng.standard_normal((n, dims[-1])) / (n * dims[-1])
        cases.append(case(_reference, {"x": x, **params, "grad_scores": grad}, tolerance))
    return check(name, partial(_run_class, model, own), cases)


def _construct(kind: type) -> Any:
    """Call the constructor with widths by their names, or with two or three by their places."""
    parameters = inspect.signature(kind).parameters.values()
    known = {p.name: WIDTHS[p.name] for p in parameters if p.name in WIDTHS}
    needed = [p.name for p in parameters if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
    if set(needed) <= known.keys():
        return kind(**known)
    return kind(*{2: (D, C), 3: (D, H, C)}.get(len(needed), ()))


def _named(value: Any) -> dict[Any, Any]:
    return dict(value if isinstance(value, Mapping) else enumerate(value))


def _parameters(model: Any) -> dict[Any, Array]:
    """Return the parameters by their own names, in the order W1, b1, W2, b2."""
    own = _named(model.parameters())
    for key, p in own.items():
        if not isinstance(p, np.ndarray) or p.dtype != float or p.ndim not in (1, 2):
            raise Mistake(f"parameter {key} must be a float64 array (D, H) or (H,)")
    weights, biases = ([key for key in own if own[key].ndim == ndim] for ndim in (2, 1))
    shapes = [(own[w].shape[1], own[b].size) for w, b in zip(weights, biases, strict=False)]
    if not 0 < len(weights) == len(biases) < 3 or any(a != b for a, b in shapes):
        raise Mistake("the parameters must be W1, b1 or W1, b1, W2, b2 of fitting shapes")
    return {key: own[key] for pair in zip(weights, biases, strict=True) for key in pair}


def _run_class(model: Any, own: Mapping[Any, Array], args: Args) -> Found:
    for p, key in zip(own.values(), NAMES, strict=False):
        p[...] = args[key]
    scores, cache = model.forward(args["x"])
    spare = args["grad_scores"].copy()
    found = []
    for grad_scores in (args["grad_scores"], spare):
        grads = _named(model.backward(grad_scores, cache))
        if grads.keys() != own.keys():
            raise Mistake(f"backward must return gradients for {[*own]}, found {[*grads]}")
        names = ["scores", *(f"grad_{key}" for key in NAMES[: len(own)])]
        found.append(results((scores, *(grads[key] for key in own)), names))
    if not same(*found):
        raise Mistake("a second backward with the same cache differs")
    return found[0]


def _reference(args: Args) -> Found:
    params = {key: args[key] for key in NAMES if key in args}
    grad = args["grad_scores"]
    model = mlp([*(len(p) for key, p in params.items() if key[0] == "W"), grad.shape[1]])
    _, grads = model.grad(params, args["x"], lambda s: (float(np.sum(grad * s)), grad))
    return {
        "scores": model.apply(params, args["x"]),
        **{f"grad_{key}": g for key, g in grads.items()},
    }
