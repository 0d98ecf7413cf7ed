"""Show what a checkpoint holds: settings, provenance, accuracies, shapes of the parameters."""

import json as json_module
import sys
from pathlib import Path
from typing import Any

import tyro
from attrs import asdict, evolve

from fnnet.commands.program import printable, progress
from fnnet.commands.report import write_report
from fnnet.files import home
from fnnet.runs.checkpoint import Checkpoint, load_checkpoint
from fnnet.runs.classify import scores_of
from fnnet.runs.parts import load_parts
from fnnet.runs.provenance import run_provenance
from fnnet.runs.resume import check_same_data
from fnnet.runs.settings import TrainConfig


def show(
    checkpoint_file: tyro.conf.Positional[Path] = Path("checkpoint.npz"),
    json: bool = False,
    report: Path | None = None,
    dataset: str | None = None,
    data_dir: Path | None = None,
) -> None:
    """Print what a checkpoint holds: settings, provenance, accuracies and shapes.

    Args:
        checkpoint_file: what a training saved.
        json: print it as JSON, the history included.
        report: folder for pictures: history and weights; and, if the data of the run are there,
            what the model says of the validation examples.
        dataset: where the data of the run lie now; by default where they were.
        data_dir: folder that holds CIFAR-10; by default the one the model was trained from.
    """
    checkpoint = load_checkpoint(checkpoint_file)
    if report is not None:
        config = checkpoint.config
        config = config if dataset is None else evolve(config, dataset=dataset)
        config = config if data_dir is None else evolve(config, data_dir=data_dir)
        draw(home(report), checkpoint_file, checkpoint, config)
        return
    parts = contents(checkpoint)
    if json:
        history = {
            name: [None if value != value else value for value in column.tolist()]
            for name, column in asdict(checkpoint.history).items()
        }
        print(json_module.dumps({**parts, "history": history}, default=str, ensure_ascii=False))
        return
    for title, rows in parts.items():
        print(title)
        for name, value in rows.items():
            print(f"  {printable(name):<20} {printable(_text(name, value))}")


def draw(report: Path, path: Path, checkpoint: Checkpoint, config: TrainConfig) -> None:
    """Write the pictures that can be drawn into a folder, and say which, and on what data."""
    scored = None
    try:
        train, val = load_parts(config)
        check_same_data(path, checkpoint, run_provenance(train, val))
    except (ValueError, OSError) as error:
        print(printable(f"pictures of predictions need the data: {error}"), file=sys.stderr)
    else:
        scored = scores_of(checkpoint, val, progress("views")), val
        print(f"predictions for the {len(val)} validation examples")
    print(write_report(report, checkpoint, scored))


def contents(checkpoint: Checkpoint) -> dict[str, dict[str, Any]]:
    """Return what a checkpoint holds, by title and name."""
    history = checkpoint.history
    training: dict[str, Any] = {
        "epochs": checkpoint.num_epochs,
        "steps": len(history.losses),
        "class names": list(checkpoint.class_names),
        "shape of an example": checkpoint.preprocessing.shape,
    }
    if checkpoint.num_epochs:
        best = history.best_epoch
        training |= {
            "last loss": float(history.losses[-1]),
            "train accuracy": float(history.train_accuracy[-1]),
            "validation accuracy": float(history.val_accuracy[-1]),
            "best accuracy": float(history.val_accuracy[best - 1]),
            "best epoch": best,
        }
    training |= {
        "test accuracy": checkpoint.test_accuracy,
        "test set used": checkpoint.test_set_used,
    }
    return {
        "settings": asdict(checkpoint.config),
        "provenance": dict(checkpoint.provenance),
        "training": training,
        "parameters": {name: f"{p.dtype} {p.shape}" for name, p in checkpoint.params.items()},
    }


def _text(name: str, value: object) -> str:
    if isinstance(value, float) and name.endswith("accuracy"):
        return f"{value:.2%}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4f}" if name == "last loss" else str(value)


def main() -> None:
    """Show the checkpoint that the command line names."""
    tyro.cli(show)
