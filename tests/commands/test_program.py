"""A program turns flags into settings, and every mistake into one line and an exit code."""

import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet import (
    CheckpointError,
    TrainConfig,
    check_gradients,
    default_config,
    load_checkpoint,
    save_checkpoint,
)
from fnnet.__main__ import start
from fnnet.commands.flags import command_line
from fnnet.commands.gradcheck import show_reports
from fnnet.commands.program import printable, progress, run
from fnnet.commands.train_flags import TrainCommand, train_command
from tests.programs import ENVIRONMENT, Terminal
from tests.runs.test_checkpoint import make
from tests.runs.test_resume import OTHER


def train_config(args: list[str]) -> TrainConfig:
    return train_command(args)[0].config


def code_of(main: Callable[[], int | None]) -> object:
    with pytest.raises(SystemExit) as caught:
        run(main)
    return caught.value.code


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("labels must be fine"), 2),
        (CheckpointError("labels must be fine"), 2),
        (OSError("labels must be fine"), 2),
        (ArithmeticError("labels must be fine"), 1),
        (ValueError(), 2),
    ],
)
def test_an_error_is_a_line_on_stderr_and_an_exit_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(raising(error)) == code
    output = capsys.readouterr()
    assert output.err == f"error: {error if error.args else 'ValueError'}\n"
    assert output.out == ""


def test_a_reader_that_goes_away_ends_the_program_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    redirected: list[int] = []
    monkeypatch.setattr("os.dup2", lambda source, target: redirected.append(target))
    assert code_of(raising(BrokenPipeError())) == 1
    assert redirected == [sys.stdout.fileno()]
    assert capfd.readouterr() == ("", "")


def test_an_interruption_has_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(raising(KeyboardInterrupt())) not in (0, 1, 2)
    assert "Traceback" not in capsys.readouterr().err


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(AttributeError):
        run(raising(AttributeError("bug")))


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_result_is_the_exit_code(result: int | None, code: int) -> None:
    assert code_of(lambda: result) == code


def test_no_flags_mean_the_defaults_of_the_digits() -> None:
    assert train_config([]) == default_config("digits")


@pytest.mark.parametrize(
    "args", [["--dataset", "cifar10"], ["--dataset=cifar10"], ["--seed", "0", "--dataset=cifar10"]]
)
def test_each_dataset_has_its_own_defaults(args: list[str]) -> None:
    assert train_config(args) == default_config("cifar10")


def test_data_of_your_own_have_no_numbers_of_examples_by_default() -> None:
    config = train_config(["--dataset", "mine.npz"])
    assert config == default_config("digits", dataset="mine.npz")
    assert (config.num_train, config.num_val) == (None, None)


def test_flags_change_the_defaults() -> None:
    args = ["--num-train", "100", "--num-val", "50", "--hidden-dim", "8", "--batch-size", "10"]
    args += ["--num-epochs", "3", "--learning-rate", "0.5", "--momentum", "0.9", "--reg", "1e-4"]
    args += ["--seed", "7", "--dtype", "float64", "--data-dir", "d"]
    assert train_config(args) == default_config(
        num_train=100,
        num_val=50,
        hidden_dim=8,
        batch_size=10,
        num_epochs=3,
        learning_rate=0.5,
        momentum=0.9,
        reg=1e-4,
        seed=7,
        dtype="float64",
        data_dir="d",
    )


def test_flags_say_what_is_written_and_printed() -> None:
    args = ["--plot-file", "p.png", "--checkpoint-file", "c.npz", "--print-every", "2"]
    command, checkpoint = train_command([*args, "--checkpoint-every", "3"])
    assert checkpoint is None
    assert command == TrainCommand(
        default_config(),
        plot_file=Path("p.png"),
        checkpoint_file=Path("c.npz"),
        print_every=2,
        checkpoint_every=3,
    )


@pytest.mark.parametrize("flag", ["--print-every", "--checkpoint-every"])
def test_every_0_steps_is_refused(flag: str) -> None:
    assert code_of(lambda: bool(train_config([flag, "0"]))) == 2


