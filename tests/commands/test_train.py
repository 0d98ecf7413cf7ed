"""What `fnnet train` prints, writes and goes on from, in the words of its own files."""

import csv
import re
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from matplotlib.figure import Figure
from tqdm import tqdm

from fnnet import load_checkpoint, save_checkpoint
from fnnet.commands.train import train
from fnnet.commands.train_flags import TrainCommand, train_command
from fnnet.runs.ranks import Comm
from fnnet.runs.run import prepare
from tests.plots.drawn import legend_labels
from tests.programs import ENVIRONMENT, inside, names

# Four steps an epoch.
SMALL = ["--num-train", "40", "--num-val", "30", "--hidden-dim", "4", "--num-epochs", "3"]
SMALL += ["--batch-size", "10", "--num-threads", "1", "--warm-up", "1"]
COLUMNS = (
    "epoch step learning_rate loss data_loss regularization train_accuracy val_loss val_accuracy"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with what a training wrote, and what it printed."""
    folder = tmp_path_factory.mktemp("run")
    more = ["--tta-shift", "1", "--print-every", "5", "--log", "log.CSV", "--reg", "0.1"]
    more += ["--warm-up", "3"]  # each step has its own rate
    done = inside(folder, "train", *SMALL, *more)
    assert (done.returncode, done.stderr) == (0, "")
    return folder, done


def test_the_first_line_is_the_command_of_the_run(
    run: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, done = run
    monkeypatch.setenv("FNNET_DATA_DIR", ENVIRONMENT["FNNET_DATA_DIR"])
    first, *args = shlex.split(done.stdout.splitlines()[0])
    assert first == "settings:"
    assert train_command(args)[0].config == load_checkpoint(folder / "checkpoint.npz").config


def test_the_data_are_described(run: tuple[Path, Any]) -> None:
    folder, done = run
    trained = prepare(load_checkpoint(folder / "checkpoint.npz").config).train
    counts = np.bincount(trained.labels)
    few, many = (f"{n} ({trained.class_names[list(counts).index(n)]})" for n in sorted(counts)[::9])
    assert done.stdout.splitlines()[1] == (
        f"40 training and 30 validation examples, 10 classes of {few} to {many} training examples"
    )


def test_a_run_of_a_single_step_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: path.touch())
    done = inside(tmp_path, "train", *SMALL, "--num-epochs", "1", "--batch-size", "40")
    assert (done.returncode, done.stderr) == (0, "")
    assert "checkpoint.npz: last epoch, 1 of 1" in done.stdout
    assert names(tmp_path) >= {"checkpoint.npz", "plot.pdf"}


def test_what_is_kept_of_another_run_is_told_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: None)
    first = inside(tmp_path, "train", *SMALL)
    second = inside(tmp_path, "train", *SMALL, "--seed", "1")
    assert (first.stderr, "kept" in second.stdout) == ("", False)
    kept = [line for line in second.stderr.splitlines() if line.startswith("kept ")]
    assert any("kept checkpoint.npz of another run as checkpoint.1.npz" in line for line in kept)
    assert len(kept) == len(second.stderr.splitlines())


def test_the_loss_is_printed_of_every_nth_step_and_of_the_last(run: tuple[Path, Any]) -> None:
    folder, done = run
    history = load_checkpoint(folder / "checkpoint.npz").history
    found = re.findall(r"^step +(\d+)/12  loss (\S+)  data loss (\S+)$", done.stdout, re.M)
    assert found == [
        (str(step), f"{history.losses[step - 1]:.4f}", f"{history.data_losses[step - 1]:.4f}")
        for step in (5, 10, 12)
    ]


def test_the_log_has_a_column_for_each_measure_of_an_epoch(run: tuple[Path, Any]) -> None:
    folder, _ = run
    with (folder / "log.CSV").open(newline="") as file:
        table = csv.DictReader(file)
        rows = [*table]
    assert table.fieldnames == COLUMNS.split()
    assert b"\r" not in (folder / "log.CSV").read_bytes()
    checkpoint = load_checkpoint(folder / "checkpoint.npz")
    history, schedule = checkpoint.history, prepare(checkpoint.config).schedule
    assert [int(row["step"]) for row in rows] == [4, 8, 12]
    for i, row in enumerate(rows):
        assert float(row["learning_rate"]) == schedule(4 * i + 3)
        steps = slice(4 * i, 4 * i + 4)
        assert float(row["loss"]) == pytest.approx(history.losses[steps].mean())
        assert float(row["data_loss"]) == pytest.approx(history.data_losses[steps].mean())
        assert float(row["loss"]) > float(row["data_loss"])
        assert float(row["val_loss"]) == history.val_loss[i]


def test_the_last_lines_name_each_file_with_its_epoch_and_accuracy(run: tuple[Path, Any]) -> None:
    folder, done = run
    found = re.findall(
        r"^(checkpoint\S*): (\w+) epoch, (\d) of 3, validation accuracy (\S+%), (\S+%) averaged",
        done.stdout,
        re.M,
    )
    assert [file for file, *_ in found] == ["checkpoint.npz", "checkpoint.best.npz"]
    for (file, kind, *numbers), wanted in zip(found, ("last", "best"), strict=True):
        checkpoint = load_checkpoint(folder / file)
        again = prepare(checkpoint.config)
        averaged = again.accuracy(checkpoint.params, again.val, tta_shift=1)
        accuracy = checkpoint.history.val_accuracy[-1]
        assert kind == wanted
        assert numbers == [str(checkpoint.num_epochs), f"{accuracy:.2%}", f"{averaged:.2%}"]
    assert "\nplot.pdf: " in done.stdout


@pytest.mark.parametrize("installed", [True, False])
def test_the_command_that_comes_next_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: name if installed else None)
    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: None)  # it takes a second
    done = inside(tmp_path, "train", *SMALL, "--checkpoint-file", "my run.npz")
    first, *words = shlex.split(done.stdout.splitlines()[-1])
    program = ["fnnet"] if installed else [sys.executable, "-m", "fnnet"]
    assert [first, *words[: len(program)]] == ["next:", *program]
    done = inside(tmp_path, *words[len(program) :])
    assert (done.returncode, done.stderr) == (0, "")
    assert load_checkpoint(tmp_path / "my run.best.npz").test_accuracy is not None


@pytest.mark.parametrize("sample", [None, 7])
def test_the_plot_says_how_many_examples_the_train_accuracy_is_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: int | None
) -> None:
    if sample is not None:
        monkeypatch.setattr("fnnet.runs.run.ALL_TRAIN", sample)
        monkeypatch.setattr("fnnet.runs.run.SOME_TRAIN", sample)
    drawn: list[Figure] = []
    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: drawn.append(figure))
    done = inside(tmp_path, "train", *SMALL)
    assert ("(of 7)" in done.stdout) == (sample is not None)
    label = "training" if sample is None else "training (first 7)"
    assert label in legend_labels(drawn[0])


def test_a_run_that_does_not_get_better_ends_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: None)
    still = ["--learning-rate", "1e-30", "--warm-up", "0"]
    told = "ended: no better validation accuracy for 1 epochs"
    done = inside(tmp_path, "train", *SMALL, *still, "--patience", "1")
    assert told in done.stdout.splitlines()
    assert load_checkpoint(tmp_path / "checkpoint.npz").num_epochs == 2
    assert "ended" not in inside(tmp_path, "train", *SMALL, *still).stdout


def test_the_model_is_saved_as_often_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: None)
    for every, previous in ((1, 2), (2, 2), (3, None)):
        folder = tmp_path / str(every)
        folder.mkdir()
        inside(folder, "train", *SMALL, "--checkpoint-every", every)
        file = folder / "checkpoint.previous.npz"
        assert (load_checkpoint(file).num_epochs if file.exists() else None) == previous
        assert load_checkpoint(folder / "checkpoint.npz").num_epochs == 3


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_interruption_keeps_the_finished_epochs_and_exits_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    def interrupt(run: Any, state: Any, history: Any) -> None:
        if len(history.val_accuracy) == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr("fnnet.commands.train.show_epoch", interrupt)
    done = inside(tmp_path, "train", *SMALL)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    assert load_checkpoint(tmp_path / "checkpoint.npz").num_epochs == epoch
    assert f"checkpoint.npz: last epoch, {epoch} of 3" in done.stdout


class EagerBar(tqdm):  # type: ignore[type-arg]
    """A bar that is drawn anew at each step."""

    def __init__(self, **options: Any) -> None:
        super().__init__(mininterval=0, miniters=1, **options)


def test_a_terminal_has_a_bar_of_all_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: None)
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)
    monkeypatch.setattr("fnnet.commands.train.tqdm", EagerBar)
    more = ["--preprocessing", "whiten", "--components", "9", "--tta-shift", "1"]
    done = inside(tmp_path, "train", *SMALL, *more, terminal=True)
    steps = re.findall(r" (\d+)/12 \[[^\]]*[\d?]step/s\]", done.stderr)
    assert list(dict.fromkeys(steps)) == [str(step) for step in range(13)]
    assert "\n" not in done.stderr
    assert all(f"\r{name}: " in done.stderr for name in ("whitening", "views"))
    assert done.stderr.endswith("\r")  # it is wiped off


def test_a_resumed_run_goes_on_with_what_the_checkpoint_holds(
    run: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: path.touch())
    saved = load_checkpoint(run[0] / "checkpoint.npz")
    preprocessing = evolve(saved.preprocessing, mean=saved.preprocessing.mean + 1)
    provenance = {**saved.provenance, "cpu": "another"}
    changed = evolve(saved, preprocessing=preprocessing, provenance=provenance)
    (tmp_path / "runs").mkdir()
    save_checkpoint(tmp_path / "runs" / "a.best.npz", changed)
    done = inside(tmp_path, "train", "--resume", "runs/a.best.npz", "--num-epochs", 4)
    assert done.returncode == 0, done.stderr
    assert "going on after epoch 3" in done.stdout
    [line] = done.stderr.splitlines()
    assert re.match(r"cpu is another in the checkpoint, found .*: the last bits may change$", line)
    assert names(tmp_path) == {"runs"}
    assert {"a.npz", "plot.pdf"} <= names(tmp_path / "runs")
    resumed = load_checkpoint(tmp_path / "runs" / "a.npz")
    assert resumed.preprocessing == preprocessing
    assert np.array_equal(resumed.history.losses[:12], saved.history.losses)
    assert resumed.num_epochs == 4


def test_what_ranks_compare_and_what_is_saved_is_told_by_name(
    run: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = evolve(load_checkpoint(run[0] / "checkpoint.npz"), test_set_used=True)
    save_checkpoint(tmp_path / "a.npz", checkpoint)
    compared: list[Any] = []
    saved: list[Any] = []

    def saving(path: Path, run: Any, provenance: Any, epochs: Any, **options: Any) -> Any:
        saved.append((path, options))
        return epochs

    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: None)
    monkeypatch.setattr("fnnet.commands.train.saving", saving)
    monkeypatch.setattr("fnnet.commands.train.check_same", lambda comm, what: compared.append(what))
    flags = ["--num-epochs", 4, "--checkpoint-every", 2, "--log", "a.csv"]
    done = inside(tmp_path, "train", "--resume", "a.npz", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    [(path, options)] = saved
    assert path == Path("a.npz")
    assert (options["every"], options["test_set_used"]) == (2, True)
    assert options["pictures"] == [Path("plot.pdf"), Path("a.csv")]
    [what] = compared
    assert [*what] == ["settings", "training data", "validation data", "start"]
    assert what["training data"] == checkpoint.provenance["training data"]
    assert "'reg': 0.1" in what["settings"]


def test_a_divergence_exits_1_and_says_where(tmp_path: Path) -> None:
    done = inside(tmp_path, "train", *SMALL, "--warm-up", "0", "--learning-rate", "1e30")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "no epoch was finished: nothing written"
    assert done.stderr.splitlines()[1].startswith("error: training diverged at step ")
    assert names(tmp_path) == set()


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_of_two_ranks_alone_looks_where_it_will_write(
    rank: int, run: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def stop(comm: Any, what: Any) -> None:
        raise ValueError("stop here")

    monkeypatch.chdir(run[0])
    monkeypatch.setattr("fnnet.commands.train.check_same", stop)
    before = load_checkpoint("checkpoint.npz")
    config = evolve(before.config, micro_batches=2)
    command = TrainCommand(config, plot_file="missing/plot.pdf")
    comm = Comm(rank, 2, lambda *args: None)
    with pytest.raises(ValueError, match="stop here" if rank else "plot_file must lie in"):
        train(comm, command, before)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:2] + lines[3:] == (["2 ranks", "going on after epoch 3"] if rank else [])


def test_the_ranks_of_mpi_train_what_the_command_line_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comm, called = Comm(0, 2, lambda *args: None), list[Any]()

    def train(*args: Any) -> int:
        called.append(args)
        return 7

    monkeypatch.setattr("fnnet.commands.train.ranks", lambda: nullcontext(comm))
    monkeypatch.setattr("fnnet.commands.train.train", train)
    monkeypatch.setattr("fnnet.commands.train.train_command", lambda args: (args, "before"))
    done = inside(tmp_path, "train", "--reg", "0.5", "--distributed")
    assert done.returncode == 7
    assert called == [(comm, ["--reg", "0.5", "--distributed"], "before")]
