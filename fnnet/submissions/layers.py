"""Checks of layers and losses against those of the package and central differences."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from fnnet import layers, losses
from fnnet.checks import Array
from fnnet.gradcheck import numeric_gradient
from fnnet.models import mlp
from fnnet.submissions.checks import Args, Case, Check, Found, Mistake, Run, check, results, same

Function = Callable[..., Any]
Functions = Mapping[str, Function]
LAYERS = {
    "fc_forward": ["out"],
    "fc_backward": ["grad_x", "grad_w", "grad_b"],
    "relu_forward": ["out"],
    "relu_backward": ["grad_x"],
    "softmax_loss": ["loss", "grad_x"],
    "l2_loss": ["loss", "grad_pred"],
    "l2_regularization": ["loss", "grad_w"],
}
RESULTS = {**LAYERS, "two_layer_net": ["loss", "grad_W1", "grad_b1", "grad_W2", "grad_b2"]}
FLOAT32_TOLERANCE = 1e-4
STEP = 2e-5  # of the central differences: nothing here is steep
SAMPLE = 60  # elements of an array for which they are computed
SPECIAL: Mapping[str, Mapping[str, Function]] = {
    "relu": {"at x = 0 it must be 0": lambda x: x * (np.arange(x.shape[1]) % 2)},
    "softmax_loss": {
        "large scores: subtract the largest score of each row before np.exp": lambda x: x + 1000,
        "subtract the largest score of each row, not that of the whole array": lambda x: (
            x + 1000.0 * (-1) ** np.arange(len(x))[:, None]
        ),
    },
}
"""What is likely wrong if a function fails where x is changed like this, but not elsewhere."""
STABLE = "no log(0), no clipping: the loss is log(sum(exp(s - max))) - (s[y] - max)"


def check_function(name: str, functions: Functions, seed: int, tolerance: float) -> Check:
    """Check one function of RESULTS; a backward pass needs the forward pass beside it.

    Args:
        name: which.
        functions: those that there are, by name.
        seed: of the random arguments.
        tolerance: every absolute difference must be below it.
    """
    return check(name, partial(run, name, functions), draw(name, seed), tolerance)


def run(name: str, functions: Functions, args: Args) -> Found:
    """Call a function, a backward pass after its forward pass; return its results by name."""
    if "grad_out" not in args:
        return results(functions[name](*args.values()), RESULTS[name])
    *inputs, grad_out = args.values()
    forward = functions.get(name.replace("backward", "forward"))
    if forward is None:
        raise Mistake("the forward pass is missing: it makes the cache")
    out, cache = pair(forward, *inputs)
    if name.endswith("_forward"):
        return results(out, RESULTS[name])

    def backward(grad: Array) -> Found:
        return results(functions[name](grad, cache), RESULTS[name])

    spare, found = grad_out.copy(), twice(backward, grad_out)
    pair(forward, *(1 - value for value in inputs))
    if not same(found, backward(spare)):
        raise Mistake("another forward pass changes the result: keep all in the cache, no globals")
    return found


def pair(forward: Function, *inputs: Any) -> Any:
    """Return the output of a forward pass, and its cache."""
    found = forward(*inputs)
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise Mistake("the forward pass must return (out, cache)")
    return found


def twice(backward: Callable[[Array], Found], grad_out: Array) -> Found:
    """Call a backward pass two times; raise Mistake if its results differ."""
    spare, found = grad_out.copy(), backward(grad_out)
    if not same(found, backward(spare)):
        raise Mistake("a second call with the same cache differs: it changes the cache")
    return found


def with_network(functions: Functions) -> dict[str, Any]:
    """Add the loss of fc, ReLU, fc, softmax loss and L2, of these functions."""
    return {**functions, "two_layer_net": partial(_network, functions)}


def _network(f: Functions, x: Any, w1: Any, b1: Any, w2: Any, b2: Any, y: Any, reg: Any) -> Any:
    hidden, cache1 = pair(f["fc_forward"], x, w1, b1)
    active, relu_cache = pair(f["relu_forward"], hidden)
    scores, cache2 = pair(f["fc_forward"], active, w2, b2)
    loss, grad_scores = f["softmax_loss"](scores, y)
    grad_active, grad_w2, grad_b2 = f["fc_backward"](grad_scores, cache2)
    grad_hidden = f["relu_backward"](grad_active, relu_cache)
    _, grad_w1, grad_b1 = f["fc_backward"](grad_hidden, cache1)
    loss1, decay1 = f["l2_regularization"](w1, reg)
    loss2, decay2 = f["l2_regularization"](w2, reg)
    return loss + loss1 + loss2, grad_w1 + decay1, grad_b1, grad_w2 + decay2, grad_b2


FNNET: dict[str, Any] = with_network({**vars(layers), **vars(losses)})


def reference(key: str, args: Args) -> Found:
    """Return the right results of a layer, forward and backward, or of a loss.

    The loss of a layer is a linear function of its output.
    """
    if key in RESULTS:
        return run(key, FNNET, args)
    found = run(f"{key}_forward", FNNET, args) | run(f"{key}_backward", FNNET, args)
    return {"loss": np.sum(args["grad_out"] * found["out"]), **found}


def case(right: Run, args: Args) -> Case:
    """Make a case of what `right` returns, with central differences of its loss."""

    def loss(name: str, chosen: Array, part: Array) -> float:
        changed = args[name].copy()
        changed.flat[chosen] = part
        return float(right({**args, name: changed})["loss"])

    found = right(args)
    for name, x in args.items():
        if f"grad_{name}" in found:
            chosen = np.random.default_rng(0).permutation(x.size)[:SAMPLE]
            slopes = numeric_gradient(partial(loss, name, chosen), x.flat[chosen], STEP)
            found[f"grad_{name}"].flat[chosen] = slopes
    return Case(args, found)


def draw(name: str, seed: int) -> list[Case]:
    """Draw cases for a function: D ≠ H, one example, a square, float32, special points."""
    rng, key = np.random.default_rng(seed), name.removesuffix("_forward").removesuffix("_backward")
    right = partial(reference, key)
    n, d, h = rng.permutation([3, 5, 6, 7])[:3].tolist()
    shapes = (n, d, h), (1, d, h), (4, 4, 4)
    cases = [case(right, _draw(key, rng, *shape)) for shape in shapes]
    first = cases[0]
    rounded = {k: v if k == "y" else np.float32(v) for k, v in first.args.items()}
    cases.append(Case(rounded, first.right, dict.fromkeys(first.right, FLOAT32_TOLERANCE)))
    for hint, change in SPECIAL.get(key, {}).items():
        args = {**first.args, "x": change(first.args["x"])}
        cases.append(Case(args, right(args), hint=hint))
    return cases


def _draw(key: str, rng: np.random.Generator, n: int, d: int, h: int) -> Args:
    """Draw arguments for which the value, and so the rounding error, is small."""
    if key == "two_layer_net":
        net = draw_network(rng, n, (d, h, 3))
        return {**net, "y": rng.integers(3, size=n), "reg": rng.uniform(0.1, 1)}
    x, w, b = rng.standard_normal((n, d)), rng.standard_normal((d, h)), rng.standard_normal(h)
    grad = rng.standard_normal((n, h if key == "fc" else d)) / (n * h)
    drawn: dict[str, Args] = {
        "fc": {"x": x, "w": w, "b": b, "grad_out": grad},
        # more than a step away from the kink at 0
        "relu": {"x": x + np.copysign(0.01, x), "grad_out": grad},
        "softmax_loss": {"x": 3 * x, "y": rng.integers(d, size=n)},
        "l2_loss": {"pred": x, "target": rng.standard_normal((n, d))},
        "l2_regularization": {"w": w, "reg": rng.uniform(0.1, 2) / w.size},
    }
    return drawn[key]


def draw_network(rng: np.random.Generator, n: int, dims: Sequence[int]) -> dict[str, Array]:
    """Draw small inputs x and params for which no ReLU is within some steps of its kink."""
    while True:
        params = {k: p / 5 + rng.normal(0, 0.1, p.shape) for k, p in mlp(dims).init(rng).items()}
        x = rng.normal(0, 0.3, (n, dims[0]))
        if np.abs(layers.fc_forward(x, params["W1"], params["b1"])[0]).min() > 1e-4:
            return {"x": x, **params}


def check_softmax(functions: Functions) -> Check:
    """Check softmax_loss on scores of ±1e3 and ±1e30."""
    cases = []
    for scores, label in extreme_scores():
        args = {"x": scores[None], "y": np.array([label])}
        eps = 8 * float(np.finfo(scores.dtype).eps)
        # log-sum-exp may add the largest score to a small number: its digits are rounded.
        rounding = {"loss": eps * (1 + float(np.abs(scores).max())), "grad_x": eps}
        cases.append(Case(args, reference("softmax_loss", args), rounding, STABLE))
    return check("softmax_loss", partial(run, "softmax_loss", functions), cases, tolerance=0)


def extreme_scores() -> Iterator[tuple[Array, int]]:
    """Yield scores of three classes, two of which share the largest, and a label."""
    rows = (1, -1), (1, 0), (0, -1)
    for dtype, size, (a, b), label in product((np.float64, np.float32), (1e3, 1e30), rows, (0, 1)):
        yield np.array([a * size, b * size, a * size], dtype), label
