"""Check data and settings before a long training, and say what to change."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from attrs import field, frozen

from fnnet.commands.flags import default_settings, note_unused, preset_of
from fnnet.commands.program import printable, progress
from fnnet.commands.train_flags import Preset
from fnnet.files import check_writable, home
from fnnet.runs.diagnosis import diagnose
from fnnet.runs.outputs import keep
from fnnet.runs.rates import rate_test
from fnnet.runs.run import prepare
from fnnet.runs.settings import TrainConfig, without_effect
from fnnet.threads import use_threads
from fnnet.validators import picture_path

NOT_CHECKED = ("patience", "tta_flip", "tta_shift", "micro_batches")


@frozen
class DoctorCommand:
    """What the command line says."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="", help="Settings of the training.")]
    preset: Preset = "digits"
    """Where the defaults of the settings come from: a dataset, or a recipe for CIFAR-10."""
    plot_file: Path = field(default=Path("doctor.png"), converter=home, validator=picture_path)
    """Where to draw the loss against the learning rate: .pdf, .png or .svg. A file that is there
    is kept under a number."""


def doctor_command(args: Sequence[str]) -> DoctorCommand:
    """Return what the command line says."""
    command = tyro.cli(
        DoctorCommand,
        default=DoctorCommand(default_settings(args), preset_of(args)),  # type: ignore[arg-type]
        args=args,
        description="Check the data and the settings of a training in a few seconds, and say what "
        "to change. It takes the settings of train. The exit code is 1 if something is wrong.",
    )
    not_checked = dict.fromkeys(NOT_CHECKED, "on these checks")
    note_unused(args, without_effect(command.config) | not_checked)
    return command


def main() -> int:
    """Check what the command line says, print a line for each check, and draw the rates."""
    command = doctor_command(sys.argv[1:])
    check_writable("plot_file", command.plot_file)
    code = 0
    with use_threads(command.config.num_threads):
        run = prepare(command.config, watch=progress("whitening"))
        test = rate_test(run, progress("learning rates"))
        for finding in diagnose(run, test):
            print(printable(finding), flush=True)
            code = max(code, int(finding.verdict == "wrong"))
    from fnnet.plots import save  # matplotlib is slow to import: the findings go first
    from fnnet.plots.rates import plot_rates

    if command.plot_file.exists():
        print(keep(command.plot_file), file=sys.stderr)
    save(plot_rates(test, run.config.learning_rate), command.plot_file)
    print(f"{command.plot_file}: loss against learning rate")
    return code
