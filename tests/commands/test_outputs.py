"""What a training prints and writes of itself, from numbers that are known."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fnnet import Dataset, History
from fnnet.commands import outputs
from fnnet.commands.outputs import describe, finish, show_epoch, warned, write_log

HISTORY = History(
    losses=np.array([1.0, 2.0, 3.0, 4.0]),
    train_accuracy=np.array([0.25, 0.5]),
    val_accuracy=np.array([0.75, 0.625]),
    data_losses=np.array([0.5, 1.5, 2.75, 3.25]),
    val_loss=np.array([1.5, 0.12345]),
)
LOG = """epoch,step,learning_rate,loss,data_loss,regularization,train_accuracy,val_loss,val_accuracy
1,2,0.9,1.5,1.0,0.5,0.25,1.5,0.75
2,4,0.7,3.5,3.0,0.5,0.5,0.12345,0.625
"""


def run(labels: list[int], **more: Any) -> Any:
    images = np.zeros((len(labels), 2, 3), np.uint8)
    data = Dataset(images, np.array(labels), ("cat", "dog", "eel", "fox"))
    return SimpleNamespace(train=data, val=data, train_sample=len(data), steps_per_epoch=2, **more)


def test_classes_without_an_example_are_counted() -> None:
    assert describe(run([0, 1, 1])) == (
        "3 training and 3 validation examples, 4 classes of 0 (eel) to 2 (dog) training examples"
    )


@pytest.mark.parametrize(("sample", "some"), [(3, ""), (2, " (of 2)")])
def test_an_epoch_is_a_line(sample: int, some: str, capsys: pytest.CaptureFixture[str]) -> None:
    trained = run([0, 1, 1], config=SimpleNamespace(num_epochs=12))
    trained.train_sample = sample
    state: Any = SimpleNamespace(step=4)
    show_epoch(trained, state, HISTORY)
    assert capsys.readouterr().out == (
        f"epoch   2/12  train accuracy 50.00%{some}  validation accuracy 62.50%"
        "  validation loss 0.1235\n"
    )


def test_the_log_is_a_table_with_a_line_for_each_epoch(tmp_path: Path) -> None:
    trained = run([0, 1, 1], schedule=lambda step: 1 - (step / 10 if step else 0))
    write_log(tmp_path / "log.csv", trained, HISTORY)
    assert (tmp_path / "log.csv").read_bytes() == LOG.encode()


def test_each_sign_is_told_once_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = iter([["b", "a"], ["a"], ["c", "b"]])
    monkeypatch.setattr(outputs, "signs", lambda *args: next(seen))

    def epochs() -> Iterator[Any]:
        for _ in range(3):
            yield SimpleNamespace(params={}), HISTORY

    assert len([*warned(run([0, 1]), epochs())]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "".join(f"warning: {s}; fnnet doctor looks for causes\n" for s in "abc")


def test_a_run_without_an_epoch_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    state: Any = SimpleNamespace(step=0)
    command: Any = SimpleNamespace()
    finish(command, run([0, 1]), (state, History()))
    assert capsys.readouterr() == ("", "no epoch was finished: nothing written\n")
    assert [*tmp_path.iterdir()] == []
