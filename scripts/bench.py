"""Time training beside plain NumPy, bare matrix products and, where installed, other libraries.

Contenders, each in a process of its own, take turns (A B C A B C …), so that a machine
whose speed drifts slows all of them; what counts is the ratio within a round, and its median.
A turn begins with a pause, because libraries keep their threads spinning for a while after
they are done, and with a warm-up.
"""

import itertools
import json
import math
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import time
import timeit
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cache, partial
from importlib import import_module, util
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

import fnnet
from fnnet.checks import Array, as_integer, as_number, as_path, as_picture_path
from fnnet.commands.program import run
from fnnet.data.augmentation import flip, recolor, rotate, shift
from fnnet.data.preprocessing import Whitening, preprocess
from fnnet.files import atomic_write, check_writable
from fnnet.limits import MAX_THREADS
from fnnet.plots import save
from fnnet.runs.provenance import environment
from fnnet.threads import default_num_threads
from fnnet.training import fold, init_state, make_update

NUM_IMAGES, C = 50_000, 10  # as CIFAR-10
IMAGE, DIGIT = (3, 32, 32), (8, 8)
D = math.prod(IMAGE)
NUM_FLOATS = 4096  # images that scikit-learn, which takes no bytes, gets as floats
LEARNING_RATE, REG = 0.01, 1e-3
MOMENTA = (0.0, 0.9)
POOL = 2  # of the cells that whiten, as in the presets
PAUSE, WARM_UP = 0.25, 0.1  # seconds

Preset = Literal["digits", "fast", "minute", "best", "deep"]
PRESETS: tuple[Preset, ...] = ("digits", "fast", "minute", "best", "deep")

Row = dict[str, Any]
"""What was measured in a cell."""
Steps = Iterator[tuple[int, float, Sequence[Any]]]
"""Asking for an item trains: it is (steps so far, last loss, the new W1, b1, W2, b2, …)."""


class Cell(NamedTuple):
    """What is trained on what: a net learns from batches of n images.

    Without `components` pixels are standardized. With them, images are turned, zoomed, moved,
    mirrored and recolored as the preset's settings say, and whitened.
    """

    group: str
    name: str
    momentum: float
    n: int
    widths: tuple[int, ...]
    threads: int
    shape: tuple[int, ...] = IMAGE
    components: int = 0
    shift: int = 0
    rotate: float = 0.0
    zoom: float = 0.0
    color: float = 0.0

    @property
    def dims(self) -> tuple[int, ...]:
        """Widths of the layers, from inputs to scores."""
        return (self.components or math.prod(self.shape), *self.widths, C)


def raw_cell(momentum: float, n: int, h: int, threads: int) -> Cell:
    name = f"momentum {momentum:g}, N={n}, H={h}"
    return Cell(f"momentum {momentum:g}", name, momentum, n, (h,), threads)


def preset_cell(name: str, threads: int) -> Cell:
    """Return the cell that trains as a preset does."""
    config = fnnet.default_config(name)
    images = config.dataset == "cifar10"
    return Cell(
        "presets",
        f"preset {name}",
        config.momentum,
        config.batch_size,
        config.hidden_dim,
        threads,
        IMAGE if images else DIGIT,
        config.components if config.preprocessing == "whiten" else 0,
        config.shift,
        config.rotate,
        config.zoom,
        config.color,
    )


@cache
def random_data(shape: tuple[int, ...]) -> fnnet.Dataset:
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(NUM_IMAGES, *shape), dtype=np.uint8)
    return fnnet.Dataset(images, rng.integers(C, size=NUM_IMAGES), tuple("0123456789"))


@cache
def fitted(cell: Cell) -> Any:
    """Return the preprocessing of a cell; a whitening is of the right shape only."""
    if not cell.components:  # mean and deviation of a random byte
        pixels = math.prod(cell.shape)
        return fnnet.Standardization(np.full(pixels, 127.5), np.full(pixels, 73.9), cell.shape)
    pixels, rng = math.prod(cell.shape) // POOL**2, np.random.default_rng(0)
    matrix = rng.standard_normal((pixels, cell.components), np.float32) / 3000
    return Whitening(POOL, np.full(pixels, 127.5, np.float32), matrix, cell.shape)


