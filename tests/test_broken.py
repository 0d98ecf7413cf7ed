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
    for name in ("fnnet", "tests", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "fnnet" / f"{case.module}.py").write_text(wrong, "utf-8")
    files = [f"tests/test_{name}.py" for name in case.tests.split()]
    options = ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "--hypothesis-profile=mutation"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    failed = 1  # other exit codes: no test ran
    assert run.returncode == failed, run.stdout[-2000:] + run.stderr
    assert "NameError" not in run.stdout, "the mistake is not the one that is meant"
