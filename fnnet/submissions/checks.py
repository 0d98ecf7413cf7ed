"""Call functions that somebody else wrote, and compare what they return with what is right."""

import numbers
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from fnnet.checks import Array
from fnnet.submissions.remarks import Candidates, remark

Function = Callable[..., Any]
Found = dict[str, Array]
LIBRARIES = (str(Path(__file__).parents[1]), *map(sysconfig.get_path, ("stdlib", "purelib")))
MAX_MESSAGE = 300  # characters of an error's text


class Mistake(Exception):  # noqa: N818
    """A function raised an error, or did not return what it must; the text says which."""


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
    """The right results by name, in the order in which they are returned."""
    tolerance: float
    numeric: Mapping[str, Array] = {}
    """Central differences for the gradients among them; NaN where there are none."""
    hint: str = ""
    """What is wrong if a function fails here and passes all cases without a hint."""
    loose: float = 0.0
    """Added to the tolerance of the loss."""


def call(function: Function, args: Sequence[Any]) -> Any:
    """Return what the function returns; raises Mistake with the line of its file if it fails."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return function(*args)
        except (Exception, SystemExit) as error:
            raise Mistake(described(error)) from None


def described(error: BaseException) -> str:
    """Return the kind, text and place of an error: the last line outside of all libraries."""
    try:
        text = str(error)
    except Exception:
        text = "an error without a text"
    kind = type(error).__name__
    text = f"{kind}: {text[:MAX_MESSAGE]}" if text else kind
    if isinstance(error, SyntaxError) and error.filename:
        return f"{text.split(' (')[0]} in {Path(error.filename).name}, line {error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((*LIBRARIES, "<frozen"))
    ]
    if not frames:
        return text
    place = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}"
    return f"{text} in {place}: {(frames[-1].line or '')[:MAX_MESSAGE]}".rstrip(": ")


def copied(args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with a copy of each array, for a function that may write into it."""
    return {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in args.items()}


def written(given: Mapping[str, Any], args: Mapping[str, Any]) -> list[str]:
    """Return a message for each array that is not what it was."""
    changed = (k for k in given if not np.array_equal(given[k], args[k]))
    return [f"{name} was written to: an argument must stay as it is" for name in changed]


def results(value: Any, names: Sequence[str]) -> Found:
    """Return what a function returned as float64 arrays by name, or raise Mistake."""
    values = (value,) if len(names) == 1 else value
    if not isinstance(values, tuple | list) or len(values) != len(names):
        found = f"{len(value)} values" if isinstance(value, tuple | list) else kind_of(value)
        raise Mistake(f"must return ({', '.join(names)}), found {found}")
    found = {}
    for name, part in zip(names, values, strict=True):
        if not isinstance(part, np.ndarray) and (
            name != "loss" or not isinstance(part, numbers.Real)
        ):
            wanted = "a number" if name == "loss" else "a NumPy array"
            raise Mistake(f"{name} must be {wanted}, found {kind_of(part)}")
        array = np.asarray(part)
        if array.dtype.kind != "f":
            raise Mistake(f"{name} must be floating, found {array.dtype}")
        found[name] = array.astype(np.float64)  # a copy: the function may keep its own
    return found


def kind_of(value: Any) -> str:
    """Return the name of a value's type, as a student knows it."""
    return "None: is there a return?" if value is None else type(value).__name__


def same(a: Found | None, b: Found | None) -> bool:
    """Tell whether two calls gave the same results, but for rounding."""
    if a is None or b is None:
        return a is b
    return all(
        a[k].shape == b[k].shape and np.allclose(a[k], b[k], 1e-9, 1e-12, equal_nan=True) for k in a
    )


def check(
    name: str,
    cases: Sequence[Case],
    run: Callable[[Case], tuple[Found, list[str]]],
    candidates: Mapping[str, Candidates],
) -> Check:
    """Run all cases, and compare each result with the right one and its central differences."""
    problems: dict[str, None] = {}  # each once, in order
    trials: list[tuple[Case, Found]] = []
    for case in cases:
        try:
            found, notes = run(case)
        except Mistake as mistake:
            notes, found = [str(mistake)], {}
        problems |= dict.fromkeys(notes)
        trials.append((case, found))
    passed, lines = not problems, []
    for result in dict.fromkeys(key for _, found in trials for key in found):
        of_result = [(case, found[result]) for case, found in trials if result in found]
        right, messages = _judge(result, of_result, candidates.get(result, {}))
        passed &= right
        lines += messages
    return Check(name, passed, (*problems, *lines))


def _judge(
    result: str, trials: Sequence[tuple[Case, Array]], candidates: Candidates
) -> tuple[bool, list[str]]:
    """Return whether a result is right in all cases, the line of the worst case, and a remark."""
    verdicts = [(_compare(result, case, found), case, found) for case, found in trials]
    failed = [v for v in verdicts if not v[0][0]]
    if not failed:
        return True, [max(verdicts, key=lambda v: (-v[1].tolerance, v[0][1]))[0][2]]
    lines = []
    plain = [v for v in failed if not v[1].hint]
    if plain:
        lines.append(plain[0][0][2])
        usual = [(c.args, c.right, found) for _, c, found in verdicts if not c.hint]
        text = remark(result, usual, candidates)
        lines += [f"{result}: {text}"] if text else []
    # A mistake everywhere is one at the special points, too, unless a number overflows there.
    special = [v for v in failed if v[1].hint and (not plain or v[0][1] == np.inf)]
    if special and not any(v[0][1] == np.inf for v in plain):
        lines += [special[0][0][2], f"{result}: {special[0][1].hint}"]
    return False, lines


def _compare(result: str, case: Case, found: Array) -> tuple[bool, float, str]:
    """Return whether a result is right, its largest difference, and a line about it."""
    wanted = case.numeric.get(result, case.right[result])
    if found.shape != wanted.shape:
        return False, 0.0, f"{result} has shape {found.shape}, expected {wanted.shape}"
    # Where the numeric gradient is NaN, it was not computed.
    difference = np.where(np.isfinite(found), np.nan_to_num(np.abs(found - wanted)), np.inf)
    index = np.unravel_index(int(np.argmax(difference)), difference.shape)
    worst = float(difference[index])
    passed = worst < case.tolerance + (case.loose if result == "loss" else 0)
    kind = "numeric" if result in case.numeric else "expected"
    place = f" at {[int(i) for i in index]}" if index else ""
    return passed, worst, (
        f"{result:<12} {worst:.2e}  {'ok' if passed else 'FAILED'}"
        f"  worst{place}: {found[index]:+.10g}, {kind} {wanted[index]:+.10g}"
    )
