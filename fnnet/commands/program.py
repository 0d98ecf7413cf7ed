"""What the programs in ``scripts/`` share: command line in, exit code and clean errors out."""

import argparse
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import tyro
from attrs import asdict, evolve, frozen

from fnnet.gradcheck import GradientReport
from fnnet.runs.checkpoint import Checkpoint, load_checkpoint
from fnnet.runs.resume import check_same_run
from fnnet.runs.settings import PRESETS, TrainConfig, default_config

INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it
MICRO_BATCHES = 4  # by default of a distributed run: one, two or four ranks can share them


@frozen
class TrainCommand:
    """What the command line of ``train.py`` says."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="", help="Settings of the run.")]
    resume: Path | None = None
    """Go on with the run in this checkpoint: its settings are the defaults of all others."""
    distributed: bool = False
    """Share every batch among the processes that mpiexec started."""


def train_command(args: Sequence[str] | None = None) -> tuple[TrainConfig, Checkpoint | None]:
    """Return the settings on the command line, and the checkpoint to go on from, if any.

    The defaults are the settings of that checkpoint, or those of the preset or dataset
    that the command line names. By default, as many ranks as there are micro-batches share
    the processors out among them.

    Raises:
        ValueError: the checkpoint cannot be read, or the settings are of another run.
    """
    args = sys.argv[1:] if args is None else args
    resume = named(args, "--resume")
    checkpoint = None if resume is None else load_checkpoint(resume)
    default = shared_out(defaults(args), args) if checkpoint is None else checkpoint.config
    config = tyro.cli(
        TrainCommand,
        default=TrainCommand(default),
        args=args,
        description="Train a two-layer network, or a linear classifier; save it, and plot the run.",
    ).config
    if resume is not None and checkpoint is not None:
        check_same_run(Path(resume), checkpoint, config)
    return config, checkpoint


def named(args: Sequence[str], flag: str) -> str | None:
    """Return the value of one flag on a command line that holds others, too; None without."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(flag, nargs="?", dest="value")
    value: str | None = parser.parse_known_args(args)[0].value
    return value


def defaults(args: Sequence[str]) -> TrainConfig:
    """Return the settings of the preset or dataset that the command line names.

    An unknown one is refused by who reads the whole command line, as anything else is.
    """
    preset = named(args, "--preset") or named(args, "--dataset")
    return default_config(preset if preset in PRESETS else "digits")


def shared_out(config: TrainConfig, args: Sequence[str]) -> TrainConfig:
    """Return the settings with the defaults of a run that ranks can share.

    Each rank gets its part of the processors. Threads may change the bits, and the number
    of ranks must not: so it is the number of micro-batches that counts, with MPI or without.
    """
    count = named(args, "--micro-batches")
    if count is None and "--distributed" in args:
        count = str(MICRO_BATCHES)
        config = evolve(config, micro_batches=MICRO_BATCHES)
    if count is None or not count.isdecimal() or not int(count[:10]) > 0:
        return config  # what is wrong is refused by who reads the whole command line
    return evolve(config, num_threads=max(1, config.num_threads // int(count[:10])))


def command_line(config: TrainConfig) -> list[str]:
    """Return the arguments that :func:`train_command` turns into this configuration."""
    args = []
    for name, value in asdict(config).items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            args.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            args += [f"--{flag}", str(value)]
    return args


def show_reports(reports: Mapping[str, GradientReport], tolerance: float) -> int:
    """Print gradient reports and the verdict; return 0 if all passed, else 1."""
    for name, report in reports.items():
        print(f"{name}\n{report}")
    failed = [name for name, report in reports.items() if not report.passed]
    if failed:
        print(f"FAILED: {', '.join(failed)}: a difference is not below {tolerance:g}")
        return 1
    worst = max(report.max_abs_diff for report in reports.values())
    print(f"passed: the largest difference, {worst:.2e}, is below {tolerance:g}")
    return 0


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a program and exit: 0 on success, 1 on a failed check, 2 on a user's mistake."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a path may hold what the locale cannot write
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main() or 0
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    except ArithmeticError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 1
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)
