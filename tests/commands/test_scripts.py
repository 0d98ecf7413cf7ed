"""The programs, run as a user runs them."""

import os
import re
import select
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import asdict, evolve

from fnnet import Checkpoint, History, load_checkpoint, save_checkpoint
from tests.cifar10_files import FOLDERS
from tests.helpers import same
from tests.programs import SCRIPTS, call, command, names, start

PROGRAMS = sorted(path.name for path in SCRIPTS.glob("*.py"))
SMALL = ["--num-epochs", "2", "--num-train", "300", "--num-val", "100", "--hidden-dim", "16"]
SMALL += ["--momentum", "0.5"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with what a short training wrote, and what it printed."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, call(folder, "train.py", *SMALL, "--print-every", 5)


def test_train_prints_losses_and_accuracies_and_writes_plot_and_checkpoint(
    trained: tuple[Path, Any],
) -> None:
    folder, done = trained
    assert done.returncode == 0, done.stderr
    checkpoint = load_checkpoint(folder / "checkpoint.npz")
    history = checkpoint.history
    assert names(folder) == {
        "plot.pdf", "checkpoint.npz", "checkpoint.previous.npz", "checkpoint.best.npz"
    }  # fmt: skip
    assert (folder / "plot.pdf").read_bytes().startswith(b"%PDF")
    steps = [int(step) for step in re.findall(r"step +(\d+)/20", done.stdout)]
    assert steps == [5, 10, 15, 20]
    losses = re.findall(r"\d  loss +([\d.]+)", done.stdout)
    assert losses == [f"{history.losses[step - 1]:.4f}" for step in steps]
    for kind, accuracies in (
        ("train", history.train_accuracy),
        ("validation", history.val_accuracy),
    ):
        found = re.findall(rf"epoch .*{kind} accuracy +([\d.]+%)", done.stdout)
        assert found == [f"{value:.2%}" for value in accuracies]
        assert len(found) == 2
    assert f"{max(history.val_accuracy):.2%}" in done.stdout.splitlines()[-3]
    assert "checkpoint.npz" in done.stdout
    assert "plot.pdf" in done.stdout
    assert done.stderr == ""  # no terminal, no progress bar


def assert_same_training(a: Checkpoint, b: Checkpoint) -> None:
    assert same(dict(a.params), dict(b.params))
    assert same(dict(a.opt_state), dict(b.opt_state))
    assert same(a.history.losses, b.history.losses)
    assert same(a.history.val_accuracy, b.history.val_accuracy)


def test_the_same_seed_with_a_progress_bar_writes_the_same_bits(
    trained: tuple[Path, Any], tmp_path: Path
) -> None:
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    try:
        args = ("--print-every", 1000, "--plot-file", "other.png", "--checkpoint-file", "c.npz")
        done = call(tmp_path, "train.py", *SMALL, *args, stderr=theirs)
        bar = os.read(ours, 10_000) if select.select([ours], [], [], 0)[0] else b""
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0
    assert b"step/s" in bar or b"it" in bar
    assert names(tmp_path) == {"other.png", "c.npz", "c.previous.npz", "c.best.npz"}
    assert (tmp_path / "other.png").read_bytes().startswith(b"\x89PNG")
    assert_same_training(
        load_checkpoint(tmp_path / "c.npz"), load_checkpoint(trained[0] / "checkpoint.npz")
    )


def test_another_seed_writes_other_bits(trained: tuple[Path, Any], tmp_path: Path) -> None:
    done = call(tmp_path, "train.py", *SMALL, "--seed", 1)
    assert done.returncode == 0, done.stderr
    other = load_checkpoint(tmp_path / "checkpoint.npz")
    first = load_checkpoint(trained[0] / "checkpoint.npz")
    assert not same(other.params["W1"], first.params["W1"])
    assert other.history.losses[0] != first.history.losses[0]


def test_the_test_set_is_used_once_unless_asked_again(
    trained: tuple[Path, Any], tmp_path: Path
) -> None:
    path, previous = tmp_path / "copy.npz", tmp_path / "copy.previous.npz"
    path.write_bytes((trained[0] / "checkpoint.npz").read_bytes())
    previous.write_bytes((trained[0] / "checkpoint.previous.npz").read_bytes())
    args = ("test.py", "--checkpoint-file", path)
    first = call(tmp_path, *args)
    assert first.returncode == 0, first.stderr
    noted = load_checkpoint(path)
    overall, *per_class = first.stdout.splitlines()
    assert noted.test_accuracy is not None
    assert f"{noted.test_accuracy:.2%} of 360" in overall
    rows = [re.fullmatch(r" *(\d) +([\d.]+)% of (\d+)", line) for line in per_class]
    assert [row and row[1] for row in rows] == [*"0123456789"]
    counts = np.array([[float(row[2]), int(row[3])] for row in rows if row])
    assert counts[:, 1].sum() == 360
    right = (counts[:, 0] / 100 * counts[:, 1]).round().sum()
    assert right / 360 == pytest.approx(noted.test_accuracy)
    assert_same_training(noted, load_checkpoint(trained[0] / "checkpoint.npz"))

    before = path.read_bytes()
    second = call(tmp_path, *args)
    assert second.returncode == 2
    assert "--again" in second.stderr
    assert "test set" in second.stderr
    assert per_class[0] not in second.stdout
    assert path.read_bytes() == before

    third = call(tmp_path, *args, "--again")
    assert (third.returncode, third.stdout) == (0, first.stdout)

    fourth = call(tmp_path, *args, "--again", "--report", tmp_path / "new" / "report")
    assert fourth.returncode == 0, fourth.stderr
    assert fourth.stdout.startswith(first.stdout)
    pictures = {p.name: p.read_bytes() for p in (tmp_path / "new" / "report").iterdir()}
    drawn = ("calibration", "classes", "confusion", "history", "mistakes", "predictions", "weights")
    assert {*pictures} == {f"{name}.png" for name in drawn}
    assert all(picture.startswith(b"\x89PNG") for picture in pictures.values())

    # The optimizer's state is still there, and the checkpoint before is the same one.
    resumed = call(
        tmp_path, "train.py", "--resume", path, "--num-epochs", 3, "--checkpoint-file", "other.npz"
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "going on after epoch 2" in resumed.stdout
    # So does it, but for the note that the test set was used.
    before_it = load_checkpoint(trained[0] / "checkpoint.previous.npz")
    assert load_checkpoint(previous) == evolve(before_it, test_set_used=True)
    assert load_checkpoint(tmp_path / "other.npz").test_set_used
    fifth = call(tmp_path, "test.py", "--checkpoint-file", "other.npz")
    assert (fifth.returncode, "--again" in fifth.stderr) == (2, True)


def test_a_checkpoint_is_shown(trained: tuple[Path, Any], tmp_path: Path) -> None:
    path = trained[0] / "checkpoint.npz"
    before = path.read_bytes()
    done = call(tmp_path, "show.py", path)
    assert done.returncode == 0, done.stderr
    checkpoint = load_checkpoint(path)
    shown = re.sub(r" +", " ", done.stdout)
    expected = {**asdict(checkpoint.config), **checkpoint.provenance}
    expected |= {
        "epochs": 2,
        "steps": 20,
        "validation accuracy": f"{checkpoint.history.val_accuracy[-1]:.2%}",
        "test accuracy": None,
        "W1": "float32 (64, 16)",
        "b2": "float32 (10,)",
    }
    for name, value in expected.items():
        assert f"\n {name} {value}\n" in shown, name
    assert path.read_bytes() == before
    missing = call(tmp_path, "show.py")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "no checkpoint at checkpoint.npz" in missing.stderr
    empty = tmp_path / "empty.npz"
    save_checkpoint(empty, evolve(checkpoint, history=History(), test_accuracy=0.5))
    done = call(tmp_path, "show.py", empty)
    assert re.search(r"epochs +0\n.*test accuracy +50.00%\n", done.stdout, re.S)


def test_a_finished_run_resumed_draws_its_plot_and_writes_nothing_else(
    trained: tuple[Path, Any], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.npz"
    path.write_bytes((trained[0] / "checkpoint.npz").read_bytes())
    done = call(tmp_path, "train.py", "--resume", path)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path / 'plot.pdf'}: loss and accuracy" in done.stdout
    assert names(tmp_path) == {"checkpoint.npz", "plot.pdf"}
    assert path.read_bytes() == (trained[0] / "checkpoint.npz").read_bytes()
    assert (tmp_path / "plot.pdf").read_bytes() == (trained[0] / "plot.pdf").read_bytes()


def test_another_machine_and_other_data_are_named_when_a_run_goes_on(
    trained: tuple[Path, Any], tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(trained[0] / "checkpoint.npz")
    for name in ("cpu", "training data"):
        provenance = {**checkpoint.provenance, name: "another"}
        save_checkpoint(tmp_path / f"{name}.npz", evolve(checkpoint, provenance=provenance))
    done = call(tmp_path, "train.py", "--resume", "cpu.npz")
    assert done.returncode == 0
    assert "cpu is another in the checkpoint, found" in done.stderr
    done = call(tmp_path, "train.py", "--resume", "training data.npz")
    assert done.returncode == 2
    assert "training data is another… in the checkpoint, found" in done.stderr
    done = call(tmp_path, "train.py", "--resume", "cpu.npz", "--seed", 5)
    assert done.returncode == 2
    assert "seed is 0 in cpu.npz, found 5" in done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--batch-size", 0], ["batch", "size", "at least 1"]),
        (["--dataset", "mnist"], ["dataset", "mnist"]),
        (["--num-train", 1400, "--num-val", 38], ["num_train + num_val", "1437", "1438"]),
        (["--plot-file", "missing/plot.pdf"], ["plot_file", "missing/plot.pdf"]),
        (["--checkpoint-file", "missing/c.npz"], ["checkpoint_file", "missing/c.npz"]),
        (["--dataset", "cifar10"], ["CIFAR-10", "/nonexistent", "fnnet download"]),
    ],
    ids=str,
)
def test_train_refuses_bad_input_before_it_writes_anything(
    tmp_path: Path, args: list[object], words: list[str]
) -> None:
    done = call(tmp_path, "train.py", *args)
    assert done.returncode == 2
    for word in words:
        assert word in done.stderr + done.stdout
    assert "epoch 1" not in done.stdout
    assert names(tmp_path) == set()


def test_test_refuses_what_is_no_checkpoint(tmp_path: Path) -> None:
    missing = call(tmp_path, "test.py")
    (tmp_path / "bad.npz").write_bytes(b"hello")
    foreign = call(tmp_path, "test.py", "--checkpoint-file", "bad.npz")
    for done, name in ((missing, "checkpoint.npz"), (foreign, "bad.npz")):
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert name in done.stderr
    assert (tmp_path / "bad.npz").read_bytes() == b"hello"
    assert names(tmp_path) == {"bad.npz"}


def test_a_divergence_is_told_and_keeps_old_files(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.npz").write_bytes(b"old")
    # One step an epoch: it is the evaluation that meets the overflow first.
    args = ("--learning-rate", 1e38, "--batch-size", 300)
    done = call(tmp_path, "train.py", *SMALL, *args)
    assert done.returncode == 1
    assert "diverged" in done.stderr
    assert "Warning" not in done.stderr
    assert (tmp_path / "checkpoint.npz").read_bytes() == b"old"


@pytest.mark.parametrize("program", ["gradcheck_layers.py", "gradcheck_classifier.py"])
def test_the_gradient_checks_pass_and_can_fail(tmp_path: Path, program: str) -> None:
    done = call(tmp_path, program, "--seed", 3)
    assert done.returncode == 0, done.stdout
    limit = {"gradcheck_layers.py": 1e-9, "gradcheck_classifier.py": 1e-10}[program]
    shown = [float(d) for d in re.findall(r"^\w+ +([\d.]+e[-+]\d+) +ok", done.stdout, re.M)]
    assert len(shown) >= 5
    assert max(shown) < limit
    assert "passed" in done.stdout
    failed = call(tmp_path, program, "--tolerance", 0)
    assert failed.returncode == 1
    assert "FAILED" in failed.stdout


def test_the_stability_check_shows_the_naive_formula_beside_ours(tmp_path: Path) -> None:
    done = call(tmp_path, "check_softmax_stability.py")
    assert done.returncode == 0
    assert "passed" in done.stdout
    assert "nan" in done.stdout or "inf" in done.stdout
    assert "2000" in done.stdout
    assert "1e+30" in done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_has_help(tmp_path: Path, program: str) -> None:
    done = call(tmp_path, program, "--help")
    assert done.returncode == 0
    assert "usage: " in done.stdout
    assert "--help" in done.stdout
    if program == "train.py":
        flags = "dataset num-train num-val hidden-dim batch-size num-epochs learning-rate momentum"
        flags += " reg seed dtype data-dir plot-file checkpoint-file print-every"
        for flag in flags.split():
            assert f"--{flag} " in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT as a terminal sends it")
@pytest.mark.parametrize("every", [1, 10**6])
def test_ctrl_c_ends_training_with_the_last_finished_epoch(tmp_path: Path, every: int) -> None:
    args = command("train.py", "--num-epochs", 1_000_000, "--num-train", 64, "--hidden-dim", 4)
    args += ["--checkpoint-every", str(every)]
    with start(tmp_path, args) as training:
        assert training.stdout is not None
        seen = ""
        while "epoch   2/" not in seen:
            line = training.stdout.readline()
            assert line, "training ended by itself"
            seen += line
        training.send_signal(signal.SIGINT)
        out = training.stdout.read()  # communicate() forgets what readline() has read ahead
        _, err = training.communicate(timeout=60)
    assert "Traceback" not in out + err
    written = {"plot.pdf", "checkpoint.npz", "checkpoint.best.npz"} | (
        {"checkpoint.previous.npz"} if every == 1 else set()
    )
    assert names(tmp_path) == written
    checkpoint = load_checkpoint(tmp_path / "checkpoint.npz")
    finished = re.findall(r"epoch +(\d+)/1000000", seen + out)
    assert len(checkpoint.history.val_accuracy) >= 2
    assert abs(len(checkpoint.history.val_accuracy) - int(finished[-1])) <= 1
    assert len(checkpoint.history.losses) == 2 * len(checkpoint.history.val_accuracy)
    assert "checkpoint.npz" in out


def test_a_second_download_does_nothing(tmp_path: Path, cifar_bin: Path) -> None:
    place = cifar_bin / FOLDERS["bin"]
    before = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    done = call(tmp_path, "download_cifar.py", "--data-dir", cifar_bin)
    assert done.returncode == 0, done.stderr
    assert "already" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in place.iterdir()} == before
    assert names(tmp_path) == set()


def test_a_download_source_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "archive.tar.gz").write_bytes(b"hello")
    done = call(
        tmp_path, "download_cifar.py", "--source", "archive.tar.gz", "--data-dir", tmp_path / "d"
    )
    assert done.returncode == 2
    assert "SHA-256" in done.stderr


def test_cifar10_is_trained_on_and_tested(tmp_path: Path, cifar_py: Path) -> None:
    args = ("--dataset", "cifar10", "--data-dir", cifar_py)
    done = call(tmp_path, "train.py", *args, *SMALL)
    assert done.returncode == 0, done.stderr
    done = call(tmp_path, "test.py")
    assert done.returncode == 0, done.stderr
    assert "of 10000" in done.stdout
    assert "airplane" in done.stdout
    assert load_checkpoint(tmp_path / "checkpoint.npz").class_names[9] == "truck"
