"""The process that runs somebody's file: results go as lines of JSON to a file of their own.

The first line is the names of what is checked and of what is missing; each further line is
a check. Nothing that the file prints can get between them.
"""

import contextlib
import json
import os
import resource
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from attrs import asdict

from fnnet.submissions.checks import Check, Mistake, call
from fnnet.submissions.classifiers import LAYERS, check_class, check_network, classes_in
from fnnet.submissions.layers import RESULTS, check_function, check_softmax

WANTED = {"layers": (*RESULTS,), "classifier": LAYERS, "stability": ("softmax_loss",)}
MODULE = "submission"  # what the file is as a module: not __main__, not the name of a library
LIMITS = {resource.RLIMIT_AS: 2 << 30, resource.RLIMIT_FSIZE: 1_000_000}
"""Bytes of memory, and of a file that is written: the output, for example."""


def load(path: Path) -> dict[str, Any]:
    """Run a file as a module and return its names; raise Mistake if that fails."""
    module = sys.modules[MODULE] = ModuleType(MODULE)  # dataclasses look there
    module.__file__ = str(path)
    sys.path.insert(0, str(path.parent))
    call(exec, call(compile, path.read_bytes(), str(path), "exec"), module.__dict__)
    return module.__dict__


def checks_of(
    what: str, names: Mapping[str, Any], **options: Any
) -> Mapping[str, Callable[[], Check]]:
    """Return the checks that can be made, by name."""
    functions = {name: names[name] for name in WANTED[what] if callable(names.get(name))}
    if what == "layers":
        return {name: partial(check_function, name, functions, **options) for name in functions}
    if what == "stability":
        return {name: partial(check_softmax, functions) for name in functions}
    whole = len(functions) == len(LAYERS)
    network = {"two_layer_net": partial(check_network, functions, **options)} if whole else {}
    classes = classes_in(names)
    return network | {name: partial(check_class, classes[name], **options) for name in classes}


def main() -> None:
    """Check the file that the command line names: path, what, seed, tolerance, results."""
    path, what, seed, tolerance, found = sys.argv[1:]
    sys.argv = [path]
    for kind, limit in LIMITS.items():
        with contextlib.suppress(ValueError):  # there is a lower limit, or none on this system
            resource.setrlimit(kind, (limit, limit))
    with open(int(found), "w", buffering=1) as file:  # noqa: PTH123
        try:
            names = load(Path(path))
            checks = checks_of(what, names, seed=int(seed), tolerance=float(tolerance))
            missing = [name for name in WANTED[what] if not callable(names.get(name))]
        except Mistake as mistake:
            failed = Check("file", False, (mistake.args[0],))
            checks, missing = {"file": lambda: failed}, []
        print(json.dumps({"names": [*checks], "missing": missing}), file=file)
        for make in checks.values():
            print(json.dumps(asdict(make())), file=file)
    sys.stdout.flush()
    os._exit(0)  # without the threads and the exit functions of the file


if __name__ == "__main__":
    main()
