"""The picture of a search: which settings are good, and how the trials learned."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from fnnet.checks import as_number, check_type
from fnnet.plots.figures import BLUE, ORANGE, show_epochs, tidy, tint
from fnnet.search.halving import Result, rank
from fnnet.search.space import Choice, LogUniform, Range, Space

FLOAT = np.finfo(np.float64)
MOST_TICKS = 7
LEAST_SPAN = 1.0
"""Height of the accuracy axis in percent, at least: less would magnify the noise."""
BEST: dict[str, Any] = {
    "color": ORANGE, "marker": "*", "markersize": 14, "markeredgecolor": "black", "zorder": 4
}  # fmt: skip


@np.errstate(all="ignore")
def plot_search(
    results: Iterable[Result], settings: Sequence[Mapping[str, Any]], space: Space
) -> Figure:
    """Draw the accuracy of each trial against each setting, and the learning curves.

    The accuracy axis shows the range in which the better half of the trials differ. Trials
    below it are triangles at the lower edge, and those that diverged are crosses there.
    The longer a trial was trained, the darker it is. A star marks the best one.

    Args:
        results: what :func:`fnnet.successive_halving` yielded, or :func:`fnnet.rank`
            returned; at least one.
        settings: those of each trial, by trial number, as :func:`fnnet.search.sample` returns them.
        space: their ranges.

    Raises:
        TypeError: an argument is of another type.
        ValueError: `results` is empty, a trial lacks an accuracy or its settings, or a
            setting lies outside its range.
    """
    check_type("space", space, Space)
    ranking = _checked(results, settings)
    limits = _good_range([result for result in ranking if not result.diverged])
    heights = sorted({result.epochs for result in ranking}, reverse=True)
    strengths = np.linspace(1, 0.35, len(heights)).tolist()
    colors = {n: tint(BLUE, s) for n, s in reversed([*zip(heights, strengths, strict=True)])}
    trials = [_Trial(result, colors[result.epochs], limits) for result in reversed(ranking)]

    names = sorted(space.ranges)
    columns = 2 if len(names) in (1, 3) else 3  # two or four panels make a rectangle
    rows = math.ceil((len(names) + 1) / columns)
    figure = Figure(figsize=(4 * columns, 3.2 * rows + 0.4), layout="constrained")
    panels: list[Axes] = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes, name in zip(panels, names, strict=False):
        _draw_setting(axes, name, space.ranges[name], trials, settings)
    _draw_curves(panels[len(names)], trials)
    for axes in panels[: len(names) + 1]:
        axes.set_ylim(*limits)
        axes.set_ylabel("validation accuracy (%)")
        tidy(axes)
    for axes in panels[len(names) + 1 :]:
        axes.set_axis_off()
    figure.legend(
        handles=_legend(trials, colors), loc="outside upper center", frameon=False,
        ncols=2 * columns + 1, columnspacing=1.2, handletextpad=0.3,
    )  # fmt: skip
    return figure


def _checked(results: Iterable[Result], settings: Sequence[Mapping[str, Any]]) -> Sequence[Result]:
    """Return one result for each trial, the best first."""
    if not isinstance(settings, tuple | list):
        raise TypeError(f"settings must be a list, found {type(settings).__name__}")
    listed = [*check_type("results", results, Iterable)]
    for result in listed:
        if isinstance(result, Result) and not result.diverged and not result.val_accuracy:
            raise ValueError(f"results must have accuracies, found none of trial {result.trial}")
    ranking = rank(listed)
    if not ranking:
        raise ValueError("results must hold at least one result, found none")
    for result in ranking:
        if result.trial >= len(settings):
            raise ValueError(
                f"settings must hold those of trial {result.trial}, found {len(settings)} trials"
            )
    return ranking


def _good_range(trials: Sequence[Result]) -> tuple[float, float]:
    """Return limits of the accuracy axis: from the median trial to the top of all curves."""
    if not trials:
        return 0.0, 100.0
    high = 100 * max(max(trial.val_accuracy) for trial in trials)
    # The lower one of two medians: then two trials are both shown.
    median = float(np.quantile([trial.score for trial in trials], 0.5, method="lower"))
    low = min(100 * median, high - LEAST_SPAN)
    span = high - low
    return max(low - 0.15 * span, -1.0), min(high + 0.1 * span, 101.0)


@frozen
class _Trial:
    """A result, and how it is drawn."""

    result: Result
    color: str
    limits: tuple[float, float]
    """Of the accuracy axis."""

    @property
    def height(self) -> float:
        """Where its marker is: at its accuracy, or at the lower edge."""
        return max(self.limits[0], 100 * self.result.score)

    @property
    def style(self) -> dict[str, Any]:
        """Its marker."""
        marker = "o"
        if self.result.diverged:
            marker = "x"
        elif 100 * self.result.score < self.limits[0]:
            marker = "v"
        return {
            "color": self.color, "marker": marker, "markersize": 6, "markeredgecolor": BLUE,
            "zorder": 3, "clip_on": False,  # at the edge, too, it is drawn whole
        }  # fmt: skip


def _draw_setting(
    axes: Axes,
    name: str,
    values: Range,
    trials: Sequence[_Trial],
    settings: Sequence[Mapping[str, Any]],
) -> None:
    """Draw the accuracy of each trial against one setting; the best trial is the last one."""
    _scale(axes, values)
    axes.set_xlabel(name)
    for trial in trials:
        at = _place(name, values, trial.result.trial, settings)
        axes.plot([at], [trial.height], linestyle="none", **trial.style)
    if not trials[-1].result.diverged:
        axes.plot([at], [trials[-1].height], linestyle="none", **BEST)


def _place(name: str, values: Range, trial: int, settings: Sequence[Mapping[str, Any]]) -> float:
    """Return where the setting of a trial lies on its axis."""
    label = f"settings[{trial}][{name!r}]"
    own = check_type(f"settings[{trial}]", settings[trial], Mapping)
    if name not in own:
        raise ValueError(f"settings[{trial}] must have {name!r}, found {sorted(map(str, own))}")
    if not isinstance(values, Choice):
        return as_number(label, own[name], values.low, values.high)
    if own[name] not in values.values:
        raise ValueError(f"{label} must be one of {values.values}, found {own[name]!r}")
    return values.values.index(own[name])


def _scale(axes: Axes, values: Range) -> None:
    """Let the axis show the whole range of a setting, with ticks at round numbers."""
    if isinstance(values, Choice):
        axes.set_xticks(range(len(values.values)), map(str, values.values))
        axes.set_xlim(-0.5, len(values.values) - 0.5)
    elif isinstance(values, LogUniform):
        axes.set_xscale("log")
        margin = (values.high**0.04) / (values.low**0.04)
        limits = np.clip([values.low / margin, values.high * margin], FLOAT.tiny, FLOAT.max)
        axes.set_xlim(*limits)
        ticks = _log_ticks(values.low, values.high)
        axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        margin = 0.04 * (values.high - values.low)
        axes.set_xlim(values.low - margin, values.high + margin)


def _log_ticks(low: float, high: float) -> list[float]:
    """Return two to seven numbers in [low, high], round ones if there are."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for digits in ((1, 2, 5), (1, 3), (1,)):
        powers = [float(f"{digit}e{exponent}") for exponent in exponents for digit in digits]
        ticks = [power for power in powers if low <= power <= high]
        if len(ticks) <= MOST_TICKS:
            break
    if len(ticks) < 2:
        return [low, math.sqrt(low) * math.sqrt(high), high]
    return ticks[:: math.ceil(len(ticks) / MOST_TICKS)]


