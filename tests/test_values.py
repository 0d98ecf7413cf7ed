"""Copies and pickles of immutable values are equal and read-only, in other processes too."""

import copy
import io
import multiprocessing
import pickle
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import attrs
import joblib
import numpy as np
import pytest

import fnnet as fn
from fnnet import Params
from fnnet.data.preprocessing import fit_whitening
from fnnet.optim import SgdState, cosine, linear, step_decay, warm_up
from fnnet.runs.checkpoint import Checkpoint, checkpoint_of
from fnnet.search import Choice, Space, Uniform
from fnnet.training import TrainState
from fnnet.values import FrozenDict
from tests.helpers import is_immutable

MODEL = fn.two_layer_net(4, 3, 2)


def example_params() -> Params:
    return MODEL.init(np.random.default_rng(0))


def example_state() -> TrainState:
    optimizer = fn.sgd(0.1, 0.9)
    params = example_params()
    batch = np.ones((2, 4)), np.array([0, 1])
    loss, grads = fn.make_train_step(MODEL)(params, batch, 0.1)
    params, state = optimizer.update(params, optimizer.init(params), grads)
    return TrainState(1, params, state, loss)


def example_dataset() -> fn.Dataset:
    images = np.random.default_rng(0).integers(256, size=(6, 2, 2), dtype=np.uint8)
    return fn.Dataset(images, np.arange(6) % 2, ("a", "b"))


def example_checkpoint() -> Checkpoint:
    config = fn.default_config(hidden_dim=3, num_train=6, num_val=2, momentum=0.9)
    state = example_state()
    return checkpoint_of(
        state,
        config=config,
        preprocessing=fn.fit_standardization(example_dataset()),
        class_names=("a", "b"),
        history=fn.History(np.ones(1), np.ones(1), np.ones(1)),
        provenance={"numpy": "2"},
    )


VALUES: dict[str, Callable[[], Any]] = {
    "params": example_params,
    "gradients": lambda: fn.make_train_step(MODEL)(
        example_params(), (np.ones((2, 4)), np.array([0, 1])), 0.1
    )[1],
    "optimizer state": lambda: example_state().opt_state,
    "optimizer state without momentum": lambda: fn.sgd(0.1).init(example_params()),
    "train state": example_state,
    "train state before the first step": lambda: attrs.evolve(example_state(), loss=float("nan")),
    "history": lambda: fn.History(np.arange(4.0), np.array([0.5, 1]), np.array([0.25, 0])),
    "empty history": fn.History,
    "dataset": example_dataset,
    "standardization": lambda: fn.fit_standardization(example_dataset()),
    "whitening": lambda: fit_whitening(example_dataset(), 2, 0.1),
    "checkpoint": example_checkpoint,
    "space": lambda: Space({"reg": Uniform(0, 1), "momentum": Choice((0, 0.9))}),
    "linear classifier": lambda: fn.linear_classifier(3, 2, np.float32),
    "two-layer net": lambda: fn.two_layer_net(4, 3, 2),
    "deep model": lambda: fn.mlp((4, 3, 3, 2)),
    "optimizer": lambda: fn.sgd(0.1),
    "optimizer with schedules": lambda: fn.sgd(warm_up(cosine(0.1, 10), 3), 0.9, nesterov=True),
    "linear schedule": lambda: fn.sgd(linear(0.1, 10)),
    "step schedule": lambda: fn.sgd(step_decay(0.1, 10)),
    "settings": lambda: fn.default_config("best"),
}


def by_joblib(value: Any) -> Any:
    file = io.BytesIO()
    joblib.dump(value, file)
    file.seek(0)
    return joblib.load(file)


def by_pickle(protocol: int, value: Any) -> Any:
    return pickle.loads(pickle.dumps(value, protocol))


def identity(value: Any) -> Any:
    return value


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "joblib": by_joblib,
    **{
        f"pickle {protocol}": partial(by_pickle, protocol)
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    },
}


