"""The journal of a search: a line of JSON for each result, written as soon as it is there.

The first line says which search it is, by name and value. Every line ends in the CRC-32 of
its entry, so that a damaged line is noticed.
"""

import json
import reprlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from attrs import asdict

from fnnet.checks import as_path
from fnnet.runs.provenance import differences
from fnnet.search.halving import Result, Rung, check_known

SHOWN = 5  # differences between two searches that a message names
LONGEST = 40  # letters of a value in such a message


class JournalError(ValueError):
    """A file is not a journal, is damaged, or is that of another search."""


@contextmanager
def open_journal(
    path: str | Path, identity: Mapping[str, Any], rungs: Sequence[Rung] = ()
) -> Iterator[tuple[list[Result], Callable[[Result], None]]]:
    """Open the journal of a search, a new one or one to go on with.

    A last line that was cut off, by a kill or a full disk, is taken away.

    Args:
        path: the file.
        identity: all that the results depend on, by name: strings, integers, floats.
        rungs: of the search; its results are checked against them if they are given.

    Returns:
        a context of the results so far, and a function that adds one, flushed to the file.

    Raises:
        JournalError: the file is not a journal, is in use, a line of it is damaged, its results
            are not those of `rungs`, or it is that of another search; the message names the
            line or what differs, and the file is as before.
        OSError: the file cannot be read or written.
    """
    path = as_path("path", path)
    with path.open("a+b") as file:
        _lock(path, file)
        file.seek(0)
        known, end = _read(path, file.read(), identity)
        if rungs:
            _check_results(path, known, rungs)
        file.truncate(end)

        def append(result: Result) -> None:
            file.write(encode(asdict(result)))
            file.flush()

        if end == 0:
            file.write(encode(identity))
            file.flush()
        yield known, append


def _read(path: Path, content: bytes, identity: Mapping[str, Any]) -> tuple[list[Result], int]:
    """Return the results in a journal, and how many bytes its whole lines are."""
    end = content.rfind(b"\n") + 1
    if end == 0 and not encode(identity).startswith(content):
        raise JournalError(f"{path} is not a journal of a search")
    known: list[Result] = []
    for number, line in enumerate(content[:end].splitlines(keepends=True), start=1):
        try:
            entry = decode(line)
            if number > 1:
                known.append(Result(**entry))
        except (ValueError, TypeError, RecursionError) as error:
            raise JournalError(f"{path} is damaged at line {number}: {error}") from None
        if number == 1:
            _check_same(path, entry, identity)
    return known, end


def _check_results(path: Path, known: Sequence[Result], rungs: Sequence[Rung]) -> None:
    try:
        check_known(known, rungs)
    except ValueError as error:
        raise JournalError(f"{path} is damaged: {error}") from None


def _lock(path: Path, file: BinaryIO) -> None:
    """Keep others from the file until it is closed, where the system can."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JournalError(f"{path} is in use by another search") from None
    except OSError:  # a file system without locks
        pass


def encode(entry: Mapping[str, Any]) -> bytes:
    r"""Return an entry as a line.

    >>> encode({"trial": 3})
    b'{"trial": 3, "crc32": "8a5c6222"}\n'
    """
    crc = zlib.crc32(json.dumps(entry).encode())
    return json.dumps({**entry, "crc32": f"{crc:08x}"}).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Return the entry of a line that :func:`encode` wrote.

    Raises:
        ValueError: the line is not a journal entry.
    """
    entry = json.loads(line)
    if not isinstance(entry, dict) or entry.pop("crc32", None) is None or encode(entry) != line:
        raise ValueError("its checksum is wrong")
    return entry


def _check_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise JournalError, with names and values, if the journal is of another search."""
    now = json.loads(json.dumps(now))  # as it would be read: lists for tuples
    if before == now:
        return
    different = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    there, here = ({name: _short(m.get(name)) for name in different} for m in (before, now))
    found = differences(there, here, "in it") or different
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise JournalError(
        f"{path} is the journal of another search: {'; '.join(found[:SHOWN])}{more}. "
        "Start another journal, as with --journal other.jsonl"
    )


def _short(value: object) -> object:
    """Return a value as a message shows it: long strings and lists are cut."""
    if isinstance(value, str):
        return value[:LONGEST] + "…" if len(value) > LONGEST else value
    return value if isinstance(value, int | float | None) else reprlib.repr(value)
