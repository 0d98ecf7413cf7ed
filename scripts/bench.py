"""Time training against the machine's matrix products and, where installed, other libraries.

Contenders, each in a process of its own, take turns (A B C A B C …), so that a machine
whose speed drifts slows all of them; what counts is the ratio within a turn, and its median.
"""

import gc
import importlib
import importlib.util
import itertools
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from threadpoolctl import threadpool_info
from tqdm import tqdm

from fnnet import (
    Dataset,
    fc_backward,
    fc_forward,
    fit_standardization,
    load_cifar10,
    make_train_step,
    minibatches,
    score_dataset,
    sgd,
    softmax_loss,
    standardize,
    two_layer_net,
    use_threads,
)
from fnnet.checks import as_integer, as_number, as_path, as_picture_path
from fnnet.commands.program import run
from fnnet.files import atomic_write, check_writable
from fnnet.limits import MAX_THREADS
from fnnet.threads import default_num_threads
from fnnet.training import fold, init_state, make_step

NUM_IMAGES, D, C = 20_000, 3072, 10
GRID = [(n, h) for n in (32, 128, 512) for h in (64, 512)]
LEARNING_RATE, REG = 0.01, 1e-3


Step = Callable[[], int | None]
"""A training step, to be called over and over; it returns how many it took if more than one."""


def serve(name: str, threads: int, seconds: float, connection: Connection) -> None:
    """Time a contender in a process of its own, where the threads of no other disturb it.

    A cell of the grid on the connection makes it ready for its steps there; None makes it
    take a turn, which answers with the median milliseconds of a step.
    """
    dataset = random_images()
    step: Step = int
    with use_threads(threads) if name == "fnnet" else nullcontext():
        for message in iter(connection.recv, "end"):
            if message is not None:
                step = CONTENDERS[name](dataset, *message, threads)
                continue
            step()
            spent: list[float] = []
            end = time.perf_counter() + seconds
            while time.perf_counter() < end or len(spent) < 3:
                start = time.perf_counter()
                num_steps = step() or 1
                spent.append((time.perf_counter() - start) / num_steps)
            connection.send(statistics.median(spent) * 1e3)


@contextmanager
def contenders(names: list[str], threads: int, seconds: float) -> Iterator[dict[str, Connection]]:
    """Start a process for each contender, and end them all."""
    context = multiprocessing.get_context("spawn")
    connections = {}
    for name in names:
        connections[name], theirs = context.Pipe()
        context.Process(target=serve, args=(name, threads, seconds, theirs), daemon=True).start()
        theirs.close()
    yield connections
    for connection in connections.values():
        connection.send("end")


def take_turns(connections: dict[str, Connection], rounds: int) -> dict[str, list[float]]:
    """Return for each contender the median milliseconds of a step, one for each round."""
    times: dict[str, list[float]] = {name: [] for name in connections}
    for _ in range(rounds + 1):
        for name, connection in connections.items():
            connection.send(None)
            times[name].append(connection.recv())
    return {name: spent[1:] for name, spent in times.items()}  # the first round warms up


def random_images() -> Dataset:
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(NUM_IMAGES, D), dtype=np.uint8)
    return Dataset(images, rng.integers(C, size=NUM_IMAGES), tuple("0123456789"))


