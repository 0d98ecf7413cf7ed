"""``scripts/train.py --distributed``, run as a user runs it, with a real MPI."""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fnnet import load_checkpoint
from fnnet.checks import Array
from fnnet.commands.mpi import _exchange
from fnnet.commands.train import train
from fnnet.commands.train_flags import train_command
from fnnet.runs.ranks import Comm
from tests.programs import ENVIRONMENT, call, command, inside, names, start

BESIDE = Path(sys.executable).with_name("mpiexec")  # where the package mpich puts it
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")
needs_mpi = pytest.mark.skipif(
    find_spec("mpi4py") is None or MPIEXEC is None, reason="needs the extra mpi"
)
RUN = ["--num-train", "100", "--num-val", "50", "--hidden-dim", "16", "--momentum", "0.9"]
ENDLESS = [*RUN, "--num-epochs", "1000000", "--checkpoint-every", "1000000"]
FILES = {"checkpoint.npz", "checkpoint.previous.npz", "checkpoint.best.npz", "plot.pdf"}


@contextmanager
def started(folder: Path, size: int, *args: object, other: Any = None) -> Iterator[Any]:
    """Start `size` ranks; the last one gets the arguments `other` after its own."""
    ranks = command("train.py", "--distributed", *args)
    groups = [["-n", str(size), *ranks]]
    if other is not None:
        groups = [["-n", str(size - 1), *ranks, ":", "-n", "1", *ranks, *map(str, other)]]
    with start(folder, [str(MPIEXEC), *groups[0]], start_new_session=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def distributed(folder: Path, size: int, *args: object, other: Any = None) -> Any:
    """Run `size` ranks to their end; return exit code, output and errors."""
    folder.mkdir(exist_ok=True)
    with started(folder, size, *args, other=other) as process:
        out, err = process.communicate(timeout=60)
    assert "Traceback" not in out + err
    return process.returncode, out, err


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what one process without MPI wrote: four epochs in four micro-batches."""
    folder = tmp_path_factory.mktemp("reference")
    done = call(folder, "train.py", *RUN, "--num-epochs", 4, "--micro-batches", 4)
    assert done.returncode == 0, done.stderr
    return folder


@needs_mpi
@pytest.mark.parametrize("size", [1, 2, 4])
def test_any_number_of_ranks_writes_the_same_bytes(
    reference: Path, tmp_path: Path, size: int
) -> None:
    code, out, err = distributed(tmp_path, size, *RUN, "--num-epochs", 4)
    assert (code, err) == (0, "")
    assert names(tmp_path) == FILES
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (reference / name).read_bytes(), name
    assert len(re.findall("^settings: ", out, re.MULTILINE)) == 1
    assert out.count("epoch   4/4") == 1
    assert ("2 ranks" in out) == (size == 2)


@needs_mpi
def test_a_run_goes_on_with_another_number_of_ranks(reference: Path, tmp_path: Path) -> None:
    assert distributed(tmp_path, 4, *RUN, "--num-epochs", 1)[0] == 0
    assert distributed(tmp_path, 2, "--resume", "checkpoint.npz", "--num-epochs", 3)[0] == 0
    done = call(tmp_path, "train.py", "--resume", "checkpoint.npz", "--num-epochs", 4)
    assert done.returncode == 0
    for name in ("checkpoint.npz", "plot.pdf"):
        assert (tmp_path / name).read_bytes() == (reference / name).read_bytes(), name
    code, _, err = distributed(
        tmp_path, 2, "--resume", "checkpoint.npz", "--micro-batches", 2, "--num-epochs", 5
    )
    assert code == 2
    assert err.count("micro_batches is 4 in checkpoint.npz, found 2: that would be another") == 1


REFUSED: dict[str, tuple[int, list[object], Any, str]] = {
    "three ranks": (3, [], None, "must be a power of two that divides micro_batches, 4, found 3"),
    "a wrong flag": (2, ["--batch-size", 0], None, "batch_size must be at least 1, found 0"),
    "no folder": (2, ["--plot-file", "no/plot.pdf"], None, "plot_file must lie in an existing"),
    "a wrong flag of one": (2, [], ["--reg", -1], "reg must be a finite number at least 0"),
    "another seed": (2, [], ["--seed", 1], "all ranks must have the same settings"),
}


@needs_mpi
@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_ends_all_ranks_and_is_told_once(case: str, tmp_path: Path) -> None:
    size, args, other, message = REFUSED[case]
    code, _, err = distributed(tmp_path, size, *RUN, *args, other=other)
    assert code == 2
    assert err.count(message) == err.count("error: ") == 1
    assert names(tmp_path) == set()


@needs_mpi
def test_a_divergence_ends_all_ranks_and_is_told_once(tmp_path: Path) -> None:
    code, _, err = distributed(tmp_path, 2, *RUN, "--num-epochs", 9, "--learning-rate", 1e30)
    assert code == 1
    assert err.count("error: training diverged at step") == 1
    assert names(tmp_path) == set()


def children(pid: int) -> list[int]:
    """Return the processes below one, the deepest last."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, encoding="utf-8")
    direct = [int(word) for word in found.stdout.split()]
    return direct + [below for child in direct for below in children(child)]


def wait_for_epoch(process: Any, epoch: int) -> None:
    for line in process.stdout:
        if f"epoch {epoch:3d}/" in line:
            return
    raise AssertionError("training ended by itself")


@needs_mpi
def test_a_killed_rank_ends_all(tmp_path: Path) -> None:
    with started(tmp_path, 2, *ENDLESS) as process:
        wait_for_epoch(process, 2)
        os.kill(children(process.pid)[-1], signal.SIGKILL)
        process.communicate(timeout=20)
    assert process.returncode != 0


@needs_mpi
def test_ctrl_c_ends_all_with_the_last_finished_epoch(tmp_path: Path) -> None:
    with started(tmp_path, 2, *ENDLESS) as process:
        wait_for_epoch(process, 2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    assert err.count("interrupted") == 1
    assert names(tmp_path) == {"checkpoint.npz", "checkpoint.best.npz", "plot.pdf"}
    assert len(load_checkpoint(tmp_path / "checkpoint.npz").history.val_accuracy) >= 2


def silent_mpi(tests: int) -> Any:
    """An MPI whose messages arrive at the last of a number of tests."""
    world = SimpleNamespace(rank=2, Irecv=lambda *_: None, Isend=lambda *_: None)
    answers = iter([False] * (tests - 1) + [True])
    request = SimpleNamespace(Testall=lambda _: next(answers))
    return SimpleNamespace(COMM_WORLD=world, BYTE=None, Request=request)


def test_an_exchange_is_over_when_one_array_is_sent_and_the_other_received() -> None:
    messages: dict[str, tuple[list[Any], int]] = {}

    def begin(kind: str, message: list[Any], rank: int) -> str:
        messages[kind] = message, rank
        return kind

    def testall(requests: list[str]) -> bool:
        assert {*requests} == {"in", "out"}
        array, _ = messages["in"][0]
        array[:] = 7
        return True

    world = SimpleNamespace(rank=2, Irecv=partial(begin, "in"), Isend=partial(begin, "out"))
    mpi = SimpleNamespace(COMM_WORLD=world, BYTE="bytes", Request=SimpleNamespace(Testall=testall))
    send, receive = np.arange(3.0), np.zeros(3)
    _exchange(mpi, 1, send, receive)
    assert receive.tolist() == [7, 7, 7]
    (sent, kind), rank = messages["out"]
    assert (sent is send, kind, rank) == (True, "bytes", 1)
    (_, kind), rank = messages["in"]
    assert (kind, rank) == ("bytes", 1)


def test_a_rank_that_waits_says_for_which_one_and_gives_up_in_the_end(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    clock = itertools.count(0.0, 0.5)
    monkeypatch.setattr("fnnet.commands.mpi.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("sys.__stderr__", sys.stderr)
    array = np.zeros(1)
    exchange = partial(_exchange, other=1, send=array, receive=array)
    exchange(silent_mpi(21))
    assert capfd.readouterr().err == ""
    exchange(silent_mpi(100))
    assert capfd.readouterr().err == "rank 2 waits for rank 1\n"
    with pytest.raises(TimeoutError, match="rank 2 has heard nothing from rank 1 for an hour"):
        exchange(silent_mpi(10_000))


def test_a_pause_of_the_whole_program_is_no_wait(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    clock = itertools.count(0.0, 100_000.0)
    monkeypatch.setattr("fnnet.commands.mpi.time.monotonic", lambda: next(clock))
    _exchange(silent_mpi(9), 1, np.zeros(1), np.zeros(1))
    assert capfd.readouterr().err == ""


ONE_EPOCH = [*RUN, "--num-epochs", "1", "--distributed", "--learning-rate", "1e-3"]


def mirror(other: int, send: Array, receive: Array) -> None:
    """Let the other rank send what this one does, all but the results."""
    receive[...] = send[: receive.size] if receive.size <= send.size else 0


def test_only_the_first_rank_writes_and_each_goes_on_from_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: None)
    assert train(Comm(0, 2, mirror), *train_command(ONE_EPOCH)) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert "checkpoint.npz" in before
    monkeypatch.setattr("fnnet.commands.train.locked", None)  # the first rank holds the lock
    args = ["--resume", "checkpoint.npz", "--num-epochs", "2", "--distributed"]
    for words in (ONE_EPOCH, args):
        capsys.readouterr()
        assert train(Comm(1, 2, mirror), *train_command(words)) == 0
        assert ("going on after epoch 1" in capsys.readouterr().out) == (words is args)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_flag_asks_mpi_for_the_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fnnet.commands.train.ranks", lambda: nullcontext(Comm(0, 2, mirror)))
    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: None)
    done = inside(tmp_path, "train", *ONE_EPOCH)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 ranks" in done.stdout.splitlines()


def test_every_step_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(other: int, send: Array, receive: Array) -> None:
        sizes.append(send.size)
        mirror(other, send, receive)

    monkeypatch.chdir(tmp_path)
    assert train(Comm(0, 2, counted), *train_command(ONE_EPOCH)) == 0
    steps = len(load_checkpoint(tmp_path / "checkpoint.npz").history.losses)
    assert steps == 4
    assert len(sizes) == 4 + 4 * steps  # what must be the same; loss and gradients, to and fro
    gradients = 64 * 16 + 16 + 16 * 10 + 10
    assert sum(sizes) == 4 * 32 + steps * (1 + gradients)


@pytest.mark.parametrize(
    ("number", "name"),
    [(0, "settings"), (1, "training data"), (2, "validation data"), (3, "start")],
)
def test_what_ranks_do_not_have_in_common_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    calls = itertools.count()

    def other_from_then_on(other: int, send: Array, receive: Array) -> None:
        receive[...] = send + (next(calls) == number)

    monkeypatch.chdir(tmp_path)
    args = [*RUN, "--num-epochs", "1", "--distributed"]
    with pytest.raises(ValueError, match=f"^all ranks must have the same {name}, rank 1 has"):
        train(Comm(0, 2, other_from_then_on), *train_command(args))
    assert names(tmp_path) == set()


def test_without_mpi_it_is_said_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "mpi4py.py").write_text("raise ImportError('No module named mpi4py')")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = call(tmp_path, "train.py", "--distributed", env=ENVIRONMENT | {"PYTHONPATH": paths})
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error: --distributed needs mpi4py" in done.stderr
    assert done.stderr.endswith(": pip install 'fnnet[mpi]'\n")
