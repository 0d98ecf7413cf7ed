"""Losses as pure functions that return ``(loss, gradient)``; the loss is a Python float.

Shapes: N examples, C classes.
"""

import math

import numpy as np

from fnnet.checks import Array, as_float_array, as_labels, as_number, check_finite, widened

ROW = 1024  # elements: few enough to keep the sum of a row accurate in float32
SMALL = 1e-30  # below this mean square, too many squares may underflow in float32


@np.errstate(all="ignore")
def softmax_loss(scores: Array, labels: Array) -> tuple[float, Array]:
    """Mean cross-entropy of the softmax of the scores (Goodfellow et al. 2016, §6.2.2.3).

    With p = softmax(s), each example has the loss -log p[label] and the
    gradient p - onehot(label); both are averaged over the N examples.

    Only differences to the row's largest score enter, so no exponential
    overflows. With d = s[label] - max(s) and r = sum over the other classes of
    exp(s[j] - max(s)), the loss is log1p(r + expm1(d)) - d and the label's
    gradient is -r / (r + exp(d)): nothing cancels, so both keep their relative
    accuracy, however near or far the label's score is from the others. The
    arithmetic is at least float64, whatever the dtype.

    Args:
        scores: unnormalized log-probabilities (N, C), finite.
        labels: integers (N,) in [0, C).

    Returns:
        loss, and grad_scores (N, C) in the dtype of `scores`.

    Raises:
        TypeError: `scores` is not floating or `labels` not integer.
        ValueError: the shapes do not fit, N or C is 0, a score is not finite,
            or a label lies outside [0, C).

    >>> loss, grad = softmax_loss(np.array([[0.0, -2000.0]]), np.array([1]))
    >>> loss
    2000.0
    >>> grad
    array([[ 1., -1.]])
    """
    scores = as_float_array("scores", scores, ("N", "C"))
    n, num_classes = scores.shape
    if n == 0 or num_classes == 0:
        raise ValueError(f"scores must not be empty, found shape {scores.shape}")
    labels = as_labels("labels", labels, n, num_classes)
    check_finite("scores", scores)

    of_label = labels, np.arange(n)
    below = below_max(scores)
    d = below[of_label]
    exp = np.exp(below, out=below)
    exp[of_label] = 0
    r = exp.sum(axis=0)
    # Divided before they are summed: the mean of finite losses is finite.
    loss = float(((np.log1p(r + np.expm1(d)) - d) / n).sum())
    exp[of_label] = -r
    exp /= n * (r + np.exp(d))
    return loss, exp.T.astype(scores.dtype, order="C")


def below_max(scores: Array) -> Array:
    """Return s[j] - max(s) of each example, (C, N) and at least float64: no exp(…) overflows.

    Classes first: sums over the long axis are what NumPy does fastest.
    """
    below = scores.T.astype(widened(scores.dtype), order="C")
    below -= below.max(axis=0)
    return below


@np.errstate(all="ignore")
def l2_loss(pred: Array, target: Array) -> tuple[float, Array]:
    """Squared error: sum((pred - target)²) / (2 N).

    Args:
        pred: predictions (N, ...).
        target: what they should be, the same shape and dtype.

    Returns:
        loss, and grad_pred = (pred - target) / N in the dtype of `pred`.

    Raises:
        TypeError: an argument is not a floating array, or their dtypes differ.
        ValueError: the shapes differ, N is 0, or a number is not finite.

    >>> l2_loss(np.array([[1.0], [3.0]]), np.array([[0.0], [1.0]]))[0]
    1.25

    A step of linear regression, from two layers and a loss:

    >>> from fnnet import fc_backward, fc_forward
    >>> x, target = np.array([[0.0], [1.0], [2.0]]), np.array([[1.0], [3.0], [5.0]])
    >>> def step(w, b, learning_rate=0.5):
    ...     pred, cache = fc_forward(x, w, b)
    ...     loss, grad_pred = l2_loss(pred, target)
    ...     _, grad_w, grad_b = fc_backward(grad_pred, cache)
    ...     return w - learning_rate * grad_w, b - learning_rate * grad_b
    >>> w, b = np.zeros((1, 1)), np.zeros(1)
    >>> for _ in range(200):
    ...     w, b = step(w, b)
    >>> w.round(6), b.round(6)  # target = 2 x + 1
    (array([[2.]]), array([1.]))
    """
    pred = as_float_array("pred", pred)
    if pred.size == 0 or pred.ndim == 0:
        raise ValueError(f"pred must have shape (N, ...) and not be empty, found {pred.shape}")
    target = as_float_array("target", target, pred.shape, like=("pred", pred))
    check_finite("pred", pred)
    check_finite("target", target)
    diff = np.subtract(pred, target, dtype=widened(pred.dtype))
    # Divided before they are multiplied: the mean of finite squares is finite.
    loss = float((diff * (diff / (2 * len(pred)))).sum())
    grad_pred = (diff / len(pred)).astype(pred.dtype)
    check_finite("(pred - target) / N", grad_pred)
    return loss, grad_pred


@np.errstate(all="ignore")
def l2_regularization(w: Array, reg: float) -> tuple[float, Array]:
    """Weight decay as a loss: reg/2 · sum(w²), gradient reg · w.

    Args:
        w: weights, any shape.
        reg: strength, a finite number >= 0.

    Returns:
        loss, and grad_w of the shape and dtype of `w`.

    Raises:
        TypeError: `w` is not a floating array, or `reg` is not a number.
        ValueError: `reg` is negative or not finite, or `w` is not finite.

    >>> l2_regularization(np.array([3.0, 4.0]), 0.5)
    (6.25, array([1.5, 2. ]))
    """
    w = as_float_array("w", w)
    reg = as_number("reg", reg, low=0)
    loss, grad_w = reg / 2 * sum_of_squares(w), reg * w
    # |reg w| is at most sqrt(2 reg loss): only where that overflows, the gradient may.
    largest = float(np.finfo(w.dtype).max)
    if not (math.sqrt(2 * reg * loss) <= largest and reg <= largest):
        check_finite("w", w)
        check_finite("reg * w", grad_w)
    return loss, grad_w


@np.errstate(all="ignore")
def sum_of_squares(a: Array) -> float:
    """Return the sum of a² with a relative error below 1e-6 in float32 and 1e-12 in float64.

    Short rows are added up in the dtype of `a`, and their sums in float64. Unlike one long
    BLAS dot product, the last bits do not depend on the number of threads.
    """
    flat = a.reshape(-1)
    if a.dtype.itemsize > 2:
        rows = flat[: flat.size // ROW * ROW].reshape(-1, ROW)
        rest = flat[rows.size :]
        total = float(np.vecdot(rows, rows).sum(dtype=np.float64)) + float(np.vecdot(rest, rest))
        if flat.size * SMALL < total < math.inf:
            return total
    # Squares may lie outside the range of the dtype, where a float64 still holds them.
    return float(np.square(flat, dtype=widened(a.dtype)).sum())