def endless_batches(dataset: Dataset, n: int) -> Iterator[Any]:
    epoch = 0
    while True:
        # islice leaves out the partial batch at the end, which would take less time
        yield from islice(minibatches(dataset, n, seed=0, epoch=epoch), NUM_IMAGES // n)
        epoch += 1


def initial_params(h: int) -> list[Any]:
    params = two_layer_net(D, h, C, np.float32).init(np.random.default_rng(0))
    return [params[name].copy() for name in ("W1", "b1", "W2", "b2")]


def fnnet_step(dataset: Dataset, n: int, h: int, momentum: float, threads: int) -> Step:
    stats = fit_standardization(dataset)
    model = two_layer_net(D, h, C, np.float32)
    optimizer = sgd(LEARNING_RATE, momentum)
    batches = (
        (standardize(stats, images, np.float32), labels)
        for images, labels in endless_batches(dataset, n)
    )
    states = fold(
        make_step(make_train_step(model), optimizer, REG),
        init_state(model, optimizer, np.random.default_rng(0)),
        batches,
    )

    def step() -> None:
        next(states)

    return step


def products_step(_: Dataset, n: int, h: int, momentum: float, threads: int) -> Step:
    """The two matrix products without which no step can be: forward and weight gradient."""
    rng = np.random.default_rng(0)
    x, w, grad = (rng.standard_normal(shape, np.float32) for shape in ((n, D), (D, h), (n, h)))
    y, grad_w = np.empty((n, h), np.float32), np.empty((D, h), np.float32)

    def step() -> None:
        np.matmul(x, w, out=y)
        np.matmul(x.T, grad, out=grad_w)

    return step


def torch_step(dataset: Dataset, n: int, h: int, momentum: float, threads: int) -> Step:
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    stats = fit_standardization(dataset)
    images, labels = torch.tensor(dataset.images), torch.tensor(dataset.labels)
    mean = torch.tensor(stats.mean, dtype=torch.float32)
    scale = torch.tensor(1 / stats.std, dtype=torch.float32)
    w1, b1, w2, b2 = (torch.tensor(p, requires_grad=True) for p in initial_params(h))
    groups = [{"params": [w1, w2], "weight_decay": REG}, {"params": [b1, b2]}]
    optimizer = torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=momentum, fused=True)
    order = iter(endless_orders(n))

    def step() -> None:
        batch = torch.from_numpy(next(order))
        x = images[batch].float().sub_(mean).mul_(scale)
        hidden = torch.relu(torch.addmm(b1, x, w1))
        loss = torch.nn.functional.cross_entropy(torch.addmm(b2, hidden, w2), labels[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def jax_step(dataset: Dataset, n: int, h: int, momentum: float, threads: int) -> Step:
    jax = importlib.import_module("jax")  # takes its threads from the processors it may use
    jnp = jax.numpy
    stats = fit_standardization(dataset)
    images, labels = dataset.images, np.asarray(dataset.labels, np.int32)
    mean, scale = stats.mean.astype(np.float32), (1 / stats.std).astype(np.float32)

    def loss_of(params: Any, x: Any, y: Any) -> Any:
        w1, b1, w2, b2 = params
        log_p = jax.nn.log_softmax(jax.nn.relu(x @ w1 + b1) @ w2 + b2)
        data_loss = -jnp.mean(jnp.take_along_axis(log_p, y[:, None], 1))
        return data_loss + REG / 2 * ((w1**2).sum() + (w2**2).sum())

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(params: Any, velocity: Any, images: Any, y: Any) -> Any:
        x = (images.astype(jnp.float32) - mean) * scale
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        if momentum:
            grads = velocity = [momentum * v + g for v, g in zip(velocity, grads, strict=True)]
        return [p - LEARNING_RATE * g for p, g in zip(params, grads, strict=True)], velocity, loss

    params = [jnp.asarray(p) for p in initial_params(h)]
    velocity = [jnp.zeros_like(p) for p in params] if momentum else []
    order = iter(endless_orders(n))

    def step() -> None:
        nonlocal params, velocity
        batch = next(order)
        params, velocity, loss = update(params, velocity, images[batch], labels[batch])
        float(loss)

    return step


def sklearn_step(dataset: Dataset, n: int, h: int, momentum: float, threads: int) -> Step:
    network = importlib.import_module("sklearn.neural_network")
    # scikit-learn takes floats only, so it is spared the conversion.
    part = slice(0, 4096)
    x = np.array(standardize(fit_standardization(dataset), dataset.images[part], np.float32))
    model = network.MLPClassifier(
        (h,), solver="sgd", alpha=REG * n, batch_size=n, learning_rate_init=LEARNING_RATE,
        momentum=momentum, nesterovs_momentum=False, max_iter=1, warm_start=True,
    )  # fmt: skip
    warnings.simplefilter("ignore")  # "maximum iterations reached": it was asked for one

    def epoch() -> int:
        model.fit(x, dataset.labels[part])
        return len(x) // n

    return epoch


def endless_orders(n: int) -> Iterator[Any]:
    rng = np.random.default_rng(0)
    while True:
        order = rng.permutation(NUM_IMAGES)
        yield from (order[i : i + n] for i in range(0, NUM_IMAGES - n + 1, n))


PEERS = {"torch": torch_step, "jax": jax_step, "sklearn": sklearn_step}
CONTENDERS: dict[str, Callable[..., Step]] = {
    "fnnet": fnnet_step,
    "matrix products": products_step,
    **PEERS,
}


def describe_machine(threads: int) -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (cpuinfo.read_text().splitlines() if cpuinfo.exists() else [])
        if line.startswith("model name")
    ]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "processors": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": [f"{i['internal_api']} {i['version']}" for i in threadpool_info()],
    }


