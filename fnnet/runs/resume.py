"""What may change when a run goes on from a checkpoint, and what would make it another run."""

from pathlib import Path

from attrs import evolve

from fnnet.runs.checkpoint import Checkpoint
from fnnet.runs.provenance import differences
from fnnet.runs.settings import TrainConfig, fixed_settings

DATA = "training data"
"""The name under which a run's provenance has the digest of what it is trained on."""


def check_same_run(path: Path, checkpoint: Checkpoint, config: TrainConfig) -> None:
    """Raise ValueError unless `config` goes on with the run that is saved at `path`.

    More epochs than there were are allowed where the schedule does not depend on their number.
    """
    before, done = checkpoint.config, len(checkpoint.history.val_accuracy)
    if config.schedule == "constant" and config.num_epochs >= done:
        before = evolve(before, num_epochs=config.num_epochs)
    found = differences(fixed_settings(before), fixed_settings(config), f"in {path}")
    if not found:
        return
    why = "that would be another run"
    if before == evolve(config, num_epochs=before.num_epochs):
        why = (
            f"the learning rate of the {config.schedule} schedule depends on it"
            if config.schedule != "constant"
            else f"{done} epochs are done"
        )
    raise ValueError(f"cannot resume: {'; '.join(found)}: {why}")


def check_same_data(checkpoint: Checkpoint, digest: str) -> None:
    """Raise ValueError if the digest is that of other training data than the saved run had."""
    before = checkpoint.provenance.get(DATA)
    if before not in (None, digest):
        raise ValueError(f"cannot resume: {DATA} is {before} in the checkpoint, found {digest}")
