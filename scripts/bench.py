"""Time training beside plain NumPy, bare matrix products and, where installed, other libraries.

Contenders, each in a process of its own, take turns (A B C A B C …), so that a machine
whose speed drifts slows all of them; what counts is the ratio within a round, and its median.
A turn begins with a pause, because libraries keep their threads spinning for a while after
they are done, and with a warm-up.
"""

import itertools
import json
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
from matplotlib.figure import Figure
from tqdm import tqdm

import fnnet
from fnnet.checks import Array, as_integer, as_number, as_path, as_picture_path
from fnnet.commands.program import run
from fnnet.files import atomic_write, check_writable
from fnnet.limits import MAX_THREADS
from fnnet.plots import save
from fnnet.runs.provenance import environment
from fnnet.threads import default_num_threads
from fnnet.training import fold, init_state, make_update

NUM_IMAGES, D, C = 50_000, 3072, 10  # as CIFAR-10
NUM_FLOATS = 4096  # images that scikit-learn, which takes no bytes, gets as floats
LEARNING_RATE, REG = 0.01, 1e-3
MOMENTA = (0.0, 0.9)
PAUSE, WARM_UP = 0.25, 0.1  # seconds
CELL_NAME = "momentum {momentum:g}, N={n}, H={h}"

Row = dict[str, Any]
"""What was measured in a cell of the grid."""
Steps = Iterator[tuple[int, float, Sequence[Any]]]
"""Asking for an item trains: it is (steps so far, last loss, the new W1, b1, W2, b2)."""


class Cell(NamedTuple):
    """A cell of the grid: a net with h hidden units learns from batches of n images."""

    momentum: float
    n: int
    h: int
    threads: int


@cache
def random_data() -> tuple[fnnet.Dataset, fnnet.Standardization]:
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(NUM_IMAGES, D), dtype=np.uint8)
    dataset = fnnet.Dataset(images, rng.integers(C, size=NUM_IMAGES), tuple("0123456789"))
    return dataset, fnnet.fit_standardization(dataset)


def endless_batches(n: int) -> Iterator[tuple[Array, Array]]:
    """Yield images (n, D) uint8 and labels (n,), the same ones for each contender."""
    for epoch in itertools.count():
        batches = fnnet.minibatches(random_data()[0], n, seed=0, epoch=epoch)
        yield from itertools.islice(batches, NUM_IMAGES // n)  # without a smaller last one


def initial_params(h: int) -> list[Array]:
    return [*fnnet.two_layer_net(D, h, C, np.float32).init(np.random.default_rng(0)).values()]


def fnnet_steps(momentum: float, n: int, h: int, threads: int) -> Steps:
    model = fnnet.two_layer_net(D, h, C, np.float32)
    optimizer = fnnet.sgd(LEARNING_RATE, momentum)
    step = make_update(fnnet.make_train_step(model), optimizer, REG)
    standardize = partial(fnnet.standardize, random_data()[1], dtype=np.float32)
    batches = ((standardize(images), labels) for images, labels in endless_batches(n))
    for state in fold(step, init_state(model, optimizer, np.random.default_rng(0)), batches):
        yield 1, state.loss, [*state.params.values()]


def by_hand_steps(momentum: float, n: int, h: int, threads: int) -> Steps:
    """Train in plain NumPy: the textbook's formulas, a new array for each result, no checks."""
    stats, one_hot = random_data()[1], np.eye(C, dtype=np.float32)
    mean, std = stats.mean.astype(np.float32), stats.std.astype(np.float32)
    params = initial_params(h)
    velocity = [np.zeros_like(p) for p in params]
    for images, labels in endless_batches(n):
        w1, b1, w2, b2 = params
        x, y = (images - mean) / std, one_hot[labels]
        hidden = np.maximum(x @ w1 + b1, 0)
        scores = hidden @ w2 + b2
        scores = scores - scores.max(axis=1, keepdims=True)
        log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        penalty = REG / 2 * (np.vdot(w1, w1) + np.vdot(w2, w2))
        loss = float(-(y * log_p).sum() / n + penalty)

        grad_scores = (np.exp(log_p) - y) / n
        grad_hidden = (grad_scores @ w2.T) * (hidden > 0)
        grads = [x.T @ grad_hidden + REG * w1, grad_hidden.sum(axis=0)]
        grads += [hidden.T @ grad_scores + REG * w2, grad_scores.sum(axis=0)]
        if momentum:
            pairs = zip(velocity, grads, strict=True)
            velocity = [momentum * v - LEARNING_RATE * g for v, g in pairs]
            params = [p + v for p, v in zip(params, velocity, strict=True)]
        else:  # NumPy computes p + -g in the memory of -g, but p - g in new memory
            params = [p + -LEARNING_RATE * g for p, g in zip(params, grads, strict=True)]
        yield 1, loss, params


def products_steps(momentum: float, n: int, h: int, threads: int) -> Steps:
    """Compute only the two large matrix products of a step: x W1, and the gradient of W1."""
    rng = np.random.default_rng(0)
    x, w, grad = (rng.standard_normal(shape, np.float32) for shape in ((n, D), (D, h), (n, h)))
    y, grad_w = np.empty((n, h), np.float32), np.empty((D, h), np.float32)
    while True:
        np.matmul(x, w, out=y)
        np.matmul(x.T, grad, out=grad_w)
        yield 1, 0.0, []


def torch_steps(momentum: float, n: int, h: int, threads: int) -> Steps:
    torch = import_module("torch")
    torch.set_num_threads(threads)
    stats = random_data()[1]
    mean, scale = (torch.tensor(a, dtype=torch.float32) for a in (stats.mean, 1 / stats.std))
    w1, b1, w2, b2 = (torch.tensor(p, requires_grad=True) for p in initial_params(h))
    groups = [{"params": [w1, w2], "weight_decay": REG}, {"params": [b1, b2]}]
    optimizer = torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=momentum, fused=True)
    params = [p.detach() for p in (w1, b1, w2, b2)]  # the same memory
    for images, labels in endless_batches(n):
        x = torch.from_numpy(images).float().sub_(mean).mul_(scale)
        scores = torch.addmm(b2, torch.relu(torch.addmm(b1, x, w1)), w2)
        loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        yield 1, loss.item(), params  # L2 is not in the loss but in the optimizer


