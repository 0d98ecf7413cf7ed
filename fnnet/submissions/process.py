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

from fnnet.submissions.checks import Check, Mistake, call
from fnnet.submissions.classifiers import check_class, classes_in
from fnnet.submissions.layers import LAYERS, check_function, check_softmax, with_network

Report = dict[str, Any]
SHOWN = 2000  # bytes of what the file printed
MAX_RESULTS = 1_000_000  # bytes
LIMITS = {resource.RLIMIT_AS: 2 << 30, resource.RLIMIT_FSIZE: 1_000_000}
"""Bytes of memory, and of a file that is written: the output, for example."""
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
NETWORK = [name for name in LAYERS if name != "l2_loss"]  # what a two-layer net is made of
WANTED = {"layers": [*LAYERS], "classifier": NETWORK, "stability": ["softmax_loss"]}


def check_file(path: Path, what: str, seed: int, tolerance: float, seconds: float = 60) -> Report:
    """Check a file; whatever it does, there is a report.

    Args:
        path: a Python file.
        what: "layers", "classifier" or "stability".
        seed: of the random arguments.
        tolerance: every absolute difference must be below it.
        seconds: after which the process is killed, with all that it started.

    Returns:
        the report as in JSON: `passed`, whether something was checked, and everything passed;
        `checks`, each with a `name`, `passed` and `messages`; the functions that are `missing`;
        and `output`, the beginning of what the file printed.
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
        return read_report(
            found.read(MAX_RESULTS), output.read(SHOWN).decode(errors="replace"), why
        )


def read_report(found: bytes, output: str, why: str) -> Report:
    """Make the report of what was read: a check that did not come to its end has failed."""
    names, missing, ends = ["file"], list[str](), list[dict[str, Any]]()
    with contextlib.suppress(ValueError, TypeError, LookupError, RecursionError):
        # The file can write anything to its results: nothing but text is taken from them.
        head, *rows = map(json.loads, found.splitlines())
        names, missing = ([*map(str, words)] for words in head)
        ends = [{"passed": row[0] is True, "messages": [*map(str, row[1:])]} for row in rows]
    ends += [{"passed": False, "messages": [text]} for text in (why, *["not run"] * len(names))]
    checks = [{"name": name, **end} for name, end in zip(names, ends, strict=False)]
    passed = bool(checks) and all(each["passed"] for each in checks)
    return {"passed": passed, "checks": checks, "missing": missing, "output": output}


def checks_of(
    what: str, names: Mapping[str, Any], **options: Any
) -> tuple[Mapping[str, Callable[[], Check]], list[str]]:
    """Return the checks that can be made, by name, and the functions that are missing."""
    functions = {name: names[name] for name in WANTED[what] if callable(names.get(name))}
    missing = [name for name in WANTED[what] if name not in functions]
    if what == "stability":
        return {name: partial(check_softmax, functions) for name in functions}, missing
    check_one = partial(check_function, functions=with_network(functions), **options)
    if what == "layers":
        return {name: partial(check_one, name) for name in functions}, missing
    classes = {name: partial(check_class, k, **options) for name, k in classes_in(names).items()}
    network = {} if missing else {"two_layer_net": partial(check_one, "two_layer_net")}
    return network | classes, missing


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
            checks, missing = checks_of(what, names, seed=int(seed), tolerance=float(tolerance))
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
