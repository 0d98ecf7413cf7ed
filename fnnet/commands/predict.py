"""Classify pictures, folders of pictures and .npz files with a trained network."""

import csv as csv_module
import json as json_module
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from attrs import asdict, frozen
from tqdm import tqdm

from fnnet.checks import Array, as_file_path
from fnnet.commands.program import printable, progress
from fnnet.data.errors import DataError
from fnnet.data.npz import read_inputs
from fnnet.data.picture_files import ENDINGS
from fnnet.data.pictures import read_picture
from fnnet.files import home
from fnnet.runs.checkpoint import Checkpoint, load_checkpoint
from fnnet.runs.classify import classify
from fnnet.runs.names import default_path


@frozen
class Prediction:
    """The class of one example, and the class that is nearly as probable."""

    file: str
    label: str
    probability: float
    runner_up: str
    runner_up_probability: float


def predict(
    files: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE...")]],
    checkpoint_file: Path | None = None,
    csv: bool = False,
    json: bool = False,
) -> int:
    """Classify pictures, folders of pictures and .npz files of images or features.

    Pictures are resized and cropped as the model was trained.

    Args:
        files: pictures, folders of them, or .npz files with `images` or `features`.
        checkpoint_file: the model; by default checkpoint.best.npz, or checkpoint.npz if there is
            no such file.
        csv: print a CSV table.
        json: print a JSON list.
    """
    path = as_file_path("checkpoint_file", checkpoint_file or default_path())
    checkpoint = load_checkpoint(path)
    if not files:
        raise ValueError("files must name a picture, a folder or an .npz file, found none")
    if csv and json:
        raise ValueError("csv and json must not both be asked for")
    names, arrays, failures = read_all(checkpoint, [home(file) for file in files])
    predictions = list(predictions_of(checkpoint, names, arrays))
    if json:
        print(json_module.dumps([asdict(p) for p in predictions], ensure_ascii=False, indent=2))
    elif csv:
        table = csv_module.writer(sys.stdout, lineterminator="\n")
        table.writerow(["file", "class", "probability", "runner_up", "runner_up_probability"])
        for p in predictions:
            table.writerow([p.file, p.label, p.probability, p.runner_up, p.runner_up_probability])
    else:
        width = max((len(p.file) for p in predictions), default=0)
        for p in predictions:
            line = (
                f"{p.file:<{width}}  {p.label} {p.probability:.1%}"
                f"  ({p.runner_up} {p.runner_up_probability:.1%})"
            )
            print(printable(line))
    for failure in failures:
        print(printable(f"error: {failure}"), file=sys.stderr)
    return int(bool(failures))


def read_all(
    checkpoint: Checkpoint, files: Sequence[Path]
) -> tuple[list[str], list[Array], list[str]]:
    """Return a name for each example, arrays that hold them in order, and what went wrong."""
    names: list[str] = []
    arrays: list[Array] = []
    failures: list[str] = []
    with tqdm(list(expand(files)), "reading", leave=False, disable=None) as bar:
        for file in bar:
            try:
                found = read_one(checkpoint, file)
            except (DataError, OSError) as error:
                failures.append(str(error))
                continue
            many = file.suffix.lower() == ".npz"
            names += [f"{file}[{i}]" for i in range(len(found))] if many else [str(file)]
            arrays.append(found)
    return names, arrays, failures


def expand(files: Sequence[Path]) -> Iterator[Path]:
    """Yield the files, and in place of a folder the pictures in it and below, sorted."""
    for file in files:
        if not file.is_dir():
            yield file
            continue
        pictures = sorted(p for p in file.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
        yield from pictures or [file]  # a folder without pictures is reported when it is read


def read_one(checkpoint: Checkpoint, file: Path) -> Array:
    """Return the examples in a file, of the shape that the model was trained on.

    Raises:
        DataError: the file cannot be read, or holds examples of another shape.
    """
    shape = checkpoint.preprocessing.shape
    if file.is_dir():
        raise DataError(f"{file} must have pictures in it, found none")
    if file.suffix.lower() == ".npz":
        found = read_inputs(file)
        if shape is not None and found.shape[1:] != shape:
            raise DataError(f"{file} must hold examples of shape {shape}, found {found.shape[1:]}")
        return found
    if shape is None:
        raise DataError(f"{file} cannot be resized: the model does not say what it was trained on")
    if len(shape) == 1:
        raise DataError(
            f"{file} must be an .npz file: the model was trained on {shape[0]} features"
        )
    return read_picture(file, shape)[None]


def predictions_of(
    checkpoint: Checkpoint, names: Sequence[str], arrays: Sequence[Array]
) -> Iterator[Prediction]:
    """Yield the prediction of each example."""
    if not arrays:
        return
    labels, probabilities = classify(checkpoint, np.concatenate(arrays), progress("classifying"))
    classes = checkpoint.class_names
    for name, label, row in zip(names, labels, probabilities, strict=True):
        others = np.where(np.arange(len(row)) == label, -1.0, row)
        second = int(others.argmax())
        yield Prediction(
            name, classes[label], float(row[label]), classes[second], float(row[second])
        )


def main() -> int:
    """Classify what the command line names."""
    return tyro.cli(predict)
