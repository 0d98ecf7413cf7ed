# ruff: noqa: N803 (arguments are named as the messages name them)
"""Wrong input to every public function: handled right or refused by name, never a wrong number.

``CALLS`` has one valid call of each function. The kind of an argument (floating array, images,
labels, integer, number, path, or anything else) decides the ways to change it:

    same     another form of the same value: the same result
    either   the same numbers of another precision: nearly the same result, or refused
    wrong    no such value: refused
    spreads  NaN or infinity: refused, or the result is not finite either
    verge    near the largest number: refused, not finite, or the result of a wider dtype
    free     refused or not: the function's own tests know what is right

Refused means TypeError or ValueError that names the argument. No call changes an argument.
"""

import inspect
import re
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from attrs import evolve, frozen

import fnnet
from fnnet import optim, search
from fnnet.checks import Array
from fnnet.commands.doctor import DoctorCommand
from fnnet.commands.train_flags import TrainCommand
from fnnet.commands.tune import TuneCommand
from fnnet.data import augmentation, preprocessing
from fnnet.optim import SgdState
from fnnet.runs import ranks
from fnnet.search import halving, space
from tests.helpers import FORMS, read_only

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5], [3.0, 1.0, -2.0], [0.75, 2.0, 1.0]])
W, B = np.array([[0.5, -1.0], [1.0, 2.0], [-0.25, 1.5]]), np.array([0.5, -0.5])
LABELS = np.array([0, 1, 1, 0])
IMAGES = np.random.default_rng(0).integers(256, size=(4, 4, 6), dtype=np.uint8)
DATASET = fnnet.Dataset(IMAGES, LABELS, ("cat", "dog"))
STATS = fnnet.fit_standardization(DATASET)
WHITENING = preprocessing.fit_whitening(DATASET, 3, 0.5)
MODEL = fnnet.linear_classifier(3, 2)
PARAMS = {"W1": W, "b1": B}
INPUTS = fnnet.Standardization(np.zeros(24), np.ones(24))
BIG_MODEL = fnnet.linear_classifier(24, 2)
BIG_PARAMS = {"W1": np.tile(W, (8, 1)), "b1": B}
STATE = SgdState(3, {"W1": W / 2, "b1": B / 2})


def model() -> fnnet.Model:
    return fnnet.linear_classifier(3, 2)


def momentum() -> fnnet.Optimizer:
    return fnnet.sgd(0.5, momentum=0.5)


def loss(scores: Array) -> tuple[float, Array]:
    return float(scores.sum()), np.ones_like(scores)


def threads(num_threads: int) -> None:
    with fnnet.use_threads(num_threads):
        pass


def rates(schedule: optim.Schedule) -> list[float]:
    return [schedule(step) for step in range(5)]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@frozen(eq=False)
class Call:
    """A function, valid arguments, and what looks wrong about some but may be right."""

    f: Callable[..., Any]
    args: dict[str, Any]
    free: Mapping[str, str]
    """Changes by argument, separated by commas; "shape", "size" and "dtype" are all of a kind."""


def call(f: Callable[..., Any], /, *, free: Mapping[str, str] | None = None, **args: Any) -> Call:
    return Call(f, args, free or {})


SOME_N = {"x": "size"}
SOME_IMAGES = {"images": "size, wider, one axis more"}
ANY_IMAGES = {"images": "size, dtype, wider, one axis more, no columns, 64 axes, -1, huge"}
ANY_CLASS = dict.fromkeys(
    ("predicted", "labels"), "negative, least, no class, beyond int64, sign lost"
)
SIGNED = {"down": "negative, numpy's negative", "right": "negative, numpy's negative"}


OPTIONAL = ("image_size", "num_train", "num_val", "patience")
CHECKPOINT = fnnet.Checkpoint(
    config=fnnet.default_config(hidden_dim=0, dtype="float64"),
    params=fnnet.linear_classifier(24, 2, np.float64).init(np.random.default_rng(0)),
    preprocessing=STATS, class_names=DATASET.class_names, history=fnnet.History(),
)  # fmt: skip

