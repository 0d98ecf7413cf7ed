"""Models start from the seed alone, are pure, and refuse params that do not fit."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet import Model, linear_classifier, mlp, softmax_loss, two_layer_net
from fnnet.checks import Array
from fnnet.limits import MAX_WIDTH
from tests.helpers import assert_any_form, assert_pure, close, reference_layers, same
from tests.strategies import FLOATS, Network, dims, dtypes, networks, normal, seeds


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(st.lists(dims, min_size=2, max_size=7), dtypes, seeds)
def test_init_makes_weights_and_zero_biases_of_any_depth(
    widths: list[int], dtype: type, seed: int
) -> None:
    params = mlp(widths, dtype).init(rng(seed))
    names = [f"{kind}{i}" for i in range(1, len(widths)) for kind in "Wb"]
    assert [*params] == names
    for i, (fan_in, fan_out) in enumerate(pairwise(widths), start=1):
        assert params[f"W{i}"].shape == (fan_in, fan_out)
        assert params[f"b{i}"].tolist() == [0] * fan_out
        assert params[f"W{i}"].dtype == params[f"b{i}"].dtype == dtype


def test_init_draws_weights_of_variance_2_over_fan_in() -> None:
    for w in (mlp([400, 300, 200]).init(rng())[name] for name in ("W1", "W2")):
        assert w.std() == pytest.approx(np.sqrt(2 / len(w)), rel=0.02)
        assert abs(w.mean()) < 0.05 * w.std()
        # Nearly all of a normal distribution, and not of a uniform one, lies within 3 σ.
        assert 0.001 < (np.abs(w) > 3 * w.std()).mean() < 0.005


@given(networks(), seeds)
def test_init_depends_on_the_generator_alone(network: Network, seed: int) -> None:
    before: Any = np.random.get_state()  # noqa: NPY002 (that it is left alone is the point)
    params = network.model.init(rng(seed))
    after: Any = np.random.get_state()  # noqa: NPY002
    assert same(params, network.model.init(rng(seed)))
    assert not same(params, network.model.init(rng(seed + 1)))
    assert np.array_equal(before[1], after[1])


def test_float32_and_float64_networks_of_a_seed_start_from_the_same_point() -> None:
    single, double = (mlp([4, 5, 3], dtype).init(rng()) for dtype in (np.float32, np.float64))
    for name, p in double.items():
        assert np.array_equal(single[name], p.astype(np.float32))


@given(networks())
def test_apply_agrees_with_the_reference(network: Network) -> None:
    x, _ = network.batch
    scores = network.model.apply(network.params, x)
    assert scores.dtype == x.dtype
    np.testing.assert_allclose(
        scores, reference_layers(network.params, x)[-1].astype(x.dtype), rtol=1e-4, atol=1e-4
    )


@given(networks())
def test_grad_has_the_keys_shapes_and_dtypes_of_the_params(network: Network) -> None:
    x, labels = network.batch
    loss, grads = network.model.grad(network.params, x, lambda s: softmax_loss(s, labels))
    assert [*grads] == [*network.params]
    for name, grad in grads.items():
        assert (grad.shape, grad.dtype) == (network.params[name].shape, x.dtype)
    assert type(loss) is float


@given(networks())
def test_grad_passes_the_scores_of_apply_to_the_loss(network: Network) -> None:
    x, labels = network.batch
    seen = []

    def loss(scores: Array) -> tuple[float, Array]:
        seen.append(scores.copy())
        with pytest.raises(ValueError, match="read-only"):
            scores[0, 0] = 1
        return softmax_loss(scores, labels)

    network.model.grad(network.params, x, loss)
    assert len(seen) == 1
    assert same(seen[0], network.model.apply(network.params, x))


@given(networks())
def test_models_are_pure_and_take_any_memory_layout(network: Network) -> None:
    x, labels = network.batch

    def both(x: Array, *arrays: Array) -> object:
        params = dict(zip(network.params, arrays, strict=True))
        grads = network.model.grad(params, x, lambda s: softmax_loss(s, labels))
        return network.model.apply(params, x), grads

    assert_pure(both, x, *network.params.values())
    assert_any_form(both, x, *network.params.values())


@given(networks())
def test_params_and_grads_cannot_be_changed(network: Network) -> None:
    x, labels = network.batch
    grads = network.model.grad(network.params, x, lambda s: softmax_loss(s, labels))[1]
    for mapping in (network.model.init(rng()), grads):
        frozen: Any = mapping
        with pytest.raises(TypeError):
            frozen["W1"] = frozen["W1"]
        with pytest.raises(TypeError):
            del frozen["W1"]
        for array in frozen.values():
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_two_named_models_are_mlps(dtype: type) -> None:
    x = normal(1, (3, 4), dtype)
    pairs = [
        (linear_classifier(4, 2, dtype), mlp([4, 2], dtype)),
        (two_layer_net(4, 5, 2, dtype), mlp([4, 5, 2], dtype)),
    ]
    for named, general in pairs:
        params = named.init(rng())
        assert same(params, general.init(rng()))
        assert same(named.apply(params, x), general.apply(params, x))
    assert same(linear_classifier(1, 1).init(rng()), mlp([1, 1]).init(rng()))


def test_examples_do_not_influence_each_other() -> None:
    model = two_layer_net(4, 5, 3)
    params, x = model.init(rng()), normal(1, (6, 4))
    alone = np.vstack([model.apply(params, row[None]) for row in x])
    assert close(alone, model.apply(params, x))


PARAMS = two_layer_net(4, 5, 3).init(rng())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"W3": np.ones((3, 3))}, ValueError, "params must have the keys W1, b1, W2, b2, found"),
        ({"W2": None}, TypeError, "W2 must be a NumPy array"),
        ({"W2": np.ones((5, 4))}, ValueError, r"W2 must have shape \(5, 3\), found \(5, 4\)"),
        ({"b1": np.ones((1, 5))}, ValueError, r"b1 must have shape \(5,\)"),
        ({"b2": np.ones(3, np.float32)}, TypeError, "b2 must have the dtype of"),
        ({"W2": PARAMS["W2"] * np.nan}, ValueError, "must be finite"),
    ],
)
def test_params_that_do_not_fit_are_refused_by_name(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    model = two_layer_net(4, 5, 3)
    for f in (
        lambda p: model.apply(p, np.ones((2, 4))),
        lambda p: model.grad(p, np.ones((2, 4)), lambda s: (0.0, s)),
    ):
        with pytest.raises(error, match=message):
            f({**PARAMS, **changes})


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(ValueError, match="params must have the keys W1, b1, W2, b2"):
        two_layer_net(4, 5, 3).apply(
            {name: p for name, p in PARAMS.items() if name != "b2"}, np.ones((2, 4))
        )


@pytest.mark.parametrize(
    ("gradient", "error"),
    [(np.ones((2, 2)), ValueError), (np.ones((2, 3), np.float32), TypeError), (1.0, TypeError)],
)
def test_a_loss_with_a_gradient_that_does_not_fit_is_refused(
    gradient: Any, error: type[Exception]
) -> None:
    message = (
        r"^the loss's gradient must (have (shape \(2, 3\)|the dtype of scores)|be a NumPy array)"
    )
    with pytest.raises(error, match=message):
        two_layer_net(4, 5, 3).grad(PARAMS, np.ones((2, 4)), lambda s: (0.0, gradient))


@pytest.mark.parametrize("loss", [None, 1.0, (0.0, np.ones((2, 3)))])
def test_a_loss_that_is_no_function_is_refused(loss: Any) -> None:
    with pytest.raises(TypeError, match=f"^loss must be a function, found {type(loss).__name__}$"):
        two_layer_net(4, 5, 3).grad(PARAMS, np.ones((2, 4)), loss)


@pytest.mark.parametrize(
    ("widths", "error"),
    [
        *(
            ([], ValueError),
            ([3], ValueError),
            ([3, 0], ValueError),
            ([3, -1, 2], ValueError),
            ([2**31, 2], ValueError),
        ),
        *(([3, 2.0], TypeError), ([3, "2"], TypeError), ([True, 2], TypeError)),
    ],
)
def test_widths_that_are_none_are_refused(widths: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^dims.* must .*, found"):
        mlp(widths)


@pytest.mark.parametrize("widths", [3, "34", b"34", None, {3: 4}])
def test_what_is_no_sequence_of_widths_is_refused(widths: Any) -> None:
    kind = type(widths).__name__
    with pytest.raises(TypeError, match=f"^dims must be a sequence of integers, found {kind}$"):
        mlp(widths)


@pytest.mark.parametrize("dtype", [np.int64, complex, object, bool])
def test_a_model_of_a_dtype_that_is_not_floating_is_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match="dtype must be floating"):
        mlp([3, 2], dtype)


@pytest.mark.parametrize("bad", [0, None, np.random, np.random.RandomState(0)])
def test_init_wants_a_generator(bad: Any) -> None:
    kind = type(bad).__name__
    with pytest.raises(
        TypeError,
        match=rf"rng must be a numpy\.random\.Generator, found {kind}: use np\.random\.default_rng",
    ):
        two_layer_net(4, 5, 3).init(bad)


def test_a_model_is_frozen() -> None:
    model = two_layer_net(4, 5, 3)
    assert isinstance(model, Model)
    with pytest.raises(AttributeError):
        model.apply = model.apply  # type: ignore[misc]


@pytest.mark.parametrize("name", ["input_dim", "num_classes", "hidden_dim"])
@pytest.mark.parametrize("width", [0, MAX_WIDTH + 1, 2.0])
def test_a_width_that_no_layer_has_is_refused_by_the_name_of_its_argument(
    name: str, width: Any
) -> None:
    widths = {"input_dim": 2, "hidden_dim": 3, "num_classes": 4, name: width}
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
        two_layer_net(**widths)
    if name != "hidden_dim":
        del widths["hidden_dim"]
        with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
            linear_classifier(**widths)
