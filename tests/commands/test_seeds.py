"""The runs of several seeds and settings: which there are, what each does, what is told."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from fnnet import default_config, load_checkpoint
from fnnet.commands.seeds import SeedRun, seed_runs, train_seed
from fnnet.commands.train_flags import TrainCommand
from fnnet.search.space import Choice
from fnnet.search.workers import Workers
from tests.programs import inside, names

CONFIG = default_config(
    num_train=70, num_val=40, hidden_dim=5, num_epochs=3, seed=7, num_threads=2, learning_rate=0.3
)


def test_each_combination_of_values_is_trained_with_each_seed() -> None:
    command = TrainCommand(CONFIG, seeds=2, checkpoint_file=Path("a/c.npz"))
    ranges = {"reg": Choice((0.01, 1.0)), "momentum": Choice((0.0, 0.5))}
    runs = [*seed_runs(command, ranges)]
    assert [run.setting for run in runs] == [
        f"reg {reg}, momentum {momentum}"
        for reg in ("0.01", "1")
        for momentum in ("0", "0.5")
        for _ in range(2)
    ]
    assert [run.path.name for run in runs[1:3]] == [
        "c.reg-0.01.momentum-0.seed-8.npz", "c.reg-0.01.momentum-0.5.seed-7.npz"
    ]  # fmt: skip
    for trial, run in enumerate(runs):
        reg, momentum, seed = (0.01, 1.0)[trial // 4], (0.0, 0.5)[trial // 2 % 2], 7 + trial % 2
        assert (run.trial, run.start, run.stop, run.path.parent) == (trial, 0, 3, Path("a"))
        config = evolve(CONFIG, reg=reg, momentum=momentum, seed=seed, num_threads=1)
        assert run.config == config


def test_one_setting_has_no_name_of_its_own() -> None:
    [run] = seed_runs(TrainCommand(CONFIG), {})
    one = evolve(CONFIG, num_threads=1)
    assert run == SeedRun(0, one, 0, 3, "these settings", Path("checkpoint.seed-7.npz"))


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SeedRun:
    """A run of three epochs whose accuracies differ."""
    monkeypatch.chdir(tmp_path)
    [run] = seed_runs(TrainCommand(CONFIG, seeds=1), {})
    return run


def test_a_run_of_a_seed_says_how_good_it_is_and_is_not_trained_twice(
    job: SeedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    trial, accuracy, text = train_seed(job)
    saved = load_checkpoint(job.path)
    first, second, last = saved.history.val_accuracy.tolist()
    assert len({first, second, last}) == 3
    best = max(first, second, last)
    epoch = [first, second, last].index(best) + 1
    assert (trial, accuracy) == (0, last)
    assert text == f"last epoch {last:.2%}, best {best:.2%} after epoch {epoch}"
    before = job.path.stat()
    assert train_seed(job) == (trial, accuracy, text)
    assert job.path.stat() == before  # nothing was written

    longer = evolve(job, config=evolve(job.config, num_epochs=4), stop=4)
    train_seed(longer)
    whole = load_checkpoint(job.path)
    assert whole.history.val_accuracy.tolist()[:3] == [first, second, last]
    assert whole.num_epochs == 4
    with pytest.raises(
        ValueError, match=r"^num_epochs must be at least 4, as in checkpoint.seed-7.npz$"
    ):
        train_seed(job)
    assert "".join(capsys.readouterr()) == ""

    other = evolve(job, config=evolve(job.config, reg=0.5, tta_shift=1))
    _, accuracy, text = train_seed(other)
    saved = load_checkpoint(job.path)
    assert text.startswith(f"last epoch {saved.history.val_accuracy[-1]:.2%}, best ")
    assert text.endswith(f", {accuracy:.2%} over shifts")
    out, err = capsys.readouterr()
    assert out == ""
    kept = "kept checkpoint.seed-7.npz of another run as checkpoint.seed-7.1.npz"
    assert kept in err.splitlines()


def test_a_run_of_a_seed_that_diverges_says_where(job: SeedRun) -> None:
    wild = evolve(job, trial=3, config=evolve(job.config, learning_rate=1e30))
    trial, accuracy, text = train_seed(wild)
    assert (trial, accuracy) == (3, None)
    assert text.startswith("training diverged at step ")


Accuracies = Sequence[float | None]


@pytest.fixture
def train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Accuracies, Any], Any]]:
    """Let `fnnet train` have trained runs with these accuracies."""
    monkeypatch.setattr("fnnet.plots.comparison.plot_comparison", lambda *args: None)
    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: path.touch())

    def train(accuracies: Accuracies, *words: Any) -> Any:
        def run(function: Any, jobs: Any) -> Iterator[Any]:
            assert function is train_seed
            yield from ((j.trial, a, f"{a}") for j, a in zip(jobs, accuracies, strict=True))

        workers = nullcontext(Workers(run, 1))
        monkeypatch.setattr("fnnet.commands.seeds.processes", lambda number: workers)
        return inside(tmp_path, "train", "--num-epochs", "1", "--num-val", "50", *words)

    return train  # type: ignore[return-value]


def test_the_runs_and_what_follows_of_them_are_printed(train: Any, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.seeds.md").write_text("of another run")
    words = ["--seeds", "2", "--workers", "3", "--reg", "choice:0.01,0.1"]
    done = train([0.9, 0.92, 0.5, 0.52], *words)
    assert done.returncode == 0
    assert done.stderr == ("kept checkpoint.seeds.md of another run as checkpoint.seeds.1.md\n")
    lines = done.stdout.splitlines()
    assert lines[:6] == [
        "runs: 4, processes of one thread: 3",
        "seed 0, reg 0.01: 0.9  checkpoint.reg-0.01.seed-0.npz",
        "seed 1, reg 0.01: 0.92  checkpoint.reg-0.01.seed-1.npz",
        "seed 0, reg 0.1: 0.5  checkpoint.reg-0.1.seed-0.npz",
        "seed 1, reg 0.1: 0.52  checkpoint.reg-0.1.seed-1.npz",
        "validation accuracy after the last epoch, on 50 examples",
    ]
    assert [line.split()[1:3] for line in lines[8:10]] == [["reg", "0.01"], ["reg", "0.1"]]
    assert lines[10] == "wrote checkpoint.seeds.csv, checkpoint.seeds.md, checkpoint.seeds.png"
    [end] = lines[11:]
    assert end.startswith("reg 0.01 is better than reg 0.1 by 40")
    assert names(tmp_path) >= {f"checkpoint.seeds.{ending}" for ending in ("csv", "md", "png")}


def test_a_table_of_the_same_runs_is_replaced(train: Any, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.seed-1.npz").touch()
    (tmp_path / "checkpoint.seeds.csv").touch()
    done = train([0.9, 0.8], "--seeds", "2", "--workers", "9")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("runs: 2, processes of one thread: 2\n")
    assert done.stdout.splitlines()[-1].startswith("wrote ")  # there is nothing to compare with
    assert names(tmp_path) >= {"checkpoint.seeds.csv"}
    assert "checkpoint.seeds.1.csv" not in names(tmp_path)
    assert train([0.9], "--seeds", "1").stdout.startswith("runs: 1, processes of one thread: 1\n")


@pytest.mark.parametrize("accuracies", [[None, 0.8], [None, None]])
def test_runs_that_diverge_are_counted(accuracies: Accuracies, train: Any, tmp_path: Path) -> None:
    done = train(accuracies, "--seeds", "2")
    assert done.returncode == 1
    number = accuracies.count(None)
    assert done.stderr == f"{number} of 2 runs diverged\n"
    assert ("checkpoint.seeds.csv" in names(tmp_path)) == (number < 2)
