"""What may change when a run goes on from a checkpoint, and what would make it another run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import asdict

from fnnet.runs.checkpoint import Checkpoint
from fnnet.runs.settings import TrainConfig

FREE = {
    "data_dir", "plot_file", "checkpoint_file", "print_every", "checkpoint_every", "test_shift"
}  # fmt: skip
"""Settings that change no bit of the parameters and of the history."""


def fixed_settings(config: TrainConfig) -> dict[str, Any]:
    """Return the settings, by name, that the bits of a run depend on."""
    return {name: value for name, value in asdict(config).items() if name not in FREE}


def check_same_run(path: Path, checkpoint: Checkpoint, config: TrainConfig) -> None:
    """Raise ValueError unless `config` goes on with the run that is saved at `path`.

    More epochs than there were are allowed where the schedule does not depend on their number.
    """
    before, now = fixed_settings(checkpoint.config), fixed_settings(config)
    done = len(checkpoint.history.val_accuracy)
    if config.schedule == "constant" and config.num_epochs >= done:
        before["num_epochs"] = config.num_epochs
    changed = [name for name in now if before[name] != now[name]]
    if not changed:
        return
    found = "; ".join(f"{name} is {before[name]} in {path}, found {now[name]}" for name in changed)
    if changed == ["num_epochs"]:
        why = (
            f"the learning rate of the {config.schedule} schedule depends on it"
            if config.schedule != "constant"
            else f"{done} epochs are done"
        )
    else:
        why = "that would be another run"
    raise ValueError(f"cannot resume: {found}: {why}")


def check_same_data(checkpoint: Checkpoint, record: Mapping[str, str]) -> None:
    """Raise ValueError if `record` is of other training data than the saved run had."""
    name = "training data"
    before, now = checkpoint.record.get(name), record[name]
    if before not in (None, now):
        raise ValueError(f"cannot resume: {name} is {before} in the checkpoint, found {now}")


def differences(checkpoint: Checkpoint, record: Mapping[str, str]) -> list[str]:
    """Return a line for each part of the saved run's record that is another one now."""
    before = checkpoint.record
    return [
        f"{name} is {before.get(name)} in the checkpoint, found {now}"
        for name, now in record.items()
        if before.get(name) != now
    ]
