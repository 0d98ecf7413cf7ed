"""A search space: ranges of settings as one frozen value, and the function that draws from it."""

import math
from collections.abc import Mapping
from typing import Any

from attrs import Attribute, field, fields_dict, frozen, validators

from fnnet.checks import as_integer, as_number, check_type
from fnnet.limits import MAX_TRIALS
from fnnet.runs.settings import FREE, TrainConfig
from fnnet.seeds import generator
from fnnet.values import FrozenDict

SAME_FOR_ALL = FREE | {
    "image_size", "num_train", "num_val", "seed", "num_epochs", "num_threads"
}  # fmt: skip
"""Settings without a range: trials that differ in one could not be compared, or would be equal.

seed, num_train and num_val decide which images validate.
"""


def _number(_: object, attribute: "Attribute[Any]", value: object) -> None:
    as_number(attribute.name, value, low=-math.inf)


def _above_0(_: object, attribute: "Attribute[Any]", value: float) -> None:
    if value <= 0:
        raise ValueError(f"{attribute.name} must be above 0 on a logarithmic scale, found {value}")


def _above_low(bounds: Any, _: object, high: float) -> None:
    if not bounds.low < high:
        raise ValueError(f"high must be above low, found low {bounds.low} and high {high}")


@frozen
class Uniform:
    """All numbers in [low, high], equally likely.

    Raises:
        TypeError, ValueError: a bound is not a finite number, or `low` is not below `high`.
    """

    low: float = field(validator=_number)
    high: float = field(validator=[_number, _above_low])

    def __str__(self) -> str:
        return f"uniform:{self.low}:{self.high}"


@frozen
class LogUniform:
    """All numbers in [low, high], their logarithms equally likely.

    Raises:
        TypeError, ValueError: a bound is not a finite number above 0, or `low` is not below `high`.
    """

    low: float = field(validator=[_number, _above_0])
    high: float = field(validator=[_number, _above_low])

    def __str__(self) -> str:
        return f"log:{self.low}:{self.high}"


def as_tuple(values: object) -> object:
    """Return a list as a tuple, and anything else as it is: a validator knows its name."""
    return tuple(values) if isinstance(values, list) else values


@frozen
class Choice:
    """Some values, equally likely.

    Raises:
        TypeError, ValueError: `values` is not a tuple or list, or is empty.
    """

    values: tuple[Any, ...] = field(
        converter=as_tuple, validator=[validators.instance_of(tuple), validators.min_len(1)]
    )

    def __str__(self) -> str:
        return f"choice:{','.join(map(str, self.values))}"


Range = Uniform | LogUniform | Choice


@frozen
class Space:
    """A range for each of some settings of :class:`fnnet.TrainConfig`.

    Raises:
        TypeError, ValueError: no setting has a range, one cannot have any, or a bound or
            value is outside the setting's range; the message names the setting.

    >>> space = Space({"learning_rate": LogUniform(0.01, 1), "hidden_dim": Choice((32, 64))})
    """

    ranges: Mapping[str, Range] = field(hash=False)

    def __attrs_post_init__(self) -> None:
        if not check_type("ranges", self.ranges, Mapping):
            raise ValueError("ranges must hold a setting, found none")
        object.__setattr__(self, "ranges", FrozenDict(self.ranges))
        settings = fields_dict(TrainConfig)
        for name, values in self.ranges.items():
            if name not in settings:
                raise ValueError(f"ranges must name settings of a training, found {name!r}")
            if name in SAME_FOR_ALL:
                raise ValueError(f"{name} must be the same for all trials, found {values}")
            if not isinstance(values, Uniform | LogUniform | Choice):
                raise TypeError(f"ranges[{name!r}] must be a range, found {values!r}")
            if not isinstance(values, Choice) and number_type(name) is None:
                raise ValueError(f"{name} must be a choice of values, found {values}")
            tried = values.values if isinstance(values, Choice) else (values.low, values.high)
            field_ = settings[name]
            for value in tried:
                value = field_.converter(value) if field_.converter else value  # type: ignore[operator]
                field_.validator(None, field_, value)  # type: ignore[misc]


def number_type(name: str) -> type[int] | type[float] | None:
    """Return int or float if a number can stand for the setting, else None."""
    if name == "hidden_dim":  # the width of a single hidden layer
        return int
    kind = fields_dict(TrainConfig)[name].type
    return kind if kind in (int, float) else None


def sample(space: Space, n: int, seed: int) -> list[dict[str, Any]]:
    """Draw the settings of n trials; those of a trial depend on space, seed and its number only.

    Args:
        space: the ranges; one of integers (a setting's type decides) draws integers, both
            bounds included.
        n: how many, from 1 to a million.
        seed: integer >= 0.

    Raises:
        TypeError, ValueError: an argument has the wrong type or is out of its range.

    >>> sample(Space({"hidden_dim": LogUniform(8, 512)}), n=3, seed=0)
    [{'hidden_dim': 401}, {'hidden_dim': 12}, {'hidden_dim': 160}]
    """
    ranges = check_type("space", space, Space).ranges
    as_integer("seed", seed, low=0)
    return [
        {
            name: _value(name, ranges[name], u)
            for name, u in zip(
                sorted(ranges), generator(seed, "search", i).random(len(ranges)), strict=True
            )
        }
        for i in range(as_integer("n", n, 1, MAX_TRIALS))
    ]


def _value(name: str, values: Range, u: float) -> Any:
    """Return the value that a number u, uniform in [0, 1), stands for."""
    if isinstance(values, Choice):
        return values.values[int(u * len(values.values))]
    whole = number_type(name) is int
    low, high = float(values.low), float(values.high) + whole  # k stands for [k, k + 1)
    if isinstance(values, LogUniform):
        low, high = math.log(low), math.log(high)
    between = (1 - u) * low + u * high
    value = math.exp(between) if isinstance(values, LogUniform) else between
    value = min(max(value, values.low), values.high)  # rounding may have left the range
    return int(value) if whole else float(value)
