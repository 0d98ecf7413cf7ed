import gc
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from fnnet import (
    Checkpoint,
    History,
    Standardization,
    default_config,
    load_checkpoint,
    mlp,
    save_checkpoint,
)
from fnnet.preprocessing import Whitening, whiten
from tests.helpers import same
from tests.strategies import normal

NAMES = ("cat", "dog", "ünïcode")


def make(seed: int = 0, hidden_dim: int = 4, dtype: Any = "float32", epochs: int = 2) -> Checkpoint:
    config = default_config(hidden_dim=hidden_dim, dtype=dtype, seed=seed)
    return Checkpoint(
        config=config,
        params=mlp(config.dims(6, 3), dtype).init(np.random.default_rng(seed)),
        preprocessing=Standardization(normal(seed, (6,)), 1 + normal(seed + 1, (6,)) ** 2),
        class_names=NAMES,
        history=History(normal(seed, (5 * epochs,)) ** 2, (0.1 / 3,) * epochs, (0.2,) * epochs),
    )


def assert_same(a: Checkpoint, b: Checkpoint) -> None:
    assert same(dict(a.params), dict(b.params))
    assert same(a.preprocessing.mean, b.preprocessing.mean)
    assert isinstance(a.preprocessing, Standardization)
    assert isinstance(b.preprocessing, Standardization)
    assert same(a.preprocessing.std, b.preprocessing.std)
    assert same(a.history.losses, b.history.losses)
    assert a.history.train_accuracy == b.history.train_accuracy
    assert a.history.val_accuracy == b.history.val_accuracy
    for name in ("config", "class_names", "versions", "test_accuracy"):
        assert getattr(a, name) == getattr(b, name), name


@pytest.fixture(autouse=True)
def no_file_is_left_open() -> Iterator[None]:
    """Make a file that nobody closed a warning, and so an error, of this very test."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, make())
    return path


@given(
    seed=st.integers(0, 2**40),
    hidden_dim=st.integers(0, 5),
    dtype=st.sampled_from(["float32", "float64"]),
    test_accuracy=st.none() | st.floats(0, 1),
    epochs=st.integers(0, 3),
    reg=st.floats(0, 10),
    name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
)
def test_save_then_load_is_the_identity(
    folder: Path,
    seed: int,
    hidden_dim: int,
    dtype: str,
    test_accuracy: float | None,
    epochs: int,
    reg: float,
    name: str,
) -> None:
    checkpoint = make(seed, hidden_dim, dtype, epochs)
    config = evolve(checkpoint.config, reg=reg, data_dir=Path(name))
    checkpoint = evolve(checkpoint, config=config, test_accuracy=test_accuracy)
    path = folder / "identity.npz"
    save_checkpoint(str(path), checkpoint)
    first = path.read_bytes()
    loaded = load_checkpoint(str(path))
    assert_same(loaded, checkpoint)
    assert loaded.versions["numpy"] == np.__version__
    save_checkpoint(path, loaded)
    assert path.read_bytes() == first  # the same checkpoint gives the same bytes


def test_settings_of_numpy_come_back_equal(tmp_path: Path) -> None:
    config: Any = default_config(num_train=np.int64(50), reg=np.float32(0.5), hidden_dim=np.int8(4))
    checkpoint = evolve(make(), config=config)
    save_checkpoint(tmp_path / "numpy.npz", checkpoint)
    assert load_checkpoint(tmp_path / "numpy.npz").config == config


def test_a_loaded_model_predicts_as_the_saved_one(saved: Path) -> None:
    checkpoint, loaded = make(), load_checkpoint(saved)
    images = np.random.default_rng(0).integers(256, size=(20, 2, 3), dtype=np.uint8)
    x = checkpoint.preprocess(images)
    assert x.dtype == np.float32
    assert same(loaded.preprocess(images), x)
    scores = checkpoint.model.apply(checkpoint.params, x)
    assert same(loaded.model.apply(loaded.params, x), scores)


def test_loaded_params_and_statistics_cannot_be_changed(saved: Path) -> None:
    loaded: Any = load_checkpoint(saved)
    with pytest.raises(TypeError):
        loaded.params["W1"] = loaded.params["W1"]
    arrays = [*loaded.params.values(), loaded.preprocessing.mean, loaded.history.losses]
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_the_file_holds_plain_arrays_and_readable_json(saved: Path) -> None:
    with np.load(saved, allow_pickle=False) as arrays:
        assert {"params/W1", "params/b2", "preprocessing/mean", "history/losses"} <= {*arrays}
        meta = json.loads(arrays["meta"].tobytes())
    assert meta["config"]["hidden_dim"] == 4
    assert set(meta["versions"]) == {"fnnet", "python", "numpy"}


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()
    # An array of objects cannot be written without a pickle: it fails in the middle.
    broken = evolve(make(), params={"W1": np.ones(3), "b1": np.array([object()])})
    with pytest.raises(ValueError, match="pickle"):
        save_checkpoint(saved, broken)

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(saved, make(seed=1))
    assert saved.read_bytes() == before
    assert [*saved.parent.iterdir()] == [saved]


def test_a_folder_that_is_missing_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        save_checkpoint(tmp_path / "missing" / "checkpoint.npz", make())


def test_whitening_and_a_preset_survive_the_round_trip(tmp_path: Path) -> None:
    config = default_config("best", hidden_dim=4, seed=3)
    matrix = normal(1, (12, 5), np.float32)
    whitening = Whitening(2, normal(0, (12,), np.float32), matrix)
    saved = Checkpoint(
        config=config,
        params=mlp(config.dims(5, 3), config.dtype).init(np.random.default_rng(0)),
        preprocessing=whitening,
        class_names=NAMES,
        history=History(),
    )
    save_checkpoint(tmp_path / "c.npz", saved)
    loaded = load_checkpoint(tmp_path / "c.npz")
    assert loaded.config == config
    assert isinstance(loaded.preprocessing, Whitening)
    assert loaded.preprocessing.pool == 2
    assert same(loaded.preprocessing.mean, normal(0, (12,), np.float32))
    assert same(loaded.preprocessing.matrix, matrix)
    images = np.arange(96, dtype=np.uint8).reshape(2, 3, 4, 4)
    assert same(loaded.preprocess(images), whiten(whitening, images, np.float32))