def test_plot_and_checkpoint_are_two_files() -> None:
    args = ["--plot-file", "a.png", "--checkpoint-file", "a.png"]
    assert code_of(lambda: bool(train_config(args))) == 2


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--batch-size", "0"),
        ("--batch-size", "many"),
        ("--num-epochs", "-1"),
        ("--learning-rate", "nan"),
        ("--momentum", "1"),
        ("--reg", "-1"),
        ("--seed", "-1"),
        ("--dataset", ""),
        ("--dtype", "float16"),
        ("--plot-file", "plot.gif"),
    ],
)
def test_a_bad_flag_exits_2_with_its_name(
    flag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(lambda: bool(train_config([flag, value]))) == 2
    output = capsys.readouterr()
    shown = (output.out + output.err).replace("-", "_")
    assert flag[2:].replace("-", "_") in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    "args",
    [["--surprise", "1"], ["--batch-size"], ["--dataset"], ["--resume"], ["--preset"], ["stray"]],
)
def test_a_command_line_that_is_none_exits_2(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(lambda: bool(train_config(args))) == 2
    assert args[0].lstrip("-") in "".join(capsys.readouterr())


def test_reports_are_shown_with_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    args = {"a": np.array([1.0, 2.0])}
    grads = [args, {"a": np.array([1.0, 2.1])}]
    right, wrong = (
        check_gradients(lambda p: float(p["a"] @ p["a"]) / 2, args, g, tolerance=1e-6)
        for g in grads
    )
    assert show_reports({"right": right}, 1e-6) == 0
    assert "passed" in capsys.readouterr().out
    assert show_reports({"right": right, "wrong": wrong}, 1e-6) == 1
    shown = capsys.readouterr().out
    assert "FAILED: wrong" in shown
    assert "1e-06" in shown


@pytest.mark.parametrize("preset", ["homework", "fast", "minute", "best", "deep", "record"])
def test_flags_win_over_the_preset_they_are_given_with(preset: str) -> None:
    assert train_config(["--preset", preset]) == default_config(preset)
    args = ["--seed", "3", "--preset", preset, "--no-flip", "--hidden-dim=7"]
    assert train_config(args) == default_config(preset, seed=3, flip=False, hidden_dim=7)


def test_the_flags_that_a_run_prints_make_the_same_run(tmp_path: Path) -> None:
    for config in (
        default_config(),
        default_config("minute", tta_flip=False),
        default_config("fast", seed=5, data_dir=tmp_path, learning_rate=0.1 + 0.2),
        default_config("cifar10", dataset="digits", num_train=1, num_val=2),
    ):
        assert train_config(command_line(config)) == config


@pytest.mark.parametrize("name", OTHER)
def test_any_setting_comes_back_from_the_flags_that_a_run_prints(name: str) -> None:
    config = default_config(**{name: OTHER[name]})
    assert train_config(command_line(config)) == config


@pytest.mark.parametrize("micro_batches", [1, 2, 4])
def test_the_threads_of_a_run_in_micro_batches_come_back(
    monkeypatch: pytest.MonkeyPatch, micro_batches: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    for num_threads in (1, 2, 4, 8):
        config = default_config(micro_batches=micro_batches, num_threads=num_threads)
        args = command_line(config)
        assert train_config(args) == config
        assert ("--num-threads" in args) == (num_threads != 8 // micro_batches)


def test_the_flags_that_a_run_prints_are_a_preset_and_what_differs_from_it() -> None:
    assert command_line(default_config()) == ["--preset", "digits"]
    changed = default_config("best", seed=3, flip=False)
    assert command_line(changed) == ["--preset", "best", "--no-flip", "--seed", "3"]


def test_a_run_in_micro_batches_shares_out_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(9), raising=False)

    def shares(*args: str) -> tuple[int, int]:
        config = train_config([*args])
        return config.micro_batches, config.num_threads

    assert shares() == (1, 9)
    assert shares("--distributed") == (4, 2)
    assert shares("--micro-batches", "3") == (3, 3)
    assert shares("--micro-batches=16", "--distributed") == (16, 1)
    assert shares("--micro_batches", "3") == (3, 3)  # either way to write a flag
    assert shares("--distributed", "--num-threads", "5") == (4, 5)
    assert shares("--distributed", "--micro-batches", "1") == (1, 9)


def test_a_lack_of_memory_says_what_needs_less(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (MemoryError(), MemoryError("Unable to allocate 954. GiB")):
        assert code_of(raising(error)) == 2
        reason = f": {error}" if error.args else ""
        assert capsys.readouterr().err == (
            f"error: not enough memory{reason}; a smaller hidden_dim or batch_size needs less\n"
        )


def test_an_error_that_holds_control_characters_is_harmless(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert code_of(raising(ValueError("a file named \x1b[2J\x9b1m"))) == 2
    assert capsys.readouterr().err == "error: a file named \\x1b[2J\\x9b1m\n"


@given(st.text())
def test_printable_text_has_no_control_characters(text: str) -> None:
    shown = printable(text)
    assert all(c.isprintable() or c == "\n" for c in shown)
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2), (0, 1, 2)])
def test_a_program_whose_streams_are_closed_does_its_work(
    closed: tuple[int, ...], tmp_path: Path
) -> None:
    redirections = " ".join(f"{number}>&-" for number in closed)
    words = f"train --num-train 30 --num-val 10 --num-epochs 1 {redirections}"
    line = f"{shlex.quote(sys.executable)} -m fnnet {words}"
    done = subprocess.run(line, shell=True, cwd=tmp_path, env=ENVIRONMENT, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert load_checkpoint(tmp_path / "checkpoint.npz").num_epochs == 1


def test_an_interruption_while_a_program_is_imported_has_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fnnet.__main__.import_module", lambda name: raising(KeyboardInterrupt())())
    with pytest.raises(SystemExit) as caught:
        start("train")
    assert caught.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_nothing_large_is_imported_before_a_program_runs() -> None:
    text = "import sys, fnnet.__main__; print('numpy' in sys.modules, 'tqdm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["--pool", "2"], ["--pool"]),
        (["--components=10", "--epsilon", "2"], ["--components", "--epsilon"]),
        (["--pool", "2", "--preprocessing", "whiten"], []),
        (["--nesterov"], ["--nesterov"]),
        (["--nesterov", "--momentum", "0.9"], []),
        (["--data-dir", "x"], ["--data-dir"]),
        (["--data_dir", "x", "--dataset", "cifar10"], []),
        (["--seeds", "2", "--plot-file", "a.png", "--num-threads", "1"], ["--plot", "--num"]),
        (["--seeds=2", "--print-every=2", "--checkpoint_every=2"], ["--print", "--checkpoint"]),
    ],
)
def test_a_flag_without_effect_is_said_to_have_none(
    flags: list[str], names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    train_command(flags)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(names)
    for name in names:
        assert sum(line.startswith(name) and "has no effect" in line for line in lines) == 1


def test_it_is_said_why_a_flag_has_no_effect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_command(["--pool", "2", "--plot-file", "a.png", "--print-every", "3", "--seeds", "2"])
    assert capsys.readouterr().err == (
        "--pool has no effect without whitening\n--plot-file has no effect with --seeds\n"
        "--print-every has no effect with --seeds\n"
    )
    save_checkpoint(tmp_path / "a.npz", make())
    train_command(["--resume", str(tmp_path / "a.npz"), "--preset", "digits"])
    assert capsys.readouterr().err == "--preset has no effect with --resume\n"


def test_a_resumed_run_is_saved_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save_checkpoint(tmp_path / "a.best.npz", make(hidden_dim=9))
    command, checkpoint = train_command(["--resume", "~/a.best.npz"])
    assert checkpoint == load_checkpoint(tmp_path / "a.best.npz")
    assert command == TrainCommand(
        checkpoint.config,
        resume=tmp_path / "a.best.npz",
        checkpoint_file=tmp_path / "a.npz",
        plot_file=tmp_path / "plot.pdf",
    )
    assert train_command(["--dataset", "cifar10"])[0].preset == "cifar10"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"workers": 2}, "workers has no effect without seeds: leave it out"),
        (
            {"seeds": 2, "resume": "a.npz"},
            "resume has no effect with seeds: leave one of them out",
        ),
        (
            {"plot_file": "a.pdf", "checkpoint_file": "a.pdf"},
            "plot_file and checkpoint_file must differ, found a.pdf, the name of a checkpoint",
        ),
        (
            {"log": "a.best.csv", "checkpoint_file": "a.csv"},
            "log and checkpoint_file must differ, found a.best.csv, the name of a checkpoint",
        ),
    ],
)
def test_flags_that_exclude_each_other_are_named(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        TrainCommand(default_config(), **flags)


def test_log_and_plot_are_two_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    (tmp_path / "a.png").symlink_to(tmp_path / "a.csv")
    message = f"log and plot_file must differ, found {tmp_path / 'a.csv'}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        TrainCommand(default_config(), log=tmp_path / "a.csv", plot_file=tmp_path / "a.png")


@pytest.mark.parametrize("flag", ["--checkpoint-file", "--log"])
@pytest.mark.parametrize("word", [".", "", "/"])
def test_a_file_needs_a_name(flag: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises((SystemExit, ValueError)) as caught:  # an old tyro lets the error through
        train_command([f"{flag}={word}"])
    shown = " ".join(capsys.readouterr().err.split()) + str(caught.value)
    assert f"{flag[2:].replace('-', '_')} must be the name of a file" in shown


@pytest.mark.parametrize("name", ["a.csv", "a.CSV", "a.txt", "a"])
def test_a_log_is_a_csv_file(name: str) -> None:
    if name.lower().endswith(".csv"):
        assert train_command(["--log", name])[0].log == Path(name)
    else:
        with pytest.raises(ValueError, match=f"log must end in .csv, found {name}$"):
            TrainCommand(default_config(), log=Path(name))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_text_can_be_printed(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "caf\xe9 \u4e2d \udcff"
    for name in ("stdout", "stderr"):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding=encoding, newline="\n"))
        assert code_of(lambda name=name: print(text, file=getattr(sys, name))) == 0  # type: ignore[misc]
        getattr(sys, name).flush()
        shown = raw.getvalue().decode(encoding)
        assert shown == text.encode(encoding, "backslashreplace").decode(encoding) + "\n"


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_any_text_can_be_printed_to_a_stream_that_is_closed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, name, None)  # as Python starts after `>&-`
    assert code_of(lambda: print("caf\xe9 \u4e2d \udcff", file=getattr(sys, name))) == 0
    getattr(sys, name).close()


@pytest.mark.parametrize("is_terminal", [False, True])
def test_progress_passes_the_parts_on_and_shows_them_on_a_terminal(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    assert [*progress("whitening")(range(3))] == [0, 1, 2]
    assert stream.getvalue().startswith("\rwhitening:   0%" if is_terminal else "")
    assert stream.getvalue().endswith("\r" if is_terminal else "")
    assert bool(stream.getvalue()) == is_terminal
