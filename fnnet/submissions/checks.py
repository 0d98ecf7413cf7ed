"""Call functions that somebody else wrote, and compare what they return with what is right."""

import sysconfig
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from fnnet.checks import Array
from fnnet.submissions.remarks import remark

Function = Callable[..., Any]
Found = dict[str, Array]
"""Results by name, in float64."""
LIBRARIES = (str(Path(__file__).parents[1]), *map(sysconfig.get_path, ("stdlib", "purelib")), "<")
MAX_TEXT = 300  # characters of an error's text


class Mistake(Exception):  # noqa: N818
    """A function raised an error, or did not return what it must: the text says which.

    The last argument is what two mistakes have in common that differ in their numbers only.
    """


@frozen
class Check:
    """What was found about one function."""

    name: str
    passed: bool
    messages: tuple[str, ...]


@frozen
class Case:
    """The arguments of one call, and what must come out."""

    args: Mapping[str, Any]
    right: Mapping[str, Array]
    tolerance: float
    numeric: Mapping[str, Array] = {}
    """The gradients in `right` again, by central differences (of some elements, if large)."""
    hint: str = ""
    """What is wrong if a function fails here and passes all cases without a hint."""
    loose: float = 0.0
    """Added to the tolerance of the loss."""


def call(function: Function, *args: Any) -> Any:
    """Return what the function returns; raise Mistake with the line of its file if it fails."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return function(*args)
        except Mistake:
            raise
        except (Exception, SystemExit) as error:
            raise _described(error) from None


def _described(error: BaseException) -> Mistake:
    """Return the kind, text and place of an error: the last line outside of all libraries."""
    text = traceback.format_exception_only(error)[-1].strip()[:MAX_TEXT]
    if isinstance(error, SyntaxError) and error.filename:
        return Mistake(f"{text} in {Path(error.filename).name}, line {error.lineno}")
    for spot in reversed(traceback.extract_tb(error.__traceback__)):
        if not spot.filename.startswith(LIBRARIES):
            place = f"{Path(spot.filename).name}, line {spot.lineno}: {spot.line}"[:MAX_TEXT]
            return Mistake(f"{text} in {place}", place)
    return Mistake(text)


def results(value: Any, names: Sequence[str]) -> Found:
    """Return what a function returned by name, as copies in float64, or raise Mistake."""
    values = value if len(names) > 1 else [value]
    if not isinstance(values, tuple | list) or len(values) != len(names):
        kind = type(value).__name__ + (
            f" of {len(value)}" if isinstance(value, tuple | list) else ""
        )
        raise Mistake(f"must return ({', '.join(names)}), found {kind}")
    for name, part in zip(names, values, strict=True):
        if (
            not isinstance(part, np.ndarray | float | np.floating)
            or np.asarray(part).dtype.kind != "f"
        ):
            kind = getattr(part, "dtype", type(part).__name__)
            raise Mistake(f"{name} must be floating, found {kind}")
    return {name: np.array(part, float) for name, part in zip(names, values, strict=True)}


def same(a: Mapping[Any, Array], b: Mapping[Any, Array]) -> bool:
    """Tell whether two calls gave the same results, but for rounding."""
    return all(np.allclose(a[key], b[key], 1e-9, 1e-12, equal_nan=True) for key in a)


def check(name: str, run: Callable[..., Found], cases: Sequence[Case]) -> Check:
    """Run all cases, and compare each result with the right one and its central differences."""
    problems: dict[str, str] = {}  # each once, in order
    trials: list[tuple[Case, Found]] = []
    for case in cases:
        given = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in case.args.items()}
        try:
            trials.append((case, call(run, given)))
        except Mistake as mistake:
            problems.setdefault(mistake.args[-1], mistake.args[0])
        changed = [k for k, v in given.items() if not np.array_equal(v, case.args[k])]
        problems |= {k: f"{k} was written to: an argument must stay as it is" for k in changed}
    names = trials[0][1] if trials else ()
    judged = [_judge(key, [(case, found[key]) for case, found in trials]) for key in names]
    passed = not problems and all(right for right, _ in judged)
    return Check(
        name, passed, (*problems.values(), *(line for _, lines in judged for line in lines))
    )


def _judge(result: str, trials: Sequence[tuple[Case, Array]]) -> tuple[bool, list[str]]:
    """Return whether a result is right in all cases, the line of the worst case, and a remark."""
    rows = [(case, *_compare(result, case, found)) for case, found in trials]
    failed = [(case, line) for case, _, passed, line in rows if not passed]
    if not failed:
        return True, [max(rows, key=lambda row: (-row[0].tolerance, row[1]))[3]]
    usual = [(case.args, case.right, found) for case, found in trials if not case.hint]
    # A mistake everywhere is one at the special points, too.
    case, line = min(failed, key=lambda row: bool(row[0].hint))
    text = case.hint or remark(result, usual)
    return False, [line, f"{result}: {text}"] if text else [line]


def _compare(result: str, case: Case, found: Array) -> tuple[float, bool, str]:
    """Return the largest difference of a result, whether it is small enough, and a line."""
    wanted = case.numeric.get(result, case.right[result])
    if found.shape != wanted.shape:
        return 0.0, False, f"{result} has shape {found.shape}, expected {wanted.shape}"
    difference = np.where(np.isfinite(found), np.abs(found - wanted), np.inf)
    index = np.unravel_index(int(np.argmax(difference)), difference.shape)
    worst = float(difference[index])
    passed = worst < case.tolerance + (case.loose if result == "loss" else 0)
    line = f"{result:<12} {worst:.2e}  {'ok' if passed else 'FAILED'}  worst"
    line += f" at {[*map(int, index)]}" if index else ""
    kind = "numeric" if result in case.numeric else "expected"
    return worst, passed, f"{line}: {found[index]:+.10g}, {kind} {wanted[index]:+.10g}"
