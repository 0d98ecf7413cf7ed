"""Functions that draw what the library returns and give back a matplotlib Figure.

    figure = plot_history(history)
    save(figure, "run.pdf")

In a notebook, the line ``%matplotlib inline`` lets a figure be shown that is the last expression of
a cell.

Nothing but :func:`save` writes a file, and nothing touches pyplot. Only this package imports
matplotlib. The pictures of a search are in :mod:`fnnet.plots.search` and
:mod:`fnnet.plots.comparison`, so that these pictures do not depend on the search.
"""

from fnnet.plots.figures import save
from fnnet.plots.history import plot_history
from fnnet.plots.predictions import plot_confusion, plot_mistakes, plot_predictions
from fnnet.plots.quality import plot_calibration, plot_classes
from fnnet.plots.weights import plot_weights

__all__ = [
    "plot_calibration",
    "plot_classes",
    "plot_confusion",
    "plot_history",
    "plot_mistakes",
    "plot_predictions",
    "plot_weights",
    "save",
]
