"""Checks of layers and losses against those of the package and central differences."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from attrs import evolve

from fnnet.checks import Array, as_integer, as_number
from fnnet.gradcheck import numeric_gradient
from fnnet.layers import fc_backward, fc_forward, relu_backward, relu_forward
from fnnet.losses import l2_loss, l2_regularization, softmax_loss
from fnnet.submissions import remarks
from fnnet.submissions.checks import (
    Case,
    Check,
    Found,
    Function,
    Mistake,
    call,
    check,
    copied,
    kind_of,
    results,
    same,
    written,
)

Args = Mapping[str, Any]
Reference = Callable[[Args], dict[str, Any]]
FLOAT32_TOLERANCE = 1e-4
STEP = 2e-5  # of the central differences: nothing here is steep
SHIFTED = "large scores: subtract the largest score of each row before np.exp"
MIXED = "subtract the largest score of each row, not that of the whole array"
STABLE = (
    "log(0), or a number added to avoid it: the loss is log(sum(exp(s - max))) - (s[y] - max)"
)


def _fc(a: Args) -> dict[str, Any]:
    out, cache = fc_forward(a["x"], a["w"], a["b"])
    grads = fc_backward(a["grad_out"], cache)
    return {"out": out, **dict(zip(("grad_x", "grad_w", "grad_b"), grads, strict=True))}


def _relu(a: Args) -> dict[str, Any]:
    out, cache = relu_forward(a["x"])
    return {"out": out, "grad_x": relu_backward(a["grad_out"], cache)}


def _loss(function: Function, names: Sequence[str], a: Args) -> dict[str, Any]:
    return dict(zip(names, function(*a.values()), strict=True))


REFERENCES: Mapping[str, Reference] = {
    "fc": _fc,
    "relu": _relu,
    "softmax_loss": partial(_loss, softmax_loss, ("loss", "grad_x")),
    "l2_loss": partial(_loss, l2_loss, ("loss", "grad_pred")),
    "l2_regularization": partial(_loss, l2_regularization, ("loss", "grad_w")),
}
PAIRS, LOSSES = ("fc", "relu"), ("softmax_loss", "l2_loss", "l2_regularization")
FUNCTIONS = (*(f"{key}_{way}" for key in PAIRS for way in ("forward", "backward")), *LOSSES)


def case(reference: Reference, args: Args, tolerance: float, dtype: Any = float) -> Case:
    """Make a case of float64 arguments that are rounded to `dtype`."""
    exact = {k: _cast(_cast(v, dtype), float) for k, v in args.items()}

    def value(name: str, changed: Array) -> float:
        r = reference({**exact, name: changed})
        return float(r["loss"] if "loss" in r else np.sum(exact["grad_out"] * r["out"]))

    right = reference(exact)
    names = [key.removeprefix("grad_") for key in right if key.startswith("grad_")]
    return Case(
        {k: _cast(v, dtype) for k, v in exact.items()},
        {k: np.asarray(v) for k, v in right.items()},
        tolerance if dtype is float else max(tolerance, FLOAT32_TOLERANCE),
        {f"grad_{k}": numeric_gradient(partial(value, k), exact[k], STEP) for k in names},
    )


def _cast(value: Any, dtype: Any) -> Any:
    floating = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value.astype(dtype) if floating else value


def layer_of(name: str) -> str:
    """Return the key of REFERENCES for the name of a function.

    >>> layer_of("fc_backward"), layer_of("l2_loss")
    ('fc', 'l2_loss')
    """
    return name.removesuffix("_forward").removesuffix("_backward")


def draw(key: str, seed: int, tolerance: float) -> list[Case]:
    """Draw cases of several shapes: D ≠ C, one example, a square, float32, special points.

    Args:
        key: one of REFERENCES.
        seed: of the random arguments.
        tolerance: every absolute difference must be below it.
    """
    rng = np.random.default_rng([as_integer("seed", seed, low=0), [*REFERENCES].index(key)])
    as_number("tolerance", tolerance, low=0)
    n, d, h = rng.permutation([3, 4, 5, 6, 7])[:3].tolist()
    shapes = [(n, d, h, float), (1, d, h, float), (4, 4, 4, float), (d, h, n, np.float32)]
    reference = REFERENCES[key]
    usual = [
        case(reference, _draw(key, rng, n, d, h), tolerance, dtype) for n, d, h, dtype in shapes
    ]
    first = usual[0]
    x = first.args.get("x", np.empty(0))

    def special(x: Array, hint: str) -> Case:
        args = {**first.args, "x": x}
        right = {k: np.asarray(v) for k, v in reference(args).items()}
        return evolve(first, args=args, right=right, numeric={}, hint=hint)

    if key == "relu":
        at_zero = special(x * (np.arange(x.size).reshape(x.shape) % 2), "at x = 0 it must be 0")
        return [*usual, at_zero]
    if key == "softmax_loss":
        rows = 1000.0 * (-1) ** np.arange(n)[:, None]
        shifts = ((1000.0, SHIFTED), (-1000.0, SHIFTED), (rows, MIXED))
        return [*usual, *(special(x + shift, hint) for shift, hint in shifts)]
    return usual


def _draw(key: str, rng: np.random.Generator, n: int, d: int, h: int) -> dict[str, Any]:
    """Draw arguments for which the value, and so the rounding error, is small."""
    x, w = rng.standard_normal((n, d)), rng.standard_normal((d, h))
    if key == "fc":
        b, grad_out = rng.standard_normal(h), rng.standard_normal((n, h)) / (n * h)
        return {"x": x, "w": w, "b": b, "grad_out": grad_out}
    if key == "relu":  # more than a step away from the kink at 0
        return {"x": x + np.copysign(0.01, x), "grad_out": rng.standard_normal((n, d)) / (n * d)}
    if key == "softmax_loss":
        return {"x": 3 * x, "y": rng.integers(d, size=n)}
    if key == "l2_loss":
        return {"pred": x, "target": rng.standard_normal((n, d))}
    return {"w": w, "reg": rng.uniform(0.1, 2) / w.size}


def check_function(name: str, functions: Mapping[str, Function], drawn: Sequence[Case]) -> Check:
    """Check one function of FUNCTIONS; a backward pass needs the forward pass beside it.

    Args:
        name: which.
        functions: those that there are, by name.
        drawn: the cases of that function.
    """
    key = layer_of(name)
    if key == name:
        run = partial(run_loss, functions[name])
    elif name.endswith("forward"):
        run = partial(_run_forward, functions[name])
    elif f"{key}_forward" not in functions:
        return Check(name, False, (f"{key}_forward is missing: it makes the cache",))
    else:
        run = _backward(functions[f"{key}_forward"], functions[name], drawn)
    return check(name, drawn, run, remarks.USUAL[key])


def check_softmax(functions: Mapping[str, Function]) -> Check:
    """Check the softmax loss on scores of ±1e3 and ±1e30."""
    drawn = []
    for scores, label in extreme_scores():
        args = {"x": scores[None], "y": np.array([label])}
        right = {k: np.asarray(v) for k, v in REFERENCES["softmax_loss"](args).items()}
        eps = 8 * float(np.finfo(scores.dtype).eps)
        # A sum of the largest score and a small number cannot be better than that.
        drawn.append(Case(args, right, eps, hint=STABLE, loose=eps * float(abs(scores).max())))
    return check("softmax_loss", drawn, partial(run_loss, functions["softmax_loss"]), {})


def extreme_scores() -> Iterator[tuple[Array, int]]:
    """Yield scores of three classes, two of which share the largest, and a label."""
    for dtype in (np.float64, np.float32):
        for size in (1e3, 1e30):
            for a, b in ((size, -size), (size, 0.0), (0.0, -size)):
                for label in (0, 1):
                    yield np.array([a, b, a], dtype), label


def run_loss(function: Function, case: Case) -> tuple[Found, list[str]]:
    """Call a function that returns all right results of the case, in their order."""
    given = copied(case.args)
    value = call(function, [*given.values()])
    return results(value, [*case.right]), written(given, case.args)


def _forward(function: Function, case: Case) -> tuple[Found, Any, dict[str, Any]]:
    """Return what a forward pass returned, its cache, and the arguments that it was given."""
    given = {k: v for k, v in copied(case.args).items() if k != "grad_out"}
    value = call(function, [*given.values()])
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise Mistake(f"must return (out, cache), found {kind_of(value)}")
    return results(value[0], ["out"]), value[1], given


def _run_forward(function: Function, case: Case) -> tuple[Found, list[str]]:
    found, _, given = _forward(function, case)
    return found, written(given, case.args)


def _backward(
    forward: Function, backward: Function, drawn: Sequence[Case]
) -> Callable[[Case], tuple[Found, list[str]]]:
    """Call all forward passes first: each cache must hold what its backward pass needs."""
    kept = {}
    for each in drawn:
        with contextlib.suppress(Mistake):
            kept[id(each)] = _forward(forward, each)

    def once(case: Case, cache: Any) -> tuple[Found, list[str]]:
        given = {"grad_out": case.args["grad_out"].copy()}
        value = call(backward, [given["grad_out"], cache])
        names = [key for key in case.right if key != "out"]
        return results(value, names), written(given, case.args)

    def run(case: Case) -> tuple[Found, list[str]]:
        if id(case) not in kept:
            raise Mistake("some cases were left out: the forward pass failed")
        _, cache, given = kept[id(case)]
        first: Found | None = None
        again: Found | None = None
        with contextlib.suppress(Mistake):
            first = once(case, cache)[0]
            again = once(case, cache)[0]
        found, notes = once(case, _forward(forward, case)[1])
        notes += written(given, case.args)
        if not same(first, found):
            notes.append(
                "right only straight after its own forward pass: keep what it needs in the "
                "cache, not in a global variable"
            )
        elif not same(again, found):
            notes.append("a second call with the same cache differs: it changes the cache")
        return found, notes

    return run
