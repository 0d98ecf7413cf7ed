"""Layers as pairs of pure functions: a forward pass and its backward pass.

``forward`` returns the output and a cache; ``backward`` takes the gradient of
a scalar loss with respect to the output, and the cache, and returns the
gradient of the loss with respect to each input (the vector-Jacobian product).
The caches are opaque to callers. Nothing is ever written into an argument.

Shapes: N examples, D inputs and H outputs of a layer.
"""

import numpy as np

from fnnet.checks import Array, as_float_array, check_finite, widened

FcCache = tuple[Array, Array]  # x, w
ReluCache = Array  # where x > 0


@np.errstate(all="ignore")
def fc_forward(x: Array, w: Array, b: Array) -> tuple[Array, FcCache]:
    """Fully connected layer: y = x w + b.

    Args:
        x: inputs (N, D).
        w: weights (D, H).
        b: biases (H,).

    Returns:
        y (N, H), and the cache for :func:`fc_backward`, which refers to `x` and `w`: leave
        them alone until the backward pass.

    Raises:
        TypeError: an argument is not a floating array, or their dtypes differ.
        ValueError: the shapes do not fit, or a number is NaN or infinite or
            makes y overflow.

    >>> x, w, b = np.ones((1, 2)), np.array([[1.0], [2.0]]), np.array([0.5])
    >>> fc_forward(x, w, b)[0]
    array([[3.5]])
    """
    x = as_float_array("x", x, ("N", "D"))
    w = as_float_array("w", w, (x.shape[1], "H"), like=("x", x))
    b = as_float_array("b", b, (w.shape[1],), like=("x", x))
    y = x @ w
    y += b  # a new array of our own: in place saves a pass through memory
    # A NaN or infinity in x, w or b cannot hide in a sum of products, so the
    # y is checked instead: it is usually smaller. Unchecked, a ReLU could
    # turn -inf into an innocent 0.
    if not np.isfinite(y).all():
        for name, array in (("x", x), ("w", w), ("b", b), ("x w + b", y)):
            check_finite(name, array)
    return y, (x, w)


@np.errstate(all="ignore")
def fc_backward(grad_y: Array, cache: FcCache) -> tuple[Array, Array, Array]:
    """Gradients of a fully connected layer.

    grad_x = grad_y wᵀ; for grad_w and grad_b see :func:`fc_backward_params`.

    Args:
        grad_y: gradient of the loss with respect to y (N, H).
        cache: what :func:`fc_forward` returned.

    Returns:
        grad_x (N, D), grad_w (D, H), grad_b (H,).

    Raises:
        TypeError, ValueError: `grad_y` does not have the dtype and the shape of y, or
            `cache` is not one of :func:`fc_forward`.
    """
    x, w, grad_y = _fc_arrays(grad_y, cache)
    return grad_y @ w.T, *_fc_grad_params(x, grad_y)


@np.errstate(all="ignore")
def fc_backward_params(grad_y: Array, cache: FcCache) -> tuple[Array, Array]:
    """Gradients of a fully connected layer with respect to its parameters alone.

    grad_w = xᵀ grad_y, grad_b = column sums of grad_y. The first layer of a network calls
    this: the gradient with respect to the network's input would be a third of the work.

    Args, Raises: those of :func:`fc_backward`.

    Returns:
        grad_w (D, H), grad_b (H,).
    """
    x, _, grad_y = _fc_arrays(grad_y, cache)
    return _fc_grad_params(x, grad_y)


def _fc_grad_params(x: Array, grad_y: Array) -> tuple[Array, Array]:
    # Over thousands of examples a sum in float32 would lose digits.
    grad_b = grad_y.sum(axis=0, dtype=widened(grad_y.dtype)).astype(grad_y.dtype)
    return x.T @ grad_y, grad_b


def _fc_arrays(grad_y: Array, cache: FcCache) -> tuple[Array, Array, Array]:
    if not isinstance(cache, tuple) or len(cache) != 2:
        raise TypeError(f"cache must be that of fc_forward, found {type(cache).__name__}")
    x = as_float_array("x", cache[0], ("N", "D"))
    w = as_float_array("w", cache[1], (x.shape[1], "H"), like=("x", x))
    return x, w, as_float_array("grad_y", grad_y, (len(x), w.shape[1]), like=("y", x))


def relu_forward(x: Array) -> tuple[Array, ReluCache]:
    """Rectified linear unit: y = max(0, x), element by element; NaN stays NaN.

    Args:
        x: inputs, any shape.

    Returns:
        y of the shape of x, and the cache for :func:`relu_backward`.

    Raises:
        TypeError: `x` is not a floating array.

    >>> relu_forward(np.array([-1.0, 0.0, 2.0]))[0]
    array([0., 0., 2.])
    """
    x = as_float_array("x", x)
    return np.maximum(x, 0), x > 0


@np.errstate(all="ignore")
def relu_backward(grad_y: Array, cache: ReluCache) -> Array:
    """Gradient of the ReLU: grad_x = grad_y where x > 0, else 0 (also at x = 0).

    Args:
        grad_y: gradient of the loss with respect to y, the shape of x.
        cache: what :func:`relu_forward` returned.

    Returns:
        grad_x, the shape of x.

    Raises:
        TypeError, ValueError: `grad_y` is not a floating array of the shape of x, or `cache`
            is not one of :func:`relu_forward`.
    """
    if not isinstance(cache, np.ndarray) or cache.dtype != bool:
        raise TypeError(f"cache must be that of relu_forward, found {type(cache).__name__}")
    grad_y = as_float_array("grad_y", grad_y, cache.shape)
    return grad_y * cache
