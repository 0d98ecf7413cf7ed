import gc
import json
import os
import zipfile
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
    CheckpointError,
    History,
    Standardization,
    default_config,
    load_checkpoint,
    mlp,
    save_checkpoint,
)
from fnnet.checkpoint import write_archive
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


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "no.npz"
    with pytest.raises(CheckpointError, match=f"no checkpoint at {path}"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path)
    np.savez(tmp_path / "foreign.npz", a=np.ones(3))
    np.save(tmp_path / "single.npy", np.ones(3))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("hello.txt", "hello")
        archive.writestr("meta", "{}")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "text.npz").write_text("hello")
    for file in tmp_path.iterdir():
        with pytest.raises(CheckpointError, match=file.name):
            load_checkpoint(file)


def rewrite(path: Path, **changes: Any) -> None:
    """Write the file again with some arrays replaced, or left out for None."""
    with np.load(path) as archive:
        arrays = {**archive, **{name.replace("__", "/"): a for name, a in changes.items()}}
    write_archive(path, {name: a for name, a in arrays.items() if a is not None})


def meta_of(path: Path) -> dict[str, Any]:
    with np.load(path) as archive:
        meta: dict[str, Any] = json.loads(archive["meta"].tobytes())
    return meta


@pytest.mark.parametrize(
    "changes",
    [
        {"params__W1": None},
        {"params__W1": np.ones((7, 4), np.float32)},
        {"params__W1": np.ones((6, 5), np.float32)},
        {"params__W1": np.ones((6, 4), np.float64)},
        {"params__W1": np.full((6, 4), np.nan, np.float32)},
        {"params__W1": np.full((6, 4), "a")},
        {"params__b2": np.full(3, np.inf, np.float32)},
        {"params__W3": np.ones((3, 3), np.float32)},
        {"preprocessing__mean": None},
        {"preprocessing__mean": np.zeros(5)},
        {"preprocessing__std": np.zeros(6)},
        {"preprocessing__std": np.full(6, np.nan)},
        {"history__losses": None},
        {"meta": None},
        {"meta": np.zeros(0, np.uint8)},
        {"meta": np.frombuffer(b"[1, 2]", np.uint8)},
        {"meta": np.frombuffer(b"{}", np.uint8)},
        {"meta": np.frombuffer(b"[" * 100_000, np.uint8)},
        {"meta": np.frombuffer(b"\xff\xfe", np.uint8)},
    ],
    ids=str,
)
def test_a_checkpoint_whose_parts_do_not_fit_is_refused(
    saved: Path, changes: dict[str, Any]
) -> None:
    rewrite(saved, **changes)
    with pytest.raises(CheckpointError, match=saved.name):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"format": None},
        {"config": None},
        {"config": []},
        {"config": {"dataset": "digits"}},
        {"class_names": ["cat"]},
        {"class_names": 3},
        {"class_names": [1, 2, 3]},
        {"train_accuracy": None},
        {"train_accuracy": ["high", "higher"]},
        {"test_accuracy": "high"},
        {"versions": None},
    ],
    ids=str,
)
def test_a_checkpoint_with_other_meta_data_is_refused(saved: Path, changes: Any) -> None:
    meta = np.frombuffer(json.dumps({**meta_of(saved), **changes}).encode(), np.uint8)
    rewrite(saved, meta=meta)
    with pytest.raises(CheckpointError, match=saved.name):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    "changes",
    [
        *({"hidden_dim": width} for width in (5, 0, -1)),
        *({"dtype": dtype} for dtype in ("float64", "int8")),
        *({"dataset": "mnist"}, {"seed": "0"}, {"surprise": 1}),
    ],
    ids=str,
)
def test_a_checkpoint_of_another_configuration_is_refused(saved: Path, changes: Any) -> None:
    meta = meta_of(saved)
    meta["config"] |= changes
    rewrite(saved, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8))
    with pytest.raises(CheckpointError, match=saved.name):
        load_checkpoint(saved)


def assert_refused_or_unharmed(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    try:
        loaded = load_checkpoint(path)
    except CheckpointError:
        return
    assert_same(loaded, make())  # the flipped bit meant nothing


@given(data=st.data())
def test_a_damaged_checkpoint_is_refused_or_unharmed(folder: Path, data: st.DataObject) -> None:
    path = folder / "damaged.npz"
    save_checkpoint(path, make())
    raw = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
    else:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    assert_refused_or_unharmed(path, bytes(raw))


@pytest.mark.parametrize("flip", [0x01, 0xFF])
@pytest.mark.parametrize(("part", "length"), [(b"PK\3\4", 60), (b"PK\1\2", 60), (b"PK\5\6", 22)])
def test_a_damaged_zip_structure_is_refused_or_unharmed(
    folder: Path, part: bytes, length: int, flip: int
) -> None:
    path = folder / "flipped.npz"
    save_checkpoint(path, make())
    whole = path.read_bytes()
    start = whole.index(part)
    for position in range(start, start + length):
        raw = bytearray(whole)
        raw[position] ^= flip
        assert_refused_or_unharmed(path, bytes(raw))


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
