"""The process that runs somebody's file: results go as lines of JSON to a pipe of their own.

The first line is the names of what is checked and of what is missing; each further line is
a check. Nothing that the file prints can get between them.
"""

import json
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from attrs import asdict

from fnnet.submissions import classifiers, layers
from fnnet.submissions.checks import Check, Mistake, call

MODULE = "submission"  # what the file is as a module: not __main__, not the name of a library


def load(path: Path) -> dict[str, Any]:
    """Run a file as a module and return its names; raises Mistake if that fails."""
    module = ModuleType(MODULE)
    module.__file__ = str(path)
    sys.modules[MODULE] = module  # dataclasses look there
    sys.path.insert(0, str(path.parent))
    code = call(compile, [path.read_bytes(), str(path), "exec"])
    call(exec, [code, module.__dict__])
    return module.__dict__


def checks_of(what: str, names: dict[str, Any], seed: int, tolerance: float) -> Any:
    """Return the names of the checks, those of what is missing, and the checks, made one by one."""
    wanted = {
        "layers": layers.FUNCTIONS, "classifier": classifiers.LAYERS, "stability": ("softmax_loss",)
    }[what]  # fmt: skip
    functions = {name: names[name] for name in wanted if callable(names.get(name))}
    missing = [name for name in wanted if name not in functions]
    if what == "layers":
        drawn = {key: layers.draw(key, seed, tolerance) for key in layers.REFERENCES}
        made: Iterator[Check] = (
            layers.check_function(name, functions, drawn[layers.layer_of(name)])
            for name in functions
        )
        return [*functions], missing, made
    if what == "stability":
        return [*functions], missing, (layers.check_softmax(functions) for _ in functions)
    classes = classifiers.classes_in(names)
    network = ["two_layer_net"] * (not missing)
    made = (
        classifiers.check_network(functions, seed, tolerance)
        if name == "two_layer_net"
        else classifiers.check_class(classes[name], seed, tolerance)
        for name in (*network, *classes)
    )
    return [*network, *classes], missing, made


def main() -> None:
    """Check the file that the command line names: path, what, seed, tolerance, memory, pipe."""
    path, what, seed, tolerance, memory, pipe = sys.argv[1:]
    sys.argv = [path]
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))

    def send(value: Any) -> None:
        os.write(int(pipe), json.dumps(value).encode() + b"\n")

    try:
        names = load(Path(path))
    except Mistake as mistake:
        send({"names": ["file"], "missing": []})
        send(asdict(Check("file", False, (str(mistake),))))
    else:
        present, missing, made = checks_of(what, names, int(seed), float(tolerance))
        send({"names": present, "missing": missing})
        for each in made:
            send(asdict(each))
    sys.stdout.flush()
    os._exit(0)  # threads and exit functions of the file do not matter any more


if __name__ == "__main__":
    main()
