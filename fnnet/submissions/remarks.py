"""What is likely wrong with a result: the numbers are compared with those of usual mistakes.

A remark is made only if its numbers are those that were found in every case, so that a factor N
is not taken for a factor 3. Nothing looks at the source text.
"""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from fnnet.checks import Array
from fnnet.evaluation import probabilities

Usual = Sequence[tuple[Mapping[str, Any], Mapping[str, Array], Array]]
"""Arguments, right results, and what was found for one of them."""
Mistaken = Callable[[Any, Array], Any]
"""Maps the arguments and right results by name, and one right result, to what a mistake gives.

`n` is the number of examples, `c` that of columns; `p` is the softmax of x, and `hot` is 1 at
the labels; `own` is the argument that the result is the gradient of.
"""
COLUMNS = "p[:, y] takes whole columns: use p[np.arange(N), y]"
MEAN = "the mean is over all elements: divide the sum by N only"
NEARLY = "nearly right: it is rounded to float32, or a small number is added, as in log(p + 1e-8)"
SWAPPED = "returned in another order: grad_x, grad_w, grad_b"

MISTAKES: Sequence[tuple[str, str, Mistaken]] = (
    ("", NEARLY, lambda a, r: r),
    ("out", "b is missing", lambda a, r: r - a.b),
    ("out", "w is transposed", lambda a, r: a.x @ a.w.T + a.b),
    ("out", "the absolute value: negative x must give 0", lambda a, r: np.abs(a.x)),
    ("grad_x", "w is not transposed: grad_out @ w.T", lambda a, r: a.grad_out @ a.w),
    ("grad_x", SWAPPED, lambda a, r: a.grad_w),
    ("grad_w", SWAPPED, lambda a, r: a.grad_x),
    ("grad_b", "not summed over the batch", lambda a, r: a.grad_out),
    ("grad_b", "averaged over the batch, not summed", lambda a, r: a.grad_out.mean(0)),
    ("grad_b", "summed over the wrong axis: use axis=0", lambda a, r: a.grad_out.sum(1)),
    ("grad_x", "the mask x > 0 is missing", lambda a, r: a.grad_out + 0 * r),
    ("grad_x", "the mask is that of grad_out, not of x", lambda a, r: np.maximum(a.grad_out, 0)),
    ("grad_x", "grad_out is missing: it is multiplied by the mask", lambda a, r: a.x > 0),
    ("loss", COLUMNS, lambda a, r: -np.log(a.p)[:, a.y].mean()),
    ("loss", "axis 0 instead of axis 1", lambda a, r: (
        -(np.log(probabilities(a.x.T).T) * a.hot).sum() / a.n)),
    ("grad_x", "the -1 at the label is missing: the gradient is (p - onehot(y)) / N", lambda a, r: (
        a.p / a.n)),
    ("grad_x", "the 1 at the label is not divided by N", lambda a, r: a.p / a.n - a.hot),
    ("grad_x", COLUMNS, lambda a, r: (a.p - a.hot.max(0)) / a.n),
    ("", "0 everywhere: it is not computed", lambda a, r: 0 * r),
    ("", "2 times the right value: there is a 2 too many, or no 1/2", lambda a, r: 2 * r),
    ("", "1/2 of the right value: there is a 1/2 too many", lambda a, r: r / 2),
    ("", "the sign is wrong", lambda a, r: -r),
    ("", "N times the right value: divide by the number of examples, N", lambda a, r: a.n * r),
    ("", "1/N of the right value: there is a division by N too many", lambda a, r: r / a.n),
    ("", "2 N times the right value: divide by 2 N", lambda a, r: 2 * a.n * r),
    ("", MEAN, lambda a, r: r / a.c),
    ("", f"{MEAN}; and there is no 1/2", lambda a, r: 2 * r / a.c),
    ("", "transposed", lambda a, r: r.T),
    ("", "one axis too many: use keepdims=False", lambda a, r: r[None]),
    ("", "reg is missing", lambda a, r: r / a.reg),
    ("", "the regularization is missing", lambda a, r: r - a.reg * a.own),
    ("", "twice the regularization", lambda a, r: r + a.reg * a.own),
)  # fmt: skip


def remark(result: str, usual: Usual) -> str | None:
    """Return what is likely wrong with a result that was found in these cases, or None."""
    cases = [(_names(result, args, right), right[result], found) for args, right, found in usual]
    for name, text, mistaken in MISTAKES:
        if name in (result, "") and all(_fits(mistaken, *case) for case in cases):
            return text
    return None


def _names(result: str, args: Mapping[str, Any], right: Mapping[str, Array]) -> SimpleNamespace:
    a = SimpleNamespace(**{**args, **right}, own=args.get(result.removeprefix("grad_"), np.nan))
    a.n, a.c = next(iter(args.values())).shape
    if "y" in args:
        a.p, a.hot = probabilities(a.x), np.eye(a.c)[a.y]
    return a


def _fits(mistaken: Mistaken, a: Any, right: Array, found: Array) -> bool:
    """Tell whether a mistake gives what was found; other layers have other arguments."""
    try:
        with np.errstate(all="ignore"):
            wrong = np.asarray(mistaken(a, right), float)
    except (AttributeError, ValueError):
        return False
    small = 1e-8 + 1e-5 * np.nan_to_num(np.abs(wrong)).max()
    return wrong.shape == found.shape and np.allclose(found, wrong, 1e-4, small)