CALLS: dict[str, Call] = {
    "fc_forward": call(fnnet.fc_forward, x=X, w=W, b=B, free=SOME_N),
    "fc_backward": call(
        lambda grad_y, x, w: fnnet.fc_backward(grad_y, (x, w)), grad_y=X @ W, x=X, w=W
    ),
    "relu_forward": call(fnnet.relu_forward, x=X, free={"x": "shape, size, -inf"}),
    "relu_backward": call(
        lambda grad_y: fnnet.relu_backward(grad_y, fnnet.relu_forward(X)[1]), grad_y=X
    ),
    "softmax_loss": call(fnnet.softmax_loss, scores=X, labels=LABELS, free={"scores": "wider"}),
    "l2_loss": call(fnnet.l2_loss, pred=X, target=-X),
    "l2_regularization": call(fnnet.l2_regularization, w=W, reg=0.5, free={"w": "shape, size"}),
    "mlp": call(lambda dims: fnnet.mlp(dims).init(rng()), dims=(3, 4, 2)),
    "linear_classifier": call(
        lambda **args: fnnet.linear_classifier(**args).init(rng()),
        input_dim=3, num_classes=2, dtype=np.float32,
    ),
    "two_layer_net": call(
        lambda **args: fnnet.two_layer_net(**args).init(rng()),
        input_dim=3, hidden_dim=4, num_classes=2, dtype=np.float32,
    ),
    "Model.init": call(lambda rng: sorted(model().init(rng)), rng=rng()),
    "Model.apply": call(
        lambda W1, b1, x: model().apply({"W1": W1, "b1": b1}, x), W1=W, b1=B, x=X, free=SOME_N
    ),
    "Model.apply, params": call(
        lambda params, x: model().apply(params, x), params=PARAMS, x=X, free=SOME_N
    ),
    "Model.grad": call(
        lambda W1, b1, x: model().grad({"W1": W1, "b1": b1}, x, loss),
        W1=W, b1=B, x=X, free=SOME_N,
    ),
    "Model.grad, loss": call(
        lambda params, x, loss: model().grad(params, x, loss),
        params=PARAMS, x=X, loss=loss, free=SOME_N,
    ),
    "make_train_step": call(
        lambda W1, b1, x, labels, reg: fnnet.make_train_step(MODEL)(
            {"W1": W1, "b1": b1}, (x, labels), reg
        ),
        W1=W, b1=B, x=X, labels=LABELS, reg=0.5,
    ),
    "make_train_step, model": call(
        lambda model, params, batch: fnnet.make_train_step(model)(params, batch, 0.5),
        model=MODEL, params=PARAMS, batch=(X, LABELS),
    ),
    "make_distributed_train_step": call(
        lambda W1, b1, x, labels, reg, micro_batches: ranks.make_distributed_train_step(
            MODEL, micro_batches
        )({"W1": W1, "b1": b1}, (x, labels), reg),
        W1=W, b1=B, x=X, labels=LABELS, reg=0.5, micro_batches=3,
    ),
    "make_distributed_train_step, model": call(
        lambda model, params, batch, comm: ranks.make_distributed_train_step(
            model, 2, comm
        )(params, batch, 0.5),
        model=MODEL, params=PARAMS, batch=(X, LABELS), comm=ranks.SERIAL,
    ),
    "Comm": call(
        lambda **args: ranks.Comm(**args).rank, rank=1, size=2,
        exchange=lambda other, send, receive: None,
    ),
    "sgd": call(
        lambda **args: fnnet.sgd(**args).update(PARAMS, STATE, PARAMS),
        learning_rate=0.5, momentum=0.5, nesterov=True,
    ),
    "Optimizer.init": call(lambda params: momentum().init(params), params=PARAMS),
    "Optimizer.update": call(
        lambda W1, grads, velocity, step: momentum().update(
            {"W1": W1}, SgdState(step, {"W1": velocity}), {"W1": grads}
        ),
        W1=W, grads=-W, velocity=W / 2, step=3,
    ),
    "Optimizer.update, state": call(
        lambda params, state, grads: momentum().update(params, state, grads),
        params=PARAMS, state=STATE, grads=PARAMS,
    ),
    "constant": call(lambda **args: rates(optim.constant(**args)), learning_rate=0.5),
    "linear": call(lambda **args: rates(optim.linear(**args)), learning_rate=0.5, num_steps=4),
    "cosine": call(lambda **args: rates(optim.cosine(**args)), learning_rate=0.5, num_steps=4),
    "step_decay": call(
        lambda **args: rates(optim.step_decay(**args)), learning_rate=0.5, num_steps=4
    ),
    "warm_up": call(
        lambda **args: rates(optim.warm_up(**args)), schedule=optim.constant(0.5), num_steps=4
    ),
    "predict": call(fnnet.predict, model=MODEL, params=PARAMS, x=X, free=SOME_N),
    "probabilities": call(fnnet.probabilities, scores=X, free={"scores": "size, wider"}),
    "predict_scores": call(
        fnnet.predict_scores,
        model=BIG_MODEL, params=BIG_PARAMS, dataset=DATASET,
        preprocess=lambda images: fnnet.standardize(INPUTS, images), batch_size=3,
        views=[augmentation.mirror],
    ),
    "accuracy": call(fnnet.accuracy, predicted=LABELS[::-1].copy(), labels=LABELS, free=ANY_CLASS),
    "numeric_gradient": call(
        fnnet.numeric_gradient, f=lambda x: float(np.sum(x * x)), x=X, h=0.25,
        free={"x": "shape, size", "h": "none"},
    ),
    "check_gradients": call(
        lambda f, x, grads, tolerance, h: fnnet.check_gradients(
            f, {"x": x}, {"x": grads}, tolerance, h
        ),
        f=lambda args: float(np.sum(args["x"])), x=X, grads=np.ones_like(X), tolerance=0.5, h=0.25,
        free={"h": "none"},
    ),
    "check_gradients, args": call(
        fnnet.check_gradients,
        f=lambda args: float(np.sum(args["x"])), args={"x": X}, grads={"x": np.ones_like(X)},
        tolerance=0.5,
    ),
    "Dataset": call(fnnet.Dataset, images=IMAGES, labels=LABELS, class_names=("cat", "dog"),
        free=SOME_IMAGES),
    "split": call(fnnet.split, dataset=DATASET, num_train=2, num_val=1, seed=0),
    "minibatches": call(
        lambda **args: [*fnnet.minibatches(**args)], dataset=DATASET, batch_size=3, seed=0, epoch=0
    ),
    "num_batches": call(fnnet.num_batches, dataset=DATASET, batch_size=3),
    "load_digits": call(fnnet.load_digits),
    "load_spirals": call(fnnet.load_spirals, seed=0, num_classes=3, per_class=4),
    "fit_standardization": call(fnnet.fit_standardization, dataset=DATASET),
    "Standardization": call(fnnet.Standardization, mean=STATS.mean, std=STATS.std),
    "standardize": call(
        fnnet.standardize, stats=STATS, images=IMAGES, dtype=np.float64, free=SOME_IMAGES
    ),
    "fit_whitening": call(
        preprocessing.fit_whitening,
        dataset=DATASET, components=2, epsilon=0.5, pool=2, dtype=np.float64,
    ),
    "Whitening": call(
        preprocessing.Whitening, pool=1, mean=WHITENING.mean, matrix=WHITENING.matrix,
        free={"matrix": "wider"},
    ),
    "whiten": call(
        preprocessing.whiten, fitted=WHITENING, images=IMAGES, dtype=np.float64,
        free=SOME_IMAGES,
    ),
    "flip": call(
        lambda images: augmentation.flip(rng(), images), images=IMAGES, free=ANY_IMAGES
    ),
    "flip, rng": call(lambda rng: augmentation.flip(rng, IMAGES).shape, rng=rng()),
    "shift": call(
        lambda images, max_shift: augmentation.shift(rng(), images, max_shift),
        images=IMAGES, max_shift=1, free=ANY_IMAGES,
    ),
    "shift, rng": call(lambda rng: augmentation.shift(rng, IMAGES, 1).shape, rng=rng()),
    "rotate": call(
        lambda images, **args: augmentation.rotate(rng(), images, **args),
        images=IMAGES, max_angle=10.0, max_zoom=0.5, free=ANY_IMAGES,
    ),
    "rotate, rng": call(lambda rng: augmentation.rotate(rng, IMAGES, 1).shape, rng=rng()),
    "recolor": call(
        lambda images, strength: augmentation.recolor(rng(), images, strength),
        images=IMAGES, strength=0.5, free={"images": "size, wider, one axis more, 64 axes"},
    ),
    "recolor, rng": call(lambda rng: augmentation.recolor(rng, IMAGES, 1).shape, rng=rng()),
    "mirror": call(augmentation.mirror, images=IMAGES, free=ANY_IMAGES),
    "shifted": call(augmentation.shifted, images=IMAGES, down=1, right=2, free=ANY_IMAGES | SIGNED),
    "tta_views": call(
        lambda **args: [view(IMAGES) for view in augmentation.tta_views(**args)],
        mirrored=True, max_shift=1,
    ),
    "History": call(
        fnnet.History, losses=np.linspace(1, 0, 4), train_accuracy=np.array([0.5, 0.75]),
        val_accuracy=np.array([0.25, 0.5]), data_losses=np.linspace(0.5, 0, 4),
        val_loss=np.array([0.75, 0.5]),
        free={
            "losses": "size, wider, no columns", "data_losses": "nan, wider, no columns, size",
            "val_loss": "nan, wider, no columns, size",
        },
    ),
    "load_checkpoint": call(fnnet.load_checkpoint, path=Path("missing.npz")),
    "load_cifar10": call(fnnet.load_cifar10, folder=Path("missing")),
    "save_checkpoint": call(
        fnnet.save_checkpoint, path=Path("missing/checkpoint.npz"), checkpoint=None
    ),
    "load_state": call(
        lambda path: fnnet.load_state(path, STATE), path=Path("missing.npz")
    ),
    "save_state": call(
        lambda path: fnnet.save_state(path, STATE), path=Path("missing/state.npz")
    ),
    "Uniform": call(
        search.Uniform, low=0.5, high=1.5,
        free={"low": "negative, very negative, numpy's negative"},
    ),
    "LogUniform": call(search.LogUniform, low=0.5, high=1.5),
    "Choice": call(search.Choice, values=(0.5, 1.5), free={"values": "list"}),
    "Space": call(search.Space, ranges={"reg": search.Uniform(0, 1)}),
    "sample": call(search.sample, space=search.Space({"reg": search.Uniform(0, 1)}), n=2, seed=0),
    "plan_rungs": call(
        search.plan_rungs, trials=9, num_epochs=27, budget=200, free={"budget": "none"}
    ),
    "successive_halving": call(
        lambda **args: [*search.successive_halving(**args)],
        configs=[fnnet.default_config()], rungs=[halving.Rung(1, 2)],
        train=lambda job: halving.Result(job.trial, job.stop, (0.25, 0.5)), run=map, known=(),
    ),
    "check_known": call(
        halving.check_known, known=[halving.Result(0, 2, (0.25, 0.5))], rungs=[halving.Rung(1, 2)]
    ),
    "rank": call(search.rank, results=[halving.Result(0, 1, (0.5,))]),
    "use_threads": call(threads, num_threads=1),
    "default_config": call(fnnet.default_config, preset="digits"),
    "TrainConfig": call(
        lambda **changes: evolve(fnnet.default_config(), **changes),
        **attrs.asdict(fnnet.default_config("cifar10", data_dir="d", num_threads=1)),
        free={"dataset": "text", **dict.fromkeys(OPTIONAL, "none")},
    ),
    "load": call(
        lambda source: fnnet.load(source), source=Path("missing"), free={"source": "text"}
    ),
    "load_cifar100": call(fnnet.load_cifar100, folder=Path("missing")),
    "classify": call(
        lambda images: fnnet.classify(CHECKPOINT, images), images=IMAGES, free=SOME_IMAGES
    ),
}  # fmt: skip

