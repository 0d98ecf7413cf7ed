"""A checkpoint comes back as it was saved, and a failed write keeps the one before."""

import gc
import json
import os
from collections.abc import Callable, Iterator
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
from fnnet.commands.show import show
from fnnet.data.preprocessing import Whitening, whiten
from fnnet.optim import sgd
from fnnet.runs.archive import is_whole, write_archive
from fnnet.runs.names import previous_path
from fnnet.runs.run import prepare
from fnnet.runs.state import flatten
from tests.helpers import is_immutable, same
from tests.strategies import normal

NAMES = ("cat", "dog", "ünïcode")


def make(seed: int = 0, hidden_dim: Any = 4, dtype: Any = "float32", epochs: int = 2) -> Checkpoint:
    config = default_config(hidden_dim=hidden_dim, dtype=dtype, seed=seed)
    return Checkpoint(
        config=config,
        params=mlp(config.dims(6, 3), dtype).init(np.random.default_rng(seed)),
        preprocessing=Standardization(normal(seed, (6,)), 1 + normal(seed + 1, (6,)) ** 2, (2, 3)),
        class_names=NAMES,
        history=History(
            normal(seed, (5 * epochs,)) ** 2,
            np.full(epochs, 0.1 / 3),
            np.full(epochs, 0.2),
            normal(seed + 1, (5 * epochs,)) ** 2,
            np.full(epochs, 0.7),
        ),
    )


def assert_same(a: Checkpoint, b: Checkpoint) -> None:
    assert same(dict(a.params), dict(b.params))
    assert same(a.preprocessing.mean, b.preprocessing.mean)
    assert isinstance(a.preprocessing, Standardization)
    assert isinstance(b.preprocessing, Standardization)
    assert same(a.preprocessing.std, b.preprocessing.std)
    assert same(a.preprocessing.shape, b.preprocessing.shape)
    assert a.preprocessing.of_features is b.preprocessing.of_features
    for name in ("losses", "train_accuracy", "val_accuracy", "data_losses", "val_loss"):
        assert same(getattr(a.history, name), getattr(b.history, name)), name
    assert same(dict(a.opt_state), dict(b.opt_state))
    for name in ("config", "class_names", "provenance", "test_accuracy", "test_set_used"):
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
    hidden_dim=st.integers(0, 5) | st.lists(st.integers(1, 5), max_size=3),
    dtype=st.sampled_from(["float32", "float64"]),
    test_accuracy=st.none() | st.floats(0, 1),
    test_set_used=st.booleans(),
    shape=st.sampled_from([None, (6,), (2, 3), (1, 6, 1)]),
    of_features=st.booleans(),
    epochs=st.integers(0, 3),
    reg=st.floats(0, 10),
    name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
)
def test_save_then_load_is_the_identity(
    folder: Path,
    seed: int,
    hidden_dim: Any,
    dtype: str,
    test_accuracy: float | None,
    test_set_used: bool,
    shape: tuple[int, ...] | None,
    of_features: bool,
    epochs: int,
    reg: float,
    name: str,
) -> None:
    checkpoint = make(seed, hidden_dim, dtype, epochs)
    config = evolve(checkpoint.config, reg=reg, data_dir=Path(name))
    fitted: Any = evolve(checkpoint.preprocessing, shape=shape, of_features=of_features)
    checkpoint = evolve(
        checkpoint,
        config=config,
        preprocessing=fitted,
        test_accuracy=test_accuracy,
        test_set_used=test_set_used,
    )
    path = folder / "identity.npz"
    save_checkpoint(str(path), checkpoint)
    first = path.read_bytes()
    loaded = load_checkpoint(str(path))
    assert_same(loaded, checkpoint)
    assert loaded.num_epochs == epochs
    assert loaded.provenance["numpy"] == np.__version__
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


def test_a_loaded_model_refuses_examples_of_another_shape(saved: Path) -> None:
    loaded = load_checkpoint(saved)
    for shape in ((5, 3, 2), (5, 6)):
        with pytest.raises(ValueError, match=r"shape \(2, 3\) each, found shape \(5, "):
            loaded.preprocess(np.zeros(shape, np.uint8))


