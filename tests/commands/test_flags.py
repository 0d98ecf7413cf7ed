"""How a command line is read before its parser, and written again."""

import sys

import pytest

from fnnet import default_config
from fnnet.commands.flags import command_line, named, program, shared_out


@pytest.mark.parametrize(
    ("args", "value"),
    [
        (["--num-train", "5"], "5"),
        (["-h", "--num_train=5", "--seed", "3"], "5"),
        (["--num-train"], None),
        (["--num", "5"], None),  # no abbreviations: the parser has none
        (["--help", "-h", "5"], None),
    ],
)
def test_a_flag_is_found_in_either_spelling(args: list[str], value: str | None) -> None:
    assert named(args, "--num-train") == value


@pytest.mark.parametrize(
    ("args", "threads"),
    [
        ([], 8), (["--micro-batches", "1"], 8), (["--micro-batches", "2"], 4),
        (["--micro-batches", "16"], 1), (["--micro-batches", "x"], 8),
        (["--micro-batches", "0"], 8), (["--micro-batches", "-2"], 8), (["--micro-batches"], 8),
    ],
)  # fmt: skip
def test_the_threads_are_shared_out_where_the_number_is_right(
    args: list[str], threads: int
) -> None:
    config = default_config(num_threads=8)
    assert shared_out(config, args) == default_config(num_threads=threads)


def test_ranks_share_four_micro_batches_by_default() -> None:
    shared = shared_out(default_config(num_threads=8), ["--distributed"])
    assert shared == default_config(num_threads=2, micro_batches=4)


def test_a_command_line_has_what_differs_from_a_preset() -> None:
    for config, flags in (
        (default_config(dataset="mine.npz"), ["--dataset", "mine.npz"]),
        (
            default_config(num_train=5, hidden_dim=(3, 4), seed=2),
            ["--num-train", "5", "--hidden-dim", "3", "4", "--seed", "2"],
        ),
    ):
        assert command_line(config) == ["--preset", "digits", *flags]


@pytest.mark.parametrize("installed", [True, False])
def test_a_program_is_started_by_the_command_that_is_there(
    installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "shutil.which", lambda name: name if installed == (name == "fnnet") else None
    )
    words = ["fnnet", "test"] if installed else [sys.executable, "-m", "fnnet", "test"]
    assert program("test") == words
