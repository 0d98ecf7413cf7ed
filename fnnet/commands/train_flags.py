"""The command line of `fnnet train`: its flags, their defaults, and what they rule out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from attrs import field, frozen
from attrs.validators import optional

from fnnet.commands.flags import default_settings, named, note_unused, preset_of, shared_out
from fnnet.files import home, same_place
from fnnet.limits import MAX_COUNT, MAX_SEEDS, MAX_WORKERS
from fnnet.runs.checkpoint import Checkpoint, load_checkpoint
from fnnet.runs.names import last_path, run_paths
from fnnet.runs.presets import PRESETS
from fnnet.runs.resume import check_same_run
from fnnet.runs.settings import TrainConfig, without_effect
from fnnet.validators import at_least, file_path, one_of, picture_path

Preset = Literal["digits", "cifar10", "homework", "fast", "minute", "best", "deep", "record"]


@frozen
class TrainCommand:
    """What the command line says."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="", help="Settings of the run.")]
    preset: Preset = field(default="digits", validator=one_of(*PRESETS))
    """Where the defaults of the settings come from: a dataset, or a recipe for CIFAR-10."""
    resume: Path | None = field(default=None, converter=home)
    """Go on with the run in this checkpoint: its settings are the defaults, and by default the
    checkpoint is saved in its place, the plot beside it."""
    distributed: bool = False
    """Share every batch among the processes that mpiexec started."""
    checkpoint_file: Path = field(
        default=Path("checkpoint.npz"), converter=home, validator=file_path
    )
    """Where to save the last epoch; the epoch before it and the best one are saved beside it as
    <name>.previous.npz and <name>.best.npz. Files of another run are kept under a number."""
    plot_file: Path = field(default=Path("plot.pdf"), converter=home, validator=picture_path)
    """Where to draw losses and accuracies: .pdf, .png or .svg."""
    log: Path | None = field(default=None, converter=home, validator=optional(file_path))
    """Where to write a table with a line for each epoch: .csv."""
    print_every: int = field(default=100, validator=at_least(1, MAX_COUNT))
    """Print the loss at every step whose number this divides."""
    checkpoint_every: int = field(default=1, validator=at_least(1, MAX_COUNT))
    """Save the model after every epoch whose number this divides, and after the last one."""
    seeds: int | None = field(default=None, validator=optional(at_least(1, MAX_SEEDS)))
    """Train with this number of seeds, counted from --seed, each in a process with one thread.
    With several values, as in --reg choice:0,0.01, each combination is trained. Means, their
    errors and a figure are written to <name>.seeds.csv, .md and .png. A run is saved after every
    epoch as <name>.seed-<seed>.npz; the same command goes on with runs that were stopped."""
    workers: int | None = field(default=None, validator=optional(at_least(1, MAX_WORKERS)))
    """Processes that train, with --seeds; by default one for each processor."""

    def __attrs_post_init__(self) -> None:
        if self.seeds is None:
            if self.workers is not None:
                raise ValueError("workers has no effect without seeds: leave it out")
        else:
            for name in ("resume", "log", "distributed"):
                if getattr(self, name):
                    raise ValueError(f"{name} has no effect with seeds: leave one of them out")
        if self.log is not None and self.log.suffix.lower() != ".csv":
            raise ValueError(f"log must end in .csv, found {self.log}")
        names = {"plot_file": self.plot_file, "log": self.log}
        for taken in run_paths(self.checkpoint_file):
            for name, written in names.items():
                if written is not None and same_place(written, taken):
                    raise ValueError(
                        f"{name} and checkpoint_file must differ, found {written}, the name of "
                        "a checkpoint"
                    )
        if self.log is not None and same_place(self.log, self.plot_file):
            raise ValueError(f"log and plot_file must differ, found {self.log}")


def train_command(args: Sequence[str]) -> tuple[TrainCommand, Checkpoint | None]:
    """Return what the command line says, and the checkpoint to go on from, if any.

    By default, num_threads is the number of processors divided by that of the micro-batches.

    Raises:
        ValueError: the checkpoint cannot be read, or the settings are of another run.
    """
    resume = named(args, "--resume")
    if resume is None:
        checkpoint, preset = None, preset_of(args)
        default = TrainCommand(shared_out(default_settings(args), args), preset)  # type: ignore[arg-type]
    else:
        checkpoint = load_checkpoint(resume)
        saved = last_path(home(resume))
        default = TrainCommand(
            checkpoint.config, checkpoint_file=saved, plot_file=saved.with_name("plot.pdf")
        )
    command = tyro.cli(
        TrainCommand,
        default=default,
        args=args,
        description="Train a fully connected network or a linear classifier, and save it.",
    )
    if checkpoint is not None and resume is not None:
        check_same_run(Path(resume), checkpoint, command.config)
    note_unused(args, _without_effect(command))
    return command, checkpoint


def _without_effect(command: TrainCommand) -> dict[str, str]:
    """Return the flags that change nothing beside the others, by name, and why."""
    unused = without_effect(command.config)
    if command.resume is not None:
        unused["preset"] = "with --resume"
    if command.seeds is not None:
        names = ("plot_file", "print_every", "checkpoint_every", "num_threads")
        unused |= dict.fromkeys(names, "with --seeds")
    return unused
