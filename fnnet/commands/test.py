"""Evaluate a checkpoint on the test set, once."""

import json as json_module
from pathlib import Path

import tyro
from attrs import evolve

from fnnet.checks import Array, as_file_path
from fnnet.commands.program import printable, progress
from fnnet.commands.report import write_report
from fnnet.data.dataset import Dataset
from fnnet.evaluation import accuracy
from fnnet.files import home, locked
from fnnet.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fnnet.runs.classify import scores_of
from fnnet.runs.names import default_path, last_path, run_paths
from fnnet.runs.outputs import load_whole, tested_file
from fnnet.runs.parts import load_dataset, split_parts
from fnnet.runs.provenance import run_provenance
from fnnet.runs.resume import check_same_data, is_same_run


def test(
    checkpoint_file: Path | None = None,
    dataset: str | None = None,
    data_dir: Path | None = None,
    again: bool = False,
    report: Path | None = None,
    json: bool = False,
) -> None:
    """Evaluate a checkpoint on the test set, once: choose by validation accuracy only.

    Args:
        checkpoint_file: what a training saved; the test accuracy is noted in it. By default
            checkpoint.best.npz, or checkpoint.npz if there is no such file.
        dataset: where the data of the run lie now; by default where they were.
        data_dir: folder that holds CIFAR-10; by default the one the model was trained from.
        again: evaluate even though the test set has been used for this run.
        report: folder for pictures: confusion matrix, precision and recall, calibration, worst
            mistakes, predictions, history, weights.
        json: print the result as JSON.
    """
    path = as_file_path("checkpoint_file", checkpoint_file or default_path())
    load_checkpoint(path)  # before the lock: nothing is made beside a file that is not there
    with locked(last_path(path)):
        checkpoint = load_checkpoint(path)
        _check_unused(path, checkpoint, again)
        config = checkpoint.config
        config = config if dataset is None else evolve(config, dataset=dataset)
        config = config if data_dir is None else evolve(config, data_dir=data_dir)
        if report is not None:
            report = home(report)
            report.mkdir(parents=True, exist_ok=True)
        rest, test = load_dataset(config)
        check_same_data(path, checkpoint, run_provenance(*split_parts(config, rest)))
        scores = scores_of(checkpoint, test, progress("views"))
        test_accuracy = accuracy(scores.argmax(axis=1), test.labels)
        # Saved before it is printed: a user who has seen the number has used the test set.
        _note(path, evolve(checkpoint, test_accuracy=test_accuracy, test_set_used=True))
    (_print_json if json else _print)(path, test_accuracy, scores, test)
    if report is not None:
        print(write_report(report, checkpoint, (scores, test)))


def _check_unused(path: Path, checkpoint: Checkpoint, again: bool) -> None:
    """Raise ValueError if any epoch of the run was evaluated before, unless `again`."""
    file = path if checkpoint.test_set_used else tested_file(last_path(path), checkpoint)
    if file is not None and not again:
        accuracy = load_checkpoint(file).test_accuracy
        note = "" if accuracy is None else f", with an accuracy of {accuracy:.2%}"
        raise ValueError(
            f"the test set has been used for this run: {file} notes it{note}; "
            "--again evaluates it once more"
        )


def _note(path: Path, checkpoint: Checkpoint) -> None:
    """Save the checkpoint, and note in the other files of the run that the test set was used."""
    save_checkpoint(path, checkpoint)
    for file in run_paths(last_path(path)):
        other = load_whole(file) if file != path else None
        if other is not None and is_same_run(other, checkpoint) and not other.test_set_used:
            save_checkpoint(file, evolve(other, test_set_used=True))


def _by_class(scores: Array, test: Dataset) -> dict[str, tuple[int, int]]:
    """Return how many examples of each class are right, and how many there are."""
    right = scores.argmax(axis=1) == test.labels
    of_class = [test.labels == label for label in range(len(test.class_names))]
    counts = ((int(right[one].sum()), int(one.sum())) for one in of_class)
    return dict(zip(test.class_names, counts, strict=True))


def _print(path: Path, test_accuracy: float, scores: Array, test: Dataset) -> None:
    print(f"test accuracy {test_accuracy:.2%} of {len(test)} examples")
    for name, (right, total) in _by_class(scores, test).items():
        share = f"{right / total:.2%}" if total else "none"
        print(printable(f"  {name:<12} {share} of {total}"))


def _print_json(path: Path, test_accuracy: float, scores: Array, test: Dataset) -> None:
    classes = {
        name: {"right": right, "examples": total}
        for name, (right, total) in _by_class(scores, test).items()
    }
    result = {
        "checkpoint_file": str(path),
        "test_accuracy": test_accuracy,
        "examples": len(test),
        "classes": classes,
    }
    print(json_module.dumps(result, ensure_ascii=False, indent=2))


def main() -> None:
    """Evaluate the checkpoint that the command line names."""
    tyro.cli(test)
