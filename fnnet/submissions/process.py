"""Check a file in a process of its own, with limits, and read what was found.

The process writes lines of JSON to a file of their own: first the names of what is checked and of
what is missing, then each check. Nothing that the checked file prints can get between them.
"""

import contextlib
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from fnnet.submissions.checks import Check, Mistake, call
from fnnet.submissions.classifiers import check_class, classes_in
from fnnet.submissions.layers import LAYERS, check_function, check_softmax, with_network

SECONDS = 60.0
SHOWN = 2000  # bytes of what the file printed
MAX_RESULTS = 1_000_000  # bytes
LIMITS = {resource.RLIMIT_AS: 2 << 30, resource.RLIMIT_FSIZE: 1_000_000}
"""Bytes of memory, and of a file that is written: the output, for example."""
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
WANTED = {
    "layers": [*LAYERS],
    "classifier": [name for name in LAYERS if name != "l2_loss"],
    "stability": ["softmax_loss"],
}


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
    with tempfile.TemporaryFile() as found, tempfile.TemporaryFile() as output:
        words = [path.absolute(), what, seed, tolerance, found.fileno()]
        process = subprocess.Popen(
            [sys.executable, "-PB", "-Wignore", "-m", __name__, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[found.fileno()],
            start_new_session=True,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        try:
            why = f"its process ended early, with exit code {process.wait(seconds)}"
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
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        # The file can write anything to its results: nothing but text is taken from them.
        head, *rows = map(json.loads, found.splitlines())
        names, missing = ([*map(str, words)] for words in head)
        for name, (passed, *messages) in zip(names, rows, strict=False):
            checks.append(Check(name, passed is True, tuple(map(str, messages))))
    left = names[len(checks) :]
    checks += [Check(name, False, ("not run" if i else why,)) for i, name in enumerate(left)]
    passed = bool(checks) and all(each.passed for each in checks)
    return Report(passed, tuple(checks), tuple(missing), output)


def checks_of(
    what: str, names: Mapping[str, Any], seed: int, tolerance: float
) -> tuple[dict[str, Callable[[], Check]], list[str]]:
    """Return the checks that can be made, by name, and the functions that are missing."""
    functions = {name: names[name] for name in WANTED[what] if callable(names.get(name))}
    missing = [name for name in WANTED[what] if name not in functions]
    checks: dict[str, Callable[..., Check]] = {}
    if what == "stability":
        return {name: partial(check_softmax, functions) for name in functions}, missing
    if what == "layers":
        checks = {name: partial(check_function, name, functions) for name in functions}
    else:
        checks = {name: partial(check_class, kind) for name, kind in classes_in(names).items()}
        if not missing:
            network = partial(check_function, "two_layer_net", with_network(functions))
            checks = {"two_layer_net": network} | checks
    return {name: partial(checks[name], seed, tolerance) for name in checks}, missing


def main() -> None:
    """Check the file that the command line names: path, what, seed, tolerance, results."""
    path, what, seed, tolerance, found = sys.argv[1:]
    sys.argv = [path]
    sys.path.insert(0, str(Path(path).parent))
    for kind, limit in LIMITS.items():
        with contextlib.suppress(ValueError):  # there is a lower limit, or none on this system
            resource.setrlimit(kind, (limit, limit))
    with open(int(found), "w", buffering=1) as file:  # noqa: PTH123
        try:
            # Its name is not __main__, and not that of a library.
            names = call(runpy.run_path, path, None, "submission")
            checks, missing = checks_of(what, names, int(seed), float(tolerance))
        except Mistake as mistake:
            checks, missing = {"file": partial(Check, "file", False, (str(mistake),))}, []
        print(json.dumps([[*checks], missing]), file=file)
        for make in checks.values():
            each = make()
            print(json.dumps([each.passed, *each.messages]), file=file)
    sys.stdout.flush()
    os._exit(0)  # without the threads and the exit functions of the file


if __name__ == "__main__":
    main()
