"""Validators of attrs fields, made of the checks."""

import math
from typing import Any

from attrs import Attribute, validators

from fnnet.checks import as_file_path, as_integer, as_number, as_path, as_picture_path

boolean: Any = validators.instance_of(bool)
"""True or False."""

fraction: Any = validators.and_(validators.instance_of(float), validators.ge(0), validators.le(1))
"""A float in [0, 1], such as an accuracy."""


def at_least(low: int, high: int | None = None) -> Any:
    """Return the validator of an integer in [low, high]."""

    def check(_: object, attribute: "Attribute[Any]", value: object) -> None:
        as_integer(attribute.name, value, low, high)

    return check


def between(low: float, high: float = math.inf, *, below_high: bool = False) -> Any:
    """Return the validator of a finite number in [low, high], or in [low, high)."""

    def check(_: object, attribute: "Attribute[Any]", value: object) -> None:
        number = as_number(attribute.name, value, low, high)
        if below_high and number == high:
            raise ValueError(f"{attribute.name} must be below {high:g}, found {value}")

    return check


def one_of(*names: str) -> Any:
    """Return the validator of one of some words."""

    def check(_: object, attribute: "Attribute[Any]", value: object) -> None:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"{attribute.name} must be one of {', '.join(names)}, found {value!r}")

    return check


def path(_: object, attribute: "Attribute[Any]", value: object) -> None:
    """Validate a path."""
    as_path(attribute.name, value)


def file_path(_: object, attribute: "Attribute[Any]", value: object) -> None:
    """Validate a path that can be that of a file."""
    as_file_path(attribute.name, value)


def picture_path(_: object, attribute: "Attribute[Any]", value: object) -> None:
    """Validate a path whose ending is that of a picture."""
    as_picture_path(attribute.name, value)
