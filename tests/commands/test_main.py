"""The console command: every program by its name, and a list of them for everything else."""

from pathlib import Path

import pytest
from attrs import fields

from fnnet import TrainConfig
from fnnet.__main__ import PROGRAMS
from tests.programs import inside, names


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_is_there_and_explains_its_flags(program: str, tmp_path: Path) -> None:
    done = inside(tmp_path, program, "--help")
    assert done.returncode == 0, done.stderr
    assert f"usage: fnnet {program}" in done.stdout
    if program in ("train", "tune", "doctor"):
        flags = [f"--{field.name.replace('_', '-')}" for field in fields(TrainConfig)]
        assert [flag for flag in flags if flag not in done.stdout] == []
    assert names(tmp_path) == set()


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_lists_the_programs(words: list[str], tmp_path: Path) -> None:
    done = inside(tmp_path, *words)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("usage: fnnet PROGRAM")
    assert [line.split()[0] for line in lines[2:-2]] == [*PROGRAMS]
    assert done.stderr == ""


def test_an_unknown_program_is_a_usage_error(tmp_path: Path) -> None:
    done = inside(tmp_path, "fly", "--high")
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no program 'fly'\n")
    assert done.stdout == ""


def test_a_run_goes_from_training_to_the_test_set(tmp_path: Path) -> None:
    flags = ["--num-train", "70", "--hidden-dim", "3", "--num-epochs", "1"]
    done = inside(tmp_path, "train", *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("settings: --preset digits --num-train 70 --hidden-dim 3 ")
    assert "epochs" in inside(tmp_path, "show").stdout
    done = inside(tmp_path, "test")
    assert done.stdout.startswith("test accuracy ")
    assert inside(tmp_path, "test").returncode == 2


@pytest.mark.parametrize("what", ["layers", "classifier"])
def test_gradients_are_checked_by_name(what: str, tmp_path: Path) -> None:
    done = inside(tmp_path, "gradcheck", what)
    assert done.returncode == 0
    assert "passed: the largest difference" in done.stdout
    assert inside(tmp_path, "gradcheck", what, "--tolerance", "0").returncode == 1
