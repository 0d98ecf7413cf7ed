"""Check a file in a process of its own, with limits, and read what it found."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from attrs import frozen

from fnnet.submissions.checks import Check

SECONDS = 60.0
MEMORY = 2 << 30  # bytes
MAX_OUTPUT = 1_000_000  # bytes of what the file prints, and of the results
SHOWN = 2000  # characters of what the file printed
RUNNER = "fnnet.submissions.runner"


@frozen
class Report:
    """What was found about a file."""

    file: str
    checks: tuple[Check, ...]
    missing: tuple[str, ...]
    output: str
    """The beginning of what the file printed."""

    @property
    def passed(self) -> bool:
        """Whether something was checked, and everything passed."""
        return bool(self.checks) and all(each.passed for each in self.checks)


def check_file(
    path: Path, what: str, seed: int, tolerance: float, seconds: float = SECONDS
) -> Report:
    """Check a file; whatever it does, there is a report.

    Args:
        path: a Python file.
        what: "layers", "classifier" or "stability".
        seed: of the random arguments.
        tolerance: every absolute difference must be below it.
        seconds: after which the process is killed.
    """
    read, write = os.pipe()
    words = [path.resolve(), what, seed, tolerance, MEMORY, write]
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    paths = os.pathsep.join(sys.path)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", RUNNER, *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[write],
        start_new_session=True,
        env={**os.environ, **threads, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    os.close(write)
    assert process.stdout is not None
    try:
        with process.stdout:
            output, lines, stopped = _read(process.stdout.fileno(), read, seconds)
    finally:
        os.close(read)
        # The group is that of the process and what it started. It is not reaped yet.
        os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return _report(path, output, lines, stopped, how)


def _read(stdout: int, results: int, seconds: float) -> tuple[bytes, bytes, str]:
    """Read both pipes to their ends or to a limit; return them, and why it was stopped."""
    end = time.monotonic() + seconds
    found = {stdout: bytearray(), results: bytearray()}
    with selectors.DefaultSelector() as selector:
        for pipe in found:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            events = selector.select(end - time.monotonic())
            if not events and time.monotonic() > end:
                return bytes(found[stdout]), bytes(found[results]), f"took more than {seconds:g} s"
            for key, _ in events:
                part = os.read(key.fd, 1 << 16)
                found[key.fd] += part
                if not part:
                    selector.unregister(key.fd)
                elif len(found[key.fd]) > MAX_OUTPUT:
                    what = "printed" if key.fd == stdout else "found"
                    why = f"{what} more than {MAX_OUTPUT:,} bytes"
                    return bytes(found[stdout]), bytes(found[results]), why
    return bytes(found[stdout]), bytes(found[results]), ""


def _report(path: Path, output: bytes, lines: bytes, stopped: str, how: str) -> Report:
    """Make the report of what was read; a check that did not come to its end has failed."""
    head, *rows = [_parsed(line) for line in lines.split(b"\n")[:-1]] or [{}]
    names, missing = _texts(head.get("names")), _texts(head.get("missing"))
    checks = []
    for name, row in zip(names, rows, strict=False):
        passed = row.get("passed") is True and row.get("name") == name
        checks.append(Check(name, passed, _texts(row.get("messages"))))
    why = f"the process was stopped: it {stopped}" if stopped else f"the process {how}"
    left = names[len(checks) :]
    if left or stopped or not head:
        checks.append(Check(left[0] if left else "file", False, (why,)))
    checks += [Check(name, False, ("not run",)) for name in left[1:]]
    shown = output.decode(errors="replace")
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]} …"
    return Report(str(path), tuple(checks), missing, shown)


def _parsed(line: bytes) -> dict[str, Any]:
    """Return an object of JSON; an empty one for anything else, which fails the check."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