def endless_batches(cell: Cell) -> Iterator[tuple[Array, Array]]:
    """Yield images (n, ...) uint8 and labels (n,), the same ones for each contender."""
    for epoch in itertools.count():
        batches = fnnet.minibatches(random_data(cell.shape), cell.n, seed=0, epoch=epoch)
        yield from itertools.islice(batches, NUM_IMAGES // cell.n)  # without a smaller last one


class Draws(NamedTuple):
    """How the images of a batch are changed, as fnnet.data's functions draw it, in their order."""

    turns: tuple[Array, ...]
    """Row and column that the pixel at (i, j) of a turned image comes from, rounded down and kept
    within the image: a[:, i] + b[:, j] and c[:, i] + d[:, j]; nothing if none is turned."""
    down: Array
    right: Array
    mirrored: Array
    colors: tuple[Array, ...]
    """Factors of each pixel and of the image's mean (n, channels); nothing if none is recolored."""


def draw_changes(rng: np.random.Generator, cell: Cell) -> Draws:
    n, (channels, height, width) = cell.n, cell.shape
    turns: tuple[Array, ...] = ()
    if cell.rotate or cell.zoom:
        angle = rng.uniform(-math.radians(cell.rotate), math.radians(cell.rotate), (n, 1))
        factor = np.exp(rng.uniform(-math.log1p(cell.zoom), math.log1p(cell.zoom), (n, 1)))
        cos, sin = np.cos(angle) / factor, np.sin(angle) / factor
        i, j = np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2
        places = (cos * i + height / 2, sin * j, -sin * i + width / 2, cos * j)
        turns = tuple(place.astype(np.float32) for place in places)
    down, right = rng.integers(2 * cell.shift + 1, size=(2, n))
    mirrored = rng.random(n) < 0.5
    colors: tuple[Array, ...] = ()
    if cell.color:
        contrast, brightness = rng.uniform(1 - cell.color, 1 + cell.color, (2, n, 1))
        half = cell.color / 2
        brightness = brightness * rng.uniform(1 - half, 1 + half, (n, channels))
        factors = (brightness * contrast, brightness * (1 - contrast))
        colors = tuple(factor.astype(np.float32) for factor in factors)
    return Draws(turns, down, right, mirrored, colors)


def initial_params(cell: Cell) -> list[Array]:
    return [*fnnet.mlp(cell.dims, np.float32).init(np.random.default_rng(0)).values()]


def fnnet_batches(cell: Cell) -> Iterator[tuple[Array, Array]]:
    rng = np.random.default_rng(1)
    for images, labels in endless_batches(cell):
        if cell.rotate or cell.zoom:
            images = rotate(rng, images, cell.rotate, cell.zoom)
        if cell.components:
            images = flip(rng, shift(rng, images, cell.shift))
        if cell.color:
            images = recolor(rng, images, cell.color)
        yield preprocess(fitted(cell), images, np.float32), labels


def fnnet_steps(cell: Cell) -> Steps:
    model = fnnet.mlp(cell.dims, np.float32)
    optimizer = fnnet.sgd(LEARNING_RATE, cell.momentum)
    step = make_update(fnnet.make_train_step(model), optimizer, REG)
    start = init_state(model, optimizer, np.random.default_rng(0))
    for state in fold(step, start, fnnet_batches(cell)):
        yield 1, state.loss, [*state.params.values()]


def by_hand_batches(cell: Cell) -> Iterator[tuple[Array, Array]]:
    rng, k, prep = np.random.default_rng(1), cell.shift, fitted(cell)
    for images, labels in endless_batches(cell):
        n = len(images)
        if cell.components:
            turns, down, right, mirrored, colors = draw_changes(rng, cell)
            if turns:
                a, b, c, d = turns
                rows = np.clip(a[:, :, None] + b[:, None], 0, cell.shape[1] - 1).astype(np.intp)
                columns = np.clip(c[:, :, None] + d[:, None], 0, cell.shape[2] - 1).astype(np.intp)
                channels_last = images.transpose(0, 2, 3, 1)
                turned = channels_last[np.arange(n)[:, None, None], rows, columns]
                images = turned.transpose(0, 3, 1, 2)
            padded = np.pad(images, [(0, 0), (0, 0), (k, k), (k, k)], mode="edge")
            windows = np.lib.stride_tricks.sliding_window_view(padded, cell.shape[1:], axis=(2, 3))
            images = windows[np.arange(n), :, down, right]
            images[mirrored] = images[mirrored][..., ::-1]
            if colors:
                factor, of_mean = (part[:, :, None, None] for part in colors)
                mean = images.mean(axis=(1, 2, 3), keepdims=True).astype(np.float32)
                images = np.clip(images * factor + (of_mean * mean + 0.5), 0, 255).astype(np.uint8)
            pixels: Array = images.astype(np.float32)
            pixels = (pixels[..., ::2, :] + pixels[..., 1::2, :]) / 4
            pixels = pixels[..., ::2] + pixels[..., 1::2]
            yield (pixels.reshape(n, -1) - prep.mean) @ prep.matrix, labels
        else:
            mean, std = prep.mean.astype(np.float32), prep.std.astype(np.float32)
            yield (images.reshape(n, -1) - mean) / std, labels


def by_hand_steps(cell: Cell) -> Steps:
    """Train in plain NumPy: the textbook's formulas, a new array for each result, no checks."""
    momentum, one_hot = cell.momentum, np.eye(C, dtype=np.float32)
    params = initial_params(cell)
    velocity = [np.zeros_like(p) for p in params]
    for x, labels in by_hand_batches(cell):
        inputs = [x]  # of each layer
        for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
            inputs.append(np.maximum(inputs[-1] @ w + b, 0))
        scores = inputs[-1] @ params[-2] + params[-1]
        scores = scores - scores.max(axis=1, keepdims=True)
        log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        penalty = REG / 2 * sum(np.vdot(w, w) for w in params[::2])
        loss = float(-(one_hot[labels] * log_p).sum() / cell.n + penalty)

        grad = (np.exp(log_p) - one_hot[labels]) / cell.n
        grads: list[Array] = []
        for i in reversed(range(len(inputs))):
            w = params[2 * i]
            grads = [inputs[i].T @ grad + REG * w, grad.sum(axis=0), *grads]
            if i:
                grad = (grad @ w.T) * (inputs[i] > 0)
        if momentum:
            pairs = zip(velocity, grads, strict=True)
            velocity = [momentum * v - LEARNING_RATE * g for v, g in pairs]
            params = [p + v for p, v in zip(params, velocity, strict=True)]
        else:  # NumPy computes p + -g in the memory of -g, but p - g in new memory
            params = [p + -LEARNING_RATE * g for p, g in zip(params, grads, strict=True)]
        yield 1, loss, params


def products_steps(cell: Cell) -> Steps:
    """Compute only the matrix products of a step, but for those with the few scores."""
    rng = np.random.default_rng(0)

    def operand(*shape: int) -> Array:
        return rng.standard_normal(shape, np.float32)

    dims, n = cell.dims[:-1], cell.n
    products: list[tuple[Array, Array, Array]] = []
    if cell.components:
        pixels = math.prod(cell.shape) // POOL**2
        products.append((operand(n, pixels), operand(pixels, dims[0]), operand(n, dims[0])))
    for i, (d, h) in enumerate(itertools.pairwise(dims)):
        x, w, grad = operand(n, d), operand(d, h), operand(n, h)
        products += [(x, w, operand(n, h)), (x.T, grad, operand(d, h))]
        if i:
            products.append((grad, w.T, operand(n, d)))
    while True:
        for left, right, out in products:
            np.matmul(left, right, out=out)
        yield 1, 0.0, []


def torch_batches(cell: Cell) -> Iterator[tuple[Any, Any]]:
    torch = import_module("torch")
    rng, k, prep = np.random.default_rng(1), cell.shift, fitted(cell)
    mean = torch.tensor(prep.mean, dtype=torch.float32)
    if cell.components:
        matrix = torch.tensor(prep.matrix)
        height, width = cell.shape[1:]
    else:
        scale = torch.tensor(1 / prep.std, dtype=torch.float32)
    for images, labels in endless_batches(cell):
        n, x = len(images), torch.from_numpy(images)
        if cell.components:
            draws = draw_changes(rng, cell)
            at, x = torch.arange(n)[:, None, None], x.permute(0, 2, 3, 1)
            if draws.turns:
                a, b, c, d = map(torch.from_numpy, draws.turns)
                rows = (a[:, :, None] + b[:, None]).clamp_(0, height - 1).long()
                x = x[at, rows, (c[:, :, None] + d[:, None]).clamp_(0, width - 1).long()]
            down, right, mirrored = map(torch.from_numpy, draws[1:4])
            # Where each row and column comes from: one gather moves, mirrors and pads with edges.
            columns = torch.arange(width).expand(n, -1)
            columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
            columns = (columns + (right - k)[:, None]).clamp_(0, width - 1)
            rows = (torch.arange(height) + (down - k)[:, None]).clamp_(0, height - 1)
            x = x[at, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).float()
            if draws.colors:
                factor, of_mean = (torch.from_numpy(c)[:, :, None, None] for c in draws.colors)
                offset = of_mean * x.mean(dim=(1, 2, 3), keepdim=True) + 0.5
                x = x.mul_(factor).add_(offset).clamp_(0, 255).floor_()
            pooled = torch.nn.functional.avg_pool2d(x, POOL)
            yield pooled.reshape(n, -1).sub_(mean) @ matrix, torch.from_numpy(labels)
        else:
            yield x.reshape(n, -1).float().sub_(mean).mul_(scale), torch.from_numpy(labels)


def torch_steps(cell: Cell) -> Steps:
    torch = import_module("torch")
    torch.set_num_threads(cell.threads)
    leaves = [torch.tensor(p, requires_grad=True) for p in initial_params(cell)]
    groups = [{"params": leaves[::2], "weight_decay": REG}, {"params": leaves[1::2]}]
    optimizer = torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=cell.momentum, fused=True)
    params = [p.detach() for p in leaves]  # the same memory
    for x, labels in torch_batches(cell):
        for w, b in zip(leaves[:-2:2], leaves[1:-2:2], strict=True):
            x = torch.relu(torch.addmm(b, x, w))
        scores = torch.addmm(leaves[-1], x, leaves[-2])
        loss = torch.nn.functional.cross_entropy(scores, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        yield 1, loss.item(), params  # L2 is not in the loss but in the optimizer


def jax_steps(cell: Cell) -> Steps:
    jax = import_module("jax")  # takes its threads from the processors it may use
    jnp, prep, k = jax.numpy, fitted(cell), cell.shift
    mean = prep.mean.astype(np.float32)

    def inputs_of(images: Any, draws: Any) -> Any:
        n = len(images)
        if not cell.components:
            scale = (1 / prep.std).astype(np.float32)
            return (images.reshape(n, -1).astype(jnp.float32) - mean) * scale
        turns, *moves, colors = draws
        channels, height, width = cell.shape
        if turns:

            def turn(image: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
                rows = jnp.clip(a[:, None] + b, 0, height - 1).astype(jnp.int32)
                return image[:, rows, jnp.clip(c[:, None] + d, 0, width - 1).astype(jnp.int32)]

            images = jax.vmap(turn)(images, *turns)
        padded = jnp.pad(images, [(0, 0), (0, 0), (k, k), (k, k)], mode="edge")

        def look(image: Any, down: Any, right: Any, mirrored: Any) -> Any:
            window = jax.lax.dynamic_slice(image, (0, down, right), cell.shape)
            return jnp.where(mirrored, window[..., ::-1], window)

        moved = jax.vmap(look)(padded, *moves).astype(jnp.float32)
        if colors:
            factor, of_mean = (part[:, :, None, None] for part in colors)
            offset = of_mean * moved.mean(axis=(1, 2, 3), keepdims=True) + 0.5
            moved = jnp.floor(jnp.clip(moved * factor + offset, 0, 255))
        blocks = moved.reshape(n, channels, height // POOL, POOL, width // POOL, POOL)
        return (blocks.mean(axis=(3, 5)).reshape(n, -1) - mean) @ prep.matrix

    def loss_of(params: Any, x: Any, y: Any) -> Any:
        for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
            x = jax.nn.relu(x @ w + b)
        log_p = jax.nn.log_softmax(x @ params[-2] + params[-1])
        penalty = REG / 2 * sum((w**2).sum() for w in params[::2])
        return penalty - jnp.take_along_axis(log_p, y[:, None], 1).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(params: Any, velocity: Any, images: Any, draws: Any, y: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params, inputs_of(images, draws), y)
        if cell.momentum:
            pairs = zip(velocity, grads, strict=True)
            grads = velocity = [cell.momentum * v + g for v, g in pairs]
        return [p - LEARNING_RATE * g for p, g in zip(params, grads, strict=True)], velocity, loss

    params, rng = [jnp.array(p) for p in initial_params(cell)], np.random.default_rng(1)
    velocity = [jnp.zeros_like(p) for p in params] if cell.momentum else []
    for images, labels in endless_batches(cell):
        draws = draw_changes(rng, cell) if cell.components else ()
        params, velocity, loss = update(params, velocity, images, draws, labels)
        yield 1, float(loss), params


def sklearn_steps(cell: Cell) -> Steps:
    network = import_module("sklearn.neural_network")
    warnings.simplefilter("ignore")  # "maximum iterations reached": one epoch at a time
    part, dataset, n = slice(0, NUM_FLOATS // cell.n * cell.n), random_data(cell.shape), cell.n
    x = np.array(fnnet.standardize(fitted(cell), dataset.images[part], np.float32))
    model = network.MLPClassifier(
        cell.widths, solver="sgd", alpha=REG * n, batch_size=n, learning_rate_init=LEARNING_RATE,
        momentum=cell.momentum, nesterovs_momentum=False, max_iter=1, warm_start=True,
    )  # fmt: skip
    while True:
        model.fit(x, dataset.labels[part])
        yield len(x) // n, model.loss_, []


PEERS = ("torch", "jax", "sklearn")
# Steps, label, and a color; the colors stay apart in gray and for the color-blind.
CONTENDERS: Mapping[str, tuple[Callable[..., Steps], str, str]] = {
    "fnnet": (fnnet_steps, "fnnet", "#08306b"),
    "by_hand": (by_hand_steps, "NumPy by hand", "#6ea8d4"),
    "torch": (torch_steps, "PyTorch", "#993404"),
    "jax": (jax_steps, "JAX", "#d95f0e"),
    "sklearn": (sklearn_steps, "scikit-learn", "#fbcf9d"),
    "matrix products": (products_steps, "bare matrix products", "black"),
}


def start_processes(names: list[str]) -> dict[str, Executor]:
    """Start processes without the variables that choose BLAS's kernel or threads.

    Ctrl-C reaches this process only.
    """
    for name in [*os.environ]:
        if name.startswith("OPENBLAS_") or name.endswith("_NUM_THREADS"):
            del os.environ[name]
    context, ignore = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)
    return {name: ProcessPoolExecutor(1, context, signal.signal, ignore) for name in names}


def time_steps(steps: Steps, seconds: float) -> list[float]:
    """Train for some seconds, and for at least five steps; return the seconds of each step."""
    spent: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(spent) < 5:
        start = time.perf_counter()
        number, _, _ = next(steps)
        spent += [(time.perf_counter() - start) / number] * number
    return spent


def take_turn(name: str, cell: Cell, seconds: float) -> float:
    """Return the median seconds of a step, measured after a pause and a warm-up."""
    steps = CONTENDERS[name][0](cell)
    next(steps)  # takes longer: it prepares the others
    with fnnet.use_threads(cell.threads):
        time.sleep(PAUSE)
        time_steps(steps, WARM_UP)
        return statistics.median(time_steps(steps, seconds))


def quartiles(values: Array) -> dict[str, float]:
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return {"low": low, "median": middle, "high": high}


def bench_cell(processes: dict[str, Executor], cell: Cell, rounds: int, seconds: float) -> Row:
    """Return the rates, the ratios of fnnet's rate to the others, and the parts of fnnet's step."""
    able = {
        name: process
        for name, process in processes.items()
        if name != "sklearn" or not cell.components  # it cannot draw its images anew
    }
    times: dict[str, list[float]] = {name: [] for name in able}
    for _, (name, process) in itertools.product(range(rounds), able.items()):
        times[name].append(process.submit(take_turn, name, cell, seconds).result())
    rates = {name: quartiles(np.divide(cell.n, ts)) for name, ts in times.items()}
    own = times.pop("fnnet")
    ratios = {name: quartiles(np.divide(ts, own)) for name, ts in times.items()}
    if peers := [ratios[name] for name in PEERS if name in ratios]:
        ratios["fastest peer"] = min(peers, key=lambda ratio: ratio["median"])
    parts = processes["fnnet"].submit(bench_parts, cell, 10 * rounds).result()
    return cell._asdict() | {"images_per_second": rates, "ratio": ratios, "parts_ms": parts}


def compare(rows: list[Row]) -> dict[str, dict[str, Any]]:
    """Return the geometric mean and the smallest ratio, by group of cells and over all."""
    comparison = {}
    names = dict.fromkeys(name for row in rows for name in row["ratio"])
    groups = [*dict.fromkeys(row["group"] for row in rows), "all"]
    for name, group in itertools.product(names, groups):
        cells = [row for row in rows if group in (row["group"], "all") and name in row["ratio"]]
        if cells:
            ratios = [cell["ratio"][name]["median"] for cell in cells]
            low, mean = min(ratios), statistics.geometric_mean(ratios)
            where = cells[ratios.index(low)]["name"]
            comparison[f"{name}, {group}"] = {"mean": mean, "smallest": low, "smallest_cell": where}
    return comparison


def bench_parts(cell: Cell, num_steps: int) -> dict[str, float]:
    """Return the median milliseconds of each part of a step."""
    model = fnnet.mlp(cell.dims, np.float32)
    optimizer = fnnet.sgd(LEARNING_RATE, cell.momentum)
    train_step = fnnet.make_train_step(model)
    params = model.init(np.random.default_rng(0))
    state = optimizer.init(params)
    rng, batches = np.random.default_rng(1), endless_batches(cell)
    spent: dict[str, list[float]] = {}

    def timed(part: str, function: Callable[..., Any], *args: Any) -> Any:
        start = time.perf_counter()
        result = function(*args)
        spent.setdefault(part, []).append((time.perf_counter() - start) * 1e3)
        return result

    with fnnet.use_threads(cell.threads):
        time.sleep(PAUSE)
        for _ in range(num_steps):
            images, labels = timed("gather", next, batches)
            if cell.rotate or cell.zoom:
                images = timed("rotate", rotate, rng, images, cell.rotate, cell.zoom)
            if cell.components:
                images = timed("shift", shift, rng, images, cell.shift)
                images = timed("flip", flip, rng, images)
            if cell.color:
                images = timed("recolor", recolor, rng, images, cell.color)
            x = timed("preprocess", preprocess, fitted(cell), images, np.float32)
            y, cache = timed("fc forward", fnnet.fc_forward, x, params["W1"], params["b1"])
            timed("fc backward", fnnet.fc_backward, y, cache)
            scores = timed("forward", model.apply, params, x)
            timed("softmax loss", fnnet.softmax_loss, scores, labels)
            _, grads = timed("whole train_step", train_step, params, (x, labels), REG)
            params, state = timed("update", optimizer.update, params, state, grads)
    return {part: statistics.median(ts) for part, ts in spent.items()}


def bench_rest(threads: int, rounds: int, data_dir: Path | None) -> dict[str, float]:
    """Return the median seconds of the other cases."""
    cell = raw_cell(0.0, 500, 512, threads)
    model = fnnet.mlp(cell.dims, np.float32)
    params = model.init(np.random.default_rng(0))
    standardize = partial(preprocess, fitted(cell), dtype=np.float32)
    data = random_data(cell.shape)
    test = fnnet.Dataset(data.images[:10_000], data.labels[:10_000], data.class_names)
    evaluate = partial(fnnet.predict_scores, model, params, test, standardize)
    cases: dict[str, Callable[[], object]] = {
        "evaluation of 10,000 images, H=512": evaluate,
        "import numpy": partial(subprocess.check_call, [sys.executable, "-c", "import numpy"]),
        "import fnnet": partial(subprocess.check_call, [sys.executable, "-c", "import fnnet"]),
    }
    if data_dir is not None:
        cases["loading CIFAR-10"] = partial(fnnet.load_cifar10, data_dir)
    with fnnet.use_threads(threads):
        time.sleep(PAUSE)
        return {
            name: statistics.median(timeit.repeat(case, number=1, repeat=1 + rounds)[1:])
            for name, case in cases.items()  # the first run is the warm-up
        }


def draw_bars(axes: Axes, rows: list[Row], labels: list[str], relative: bool) -> None:
    """Draw the rates of some cells side by side, in thousands or as multiples of fnnet's."""
    names = [name for name in CONTENDERS if any(name in r["images_per_second"] for r in rows)]
    width = 0.84 / (len(names) - 1)
    for i, name in enumerate(names):
        _, label, color = CONTENDERS[name]
        cells = [(x, r["images_per_second"]) for x, r in enumerate(rows)]
        cells = [(x, rates) for x, rates in cells if name in rates]
        at = np.array([x for x, _ in cells])
        units = [rates["fnnet"]["median"] if relative else 1e3 for _, rates in cells]
        low, middle, high = np.transpose([[*rates[name].values()] for _, rates in cells]) / units
        if name == "matrix products":
            axes.hlines(middle, at - 0.46, at + 0.46, color, label=label)
        else:
            x, spread = at - 0.42 + (i + 0.5) * width, (middle - low, high - middle)
            axes.bar(x, middle, 0.94 * width, color=color, label=label)
            axes.errorbar(x, middle, spread, fmt="none", ecolor="0.4", elinewidth=1.2)
    axes.set_xticks(range(len(rows)), labels)
    axes.set_ylabel("multiple of fnnet's rate" if relative else "thousand images / s", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)


def draw(rows: list[Row], path: Path) -> None:
    """Draw the rates by cell, the bare matrix products as the ceiling."""
    presets = [row for row in rows if row["group"] == "presets"]
    widths = sorted({row["widths"] for row in rows if row not in presets})
    height = 2 + bool(presets)
    figure = Figure(figsize=(1 + 4 * len(widths), 2.8 * height), layout="constrained")
    grid = figure.add_gridspec(height, len(widths))
    for (i, momentum), (j, h) in itertools.product(enumerate(MOMENTA), enumerate(widths)):
        chosen = (f"momentum {momentum:g}", h)
        cells = [row for row in rows if (row["group"], row["widths"]) == chosen]
        axes = figure.add_subplot(grid[i, j])
        draw_bars(axes, cells, [f"N = {row['n']}" for row in cells], relative=False)
        axes.set_title(f"hidden width {h[0]}, momentum {momentum:g}", fontsize=10)
    if presets:
        axes = figure.add_subplot(grid[2, :])
        labels = [row["name"].removeprefix("preset ") for row in presets]
        draw_bars(axes, presets, labels, relative=True)
        axes.set_title("training as a preset does, images changed at random", fontsize=10)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns = 3 * len(widths)
    figure.legend(handles, labels, frameon=False, ncols=columns, loc="outside upper center")
    save(figure, path)


def main(
    peers: tuple[Literal["torch", "jax", "sklearn"], ...] = (),
    batch_sizes: tuple[int, ...] = (32, 128, 512),
    widths: tuple[int, ...] = (64, 512),
    presets: tuple[Preset, ...] = PRESETS,
    rounds: int = 7,
    seconds: float = 0.4,
    num_threads: int = default_num_threads(),
    data_dir: Path | None = None,
    json_file: Path = Path("bench.json"),
    plot_file: Path = Path("bench.png"),
) -> None:
    """Time training steps, their parts and the rest; compare with NumPy and other libraries.

    Args:
        peers: libraries to compare with; absent ones are left out.
        batch_sizes: N, each up to 4096, of nets that learn from raw pixels.
        widths: of their hidden layer, H, each up to 3072.
        presets: train as these do, too: their batches, augmentation, whitening and widths.
        rounds: turns of each contender; the median counts.
        seconds: length of a turn.
        num_threads: threads of each library but JAX; by default one for each processor.
        data_dir: folder of CIFAR-10, to time its loading.
        json_file: where to write every figure.
        plot_file: where to draw the rates: .pdf, .png or .svg.
    """
    batch_sizes = tuple(as_integer("batch_sizes", n, 1, NUM_FLOATS) for n in batch_sizes)
    widths = tuple(as_integer("widths", h, 1, D) for h in widths)
    if not batch_sizes or not widths:
        raise ValueError("batch_sizes and widths must not be empty")
    rounds = as_integer("rounds", rounds, low=1)
    seconds = as_number("seconds", seconds, low=0.001)
    threads = as_integer("num_threads", num_threads, 1, MAX_THREADS)
    check_writable("json_file", as_path("json_file", json_file))
    check_writable("plot_file", as_picture_path("plot_file", plot_file))
    if data_dir is not None:
        fnnet.load_cifar10(data_dir)  # a mistake shows now and not after minutes
    present = [peer for peer in PEERS if peer in peers and util.find_spec(peer)]
    for peer in sorted({*peers} - {*present}):
        print(f"{peer} is not installed", file=sys.stderr)

    processes = start_processes([n for n in CONTENDERS if n not in PEERS or n in present])
    own = processes["fnnet"]
    machine = own.submit(environment).result() | {"blas threads": str(threads)}
    print("\n".join(f"{key}: {value}" for key, value in machine.items()))

    print("\nimages a second, and the share of the bare matrix products in fnnet's time")
    print(f"{'':<28}" + "".join(f"{name:>16}" for name in processes) + "   share")
    grid = itertools.product(MOMENTA, sorted({*batch_sizes}), sorted({*widths}), [threads])
    cells = [raw_cell(*values) for values in grid]
    cells += [preset_cell(name, threads) for name in dict.fromkeys(presets)]
    rows = []
    for cell in tqdm(cells, disable=None):
        row = bench_cell(processes, cell, rounds, seconds)
        rates = (row["images_per_second"].get(name) for name in processes)
        words = "".join(f"{rate['median']:16.0f}" if rate else f"{'':16}" for rate in rates)
        share = row["ratio"]["matrix products"]["median"]
        tqdm.write(f"{cell.name:<28}{words}{share:8.0%}")
        rows.append(row)

    print("\nfnnet's rate divided by that of")
    comparison = compare(rows)
    for name, ratio in comparison.items():
        mean, smallest, cell_name = ratio.values()
        print(f"{name:<30} geometric mean {mean:.2f}, smallest {smallest:.2f} at {cell_name}")

    print("\nmilliseconds of the parts of a step")
    for row in rows:
        parts = ", ".join(f"{part} {ms:.2f}" for part, ms in row["parts_ms"].items())
        print(f"{row['name']:<27} {parts}")
    rest = own.submit(bench_rest, threads, rounds, data_dir).result()
    print("\n" + "\n".join(f"{name:<36} {1e3 * t:9.2f} ms" for name, t in rest.items()))

    result = {"machine": machine, "grid": rows, "comparison": comparison, "rest_s": rest}
    with atomic_write(json_file) as file:
        file.write(json.dumps(result, indent=1).encode())
    draw(rows, plot_file)
    print(f"wrote {json_file} and {plot_file}")


if __name__ == "__main__":
    run(lambda: tyro.cli(main))
