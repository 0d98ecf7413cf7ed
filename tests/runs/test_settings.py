"""Every dataset and preset has valid settings, and a wrong setting is refused by name."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from fnnet import default_config
from fnnet.data.folders import default_data_dir
from fnnet.data.sources import NAMED
from fnnet.limits import MAX_COUNT, MAX_LAYERS, MAX_SHIFT, MAX_WIDTH
from fnnet.runs.presets import PRESETS
from fnnet.runs.settings import without_effect


@pytest.mark.parametrize("dataset", NAMED)
def test_each_dataset_has_defaults(dataset: str) -> None:
    config = default_config(dataset)
    assert config.dataset == dataset
    assert config.momentum == 0


def test_the_defaults_of_the_datasets_differ() -> None:
    digits, cifar = map(default_config, NAMED)
    assert digits.num_train != cifar.num_train
    for config, size in ((digits, 1437), (cifar, 50_000)):
        assert config.num_train is not None
        assert config.num_val is not None
        assert config.num_train + config.num_val <= size


def test_changes_win_over_defaults() -> None:
    assert default_config("cifar10", num_train=7, dtype="float64").num_train == 7
    assert default_config(data_dir="a").data_dir == Path("a")
    assert default_config(dataset=Path("some", "folder")).dataset == str(Path("some", "folder"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 0) for name in ("num_train", "num_val", "batch_size", "num_epochs")),
        ("batch_size", -1),
        ("hidden_dim", -1),
        ("seed", -1),
        ("learning_rate", -0.1),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("reg", -1e-9),
        ("reg", float("nan")),
        ("momentum", 1),
        ("momentum", -0.1),
        ("dataset", ""),
        ("dataset", "a\0b"),
        ("hidden_dim", (8, 0)),
        ("image_size", 0),
        ("patience", 0),
        ("dtype", "float16"),
        ("dtype", "int64"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        default_config(**{"dataset": "digits", name: value})
    with pytest.raises(ValueError, match=name):
        evolve(default_config(), **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 1.5),
        ("num_epochs", "3"),
        ("num_train", "3"),
        ("hidden_dim", 2.5),
        ("hidden_dim", (2.5,)),
        ("hidden_dim", True),
        ("seed", 0.0),
        ("learning_rate", "fast"),
        ("reg", None),
        ("momentum", True),
    ],
)
def test_a_setting_of_another_type_is_refused_by_name(name: str, value: Any) -> None:
    found = value[0] if isinstance(value, tuple) else value
    with pytest.raises(TypeError, match=f"^{name} must be .*, found {type(found).__name__}$"):
        default_config(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dtype", "float16", "must be one of float32, float64, found 'float16'"),
        ("schedule", 3, "must be one of constant, linear, cosine, step, found 3"),
        ("momentum", 1.0, "must be below 1, found 1.0"),
        ("warm_up", -1, f"must be a finite number in [0, {MAX_COUNT:g}], found -1"),
        ("num_threads", 1025, "must be at most 1024, found 1025"),
        ("num_threads", 0, "must be at least 1, found 0"),
        ("dataset", "a\0b", r"must be a name or a path, found 'a\x00b'"),
        ("hidden_dim", (4, MAX_WIDTH + 1), f"must be at most {MAX_WIDTH}, found {MAX_WIDTH + 1}"),
        ("hidden_dim", (1,) * (MAX_LAYERS + 1), f"must have at most {MAX_LAYERS} widths"),
    ],
)
def test_a_message_says_what_a_setting_may_be(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(f'{name} {message}')}$"):
        default_config(**{name: value})


def test_the_bounds_of_a_setting_belong_to_it() -> None:
    config = default_config(warm_up=MAX_COUNT, num_threads=1024, momentum=np.nextafter(1, 0))
    assert (config.warm_up, config.num_threads) == (MAX_COUNT, 1024)
    widest = (MAX_WIDTH,) * MAX_LAYERS
    assert default_config(hidden_dim=widest).hidden_dim == widest


def test_settings_without_effect_are_told_with_the_reason() -> None:
    assert without_effect(default_config("digits")) == {
        **dict.fromkeys(("components", "epsilon", "pool"), "without whitening"),
        "nesterov": "without momentum",
        "data_dir": "on the dataset digits",
    }
    assert without_effect(default_config("best")) == {}


@pytest.mark.parametrize("name", ["shift", "tta_shift"])
def test_images_are_moved_by_no_more_than_the_largest_shift(name: str) -> None:
    largest: dict[str, Any] = {name: MAX_SHIFT}
    assert getattr(default_config(**largest), name) == MAX_SHIFT
    with pytest.raises(ValueError, match=f"^{name} must be at most {MAX_SHIFT}"):
        default_config(**{name: largest[name] + 1})


def test_a_batch_has_no_more_micro_batches_than_examples() -> None:
    assert default_config(batch_size=6, micro_batches=6).micro_batches == 6
    with pytest.raises(ValueError, match="micro_batches must be at most batch_size, 6, found 7"):
        default_config(batch_size=6, micro_batches=7)


def test_a_setting_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match="dropout"):
        default_config(dropout=0.5)


def test_settings_cannot_be_changed() -> None:
    config: Any = default_config()
    with pytest.raises(AttributeError):
        config.seed = 1
    assert evolve(config, seed=0) == config


@pytest.mark.parametrize(
    ("hidden_dim", "dims"), [(0, (64, 10)), (1, (64, 1, 10)), (5, (64, 5, 10))]
)
def test_a_width_of_0_means_a_linear_classifier(hidden_dim: int, dims: tuple[int, ...]) -> None:
    assert default_config(hidden_dim=hidden_dim).dims(64, 10) == dims


def test_the_data_lie_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FNNET_DATA_DIR", str(tmp_path))
    assert default_data_dir() == default_config("cifar10").data_dir == tmp_path
    monkeypatch.setenv("FNNET_DATA_DIR", "")  # as good as unset
    fallback = default_data_dir()
    monkeypatch.delenv("FNNET_DATA_DIR")
    assert default_data_dir() == fallback
    assert fallback.is_absolute()
    assert fallback.name == "fnnet"


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_a_valid_configuration(preset: str) -> None:
    config = default_config(preset)
    assert config.dataset == (preset if preset in NAMED else "cifar10")
    for name, value in PRESETS[preset].items():
        width = name == "hidden_dim" and not isinstance(value, tuple)
        assert getattr(config, name) == ((value,) if width else value)


@pytest.mark.parametrize(
    ("given", "widths"),
    [
        (0, ()),
        (5, (5,)),
        (np.int64(5), (5,)),
        ([5, 3], (5, 3)),
        ((5, np.int8(3)), (5, 3)),
        ([], ()),
    ],
)
def test_hidden_dim_is_one_width_or_several(given: Any, widths: tuple[int, ...]) -> None:
    config = default_config(hidden_dim=given)
    assert config.hidden_dim == widths
    assert all(type(width) is int for width in config.hidden_dim)
    assert config.dims(7, 2) == (7, *widths, 2)


def test_a_recipe_on_other_data_takes_their_numbers_of_examples() -> None:
    digits = default_config("fast", dataset="digits")
    assert (digits.num_train, digits.num_val) == (1200, 237)
    assert digits.components == default_config("fast").components
    own = default_config("fast", dataset="some/folder")
    assert (own.num_train, own.num_val) == (None, None)
    assert default_config("fast", dataset="some/folder", num_val=7).num_val == 7


def test_homework_is_plain_sgd_on_standardized_pixels() -> None:
    config = default_config("homework")
    assert (config.momentum, config.preprocessing, config.flip, config.shift) == (
        0,
        "standardize",
        False,
        0,
    )


@pytest.mark.parametrize("preset", ["mnist", "", "Best"])
def test_an_unknown_preset_is_refused(preset: str) -> None:
    known = "digits, cifar10, homework, fast, minute, best, deep, record"
    with pytest.raises(ValueError, match=f"^preset must be one of {known}, found '{preset}'$"):
        default_config(preset)
