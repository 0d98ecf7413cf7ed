"""Check a file in a process of its own, with limits, and read what was found."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from attrs import frozen

from fnnet.submissions.checks import Check

SECONDS = 60.0
SHOWN = 2000  # bytes of what the file printed
MAX_RESULTS = 1_000_000  # bytes
THREADS = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@frozen
class Report:
    """What was found about a file."""

    passed: bool
    """Whether something was checked, and everything passed."""
    checks: tuple[Check, ...]
    missing: tuple[str, ...]
    output: str
    """The beginning of what the file printed."""


def check_file(
    path: Path, what: str, seed: int, tolerance: float, seconds: float = SECONDS
) -> Report:
    """Check a file; whatever it does, there is a report.

    Args:
        path: a Python file.
        what: "layers", "classifier" or "stability".
        seed: of the random arguments.
        tolerance: every absolute difference must be below it.
        seconds: after which the process is killed, with all that it started.
    """
    paths = {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLBACKEND": "agg",
    }
    with tempfile.TemporaryFile() as found, tempfile.TemporaryFile() as output:
        words = [path.absolute(), what, seed, tolerance, found.fileno()]
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fnnet.submissions.runner", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[found.fileno()],
            start_new_session=True,
            env={**os.environ, **THREADS, **paths},
        )
        try:
            code = process.wait(seconds)
            why = f"its process ended early, with exit code {code}"
        except subprocess.TimeoutExpired:
            why = f"it took more than {seconds:g} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        found.seek(0)
        output.seek(0)
        return _report(found.read(MAX_RESULTS), output.read(SHOWN).decode(errors="replace"), why)


def _report(found: bytes, output: str, why: str) -> Report:
    """Make the report of what was read: a check that did not come to its end has failed."""
    names, missing, checks = ["file"], list[str](), list[Check]()
    with contextlib.suppress(ValueError, TypeError, LookupError, RecursionError):
        # The file can write anything to its results: nothing but text is taken from them.
        head, *rows = map(json.loads, found.splitlines())
        names, missing = [*map(str, head["names"])], [*map(str, head["missing"])]
        for name, row in zip(names, rows, strict=False):
            checks.append(Check(name, row["passed"] is True, tuple(map(str, row["messages"]))))
    left = names[len(checks) :]
    checks += [Check(name, False, ("not run" if i else why,)) for i, name in enumerate(left)]
    passed = bool(checks) and all(each.passed for each in checks)
    return Report(passed, tuple(checks), tuple(missing), output)
