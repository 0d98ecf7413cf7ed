"""Numeric gradients, and the report that compares them with analytic ones."""

import math
import numbers
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from attrs import frozen

from fnnet.checks import (
    Array,
    as_array,
    as_float_array,
    as_number,
    check_callable,
    check_finite,
    check_type,
)


def numeric_gradient(
    f: Callable[[Array], float], x: Array, h: float | Array | None = None
) -> Array:
    """Gradient of a scalar function by central differences.

        df/dx[i] ≈ (f(x + h e_i) - f(x - h e_i)) / 2h

    The truncation error is f‴ h² / 6, the rounding error about ε |f| / h. Both are small at the
    default step h[i] = ε^(1/3) · max(1, |x[i]|), where ε is the spacing of the dtype at 1 (ε^(1/3)
    is 6e-6 for float64). If f is linear in each x[i], a larger `h` is more accurate.

    Args:
        f: maps an array like `x` to a number; called twice for each element.
        x: where to differentiate, a floating array of any shape. It is not written to.
        h: step, > 0: a number, or an array like `x`.

    Returns:
        the gradient, of the shape and dtype of `x`.

    Raises:
        TypeError: `x` is not a floating array, or `f` does not return a number.
        ValueError: `x` or a difference of `f` is not finite, or `h` is not above 0
            or too small to change x.

    >>> numeric_gradient(lambda x: float(x @ x), np.array([1.0, 2.0])).round(6)
    array([2., 4.])
    """
    x = as_float_array("x", x)
    check_finite("x", x)
    check_callable("f", f)
    steps = _steps(x, h)
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        # f gets arrays of its own: it may keep or change them.
        above, below = x.copy(), x.copy()
        above[index] += steps[index]
        below[index] -= steps[index]
        # x ± h is rounded; the distance between the two points is exact.
        distance = above[index] - below[index]
        if distance == 0:
            raise ValueError(f"h must be large enough to change x, found {steps[index]} at {index}")
        values = f(above), f(below)
        for value in values:
            if not isinstance(value, numbers.Real):
                raise TypeError(f"f must return a number, found {type(value).__name__}")
        with np.errstate(all="ignore"):
            gradient[index] = (values[0] - values[1]) / distance
    check_finite("the numeric gradient", gradient)
    return gradient


@np.errstate(all="ignore")
def _steps(x: Array, h: float | Array | None) -> Array:
    """Return the step of each element of x."""
    if h is None:
        h = np.cbrt(np.finfo(x.dtype).eps) * np.maximum(1, np.abs(x))
    h = as_array("h", h, x.shape) if isinstance(h, np.ndarray) else as_number("h", h, low=0)
    steps = np.broadcast_to(np.asarray(h, dtype=x.dtype), x.shape)
    if not (np.isfinite(steps).all() and (steps > 0).all()):
        raise ValueError(f"h must be finite and above 0, found {h}")
    return steps


@frozen
class Difference:
    """The worst disagreement between the analytic and the numeric gradient of one array."""

    name: str
    """Which gradient: that with respect to the argument or parameter `name`."""
    max_abs_diff: float
    """Largest absolute difference over all elements, or over those that failed if any did."""
    index: tuple[int, ...]
    """The element where it occurs."""
    analytic: float
    numeric: float
    """Both gradients at that element."""
    passed: bool
    """Whether `max_abs_diff` is below the tolerance."""
    slopes: tuple[float, float] | None = None
    """At a kink the slopes below and above it: they differ, and `analytic` lies between them.
    The numeric gradient is wrong there, and does not show whether the analytic one is."""

    @property
    def verdict(self) -> str:
        """One of "ok", "kink" and "FAILED"."""
        return "ok" if self.passed else "FAILED" if self.slopes is None else "kink"

    def __str__(self) -> str:
        text = (
            f"{self.name:<12} {self.max_abs_diff:.2e}  {self.verdict}"
            f"  worst at {list(self.index)}: {self.analytic:+.10f}, numeric {self.numeric:+.10f}"
        )
        if self.slopes:
            below, above = self.slopes
            text += f"; the one-sided differences disagree: {below:+.10f} and {above:+.10f}"
        return text


