"""Evaluate a checkpoint on the test set, once."""

from pathlib import Path

import tyro
from attrs import evolve

from fnnet.data.augmentation import tta_views
from fnnet.evaluation import accuracy, predict_scores
from fnnet.plots import plot_confusion, plot_mistakes, plot_predictions, plot_weights, save
from fnnet.runs.checkpoint import load_checkpoint, save_checkpoint
from fnnet.runs.run import load_dataset
from fnnet.threads import use_threads


def test(
    checkpoint_file: Path = Path("checkpoint.npz"),
    data_dir: Path | None = None,
    again: bool = False,
    report: Path | None = None,
) -> None:
    """Evaluate a checkpoint on the test set, once: choose by validation accuracy only.

    Args:
        checkpoint_file: what a training saved; the test accuracy is noted in it.
        data_dir: folder that holds CIFAR-10; by default the one the model was trained from.
        again: evaluate even though the test set has been used for this model.
        report: folder for pictures: confusion matrix, worst mistakes, predictions, weights.
    """
    checkpoint = load_checkpoint(checkpoint_file)
    if checkpoint.test_accuracy is not None and not again:
        raise ValueError(
            f"the test set has been used: {checkpoint_file} has a test accuracy of "
            f"{checkpoint.test_accuracy:.2%}; --again evaluates it once more"
        )
    config = checkpoint.config if data_dir is None else evolve(checkpoint.config, data_dir=data_dir)
    if report is not None:
        report.mkdir(parents=True, exist_ok=True)
    _, test = load_dataset(config)
    with use_threads(config.num_threads):
        scores = predict_scores(
            checkpoint.model,
            checkpoint.params,
            test,
            checkpoint.preprocess,
            views=tta_views(config.tta_flip, config.tta_shift),
        )
    predicted = scores.argmax(axis=1)
    test_accuracy = accuracy(predicted, test.labels)
    # Noted before it is shown: who has seen the number has used the test set.
    save_checkpoint(checkpoint_file, evolve(checkpoint, test_accuracy=test_accuracy))
    print(f"test accuracy {test_accuracy:.2%} of {len(test)} images")
    for label, name in enumerate(test.class_names):
        of_class = test.labels == label
        right = accuracy(predicted[of_class], test.labels[of_class])
        print(f"  {name:<12} {right:.2%} of {of_class.sum()}")
    if report is not None:
        save(plot_confusion(predicted, test), report / "confusion.png")
        save(plot_mistakes(scores, test), report / "mistakes.png")
        save(plot_predictions(scores, test), report / "predictions.png")
        weights = plot_weights(checkpoint.params, checkpoint.preprocessing, test.images.shape[1:])
        save(weights, report / "weights.png")
        print(f"wrote confusion.png, mistakes.png, predictions.png and weights.png to {report}")


def main() -> None:
    """Evaluate the checkpoint that the command line names."""
    tyro.cli(test)
