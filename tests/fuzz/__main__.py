"""Read hostile files and print each fault: python -m tests.fuzz [--seed S] KIND FIRST NUMBER.

Mutant i of a kind is a pure function of the seed, the kind and i. With KIND "all" the kinds
take turns: of NUMBER mutants each kind has its share.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.kinds import KINDS

SECONDS = 2.0  # of the processor, for one mutant
MEMORY_DISK = Path("/dev/shm")  # for thousands of files
MEMORY = 500_000_000  # bytes, beyond what the process has


class SlowError(BaseException):
    """The time is over; no `except Exception` catches it."""


def give_up(*_: Any) -> None:
    raise SlowError


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and the errors that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def fault_of(action: Callable[[], Any], allowed: Any) -> tuple[Any, str]:
    """Return what an action returns, and what is wrong with the way it ended, or ''."""
    result = None
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        try:
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            result = action()
        except SlowError:
            return None, "it takes too long"
        except allowed as error:
            if any(isinstance(cause, MemoryError) for cause in causes(error)):
                return None, "it takes too much memory"
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            return None, f"{type(error).__name__}: {str(error)[:200]} ({place.name}:{place.lineno})"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    return result, f"{leaked[0].category.__name__}: {leaked[0].message}" if leaked else ""


def write(kind: str, seed: int, number: int, folder: Path) -> None:
    """Write the files of a mutant into a folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = KINDS[kind].make(Random(f"{seed} {kind} {number}"))
    for name, raw in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)


def fault(kind: str, seed: int, number: int) -> tuple[bool, str]:
    """Read a mutant: return whether it was accepted, and what is wrong, or ''."""
    folder = Path("mutant")
    shutil.rmtree(folder, ignore_errors=True)
    write(kind, seed, number, folder)
    readers = KINDS[kind].readers  # they take turns
    reader = readers[number % len(readers)]
    check, wrong = fault_of(partial(reader, folder), KINDS[kind].error)
    if check is None or wrong:
        return check is not None, wrong
    _, wrong = fault_of(check, ())
    return True, wrong and f"accepted, but {wrong}"


def main() -> None:
    """Print a line for each fault, then how many mutants of each kind were tried and accepted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["all", *KINDS])
    parser.add_argument("first", type=int)
    parser.add_argument("number", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    kinds = [*KINDS] if args.kind == "all" else [args.kind]
    signal.signal(signal.SIGPROF, give_up)
    vars(os)["fsync"] = lambda _: None  # nothing here outlives the process
    tried, accepted = Counter[str](), Counter[str]()
    disk = MEMORY_DISK if MEMORY_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(dir=disk) as place, contextlib.chdir(place):
        for kind in kinds:  # all that is made once
            with contextlib.redirect_stderr(io.StringIO()):
                for number in range(len(KINDS[kind].readers)):
                    fault(kind, args.seed, number)
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY,) * 2)
        for i in range(args.number):
            kind, number = kinds[i % len(kinds)], args.first + i // len(kinds)
            tried[kind] += 1
            print(f"\r{kind} {number} ", end="", file=sys.stderr)  # the last one of a crash
            with contextlib.redirect_stderr(io.StringIO()):
                read, wrong = fault(kind, args.seed, number)
            accepted[kind] += read
            if wrong:
                print(f"{kind} {number}: {wrong}", flush=True)
    print(json.dumps({kind: [tried[kind], accepted[kind]] for kind in kinds}))


if __name__ == "__main__":
    main()
