"""How tests run the programs: in a process of their own, as a user does, or in this one."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fnnet.__main__ import main

SCRIPTS = Path(__file__).parent.parent / "scripts"
# Errors are drawn in boxes as wide as the terminal: keep their words on one line.
ENVIRONMENT = os.environ | {"PYTHONUTF8": "1", "COLUMNS": "500", "FNNET_DATA_DIR": "/nonexistent"}


def command(program: str, *args: object) -> list[str]:
    return [sys.executable, "-u", str(SCRIPTS / program), *map(str, args)]


def call(folder: Path, program: str, *args: object, **options: Any) -> Any:
    """Run a program to its end; it must not show a traceback."""
    pipe = subprocess.PIPE
    options = {"stdout": pipe, "stderr": pipe, "env": ENVIRONMENT, **options}
    done = subprocess.run(
        command(program, *args),
        cwd=folder,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        timeout=60,
        **options,
    )
    assert "Traceback" not in f"{done.stdout}{done.stderr}"
    return done


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def inside(
    folder: Path, *words: object, terminal: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Run ``fnnet WORDS`` in this process, which takes a tenth of the time."""
    out, err = io.StringIO(), Terminal() if terminal else io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("COLUMNS", "FNNET_DATA_DIR"):
            patch.setenv(name, ENVIRONMENT[name])
        patch.setattr(sys, "argv", ["fnnet", *map(str, words)])
        streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
        with streams[0], streams[1], pytest.raises(SystemExit) as caught:
            main()
    return subprocess.CompletedProcess(words, caught.value.code, out.getvalue(), err.getvalue())  # type: ignore[arg-type]


def start(folder: Path, words: Sequence[str], **options: Any) -> subprocess.Popen[str]:
    """Start a command, its output to pipes."""
    pipe = subprocess.PIPE
    options = {"stdout": pipe, "stderr": pipe, "env": ENVIRONMENT, **options}
    return subprocess.Popen(
        words,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        # A suite that runs in the background ignores SIGINT, and its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
