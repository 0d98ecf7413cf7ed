"""A training keeps its best and its last epoch, and nothing of another run is ever lost."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve, frozen
from hypothesis import example, given
from hypothesis import strategies as st

from fnnet import History, TrainState, default_config, load_checkpoint, save_checkpoint
from fnnet.runs import outputs
from fnnet.runs.names import best_path, numbered_path, previous_path, run_paths
from fnnet.runs.outputs import Kept, keep, keep_others, load_best, saving
from fnnet.runs.provenance import run_provenance
from fnnet.runs.run import Run, prepare
from fnnet.training import DivergenceError
from tests.programs import names

ALL = {"c.npz", "c.best.npz", "c.previous.npz"}
NUM_EPOCHS = 5


@frozen(eq=False)
class Training:
    """A run with all of its epochs."""

    run: Run
    provenance: dict[str, str]
    epochs: list[tuple[TrainState, History]]

    def with_accuracies(self, accuracies: Sequence[float]) -> list[tuple[TrainState, History]]:
        """Return the first epochs as if their validation accuracies had been these."""
        return [
            (state, evolve(history, val_accuracy=np.array(accuracies[: n + 1], float)))
            for n, (state, history) in enumerate(self.epochs[: len(accuracies)])
        ]

    def save(self, path: Path, epochs: Any = None, **options: Any) -> list[str]:
        """Run to the end, or to an error; return what was told."""
        told: list[str] = []
        passed = [self.epochs if epochs is None else epochs]
        for _ in saving(
            path, self.run, self.provenance, *passed, tell=lambda k: told.append(str(k)), **options
        ):
            pass
        return told


@cache
def training(seed: int = 0) -> Training:
    config = default_config(
        num_train=70, num_val=20, hidden_dim=5, num_epochs=NUM_EPOCHS, seed=seed, num_threads=1
    )
    run = prepare(config)
    return Training(run, run_provenance(run.train, run.val), [*run.epochs()])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5]), min_size=1, max_size=NUM_EPOCHS), st.integers(1, 6)
)
@example([0.25, 0.0, 0.25], 2)  # the end saves the third epoch, and keeps the second
def test_the_first_best_the_last_and_the_one_saved_before_are_kept(
    accuracies: list[float], every: int
) -> None:
    epochs = training().with_accuracies(accuracies)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "c.npz")
        saved: list[int] = []
        for n, _ in enumerate(
            saving(path, training().run, training().provenance, epochs, every=every), start=1
        ):
            best = load_checkpoint(best_path(path))
            assert best.num_epochs == accuracies.index(max(accuracies[:n])) + 1
            saved += [n] if n % every == 0 else []
            assert path.exists() == bool(saved)
            if saved:
                assert load_checkpoint(path).num_epochs == saved[-1]
        saved += [n] if n % every else []
        last = load_checkpoint(path)
        assert last.num_epochs == n
        assert last.params == epochs[-1][0].params
        assert last.provenance == training().provenance
        assert not last.test_set_used
        assert last.history == epochs[-1][1]
        assert previous_path(path).exists() == (len(saved) > 1)
        if len(saved) > 1:
            assert load_checkpoint(previous_path(path)).num_epochs == saved[-2]
        loaded = load_best(path, last.history)
        assert loaded is not None
        assert loaded.num_epochs == last.history.best_epoch
        assert loaded.params == epochs[loaded.num_epochs - 1][0].params


def test_the_epochs_are_passed_on_and_nothing_is_written_before_the_first(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    path.write_bytes(b"of another run")
    results = saving(path, training().run, training().provenance, training().epochs)
    assert names(tmp_path) == {"c.npz"}
    results.close()
    assert contents(tmp_path) == {"c.npz": b"of another run"}
    assert training().save(path, []) == []
    assert contents(tmp_path) == {"c.npz": b"of another run"}
    passed = [*saving(path, training().run, training().provenance, training().epochs)]
    assert passed == training().epochs


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DivergenceError(9, "too fast")])
@pytest.mark.parametrize("done", range(NUM_EPOCHS))
def test_the_last_epoch_is_saved_however_the_run_ends(
    tmp_path: Path, error: BaseException, done: int
) -> None:
    def broken() -> Iterator[tuple[TrainState, History]]:
        yield from training().epochs[:done]
        raise error

    with pytest.raises(type(error)):
        training().save(tmp_path / "c.npz", broken(), every=100, test_set_used=True)
    if not done:
        assert names(tmp_path) == set()
        return
    last = load_checkpoint(tmp_path / "c.npz")
    assert last.num_epochs == done
    assert last.params == training().epochs[done - 1][0].params
    assert last.test_set_used
    assert load_best(tmp_path / "c.npz", last.history) is not None


@pytest.mark.parametrize("noted", [0, 1, 2])
def test_a_run_that_is_started_again_remembers_that_its_test_set_was_used(
    tmp_path: Path, noted: int
) -> None:
    path = tmp_path / "c.npz"
    training().save(path)
    file = run_paths(path)[noted]  # any file of the run may note it
    save_checkpoint(file, evolve(load_checkpoint(file), test_set_used=True))
    epochs = saving(path, training().run, training().provenance, training().epochs)
    for _, (_, history) in zip(range(2), epochs, strict=False):
        for saved in (path, best_path(path)):
            assert load_checkpoint(saved).test_set_used, len(history.val_accuracy)
    epochs.close()


def test_a_consumer_that_stops_has_the_last_epoch_saved(tmp_path: Path) -> None:
    results = saving(
        tmp_path / "c.npz", training().run, training().provenance, training().epochs, every=100
    )
    next(results)
    next(results)
    results.close()
    assert load_checkpoint(tmp_path / "c.npz").num_epochs == 2


@pytest.mark.parametrize("done", range(1, NUM_EPOCHS))
def test_a_resumed_run_ends_with_the_same_files_and_replaces_its_own(
    tmp_path: Path, done: int
) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    whole.mkdir()
    part.mkdir()
    training().save(whole / "c.npz")
    training().save(part / "c.npz", training().epochs[:done])
    saved = load_checkpoint(part / "c.npz")
    rest = training().run.epochs(saved.state(), saved.history)
    assert training().save(part / "c.npz", rest) == []
    assert contents(part) == contents(whole)
    assert training().save(part / "c.npz") == []  # trained anew: the same bits
    assert contents(part) == contents(whole)


def test_a_best_epoch_that_is_not_of_the_history_is_not_taken(tmp_path: Path) -> None:
    path, history = tmp_path / "c.npz", training().epochs[-1][1]
    assert load_best(path, history) is None
    training().save(path)
    whole = best_path(path).read_bytes()
    assert load_best(path, history) is not None
    other = training(1).with_accuracies(history.val_accuracy.tolist())[-1][1]
    assert other.best_epoch == history.best_epoch
    assert load_best(path, other) is None
    falling = training().with_accuracies(np.linspace(1, 0, NUM_EPOCHS).tolist())[-1][1]
    rising = training().with_accuracies(np.linspace(0, 1, NUM_EPOCHS).tolist())[-1][1]
    assert not (load_best(path, falling) and load_best(path, rising))
    best_path(path).write_bytes(whole[:-1])
    assert load_best(path, history) is None


# Files of another run.


def test_the_files_of_another_run_get_a_number(tmp_path: Path) -> None:
    path, picture = tmp_path / "c.npz", tmp_path / "plot.pdf"
    training(1).save(path)
    picture.write_bytes(b"picture")
    theirs = contents(tmp_path)
    told = training().save(path, pictures=[picture])
    order = ["c.best.npz", "c.previous.npz", "plot.pdf", "c.npz"]
    numbered = ["c.1.best.npz", "c.1.previous.npz", "plot.1.pdf", "c.1.npz"]
    assert told == [
        f"kept {tmp_path / old} of another run as {tmp_path / new}"
        for old, new in zip(order, numbered, strict=True)
    ]
    now = contents(tmp_path)
    assert {*now} == {*numbered, *ALL}
    for old, new in zip(order, numbered, strict=True):
        assert now[new] == theirs[old]
    # The kept files are those of a run again.
    history = load_checkpoint(numbered_path(path, 1)).history
    assert load_best(numbered_path(path, 1), history) is not None
    for seed in (2, 3):  # the next numbers are free
        training(seed).save(path, pictures=[picture])
        now |= contents(tmp_path)
    assert {*now} == {
        *numbered, *ALL, *(name.replace(".1", f".{n}") for name in numbered for n in (2, 3))
    } - {"plot.2.pdf", "plot.3.pdf"}  # fmt: skip
    assert theirs["c.npz"] == (tmp_path / "c.1.npz").read_bytes()


@pytest.mark.parametrize("taken", ["c.1.npz", "c.1.best.npz", "c.1.previous.npz", "plot.1.pdf"])
def test_a_number_that_any_file_has_is_not_given_again(tmp_path: Path, taken: str) -> None:
    path, picture = tmp_path / "c.npz", tmp_path / "plot.pdf"
    for file in (path, picture, tmp_path / taken):
        file.write_bytes(file.name.encode())
    training().save(path, pictures=[picture])
    now = contents(tmp_path)
    assert now[taken] == taken.encode()
    assert (now["c.2.npz"], now["plot.2.pdf"]) == (b"c.npz", b"plot.pdf")


@pytest.mark.parametrize("change", ["seed", "reg", "data"])
def test_only_the_same_settings_and_data_make_a_run_its_own(tmp_path: Path, change: str) -> None:
    path = tmp_path / "c.npz"
    mine = training()
    training().save(path)
    saved = load_checkpoint(path)
    if change == "data":
        other = evolve(saved, provenance={**saved.provenance, "training data": "0" * 64})
    else:
        value = getattr(saved.config, change) + 1
        other = evolve(saved, config=evolve(saved.config, **{change: value}))
    longer = evolve(saved, config=evolve(saved.config, num_epochs=99, patience=3))
    assert keep_others(path, saved) == keep_others(path, longer) == []
    assert names(tmp_path) == ALL
    assert [k.path for k in keep_others(path, other)] == [*run_paths(path)]
    mine.save(path)


def test_damaged_files_are_kept_too(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    training().save(path)
    for file in run_paths(path):
        file.write_bytes(file.read_bytes()[:-1])
    before = contents(tmp_path)
    training().save(path)
    now = contents(tmp_path)
    for old, new in (("c.npz", "c.1.npz"), ("c.best.npz", "c.1.best.npz")):
        assert now[new] == before[old]


def test_a_picture_of_the_same_run_is_left_to_be_replaced(tmp_path: Path) -> None:
    path, picture = tmp_path / "c.npz", tmp_path / "plot.pdf"
    training().save(path)
    picture.write_bytes(b"mine")
    assert training().save(path, pictures=[picture]) == []
    assert picture.read_bytes() == b"mine"


class KilledError(BaseException):
    """Stands for the end of the process."""


def killed_at(call: int, function: Callable[..., None]) -> Callable[..., None]:
    """Return a function that does nothing any more from the given call on, but raises."""
    calls = count(1)

    def broken(*args: Any, **kwargs: Any) -> None:
        if next(calls) >= call:
            raise KilledError
        function(*args, **kwargs)

    return broken


@pytest.mark.parametrize("function", ["save_checkpoint", "move_to_new"])
@pytest.mark.parametrize("call", range(1, 9))
@pytest.mark.parametrize("every", [1, 2])
def test_a_kill_at_any_moment_loses_nothing_of_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, call: int, every: int
) -> None:
    path, picture = tmp_path / "c.npz", tmp_path / "plot.pdf"
    training(1).save(path)
    picture.write_bytes(b"picture")
    theirs = {*contents(tmp_path).values()}
    with monkeypatch.context() as patch:
        patch.setattr(outputs, function, killed_at(call, getattr(outputs, function)))
        try:
            training().save(path, every=every, pictures=[picture])
        except KilledError:
            assert theirs <= {*contents(tmp_path).values()}
        else:
            assert call > 4, "four files are renamed, and at least as many saved"
    # Afterwards the program is called again.
    training().save(path, every=every, pictures=[picture])
    now = contents(tmp_path)
    assert theirs <= {*now.values()}
    assert load_checkpoint(path).num_epochs == NUM_EPOCHS
    assert load_checkpoint(path).config == training().run.config
    best = load_best(path, training().epochs[-1][1])
    assert best is not None
    assert best.config == training().run.config
    assert len(now) <= 7
    assert training().save(path, every=every, pictures=[picture]) == []


def test_a_single_file_is_kept_under_the_first_free_name(tmp_path: Path) -> None:
    path = tmp_path / "tune.png"
    for number in range(1, 4):
        path.write_bytes(b"%d" % number)
        assert keep(path) == Kept(path, tmp_path / f"tune.{number}.png")
    assert contents(tmp_path) == {f"tune.{n}.png": b"%d" % n for n in range(1, 4)}
