"""What is likely wrong with a result: the numbers are compared with those of usual mistakes.

A remark is made only if its numbers are those that were found in every case, so that a factor N
is not taken for a factor 3. Nothing looks at the source text.

In the formulas below, `a` are the arguments of a layer and `r` its right results, by name.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fnnet.checks import Array
from fnnet.evaluation import probabilities

Candidate = Callable[[Mapping[str, Any], Mapping[str, Array]], Any]
Candidates = Mapping[str, Candidate]
Usual = Sequence[tuple[Mapping[str, Any], Mapping[str, Array], Array]]
"""Arguments, right results, and what was found for one of them."""

TWICE = "twice the right value: a factor 1/2 is missing, or there is a 2 too many"
HALF = "half the right value: there is a factor 1/2 too many"
SIGN = "the sign is wrong"
TIMES_N = "N times the right value: divide by the number of examples, N"
OVER_N = "1/N of the right value: there is a division by N too many"
# The right value, N and the number of columns of the first argument -> the wrong value.
GENERAL: Mapping[str, Callable[[Array, int, int], Array]] = {
    "zero everywhere: it is not computed": lambda r, n, c: 0 * r,
    TWICE: lambda r, n, c: 2 * r,
    HALF: lambda r, n, c: r / 2,
    SIGN: lambda r, n, c: -r,
    TIMES_N: lambda r, n, c: n * r,
    OVER_N: lambda r, n, c: r / n,
    f"{TIMES_N}; {SIGN}": lambda r, n, c: -n * r,
    "2 N times the right value: divide by 2 N": lambda r, n, c: 2 * n * r,
    "1/(2 N) of the right value": lambda r, n, c: r / (2 * n),
    "the mean is over all elements: divide by N only": lambda r, n, c: r / c,
    "the mean is over all elements, and a factor 1/2 is missing": lambda r, n, c: 2 * r / c,
    "transposed": lambda r, n, c: r.T,
    "one axis too many: use keepdims=False": lambda r, n, c: r[None],
}


def remark(result: str, usual: Usual, candidates: Candidates) -> str | None:
    """Return what is likely wrong with a result that was found in usual cases, or None."""
    for text, candidate in candidates.items():
        if _fits(usual, candidate):
            return text
    for text, change in GENERAL.items():
        if _fits(usual, lambda a, r, f=change: f(r[result], *next(iter(a.values())).shape)):
            return text
    a, r, found = usual[0]
    if found.shape == r[result].shape and np.isfinite(found).all():
        ratio = np.nansum(found * r[result]) / np.nansum(r[result] ** 2)
        if _fits(usual, lambda a, r: ratio * r[result]):
            return f"{ratio:.6g} times the right value"
    return None


def _fits(usual: Usual, candidate: Candidate) -> bool:
    """Tell whether a mistake gives what was found in every case; its NaNs are skipped."""
    for a, r, found in usual:
        try:
            with np.errstate(all="ignore"):
                wrong = np.asarray(candidate(a, r), dtype=float)
        except ValueError:  # the shapes of this case do not allow the mistake
            return False
        known = ~np.isnan(wrong)
        size = 1e-5 * np.abs(wrong[known]).max(initial=1e-12)
        if wrong.shape != found.shape or not np.allclose(found[known], wrong[known], 1e-4, size):
            return False
    return bool(usual)


def _onehot(a: Mapping[str, Any]) -> Array:
    return np.eye(a["x"].shape[1])[a["y"]]


def _columns(a: Mapping[str, Any]) -> Array:
    """1 in each column that is a label of some example: what ``p[:, y]`` means."""
    return np.broadcast_to(_onehot(a).max(axis=0), a["x"].shape)


def _p(a: Mapping[str, Any]) -> Array:
    return probabilities(a["x"])


def _mean_log(p: Array, a: Mapping[str, Any]) -> float:
    """Cross-entropy of any probabilities."""
    return float(-np.log(p[np.arange(len(p)), a["y"]]).mean())


NO_LABEL = "the -1 at the label is missing: the gradient is (p - onehot(y)) / N"
SWAPPED = "the results are in another order: grad_x, grad_w, grad_b"

FC: Mapping[str, Candidates] = {
    "out": {
        "b is missing": lambda a, r: r["out"] - a["b"],
        "b is subtracted": lambda a, r: r["out"] - 2 * a["b"],
        "w is transposed": lambda a, r: a["x"] @ a["w"].T + a["b"],
        "there is a ReLU in it": lambda a, r: np.maximum(r["out"], 0),
    },
    "grad_x": {
        "w is not transposed: grad_out @ w.T": lambda a, r: a["grad_out"] @ a["w"],
        SWAPPED: lambda a, r: r["grad_w"],
    },
    "grad_w": {
        "x is not transposed: x.T @ grad_out": lambda a, r: a["x"] @ a["grad_out"],
        SWAPPED: lambda a, r: r["grad_x"],
    },
    "grad_b": {
        "not summed over the batch": lambda a, r: a["grad_out"],
        "averaged over the batch: it must be summed": lambda a, r: a["grad_out"].mean(axis=0),
        "summed over the wrong axis: axis=0 is the batch": lambda a, r: a["grad_out"].sum(axis=1),
        "summed over all elements: use axis=0": lambda a, r: a["grad_out"].sum(),
        "the batch is counted, grad_out is not used": lambda a, r: len(a["x"]) + 0 * r["grad_b"],
    },
}
RELU: Mapping[str, Candidates] = {
    "out": {
        "negative x must give 0": lambda a, r: a["x"],
        "the absolute value": lambda a, r: np.abs(a["x"]),
        "the minimum instead of the maximum": lambda a, r: np.minimum(a["x"], 0),
        "whether x > 0 instead of x": lambda a, r: a["x"] > 0,
        "a leaky ReLU: negative x must give 0": lambda a, r: r["out"] + 0.01 * (a["x"] - r["out"]),
    },
    "grad_x": {
        "the mask is missing: grad_out must pass only where x > 0": lambda a, r: a["grad_out"],
        "the mask is taken from grad_out, not from x": lambda a, r: np.maximum(a["grad_out"], 0),
        "grad_out is missing: multiply the mask by it": lambda a, r: a["x"] > 0,
        "multiplied by x: multiply by whether x > 0": lambda a, r: r["grad_x"] * a["x"],
        "the mask is inverted: x < 0": lambda a, r: a["grad_out"] - r["grad_x"],
        "multiplied by the sign of x": lambda a, r: 2 * r["grad_x"] - a["grad_out"],
        "that of a leaky ReLU": lambda a, r: 0.99 * r["grad_x"] + 0.01 * a["grad_out"],
    },
}
SOFTMAX: Mapping[str, Candidates] = {
    "loss": {
        "the logarithm is missing": lambda a, r: -(_p(a) * _onehot(a)).sum() / len(a["x"]),
        "logarithm to base 2: use np.log": lambda a, r: r["loss"] / np.log(2),
        "logarithm to base 10: use np.log": lambda a, r: r["loss"] / np.log(10),
        "p[:, y] takes whole columns: use p[np.arange(N), y]": lambda a, r: (
            -np.log(_p(a))[:, a["y"]].mean()
        ),
        "summed over the wrong axis: use axis=1": lambda a, r: _mean_log(
            probabilities(a["x"].T.copy()).T, a
        ),
        "one sum over the whole batch: use axis=1": lambda a, r: _mean_log(
            probabilities(a["x"].reshape(1, -1)).reshape(a["x"].shape), a
        ),
        "the largest score is subtracted from one term only": lambda a, r: (
            r["loss"] - a["x"].max(axis=1).mean()
        ),
    },
    "grad_x": {
        NO_LABEL: lambda a, r: _p(a) / len(a["x"]),
        f"{NO_LABEL}; the division by N, too": lambda a, r: _p(a),
        "p is divided by N, the 1 is not": lambda a, r: _p(a) / len(a["x"]) - _onehot(a),
        "p[:, y] takes whole columns: use p[np.arange(N), y]": lambda a, r: (
            (_p(a) - _columns(a)) / len(a["x"])
        ),
    },
}
L2: Mapping[str, Candidates] = {
    "loss": {"the square root of the right value": lambda a, r: np.sqrt(r["loss"])},
}
REGULARIZATION: Mapping[str, Candidates] = {
    "loss": {
        "reg is missing": lambda a, r: r["loss"] / a["reg"],
        "the square is missing": lambda a, r: a["reg"] / 2 * a["w"].sum(),
        "the norm of w, not its square": lambda a, r: a["reg"] / 2 * np.linalg.norm(a["w"]),
    },
    "grad_w": {
        "reg is missing": lambda a, r: a["w"],
        "reg is missing, and there is a 2 too many": lambda a, r: 2 * a["w"],
    },
}
USUAL: Mapping[str, Mapping[str, Candidates]] = {
    "fc": FC,
    "relu": RELU,
    "softmax_loss": SOFTMAX,
    "l2_loss": L2,
    "l2_regularization": REGULARIZATION,
}
NETWORK: Mapping[str, Candidates] = {
    "grad_W1": {
        "the regularization is missing": lambda a, r: r["grad_W1"] - a["reg"] * a["W1"],
        "twice the regularization": lambda a, r: r["grad_W1"] + a["reg"] * a["W1"],
    },
    "grad_W2": {
        "the regularization is missing": lambda a, r: r["grad_W2"] - a["reg"] * a["W2"],
        "twice the regularization": lambda a, r: r["grad_W2"] + a["reg"] * a["W2"],
    },
}
