"""Every analytic gradient is right: those of layers, losses, models and the whole train step.

A `Claim` is a function of named arrays, with the gradients that fnnet returns for it. The output
y of a layer is not a number, so the function of a layer is <grad_y, y> = sum(grad_y * y) with a
random grad_y. Its gradient is what the backward pass returns. Three tests prove each claim:

1. Central differences: every element of the gradient agrees with (f(x + h) - f(x - h)) / 2h,
   where f is fnnet's own forward pass in float64.
2. Vector-Jacobian products: <gradient, v> = <grad_y, J v> for a random direction v. The right
   side is the slope along v of the textbook's formula. The formula is written here and in
   helpers.py without fnnet, and computed in extended precision.
3. Values: the function is that formula.

The first finds a backward pass that does not fit its forward pass. The others also find a
mistake that both passes share, such as a sum in place of a mean, and hold in float32 too.
The last tests prove what slopes cannot show, or show only in passing: the derivative of the
ReLU at 0 is 0, and L2 regularization counts on weights and on no bias.
`tests/test_gradcheck.py` proves that the comparison finds an error of a thousandth.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from fnnet import (
    GradientReport,
    check_gradients,
    fc_backward,
    fc_forward,
    l2_loss,
    l2_regularization,
    make_train_step,
    relu_backward,
    relu_forward,
    softmax_loss,
    two_layer_net,
)
from fnnet.checks import Array
from fnnet.commands.gradcheck import check_classifiers, check_layers
from fnnet.models import Loss
from tests.helpers import (
    Wide,
    central_difference,
    inner,
    reference_layers,
    reference_loss,
    reference_softmax,
    same,
    wide,
)
from tests.strategies import (
    Network,
    arrays,
    dtypes,
    fc_cases,
    float64,
    networks,
    normal,
    regs,
    scores_and_labels,
    seeds,
    shapes,
    smooth_networks,
)

Arrays = Mapping[str, Any]
Dtypes = st.SearchStrategy[Any]


@frozen(eq=False)
class Claim:
    """A scalar function of named arrays, twice, and its gradients as fnnet returns them."""

    function: Callable[[Arrays], float]
    """What fnnet computes."""
    formula: Callable[[Arrays], Wide]
    """The same number in extended precision, without fnnet."""
    args: Arrays
    gradients: Arrays


ClaimsOf = Callable[[Dtypes], st.SearchStrategy[Claim]]


# Layers and losses. Small numbers keep the rounding errors of differences small.


@st.composite
def fc(draw: st.DrawFn, dtype: Dtypes) -> Claim:
    case = draw(fc_cases(dtype, size=1))
    args = {"x": case.x, "w": case.w, "b": case.b}
    gradients = fc_backward(case.grad_y, fc_forward(**args)[1])
    return Claim(
        lambda a: inner(case.grad_y, fc_forward(**a)[0]),
        lambda a: (case.grad_y * (a["x"] @ a["w"] + a["b"])).sum(),
        args,
        dict(zip(args, gradients, strict=True)),
    )


@st.composite
def relu(draw: st.DrawFn, dtype: Dtypes) -> Claim:
    x, grad_y = draw(two_arrays(dtype))
    x[np.abs(x) < 1e-3] = 1  # away from the kink
    return Claim(
        lambda a: inner(grad_y, relu_forward(**a)[0]),
        lambda a: (grad_y * np.where(a["x"] > 0, a["x"], 0)).sum(),
        {"x": x},
        {"x": relu_backward(grad_y, relu_forward(x)[1])},
    )


@st.composite
def softmax(draw: st.DrawFn, dtype: Dtypes) -> Claim:
    scores, labels = draw(scores_and_labels(dtype))
    return claim_of_loss(
        scores, partial(softmax_loss, labels=labels), partial(reference_softmax, labels=labels)
    )


@st.composite
def l2(draw: st.DrawFn, dtype: Dtypes) -> Claim:
    pred, target = draw(two_arrays(dtype))
    return claim_of_loss(
        pred, partial(l2_loss, target=target), partial(reference_l2, target=target)
    )


@st.composite
def regularization(draw: st.DrawFn, dtype: Dtypes) -> Claim:
    w, _ = draw(two_arrays(dtype))
    reg = draw(regs)
    return claim_of_loss(
        w, partial(l2_regularization, reg=reg), lambda w: reg * (wide(w) ** 2).sum() / 2
    )


def claim_of_loss(array: Array, loss: Loss, formula: Callable[[Array], Wide]) -> Claim:
    return Claim(
        lambda a: loss(a["input"])[0],
        lambda a: formula(a["input"]),
        {"input": array},
        {"input": loss(array)[1]},
    )


@st.composite
def two_arrays(draw: st.DrawFn, dtype: Dtypes) -> tuple[Array, Array]:
    shape, kind = draw(shapes), draw(dtype)
    return draw(arrays(shape, kind, 1)), draw(arrays(shape, kind, 1))


def reference_l2(pred: Array, target: Array) -> Wide:
    return ((wide(pred) - wide(target)) ** 2).sum() / (2 * len(pred))


# Models with any loss of their scores, and the step that training folds. The two named models
# are mlps of one and of two layers, as tests/test_models.py proves.


@st.composite
def model_grad(
    draw: st.DrawFn,
    dtype: Dtypes,
    num_layers: int,
    make_loss: Callable[[Array, Array], tuple[Loss, Callable[[Array], Wide]]],
) -> Claim:
    network = draw(smooth_networks(dtype, num_layers))
    x, labels = network.batch
    weights = normal(draw(seeds), (len(x), network.dims[-1]), x.dtype) / len(x)
    loss, formula = make_loss(weights, labels)
    return Claim(
        lambda params: network.model.grad(params, x, loss)[0],
        lambda params: formula(reference_layers(params, x)[-1]),
        network.params,
        network.model.grad(network.params, x, loss)[1],
    )


def linear_loss(weights: Array, labels: Array) -> tuple[Loss, Callable[[Array], Wide]]:
    """The loss <weights, scores>, whose gradient is `weights`, and its formula."""
    return lambda scores: (inner(weights, scores), weights), lambda s: (weights * s).sum()


def cross_entropy(weights: Array, labels: Array) -> tuple[Loss, Callable[[Array], Wide]]:
    return partial(softmax_loss, labels=labels), partial(reference_softmax, labels=labels)


def squared_error(weights: Array, labels: Array) -> tuple[Loss, Callable[[Array], Wide]]:
    return partial(l2_loss, target=weights), partial(reference_l2, target=weights)


@st.composite
def train_step(draw: st.DrawFn, dtype: Dtypes, num_layers: int) -> Claim:
    network = draw(smooth_networks(dtype, num_layers))
    step, (x, labels), reg = make_train_step(network.model), network.batch, network.reg
    return Claim(
        lambda params: step(params, network.batch, reg)[0],
        lambda params: reference_loss(params, x, labels, reg),
        network.params,
        step(network.params, network.batch, reg)[1],
    )


LAYERS: dict[str, ClaimsOf] = {
    "fc": fc,
    "relu": relu,
    "softmax_loss": softmax,
    "l2_loss": l2,
    "l2_regularization": regularization,
}
DEPTHS = {"linear_classifier": 1, "two_layer_net": 2, "mlp of 4 layers": 4}
MODELS: dict[str, ClaimsOf] = {
    f"{name} with {make_loss.__name__}": partial(
        model_grad, num_layers=num_layers, make_loss=make_loss
    )
    for name, num_layers in DEPTHS.items()
    for make_loss in (linear_loss, cross_entropy, squared_error)
}
STEPS: dict[str, ClaimsOf] = {
    f"train_step of {name}": partial(train_step, num_layers=num_layers)
    for name, num_layers in DEPTHS.items()
}
CLAIMS = LAYERS | MODELS | STEPS


@pytest.mark.parametrize("name", CLAIMS)
@given(data=st.data())
def test_a_gradient_agrees_with_central_differences(name: str, data: st.DataObject) -> None:
    claim = data.draw(CLAIMS[name](float64))
    # The rounding error of a difference grows with the numbers that are subtracted.
    scale = max(1, abs(claim.function(claim.args)))
    # The slope of a deep network changes quickly, so its step is smaller than the default.
    tolerance, h = (1e-9, None) if name in LAYERS else (1e-8, 2e-6)
    report = check_gradients(claim.function, claim.args, claim.gradients, tolerance * scale, h)
    assert report.passed, f"\n{report}"


@pytest.mark.parametrize(("check", "tolerance"), [(check_layers, 1e-9), (check_classifiers, 1e-10)])
@given(seed=seeds)
def test_a_gradient_passes_the_checks_that_the_programs_print(
    check: Callable[[int, float], dict[str, GradientReport]], tolerance: float, seed: int
) -> None:
    for name, report in check(seed, tolerance).items():
        assert report.passed, f"{name}\n{report}"
        assert report.max_abs_diff < tolerance
        assert report.tolerance == tolerance


@pytest.mark.parametrize("name", CLAIMS)
@given(data=st.data(), seed=seeds)
def test_a_gradient_is_the_vector_jacobian_product(
    name: str, data: st.DataObject, seed: int
) -> None:
    claim = data.draw(CLAIMS[name](dtypes))
    args = {arg: wide(array) for arg, array in claim.args.items()}
    assert [*claim.gradients] == [*args]
    for i, (arg, gradient) in enumerate(claim.gradients.items()):
        v = wide(normal(seed + i, gradient.shape))

        def along_v(t: Wide, arg: str = arg, v: Wide = v) -> Wide:
            return claim.formula({**args, arg: args[arg] + t * v})

        tolerance = 1e-4 if gradient.dtype == np.float32 else 1e-8
        slope = float(central_difference(along_v))
        assert inner(gradient, v) == pytest.approx(slope, rel=tolerance, abs=tolerance), arg


@pytest.mark.parametrize("name", CLAIMS)
@given(data=st.data())
def test_a_function_has_the_value_of_its_formula(name: str, data: st.DataObject) -> None:
    claim = data.draw(CLAIMS[name](dtypes))
    exact = float(claim.formula({arg: wide(array) for arg, array in claim.args.items()}))
    single = any(array.dtype == np.float32 for array in claim.args.values())
    tolerance = 1e-5 if single else 1e-12
    assert claim.function(claim.args) == pytest.approx(exact, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("zero", [0.0, -0.0])
@given(dtype=dtypes)
def test_the_derivative_of_the_relu_at_0_is_0(zero: float, dtype: type) -> None:
    x: Array = np.array([zero, 1, -1], dtype)
    assert relu_backward(np.ones(3, dtype), relu_forward(x)[1]).tolist() == [0, 1, 0]


@given(scores_and_labels())
def test_a_hidden_unit_at_0_passes_no_gradient_on(case: tuple[Array, Array]) -> None:
    x, _ = case
    model = two_layer_net(x.shape[1], 2, 3, x.dtype)
    params = model.init(np.random.default_rng(0))
    at_0 = {**params, "W1": np.zeros_like(params["W1"])}
    _, grads = model.grad(at_0, x, lambda scores: (0.0, np.ones_like(scores)))
    assert grads["b2"].tolist() == [len(x)] * 3
    assert not grads["W1"].any()
    assert not grads["b1"].any()


@given(networks())
def test_regularization_counts_in_the_loss_and_gradient_of_weights_and_of_no_bias(
    network: Network,
) -> None:
    step = make_train_step(network.model)
    params, reg = network.params, network.reg
    loss, grads = step(params, network.batch, reg)
    plain_loss, plain_grads = step(params, network.batch, 0)
    squares = sum(inner(p, p) for name, p in params.items() if name[0] == "W")
    assert loss - plain_loss == pytest.approx(reg / 2 * squares, abs=1e-5)
    for name, grad in grads.items():
        if name[0] == "b":
            assert same(grad, plain_grads[name])
        else:
            added = plain_grads[name] + params[name].dtype.type(reg) * params[name]
            np.testing.assert_allclose(grad, added, rtol=1e-5, atol=1e-5)
