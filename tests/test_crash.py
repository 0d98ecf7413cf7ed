"""Training that is killed, starved of disk, or disturbed leaves a whole checkpoint behind."""

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fnnet import CheckpointError, load_checkpoint, load_digits
from fnnet.runs.archive import is_whole
from tests.programs import ENVIRONMENT, call, command, names, start

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs the signals of POSIX")

# Everything that a resumed run could forget: augmentation, a schedule, momentum, whitening.
RUN = "--num-train 200 --num-val 100 --hidden-dim 64 --num-epochs 60 --print-every 1000"
RUN += " --momentum 0.9 --nesterov --schedule cosine --warm-up 2 --flip --shift 1 --tta-flip"
RUN += " --preprocessing whiten --components 16 --num-threads 1"
FILES = ("checkpoint.npz", "checkpoint.previous.npz")
ALL = {*FILES, "checkpoint.best.npz"}


def train(folder: Path, *args: object) -> subprocess.Popen[str]:
    """Start training, its output to one pipe."""
    return start(folder, command("train.py", *args), stderr=subprocess.STDOUT)


def parts(folder: Path) -> set[str]:
    return {name for name in names(folder) if name.endswith(".part")}


def wait_for(training: subprocess.Popen[str], word: str, times: int = 1) -> str:
    """Read what the process prints until a word has come `times` times, or the process ends."""
    assert training.stdout is not None
    seen = ""
    while seen.count(word) < times and (line := training.stdout.readline()):
        seen += line
    return seen


