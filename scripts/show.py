"""Print what a checkpoint holds: settings, record, accuracies and the shapes of the parameters."""

from pathlib import Path

import tyro
from attrs import asdict

from fnnet.commands.program import run
from fnnet.runs.checkpoint import load_checkpoint


def main(checkpoint_file: tyro.conf.Positional[Path] = Path("checkpoint.npz")) -> None:
    """Print what a checkpoint holds: settings, record, accuracies and shapes.

    Args:
        checkpoint_file: what train.py saved.
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
        ("record", checkpoint.record),
        ("training", training),
        ("parameters", params),
    ):
        print(title)
        for name, value in rows.items():
            print(f"  {name:<20} {value}")


if __name__ == "__main__":
    run(lambda: tyro.cli(main))
