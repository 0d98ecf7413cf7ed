"""Call functions that somebody else wrote, and compare what they return with what is right."""

import re
import sysconfig
import traceback
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from fnnet.checks import Array
from fnnet.submissions.remarks import remark

Args = Mapping[str, Any]
Found = dict[str, Array]
"""Results by name, in float64."""
Run = Callable[[Args], Found]
LIBRARIES = (str(Path(__file__).parents[1]), *map(sysconfig.get_path, ("stdlib", "purelib")), "<")
MAX_TEXT = 300  # characters of an error's text, and of the line where it was raised


class Mistake(Exception):  # noqa: N818
    """A function raised an error, or did not return what it must: the text says which."""


@frozen
class Check:
    """What was found about one function."""

    name: str
    passed: bool
    messages: tuple[str, ...]


@frozen
class Case:
    """The arguments of one call, and what must come out."""

    args: Args
    right: Mapping[str, Array]
    """The right results by name. In a case without a hint, gradients are central differences."""
    rounding: Mapping[str, float] = {}
    """How far rounding may move a result, by name, where that is more than the tolerance."""
    hint: str = ""
    """What is wrong if a function fails here and passes all cases without a hint."""


@np.errstate(all="ignore")
def call(function: Callable[..., Any], *args: Any) -> Any:
    """Return what the function returns; raise Mistake with the line of its file if it fails."""
    try:
        return function(*args)
    except Mistake:
        raise
    except (Exception, SystemExit) as error:
        text = f"{type(error).__name__}: {error}"[:MAX_TEXT].removesuffix(": ")
        for spot in reversed(traceback.extract_tb(error.__traceback__)):
            if not spot.filename.startswith(LIBRARIES):
                place = f"{Path(spot.filename).name}, line {spot.lineno}: {spot.line}"
                raise Mistake(f"{text} in {place[:MAX_TEXT]}") from None
        raise Mistake(text) from None


def results(value: Any, names: Sequence[str]) -> Found:
    """Return what a function returned by name, as copies in float64, or raise Mistake."""
    values = value if len(names) > 1 else [value]
    if not isinstance(values, tuple | list) or len(values) != len(names):
        kind = type(value).__name__
        size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
        raise Mistake(f"must return ({', '.join(names)}), found {kind}{size}")
    for name, part in zip(names, values, strict=True):
        kind = str(getattr(part, "dtype", type(part).__name__))
        if not kind.startswith("float"):
            raise Mistake(f"{name} must be floating, found {kind}")
    return {name: np.array(part, float) for name, part in zip(names, values, strict=True)}


def same(a: Mapping[Any, Array], b: Mapping[Any, Array]) -> bool:
    """Tell whether two calls gave the same results, but for rounding."""
    return all(np.allclose(a[key], b[key], 1e-9, 1e-12, equal_nan=True) for key in a)


def check(name: str, run: Run, cases: Sequence[Case], tolerance: float) -> Check:
    """Run all cases, those with hints last, and compare each result with the right one."""
    problems: dict[str, str] = {}  # in order; what differs in its numbers only is said once
    trials: list[tuple[Case, Found]] = []
    for case in cases:
        given = deepcopy(case.args)
        try:
            trials.append((case, call(run, given)))
        except Mistake as mistake:
            problems.setdefault(re.sub(r"\d+", "", str(mistake)), str(mistake))
        for key, value in given.items():
            if not np.array_equal(value, case.args[key]):
                problems[key] = f"{key} was written to: an argument must stay as it is"
    passed, lines = not problems, [*problems.values()]
    for result in trials[0][1] if trials else ():
        rows = [(*_compare(result, case, found[result], tolerance), case) for case, found in trials]
        failed = [row for row in rows if row[0] >= 0]
        _, line, case = failed[0] if failed else max(rows, key=lambda row: row[0])
        lines.append(line)
        if failed:
            passed = False
            usual = [(c.args, c.right, found[result]) for c, found in trials if not c.hint]
            # A mistake everywhere is one at the special points, too.
            text = case.hint or remark(result, usual)
            lines += [f"{result}: {text}"] if text else []
    return Check(name, passed, tuple(lines))


def _compare(result: str, case: Case, found: Array, tolerance: float) -> tuple[float, str]:
    """Return how far the largest difference of a result is above its tolerance, and a line."""
    wanted = case.right[result]
    if found.shape != wanted.shape:
        return np.inf, f"{result} has shape {found.shape}, expected {wanted.shape}"
    difference = np.where(np.isfinite(found), np.abs(found - wanted), np.inf)
    index = np.unravel_index(int(np.argmax(difference)), difference.shape)
    above = float(difference[index]) - max(tolerance, case.rounding.get(result, 0))
    line = f"{result:<12} {difference[index]:.2e}  {'ok' if above < 0 else 'FAILED'}  worst"
    line += f" at {[*map(int, index)]}" if index else ""
    kind = "expected" if case.hint or not result.startswith("grad_") else "numeric"
    return above, f"{line}: {found[index]:+.10g}, {kind} {wanted[index]:+.10g}"