MISSING_FILES = {
    *("load_checkpoint", "save_checkpoint", "load_state", "save_state"),
    *("load", "load_cifar10", "load_cifar100"),
}
NOT_CALLED = {
    "__version__",
    *("CheckpointError", "DataError"),  # errors
    *("Loss", "Params"),  # types
    *("Model", "Optimizer", "TrainState", "GradientReport", "Checkpoint"),  # made by others
}
"""Public names that nobody calls with input of their own."""


class Subclass(np.ndarray[Any, Any]):
    """An array with a name of its own."""


def a_matrix(a: Array) -> Array:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.matrix(a) if a.ndim == 2 else a.view(Subclass)


ARRAY_SAME: dict[str, Callable[[Array], Any]] = {
    **FORMS,
    "read-only": read_only,
    "subclass": lambda a: a.view(Subclass),
    "matrix": a_matrix,
    "record array": lambda a: a.view(np.recarray),
}
ARRAY_WRONG: dict[str, Callable[[Array], Any]] = {
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(a.tolist()),
    "scalar": lambda a: a.flat[0],
    "none": lambda a: None,
    "text": lambda a: "array",
    "object": lambda a: object(),
    "memory view": lambda a: a.data,
    "masked": lambda a: np.ma.masked_equal(a, a.flat[0]),
}
ARRAY_DTYPES: dict[str, Callable[[Array], Any]] = {
    "complex": lambda a: a.astype(complex),
    "objects": lambda a: a.astype(object),
    "strings": lambda a: a.astype(str),
    "bytes": lambda a: a.astype("S8"),
    "times": lambda a: a.astype(np.int64).view("M8[s]"),
    "durations": lambda a: a.astype(np.int64).view("m8[s]"),
    "record": lambda a: a.astype([("a", a.dtype)]),
    "booleans": lambda a: a.astype(bool),
}
ARRAY_SHAPES: dict[str, Callable[[Array], Any]] = {
    "0-d": lambda a: a.reshape(-1)[0:1].reshape(()),
    "one axis more": lambda a: a[None],
    "64 axes": lambda a: a[(None,) * (64 - a.ndim)],
    "wider": lambda a: np.concatenate([a, a], axis=-1),
    "no columns": lambda a: a[..., :0],
    "huge": lambda a: np.broadcast_to(a.reshape(-1)[0], (2**50, *a.shape[1:])),
}
ARRAY_SIZES: dict[str, Callable[[Array], Any]] = {
    "longer": lambda a: np.concatenate([a, a]),
    "empty": lambda a: a[:0],
}