@frozen
class GradientReport:
    """One :class:`Difference` for each gradient; ``print`` shows a line for each."""

    differences: tuple[Difference, ...]
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every gradient agrees to within the tolerance."""
        return all(difference.passed for difference in self.differences)

    @property
    def max_abs_diff(self) -> float:
        """The largest difference of all."""
        return max(difference.max_abs_diff for difference in self.differences)

    def __str__(self) -> str:
        return "\n".join(map(str, self.differences))


def check_gradients(
    f: Callable[[Mapping[str, Array]], float],
    args: Mapping[str, Array],
    grads: Mapping[str, Array],
    tolerance: float,
    h: float | None = None,
) -> GradientReport:
    """Compare analytic gradients with central differences, element by element.

    Central differences are wrong at a kink, such as that of a ReLU at 0. The report calls an
    element that disagrees a kink if its one-sided differences disagree with each other, too,
    and the analytic gradient lies between them. A kink does not pass: try it elsewhere.

    Args:
        f: scalar function of named arrays: a layer's inputs, or a model's params.
        args: the arrays at which to differentiate.
        grads: the analytic gradient for every key of `args`.
        tolerance: a gradient passes if all its absolute differences are below it.
        h: step, as in :func:`numeric_gradient`.

    Returns:
        the report.

    Raises:
        TypeError, ValueError: `grads` does not have the keys, shapes and dtypes of `args`,
            there is nothing to compare, or a number is not finite.

    >>> report = check_gradients(lambda a: float(a["x"] @ a["x"]), {"x": np.array([1.0, 2.0])},
    ...                          {"x": np.array([2.0, 4.1])}, tolerance=1e-6)
    >>> report.passed, report.differences[0].index
    (False, (1,))
    """
    tolerance = as_number("tolerance", tolerance, low=0)
    check_callable("f", f)
    check_type("args", args, Mapping)
    if args.keys() != check_type("grads", grads, Mapping).keys() or not args:
        raise ValueError(f"grads must have the keys of args, {[*args]}, found {[*grads]}")
    differences = []
    for name, x in args.items():
        x = as_float_array(name, x)
        if x.size == 0:
            raise ValueError(f"{name} must not be empty, found shape {x.shape}")
        analytic = as_float_array(f"grads[{name}]", grads[name], x.shape, like=(name, x))
        check_finite(f"grads[{name}]", analytic)
        f_of_x = partial(_with_one_changed, f, args, name)
        numeric = numeric_gradient(f_of_x, x, h)
        differences.append(_difference(name, f_of_x, x, _steps(x, h), analytic, numeric, tolerance))
    return GradientReport(tuple(differences), tolerance)


def _difference(
    name: str,
    f: Callable[[Array], float],
    x: Array,
    steps: Array,
    analytic: Array,
    numeric: Array,
    tolerance: float,
) -> Difference:
    """Return the worst difference, or the worst that is not a kink if that one fails, too."""
    with np.errstate(all="ignore"):
        diff = np.abs(analytic - numeric)
    kinks: list[Difference] = []
    for place in np.argsort(-diff, axis=None, kind="stable"):
        index = tuple(int(i) for i in np.unravel_index(place, diff.shape))
        size, value = float(diff[index]), float(analytic[index])
        passed = size < tolerance
        if passed and kinks:
            break
        at = f, x, index, float(steps[index])
        slopes = None if passed else _slopes_at_kink(*at, value, tolerance)
        worst = Difference(name, size, index, value, float(numeric[index]), passed, slopes)
        if slopes is None:
            return worst
        kinks.append(worst)
    return kinks[0]


def _slopes_at_kink(
    f: Callable[[Array], float],
    x: Array,
    index: tuple[int, ...],
    h: float,
    analytic: float,
    tolerance: float,
) -> tuple[float, float] | None:
    """Return the slopes below and above x[index] if they differ and `analytic` lies between.

    With d(h) = (f(x + h e_i) - f(x)) / h, the slope above is 2 d(h/2) - d(h). Its error is
    f‴ h² / 12, and that of the slope below is the same: curvature is not taken for a kink.
    """
    middle = float(f(x.copy()))

    def one_sided(step: float) -> float:
        moved = x.copy()
        moved[index] += step
        distance = float(moved[index] - x[index])
        return (float(f(moved)) - middle) / distance if distance else math.nan

    below, above = (2 * one_sided(step / 2) - one_sided(step) for step in (-h, h))
    eps = float(max(np.finfo(x.dtype).eps, np.finfo(np.float64).eps))
    doubt = max(tolerance, 8 * eps * abs(middle) / h)  # rounding makes slopes differ, too
    between = min(below, above) - tolerance < analytic < max(below, above) + tolerance
    return (below, above) if abs(above - below) > 4 * doubt and between else None


def _with_one_changed(
    f: Callable[[Mapping[str, Array]], float], args: Mapping[str, Array], name: str, value: Array
) -> float:
    return f({**args, name: value})
