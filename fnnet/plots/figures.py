"""What all pictures share: colors, the look of axes, sheets of images, and the file."""

import math
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from fnnet.checks import (
    Array,
    as_float_array,
    as_picture_path,
    check_finite,
    check_type,
    widened,
)
from fnnet.data.dataset import Dataset
from fnnet.evaluation import probabilities
from fnnet.files import atomic_write

# A dark blue and a light orange: they stay apart in gray and for color-blind readers.
BLUE = "#1f5f9e"
ORANGE = "#f0922b"
RED = "#b3202c"
GRAY = "#707070"

LEGEND: dict[str, Any] = {"framealpha": 0.8, "edgecolor": "none"}
"""A legend without a frame, that can be read where it lies above a line."""

COLUMNS = 8
"""Images in a row of a sheet, at most."""
MAX_IMAGES = 1000
"""Images on a sheet: a PNG file of far more would be too high for matplotlib."""
HEADING, LINE, MARGIN = 0.4, 0.13, 0.15
"""Heights in inches: of a sheet's heading, of a line above an image, and between images."""
LONGEST_NAME = 16
"""Letters that fit above a small image."""

# Without these entries the file holds the time at which it was written.
NO_DATE: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None},
    "png": {},
    "svg": {"Date": None},
}


@np.errstate(all="ignore")
def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PDF, PNG or SVG file, whole or not at all.

    The same figure gives the same bytes. It is not changed, unless it belongs to pyplot.

    Args:
        figure: what a function of this package returned, or any other figure.
        path: ends in .pdf, .png or .svg, which decides the format; ~ is the home folder.

    Raises:
        TypeError: `figure` is not a Figure or `path` not a path.
        ValueError: `path` has another ending.
        OSError: the file cannot be written.
    """
    check_type("figure", figure, Figure)
    path = as_picture_path("path", path)
    kind = path.suffix.lower().removeprefix(".")
    # Drawing moves the axes a little each time, so a copy is drawn. A figure that belongs to
    # pyplot is drawn itself: its copy would become a figure of pyplot, too.
    drawn = figure if figure.canvas.manager else deepcopy(figure)
    # Without a salt the names inside an SVG file are random. There is no other way to set it.
    with rc_context({"svg.hashsalt": "fnnet"}), atomic_write(path) as file:
        drawn.savefig(file, format=kind, dpi=150, metadata=NO_DATE[kind])


def tint(color: str, strength: float) -> str:
    """Return a color mixed with white: 1 is the color itself, 0 is white."""
    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(color))
    return to_hex((red, green, blue))


def tidy(axes: Axes) -> None:
    """Give axes a faint grid, and lines at the left and at the bottom only."""
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def show_epochs(axes: Axes, num_epochs: int) -> None:
    """Let the horizontal axis show the epochs from 1 to `num_epochs`, with whole numbers."""
    margin = max(0.5, 0.03 * num_epochs)
    axes.set_xlim(1 - margin, num_epochs + margin)
    locator = MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)
    axes.xaxis.set_major_locator(locator)
    axes.set_xlabel("epoch")


def check_image_shape(name: str, shape: Sequence[int]) -> None:
    """Raise ValueError unless pixels of this shape can be drawn as an image."""
    if not (len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))) or 0 in shape:
        raise ValueError(
            f"{name} must be (height, width), (1, height, width) or (3, height, width), "
            f"found {tuple(shape)}"
        )


def checked_probabilities(scores: Array, dataset: Dataset) -> Array:
    """Return the probabilities of the scores of a dataset, in float64 at least.

    Raises:
        TypeError, ValueError: the scores are not finite floats (N, C), as the dataset wants.
    """
    check_type("dataset", dataset, Dataset)
    scores = as_float_array("scores", scores, (len(dataset), len(dataset.class_names)))
    check_finite("scores", scores)
    return probabilities(scores.astype(widened(scores.dtype)))


def short(name: str) -> str:
    """Return a name, or its beginning if it is too long to stand above a small image."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def draw_sheet(
    images: Sequence[Array], titles: Sequence[str], wrong: Sequence[bool], size: float, heading: str
) -> Figure:
    """Draw small images in rows, each with its title; what is wrong has a red title and frame.

    Args:
        images: (height, width), (1, height, width) or (3, height, width), in [0, 1].
        titles, wrong: one for each image.
        size: width and height of an image with its title, in inches.
        heading: title of the whole sheet.
    """
    rows = max(1, math.ceil(len(images) / COLUMNS))
    columns = max(4, math.ceil(len(images) / rows))  # a heading needs the width of four
    width, height = columns * size, rows * size + HEADING
    figure = Figure(figsize=(width, height))
    # One pair of axes, in inches from the top left corner: a pair for each image takes seconds.
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    axes.text(width / 2, HEADING / 2, heading, fontsize=11, ha="center", va="center")
    room = size - MARGIN - LINE * (1 + max(title.count("\n") for title in titles))
    for i, (image, title, is_wrong) in enumerate(zip(images, titles, wrong, strict=True)):
        if image.ndim == 3:  # matplotlib wants the channels last
            image = np.moveaxis(image, 0, -1)
        row, column = divmod(i, columns)
        middle, bottom = size * (column + 0.5), HEADING + size * (row + 1) - MARGIN / 2
        scale = min((size - MARGIN) / image.shape[1], room / image.shape[0])
        w, h = scale * image.shape[1], scale * image.shape[0]
        left, right, top = middle - w / 2, middle + w / 2, bottom - h
        look: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
        axes.imshow(image, extent=(left, right, bottom, top), aspect="auto", **look)
        if is_wrong:
            axes.add_patch(Rectangle((left, top), w, h, fill=False, color=RED, linewidth=2))
        style: dict[str, Any] = {"fontsize": 7.5, "ha": "center", "parse_math": False}
        axes.text(middle, top - 0.04, title, color=RED if is_wrong else "black", **style)
    return figure
