"""The process that runs somebody's file: results go as lines of JSON to a pipe of their own.

The first line is the names of what is checked and of what is missing; each further line is
a check. Nothing that the file prints can get between them.
"""

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
from fnnet.submissions.layers import RESULTS, check_function, check_softmax, draw

WANTED = {"layers": (*RESULTS,), "classifier": LAYERS, "stability": ("softmax_loss",)}
MODULE = "submission"  # what the file is as a module: not __main__, not the name of a library


def load(path: Path) -> dict[str, Any]:
    """Run a file as a module and return its names; raise Mistake if that fails."""
    module = sys.modules[MODULE] = ModuleType(MODULE)  # dataclasses look there
    module.__file__ = str(path)
    sys.path.insert(0, str(path.parent))
    call(exec, call(compile, path.read_bytes(), str(path), "exec"), module.__dict__)
    return module.__dict__


def checks_of(
    what: str, names: Mapping[str, Any], seed: int, tolerance: float
) -> tuple[dict[str, Callable[[], Check]], list[str]]:
    """Return the checks that can be made, by name, and the functions that are missing."""
    functions = {name: names[name] for name in WANTED[what] if callable(names.get(name))}
    missing = [name for name in WANTED[what] if name not in functions]
    if what == "layers":
        return {
            name: lambda name=name: check_function(name, functions, draw(name, seed, tolerance))
            for name in functions
        }, missing
    if what == "stability":
        return {name: partial(check_softmax, functions) for name in functions}, missing
    network = (
        {} if missing else {"two_layer_net": partial(check_network, functions, seed, tolerance)}
    )
    classes = {
        name: partial(check_class, name, kind, seed, tolerance)
        for name, kind in classes_in(names).items()
    }
    return {**network, **classes}, missing


def main() -> None:
    """Check the file that the command line names: path, what, seed, tolerance, memory, pipe."""
    path, what, seed, tolerance, memory, pipe = sys.argv[1:]
    sys.argv = [path]
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    try:
        checks, missing = checks_of(what, load(Path(path)), int(seed), float(tolerance))
    except Mistake as mistake:
        failed = Check("file", False, (mistake.args[0],))
        checks, missing = {"file": lambda: failed}, []
    with open(int(pipe), "w", buffering=1) as file:  # noqa: PTH123
        print(json.dumps({"names": [*checks], "missing": missing}), file=file)
        for make in checks.values():
            print(json.dumps(asdict(make())), file=file)
    sys.stdout.flush()
    os._exit(0)  # without the threads and the exit functions of the file


if __name__ == "__main__":
    main()