def with_one(value: Any) -> Callable[[Array], Array]:
    """Return what puts one value into a copy of an array, at its second place."""

    def change(a: Array) -> Array:
        copy = a.copy()
        copy.flat[1] = value
        return copy

    return change


def _as_type(dtype: Any, a: Array) -> Array:
    return a.astype(dtype)


FLOAT_EITHER: dict[str, Callable[[Array], Any]] = {
    "float16": lambda a: a.astype(np.float16),
    "float32": lambda a: a.astype(np.float32),
    "longdouble": lambda a: a.astype(np.longdouble),
}
FLOAT_SPREADS: dict[str, Callable[[Array], Any]] = {
    "nan": with_one(np.nan),
    "inf": with_one(np.inf),
    "-inf": with_one(-np.inf),
    "all nan": lambda a: np.full_like(a, np.nan),
}
FLOAT_VERGE: dict[str, Callable[[Array], Any]] = {
    "largest": lambda a: np.sign(a) * np.finfo(a.dtype).max,
    "one largest": lambda a: with_one(np.finfo(a.dtype).max)(a),
}
LABEL_SAME: dict[str, Callable[[Array], Any]] = {
    dtype.__name__: partial(_as_type, dtype)
    for dtype in (np.int8, np.uint8, np.int16, np.uint32, np.uint64)
}
LABEL_WRONG: dict[str, Callable[[Array], Any]] = {
    "floats": lambda a: a.astype(float),
    "nan": lambda a: np.full(a.shape, np.nan),
    "negative": with_one(-1),
    "least": with_one(-(2**63)),
    "no class": with_one(1000),
    "beyond int64": lambda a: with_one(2**64 - 1)(a.astype(np.uint64)),
    "sign lost": lambda a: with_one(2**63)(a.astype(np.uint64)),
}
IMAGE_WRONG: dict[str, Callable[[Array], Any]] = {
    "int8": lambda a: a.astype(np.int8),
    "uint16": lambda a: a.astype(np.uint16),
    "int64": lambda a: a.astype(np.int64),
    "floats": lambda a: a / 255,
    "nan": lambda a: np.full(a.shape, np.nan),
    "flat": lambda a: a.reshape(-1),
}
NUMBER_SAME: dict[str, Callable[[Any], Any]] = {
    "float32": np.float32,
    "float64": np.float64,
    "longdouble": np.longdouble,
    "fraction": Fraction,
}
NUMBER_WRONG: dict[str, Any] = {
    "none": None,
    "text": "1",
    "bytes": b"1",
    "true": True,
    "numpy's true": np.True_,
    "complex": 1j,
    "list": [1],
    "dict": {},
    "decimal": Decimal(1),
    "0-d array": np.array(1),
    "1-d array": np.array([1]),
    "object": object(),
    "nan": float("nan"),
    "float32 nan": np.float32("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "negative": -1,
    "very negative": -(2**70),
    "numpy's negative": np.int64(-1),
    "beyond floats": -(10**400),
}
INTEGER_SAME: dict[str, Callable[[Any], Any]] = {
    "int32": np.int32,
    "uint64": np.uint64,
    "int64": np.int64,
}
INTEGER_WRONG = NUMBER_WRONG | {
    "float": 1.0,
    "fraction of 1": 1.5,
    "numpy's float": np.float64(1),
    "fraction": Fraction(1),
}
PATH_WRONG: dict[str, Any] = {
    "none": None,
    "number": 3,
    "bytes": b"data",
    "list": ["data"],
    "nul": "da\0ta",
    "nul in a path": Path("da\0ta"),
}
ANYTHING_ELSE: dict[str, Any] = {
    "none": None,
    "number": 3.5,
    "text": "anything",
    "bytes": b"anything",
    "list": [None],
    "dict": {"anything": None},
    "array": np.ones(3),
    "object": object(),
    "class": object,
}
BOOL_WRONG = {k: v for k, v in NUMBER_WRONG.items() if k not in ("true",)} | {"one": 1}


def changes(name: str, call: Call) -> Iterator[tuple[str, str, Any]]:
    """Yield (verdict, what is changed, changed value) for one argument of a call."""
    good = call.args[name]
    free = {*call.free.get(name, "none of them").split(", ")}

    def of(verdict: str, table: Mapping[str, Any], kind: str = "") -> Iterator[Any]:
        for what, change in table.items():
            made = isinstance(good, np.ndarray) or verdict == "same"
            value = change(good) if made else change
            yield "free" if {what, kind} & free else verdict, what, value

    if isinstance(good, np.ndarray):
        yield from of("same", ARRAY_SAME)
        yield from of("wrong", ARRAY_WRONG)
        yield from of("wrong", ARRAY_DTYPES, "dtype")
        yield from of("wrong", ARRAY_SHAPES, "shape")
        yield from of("wrong", ARRAY_SIZES, "size")
        if good.dtype.kind == "f":
            yield from of("wrong", {"integers": lambda a: a.astype(int)})
            yield from of("either", FLOAT_EITHER)
            yield from of("spreads", FLOAT_SPREADS)
            yield from of("verge", FLOAT_VERGE)
        elif good.dtype == np.uint8:
            yield from of("wrong", IMAGE_WRONG, "dtype")
        else:
            yield from of("same", LABEL_SAME)
            yield from of("wrong", LABEL_WRONG)
    elif isinstance(good, bool):
        yield from of("wrong", BOOL_WRONG)
    elif isinstance(good, int):
        yield from of("same", INTEGER_SAME)
        yield from of("wrong", INTEGER_WRONG)
        yield from of("free", {"2**70": 2**70, "0": 0})
    elif isinstance(good, float):
        yield from of("same", NUMBER_SAME)
        yield from of("wrong", NUMBER_WRONG)
    elif isinstance(good, Path):
        yield from of("wrong", PATH_WRONG)
    else:
        others = {k: v for k, v in ANYTHING_ELSE.items() if not (k == "class" and callable(good))}
        yield from of("wrong", others)


CASES = {
    title: [
        (f"{name}-{verdict}-{what}", name, verdict, value)
        for name in call.args
        for verdict, what, value in changes(name, call)
    ]
    for title, call in CALLS.items()
}


def plain_of(result: Any) -> Any:
    """Return a result as numbers and texts, in lists and dicts."""
    if isinstance(result, np.ndarray):
        return result
    if attrs.has(type(result)):
        return plain_of({a.name: getattr(result, a.name) for a in attrs.fields(type(result))})
    if isinstance(result, Mapping):
        return {key: plain_of(value) for key, value in result.items()}
    if isinstance(result, tuple | list):
        return [plain_of(value) for value in result]
    return result


def agree(a: Any, b: Any) -> bool:
    """Tell whether two plain results are the same numbers, but for rounding."""
    if isinstance(b, dict):
        return a.keys() == b.keys() and all(agree(a[key], b[key]) for key in b)
    if isinstance(b, list):
        return len(a) == len(b) and all(map(agree, a, b))
    if isinstance(b, float | np.ndarray):
        return np.shape(a) == np.shape(b) and np.allclose(
            np.asarray(a, float), np.asarray(b, float), rtol=1e-2, atol=1e-2
        )
    return bool(a == b)


def is_finite(result: Any) -> bool:
    """Tell whether every number in a plain result is finite."""
    if isinstance(result, dict):
        return all(map(is_finite, result.values()))
    if isinstance(result, list):
        return all(map(is_finite, result))
    if isinstance(result, float | np.ndarray):
        return bool(np.isfinite(result).all())
    return True


def contents(value: Any) -> Any:
    """Return the bytes of all small arrays in a value."""
    if isinstance(value, np.ndarray):
        return (value.shape, value.tobytes()) if value.size < 10_000 else None
    if isinstance(value, Mapping):
        return [contents(v) for v in value.values()]
    if isinstance(value, tuple | list):
        return [contents(v) for v in value]
    return None


@pytest.mark.parametrize("title", CALLS)
def test_the_calls_of_the_table_are_valid(title: str) -> None:
    call = CALLS[title]
    if title in MISSING_FILES:
        return  # the files are missing: paths are looked at first
    assert is_finite(plain_of(call.f(**call.args)))


@pytest.mark.parametrize("title", CALLS)
def test_wrong_input_is_handled_right_or_refused_by_name(title: str) -> None:
    failed = {}
    for what, *case in CASES[title]:  # thousands: a test for each takes seconds more
        try:
            check_input(CALLS[title], *case)
        except Exception as error:
            failed[what] = error
    assert not failed


def check_input(call: Call, name: str, verdict: str, value: Any) -> None:
    args = {**call.args, name: value}
    before = contents(args)
    try:
        with np.errstate(all="ignore"):
            result = plain_of(call.f(**args))
    except (TypeError, ValueError) as error:
        assert verdict != "same", error
        # Two arrays that do not fit: either may be the wrong one, or the scores that they make.
        arrays = [n for n, a in call.args.items() if isinstance(a, np.ndarray)]
        names = "|".join([*arrays, "scores"] if name in arrays else [name])
        assert re.search(rf"\b({names})\b", str(error)), error
        assert " must " in str(error), error
    except MemoryError:
        assert np.size(value) >= 2**50, "the argument is small"
    else:
        assert verdict != "wrong", result
        if verdict == "spreads":
            assert not is_finite(result)
        elif verdict == "verge":
            wider = plain_of(call.f(**{n: widened(a) for n, a in args.items()}))
            assert not is_finite(result) or agree(result, wider)
        elif verdict in ("same", "either"):
            assert agree(result, plain_of(call.f(**call.args)))
    assert contents(args) == before, "an argument was changed"


def widened(value: Any) -> Any:
    """Return a floating array in a dtype of a wider range."""
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value.astype(np.longdouble) if is_float else value


def test_there_are_thousands_of_cases_and_no_function_is_left_out() -> None:
    assert sum(map(len, CASES.values())) >= 1000
    for cases in CASES.values():
        assert len({what for what, *_ in cases}) == len(cases)
    called = {title.split(",")[0] for title in CALLS}
    assert {*fnnet.__all__} - called == NOT_CALLED
    for module in (optim, augmentation, preprocessing, ranks, halving, space):
        public = inspect.getmembers(module, inspect.isfunction)
        names = {n for n, f in public if f.__module__ == module.__name__ and not n.startswith("_")}
        assert names - called <= {
            *("average_blocks", "preprocess", "input_dim", "cost", "as_tuple", "number_type"),
            *("all_reduce", "check_ranks", "check_same"),
        }


# Values of flags that are wrong for every flag of the kind.
WORDS_WRONG = {
    "int": ("", "x", "1.5", "nan", "-1", "1e3", "9" * 5000, "½", "\udcff"),
    "float": ("", "x", "nan", "inf", "-inf", "-1", "1e999", "1,5", "\udcff"),
    "choice": ("", "mnist", "Digits", "\udcff"),
    "bool": ("maybe", "1"),
}
TRAIN_FLAGS: dict[str, tuple[str, ...]] = {
    "--preset": WORDS_WRONG["choice"],
    "--dataset": ("", "mnist", "missing/folder", "nul\0", "Digits"),
    "--image-size": ("0", "4097", *WORDS_WRONG["int"]),
    "--num-train": ("0", *WORDS_WRONG["int"]),
    "--num-val": ("0", *WORDS_WRONG["int"]),
    "--preprocessing": WORDS_WRONG["choice"],
    "--components": ("0", *WORDS_WRONG["int"]),
    "--epsilon": ("0", *WORDS_WRONG["float"]),
    "--pool": ("0", *WORDS_WRONG["int"]),
    "--flip": WORDS_WRONG["bool"],
    "--shift": ("101", *WORDS_WRONG["int"]),
    "--rotate": ("180.1", *WORDS_WRONG["float"]),
    "--zoom": ("1.01", *WORDS_WRONG["float"]),
    "--color": ("1.01", *WORDS_WRONG["float"]),
    "--tta-flip": WORDS_WRONG["bool"],
    "--patience": ("0", *WORDS_WRONG["int"]),
    "--tta-shift": ("101", *WORDS_WRONG["int"]),
    "--hidden-dim": (str(2**31), *WORDS_WRONG["int"]),
    "--batch-size": ("0", *WORDS_WRONG["int"]),
    "--num-epochs": ("0", *WORDS_WRONG["int"]),
    "--learning-rate": WORDS_WRONG["float"],
    "--schedule": WORDS_WRONG["choice"],
    "--warm-up": WORDS_WRONG["float"],
    "--momentum": ("1", "1.5", *WORDS_WRONG["float"]),
    "--nesterov": WORDS_WRONG["bool"],
    "--reg": WORDS_WRONG["float"],
    "--seed": WORDS_WRONG["int"],
    "--dtype": ("float16", "int8", ">f4", *WORDS_WRONG["choice"]),
    "--micro-batches": ("0", "33", *WORDS_WRONG["int"]),
    "--num-threads": ("0", "1025", str(2**32 + 1), *WORDS_WRONG["int"]),
    "--data-dir": ("da\0ta",),
    "--log": ("", "log.txt", "nul\0.csv", "missing/log.csv"),
    "--seeds": ("0", "1001", *WORDS_WRONG["int"]),
    "--workers": ("0", "1025", *WORDS_WRONG["int"]),
    "--plot-file": ("", "plot", "plot.gif", "plot\0.pdf", "checkpoint.npz"),
    "--checkpoint-file": ("check\0point.npz", "plot.pdf"),
    "--print-every": ("0", *WORDS_WRONG["int"]),
    "--checkpoint-every": ("0", *WORDS_WRONG["int"]),
}
RUN_FLAGS = {
    "--checkpoint-file", "--plot-file", "--print-every", "--checkpoint-every", "--log", "--seeds"
}  # fmt: skip
"""Those that a search does not have."""
NO_FILE = ("missing.npz", ".", "", "nul\0.npz", "\udcff.npz")
OTHER_FLAGS: dict[tuple[str, str], tuple[str, ...]] = {
    ("train.py", "--distributed"): WORDS_WRONG["bool"],
    ("train.py", "--resume"): NO_FILE,
    ("show.py", "--surprise"): ("1",),
    ("bench.py", "--peers"): ("tensorflow", ""),
    ("bench.py", "--batch-sizes"): ("0", "5000", "x"),
    ("bench.py", "--widths"): ("-1", "4000", "x"),
    ("bench.py", "--presets"): ("homework", ""),
    ("bench.py", "--rounds"): ("0", *WORDS_WRONG["int"]),
    ("bench.py", "--seconds"): ("0", *WORDS_WRONG["float"]),
    ("bench.py", "--num-threads"): ("0", *WORDS_WRONG["int"]),
    ("bench.py", "--data-dir"): ("", "missing", "nul\0"),
    ("bench.py", "--json-file"): ("", "missing/bench.json", "nul\0.json"),
    ("bench.py", "--plot-file"): ("", "missing/bench.png", "bench.gif", "nul\0.png"),
    ("curves.py", "--presets"): ("digits", ""),
    ("curves.py", "--peers"): ("tensorflow", ""),
    ("curves.py", "--num-threads"): ("0", "x"),
    ("curves.py", "--data-dir"): ("missing", "nul\0"),
    ("curves.py", "--csv-file"): ("", "missing/curves.csv", "nul\0.csv"),
    ("curves.py", "--plot-file"): ("", "missing/curves.png", "curves.gif", "nul\0.png"),
    ("test.py", "--checkpoint-file"): NO_FILE,
    ("test.py", "--again"): WORDS_WRONG["bool"],
    ("predict.py", "--checkpoint-file"): NO_FILE,
    ("show.py", "--json"): WORDS_WRONG["bool"],
    ("gradcheck_layers.py", "--seed"): WORDS_WRONG["int"],
    ("gradcheck_layers.py", "--tolerance"): WORDS_WRONG["float"],
    ("gradcheck_classifier.py", "--seed"): WORDS_WRONG["int"],
    ("gradcheck_classifier.py", "--tolerance"): WORDS_WRONG["float"],
    ("gradcheck_layers.py", "--module"): ("missing.py", ".", "", "nul\0.py", "\udcff.py"),
    ("gradcheck_layers.py", "--json"): WORDS_WRONG["bool"],
    ("gradcheck_classifier.py", "--module"): ("missing.py", "."),
    ("check_softmax_stability.py", "--surprise"): ("1",),
    ("check_softmax_stability.py", "--module"): ("missing.py", "."),
    ("tune.py", "--trials"): ("0", *WORDS_WRONG["int"]),
    ("tune.py", "--budget"): ("0", "26", *WORDS_WRONG["int"]),
    ("tune.py", "--workers"): ("0", "1025", *WORDS_WRONG["int"]),
    ("tune.py", "--scheduler"): ("", "nowhere", "tcp://nowhere", "\udcff"),
    ("tune.py", "--journal"): ("", "notes.txt", "missing/tune.jsonl", "nul\0.jsonl"),
    **{
        ("tune.py", flag): words[:1] for flag, words in TRAIN_FLAGS.items() if flag not in RUN_FLAGS
    },
    **{
        ("doctor.py", flag): words[:1]
        for flag, words in TRAIN_FLAGS.items()
        if flag == "--plot-file" or flag not in RUN_FLAGS | {"--workers"}
    },
    ("tune.py", "--hidden-dim"): ("log:1:x", "choice:", "uniform:5:2", *WORDS_WRONG["int"]),
    ("tune.py", "--flip"): ("choice:maybe", "log:0:1", *WORDS_WRONG["bool"]),
    ("download_cifar.py", "--source"): ("missing.tar.gz", "", "."),
}
SCRIPTS = Path(__file__).parent.parent / "scripts"
FLAG_CASES = [
    pytest.param(program, flag, word, id=f"{program} {flag} {word[:20]!a}")
    for (program, flag), words in (
        {("train.py", flag): words for flag, words in TRAIN_FLAGS.items()} | OTHER_FLAGS
    ).items()
    for word in words
]


@pytest.mark.parametrize(("program", "flag", "word"), FLAG_CASES)
def test_a_wrong_flag_exits_2_with_its_name_and_writes_nothing(
    program: str,
    flag: str,
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.setenv("FNNET_DATA_DIR", "nowhere")
    more = ["--epsilon=uniform:1:2"] if program == "tune.py" and flag != "--epsilon" else []
    monkeypatch.setattr(sys, "argv", [program, *more, f"{flag}={word}"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(SCRIPTS / program), run_name="__main__")
    output = capsys.readouterr()
    shown = (output.out + output.err).replace("-", "_")
    assert caught.value.code == 2, shown
    assert flag[2:].replace("-", "_") in shown or repr(word)[1:-1].replace("-", "_") in shown
    assert "Traceback" not in shown
    assert [*tmp_path.iterdir()] == []


def test_every_flag_of_train_tune_and_doctor_is_tried() -> None:
    def flags(kind: type[Any]) -> set[str]:
        return {f"--{a.name.replace('_', '-')}" for a in attrs.fields(kind)} - {"--config"}

    settings = flags(fnnet.TrainConfig)
    tried = {flag for program, flag in OTHER_FLAGS if program == "train.py"} | {*TRAIN_FLAGS}
    assert tried == settings | flags(TrainCommand)
    tried = {flag for program, flag in OTHER_FLAGS if program == "tune.py"}
    assert tried == settings | flags(TuneCommand)
    tried = {flag for program, flag in OTHER_FLAGS if program == "doctor.py"}
    assert tried == settings | flags(DoctorCommand)
    assert sum(map(len, CASES.values())) + len(FLAG_CASES) >= 1500


SCORES = np.ones((4, 2))
BAD_LOSSES: dict[str, Any] = {
    "nothing": None,
    "a number alone": 1.0,
    "a gradient alone": SCORES,
    "three things": (1.0, SCORES, 2),
    "a loss of text": ("1.0", SCORES),
    "a loss that is an array": (np.ones(4), SCORES),
    "a complex loss": (1j, SCORES),
    "a gradient of another shape": (1.0, np.ones((4, 3))),
    "a gradient that would broadcast": (1.0, np.ones((1, 2))),
    "a gradient of another dtype": (1.0, SCORES.astype(np.float32)),
    "a gradient of integers": (1.0, SCORES.astype(int)),
    "a gradient that is a list": (1.0, SCORES.tolist()),
}


@pytest.mark.parametrize("kind", BAD_LOSSES)
def test_a_loss_that_returns_anything_else_is_refused(kind: str) -> None:
    with pytest.raises((TypeError, ValueError), match="loss"):
        model().grad(PARAMS, X, lambda scores: BAD_LOSSES[kind])


@pytest.mark.parametrize("rate", [np.nan, np.inf, -0.1, None, "0.1", 1j, np.array([0.1])], ids=repr)
def test_a_schedule_that_returns_no_rate_is_refused(rate: Any) -> None:
    optimizer = fnnet.sgd(lambda step: rate)
    with pytest.raises((TypeError, ValueError), match=r"learning_rate\(0\)"):
        optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grads", {"W1": W}),
        ("grads", {**PARAMS, "W2": W}),
        ("grads", {}),
        ("velocity", SgdState(0, {})),
        ("velocity", SgdState(0, {"W1": W})),
        ("velocity", SgdState(0, {"W1": W[:1], "b1": B})),  # would broadcast
        ("velocity", SgdState(0, {"W1": W.astype(np.float32), "b1": B})),
    ],
)
def test_gradients_and_states_of_another_model_are_refused(name: str, value: Any) -> None:
    key = "state" if name == "velocity" else name
    args: dict[str, Any] = {"params": PARAMS, "state": STATE, "grads": PARAMS, key: value}
    with pytest.raises((TypeError, ValueError), match=rf"^{name}\b.* must "):
        fnnet.sgd(0.5, 0.5).update(
            *{**args, "state" if name == "velocity" else name: value}.values()
        )


@pytest.mark.parametrize("cache", [None, X, (X,), (X, W, B), (X, "w"), [X, W]], ids=type)
def test_a_cache_of_something_else_is_refused(cache: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^(cache|x|w) must"):
        fnnet.fc_backward(X @ W, cache)
    kind = type(cache).__name__
    with pytest.raises(TypeError, match=f"^cache must be that of relu_forward, found {kind}$"):
        fnnet.relu_backward(X, cache)


def test_the_layer_whose_weights_are_not_finite_is_named() -> None:
    model = fnnet.mlp((3, 4, 2))
    params = dict(model.init(rng()))
    params["W2"] = with_one(np.nan)(params["W2"])
    with pytest.raises(ValueError, match=r"^W2 must be finite, found nan at index \(0, 1\)"):
        model.apply(params, X)
