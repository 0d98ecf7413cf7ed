"""Draw validation accuracy against wall time: presets, scikit-learn and PyTorch on CIFAR-10.

Every trial trains on the same 45,000 images and is judged by the same 5,000. The peers get raw
standardized pixels, and each is tuned over its own learning rate. A trial's points are in the
table as soon as it ends; the next start goes on with the trials that are missing.
"""

import csv
import io
import math
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module, util
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tyro
from matplotlib.figure import Figure
from tqdm import tqdm

import fnnet
from fnnet.checks import Array, as_path, as_picture_path
from fnnet.commands.program import run
from fnnet.data.augmentation import tta_views
from fnnet.data.folders import default_data_dir
from fnnet.files import atomic_write, check_writable
from fnnet.plots import save
from fnnet.plots.figures import BLUE, GRAY, ORANGE, tidy, tint
from fnnet.runs.parts import load_parts
from fnnet.runs.presets import default_config
from fnnet.runs.run import prepare
from fnnet.threads import default_num_threads

Preset = Literal["homework", "fast", "minute", "best", "deep", "record"]
Peer = Literal["scikit-learn", "PyTorch"]

WIDTHS_OF = "minute"  # the preset whose hidden layers the peers have
PEER_EPOCHS = 10
RATES: dict[str, tuple[float, ...]] = {  # as many for each
    "scikit-learn": (3e-5, 1e-4, 3e-4),  # Adam and batches of 200, its defaults
    "PyTorch": (0.003, 0.01, 0.03),  # SGD with momentum 0.9, decaying to 0
}
MODULES = {"scikit-learn": "sklearn", "PyTorch": "torch"}
PEER_COLORS = {"scikit-learn": ORANGE, "PyTorch": GRAY}


class Trial(NamedTuple):
    """A training from beginning to end."""

    contender: str
    learning_rate: float
    num_epochs: int


class Point(NamedTuple):
    """Where a trial stood after an epoch; times and accuracies from 0 seconds and from 0 to 1."""

    contender: str
    learning_rate: float
    num_epochs: int
    epoch: int
    views: int
    """Views of each image over which the scores were averaged."""
    seconds: float
    """Since the beginning, with loading, preprocessing and all evaluations."""
    val_accuracy: float

    @property
    def trial(self) -> Trial:
        """The trial that it belongs to."""
        return Trial(self.contender, self.learning_rate, self.num_epochs)


Progress = Iterator[tuple[int, int, float]]
"""(epoch, views, validation accuracy) after each epoch, lazily: asking for one trains."""


def train_preset(trial: Trial, data_dir: Path, num_threads: int) -> Progress:
    config = default_config(trial.contender, data_dir=data_dir, num_threads=num_threads)
    prepared = prepare(config)
    views = len(tta_views(config.tta_flip, 0))
    for epoch, (state, history) in enumerate(prepared.epochs(), 1):  # noqa: B007
        yield epoch, views, float(history.val_accuracy[-1])
    if config.tta_shift:
        views = len(tta_views(config.tta_flip, config.tta_shift))
        yield epoch, views, prepared.accuracy(state.params, prepared.val, config.tta_shift)


def raw_pixels(data_dir: Path) -> tuple[Array, Array, Array, Array]:
    """Return standardized pixels (N, D) and labels (N,) to train on, and those to validate on."""
    train, val = load_parts(default_config(WIDTHS_OF, data_dir=data_dir))
    stats = fnnet.fit_standardization(train)
    x, x_val = (fnnet.standardize(stats, part.images, np.float32) for part in (train, val))
    return np.array(x), np.array(train.labels), np.array(x_val), np.array(val.labels)


def train_sklearn(trial: Trial, data_dir: Path, num_threads: int) -> Progress:
    x, labels, x_val, val_labels = raw_pixels(data_dir)
    model = import_module("sklearn.neural_network").MLPClassifier(
        default_config(WIDTHS_OF).hidden_dim,
        learning_rate_init=trial.learning_rate,
        random_state=0,
    )
    for epoch in range(1, trial.num_epochs + 1):
        model.partial_fit(x, labels, classes=np.unique(labels))
        yield epoch, 1, float(np.mean(model.predict(x_val) == val_labels))