def kill(training: subprocess.Popen[str]) -> None:
    training.kill()
    training.communicate()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what an uninterrupted run wrote."""
    folder = tmp_path_factory.mktemp("reference")
    done = call(folder, "train.py", *RUN.split())
    assert done.returncode == 0, done.stderr
    return folder


def resumable(folder: Path) -> list[object]:
    """Return the arguments that go on with the run in the folder, or begin it."""
    for name in FILES:
        try:
            load_checkpoint(folder / name)
        except CheckpointError:
            assert not (folder / name).exists(), "a kill damaged a checkpoint"
            continue
        return ["--resume", name]
    return [*RUN.split()]


def assert_goes_on_to_the_same_end(folder: Path, reference: Path) -> None:
    done = call(folder, "train.py", *resumable(folder))
    assert done.returncode == 0, done.stderr
    for name in (*FILES, "plot.pdf"):
        assert (folder / name).read_bytes() == (reference / name).read_bytes(), name


def kill_once(folder: Path, rng: random.Random) -> tuple[bool, bool]:
    """Start or resume training and kill it; tell whether it was killed, and while it wrote."""
    before = parts(folder)
    with train(folder, *resumable(folder)) as training:
        kind = rng.choice(["at once", "between", "writing", "writing"])
        if kind == "at once":
            time.sleep(rng.uniform(0, 0.8))
        else:
            wait_for(training, "  validation accuracy", rng.randint(1, 6))
        if kind == "between":
            time.sleep(rng.uniform(0, 0.01))
        while kind == "writing" and parts(folder) == before and training.poll() is None:
            pass
        killed = training.poll() is None
        kill(training)
    return killed, parts(folder) != before


def test_killed_runs_end_with_the_bits_of_an_uninterrupted_one(
    reference: Path, tmp_path: Path, kills: int
) -> None:
    rng = random.Random(0)
    count = writing = chains = 0
    while count < kills:
        folder = tmp_path / str(chains)
        folder.mkdir()
        chains += 1
        while count < kills:
            killed, wrote = kill_once(folder, rng)
            count += killed
            writing += wrote
            if not killed:
                break
        assert_goes_on_to_the_same_end(folder, reference)
    print(f"{count} kills, {writing} of them while writing, in {chains} runs")
    assert writing >= max(1, kills // 10)


# What else works long enough to be killed: the same command goes on.
LONG = {
    "tune": "tune.py --num-train 300 --num-val 100 --num-epochs 27 --trials 9 --workers 2 "
    "--learning-rate log:0.01:1",
    "seeds": "train.py --num-train 300 --num-val 100 --num-epochs 20 --seeds 3 --workers 2",
    "pictures": "train.py --dataset pictures --hidden-dim 8 --num-epochs 3 --num-threads 1",
}


def results(folder: Path) -> dict[str, Any]:
    """Return what a command of LONG wrote: the checkpoints, and the lines of a journal."""
    journal = folder / "tune.jsonl"
    files = {p.name: p.read_bytes() for p in folder.glob("*.npz")}
    lines = sorted(journal.read_bytes().splitlines()) if journal.exists() else []
    return {**files, "lines": lines}


@pytest.mark.parametrize("kind", LONG)
def test_what_is_killed_goes_on_to_the_same_results(kind: str, tmp_path: Path, kills: int) -> None:
    rng = random.Random(kind)
    pictures = tmp_path / "pictures"
    digits = load_digits()
    for i, label in enumerate(digits.labels[:200]):
        (pictures / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.images[i]).save(pictures / str(label) / f"{i}.png")
    program, *words = LONG[kind].split()

    def begin(number: int) -> subprocess.Popen[str]:
        folder = tmp_path / str(number)
        folder.mkdir(exist_ok=True)
        if not (folder / "pictures").exists():
            (folder / "pictures").symlink_to(pictures)
        environment = ENVIRONMENT | {"FNNET_DATA_DIR": "cache"}  # its own, under the same name
        return start(folder, command(program, *words), env=environment)

    began = time.monotonic()
    with begin(0) as whole:
        assert whole.wait(60) == 0
    seconds = time.monotonic() - began
    count = number = 0
    while count < max(1, kills // 10):
        number += 1
        for _ in range(1 + (kills > 10) * rng.randrange(3)):
            with begin(number) as process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(rng.uniform(0.2, 0.9) * seconds)
                count += process.poll() is None
                kill(process)
        with begin(number) as process:
            assert process.wait(120) == 0
            kill(process)
        assert results(tmp_path / str(number)) == results(tmp_path / "0")


def small_disk(limit: int) -> Any:
    """Return what makes a child process unable to write files of more than `limit` bytes."""
    resource = pytest.importorskip("resource")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return limited


def test_a_full_disk_ends_training_with_an_error_and_the_last_checkpoint(
    reference: Path, tmp_path: Path
) -> None:
    limit = (reference / FILES[0]).stat().st_size - 1000  # the history grows until it is too long
    done = call(tmp_path, "train.py", *RUN.split(), preexec_fn=small_disk(limit))
    assert done.returncode == 2
    assert "File too large: 'checkpoint.npz'" in done.stderr
    assert {*FILES} <= names(tmp_path) <= ALL | {"plot.pdf"}
    finished = done.stdout.count("  validation accuracy")
    assert 2 < finished < 60
    assert len(load_checkpoint(tmp_path / FILES[0]).history.val_accuracy) == finished
    assert len(load_checkpoint(tmp_path / FILES[1]).history.val_accuracy) == finished - 1
    assert_goes_on_to_the_same_end(tmp_path, reference)


def test_a_signal_for_a_full_disk_harms_no_checkpoint(reference: Path, tmp_path: Path) -> None:
    limit = (reference / FILES[0]).stat().st_size - 1000
    program = (
        "import runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_DFL);"
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    python, unbuffered, *rest = command("train.py", *RUN.split())
    done = subprocess.run(
        [python, unbuffered, "-c", program, *rest],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        preexec_fn=small_disk(limit),
        timeout=60,
    )
    assert done.returncode == -signal.SIGXFSZ
    assert len(parts(tmp_path)) == 1
    assert all(is_whole(tmp_path / name) for name in FILES)


def test_a_folder_that_vanishes_ends_training_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "checkpoint.npz"
    with train(tmp_path, *RUN.split(), "--num-epochs", 10**6, "--checkpoint-file", path) as run:
        wait_for(run, "  validation accuracy", 3)
        path.parent.rename(tmp_path / "away")
        output, _ = run.communicate(timeout=60)
    assert run.returncode == 2
    assert "Traceback" not in output
    assert re.search(f"error: .*No such file.*{path}", output)
    assert is_whole(tmp_path / "away" / "checkpoint.npz")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder root cannot write")
def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    done = call(tmp_path, "train.py", *RUN.split(), "--checkpoint-file", "/proc/checkpoint.npz")
    assert done.returncode == 2
    assert "checkpoint_file cannot be written at /proc/checkpoint.npz" in done.stderr
    assert done.stdout == ""


def test_a_second_training_of_the_same_file_is_refused(tmp_path: Path) -> None:
    args = (*RUN.split(), "--num-epochs", 10**6)
    with train(tmp_path, *args, "--seed", 1) as one:
        wait_for(one, "  validation accuracy", 2)
        for program in ("train.py", "test.py"):
            two = call(tmp_path, program, "--checkpoint-file", "checkpoint.npz")
            assert two.returncode == 2
            assert "checkpoint.npz is in use by another program" in two.stderr
        one.send_signal(signal.SIGINT)
        output, _ = one.communicate(timeout=60)
        assert one.returncode == 130, output
    assert load_checkpoint(tmp_path / FILES[0]).config.seed == 1
    assert call(tmp_path, "test.py").returncode == 0


def test_a_run_in_the_folder_of_another_one_keeps_its_files(tmp_path: Path) -> None:
    short = [*RUN.split(), "--num-epochs", 3]
    kept: dict[int, str] = {}
    for seed in (1, 2):
        done = call(tmp_path, "train.py", *short, "--seed", seed)
        assert done.returncode == 0, done.stderr
        finished = {n: load_checkpoint(tmp_path / n) for n in names(tmp_path) if n.endswith("npz")}
        seeds = {c.config.seed for c in finished.values() if c.num_epochs == 3}
        assert seeds == {*kept} | {seed}
        kept |= {seed: done.stderr}
    assert "kept checkpoint.npz of another run as checkpoint.1.npz" in kept[2]
    assert {"checkpoint.1.npz", "checkpoint.1.best.npz", "plot.1.pdf"} <= names(tmp_path)
    before = names(tmp_path)
    assert call(tmp_path, "train.py", *short, "--seed", 2).returncode == 0  # its own again
    assert names(tmp_path) == before


@pytest.mark.parametrize("every", [1, 10**6])
def test_a_second_ctrl_c_harms_nothing(tmp_path: Path, every: int) -> None:
    args = (*RUN.split(), "--num-epochs", 10**6, "--checkpoint-every", every)
    with train(tmp_path, *args) as training:
        wait_for(training, "  validation accuracy", 5)
        training.send_signal(signal.SIGINT)
        if every > 1:  # the second one comes while the first one's checkpoint is written
            while not names(tmp_path) and training.poll() is None:
                pass
        else:
            wait_for(training, "interrupted")
        training.send_signal(signal.SIGINT)
        output, _ = training.communicate(timeout=60)
    assert training.returncode == 130
    assert "Traceback" not in output
    assert parts(tmp_path) == set()
    for name in names(tmp_path) & {*FILES}:
        assert len(load_checkpoint(tmp_path / name).history.val_accuracy) >= 5 - (name == FILES[1])
    if every == 1:
        assert {*FILES} <= names(tmp_path)


def test_divergence_is_explained_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    args = ("--num-train", 200, "--num-val", 100, "--hidden-dim", 8, "--num-threads", 1)
    done = call(tmp_path, "train.py", *args, "--learning-rate", 1e4, "--warm-up", 1e4)
    assert done.returncode == 1
    found = re.search(
        r"error: training diverged at step (\d+): the loss is .*; this is epoch (\d+) with a "
        r"learning rate of ([\d.]+): try a lower learning_rate",
        done.stderr,
    )
    assert found, done.stderr
    step, epoch, rate = int(found[1]), int(found[2]), float(found[3])
    assert epoch == done.stdout.count("  validation accuracy") + 1 == -(-step // 7)
    assert rate == pytest.approx(1e4 * step / 70_000, rel=1e-3)
    history = load_checkpoint(tmp_path / FILES[0]).history
    assert len(history.val_accuracy) == epoch - 1
    assert np.isfinite(history.losses).all()