def median_and_spread(values: list[float]) -> dict[str, float]:
    """Return the median, and the first and third quartiles."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(middle), "low": float(low), "high": float(high)}


def bench_grid(
    peers: list[str], rounds: int, seconds: float, threads: int
) -> Iterator[dict[str, Any]]:
    """Yield one row for each momentum, batch size and width."""
    with contenders(["fnnet", "matrix products", *peers], threads, seconds) as connections:
        for momentum, (n, h) in itertools.product((0.0, 0.9), GRID):
            for connection in connections.values():
                connection.send((n, h, momentum))
            times = take_turns(connections, rounds)
            row: dict[str, Any] = {"momentum": momentum, "n": n, "h": h}
            row["images_per_second"] = {
                name: median_and_spread([n / t * 1e3 for t in ts]) for name, ts in times.items()
            }
            row["ratio"] = {
                name: median_and_spread(
                    [other / own for own, other in zip(times["fnnet"], ts, strict=True)]
                )
                for name, ts in times.items()
                if name != "fnnet"
            }
            yield row


def bench_parts(threads: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return the median milliseconds of each part of a step, by cell of the grid."""
    dataset = random_images()
    stats = fit_standardization(dataset)
    profile = {}
    for n, h in GRID:
        model = two_layer_net(D, h, C, np.float32)
        optimizer = sgd(LEARNING_RATE, momentum=0.9)
        train_step = make_train_step(model)
        params = model.init(np.random.default_rng(0))
        state = optimizer.init(params)
        batches = endless_batches(dataset, n)
        spent: dict[str, list[float]] = {}

        def timed(part: str, f: Callable[[], Any], spent: dict[str, list[float]] = spent) -> Any:
            start = time.perf_counter()
            result = f()
            spent.setdefault(part, []).append((time.perf_counter() - start) * 1e3)
            return result

        with use_threads(threads):
            for _ in range(10 * rounds):
                images, labels = timed("gather", partial(next, batches))
                x = timed("standardize", partial(standardize, stats, images, np.float32))
                scores = timed("forward", partial(model.apply, params, x))
                timed("softmax loss", partial(softmax_loss, scores, labels))
                _, grads = timed("whole train_step", partial(train_step, params, (x, labels), REG))
                params, state = timed(
                    "weight gradients and update", partial(optimizer.update, params, state, grads)
                )
        profile[f"N={n} H={h}"] = {part: statistics.median(ts) for part, ts in spent.items()}
    return profile