def _draw_curves(axes: Axes, trials: Sequence[_Trial]) -> None:
    """Draw the accuracy of each trial after each epoch, with its marker at the end."""
    for trial in trials:
        curve = 100 * np.array(trial.result.val_accuracy)
        line: dict[str, Any] = {"linewidth": 1.2, "color": trial.color}
        style = trial.style
        if trial is trials[-1] and not trial.result.diverged:
            line, style = {"linewidth": 2, "color": ORANGE, "linestyle": "--", "zorder": 3}, BEST
        axes.plot(range(1, len(curve) + 1), curve, **line)
        # A trial that diverged lacks the accuracy of its last epoch: mark it after the curve.
        end = len(curve) + bool(trial.result.diverged)
        axes.plot([end], [trial.height], linestyle="none", **style)
    longest = max(len(t.result.val_accuracy) + bool(t.result.diverged) for t in trials)
    show_epochs(axes, longest)


def _legend(trials: Sequence[_Trial], colors: Mapping[int, str]) -> list[Line2D]:
    """Return one entry for each shade and each marker in the picture."""

    def entry(label: str, **style: Any) -> Line2D:
        return Line2D([], [], linestyle="none", label=label, **style)

    entries = [
        entry(f"{epochs} epoch{'s' * (epochs > 1)}", color=color, marker="o", markeredgecolor=BLUE)
        for epochs, color in colors.items()
    ]
    markers = {trial.style["marker"] for trial in trials}
    if "v" in markers:
        entries.append(entry("below this range", color="gray", marker="v"))
    if "x" in markers:
        entries.append(entry("diverged", color="gray", marker="x"))
    best = trials[-1].result
    if not best.diverged:
        entries.append(entry(f"best: trial {best.trial}, {best.score:.2%}", **BEST))
    return entries
