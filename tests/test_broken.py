import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.broken import BROKEN

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("title", BROKEN)
def test_a_mistake_is_caught(title: str, broken: bool, tmp_path: Path) -> None:
    case = BROKEN[title]
    source = (ROOT / "fnnet" / f"{case.module}.py").read_text("utf-8")
    assert source.count(case.old) == 1, "the mistake fits nowhere any more, or twice"
    wrong = source.replace(case.old, case.new)
    ast.parse(wrong)
    if not broken:  # the rest takes seconds for each
        return
    run = copy_and_run(tmp_path, case.module, wrong, case.tests)
    failed = 1  # other exit codes: no test ran
    assert run.returncode == failed, run.stdout[-2000:] + run.stderr
    assert "NameError" not in run.stdout, "the mistake is not the one that is meant"


def test_the_tests_pass_without_a_mistake(broken: bool, tmp_path: Path) -> None:
    names = " ".join(sorted({name for case in BROKEN.values() for name in case.tests.split()}))
    assert all((ROOT / "tests" / f"test_{name}.py").is_file() for name in names.split())
    if not broken:
        return
    source = (ROOT / "fnnet" / "layers.py").read_text("utf-8")
    run = copy_and_run(tmp_path, "layers", source, names)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr


def copy_and_run(
    folder: Path, module: str, source: str, tests: str
) -> subprocess.CompletedProcess[str]:
    """Run some tests on a copy of the package that has another source of one module."""
    for name in ("fnnet", "tests", "scripts", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    (folder / "fnnet" / f"{module}.py").write_text(source, "utf-8")
    files = [f"tests/test_{name}.py" for name in tests.split()]
    options = ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "--hypothesis-profile=mutation"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
