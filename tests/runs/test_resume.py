"""A resumed run ends with the bits of an uninterrupted one, or is refused by name."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import asdict, evolve

from fnnet import (
    Checkpoint,
    CheckpointError,
    History,
    TrainConfig,
    TrainState,
    load_checkpoint,
    save_checkpoint,
)
from fnnet.commands.train_flags import train_command
from fnnet.optim import SgdState
from fnnet.plots import plot_history, save
from fnnet.runs import checkpoint as checkpoints
from fnnet.runs.provenance import differences, environment, run_provenance
from fnnet.runs.resume import check_same_data
from fnnet.runs.run import Run, prepare
from fnnet.runs.settings import FREE
from tests.helpers import same

Result = tuple[TrainState, History]

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "linear": {"hidden_dim": 0, "dtype": "float64"},
    "momentum": {"momentum": 0.9, "schedule": "linear", "warm_up": 0.5},
    "nesterov": {"momentum": 0.9, "nesterov": True, "schedule": "cosine", "flip": True},
    "whitened": {
        "preprocessing": "whiten",
        "components": 9,
        "pool": 2,
        "shift": 1,
        "rotate": 20.0,
        "zoom": 0.2,
        "color": 0.3,
        "tta_flip": True,
        "schedule": "step",
    },
    "wide": {"hidden_dim": 7000, "momentum": 0.5, "learning_rate": 0.001},  # cut into blocks
}


@pytest.fixture(params=[*VARIANTS.values()], ids=[*VARIANTS])
def config(small_config: TrainConfig, request: pytest.FixtureRequest) -> TrainConfig:
    return evolve(small_config, num_threads=1, **request.param)


def finish(experiment: Run, start: TrainState, history: History) -> list[Result]:
    return [*experiment.epochs(start, history)]


def run(config: TrainConfig) -> tuple[Run, list[Result]]:
    experiment = prepare(config)
    return experiment, finish(experiment, experiment.start(), History())


def checkpoint_of(experiment: Run, result: Result) -> Checkpoint:
    state, history = result
    return checkpoints.checkpoint_of(
        state,
        config=experiment.config,
        preprocessing=experiment.preprocessing,
        class_names=experiment.train.class_names,
        history=history,
        provenance=run_provenance(experiment.train, experiment.val),
    )


def bits(result: Result) -> dict[str, Any]:
    state, history = result
    return {
        "state": (state.step, state.loss, dict(state.params)),
        "optimizer": (state.opt_state.step, dict(state.opt_state.velocity)),
        "history": asdict(history, recurse=False),
    }


def plot_of(result: Result, path: Path) -> bytes:
    save(plot_history(result[1]), path)
    return path.read_bytes()


def test_a_run_resumed_after_any_epoch_ends_with_the_same_bits(
    config: TrainConfig, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.npz"
    experiment, results = run(config)
    assert len(results) == 3
    for done, result in enumerate(results, start=1):
        save_checkpoint(path, checkpoint_of(experiment, result))
        saved = load_checkpoint(path)
        assert same(bits((saved.state(), saved.history)), bits(result))
        resumed = prepare(saved.config, saved.preprocessing)
        rest = finish(resumed, saved.state(), saved.history)
        assert len(rest) == 3 - done
        for again, expected in zip(rest, results[done:], strict=True):
            assert same(bits(again), bits(expected))
    # a refitted preprocessing is the same one
    fitted = asdict(prepare(config).preprocessing, recurse=False)
    assert same(fitted, asdict(saved.preprocessing, recurse=False))


def test_a_run_resumed_after_every_epoch_ends_with_the_same_file_and_plot(
    config: TrainConfig, tmp_path: Path
) -> None:
    path, expected = tmp_path / "checkpoint.npz", tmp_path / "expected.npz"
    experiment, results = run(config)
    save_checkpoint(expected, checkpoint_of(experiment, results[-1]))
    save_checkpoint(path, checkpoint_of(experiment, results[0]))
    for _ in results[1:]:
        saved = load_checkpoint(path)
        resumed = prepare(saved.config, saved.preprocessing)
        result = next(resumed.epochs(saved.state(), saved.history))
        save_checkpoint(path, checkpoint_of(resumed, result))
    assert path.read_bytes() == expected.read_bytes()
    assert plot_of(result, tmp_path / "a.png") == plot_of(results[-1], tmp_path / "b.png")


def test_a_longer_run_is_that_of_the_larger_number_of_epochs(small_config: TrainConfig) -> None:
    longer = evolve(small_config, num_epochs=5, momentum=0.9, warm_up=4.0)
    _, expected = run(longer)
    experiment, results = run(evolve(longer, num_epochs=2))
    saved = checkpoint_of(experiment, results[-1])
    resumed = finish(prepare(longer, saved.preprocessing), saved.state(), saved.history)
    assert same(bits(resumed[-1]), bits(expected[-1]))


def test_a_run_begins_at_the_end_of_an_epoch(small_config: TrainConfig) -> None:
    experiment = prepare(small_config)
    state = next(experiment.states())
    expected = "^start must lie at the end of an epoch of 3 steps, found step 1$"
    with pytest.raises(ValueError, match=expected):
        experiment.states(state)


def test_a_run_whose_velocity_was_not_saved_is_not_resumed(small_config: TrainConfig) -> None:
    experiment, results = run(evolve(small_config, momentum=0.9))
    saved = evolve(checkpoint_of(experiment, results[-1]), opt_state={})
    with pytest.raises(CheckpointError, match="cannot resume: the checkpoint does not hold step"):
        _ = saved.state()


def test_the_state_of_a_checkpoint_without_epochs_is_the_first(small_config: TrainConfig) -> None:
    experiment = prepare(small_config)
    start = experiment.start()
    state = checkpoint_of(experiment, (start, History())).state()
    assert isinstance(state.opt_state, SgdState)
    assert (state.step, state.opt_state.step, np.isnan(state.loss)) == (0, 0, True)


@pytest.fixture
def saved(small_config: TrainConfig, tmp_path: Path) -> Path:
    """The checkpoint of two of three epochs."""
    experiment, results = run(small_config)
    save_checkpoint(tmp_path / "checkpoint.npz", checkpoint_of(experiment, results[1]))
    return tmp_path / "checkpoint.npz"


def test_a_resumed_run_has_the_saved_settings(
    saved: Path, small_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FNNET_DATA_DIR", "/elsewhere")
    command, checkpoint = train_command(["--resume", str(saved)])
    assert command.config == small_config
    assert (command.checkpoint_file, command.plot_file) == (saved, saved.parent / "plot.pdf")
    assert checkpoint is not None
    assert len(checkpoint.history.val_accuracy) == 2
    assert train_command([f"--resume={saved}", "--hidden-dim", "5"])[0].config == small_config
    assert train_command([])[1] is None


OTHER: dict[str, Any] = {
    "dataset": "cifar10", "image_size": 9, "patience": 2, "num_train": 71, "num_val": 21,
    "preprocessing": "whiten", "components": 5, "epsilon": 0.1, "pool": 2, "flip": True,
    "shift": 1, "rotate": 5.0, "zoom": 0.1, "color": 0.2, "tta_flip": True, "tta_shift": 1,
    "hidden_dim": (6, 7), "batch_size": 31, "num_epochs": 4, "learning_rate": 0.2,
    "schedule": "cosine", "warm_up": 1.0, "momentum": 0.5, "nesterov": True,
    "reg": 0.5, "seed": 1, "dtype": "float64", "micro_batches": 2, "num_threads": 7,
    "data_dir": "other",
}  # fmt: skip


def test_there_is_another_value_of_every_setting(small_config: TrainConfig) -> None:
    assert {*OTHER} == {*asdict(small_config)}


@pytest.mark.parametrize("name", OTHER)
def test_a_setting_that_makes_it_another_run_is_refused_by_name(
    saved: Path, small_config: TrainConfig, name: str
) -> None:
    changed = evolve(small_config, **{name: OTHER[name]})
    flag = f"--{name.replace('_', '-')}"
    value = OTHER[name] if isinstance(OTHER[name], tuple) else (OTHER[name],)
    args = ["--resume", str(saved), flag, *([] if OTHER[name] is True else map(str, value))]
    if name in FREE or name == "num_epochs":
        assert train_command(args)[0].config == changed
        return
    before = getattr(small_config, name)
    start = re.escape(f"cannot resume: {name} is {before} in ")
    with pytest.raises(ValueError, match=f"^{start}") as caught:
        train_command(args)
    assert f"{name} is {before} in {saved}, found {OTHER[name]}: " in str(caught.value)
    if name != "schedule":
        assert str(caught.value).endswith("would be another run, to train without --resume")


def test_all_changed_settings_are_named(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"reg is .*; seed is 0 in .*, found 3: .*another run"):
        train_command(["--resume", str(saved), "--reg", "9", "--seed", "3", "--print-every", "7"])


@pytest.mark.parametrize(
    ("schedule", "num_epochs", "why"),
    [
        ("constant", 3, None),
        ("constant", 2, None),
        ("constant", 30, None),
        ("constant", 1, "2 epochs are done"),
        ("linear", 4, "the learning rate of the linear schedule depends on it"),
        ("cosine", 2, "the learning rate of the cosine schedule depends on it"),
        ("step", 30, "the learning rate of the step schedule depends on it"),
        ("step", 3, None),
    ],
)
def test_the_number_of_epochs_may_change_where_the_schedule_does_not_depend_on_it(
    small_config: TrainConfig, tmp_path: Path, schedule: Any, num_epochs: int, why: str | None
) -> None:
    experiment, results = run(evolve(small_config, schedule=schedule))
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, checkpoint_of(experiment, results[1]))
    args = ["--resume", str(path), "--num-epochs", str(num_epochs)]
    if why is None:
        assert train_command(args)[0].config.num_epochs == num_epochs
    else:
        with pytest.raises(ValueError, match=rf"num_epochs is 3 in .*, found {num_epochs}: {why}"):
            train_command(args)


def test_a_checkpoint_that_is_none_cannot_be_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        train_command(["--resume", str(tmp_path / "missing.npz")])
    with pytest.raises(SystemExit):
        train_command(["--resume"])
    assert "resume" in "".join(capsys.readouterr())


@pytest.mark.parametrize("part", ["training data", "validation data"])
def test_other_data_are_refused(saved: Path, small_config: TrainConfig, part: str) -> None:
    checkpoint = load_checkpoint(saved)
    check_same_data(saved, checkpoint, checkpoint.provenance)
    other = prepare(evolve(small_config, seed=1))
    other_provenance = run_provenance(other.train, other.val)
    mixed = {**checkpoint.provenance, part: other_provenance[part]}
    found = other_provenance[part][:12]
    before = checkpoint.provenance[part][:12]
    expected = (
        f"^{re.escape(str(saved))} belongs to other data than digits: "
        f"{part} is {before}… in the checkpoint, found {found}…$"
    )
    with pytest.raises(ValueError, match=expected):
        check_same_data(saved, checkpoint, mixed)


def test_a_checkpoint_that_does_not_say_what_its_data_were_is_refused(saved: Path) -> None:
    checkpoint = load_checkpoint(saved)
    silent = evolve(checkpoint, provenance=environment())
    with pytest.raises(ValueError, match="does not say which data it was trained on"):
        check_same_data(saved, silent, checkpoint.provenance)
    before = dict(checkpoint.provenance)
    del before["validation data"]  # as in a checkpoint of format 2
    check_same_data(saved, evolve(checkpoint, provenance=before), checkpoint.provenance)


def test_another_machine_is_noticed(saved: Path) -> None:
    before = load_checkpoint(saved).provenance
    assert differences(before, before, "in the checkpoint") == []
    [line] = differences(before, {**before, "numpy": "9.9"}, "in the checkpoint")
    assert line == f"numpy is {np.__version__} in the checkpoint, found 9.9"
    line, _ = differences(environment(), before, "in the checkpoint")
    assert line.startswith("training data is None in the checkpoint")