def bench_rest(threads: int, rounds: int, data_dir: Path | None) -> dict[str, float]:
    """Return the median seconds of the other cases."""
    rng = np.random.default_rng(0)
    x, w, b, grad = (
        rng.standard_normal(shape, np.float32) for shape in ((512, D), (D, 512), (512,), (512, 512))
    )
    scores, labels = rng.standard_normal((512, C), np.float32), rng.integers(C, size=512)
    images = rng.integers(256, size=(50_000, D), dtype=np.uint8)
    dataset = Dataset(images, np.zeros(50_000, np.int64), tuple("0123456789"))
    stats = fit_standardization(dataset)
    model = two_layer_net(D, 512, C, np.float32)
    params = model.init(rng)

    def seconds(f: Callable[[], object], times: int = rounds) -> float:
        f()
        spent = []
        for _ in range(times):
            start = time.perf_counter()
            f()
            spent.append(time.perf_counter() - start)
        return statistics.median(spent)

    def python(code: str) -> float:
        return seconds(partial(subprocess.run, [sys.executable, "-c", code], check=True))

    with use_threads(threads):
        rest = {
            "fc forward, N=512 H=512": seconds(partial(fc_forward, x, w, b)),
            "fc backward, N=512 H=512": seconds(partial(fc_backward, grad, fc_forward(x, w, b)[1])),
            "softmax loss, N=512": seconds(partial(softmax_loss, scores, labels)),
            "evaluation of 50,000 images, H=512": seconds(
                partial(
                    score_dataset,
                    model,
                    params,
                    dataset,
                    partial(standardize, stats, dtype=np.float32),
                ),
                times=3,
            ),
        }
    if data_dir is not None:
        rest["loading CIFAR-10"] = seconds(partial(load_cifar10, data_dir), times=3)
    rest["import fnnet, beyond import numpy"] = python("import fnnet") - python("import numpy")
    return rest


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the rates by cell, the bare matrix products as the ceiling."""
    from matplotlib.figure import Figure

    from fnnet.plots import save

    names = [name for name in rows[0]["images_per_second"] if name != "matrix products"]
    colors = ["#4878a8", "#d1605e", "#e7a13d", "#85b6b2"]
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey="col").ravel()
    for axes, (momentum, h) in zip(panels, itertools.product((0.0, 0.9), (64, 512)), strict=True):
        cells = [row for row in rows if (row["momentum"], row["h"]) == (momentum, h)]
        at = np.arange(len(cells))
        width = 0.8 / len(names)
        for i, (name, color) in enumerate(zip(names, colors, strict=False)):
            rates = [cell["images_per_second"][name] for cell in cells]
            middle = np.array([rate["median"] for rate in rates]) / 1e3
            spread = np.abs(np.array([[r["low"], r["high"]] for r in rates]).T / 1e3 - middle)
            x = at + (i - (len(names) - 1) / 2) * width
            axes.bar(x, middle, 0.92 * width, yerr=spread, color=color, label=name,
                     error_kw={"linewidth": 0.8})  # fmt: skip
        ceiling = [c["images_per_second"]["matrix products"]["median"] / 1e3 for c in cells]
        axes.hlines(ceiling, at - 0.45, at + 0.45, color="black", linewidth=1.2,
                    label="bare matrix products")  # fmt: skip
        axes.set_xticks(at, [f"N = {cell['n']}" for cell in cells])
        axes.set_title(f"hidden width {h}, momentum {momentum:g}", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
        axes.set_axisbelow(True)
    figure.supylabel("training on thousand images / s", fontsize=10)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, ncols=len(names) + 1, loc="outside upper center")
    save(figure, path)


def main(
    peers: tuple[str, ...] = (),
    rounds: int = 7,
    seconds: float = 0.4,
    num_threads: int | None = None,
    data_dir: Path | None = None,
    json_file: Path = Path("bench.json"),
    plot_file: Path = Path("bench.png"),
) -> None:
    """Time training steps, their parts and the rest; compare with other libraries.

    Args:
        peers: of torch, jax and sklearn, those to compare with; absent ones are left out.
        rounds: turns of each contender; the median counts.
        seconds: length of a turn.
        num_threads: threads of fnnet and of its peers; by default one for each processor.
        data_dir: folder of CIFAR-10, to time its loading.
        json_file: where to write every figure.
        plot_file: where to draw the rates: .pdf, .png or .svg.
    """
    for peer in set(peers) - set(PEERS):
        raise ValueError(f"peers must be of {', '.join(PEERS)}, found {peer}")
    rounds = as_integer("rounds", rounds, low=1)
    seconds = as_number("seconds", seconds, low=0.001)
    threads = default_num_threads() if num_threads is None else num_threads
    threads = as_integer("num_threads", threads, 1, MAX_THREADS)
    check_writable("json_file", as_path("json_file", json_file))
    check_writable("plot_file", as_picture_path("plot_file", plot_file))
    if data_dir is not None:
        load_cifar10(data_dir)  # a mistake shows now and not after minutes
    present = [peer for peer in peers if importlib.util.find_spec(peer)]
    for peer in sorted(set(peers) - set(present)):
        print(f"{peer} is not installed", file=sys.stderr)

    machine = describe_machine(threads)
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    rows = []
    for row in tqdm(
        bench_grid(present, rounds, seconds, threads), total=2 * len(GRID), disable=None
    ):
        gc.collect()
        rates = "  ".join(
            f"{name} {rate['median'] / 1e3:.1f}k" for name, rate in row["images_per_second"].items()
        )
        tqdm.write(f"momentum {row['momentum']:g}  N={row['n']:<3} H={row['h']:<3}  {rates}")
        rows.append(row)

    for names in [[peer] for peer in present] + [present] * (len(present) > 1):
        ratios = [min(row["ratio"][name]["median"] for name in names) for row in rows]
        what = names[0] if len(names) == 1 else "the fastest peer of each cell"
        mean = statistics.geometric_mean(ratios)
        print(f"against {what}: geometric mean {mean:.2f}, lowest {min(ratios):.2f}")
    shares = [row["ratio"]["matrix products"]["median"] for row in rows]
    print("share of the bare matrix products: " + ", ".join(f"{share:.0%}" for share in shares))

    parts = bench_parts(threads, rounds)
    print("\nmilliseconds of a step's parts, momentum 0.9")
    for cell, profile in parts.items():
        print(f"{cell:<12} " + ", ".join(f"{part} {ms:.2f}" for part, ms in profile.items()))
    rest = bench_rest(threads, rounds, data_dir)
    print()
    for name, value in rest.items():
        print(f"{name:<40} {value * 1e3:9.2f} ms")

    result = {"machine": machine, "grid": rows, "parts_ms": parts, "rest_s": rest}
    with atomic_write(json_file) as file:
        file.write(json.dumps(result, indent=1).encode())
    draw(rows, plot_file)
    print(f"wrote {json_file} and {plot_file}")


if __name__ == "__main__":
    run(lambda: tyro.cli(main))
