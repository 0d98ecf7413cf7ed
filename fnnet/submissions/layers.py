"""Checks of layers and losses against those of the package and central differences."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from attrs import evolve

from fnnet import layers, losses
from fnnet.checks import Array
from fnnet.gradcheck import numeric_gradient
from fnnet.submissions.checks import Case, Check, Found, Function, Mistake, check, results, same

Functions = Mapping[str, Function]
Args = Mapping[str, Any]
RESULTS = {
    "fc_forward": ["out"],
    "fc_backward": ["grad_x", "grad_w", "grad_b"],
    "relu_forward": ["out"],
    "relu_backward": ["grad_x"],
    "softmax_loss": ["loss", "grad_x"],
    "l2_loss": ["loss", "grad_pred"],
    "l2_regularization": ["loss", "grad_w"],
}
FNNET = {name: getattr(layers, name, None) or getattr(losses, name) for name in RESULTS}
FLOAT32_TOLERANCE = 1e-4
STEP = 2e-5  # of the central differences: nothing here is steep
SAMPLE = 60  # elements of an array for which they are computed
LARGE = "large scores: subtract the largest score of each row before np.exp"
MIXED = "subtract the largest score of each row, not that of the whole array"
STABLE = "no log(0), no clipping: the loss is log(sum(exp(s - max))) - (s[y] - max)"


def check_function(name: str, functions: Functions, seed: int, tolerance: float) -> Check:
    """Check one function of RESULTS; a backward pass needs the forward pass beside it.

    Args:
        name: which.
        functions: those that there are, by name.
        seed: of the random arguments.
        tolerance: every absolute difference must be below it.
    """
    return check(name, partial(run, name, functions), draw(name, seed, tolerance))


def run(name: str, functions: Functions, args: Args) -> Found:
    """Call a function, a backward pass after its forward pass; return its results by name."""
    inputs = [value for key, value in args.items() if key != "grad_out"]
    if name.endswith("_forward"):
        return results(_pair(functions[name], inputs)[0], RESULTS[name])
    if not name.endswith("_backward"):
        return results(functions[name](*inputs), RESULTS[name])
    forward = functions.get(name.replace("backward", "forward"))
    if forward is None:
        raise Mistake("the forward pass is missing: it makes the cache")

    def backward(cache: Any, grad_out: Array = args["grad_out"]) -> Found:
        return results(functions[name](grad_out, cache), RESULTS[name])

    spare, cache = args["grad_out"].copy(), _pair(forward, inputs)[1]
    found = backward(cache)
    if not same(found, backward(cache, spare.copy())):
        raise Mistake("a second call with the same cache differs: it changes the cache")
    _pair(forward, [1 - value for value in inputs])
    if not same(found, backward(cache, spare)):
        raise Mistake("another forward pass changes the result: keep all in the cache, no globals")
    return found


def _pair(forward: Function, inputs: list[Any]) -> Any:
    pair = forward(*inputs)
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise Mistake("the forward pass must return (out, cache)")
    return pair


def reference(key: str, args: Args) -> Found:
    """Return the right results of a layer, forward and backward, or of a loss."""
    if key in RESULTS:
        return run(key, FNNET, args)
    out, cache = FNNET[f"{key}_forward"](*(args[name] for name in args if name != "grad_out"))
    grads = FNNET[f"{key}_backward"](args["grad_out"], cache)
    return {"out": out, **results(grads, RESULTS[f"{key}_backward"])}


def case(
    right: Callable[[Args], Found], args: Args, tolerance: float, dtype: Any = np.float64
) -> Case:
    """Make a case with central differences for every gradient that `right` returns.

    They are those of the loss, or of a linear function of the first result, in float64.
    """
    args = {k: dtype(v) if np.asarray(v).dtype == float else v for k, v in args.items()}
    exact = {k: np.float64(v) if k != "y" else v for k, v in args.items()}

    def value(name: str, chosen: Array, part: Array) -> float:
        changed = exact[name].copy()
        changed.flat[chosen] = part
        first, grad = next(iter(right({**exact, name: changed}).values())), [*exact.values()][-1]
        return float(first if first.ndim == 0 else np.sum(first * grad))

    found, numeric = right(exact), {}
    for name in (key.removeprefix("grad_") for key in found if key.startswith("grad_")):
        chosen = np.random.default_rng(0).permutation(exact[name].size)[:SAMPLE]
        numeric[f"grad_{name}"] = found[f"grad_{name}"].copy()
        numeric[f"grad_{name}"].flat[chosen] = numeric_gradient(
            partial(value, name, chosen), exact[name].flat[chosen], STEP
        )
    tolerance = tolerance if dtype is np.float64 else max(tolerance, FLOAT32_TOLERANCE)
    return Case(args, found, tolerance, numeric)


def draw(name: str, seed: int, tolerance: float) -> list[Case]:
    """Draw cases for a function: D ≠ C, one example, a square, float32, special points.

    Args:
        name: one of RESULTS.
        seed: of the random arguments.
        tolerance: every absolute difference must be below it.
    """
    rng, key = np.random.default_rng(seed), name.removesuffix("_forward").removesuffix("_backward")
    n, d, h = rng.permutation([3, 4, 5, 6, 7])[:3].tolist()
    shapes = [(n, d, h), (1, d, h), (4, 4, 4)]
    right = partial(reference, key)
    cases = [case(right, _draw(key, rng, *shape), tolerance) for shape in shapes]
    cases.append(case(right, _draw(key, rng, d, h, n), tolerance, np.float32))
    args = cases[0].args

    def special(x: Array, hint: str) -> Case:
        changed = {**args, "x": x}
        return evolve(cases[0], args=changed, right=right(changed), numeric={}, hint=hint)

    if key == "relu":
        return [*cases, special(args["x"] * (np.arange(d) % 2), "at x = 0 it must be 0")]
    if key == "softmax_loss":
        rows = 1000.0 * (-1) ** np.arange(n)[:, None]
        shifts = ((1000.0, LARGE), (-1000.0, LARGE), (rows, MIXED))
        return [*cases, *(special(args["x"] + shift, hint) for shift, hint in shifts)]
    return cases


def _draw(key: str, rng: np.random.Generator, n: int, d: int, h: int) -> dict[str, Any]:
    """Draw arguments for which the value, and so the rounding error, is small."""
    x, w, b = rng.standard_normal((n, d)), rng.standard_normal((d, h)), rng.standard_normal(h)
    grad = rng.standard_normal((n, h if key == "fc" else d)) / (n * h)
    drawn: dict[str, dict[str, Any]] = {
        "fc": {"x": x, "w": w, "b": b, "grad_out": grad},
        # more than a step away from the kink at 0
        "relu": {"x": x + np.copysign(0.01, x), "grad_out": grad},
        "softmax_loss": {"x": 3 * x, "y": rng.integers(d, size=n)},
        "l2_loss": {"pred": x, "target": rng.standard_normal((n, d))},
        "l2_regularization": {"w": w, "reg": rng.uniform(0.1, 2) / w.size},
    }
    return drawn[key]


def check_softmax(functions: Functions) -> Check:
    """Check softmax_loss on scores of ±1e3 and ±1e30."""
    cases = []
    for scores, label in extreme_scores():
        args = {"x": scores[None], "y": np.array([label])}
        eps = 8 * float(np.finfo(scores.dtype).eps)
        # log-sum-exp may add the largest score to a small number: its digits are rounded.
        loose = eps * float(np.abs(scores).max())
        right = reference("softmax_loss", args)
        cases.append(Case(args, right, eps, hint=STABLE, loose=loose))
    return check("softmax_loss", partial(run, "softmax_loss", functions), cases)


def extreme_scores() -> Iterator[tuple[Array, int]]:
    """Yield scores of three classes, two of which share the largest, and a label."""
    for dtype in (np.float64, np.float32):
        for size in (1e3, 1e30):
            for a, b in ((size, -size), (size, 0.0), (0.0, -size)):
                for label in (0, 1):
                    yield np.array([a, b, a], dtype), label