def jax_steps(momentum: float, n: int, h: int, threads: int) -> Steps:
    jax = import_module("jax")  # takes its threads from the processors it may use
    jnp, stats = jax.numpy, random_data()[1]
    mean, scale = stats.mean.astype(np.float32), (1 / stats.std).astype(np.float32)

    def loss_of(params: Any, x: Any, y: Any) -> Any:
        w1, b1, w2, b2 = params
        log_p = jax.nn.log_softmax(jax.nn.relu(x @ w1 + b1) @ w2 + b2)
        penalty = REG / 2 * ((w1**2).sum() + (w2**2).sum())
        return penalty - jnp.take_along_axis(log_p, y[:, None], 1).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(params: Any, velocity: Any, images: Any, y: Any) -> Any:
        x = (images.astype(jnp.float32) - mean) * scale
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        if momentum:
            grads = velocity = [momentum * v + g for v, g in zip(velocity, grads, strict=True)]
        return [p - LEARNING_RATE * g for p, g in zip(params, grads, strict=True)], velocity, loss

    params = [jnp.array(p) for p in initial_params(h)]
    velocity = [jnp.zeros_like(p) for p in params] if momentum else []
    for images, labels in endless_batches(n):
        params, velocity, loss = update(params, velocity, images, labels)
        yield 1, float(loss), params


