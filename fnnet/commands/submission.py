"""Show what was found about a file with layers that somebody else wrote."""

import json as json_module
from pathlib import Path

from fnnet.checks import as_file_path, as_integer, as_number
from fnnet.commands.program import printable
from fnnet.submissions.process import check_file


def show_module(
    module: Path | None, what: str, json: bool, seed: int = 0, tolerance: float = 0.0
) -> int:
    """Check a file in a process of its own and print the report; return 0 if it passed, else 1."""
    if module is None:
        raise ValueError("--json has an effect only with --module")
    path = as_file_path("module", module)
    if not path.is_file():
        raise ValueError(f"module must be a Python file, found none at {path}")
    path.open("rb").close()  # an error that says so if it cannot be read
    seed, tolerance = as_integer("seed", seed, low=0), as_number("tolerance", tolerance, low=0)
    report = check_file(path, what, seed, tolerance)
    if json:
        print(json_module.dumps({"file": str(path), **report}, indent=2))
        return 0 if report["passed"] else 1
    for each in report["checks"]:
        print(printable(each["name"]), "passed" if each["passed"] else "FAILED")
        print(*(f"  {printable(message)}\n" for message in each["messages"]), sep="", end="")
    if report["output"]:
        print(printable(f"printed by {path}:\n{report['output'].rstrip()}"))
    if report["missing"]:
        print(printable(f"missing: {', '.join(report['missing'])}"))
    failed = [each["name"] for each in report["checks"] if not each["passed"]]
    verdict = f"FAILED: {', '.join(failed) or 'nothing to check'}"
    print("passed" if report["passed"] else printable(verdict))
    return 0 if report["passed"] else 1
