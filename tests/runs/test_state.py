"""A training state as named arrays, and back: whatever an optimizer keeps in its state."""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fnnet import CheckpointError, Params, TrainState, load_state, mlp, save_state, sgd
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


@frozen
class Pair:
    """A class whose fields may hold anything; one is private, and one is computed."""

    first: Any
    _second: Any
    computed: int = attrs.field(init=False, default=3)


class Named(NamedTuple):
    left: Any
    right: Any


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


def test_an_array_that_has_no_place_in_the_state_is_named() -> None:
    """Plain SGD must not go on from the state of an optimizer that has momentum, too."""
    with pytest.raises(CheckpointError, match="holds velocity/W1, the state does not"):
        restore(sgd(0.1).init(start(sgd(0.1)).params), flatten(start(sgd(0.1, 0.9)).opt_state))


KINDS = (bool, np.int8, np.int64, np.uint8, np.uint64, np.float16, np.float32, float, np.longdouble)
ALL_NUMBERS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    *(hnp.from_dtype(np.dtype(kind)) for kind in KINDS),
)
ALL_ARRAYS = st.sampled_from(KINDS).flatmap(
    lambda kind: hnp.arrays(
        kind,
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
        elements=hnp.from_dtype(np.dtype(kind), allow_nan=False, allow_infinity=False),
    )
)
KEYS = st.sampled_from(["W1", "file", "a.npy", "0", "é ×", "allow_pickle", ".."])


def nested(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    arrays = st.dictionaries(KEYS, ALL_ARRAYS, max_size=3)
    return st.one_of(
        st.dictionaries(KEYS, part, max_size=3),
        st.lists(part, max_size=3).map(tuple),
        arrays.map(Params),
        st.builds(Pair, part, part),
        st.builds(Named, part, part),
    )


VALUES = st.recursive(ALL_NUMBERS | ALL_ARRAYS | ALL_ARRAYS.map(np.asfortranarray), nested)


def bits(value: Any) -> Any:
    """Return types, memory layouts and bytes at any depth."""
    if isinstance(value, np.ndarray):
        layout = value.flags.c_contiguous, value.flags.f_contiguous
        return "array", value.dtype, value.shape, layout, numbers(value)
    if isinstance(value, dict | Params):
        return type(value), [(key, bits(part)) for key, part in value.items()]
    if isinstance(value, tuple):
        return type(value), [*map(bits, value)]
    if attrs.has(type(value)):
        return type(value), [bits(getattr(value, f.name)) for f in attrs.fields(type(value))]
    return type(value), numbers(np.asarray(value))


def numbers(array: Any) -> Any:
    """Return the bytes; for extended precision, which has unused ones, the numbers."""
    if array.dtype == np.longdouble:
        return [(repr(x), bool(np.signbit(x))) for x in array.ravel()]
    return array.tobytes()


def zeros(value: Any) -> Any:
    """Return a value of the same structure with other numbers: 0."""
    if isinstance(value, np.ndarray):
        return np.zeros_like(value)
    if isinstance(value, dict | Params):
        return type(value)({key: zeros(part) for key, part in value.items()})
    if isinstance(value, Pair):
        return Pair(zeros(value.first), zeros(value._second))
    if isinstance(value, Named):
        return Named(*map(zeros, value))
    return tuple(map(zeros, value)) if isinstance(value, tuple) else type(value)(0)


@given(VALUES)
def test_any_nesting_survives_a_file_bit_for_bit(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        save_state(Path(folder, "state.npz"), value)
        found = load_state(Path(folder, "state.npz"), zeros(value))
    assert bits(found) == bits(value)


@pytest.mark.parametrize(
    "part",
    [None, "text", b"1", [1.0], {1}, 1j, 2**63, -(2**63) - 1, object(), np.array(["a"]),
     np.array([1j]), np.array([None]), np.datetime64(0, "s"), np.ma.masked_array([1.0])],
    ids=lambda part: type(part).__name__,
)  # fmt: skip
def test_what_is_neither_array_nor_number_is_refused_by_name(part: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a/1 must "):
        save_state(tmp_path / "state.npz", {"a": (0, part)})
    with pytest.raises(TypeError, match="a/1 must "):
        load_state(tmp_path / "state.npz", {"a": (0, part)})
    assert [*tmp_path.iterdir()] == []


def test_a_state_that_is_no_state_at_all_is_refused(tmp_path: Path) -> None:
    expected = (
        "^the state must be an array of numbers or a number of 64 bits, or a dict, tuple or "
        "attrs class of them, found list$"
    )
    with pytest.raises(TypeError, match=expected):
        save_state(tmp_path / "state.npz", [1.0])


@pytest.mark.parametrize("key", [1, None, ("a",), "a\0", "\ud800", "a\nb"], ids=repr)
def test_keys_that_a_file_cannot_hold_are_refused(key: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keys of the state must be printable text, found"):
        save_state(tmp_path / "state.npz", {key: 1})


def test_two_parts_with_one_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two parts of the state have the path a"):
        save_state(tmp_path / "state.npz", {"a/b": 1, "a": {"b": 2}})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_array_that_is_not_finite_is_refused_before_the_file_is_written(
    bad: float, tmp_path: Path
) -> None:
    path = tmp_path / "state.npz"
    save_state(path, {"best": bad})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="m/W1 must be finite"):
        save_state(path, {"m": {"W1": np.array([0, bad])}})
    assert path.read_bytes() == before


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load_state(path, {"a": 1})
    np.savez(path, a=1)
    with pytest.raises(CheckpointError, match="is not a checkpoint of fnnet"):
        load_state(path, {"a": 1})
    save_state(path, {"a": 1})
    with pytest.raises(CheckpointError, match="does not hold b"):
        load_state(path, {"b": 1})
    with pytest.raises(CheckpointError, match="a must be float64"):
        load_state(str(path), {"a": 1.0})


@pytest.mark.parametrize("kind", ["masked", "text", "complex", "object"])
def test_an_array_that_would_lose_something_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    value = {
        "masked": np.ma.masked_array([1.0, 2.0], [True, False]),
        "text": np.array(["a"]),
        "complex": np.array([1j]),
        "object": np.array([None]),
    }[kind]
    with pytest.raises(TypeError, match=r"^a/0 must"):
        save_state(tmp_path / "state.npz", {"a": (value,)})
    assert [*tmp_path.iterdir()] == []
