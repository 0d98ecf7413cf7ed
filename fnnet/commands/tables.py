"""A table, printed and as files: CSV for programs, Markdown for papers, and its figure."""

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fnnet.files import atomic_write
from fnnet.runs.outputs import keep
from fnnet.search.comparison import table


def write_tables(
    path: Path, rows: Sequence[Mapping[str, Any]], figure: Any, is_new: bool, *others: Path
) -> None:
    """Print rows, write them as .csv and .md beside a path, and a figure of them as .png.

    Args:
        path: its ending is replaced.
        rows: with the same columns; at least one.
        figure: what is drawn of them.
        is_new: whether files that are there already are another run's: they are kept.
        others: files that were written before, to be named with these.
    """
    from fnnet.plots import save  # matplotlib is slow to import: training goes first

    print(table(rows), end="")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([rows[0], *(row.values() for row in rows)])
    files = [path.with_suffix(ending) for ending in (".csv", ".md", ".png")]
    for file in files:
        if is_new and file.exists():
            print(keep(file), file=sys.stderr)
    for file, content in zip(files, (text.getvalue(), table(rows)), strict=False):
        with atomic_write(file) as open_file:
            open_file.write(content.encode())
    save(figure, files[-1])
    print("wrote", ", ".join(map(str, [*others, *files])))
