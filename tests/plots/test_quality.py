"""Calibration, precision and recall as drawn are those of their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from fnnet import Dataset
from fnnet.plots import plot_calibration, plot_classes

seeds = st.integers(0, 10**6)


def made(seed: int, n: int, names: tuple[str, ...] = ("a", "Ba$$in", "c")) -> Dataset:
    labels = np.random.default_rng(seed).integers(len(names), size=n)
    return Dataset(np.zeros((n, 4), np.float32), labels, names)


def rectangles(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


@given(seeds, st.integers(1, 60))
def test_calibration_is_that_of_a_loop(seed: int, n: int) -> None:
    dataset = made(seed, n)
    scores = 3 * np.random.default_rng(seed + 1).standard_normal((n, 3))
    groups: dict[int, list[tuple[float, bool]]] = {}
    for row, label in zip(scores, dataset.labels, strict=True):
        p = np.exp(row) / np.exp(row).sum()
        groups.setdefault(min(int(10 * p.max()), 9), []).append((p.max(), p.argmax() == label))
    points = [tuple(np.mean(groups[g], axis=0) * 100) for g in sorted(groups)]
    error = sum(
        len(groups[g]) * abs(x - y) for g, (x, y) in zip(sorted(groups), points, strict=True)
    )
    upper, lower = plot_calibration(scores, dataset).axes
    drawn = upper.lines[1]
    assert np.allclose(np.column_stack([drawn.get_xdata(), drawn.get_ydata()]), points)
    (bars,) = (part for part in upper.collections if isinstance(part, LineCollection))
    right = [[100 * hit for _, hit in groups[g]] for g in sorted(groups)]
    errors = [np.std(hits) / np.sqrt(len(hits)) for hits in right]
    lengths = [bar[1, 1] - bar[0, 1] for bar in map(np.asarray, bars.get_segments())]
    assert np.allclose(lengths, 2 * np.array(errors), atol=1e-6)
    assert upper.get_title() == f"Calibration: expected error {error / n:.1f} points"
    heights = [bar.get_height() for bar in rectangles(lower)]
    assert heights == [len(groups.get(g, [])) for g in range(10)]


@given(seeds, st.integers(1, 60))
def test_precision_and_recall_are_those_of_a_loop(seed: int, n: int) -> None:
    dataset = made(seed, n)
    predicted = np.random.default_rng(seed + 1).integers(3, size=n)
    (axes,) = plot_classes(predicted, dataset).axes
    widths = [bar.get_width() for bar in rectangles(axes)]
    for label in range(3):
        right = sum(
            (p == label) and (t == label) for p, t in zip(predicted, dataset.labels, strict=True)
        )
        for total, drawn in (
            (sum(predicted == label), widths[label]),
            (sum(dataset.labels == label), widths[3 + label]),
        ):
            assert np.isnan(drawn) if total == 0 else drawn == pytest.approx(100 * right / total)


def test_a_right_model_that_is_sure_is_calibrated() -> None:
    dataset = made(0, 50)
    scores = np.where(np.eye(3)[dataset.labels] > 0, 50.0, -50.0)
    assert "expected error 0.0 points" in plot_calibration(scores, dataset).axes[0].get_title()


def test_what_does_not_fit_is_refused_by_name() -> None:
    dataset = made(0, 5)
    with pytest.raises(ValueError, match=r"scores must have shape \(5, 3\)"):
        plot_calibration(np.zeros((5, 2)), dataset)
    with pytest.raises(ValueError, match="scores must be finite"):
        plot_calibration(np.full((5, 3), np.nan), dataset)
    with pytest.raises(TypeError, match="dataset must be a Dataset"):
        plot_calibration(np.zeros((5, 3)), dataset.labels)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"predicted must lie in \[0, 3\)"):
        plot_classes(np.full(5, 3), dataset)
    with pytest.raises(TypeError, match="predicted must be integers"):
        plot_classes(np.zeros(5), dataset)
