"""The curves of accuracy against time: what is trained, kept, refused and drawn."""

import csv
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fnnet import TrainConfig
from fnnet.runs.presets import default_config
from scripts import curves


def small(preset: str, **changes: Any) -> TrainConfig:
    """Return settings that train two epochs on a few digits, and average views at the end."""
    changes.pop("data_dir", None)
    return default_config(
        num_train=200,
        num_val=100,
        num_epochs=2,
        hidden_dim=(8, 7) if preset == "minute" else 8,
        tta_shift=1,
        **changes,
    )


def use_digits() -> None:
    curves.default_config = small  # type: ignore[attr-defined, assignment]


@pytest.fixture(autouse=True)
def digits_for_cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every preset be a small training on digits."""
    monkeypatch.setattr(curves, "default_config", small)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_epoch_and_the_views_at_the_end_become_lines_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    curves.main(("fast", "deep"), num_threads=1)
    found = rows(tmp_path / "curves.csv")
    expected = [
        (name, *at) for name in ("fast", "deep") for at in [("1", "1"), ("2", "1"), ("2", "9")]
    ]
    assert [(row["contender"], row["epoch"], row["views"]) for row in found] == expected
    for name in ("fast", "deep"):
        seconds = [float(row["seconds"]) for row in found if row["contender"] == name]
        assert seconds == sorted(seconds)
        assert seconds[0] > 0
    assert all(0 < float(row["val_accuracy"]) <= 1 for row in found)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    end = f"{float(found[-1]['val_accuracy']):.2%}"
    assert f"deep         learning rate 0.1    {end:>7} after" in capsys.readouterr().out


def test_a_trial_in_the_table_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    curves.main(("fast",), num_threads=1)
    before = rows(tmp_path / "curves.csv")
    trained = []
    train_preset = curves.train_preset

    def noted(trial: curves.Trial, *args: object) -> curves.Progress:
        trained.append(trial.contender)
        return train_preset(trial, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(curves, "train_preset", noted)
    curves.main(("fast", "best"), num_threads=1)
    assert trained == ["best"]
    assert rows(tmp_path / "curves.csv")[: len(before)] == before


@pytest.mark.parametrize("peer", ["scikit-learn", "PyTorch"])
def test_a_peer_is_trained_with_each_of_its_rates(peer: curves.Peer, tmp_path: Path) -> None:
    if not find_spec(curves.MODULES[peer]):
        pytest.skip(f"{peer} is not installed")
    # Higher rates: the small net takes few steps.
    trials = [curves.Trial(peer, 100 * rate, 20) for rate in curves.RATES[peer]]
    # In a process of its own: other libraries start threads and load a BLAS library of theirs.
    with ProcessPoolExecutor(1, get_context("spawn"), use_digits) as process:
        jobs = [process.submit(curves.run_trial, trial, tmp_path, 1) for trial in trials]
        points = [point for job in jobs for point in job.result()]
    assert [(p.learning_rate, p.epoch, p.views) for p in points] == [
        (100 * rate, epoch, 1) for rate in curves.RATES[peer] for epoch in range(1, 21)
    ]
    assert max(p.val_accuracy for p in points) > 0.3  # of ten classes


def test_the_best_trial_of_a_contender_is_the_one_with_the_best_end() -> None:
    points = [
        curves.Point("PyTorch", rate, 2, epoch, 1, epoch, accuracy)
        for rate, accuracies in [(0.1, (0.9, 0.3)), (0.2, (0.1, 0.5)), (0.3, (0.4, 0.4))]
        for epoch, accuracy in enumerate(accuracies, 1)
    ]
    assert curves.best_trials(points) == {"PyTorch": curves.Trial("PyTorch", 0.2, 2)}
    lines = curves.draw(points).axes[0].lines
    thick = [line for line in lines if line.get_linewidth() == 2]
    assert [[*map(float, np.asarray(line.get_ydata()))] for line in thick] == [[10.0, 50.0]]


def test_a_preset_is_labeled_with_its_accuracy_over_views() -> None:
    points = [
        curves.Point("fast", 0.3, 2, 1, 2, 5.0, 0.5),
        curves.Point("fast", 0.3, 2, 2, 2, 10.0, 0.6),
        curves.Point("fast", 0.3, 2, 2, 18, 11.0, 0.625),
    ]
    axes: Any = curves.draw(points).axes[0]
    assert [text.get_text() for text in axes.texts] == ["fast 62.5"]
    assert axes.texts[0].xy == (11.0, 62.5)


@pytest.mark.parametrize("text", ["a,b\n", "", "{fields}\nfast,0.3\n", "{fields}\n1,x,1,1,1,1,1\n"])
def test_a_table_of_another_kind_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text(text.format(fields=",".join(curves.Point._fields)))
    with pytest.raises(ValueError, match=r"curves\.csv is "):
        curves.read_points(path)
