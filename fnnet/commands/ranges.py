"""Ranges of settings on a command line: uniform:LOW:HIGH, log:LOW:HIGH and choice:A,B,C."""

from collections.abc import Sequence
from typing import Any

from attrs import fields_dict

from fnnet.commands.flags import setting_of
from fnnet.runs.settings import TrainConfig
from fnnet.search.space import Choice, LogUniform, Range, Uniform, number_type

KINDS: dict[str, Any] = {"uniform": Uniform, "log": LogUniform, "choice": Choice}


def pull_ranges(args: Sequence[str]) -> tuple[list[str], dict[str, Range]]:
    """Return the command line without the settings that are given a range, and these.

    Raises:
        ValueError: a range cannot be read, or a setting is given twice.

    >>> pull_ranges(["--reg", "log:1e-4:1", "--seed", "3"])
    (['--seed', '3'], {'reg': LogUniform(low=0.0001, high=1.0)})
    """
    words, rest, ranges = [*args], list[str](), dict[str, Range]()
    fixed = set()
    while words:
        word = words.pop(0)
        _, equals, value = word.partition("=")
        name = setting_of(word)
        if not equals and words:
            value = words[0]
        if name in fields_dict(TrainConfig):
            if name in ranges:
                raise ValueError(f"{name} is given twice")
            if value.partition(":")[0] in KINDS and ":" in value:
                ranges[name] = parse_range(name, value)
                words = words if equals else words[1:]
                continue
            fixed.add(name)
        rest.append(word)
    if fixed & ranges.keys():
        raise ValueError(f"{min(fixed & ranges.keys())} is given twice")
    return rest, ranges


def parse_range(name: str, text: str) -> Range:
    """Return the range of a setting that the text stands for.

    >>> parse_range("hidden_dim", "choice:64,128")
    Choice(values=(64, 128))
    """
    kind, _, rest = text.partition(":")
    values = [parse_value(name, part) for part in rest.split("," if kind == "choice" else ":")]
    if kind == "choice":
        return Choice(values)
    if len(values) != 2:
        raise ValueError(f"{name} must be {kind}:LOW:HIGH, found {text}")
    try:
        made: Range = KINDS[kind](*values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be {kind}:LOW:HIGH, found {text}: {error}") from None
    return made


def parse_value(name: str, text: str) -> object:
    """Return the value of a setting that the text stands for; :class:`Space` checks it."""
    kind: Any = number_type(name) or fields_dict(TrainConfig)[name].type
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text) if kind in (int, float) else text
    except (KeyError, ValueError):
        wanted = {bool: "True or False", int: "an integer", float: "a number"}[kind]
        raise ValueError(f"{name} must be {wanted}, found {text[:40]!r}") from None
