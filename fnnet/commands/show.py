"""Show what a checkpoint holds: settings, provenance, accuracies, shapes of the parameters."""

import json as json_module
from pathlib import Path
from typing import Any

import tyro
from attrs import asdict

from fnnet.commands.program import printable
from fnnet.runs.checkpoint import Checkpoint, load_checkpoint


def show(
    checkpoint_file: tyro.conf.Positional[Path] = Path("checkpoint.npz"), json: bool = False
) -> None:
    """Print what a checkpoint holds: settings, provenance, accuracies and shapes.

    Args:
        checkpoint_file: what a training saved.
        json: print it as JSON, the history included.
    """
    checkpoint = load_checkpoint(checkpoint_file)
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
