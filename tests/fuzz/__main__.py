"""Read hostile files and print each fault: python -m tests.fuzz [--seed S] KIND FIRST NUMBER.

Mutant i of a kind is a pure function of the seed, the kind and i. With KIND "all" the kinds
take turns: of NUMBER mutants each kind has its share.
"""

import argparse
import contextlib
import io
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
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.kinds import KINDS

SECONDS = 2.0  # of the processor, for one mutant
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


def faults(kind: str, seed: int, number: int, accepted: Counter[str]) -> Iterator[str]:
    """Yield what is wrong with reading a mutant."""
    for reader in KINDS[kind].readers:
        folder = Path("mutant")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write(kind, seed, number, folder)
        check, fault = fault_of(lambda: reader(folder), KINDS[kind].error)  # noqa: B023
        if check is not None:
            accepted[kind] += 1
            _, wrong = fault_of(check, ())
            fault = fault or (wrong and f"accepted, but {wrong}")
        if fault:
            yield fault


def main() -> None:
    """Print a line for each fault, and how many mutants of each kind were read and accepted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["all", *KINDS])
    parser.add_argument("first", type=int)
    parser.add_argument("number", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    kinds = [*KINDS] if args.kind == "all" else [args.kind]
    signal.signal(signal.SIGPROF, give_up)
    os.fsync = lambda _: None  # nothing here outlives the process
    tried, accepted = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        for kind in kinds:  # all that is made once
            write(kind, args.seed, 0, Path("warm"))
            list(faults(kind, args.seed, 0, Counter()))
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY,) * 2)
        for i in range(args.number):
            kind, number = kinds[i % len(kinds)], args.first + i // len(kinds)
            tried[kind] += 1
            Path("number").write_text(f"{kind} {number}")
            with contextlib.redirect_stderr(io.StringIO()):
                found = [*faults(kind, args.seed, number, accepted)]
            for fault in found:
                print(f"{kind} {number}: {fault}", flush=True)
    print(", ".join(f"{kind} {n} ({accepted[kind]} read)" for kind, n in tried.items()), file=sys.stderr)


if __name__ == "__main__":
    main()