def arrays_in(value: Any) -> Iterator[np.ndarray[Any, Any]]:
    """Yield every array that a value holds, at any depth."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from arrays_in(part)
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            yield from arrays_in(getattr(value, field.name))


def assert_frozen(value: Any) -> None:
    """Check that neither the attributes of a value nor the numbers in it can be changed."""
    for array in arrays_in(value):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    if isinstance(value, Mapping):
        with pytest.raises(TypeError):
            value["W1"] = 0  # type: ignore[index]
        with pytest.raises(AttributeError):
            value.other = 0  # type: ignore[attr-defined]
    else:
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, attrs.fields(type(value))[0].name, None)


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("name", VALUES)
def test_a_copy_is_equal_and_read_only(name: str, kind: str) -> None:
    value = VALUES[name]()
    found = COPIES[kind](value)
    assert type(found) is type(value)
    assert found == value
    assert repr(found) == repr(value) or callable(getattr(value, "init", None))
    assert_frozen(value)
    assert_frozen(found)


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_values_go_to_another_process_and_back(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    values = [make() for make in VALUES.values()]
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        for value, found in zip(values, pool.map(identity, values), strict=True):
            assert found == value
            assert_frozen(found)


def test_models_and_optimizers_that_went_through_a_pickle_compute_the_same_bits() -> None:
    model, optimizer = pickle.loads(pickle.dumps((MODEL, fn.sgd(linear(0.1, 9), 0.9))))
    params = model.init(np.random.default_rng(0))
    assert params == example_params()
    batch = np.ones((2, 4)), np.array([0, 1])
    _, grads = fn.make_train_step(model)(params, batch, 0.1)
    again, state = optimizer.update(params, optimizer.init(params), grads)
    expected, _ = fn.sgd(linear(0.1, 9), 0.9).update(params, optimizer.init(params), grads)
    assert again == expected
    assert isinstance(state, SgdState)


def test_models_and_optimizers_of_other_settings_differ() -> None:
    assert fn.two_layer_net(4, 3, 2) != fn.two_layer_net(4, 5, 2)
    assert fn.two_layer_net(4, 3, 2) != fn.two_layer_net(4, 3, 2, np.float32)
    assert fn.sgd(0.1) != fn.sgd(0.2)
    assert fn.sgd(linear(0.1, 9)) != fn.sgd(linear(0.1, 8))
    assert fn.sgd(warm_up(linear(0.1, 9), 3)) != fn.sgd(warm_up(cosine(0.1, 9), 3))
    assert len({fn.mlp((4, 3)), fn.mlp((4, 3)), fn.mlp((4, 2))}) == 2


def test_params_differ_in_names_dtypes_shapes_and_numbers() -> None:
    params = Params({"W1": np.ones((2, 1)), "b1": np.zeros(1)})
    assert params == {"W1": np.ones((2, 1)), "b1": np.zeros(1)}
    assert params != {"W1": np.ones((2, 1))}
    assert params != {"W1": np.ones((2, 1)), "b1": np.zeros(1, np.float32)}
    assert params != {"W1": np.ones((1, 2)), "b1": np.zeros(1)}
    assert params != {"W1": np.ones((2, 1)), "b1": np.ones(1)}
    assert params != 1
    assert Params({"b1": np.array([np.nan])}) == Params({"b1": np.array([np.nan])})
    with pytest.raises(TypeError, match="unhashable"):
        hash(params)


def test_params_are_copies_that_no_alias_reaches() -> None:
    base = np.ones((3, 2))
    params = Params({"W1": base})
    base[...] = 7
    assert params["W1"].tolist() == [[1, 1]] * 3
    assert is_immutable(params["W1"])


@pytest.mark.parametrize("name", VALUES)
def test_no_base_of_a_values_arrays_can_be_written_to(name: str) -> None:
    value = VALUES[name]()
    for array in arrays_in(value):
        assert is_immutable(array) or array is getattr(value, "images", None)


def test_params_keep_the_layout_of_their_arrays_in_memory() -> None:
    params = Params({"W1": np.asfortranarray(np.ones((3, 2)))})
    assert params["W1"].flags.f_contiguous
    assert pickle.loads(pickle.dumps(params))["W1"].flags.f_contiguous


def test_a_dict_is_taken_wherever_params_are() -> None:
    params = example_params()
    plain = {name: p.copy() for name, p in params.items()}
    x, labels = np.ones((2, 4)), np.array([0, 1])
    assert np.array_equal(MODEL.apply(plain, x), MODEL.apply(params, x))
    step, optimizer = fn.make_train_step(MODEL), fn.sgd(0.1, 0.9)
    assert step(plain, (x, labels), 0.1) == step(params, (x, labels), 0.1)
    grads = dict(step(plain, (x, labels), 0.1)[1])
    state = optimizer.init(plain)
    assert state == optimizer.init(params)
    assert optimizer.update(plain, state, grads) == optimizer.update(params, state, grads)
    assert fn.predict(MODEL, plain, x).tolist() == fn.predict(MODEL, params, x).tolist()
    assert TrainState(0, plain, state, 0.0) == TrainState(0, params, state, 0.0)
    assert SgdState(0, plain) == SgdState(0, params)


def test_values_made_of_dicts_do_not_change_with_them() -> None:
    plain = {name: p.copy() for name, p in example_params().items()}
    train_state, sgd_state = TrainState(0, plain, None, 0.0), SgdState(0, plain)
    record = {"numpy": "2"}
    frozen = FrozenDict(record)
    plain["W1"][...] = 7
    del plain["b1"], record["numpy"]
    assert train_state.params == sgd_state.velocity == example_params()
    assert frozen == {"numpy": "2"}


def test_looking_at_values_changes_no_bit_of_what_comes_next() -> None:
    params, optimizer = example_params(), fn.sgd(0.1, 0.9)
    x = np.random.default_rng(0).standard_normal((2, 4))
    x.flags.writeable = False
    step, state = fn.make_train_step(MODEL), optimizer.init(params)
    _, grads = step(params, (x, np.array([0, 1])), 1e-3)
    before = optimizer.update(params, state, grads)
    for value in (grads, params, state):
        repr(value), pickle.dumps(value), copy.deepcopy(value), [*arrays_in(value)]
    assert optimizer.update(params, state, grads) == before


def test_a_gradient_is_that_of_the_time_of_the_call() -> None:
    base = np.random.default_rng(0).standard_normal((2, 4))
    alias = base[:]
    base.flags.writeable = False
    labels = np.array([0, 1])
    params = {name: p.copy() for name, p in example_params().items()}
    _, grads = fn.make_train_step(MODEL)(params, (base, labels), 0.1)
    expected = copy.deepcopy(grads)
    alias[...] = 0
    labels[...] = 0
    for p in params.values():
        p[...] = 0
    assert grads == expected
    assert grads["W1"].any()


def test_labels_of_a_dataset_do_not_change_after_they_were_checked() -> None:
    labels = np.arange(6) % 2
    dataset = fn.Dataset(np.zeros((6, 2, 2), np.uint8), labels, ("a", "b"))
    labels[0] = 12
    assert dataset.labels.tolist() == [0, 1] * 3


def test_partials_of_equal_arguments_are_equal_however_deep() -> None:
    def schedule(rate: float) -> Any:
        return partial(max, partial(min, rate), key=partial(abs))

    assert fn.Optimizer(schedule(1), schedule(2)) == fn.Optimizer(schedule(1), schedule(2))
    assert fn.Optimizer(schedule(1), schedule(2)) != fn.Optimizer(schedule(1), schedule(3))
