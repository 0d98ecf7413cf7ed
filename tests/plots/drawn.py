"""What is in a figure, as plain values that tests can compare."""

import io
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from fnnet.checks import Array


def texts(figure: Figure) -> list[str]:
    """Every text in the figure that is not empty."""
    found = [text.get_text() for text in figure.findobj(Text)]
    return [text for text in found if text]


def images(figure: Figure) -> list[Array]:
    """The pixels of every image in the figure."""
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.get_images()]


def titles(figure: Figure) -> list[str]:
    """The text above every image of a sheet."""
    return [text.get_text() for text in figure.axes[0].texts[1:]]


def markers(axes: Axes, kind: str) -> list[tuple[float, float]]:
    """Where the markers of one kind are that stand alone."""
    lines = [line for line in axes.get_lines() if line.get_marker() == kind]
    points = [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in lines]
    return [(float(x[0]), float(y[0])) for x, y in points if len(x) == 1]


def legend_labels(figure: Figure) -> list[str]:
    """The entries of the legends of the figure and of its panels."""
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


def gray(color: Any) -> float:
    """The brightness of a color on a gray printer: 0 is black, 1 is white."""
    return float(np.dot(to_rgb(color), (0.299, 0.587, 0.114)))


def pixels(figure: Figure) -> bytes:
    """The figure as it is drawn, at a low resolution."""
    file = io.BytesIO()
    figure.savefig(file, format="rgba", dpi=40)
    return file.getvalue()
