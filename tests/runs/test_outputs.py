"""A training keeps its last and its best epoch, and loses no file of another run."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from fnnet import CheckpointError, TrainConfig, load_checkpoint
from fnnet.runs import outputs
from fnnet.runs.names import best_path, last_path, numbered_path, previous_path, run_paths
from fnnet.runs.outputs import Epoch, keep, keep_others, load_best, load_whole, saving
from fnnet.runs.provenance import run_provenance
from fnnet.runs.run import Run, prepare
from fnnet.training import DivergenceError
from tests.helpers import same


def run_of(config: TrainConfig, **changes: Any) -> Run:
    return prepare(evolve(config, num_threads=1, num_epochs=6, learning_rate=0.3, **changes))


def save_all(
    path: Path, run: Run, epochs: Iterator[Epoch] | None = None, **how: Any
) -> list[Epoch]:
    provenance = run_provenance(run.train, run.val)
    return [*saving(path, run, provenance, run.epochs() if epochs is None else epochs, **how)]


@pytest.mark.parametrize("name", ["checkpoint.npz", "a.b.npz", "model", "x.1.npz"])
def test_the_three_names_of_a_run_are_told_from_any_of_them(name: str) -> None:
    path = Path("runs") / name
    assert {last_path(p) for p in run_paths(path)} == {path}
    assert len({*run_paths(path), *run_paths(numbered_path(path, 1))}) == 6


@pytest.mark.parametrize("every", [1, 4, 100])
def test_the_last_and_the_best_epoch_are_kept(
    small_config: TrainConfig, tmp_path: Path, every: int
) -> None:
    path, run = tmp_path / "c.npz", run_of(small_config)
    results = save_all(path, run, every=every)
    last, best = load_checkpoint(path), load_checkpoint(best_path(path))
    history = results[-1][1]
    accuracies = history.val_accuracy.tolist()
    assert last.num_epochs == 6
    assert best.num_epochs == accuracies.index(max(accuracies)) + 1
    for checkpoint in (last, best):
        state, part = results[checkpoint.num_epochs - 1]
        assert same(dict(checkpoint.params), dict(state.params))
        assert checkpoint.history == part
        assert checkpoint.config == run.config
    found = load_best(path, history)
    assert found is not None
    assert found.num_epochs == best.num_epochs
    assert load_best(path, run.epochs().__next__()[1]) is None or best.num_epochs == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, DivergenceError(3, "x")])
def test_however_it_ends_the_last_epoch_is_saved(
    small_config: TrainConfig, tmp_path: Path, error: Any
) -> None:
    path, run = tmp_path / "c.npz", run_of(small_config)

    def broken() -> Iterator[Epoch]:
        yield from itertools.islice(run.epochs(), 3)
        raise error

    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        save_all(path, run, broken(), every=100)
    assert load_checkpoint(path).num_epochs == 3


def test_the_same_run_replaces_its_own_files_and_another_one_does_not(
    small_config: TrainConfig, tmp_path: Path
) -> None:
    path, told = tmp_path / "c.npz", list[str]()
    for seed in (0, 0, 1, 0, 2):
        picture = tmp_path / "plot.pdf"
        save_all(
            path,
            run_of(small_config, seed=seed),
            pictures=[picture],
            tell=lambda kept: told.append(str(kept)),
        )
        picture.write_text(str(seed))
    kept = {p.name: load_checkpoint(p).config.seed for p in tmp_path.glob("*.npz")}
    assert kept["c.npz"] == 2
    assert {name: kept[name] for name in ("c.1.npz", "c.2.npz", "c.3.npz")} == {
        "c.1.npz": 0, "c.2.npz": 1, "c.3.npz": 0
    }  # fmt: skip
    assert [(tmp_path / f"plot.{n}.pdf").read_text() for n in (1, 2, 3)] == ["0", "1", "0"]
    assert len([line for line in told if line.startswith(f"kept {path} of another run")]) == 3


@given(st.data())
def test_no_finished_epoch_of_another_run_is_lost_whenever_the_process_ends(
    two_runs: tuple[Run, Run], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("killed")
    path = folder / "c.npz"
    one, two = two_runs
    save_all(path, one, itertools.islice(one.epochs(), data.draw(st.integers(1, 4))))
    before = {(c.config.seed, c.num_epochs) for c in map(load_checkpoint, folder.glob("*.npz"))}
    calls = itertools.count()
    end = data.draw(st.integers(0, 12))

    def dying(real: Any) -> Any:
        def call(*args: Any, **options: Any) -> None:
            if next(calls) == end:
                raise SystemExit
            real(*args, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("save_checkpoint", "move_to_new"):
            patch.setattr(outputs, name, dying(getattr(outputs, name)))
        with contextlib.suppress(SystemExit):
            save_all(path, two, itertools.islice(two.epochs(), 3), pictures=[folder / "p.pdf"])
    after = {(c.config.seed, c.num_epochs) for c in map(load_checkpoint, folder.glob("*.npz"))}
    assert before <= after
    save_all(path, two, itertools.islice(two.epochs(), 2))  # started again
    after = {(c.config.seed, c.num_epochs) for c in map(load_checkpoint, folder.glob("*.npz"))}
    assert before <= after


@pytest.fixture(scope="module")
def two_runs() -> tuple[Run, Run]:
    from fnnet import default_config

    config = default_config(
        num_train=60, num_val=20, hidden_dim=3, num_epochs=4, num_threads=1, batch_size=30
    )
    return prepare(config), prepare(evolve(config, seed=1))


def test_a_file_that_is_not_a_checkpoint_is_kept(small_config: TrainConfig, tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    path.write_text("the user's own")
    save_all(path, run_of(small_config))
    assert (tmp_path / "c.1.npz").read_text() == "the user's own"
    assert load_whole(path) is not None
    assert load_whole(tmp_path / "c.1.npz") is None
    picture = tmp_path / "tune.png"
    for n in (1, 2):
        picture.write_text(str(n))
        assert keep(picture).new == tmp_path / f"tune.{n}.png"
    assert (tmp_path / "tune.1.png").read_text() == "1"


def test_nothing_is_renamed_where_nothing_is_in_the_way(
    small_config: TrainConfig, tmp_path: Path
) -> None:
    path = tmp_path / "c.npz"
    save_all(path, run_of(small_config))
    mine = load_checkpoint(path)
    assert keep_others(path, mine, [tmp_path / "plot.pdf"]) == []
    previous_path(path).unlink()
    assert keep_others(path, mine) == []


def test_what_cannot_be_loaded_cannot_be_saved(small_config: TrainConfig, tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    save_all(path, run_of(small_config))
    good = load_checkpoint(path)
    wide = {**good.params, "W1": np.zeros((64, 99), np.float32)}
    for params in (
        wide,
        {name: p.astype(np.float64) for name, p in good.params.items()},
        {**good.params, "W3": np.zeros((2, 2), np.float32)},
        {**good.params, "b1": np.full_like(good.params["b1"], np.nan)},
    ):
        with pytest.raises(CheckpointError, match="cannot be saved"):
            outputs.save_checkpoint(tmp_path / "bad.npz", evolve(good, params=params))
    assert not (tmp_path / "bad.npz").exists()
    deep = run_of(small_config, hidden_dim=(5, 4, 3))
    save_all(tmp_path / "deep.npz", deep)
    assert load_checkpoint(tmp_path / "deep.npz").config.hidden_dim == (5, 4, 3)
