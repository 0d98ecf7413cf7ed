"""What may change when a run goes on from a checkpoint, and what would make it another run."""

from collections.abc import Mapping
from pathlib import Path

from attrs import evolve

from fnnet.runs.checkpoint import Checkpoint
from fnnet.runs.provenance import TRAIN_DATA, VAL_DATA, differences
from fnnet.runs.settings import TrainConfig, fixed_settings


def check_same_run(path: Path, checkpoint: Checkpoint, config: TrainConfig) -> None:
    """Raise ValueError unless `config` goes on with the run that is saved at `path`.

    With the constant schedule num_epochs may change, to no fewer than have been trained.
    """
    before, done = checkpoint.config, len(checkpoint.history.val_accuracy)
    if config.schedule == "constant" and config.num_epochs >= done:
        before = evolve(before, num_epochs=config.num_epochs)
    found = differences(fixed_settings(before), fixed_settings(config), f"in {path}")
    if not found:
        return
    why = "that would be another run, to train without --resume"
    if all(line.startswith("num_epochs ") for line in found):
        why = (
            f"the learning rate of the {config.schedule} schedule depends on it"
            if config.schedule != "constant"
            else f"{done} epochs are done"
        )
    raise ValueError(f"cannot resume: {'; '.join(found)}: {why}")


def check_same_data(path: Path, checkpoint: Checkpoint, provenance: Mapping[str, str]) -> None:
    """Raise ValueError if the saved run had other training or validation data.

    A checkpoint of an earlier version may lack the digest of the validation data.
    """
    before = checkpoint.provenance
    if TRAIN_DATA not in before:
        raise ValueError(
            f"{path} does not say which data it was trained on: its provenance has no "
            f"{TRAIN_DATA!r}, see fnnet.runs.provenance.run_provenance"
        )
    for name in (TRAIN_DATA, VAL_DATA):
        if before.get(name, provenance[name]) != provenance[name]:
            raise ValueError(
                f"{path} belongs to other data than {checkpoint.config.dataset}: {name} is "
                f"{before[name][:12]}… in the checkpoint, found {provenance[name][:12]}…"
            )


def is_same_run(a: Checkpoint, b: Checkpoint) -> bool:
    """Tell whether two checkpoints are of one run, at the same epoch or not."""
    return is_saved_run(a, b.config, b.provenance)


def is_saved_run(
    checkpoint: Checkpoint, config: TrainConfig, provenance: Mapping[str, str]
) -> bool:
    """Tell whether a checkpoint is of the run with these settings and this data."""
    if config.schedule == "constant":  # then the number of epochs may grow
        config = evolve(config, num_epochs=checkpoint.config.num_epochs)
    return fixed_settings(config) == fixed_settings(checkpoint.config) and all(
        provenance.get(name) == checkpoint.provenance.get(name) for name in (TRAIN_DATA, VAL_DATA)
    )
