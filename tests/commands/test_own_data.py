"""Own pictures, images and features: train, resume, test, predict, several seeds."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from PIL import Image

from fnnet import (
    DataError,
    classify,
    load,
    load_checkpoint,
    load_digits,
    predict,
    probabilities,
    save_checkpoint,
    split,
)
from fnnet.checks import Array
from fnnet.commands import predict as prediction
from fnnet.commands import show, test, train, train_flags
from fnnet.runs.classify import scores_of
from fnnet.runs.run import prepare
from fnnet.search.halving import Job
from fnnet.search.workers import Workers
from tests.programs import inside

FAST = ["--num-epochs", "3", "--hidden-dim", "16", "--num-threads", "1", "--plot-file", "plot.png"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures and .npz files made of 500 digits."""
    folder = tmp_path_factory.mktemp("data")
    digits = load_digits()
    images, labels = digits.images[:500] * 15, digits.labels[:500]
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / "pictures" / f"digit-{label}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i:03d}.png")
    np.savez(folder / "images.npz", images=images, labels=labels)
    features = images.reshape(500, -1) / 16 + 1000.0
    np.savez(folder / "features.npz", features=features, labels=labels)
    return folder


def main(monkeypatch: pytest.MonkeyPatch, program: Any, *args: object) -> int:
    """Run a program in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["fnnet", *map(str, args)])
    return program.main() or 0


@pytest.mark.parametrize("name", ["pictures", "images.npz", "features.npz"])
def test_own_data_are_trained_on_resumed_tested_and_classified(
    data: Path,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FNNET_DATA_DIR", str(tmp_path / "cache"))
    assert main(monkeypatch, train, "--dataset", data / name, *FAST) == 0
    out = capsys.readouterr().out
    assert "360 training and 40 validation examples, 10 classes of" in out
    assert main(monkeypatch, train, "--resume", "checkpoint.npz", "--num-epochs", 9) == 0
    last, best = map(load_checkpoint, ("checkpoint.npz", "checkpoint.best.npz"))
    assert last.num_epochs == 9
    assert last.history.best_epoch == best.num_epochs
    assert f"checkpoint.best.npz: best epoch, {best.num_epochs} of 9" in capsys.readouterr().out
    assert main(monkeypatch, test, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["checkpoint_file"] == "checkpoint.best.npz"
    assert result["test_accuracy"] > 0.7
    assert sum(c["examples"] for c in result["classes"].values()) == result["examples"] == 100
    with pytest.raises(ValueError, match="the test set has been used"):
        main(monkeypatch, test, "--checkpoint-file", "checkpoint.npz")
    file = data / name if name.endswith("npz") else data / name / "digit-3"
    assert main(monkeypatch, prediction, file, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    right = 500 if name.endswith("npz") else len([*file.iterdir()])
    assert len(rows) == right
    assert all(0.1 <= row["runner_up_probability"] + row["probability"] <= 1.001 for row in rows)
    if name == "pictures":
        assert np.mean([row["label"] == "digit-3" for row in rows]) > 0.7


def test_other_data_than_the_runs_are_refused_by_name(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(monkeypatch, train, "--dataset", data / "images.npz", *FAST) == 0
    for program, args in (
        (train, ["--resume", "checkpoint.npz", "--dataset", "digits", "--num-epochs", 5]),
        (test, ["--dataset", "digits"]),
    ):
        with pytest.raises(ValueError, match=r"checkpoint.*npz belongs to other data"):
            main(monkeypatch, program, *args)
    with pytest.raises(ValueError, match="flip needs images"):
        main(monkeypatch, train, "--dataset", data / "features.npz", "--flip", *FAST)


@pytest.fixture
def trained(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run on the pictures, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FNNET_DATA_DIR", str(tmp_path / "cache"))
    args = ["--dataset", data / "pictures", *FAST, "--tta-shift", "1", "--log", "run.csv"]
    assert main(monkeypatch, train, *args) == 0
    return tmp_path


def test_what_cannot_be_read_is_reported_and_the_rest_classified(
    trained: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    good = sorted((data / "pictures" / "digit-7").iterdir())[0]
    wide = Image.open(good).resize((90, 60)).convert("RGB")  # resized and cropped as in training
    wide.save("wide.jpg")
    Path("broken.png").write_bytes(good.read_bytes()[:40])
    Path("notes.txt").write_text("hello")
    args = [good, "broken.png", "wide.jpg", "notes.txt", "missing.png", data / "features.npz"]
    assert main(monkeypatch, prediction, *args, "--csv") == 1
    out, err = capsys.readouterr()
    rows = [*csv.DictReader(io.StringIO(out))]
    assert [row["file"] for row in rows] == [str(good), "wide.jpg"]
    for row in rows:
        assert row["class"] != row["runner_up"]
        assert 1 >= float(row["probability"]) >= float(row["runner_up_probability"]) >= 0
    for name in ("broken.png", "notes.txt", "missing.png", "features.npz"):
        assert name in err
    assert main(monkeypatch, prediction, good) == 0
    assert capsys.readouterr().out.startswith(f"{good}  {rows[0]['class']} ")


def test_classify_averages_the_scores_of_all_views(trained: Path, data: Path) -> None:
    checkpoint = load_checkpoint(trained / "checkpoint.npz")
    _, dataset = load(data / "pictures", cache=trained / "cache")
    images = dataset.images[:7]
    labels, p = classify(checkpoint, images)
    total: Any = 0.0
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            rows = np.clip(np.arange(8) - down, 0, 7)
            columns = np.clip(np.arange(8) - right, 0, 7)
            x = checkpoint.preprocess(images[:, rows][:, :, columns])
            total = total + checkpoint.model.apply(checkpoint.params, x).astype(np.float64)
    np.testing.assert_allclose(p, probabilities(np.asarray(total) / 9), rtol=1e-4)
    assert labels.tolist() == p.argmax(axis=1).tolist()
    assert len(classify(checkpoint, images[:0])[0]) == 0
    with pytest.raises(ValueError, match="images must have shape"):
        classify(checkpoint, images[:, :7])
    with pytest.raises(ValueError, match="images must have shape"):
        classify(checkpoint, images[:0, :7])


def test_the_log_has_a_line_for_each_epoch_and_goes_on(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ["--resume", "checkpoint.npz", "--num-epochs", 5, "--log", "run.csv"]
    assert main(monkeypatch, train, *more) == 0
    rows = [*csv.DictReader(Path("run.csv").read_text().splitlines())]
    history = load_checkpoint("checkpoint.npz").history
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5]
    for name in ("train_accuracy", "val_accuracy", "val_loss", "data_loss", "regularization"):
        column: Array = getattr(history, name)
        assert [float(row[name]) for row in rows] == column.tolist()
    for row in rows:
        whole = float(row["data_loss"]) + float(row["regularization"])
        assert float(row["loss"]) == pytest.approx(whole)


def test_show_prints_json(trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    capsys.readouterr()
    assert main(monkeypatch, show, "checkpoint.npz", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    checkpoint = load_checkpoint("checkpoint.npz")
    assert shown["history"]["losses"] == checkpoint.history.losses.tolist()
    assert shown["settings"]["hidden_dim"] == [16]
    assert shown["training"]["shape of an example"] == [8, 8]
    assert shown["provenance"] == dict(checkpoint.provenance)


def test_a_checkpoint_classifies_with_nothing_but_numpy(trained: Path, data: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    [recipe] = [
        b for b in re.findall(r"```python\n(.*?)```", readme, re.S) if "preprocessing/" in b
    ]
    checkpoint = load_checkpoint("checkpoint.best.npz")
    _, dataset = load(data / "pictures", cache=trained / "cache")
    np.save("images.npy", dataset.images)
    program = f"import sys; sys.modules['fnnet'] = None\n{recipe}"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    x = checkpoint.preprocess(dataset.images)
    labels = predict(checkpoint.model, checkpoint.params, x)
    assert done.stdout.split() == [checkpoint.class_names[label] for label in labels]


def test_several_seeds_are_trained_saved_and_averaged(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["--dataset", data / "images.npz", *FAST, "--seeds", "3", "--workers", "2"]
    assert main(monkeypatch, train, *args) == 0
    out = capsys.readouterr().out
    runs = [load_checkpoint(f"checkpoint.seed-{seed}.npz") for seed in range(3)]
    last = np.array([run.history.val_accuracy[-1] for run in runs])
    (row,) = csv.DictReader(io.StringIO(Path("checkpoint.seeds.csv").read_text()))
    assert sorted(map(float, row["accuracies"].split())) == sorted(last)
    assert float(row["mean (%)"]) == pytest.approx(100 * last.mean(), abs=0.5)
    assert row["mean (%)"] in out
    for run in runs:
        best = run.history.val_accuracy.max()
        assert re.search(
            rf"^seed {run.config.seed}, .*: .* best {best:.2%} after epoch", out, re.M
        ), out
    assert [run.config.seed for run in runs] == [0, 1, 2]
    before = Path("checkpoint.seed-1.npz").read_bytes()
    Path("checkpoint.seed-2.npz").unlink()  # as if stopped before it
    assert main(monkeypatch, train, *args) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == out.splitlines()[-2:]
    assert Path("checkpoint.seed-1.npz").read_bytes() == before
    alone = ["--dataset", data / "images.npz", *FAST, "--seed", "2", "--checkpoint-file", "a.npz"]
    assert main(monkeypatch, train, *alone) == 0
    assert load_checkpoint("a.npz").params == runs[2].params
    assert load_checkpoint("a.npz").history == runs[2].history


def test_settings_are_compared_over_seeds(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    workers = nullcontext(Workers(map, 1))
    monkeypatch.setattr("fnnet.commands.seeds.processes", lambda number: workers)
    args = ["--dataset", data / "images.npz", *FAST, "--seeds", "2", "--shift", "1"]
    args += ["--reg", "choice:0.01,1e9", "--momentum", "choice:0,0.5", "--tta-shift", "1"]
    assert main(monkeypatch, train, *args) == 1  # reg 1e9 diverges
    output = capsys.readouterr()
    assert "runs: 8, processes of one thread: " in output.out
    assert "4 of 8 runs diverged" in output.err
    rows = [*csv.DictReader(io.StringIO(Path("checkpoint.seeds.csv").read_text()))]
    assert {row["setting"] for row in rows} == {f"reg 0.01, momentum {m}" for m in ("0", "0.5")}
    for row in rows:
        momentum = row["setting"].split()[-1]
        for seed, value in enumerate(row["accuracies"].split()):
            saved = load_checkpoint(f"checkpoint.reg-0.01.momentum-{momentum}.seed-{seed}.npz")
            run = prepare(saved.config)
            assert float(value) == run.accuracy(saved.params, run.val, tta_shift=1)
    assert "cannot be told apart" in output.out or "is better than" in output.out
    assert Path("checkpoint.seeds.png").read_bytes().startswith(b"\x89PNG")
    assert Path("checkpoint.seeds.md").read_text().count("\n") == 2 + 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--seeds", "2", "--reg", "log:0.1:1"],
            "reg must be one value or choice:A,B,C with seeds",
        ),
        (["--seeds", "2", "--seed", "choice:1,2"], "seed must be the same for all trials"),
        (["--reg", "choice:0,1"], "reg has several values: give --seeds, or use fnnet tune"),
    ],
)
def test_several_values_need_seeds_and_choices(
    args: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=message):
        main(monkeypatch, train, *args)


def test_a_long_wait_for_seeds_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(train: Any, jobs: Sequence[Job]) -> Iterator[Any]:
        for job in jobs:
            time.sleep(0.4 * (job.trial == 1))
            yield job.trial, 0.5, "50 %"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fnnet.waiting.PATIENCE", 0.1)
    workers = nullcontext(Workers(run, 1))
    monkeypatch.setattr("fnnet.commands.seeds.processes", lambda number: workers)
    assert main(monkeypatch, train, "--num-epochs", "1", "--seeds", "7") == 0
    first = ", ".join(f"checkpoint.seed-{seed}.npz" for seed in range(1, 6))
    assert capsys.readouterr().err == f"waiting for {first}\n"


def test_seeds_have_a_bar_of_all_runs_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(train: Any, jobs: Sequence[Job]) -> Iterator[Any]:
        yield from ((job.trial, 0.5, "50 %") for job in jobs)

    workers = nullcontext(Workers(run, 1))
    monkeypatch.setattr("fnnet.commands.seeds.processes", lambda number: workers)
    monkeypatch.setattr("fnnet.commands.seeds._report", lambda *args: None)
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)
    done = inside(tmp_path, "train", "--num-epochs", "1", "--seeds", "3", terminal=True)
    assert done.returncode == 0
    assert "0/3 [" in done.stderr
    assert "?run/s" in done.stderr
    assert done.stderr.endswith("\r")  # it is wiped off
    done = inside(tmp_path, "train", "--seeds", "3", "--checkpoint-file", "missing/c.npz")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: checkpoint_file ")


def test_a_run_of_a_seed_has_the_thread_that_it_was_trained_with(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "500")
    args = ["--dataset", data / "images.npz", "--num-epochs", "1", "--hidden-dim", "4"]
    assert main(monkeypatch, train, *args, "--num-threads", "2", "--seeds", "1") == 0
    assert load_checkpoint("checkpoint.seed-0.npz").config.num_threads == 1
    for more in (["--log", "a.csv"], ["--distributed"], ["--resume", "checkpoint.seed-0.npz"]):
        monkeypatch.setattr(sys, "argv", ["fnnet", "--seeds", "2", *map(str, more)])
        with pytest.raises(SystemExit) as caught:
            train_flags.train_command(sys.argv[1:])
        assert caught.value.code == 2
        assert f"{more[0][2:]} has no effect with seeds" in " ".join(
            capsys.readouterr().err.split()
        )
    with pytest.raises(SystemExit):
        train_flags.train_command(["--workers", "2"])
    assert "workers has no effect without seeds" in " ".join(capsys.readouterr().err.split())


def test_a_run_that_is_started_again_remembers_that_the_test_set_was_used(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["--dataset", data / "images.npz", *FAST]
    assert main(monkeypatch, train, *args) == 0
    assert main(monkeypatch, test) == 0
    assert main(monkeypatch, train, *args) == 0
    assert all(load_checkpoint(p).test_set_used for p in tmp_path.glob("checkpoint*.npz"))
    with pytest.raises(ValueError, match="the test set has been used for this run"):
        main(monkeypatch, test)
    assert main(monkeypatch, train, *args, "--seed", "1") == 0  # another run: not yet
    assert not load_checkpoint("checkpoint.npz").test_set_used
    assert main(monkeypatch, test) == 0


def test_scores_are_those_of_the_evaluation(trained: Path, data: Path) -> None:
    checkpoint = load_checkpoint(trained / "checkpoint.npz")
    _, dataset = load(data / "pictures", cache=trained / "cache")
    labels, _ = classify(checkpoint, dataset.images)
    assert labels.tolist() == scores_of(checkpoint, dataset).argmax(axis=1).tolist()


def test_show_draws_what_it_can(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(data / "images.npz", "mine.npz")
    assert main(monkeypatch, train, "--dataset", "mine.npz", *FAST) == 0
    main(monkeypatch, show, "--report", "whole")
    assert "predictions for the 40 validation examples" in capsys.readouterr().out
    Path("mine.npz").rename("moved.npz")
    main(monkeypatch, show, "--report", "alone")
    assert "pictures of predictions need the data" in capsys.readouterr().err
    main(monkeypatch, show, "--report", "again/deep", "--dataset", "moved.npz")
    main(monkeypatch, show, "--report", "other", "--dataset", "digits")
    assert "belongs to other data" in capsys.readouterr().err
    alone = {"history.png", "weights.png"}
    whole = alone | {f"{n}.png" for n in ("confusion", "classes", "calibration", "mistakes")}
    whole |= {"predictions.png"}
    found = {name: {p.name for p in Path(name).iterdir()} for name in ("whole", "alone", "other")}
    assert found == {"whole": whole, "alone": alone, "other": alone}
    assert {p.name for p in Path("again/deep").iterdir()} == whole
    for name in whole:
        assert (Path("whole") / name).read_bytes().startswith(b"\x89PNG")


def test_a_folder_stands_for_the_pictures_below_it(trained: Path, data: Path) -> None:
    sources = sorted((data / "pictures" / "digit-3").iterdir())
    wanted = ["b.PNG", "deep/a.png", "z.png"]
    Path("mixed/deep").mkdir(parents=True)
    for source, name in zip(sources, wanted, strict=False):
        shutil.copy(source, Path("mixed") / name)
    Path("mixed/notes.txt").write_text("hello")
    Path("mixed/folder.png").mkdir()
    done = inside(trained, "predict", "mixed", "--csv")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [*csv.DictReader(io.StringIO(done.stdout))]
    assert [row["file"] for row in rows] == [f"mixed/{name}" for name in wanted]
    checkpoint = load_checkpoint("checkpoint.best.npz")
    images = np.stack([np.asarray(Image.open(source)) for source in sources[:3]])
    labels, p = classify(checkpoint, images)
    assert [row["class"] for row in rows] == [checkpoint.class_names[label] for label in labels]
    for row, best, second in zip(rows, p.max(axis=1), np.sort(p, axis=1)[:, -2], strict=True):
        assert float(row["probability"]) == pytest.approx(best)
        assert float(row["runner_up_probability"]) == pytest.approx(second)


def test_predictions_without_a_flag_are_lines_for_people(trained: Path, data: Path) -> None:
    files = sorted((data / "pictures" / "digit-3").iterdir())[:2]
    shutil.copy(files[0], "short.png")
    out = inside(trained, "predict", "short.png", files[1]).stdout.splitlines()
    assert [line.split()[0] for line in out] == ["short.png", str(files[1])]
    assert len({line.index("digit-", len(str(files[1]))) for line in out}) == 1  # in a column
    for line in out:
        assert re.search(r"  digit-\d [\d.]+%  \(digit-\d [\d.]+%\)$", line)


def test_nothing_to_classify_is_reported_with_its_name(trained: Path) -> None:
    Path("empty").mkdir()
    done = inside(trained, "predict", "empty", "missing.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.match(r"error: empty must have pictures.*\nerror: missing.png .*\n$", done.stderr)
    done = inside(trained, "predict")
    assert (done.returncode, done.stdout) == (2, "")
    assert "files must name a picture" in done.stderr


def test_a_wait_is_shown_on_a_terminal_with_its_name(
    trained: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)
    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: None)
    for words, name in (
        (["predict", data / "images.npz"], "\rclassifying:"),
        (["test"], "\rviews:"),
        (["show", "--report", "r"], "\rviews:"),
        (["show", "--report", "r"], "\rpictures:"),
    ):
        done = inside(trained, *words, terminal=True)
        assert done.returncode == 0
        assert name in done.stderr
        assert done.stderr.endswith("\r")  # it is wiped off


def test_what_is_shown_is_what_the_checkpoint_holds(trained: Path) -> None:
    checkpoint = load_checkpoint("checkpoint.npz")
    names = ("café", *checkpoint.class_names[1:])
    save_checkpoint("c.npz", evolve(checkpoint, class_names=names, test_accuracy=0.5))
    history = checkpoint.history
    training = {
        "epochs": 3,
        "steps": len(history.losses),
        "class names": [*names],
        "shape of an example": [8, 8],
        "last loss": history.losses[-1],
        "train accuracy": history.train_accuracy[-1],
        "validation accuracy": history.val_accuracy[-1],
        "best accuracy": history.val_accuracy.max(),
        "best epoch": history.best_epoch,
        "test accuracy": 0.5,
        "test set used": False,
    }
    parameters = {name: f"{p.dtype} {p.shape}" for name, p in checkpoint.params.items()}
    text = inside(trained, "show", "c.npz", "--json").stdout
    shown = json.loads(text)
    assert "café" in text  # as it is written, not as an escape
    assert [*shown] == ["settings", "provenance", "training", "parameters", "history"]
    assert (shown["training"], shown["parameters"]) == (training, parameters)
    lines = inside(trained, "show", "c.npz").stdout.splitlines()
    assert [line for line in lines if line[0] != " "] == [*shown][:-1]
    rows = {line[2:22].strip(): line[23:] for line in lines if line[0] == " "}
    assert rows["last loss"] == f"{history.losses[-1]:.4f}"
    assert rows["test accuracy"] == "50.00%"
    assert rows["class names"] == ", ".join(names)
    assert rows["steps"] == str(len(history.losses))


def test_the_test_is_counted_by_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    y_train, y_test = np.arange(40) % 3, np.arange(10) % 2  # no example of class 2 to test on
    x_train, x_test = (rng.normal(size=(len(y), 4)) + y[:, None] for y in (y_train, y_test))
    arrays: Any = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    np.savez(tmp_path / "mine.npz", **arrays)
    inside(tmp_path, "train", "--dataset", "mine.npz", *FAST)
    done = inside(tmp_path, "test", "--report", "new/deep")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "new" / "deep" / "confusion.png").exists()
    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: None)
    assert inside(tmp_path, "test", "--again", "--report", "new/deep").returncode == 0
    checkpoint = load_checkpoint(tmp_path / "checkpoint.best.npz")
    labels, _ = classify(checkpoint, x_test)
    first, *rows = done.stdout.splitlines()[:4]
    assert first == f"test accuracy {np.mean(labels == y_test):.2%} of 10 examples"
    right = [np.mean(labels[y_test == c] == c) for c in (0, 1)]
    assert [row.split() for row in rows] == [
        ["0", f"{right[0]:.2%}", "of", "5"], ["1", f"{right[1]:.2%}", "of", "5"],
        ["2", "none", "of", "0"],
    ]  # fmt: skip


def test_the_file_that_notes_a_test_is_named(trained: Path) -> None:
    assert inside(trained, "test").returncode == 0
    noted = load_checkpoint("checkpoint.best.npz").test_accuracy
    for path in trained.glob("checkpoint*.npz"):
        assert load_checkpoint(path).test_set_used
        done = inside(trained, "test", "--checkpoint-file", path.name)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{path.name} notes it" in done.stderr
        assert (f"accuracy of {noted:.2%}" in done.stderr) == (path.name == "checkpoint.best.npz")


def test_cifar10_is_looked_for_where_the_flag_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = load_digits()

    def load_cifar10(folder: Path) -> tuple[Any, Any]:
        if not Path(folder, "here").exists():
            raise DataError(f"nothing in {folder}")
        return split(digits, 60, 30, seed=0)

    monkeypatch.setattr("fnnet.data.sources.load_cifar10", load_cifar10)
    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: path.touch())
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "here").touch()
    args = ["--dataset", "cifar10", "--num-train", "40", "--num-val", "20", *FAST]
    assert inside(tmp_path, "train", *args).returncode == 2
    done = inside(tmp_path, "train", *args, "--data-dir", "a")
    assert done.returncode == 0, done.stderr
    (tmp_path / "a").rename(tmp_path / "b")
    for words in (["test"], ["show", "--report", "r"]):
        done = inside(tmp_path, *words)
        assert "nothing in " in done.stderr
        done = inside(tmp_path, *words, "--data-dir", "b")
        assert (done.returncode, done.stderr) == (0, "")
