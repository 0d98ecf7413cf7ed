"""A training state as named arrays, and back: whatever an optimizer keeps in its state."""

from typing import Any

import numpy as np
import pytest
from attrs import evolve, frozen

from fnnet import CheckpointError, Params, TrainState, mlp, sgd
from fnnet.runs.state import flatten, restore
from fnnet.training import init_state
from tests.helpers import same

MODEL = mlp((3, 2), np.float32)


def start(optimizer: Any) -> TrainState:
    return init_state(MODEL, optimizer, np.random.default_rng(0))


@frozen
class Moments:
    """A state that no optimizer of the package has."""

    count: int
    pair: tuple[Params, dict[str, Any]]
    rate: float


@pytest.mark.parametrize("momentum", [0, 0.9])
def test_the_state_of_a_training_comes_back(momentum: float) -> None:
    state = evolve(start(sgd(0.1, momentum)), step=7, loss=0.25)
    like = start(sgd(0.1, momentum))
    assert restore(like, flatten(state)) == state


def test_arrays_are_named_by_their_path() -> None:
    names = ["step", "params/W1", "params/b1", "opt_state/step", "opt_state/velocity/W1"]
    assert [*flatten(start(sgd(0.1, 0.9)))] == [
        *names,
        "opt_state/velocity/b1",
        "loss",
        "data_loss",
    ]
    assert flatten({"a": (1.5, np.ones(2))}).keys() == {"a/0", "a/1"}


def test_any_nesting_of_mappings_tuples_classes_and_numbers_comes_back() -> None:
    def moments(x: float) -> Moments:
        params = Params({"W1": np.full((2, 1), x)})
        return Moments(int(x), (params, {"W1": np.full(3, x, np.float32), "n": x}), x / 3)

    found = restore(moments(1.0), flatten(moments(5.0)))
    assert type(found) is Moments
    assert (found.count, found.rate) == (5, 5 / 3)
    assert found.pair[0] == moments(5.0).pair[0]
    assert same(found.pair[1], moments(5.0).pair[1])


def test_a_loss_of_nan_before_the_first_step_comes_back() -> None:
    state = start(sgd(0.1))
    assert restore(state, flatten(state)) == state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"velocity/W1": np.zeros((2, 2), np.float32)}, r"velocity/W1 must be .* shape \(3, 2\)"),
        ({"velocity/W1": np.zeros((3, 2))}, "velocity/W1 must be float32 .* found float64"),
        ({"velocity/b1": np.full(2, np.nan, np.float32)}, "velocity/b1 must be finite"),
        ({"step": np.array(1.0)}, "step must be int64"),
        ({"step": np.zeros(2, int)}, r"step must be int64 of shape \(\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(change: Any, message: str) -> None:
    state = start(sgd(0.1, 0.9)).opt_state
    with pytest.raises(ValueError, match=message):
        restore(state, {**flatten(state), **change})


@pytest.mark.parametrize("name", ["step", "velocity/W1"])
def test_a_missing_array_is_named(name: str) -> None:
    state = start(sgd(0.1, 0.9)).opt_state
    arrays = {n: a for n, a in flatten(state).items() if n != name}
    with pytest.raises(CheckpointError, match=f"the checkpoint does not hold {name}"):
        restore(state, arrays)
