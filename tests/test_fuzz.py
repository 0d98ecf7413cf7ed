"""Hostile files whose checksums are right are refused as documented, or read as something whole."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere RLIMIT_DATA does not count maps")
def test_mutants_of_every_kind_are_refused_or_well_formed(mutants: int) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz", "all", "0", str(mutants)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    *faults, counts = done.stdout.splitlines()
    assert faults == []
    for kind, (tried, accepted) in json.loads(counts).items():
        assert tried >= mutants // 8
        assert accepted or tried < 100, f"no {kind} was read: the mutants break outside"
        assert accepted < tried or kind == "cache"  # its pictures are at hand
