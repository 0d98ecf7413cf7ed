"""Show what a checkpoint holds: settings, provenance, accuracies, shapes of the parameters."""

from pathlib import Path

import tyro
from attrs import asdict

from fnnet.runs.checkpoint import load_checkpoint


def show(checkpoint_file: tyro.conf.Positional[Path] = Path("checkpoint.npz")) -> None:
    """Print what a checkpoint holds: settings, provenance, accuracies and shapes.

    Args:
        checkpoint_file: what a training saved.
    """
    checkpoint = load_checkpoint(checkpoint_file)
    config, history = checkpoint.config, checkpoint.history
    epochs = len(history.val_accuracy)
    training = {"epochs": f"{epochs} of {config.num_epochs}", "steps": len(history.losses)}
    if epochs:
        best = history.best_epoch
        training |= {
            "last loss": f"{history.losses[-1]:.4f}",
            "train accuracy": f"{history.train_accuracy[-1]:.2%}",
            "validation accuracy": f"{history.val_accuracy[-1]:.2%}",
            "best validation": f"{history.val_accuracy[best - 1]:.2%} after epoch {best}",
        }
    test = checkpoint.test_accuracy
    training["test accuracy"] = "not evaluated" if test is None else f"{test:.2%}"
    params = {name: f"{p.dtype} {p.shape}" for name, p in checkpoint.params.items()}
    for title, rows in (
        ("settings", asdict(config)),
        ("provenance", checkpoint.provenance),
        ("training", training),
        ("parameters", params),
    ):
        print(title)
        for name, value in rows.items():
            print(f"  {name:<20} {value}")


def main() -> None:
    """Show the checkpoint that the command line names."""
    tyro.cli(show)