def train_torch(trial: Trial, data_dir: Path, num_threads: int) -> Progress:
    torch = import_module("torch")
    torch.set_num_threads(num_threads)
    torch.manual_seed(0)
    x, labels, x_val, val_labels = map(torch.from_numpy, raw_pixels(data_dir))
    widths = [x.shape[1], *default_config(WIDTHS_OF).hidden_dim]
    parts: list[Any] = []
    for width, following in pairwise(widths):
        parts += [torch.nn.Linear(width, following), torch.nn.ReLU()]
    model = torch.nn.Sequential(*parts, torch.nn.Linear(widths[-1], int(labels.max()) + 1))
    optimizer = torch.optim.SGD(
        model.parameters(), lr=trial.learning_rate, momentum=0.9, weight_decay=5e-4, fused=True
    )
    batch_size = 128
    num_steps = trial.num_epochs * math.ceil(len(x) / batch_size)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, num_steps)
    for epoch in range(1, trial.num_epochs + 1):
        for batch in torch.randperm(len(x)).split(batch_size):
            loss = torch.nn.functional.cross_entropy(model(x[batch]), labels[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            found = model(x_val).argmax(dim=1)
        yield epoch, 1, float((found == val_labels).double().mean())


TRAIN: dict[str, Callable[[Trial, Path, int], Progress]] = {
    "scikit-learn": train_sklearn,
    "PyTorch": train_torch,
}


def run_trial(trial: Trial, data_dir: Path, num_threads: int) -> list[Point]:
    """Train from beginning to end and return a point for each evaluation."""
    start = time.perf_counter()
    with fnnet.use_threads(num_threads):
        progress = TRAIN.get(trial.contender, train_preset)(trial, data_dir, num_threads)
        bar = tqdm(progress, trial.contender, trial.num_epochs, leave=False, disable=None)
        return [
            Point(*trial, epoch, views, round(time.perf_counter() - start, 3), accuracy)
            for epoch, views, accuracy in bar
        ]


def read_points(path: Path) -> list[Point]:
    """Return the points of a table that this script wrote; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if tuple(header) != Point._fields:
        raise ValueError(f"{path} is not a table of this script: its first line is {header}")
    kinds = (str, float, int, int, int, float, float)
    try:
        return [Point(*(kind(word) for kind, word in zip(kinds, row, strict=True))) for row in rows]
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def write_points(path: Path, points: list[Point]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([Point._fields, *points])
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def best_trials(points: list[Point]) -> dict[str, Trial]:
    """Return, by contender, the trial with the highest validation accuracy at its end."""
    ends = {point.trial: point for point in points}
    ranked = sorted(ends.values(), key=lambda point: point.val_accuracy)
    return {point.contender: point.trial for point in ranked}


def draw(points: list[Point]) -> Figure:
    """Draw each contender's best trial, its other trials faintly, and where it ends."""
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.subplots()
    best = best_trials(points)
    presets = [name for name in best if name not in RATES]
    presets.sort(key=lambda name: max(p.seconds for p in points if p.contender == name))
    for trial in dict.fromkeys(point.trial for point in points):
        name = trial.contender
        own = [point for point in points if point.trial == trial]
        chosen = trial == best[name]
        if name in PEER_COLORS:
            color = PEER_COLORS[name]
        else:  # the longer a preset trains, the darker
            color = tint(BLUE, 0.5 + 0.5 * (1 + presets.index(name)) / len(presets))
        curve = [point for point in own if point.views == own[0].views]
        x, y = [p.seconds for p in curve], [100 * p.val_accuracy for p in curve]
        axes.plot(x, y, color=color if chosen else tint(color, 0.3), linewidth=2 if chosen else 1)
        if not chosen:
            continue
        end = own[-1]
        last = (end.seconds, 100 * end.val_accuracy)
        axes.plot(
            [x[-1], last[0]], [y[-1], last[1]], color=color, linewidth=1, linestyle=":", zorder=1
        )
        axes.plot(*last, color=color, marker="o", markersize=6)
        label = f"{name} {last[1]:.1f}"
        text = axes.annotate(label, last, (8, 0), textcoords="offset points", va="center")
        text.set(color=color, zorder=3)
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0})
    axes.set(xscale="log", xlabel="seconds, everything included", ylabel="validation accuracy (%)")
    axes.set_xlim(right=4 * axes.get_xlim()[1])  # room for the names
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_title("CIFAR-10: accuracy against time; dotted: scores averaged over views")
    axes.grid(alpha=0.25)
    tidy(axes)
    return figure


def main(
    presets: tuple[Preset, ...] = ("homework", "fast", "minute", "best", "deep"),
    peers: tuple[Peer, ...] = (),
    data_dir: Path | None = None,
    num_threads: int = default_num_threads(),
    csv_file: Path = Path("curves.csv"),
    plot_file: Path = Path("curves.png"),
) -> None:
    """Train presets and peers, and draw their validation accuracy against wall time.

    Args:
        presets: trained with the settings of `fnnet train --preset`; record takes an hour more.
        peers: libraries to compare with; absent ones are left out.
        data_dir: folder that holds CIFAR-10.
        num_threads: threads of each library.
        csv_file: the table; its trials are not run again.
        plot_file: the picture: .pdf, .png or .svg.
    """
    data_dir = default_data_dir() if data_dir is None else data_dir
    check_writable("csv_file", as_path("csv_file", csv_file))
    check_writable("plot_file", as_picture_path("plot_file", plot_file))
    points = read_points(csv_file)
    present = [name for name in peers if util.find_spec(MODULES[name])]
    for name in peers:
        if name not in present:
            print(f"{name} is not installed", file=sys.stderr)
    configs = [(name, default_config(name)) for name in presets]
    trials = [Trial(name, config.learning_rate, config.num_epochs) for name, config in configs]
    trials += [Trial(name, rate, PEER_EPOCHS) for name in present for rate in RATES[name]]
    for trial in trials:
        own = [point for point in points if point.trial == trial]
        if not own:
            own = run_trial(trial, data_dir, num_threads)
            points += own
            write_points(csv_file, points)
        end = own[-1]
        print(
            f"{trial.contender:<12} learning rate {trial.learning_rate:<6g} "
            f"{end.val_accuracy:7.2%} after {end.seconds:.0f} s",
            flush=True,
        )
    if not points:
        raise ValueError("there is no trial to draw: name presets or peers")
    save(draw(points), plot_file)
    print(f"wrote {csv_file} and {plot_file}")


if __name__ == "__main__":
    run(lambda: tyro.cli(main))
