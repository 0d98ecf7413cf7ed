"""Command lines of trainings: presets and checkpoints give the defaults, flags change them."""

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import asdict, evolve

from fnnet.runs.presets import PRESETS, default_config
from fnnet.runs.settings import TrainConfig

MICRO_BATCHES = 4  # by default of a distributed run: one, two or four ranks can share them


def named(args: Sequence[str], flag: str) -> str | None:
    """Return the value of a flag, or None if it is absent; other flags are ignored."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(flag, flag.replace("-", "_").replace("__", "--"), nargs="?", dest="value")
    value: str | None = parser.parse_known_args(args)[0].value
    return value


def setting_of(word: str) -> str | None:
    """Return the name of the setting that a word of a command line gives, or None.

    >>> setting_of("--learning-rate=0.1"), setting_of("--no-flip"), setting_of("0.1")
    ('learning_rate', 'flip', None)
    """
    if not word.startswith("--"):
        return None
    flag = word.partition("=")[0].removeprefix("--").replace("-", "_")
    return flag.removeprefix("no_")


def note_unused(args: Sequence[str], unused: Mapping[str, str]) -> None:
    """Say on stderr which flags of the command line have no effect, and why."""
    given = {setting_of(word) for word in args}
    for name, why in unused.items():
        if name in given:
            flag = name.replace("_", "-")
            print(f"--{flag} has no effect {why}", file=sys.stderr)


def preset_of(args: Sequence[str]) -> str:
    """Return the preset that the command line names, or that of the dataset that it names.

    An unknown name is refused later, by the parser of the whole command line.
    """
    name = named(args, "--preset") or named(args, "--dataset")
    return name if name in PRESETS else "digits"


def default_settings(args: Sequence[str], **changes: Any) -> TrainConfig:
    """Return the settings of a command line before its other flags change them."""
    dataset = named(args, "--dataset")
    changes |= {"dataset": dataset} if dataset else {}
    return default_config(preset_of(args), **changes)


def shared_out(config: TrainConfig, args: Sequence[str]) -> TrainConfig:
    """Return the settings with the defaults of a run that ranks can share.

    The processors are divided by the number of micro-batches, with MPI or without. The number
    of ranks must not count: another number of threads may change the bits.
    """
    count = named(args, "--micro-batches")
    if count is None and "--distributed" in args:
        count = str(MICRO_BATCHES)
        config = evolve(config, micro_batches=MICRO_BATCHES)
    if count is None or not count.isdecimal() or not int(count[:10]) > 0:
        return config  # a wrong value is refused by the parser of the whole command line
    return evolve(config, num_threads=max(1, config.num_threads // int(count[:10])))


def command_line(config: TrainConfig) -> list[str]:
    """Return the shortest flags that stand for the settings: a preset, and what differs from it."""
    lines = [["--preset", preset, *_changes(preset, config)] for preset in PRESETS]
    return min(lines, key=len)


def _changes(preset: str, config: TrainConfig) -> list[str]:
    standard = default_config(preset, dataset=config.dataset)
    shared = shared_out(standard, ["--micro-batches", str(config.micro_batches)])
    defaults: dict[str, Any] = asdict(shared)
    defaults["dataset"] = PRESETS[preset]["dataset"]
    args = []
    for name, value in asdict(config).items():
        flag = name.replace("_", "-")
        if value == defaults[name]:
            continue
        if isinstance(value, tuple):
            args += [f"--{flag}", *map(str, value)]
        elif isinstance(value, bool):
            args.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            args += [f"--{flag}", str(value)]
    return args


def program(name: str) -> list[str]:
    """Return the words that start a program of the package on this machine."""
    return ["fnnet", name] if shutil.which("fnnet") else [sys.executable, "-m", "fnnet", name]
