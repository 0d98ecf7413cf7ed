"""Each check passes what is right and refuses what is wrong by its name and place."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet import (
    Model,
    accuracy,
    fc_backward,
    fc_forward,
    l2_loss,
    l2_regularization,
    linear_classifier,
    make_train_step,
    numeric_gradient,
    predict,
    relu_forward,
    softmax_loss,
)
from fnnet.checks import as_array, as_integer, as_labels, as_number, as_path, check_finite
from tests.helpers import FORMS
from tests.strategies import arrays, dtypes, labels_of, shapes

X, W, B = np.ones((2, 3)), np.ones((3, 2)), np.ones(2)
LABELS = np.array([0, 1])


def model() -> Model:
    return linear_classifier(3, 2)


def train_step(x: Any, W1: Any, b1: Any) -> object:  # noqa: N803 (as the messages name them)
    return make_train_step(model())({"W1": W1, "b1": b1}, (x, LABELS), 0.1)


# function, its array arguments, and whether a NaN or infinity is an error
FUNCTIONS: list[tuple[Callable[..., Any], dict[str, Any], bool]] = [
    (fc_forward, {"x": X, "w": W, "b": B}, True),
    (relu_forward, {"x": X}, False),  # NaN stays NaN
    (lambda scores: softmax_loss(scores, LABELS), {"scores": X}, True),
    (l2_loss, {"pred": X, "target": X}, True),
    (lambda w: l2_regularization(w, 1.0), {"w": W}, True),
    (lambda x: numeric_gradient(np.sum, x), {"x": X}, True),
    (lambda x: predict(model(), {"W1": W, "b1": B}, x), {"x": X}, True),
    (train_step, {"x": X, "W1": W, "b1": B}, True),
    (lambda x, w, y: fc_backward(y, (x, w)), {"x": X, "w": W, "y": X @ W}, False),
]
FINITE = [
    pytest.param(f, good, name, id=f"{i}-{name}")
    for i, (f, good, only_finite) in enumerate(FUNCTIONS)
    if only_finite
    for name in good
]


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("f", "good", "name"), FINITE)
def test_a_nan_or_infinity_is_refused_by_name_and_place(
    f: Callable[..., Any], good: dict[str, Any], name: str, number: float
) -> None:
    bad = good[name].copy()
    bad.flat[1] = number
    # A model multiplies its input before it looks: it may name the layer's own argument.
    pattern = f"^({name}|{name[0].lower()}) must be finite, found -?(nan|inf) at index"
    with pytest.raises(ValueError, match=pattern):
        f(**{**good, name: bad})


MIXED = [
    pytest.param(f, good, name, id=f"{i}-{name}")
    for i, (f, good, _) in enumerate(FUNCTIONS)
    for name, array in good.items()
    if len(good) > 1
]


@pytest.mark.parametrize(("f", "good", "name"), MIXED)
def test_two_dtypes_are_refused_by_name(
    f: Callable[..., Any], good: dict[str, Any], name: str
) -> None:
    # In its first argument, any dtype is right: then the others are wrong.
    others = "|".join(other for other in [*good, "W1"] if other != name)
    this = rf"(grad_)?{name} .* of ({others}|y), float64, found float32"
    other = rf"({others}) .* of {name}, float32, found float64"
    with pytest.raises(TypeError, match=f"^({this}|{other})$"):
        f(**{**good, name: good[name].astype(np.float32)})


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda: fc_forward(X[0], W, B), "x must have shape (N, D), found (3,)"),
        (lambda: fc_forward(X, W[0], B), "w must have shape (3, H), found (2,)"),
        (lambda: fc_forward(X, W, W), "b must have shape (2,), found (3, 2)"),
        (lambda: fc_backward(X, (X[0], W)), "x must have shape (N, D), found (3,)"),
        (lambda: fc_backward(X, (X, W[0])), "w must have shape (3, H), found (2,)"),
        (lambda: fc_backward(X, (X, W)), "grad_y must have shape (2, 2), found (2, 3)"),
        (lambda: softmax_loss(X[0], LABELS), "scores must have shape (N, C), found (3,)"),
        (lambda: softmax_loss(X, X), "labels must have shape (2,), found (2, 3)"),
        (lambda: l2_loss(X, W), "target must have shape (2, 3), found (3, 2)"),
        (lambda: predict(model(), {"W1": W, "b1": B}, W), "x must have shape (N, 3), found (3, 2)"),
        (lambda: accuracy(X, X), "labels must have shape (N,), found (2, 3)"),
    ],
)
def test_a_message_tells_the_shape_that_is_wanted(f: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        f()


def test_any_shape_is_taken_where_none_is_asked_for() -> None:
    for shape in ((), (0,), (2, 3), (1, 2, 3, 4)):
        assert as_array("a", np.zeros(shape)).shape == shape


@given(st.data(), shapes, dtypes)
def test_every_form_of_an_array_becomes_a_plain_native_one(
    data: st.DataObject, shape: tuple[int], dtype: type
) -> None:
    array = data.draw(arrays(shape, dtype))
    for form in FORMS.values():
        plain = as_array("a", form(array), shape)
        assert type(plain) is np.ndarray
        assert plain.dtype == array.dtype
        assert plain.dtype.isnative
        assert np.array_equal(plain, array)


@given(st.data(), st.integers(1, 5), st.integers(1, 5))
def test_labels_pass_exactly_if_all_are_classes(
    data: st.DataObject, length: int, num_classes: int
) -> None:
    labels = data.draw(labels_of(length, 9))
    if all(0 <= label < num_classes for label in labels.tolist()):
        assert np.array_equal(as_labels("labels", labels, length, num_classes), labels)
    else:
        first = next(i for i, label in enumerate(labels.tolist()) if label >= num_classes)
        with pytest.raises(ValueError, match=f"found {labels[first]} at index {first}$"):
            as_labels("labels", labels, length, num_classes)


def test_finite_names_the_first_place() -> None:
    array = np.zeros((2, 3))
    check_finite("a", array)
    array[1, 0] = array[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"a must be finite, found nan at index \(1, 0\)"):
        check_finite("a", array)


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.5), np.int8(1), np.float64(1)])
def test_real_numbers_pass(value: float) -> None:
    number = as_number("rate", value, 0, 1)
    assert type(number) is float
    assert number == value


@pytest.mark.parametrize("value", [-1e-9, 1.1, np.nan, np.inf, -np.inf, np.float32(2)])
def test_a_number_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"rate must be a finite number in \[0, 1\], found"):
        as_number("rate", value, 0, 1)


@pytest.mark.parametrize("value", [True, "1", None, 1j, [1]])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="rate must be a number"):
        as_number("rate", value, 0)
    with pytest.raises(TypeError, match="size must be an integer"):
        as_integer("size", value, 0)


def test_integers_pass_from_their_lowest_value_on() -> None:
    assert [as_integer("size", value, 3) for value in (3, np.uint8(4))] == [3, 4]
    with pytest.raises(ValueError, match="size must be at least 3, found 2"):
        as_integer("size", 2, 3)
    with pytest.raises(TypeError, match="size must be an integer, found float"):
        as_integer("size", 3.0, 3)


@pytest.mark.parametrize(
    ("predicted", "labels"),
    [
        (np.array([0]), np.array([0, 1, 2])),
        (np.array([[0], [1], [2]]), np.array([0, 1, 2])),
        (np.array([], int), np.array([], int)),
    ],
)
def test_accuracy_refuses_what_has_no_accuracy(predicted: Any, labels: Any) -> None:
    with pytest.raises(ValueError, match="must"):
        accuracy(predicted, labels)


def test_a_masked_array_is_refused_and_a_plain_one_passed_on() -> None:
    message = "^x must not be a masked array: its mask would be ignored$"
    with pytest.raises(TypeError, match=message):
        as_array("x", np.ma.masked_array(X, X > 0))
    assert as_array("x", X, (2, 3)) is X


def test_a_path_with_a_nul_is_shown() -> None:
    with pytest.raises(ValueError, match=r"^file must not hold .* NUL, found 'a\\x00b'$"):
        as_path("file", "a\0b")
