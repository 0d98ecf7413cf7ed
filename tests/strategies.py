"""Hypothesis strategies: random shapes, dtypes, networks, batches and datasets."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fnnet import Dataset, Model, mlp
from fnnet.checks import Array
from fnnet.values import ParamsLike
from tests.helpers import reference_layers

FLOATS: tuple[Any, ...] = (np.float32, np.float64, np.longdouble)
INTEGERS = (np.int8, np.uint8, np.int32, np.int64, np.uint64)

dims = st.integers(1, 5)
seeds = st.integers(0, 2**64)
dtypes = st.sampled_from(FLOATS)
float64 = st.just(np.float64)  # numeric gradients have its digits
wide_dtypes = st.sampled_from([np.float64, np.longdouble])
regs = st.floats(0, 2)
shapes = hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)


def arrays(
    shape: tuple[int, ...] | st.SearchStrategy[tuple[int, ...]], dtype: Any, size: float = 8
) -> st.SearchStrategy[Array]:
    """Arrays of numbers in [-size, size] that every floating dtype represents exactly."""
    elements = st.floats(-size, size, width=32, allow_subnormal=False)
    return hnp.arrays(np.float64, shape, elements=elements).map(lambda a: a.astype(dtype))


def normal(seed: int, shape: tuple[int, ...], dtype: Any = np.float64) -> Array:
    """Normal numbers: for properties that need no search among special values."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@frozen(eq=False)
class FcCase:
    """Inputs of a fully connected layer, and a gradient of its output."""

    x: Array
    w: Array
    b: Array
    grad_y: Array


@st.composite
def fc_cases(draw: st.DrawFn, dtype: st.SearchStrategy[Any] = dtypes, size: float = 8) -> FcCase:
    """Fully connected layers of any shape and dtype, with numbers in [-size, size]."""
    n, d, h, kind = draw(dims), draw(dims), draw(dims), draw(dtype)
    parts = [draw(arrays(shape, kind, size)) for shape in ((n, d), (d, h), (h,), (n, h))]
    return FcCase(*parts)


@st.composite
def labels_of(draw: st.DrawFn, length: int, num_classes: int) -> Array:
    """Labels in [0, num_classes), of any integer dtype."""
    values = draw(st.lists(st.integers(0, num_classes - 1), min_size=length, max_size=length))
    return np.array(values, draw(st.sampled_from(INTEGERS)))


@st.composite
def scores_and_labels(
    draw: st.DrawFn, dtype: st.SearchStrategy[Any] = dtypes, size: float = 8
) -> tuple[Array, Array]:
    """Scores (N, C) and labels (N,)."""
    n, c = draw(dims), draw(dims)
    return draw(arrays((n, c), draw(dtype), size)), draw(labels_of(n, c))


@frozen(eq=False)
class Network:
    """A model with parameters, biases too, and a batch for it."""

    dims: Sequence[int]
    model: Model
    params: ParamsLike
    batch: tuple[Array, Array]
    reg: float


@st.composite
def networks(
    draw: st.DrawFn, dtype: st.SearchStrategy[Any] = dtypes, num_layers: int | None = None
) -> Network:
    """Networks of any width, and of any depth unless it is given."""
    fewest, most = (num_layers, num_layers) if num_layers else (1, 4)
    widths = draw(st.lists(dims, min_size=fewest + 1, max_size=most + 1))
    n, kind, seed = draw(dims), draw(dtype), draw(seeds)
    model = mlp(widths, kind)
    drawn = model.init(np.random.default_rng(seed))
    params = {name: p + normal(seed, p.shape, p.dtype) / 2 for name, p in drawn.items()}
    batch = normal(seed + 1, (n, widths[0]), kind), draw(labels_of(n, widths[-1]))
    return Network(widths, model, params, batch, draw(regs))


def smooth_networks(
    dtype: st.SearchStrategy[Any], num_layers: int | None = None
) -> st.SearchStrategy[Network]:
    """Networks in which no ReLU is near its kink, so that a small step crosses none."""
    return networks(dtype, num_layers).filter(_is_away_from_kinks)


def _is_away_from_kinks(network: Network) -> bool:
    hidden = reference_layers(network.params, network.batch[0])[:-1]
    return all(np.abs(layer).min() > 1e-3 for layer in hidden)


@st.composite
def datasets(draw: st.DrawFn, max_size: int = 40) -> Dataset:
    """Datasets in which no two images are the same: the first two bytes number them."""
    n, num_classes, seed = draw(st.integers(1, max_size)), draw(dims), draw(seeds)
    images = np.random.default_rng(seed).integers(256, size=(n, 2, 2), dtype=np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(n), 256)
    names = tuple(f"class {i}" for i in range(num_classes))
    return Dataset(images, draw(labels_of(n, num_classes)), names)
