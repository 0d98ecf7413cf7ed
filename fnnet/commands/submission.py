"""Show what was found about a file with layers that somebody else wrote."""

import json as json_module
from pathlib import Path

from attrs import asdict

from fnnet.checks import as_file_path
from fnnet.commands.program import printable
from fnnet.submissions.process import Report, check_file


def show_module(module: Path | None, what: str, seed: int, tolerance: float, json: bool) -> int:
    """Check a file in a process of its own and print the report; return 0 if it passed, else 1."""
    if module is None:
        raise ValueError("--json has an effect only with --module")
    path = as_file_path("module", module)
    if not path.is_file():
        raise ValueError(f"module must be a Python file, found nothing of that kind at {path}")
    path.open("rb").close()
    report = check_file(path, what, seed, tolerance)
    if json:
        print(json_module.dumps({"passed": report.passed, **asdict(report)}, indent=2))
    else:
        print(printable(as_text(report)))
    return 0 if report.passed else 1


def as_text(report: Report) -> str:
    """Return a report as lines: each function with its messages, and the verdict."""
    lines = []
    for each in report.checks:
        lines += [f"{each.name:<20} {'passed' if each.passed else 'FAILED'}"]
        lines += [f"  {message}" for message in each.messages]
    lines += [f"{name:<20} missing" for name in report.missing]
    if report.output:
        lines += ["printed by the file:", report.output.rstrip()]
    failed = [each.name for each in report.checks if not each.passed]
    if report.passed:
        return "\n".join([*lines, f"passed: {len(report.checks)} checked"])
    return "\n".join([*lines, f"FAILED: {', '.join(failed) or 'there is nothing to check'}"])