def sklearn_steps(momentum: float, n: int, h: int, threads: int) -> Steps:
    network = import_module("sklearn.neural_network")
    warnings.simplefilter("ignore")  # "maximum iterations reached": one epoch at a time
    part, (dataset, stats) = slice(0, NUM_FLOATS // n * n), random_data()
    x = np.array(fnnet.standardize(stats, dataset.images[part], np.float32))
    model = network.MLPClassifier(
        (h,), solver="sgd", alpha=REG * n, batch_size=n, learning_rate_init=LEARNING_RATE,
        momentum=momentum, nesterovs_momentum=False, max_iter=1, warm_start=True,
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
    steps = CONTENDERS[name][0](*cell)
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
    times: dict[str, list[float]] = {name: [] for name in processes}
    for _, (name, process) in itertools.product(range(rounds), processes.items()):
        times[name].append(process.submit(take_turn, name, cell, seconds).result())
    rates = {name: quartiles(np.divide(cell.n, ts)) for name, ts in times.items()}
    own = times.pop("fnnet")
    ratios = {name: quartiles(np.divide(ts, own)) for name, ts in times.items()}
    if peers := [ratios[name] for name in PEERS if name in ratios]:
        ratios["fastest peer"] = min(peers, key=lambda ratio: ratio["median"])
    parts = processes["fnnet"].submit(bench_parts, cell, 10 * rounds).result()
    return cell._asdict() | {"images_per_second": rates, "ratio": ratios, "parts_ms": parts}


def compare(rows: list[Row]) -> dict[str, dict[str, Any]]:
    """Return the geometric mean and the smallest ratio, by momentum and over all cells."""
    groups = {f"momentum {momentum:g}": (momentum,) for momentum in MOMENTA} | {"all": MOMENTA}
    comparison = {}
    for name, (group, momenta) in itertools.product(rows[0]["ratio"], groups.items()):
        cells = [row for row in rows if row["momentum"] in momenta]
        ratios = [cell["ratio"][name]["median"] for cell in cells]
        low, mean = min(ratios), statistics.geometric_mean(ratios)
        where = CELL_NAME.format(**cells[ratios.index(low)])
        comparison[f"{name}, {group}"] = {"mean": mean, "smallest": low, "smallest_cell": where}
    return comparison


def bench_parts(cell: Cell, num_steps: int) -> dict[str, float]:
    """Return the median milliseconds of each part of a step."""
    model = fnnet.two_layer_net(D, cell.h, C, np.float32)
    optimizer = fnnet.sgd(LEARNING_RATE, cell.momentum)
    train_step = fnnet.make_train_step(model)
    params = model.init(np.random.default_rng(0))
    state = optimizer.init(params)
    stats, batches = random_data()[1], endless_batches(cell.n)
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
            x = timed("standardize", fnnet.standardize, stats, images, np.float32)
            y, cache = timed("fc forward", fnnet.fc_forward, x, params["W1"], params["b1"])
            timed("fc backward", fnnet.fc_backward, y, cache)
            scores = timed("forward", model.apply, params, x)
            timed("softmax loss", fnnet.softmax_loss, scores, labels)
            _, grads = timed("whole train_step", train_step, params, (x, labels), REG)
            params, state = timed("update", optimizer.update, params, state, grads)
    return {part: statistics.median(ts) for part, ts in spent.items()}


def bench_rest(threads: int, rounds: int, data_dir: Path | None) -> dict[str, float]:
    """Return the median seconds of the other cases."""
    dataset, stats = random_data()
    model = fnnet.two_layer_net(D, 512, C, np.float32)
    params = model.init(np.random.default_rng(0))
    standardize = partial(fnnet.standardize, stats, dtype=np.float32)
    evaluate = partial(fnnet.predict_scores, model, params, dataset, standardize)
    cases: dict[str, Callable[[], object]] = {
        "evaluation of 50,000 images, H=512": evaluate,
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


def draw(rows: list[Row], path: Path) -> None:
    """Draw the rates by cell, the bare matrix products as the ceiling."""
    names = [name for name in CONTENDERS if name in rows[0]["images_per_second"]]
    widths = sorted({row["h"] for row in rows})
    figure = Figure(figsize=(1 + 4 * len(widths), 5.6), layout="constrained")
    panels = figure.subplots(2, len(widths), sharex=True, sharey="col", squeeze=False).ravel()
    for axes, (momentum, h) in zip(panels, itertools.product(MOMENTA, widths), strict=True):
        cells = [row for row in rows if (row["momentum"], row["h"]) == (momentum, h)]
        at, width = np.arange(len(cells)), 0.84 / (len(names) - 1)
        for i, name in enumerate(names):
            _, label, color = CONTENDERS[name]
            rates = [[*cell["images_per_second"][name].values()] for cell in cells]
            low, middle, high = np.transpose(rates) / 1e3
            if name == "matrix products":
                axes.hlines(middle, at - 0.46, at + 0.46, color, label=label)
            else:
                x, spread = at - 0.42 + (i + 0.5) * width, (middle - low, high - middle)
                axes.bar(x, middle, 0.94 * width, color=color, label=label)
                axes.errorbar(x, middle, spread, fmt="none", ecolor="0.4", elinewidth=1.2)
        axes.set_xticks(at, [f"N = {cell['n']}" for cell in cells])
        axes.set_title(f"hidden width {h}, momentum {momentum:g}", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
        axes.set_axisbelow(True)
    figure.supylabel("thousand images / s", fontsize=10)
    entries, columns = panels[0].get_legend_handles_labels(), 3 * len(widths)
    figure.legend(*entries, frameon=False, ncols=columns, loc="outside upper center")
    save(figure, path)


def main(
    peers: tuple[Literal["torch", "jax", "sklearn"], ...] = (),
    batch_sizes: tuple[int, ...] = (32, 128, 512),
    widths: tuple[int, ...] = (64, 512),
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
        batch_sizes: N, each up to 4096.
        widths: of the hidden layer, H, each up to 3072.
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
    print("momentum     N     H" + "".join(f"{name:>16}" for name in processes) + "   share")
    grid = itertools.product(MOMENTA, sorted({*batch_sizes}), sorted({*widths}), [threads])
    rows = []
    for cell in tqdm([Cell(*values) for values in grid], disable=None):
        row = bench_cell(processes, cell, rounds, seconds)
        rates = "".join(f"{rate['median']:16.0f}" for rate in row["images_per_second"].values())
        share = row["ratio"]["matrix products"]["median"]
        tqdm.write(f"{row['momentum']:8g}{row['n']:6}{row['h']:6}{rates}{share:8.0%}")
        rows.append(row)

    print("\nfnnet's rate divided by that of")
    comparison = compare(rows)
    for name, ratio in comparison.items():
        mean, smallest, cell_name = ratio.values()
        print(f"{name:<30} geometric mean {mean:.2f}, smallest {smallest:.2f} at {cell_name}")

    print("\nmilliseconds of the parts of a step")
    for row in rows:
        parts = ", ".join(f"{part} {ms:.2f}" for part, ms in row["parts_ms"].items())
        print(f"{CELL_NAME.format(**row):<27} {parts}")
    rest = own.submit(bench_rest, threads, rounds, data_dir).result()
    print("\n" + "\n".join(f"{name:<36} {1e3 * t:9.2f} ms" for name, t in rest.items()))

    result = {"machine": machine, "grid": rows, "comparison": comparison, "rest_s": rest}
    with atomic_write(json_file) as file:
        file.write(json.dumps(result, indent=1).encode())
    draw(rows, plot_file)
    print(f"wrote {json_file} and {plot_file}")


if __name__ == "__main__":
    run(lambda: tyro.cli(main))
