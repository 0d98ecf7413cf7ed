"""Checks of whole classifiers: a two-layer net of somebody's layers, and classes."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from fnnet.checks import Array, as_integer
from fnnet.gradcheck import numeric_gradient
from fnnet.layers import fc_forward
from fnnet.models import mlp, two_layer_net
from fnnet.submissions.checks import (
    Case,
    Check,
    Found,
    Function,
    Mistake,
    call,
    check,
    kind_of,
    results,
    same,
)
from fnnet.submissions.layers import FUNCTIONS, STEP, case, run_loss
from fnnet.submissions.remarks import NETWORK
from fnnet.training import make_train_step

LAYERS = tuple(name for name in FUNCTIONS if name != "l2_loss")
METHODS = ("parameters", "forward", "backward")
SAMPLE = 60  # elements of a parameter of a class for which a numeric gradient is computed
KINKED = 1e-7  # two steps of a smooth function agree better
TRIES = 20
# What constructors call their arguments, beside those of the handout.
WIDTHS = {
    "input_dim": "d", "input_size": "d", "in_dim": "d", "D": "d",
    "hidden_dim": "h", "hidden_size": "h", "H": "h",
    "num_classes": "c", "output_dim": "c", "output_size": "c", "C": "c",
}  # fmt: skip


def check_network(functions: Mapping[str, Function], seed: int, tolerance: float) -> Check:
    """Check loss and gradients of fc, ReLU, fc, softmax loss and L2, of these functions."""
    rng = np.random.default_rng(as_integer("seed", seed, low=0))
    n, d, h, c = rng.permutation([3, 4, 5, 6, 7])[:4].tolist()
    drawn = [_network_case(rng, tolerance, shape) for shape in ((n, d, h, c), (1, d, h, c))]
    return check("two_layer_net", drawn, partial(run_loss, partial(_network, functions)), NETWORK)


def _network(
    f: Mapping[str, Function], x: Array, y: Array, w1: Array, b1: Array, w2: Array, b2: Array, reg: float
) -> tuple[Any, ...]:
    hidden, cache1 = f["fc_forward"](x, w1, b1)
    active, relu_cache = f["relu_forward"](hidden)
    scores, cache2 = f["fc_forward"](active, w2, b2)
    loss, grad_scores = f["softmax_loss"](scores, y)
    grad_active, grad_w2, grad_b2 = f["fc_backward"](grad_scores, cache2)
    grad_hidden = f["relu_backward"](grad_active, relu_cache)
    _, grad_w1, grad_b1 = f["fc_backward"](grad_hidden, cache1)
    (loss1, decay1), (loss2, decay2) = (f["l2_regularization"](w, reg) for w in (w1, w2))
    return loss + loss1 + loss2, grad_w1 + decay1, grad_b1, grad_w2 + decay2, grad_b2


def _network_case(
    rng: np.random.Generator, tolerance: float, shape: tuple[int, int, int, int]
) -> Case:
    n, d, h, c = shape
    model = two_layer_net(d, h, c)
    step = make_train_step(model)

    def reference(a: Mapping[str, Any]) -> dict[str, Any]:
        params = {name: a[name] for name in ("W1", "b1", "W2", "b2")}
        loss, grads = step(params, (a["x"], a["y"]), a["reg"])
        return {"loss": loss, **{f"grad_{name}": grad for name, grad in grads.items()}}

    while True:  # until no ReLU is near its kink
        params = {k: 0.2 * p + 0.1 * rng.standard_normal(p.shape) for k, p in model.init(rng).items()}
        x = 0.2 * rng.standard_normal((n, d))
        if np.abs(fc_forward(x, params["W1"], params["b1"])[0]).min() > 1e-3:
            labels = rng.integers(c, size=n)
            return case(
                reference, {"x": x, "y": labels, **params, "reg": rng.uniform(0.1, 1)}, tolerance
            )


def classes_in(names: Mapping[str, Any]) -> dict[str, type]:
    """Return the classes with the three methods; not those that another one is derived from."""
    found = {
        name: kind
        for name, kind in names.items()
        if isinstance(kind, type) and all(callable(getattr(kind, m, None)) for m in METHODS)
    }
    return {
        name: kind
        for name, kind in found.items()
        if not any(issubclass(other, kind) and other is not kind for other in found.values())
    }


def check_class(kind: type, seed: int, tolerance: float) -> Check:
    """Check scores and gradients of a classifier that is a class.

    Args:
        kind: a class with `parameters()`, `forward(X)` and `backward(grad_scores, cache)`.
        seed: of parameters and inputs.
        tolerance: every absolute difference must be below it.
    """
    rng = np.random.default_rng(as_integer("seed", seed, low=0))
    try:
        model = _construct(kind, dict(zip("dhc", (6, 5, 4), strict=True)))
        params = _parameters(model)
        for p in params.values():
            p[...] = rng.standard_normal(p.shape) / max(1, p.shape[0]) ** 0.5
        drawn = [_class_case(model, params, rng, n, tolerance) for n in (5, 1, 3)]
    except Mistake as mistake:
        return Check(kind.__name__, False, (str(mistake),))
    return check(kind.__name__, drawn, partial(_run_class, model, [*params]), {})


def _construct(kind: type, widths: Mapping[str, int]) -> Any:
    """Call the constructor with widths by their names, or with two or three by their places."""
    try:
        parameters = inspect.signature(kind).parameters.values()
    except (TypeError, ValueError):  # no signature
        return call(kind, [])
    known = {p.name: widths[WIDTHS[p.name]] for p in parameters if p.name in WIDTHS}
    needed = [p.name for p in parameters if p.default is p.empty and p.kind in (0, 1, 3)]
    if all(name in known for name in needed):
        return call(partial(kind, **known), [])
    by_place = {2: "dc", 3: "dhc"}.get(len(needed))
    if by_place is None:
        raise Mistake("the constructor must take (input_dim, hidden_dim, num_classes), or nothing")
    return call(kind, [widths[key] for key in by_place])


def _named(value: Any) -> dict[str, Any]:
    if isinstance(value, list | tuple):
        return {str(i): part for i, part in enumerate(value)}
    return {str(k): part for k, part in value.items()} if isinstance(value, Mapping) else {}


def _parameters(model: Any) -> dict[str, Array]:
    params = _named(call(model.parameters, []))
    if not params:
        raise Mistake("parameters() must return a dict or a list of arrays")
    for name, p in params.items():
        if not isinstance(p, np.ndarray) or p.dtype != np.float64 or not p.flags.writeable:
            found = p.dtype if isinstance(p, np.ndarray) else kind_of(p)
            raise Mistake(f"parameter {name} must be a writable float64 array, found {found}")
    return params


def _scores(model: Any, x: Array) -> tuple[Array, Any]:
    value = call(model.forward, [x.copy()])
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise Mistake(f"forward must return (scores, cache), found {kind_of(value)}")
    return results(value[0], ["scores"])["scores"], value[1]


def _run_class(model: Any, names: Sequence[str], case: Case) -> tuple[Found, list[str]]:
    x, grad = (case.args[name].copy() for name in ("X", "grad_scores"))
    scores, cache = _scores(model, x)
    found = []
    for _ in range(2):
        grads = _named(call(model.backward, [grad, cache]))
        if grads.keys() != set(names):
            raise Mistake(f"backward must return a gradient for each of {[*names]}, found {[*grads]}")
        found.append(results([scores, *(grads[name] for name in names)], [*case.right]))
    notes = [] if same(*found) else ["a second backward with the same cache gives other numbers"]
    given = {"X": x, "grad_scores": grad}
    return found[0], notes + [f"{k} was written to" for k in given if (given[k] != case.args[k]).any()]


def _class_case(
    model: Any, params: Mapping[str, Array], rng: np.random.Generator, n: int, tolerance: float
) -> Case:
    """Draw inputs at which the scores are smooth, with central differences of some elements."""
    first = next(iter(params.values()))
    for _ in range(TRIES):
        x = 0.2 * rng.standard_normal((n, first.shape[0]))
        scores = _scores(model, x)[0]
        grad = rng.standard_normal(scores.shape) / max(1, scores.size)
        right = {"scores": _reference(params, x, scores)}
        for name, p in params.items():
            chosen = rng.permutation(p.size)[:SAMPLE]

            def value(
                v: Array, p: Array = p, chosen: Array = chosen, x: Array = x, grad: Array = grad
            ) -> float:
                kept, p.flat[chosen] = p.flat[chosen], v
                scores = _scores(model, x)[0]
                p.flat[chosen] = kept
                return float(np.sum(grad * scores))

            numeric, other = (numeric_gradient(value, p.flat[chosen], h) for h in (STEP, 2 * STEP))
            if np.abs(numeric - other).max(initial=0) > KINKED:
                break
            right[f"grad_{name}"] = np.full(p.shape, np.nan)
            right[f"grad_{name}"].flat[chosen] = numeric
        else:
            if not any(np.nan_to_num(r).any() for key, r in right.items() if key != "scores"):
                raise Mistake("parameters() must return the arrays that forward reads, not copies")
            numeric_ones = {key: r for key, r in right.items() if key != "scores"}
            return Case({"X": x, "grad_scores": grad}, right, tolerance, numeric_ones)
    raise Mistake("forward gives other scores for the same X, or jumps everywhere")


def _reference(params: Mapping[str, Array], x: Array, scores: Array) -> Array:
    """Return the scores of a multi-layer perceptron with these parameters, if it is one."""
    shapes = [p.shape for p in params.values()]
    weights, biases = shapes[::2], shapes[1::2]
    dims = [shape[0] for shape in weights] + [biases[-1][0]] if biases and len(biases[-1]) else []
    if not dims or shapes != [s for d, h in pairwise(dims) for s in ((d, h), (h,))]:
        return scores
    names = [f"{kind}{i}" for i in range(1, len(dims)) for kind in "Wb"]
    return mlp(dims).apply(dict(zip(names, params.values(), strict=True)), x)