Change = Callable[[dict[str, Any]], dict[str, Any]]
UNFIT: dict[str, tuple[Change, str]] = {
    "another width": (lambda p: {**p, "W1": p["W1"][:, :3]}, "hidden_dim"),
    "another input": (lambda p: {**p, "W1": p["W1"][:5]}, "hidden_dim"),
    "fewer classes": (lambda p: {**p, "W2": p["W2"][:, :2], "b2": p["b2"][:2]}, "hidden_dim"),
    "another dtype": (lambda p: {n: a.astype(float) for n, a in p.items()}, "dtype float32"),
    "an extra layer": (lambda p: {**p, "W3": np.eye(3, dtype="f"), "b3": p["b2"]}, "hidden_dim"),
    "a layer too few": (lambda p: {"W1": p["W1"], "b1": p["b1"]}, "hidden_dim"),
    "no bias": (lambda p: {n: a for n, a in p.items() if n != "b1"}, "hidden_dim"),
    "NaN": (lambda p: {**p, "b2": p["b2"] * np.float32(np.nan)}, "b2 must be finite"),
    "infinity": (lambda p: {**p, "W1": p["W1"] / np.float32(0)}, "W1 must be finite"),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", UNFIT)
def test_what_cannot_be_loaded_cannot_be_saved(saved: Path, kind: str) -> None:
    change, message = UNFIT[kind]
    before = saved.read_bytes()
    broken = evolve(make(), params=change(dict(make().params)))
    for path in (saved, saved.with_name("new.npz")):
        with pytest.raises(CheckpointError, match=f"^the checkpoint cannot be saved: .*{message}"):
            save_checkpoint(path, broken)
    assert saved.read_bytes() == before
    assert [*saved.parent.iterdir()] == [saved]


def test_anything_but_a_checkpoint_and_a_path_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^checkpoint must be a Checkpoint, found dict"):
        save_checkpoint(tmp_path / "c.npz", {})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^path must be a path, found int"):
        save_checkpoint(3, make())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^path must be a path, found int"):
        load_checkpoint(3)  # type: ignore[arg-type]
    assert [*tmp_path.iterdir()] == []


def test_a_state_of_the_optimizer_that_is_not_finite_cannot_be_saved(tmp_path: Path) -> None:
    opt_state = {"step": np.array(1), "velocity/b1": np.array([np.inf])}
    with pytest.raises(CheckpointError, match="velocity/b1 must be finite"):
        save_checkpoint(tmp_path / "c.npz", evolve(make(), opt_state=opt_state))
    assert [*tmp_path.iterdir()] == []


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
    assert meta["config"]["hidden_dim"] == [4]
    assert {"fnnet", "python", "numpy", "blas", "cpu"} <= {*meta["provenance"]}


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()
    # An array of objects cannot be written without a pickle: it fails in the middle.
    broken = evolve(make(), opt_state={"step": np.ones(3), "b1": np.array([object()])})
    with pytest.raises(ValueError, match="pickle"):
        save_checkpoint(saved, broken)

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left") as caught:
        save_checkpoint(saved, make(seed=1))
    assert (caught.value.errno, caught.value.filename) == (28, str(saved))
    assert saved.read_bytes() == before
    assert [*saved.parent.iterdir()] == [saved]


def test_a_folder_that_is_missing_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        save_checkpoint(tmp_path / "missing" / "checkpoint.npz", make())


def test_whitening_and_a_preset_survive_the_round_trip(tmp_path: Path) -> None:
    config = default_config("best", hidden_dim=4, seed=3)
    matrix = normal(1, (12, 5), np.float32)
    whitening = Whitening(2, normal(0, (12,), np.float32), matrix, (3, 4, 4))
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
    assert loaded.preprocessing == whitening
    features = evolve(whitening, pool=1, shape=(12,), of_features=True)
    save_checkpoint(tmp_path / "f.npz", evolve(saved, preprocessing=features))
    assert load_checkpoint(tmp_path / "f.npz").preprocessing == features
    assert same(loaded.preprocessing.mean, normal(0, (12,), np.float32))
    assert same(loaded.preprocessing.matrix, matrix)
    images = np.arange(96, dtype=np.uint8).reshape(2, 3, 4, 4)
    assert same(loaded.preprocess(images), whiten(whitening, images, np.float32))


def test_the_checkpoint_before_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    previous = previous_path(path)
    for seed in range(3):
        save_checkpoint(path, make(seed), previous=previous)
        assert load_checkpoint(path).config.seed == seed
        if seed:
            assert load_checkpoint(previous).config.seed == seed - 1
    save_checkpoint(path, make(9))
    assert load_checkpoint(previous).config.seed == 1


@pytest.mark.parametrize("damage", [b"", b"hello", None])
def test_a_damaged_checkpoint_does_not_take_the_place_of_the_one_before(
    tmp_path: Path, damage: bytes | None
) -> None:
    path = tmp_path / "c.npz"
    previous = previous_path(path)
    for seed in (0, 1):
        save_checkpoint(path, make(seed), previous)
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    with pytest.raises(CheckpointError, match=rf"c\.npz.*; the one before it is {previous}"):
        load_checkpoint(path)
    save_checkpoint(path, make(2), previous)
    assert [load_checkpoint(p).config.seed for p in (path, previous)] == [2, 0]
    path.unlink()
    with pytest.raises(
        CheckpointError,
        match=rf"^there is no checkpoint at {path}; the one before it is {previous}$",
    ):
        load_checkpoint(path)


@pytest.mark.parametrize("damaged", [False, True])
def test_at_every_moment_there_is_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    path = tmp_path / "c.npz"
    previous = previous_path(path)
    for seed in (0, 1):
        save_checkpoint(path, make(seed), previous)
    if damaged:
        path.write_bytes(b"damaged")
    moments = []

    def look() -> None:
        moments.append([is_whole(p) for p in (path, previous)])

    for name in ("link", "replace", "unlink", "fsync", "rename"):
        original = getattr(os, name)

        def watched(*args: Any, original: Any = original) -> Any:
            look()
            result = original(*args)
            look()
            return result

        monkeypatch.setattr(os, name, watched)
    save_checkpoint(path, make(2), previous)
    assert len(moments) >= 6
    assert all(map(any, moments))
    assert damaged or all(map(all, moments))


@pytest.mark.parametrize("hidden_dim", [0, 4, 3000])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("epochs", [0, 2000])
def test_a_file_has_the_stated_size(
    tmp_path: Path, hidden_dim: int, momentum: float, epochs: int
) -> None:
    checkpoint = make(0, hidden_dim, epochs=epochs)
    config = evolve(checkpoint.config, momentum=momentum, data_dir=Path("d" * 200))
    opt_state = flatten(sgd(0.1, momentum).init(checkpoint.params))
    checkpoint = evolve(checkpoint, config=config, opt_state=opt_state)
    path = tmp_path / "c.npz"
    save_checkpoint(path, checkpoint)
    params = sum(p.nbytes for p in checkpoint.params.values())
    stated = params * (1 + bool(momentum)) + 2 * 6 * 8 + 16 * 5 * epochs + 24 * epochs
    assert stated < path.stat().st_size <= stated + 16_384
    assert_same(load_checkpoint(path), checkpoint)


def test_a_velocity_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    config = evolve(make().config, momentum=0.9)
    opt_state = flatten(sgd(0.1, 0.9).init(make().params))
    checkpoint = evolve(make(), config=config, opt_state=opt_state)
    for name, velocity in (
        ("W1", np.zeros((6, 5), np.float32)),
        ("W1", np.zeros((6, 4), np.float64)),
        ("b1", np.full(4, np.nan, np.float32)),
    ):
        save_checkpoint(path, checkpoint)
        with np.load(path) as archive:
            write_archive(path, {**archive, f"opt_state/velocity/{name}": velocity})
        with pytest.raises(CheckpointError, match=f"velocity/{name}"):
            load_checkpoint(path).state()


def test_what_is_loaded_cannot_be_changed_by_anybody(tmp_path: Path) -> None:
    opt_state = flatten(sgd(0.1, 0.9).init(make().params))
    save_checkpoint(tmp_path / "c.npz", evolve(make(), opt_state=opt_state))
    loaded = load_checkpoint(tmp_path / "c.npz")
    for array in (*loaded.params.values(), *loaded.opt_state.values(), loaded.history.losses):
        assert is_immutable(array)
    provenance: Any = loaded.provenance
    with pytest.raises(TypeError):
        provenance["numpy"] = "0"


def test_arrays_keep_their_order_in_memory(tmp_path: Path) -> None:
    params = {name: np.asfortranarray(p) for name, p in make().params.items()}
    save_checkpoint(tmp_path / "c.npz", evolve(make(), params=params))
    loaded = load_checkpoint(tmp_path / "c.npz")
    assert loaded.params["W1"].flags.f_contiguous
    assert same(dict(loaded.params), params)


FOLDER = Path(__file__).parent


@pytest.mark.parametrize(
    ("name", "widths", "momentum", "steps", "val_accuracy"),
    [
        ("format2-momentum.npz", (64, 3, 10), 0.9, 6, [0.05, 0.0]),
        ("format2-linear.npz", (64, 10), 0.0, 3, [0.2]),
    ],
)
def test_a_checkpoint_of_format_2_can_be_tested_and_resumed(
    name: str, widths: tuple[int, ...], momentum: float, steps: int, val_accuracy: list[float]
) -> None:
    checkpoint = load_checkpoint(FOLDER / name)
    config = checkpoint.config
    assert config.dims(64, 10) == widths
    assert (config.dataset, config.momentum, config.tta_flip) == ("digits", momentum, False)
    assert checkpoint.provenance["numpy"] == "2.4.6"
    assert (checkpoint.preprocessing.shape, checkpoint.preprocessing.of_features) == (None, False)
    assert checkpoint.history.val_accuracy.tolist() == val_accuracy
    run = prepare(evolve(config, num_threads=1), checkpoint.preprocessing)
    assert run.accuracy(checkpoint.params, run.val) == val_accuracy[-1]
    state = checkpoint.state()
    assert (state.step, state.opt_state.step) == (steps, steps)
    assert state.opt_state.velocity.keys() == (state.params.keys() if momentum else set())
    *_, (_, history) = prepare(evolve(config, num_epochs=4)).epochs(state, checkpoint.history)
    assert len(history.val_accuracy) == 4


def test_a_checkpoint_of_format_3_can_be_tested_and_resumed(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(FOLDER / "format3-whitened.npz")
    config = checkpoint.config
    assert (config.hidden_dim, config.image_size, config.patience) == ((3,), None, None)
    assert (config.num_train, config.num_val, config.dataset) == (40, 20, "digits")
    assert checkpoint.provenance["fnnet"] == "0.2.0"
    assert "validation data" not in checkpoint.provenance
    assert checkpoint.test_set_used is False
    history = checkpoint.history
    assert history.val_accuracy.tolist() == [0.15, 0.25]
    assert np.isnan([*history.data_losses, *history.val_loss]).all()
    assert len(history.losses) == len(history.data_losses) == 4
    assert isinstance(checkpoint.preprocessing, Whitening)
    assert checkpoint.preprocessing.shape is None
    run = prepare(evolve(config, num_epochs=3), checkpoint.preprocessing)
    assert run.accuracy(checkpoint.params, run.val) == 0.25
    [(state, longer)] = run.epochs(checkpoint.state(), history)
    assert state.step == 6
    assert np.isfinite(longer.val_loss).tolist() == [False, False, True]
    again = tmp_path / "again.npz"
    save_checkpoint(again, checkpoint)
    assert load_checkpoint(again).config == config


@pytest.mark.parametrize("test_accuracy", [None, 0.5])
def test_an_old_checkpoint_with_a_test_accuracy_has_used_the_test_set(
    saved: Path, test_accuracy: float | None
) -> None:
    with np.load(saved) as archive:
        arrays = dict(archive)
    meta = json.loads(arrays["meta"].tobytes())
    del meta["test_set_used"]
    meta |= {"format": 3, "test_accuracy": test_accuracy}
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    write_archive(saved, arrays)
    assert load_checkpoint(saved).test_set_used == (test_accuracy is not None)


def test_show_shows_what_a_stranger_wrote_harmlessly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = evolve(make(), provenance={"fnnet\x1b[2J": "\x1b]0;title\x07"})
    save_checkpoint(tmp_path / "c.npz", evil)
    show(tmp_path / "c.npz")
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert "\\x1b]0;title\\x07" in output
