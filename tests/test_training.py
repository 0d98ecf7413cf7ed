"""Training is a lazy fold of pure steps, and evaluation scores every image exactly once."""

import math
import pickle
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fnnet import (
    Dataset,
    History,
    Params,
    TrainState,
    accuracy,
    fit_standardization,
    l2_regularization,
    linear_classifier,
    make_train_step,
    mlp,
    predict,
    predict_scores,
    sgd,
    softmax_loss,
    standardize,
    use_threads,
)
from fnnet.checks import Array, NonFiniteError
from fnnet.data.augmentation import mirror, tta_views
from fnnet.training import Batch, DivergenceError, epochs, fold, init_state, make_update
from fnnet.values import ParamsLike
from tests.helpers import assert_any_form, assert_pure, close, same, wide
from tests.strategies import FLOATS, Network, datasets, networks, normal, seeds


@given(networks())
def test_a_train_step_is_the_composition_of_the_pure_parts(network: Network) -> None:
    model, params, (x, labels), reg = network.model, network.params, network.batch, network.reg
    loss, grads = make_train_step(model)(params, (x, labels), reg)
    expected, softmax_grads = model.grad(params, x, lambda s: softmax_loss(s, labels))
    total = dict(softmax_grads)
    for name in [name for name in params if name[0] == "W"]:
        reg_loss, reg_grad = l2_regularization(params[name], reg)
        expected += reg_loss
        total[name] = total[name] + reg_grad
    assert loss == pytest.approx(expected, rel=1e-12)
    assert close(dict(grads), total)


@given(networks())
def test_a_train_step_is_pure_and_takes_any_memory_layout(network: Network) -> None:
    names = [*network.params]

    def step(x: Array, labels: Array, *arrays: Array) -> object:
        params = dict(zip(names, arrays, strict=True))
        return make_train_step(network.model)(params, (x, labels), network.reg)

    assert_pure(step, *network.batch, *network.params.values())
    assert_any_form(step, *network.batch, *network.params.values())


@given(networks())
def test_a_train_step_keeps_the_dtype_and_its_gradients_cannot_be_changed(
    network: Network,
) -> None:
    loss, grads = make_train_step(network.model)(network.params, network.batch, network.reg)
    assert type(loss) is float
    frozen: Any = grads
    with pytest.raises(TypeError):
        frozen["W1"] = grads["W1"]
    for name, grad in grads.items():
        assert grad.dtype == network.params[name].dtype
        with pytest.raises(ValueError, match="read-only"):
            grad[0] = 0


def owner_and_view(array: Array) -> tuple[Array, Array]:
    """Return an array that can be written to, and a read-only view of it."""
    owner = array.copy()
    view = owner.view()
    view.flags.writeable = False
    return owner, view


@pytest.mark.parametrize("pass_views", [False, True])
@pytest.mark.parametrize("num_hidden", [0, 3])
def test_what_is_written_later_changes_no_gradient(num_hidden: int, pass_views: bool) -> None:
    # A caller may use its arrays again as soon as the call has returned.
    model = mlp([4, *[5] * num_hidden, 3])
    drawn = model.init(np.random.default_rng(0))
    labels = np.array([0, 1, 2, 0])

    def step_grads(params: ParamsLike, x: Array) -> Params:
        return make_train_step(model)(params, (x, labels), 0.3)[1]

    def model_grads(params: ParamsLike, x: Array) -> Params:
        return model.grad(params, x, lambda s: softmax_loss(s, labels))[1]

    for f in (step_grads, model_grads):
        owned = {name: owner_and_view(p) for name, p in drawn.items()}
        x, x_view = owner_and_view(normal(1, (4, 4)))
        expected = {name: grad.copy() for name, grad in f(drawn, x.copy()).items()}
        params = {name: pair[pass_views] for name, pair in owned.items()}
        grads = f(params, x_view if pass_views else x)
        for array in (x, *(owner for owner, _ in owned.values())):
            array[...] = 7
        assert same(dict(grads), expected)


@pytest.mark.parametrize("pass_view", [False, True])
def test_what_the_loss_writes_later_changes_no_gradient(pass_view: bool) -> None:
    pair = owner_and_view(normal(0, (4, 2)))
    grads = MODEL.grad(PARAMS, np.ones((4, 3)), lambda _: (0.0, pair[pass_view]))[1]
    expected = np.ones((3, 4)) @ pair[0]
    pair[0][...] = 7
    np.testing.assert_allclose(grads["W1"], expected)


@pytest.mark.parametrize("momentum", [0, 0.9])
def test_large_steps_agree_with_float64_and_repeat_their_bits(momentum: float) -> None:
    # Large enough that an implementation may cut them into blocks, or use threads.
    widths = (3001, 301, 10)
    runs = []
    for dtype in (np.float32, np.float32, np.float64):
        model, optimizer = mlp(widths, dtype), sgd(0.01, momentum)
        step = make_update(make_train_step(model), optimizer, 0.1)
        start = init_state(model, optimizer, np.random.default_rng(0))
        batches = [(normal(i, (50, 3001), dtype), np.arange(50) % 10) for i in range(4)]
        *_, end = fold(step, start, batches)
        runs.append(end)
    first, second, exact = runs
    assert (same(dict(first.params), dict(second.params)), first.loss) == (True, second.loss)
    assert first.loss == pytest.approx(exact.loss, rel=1e-4)
    for name, p in exact.params.items():
        np.testing.assert_allclose(first.params[name], p, atol=1e-4)


MODEL = linear_classifier(3, 2)
PARAMS = {"W1": np.zeros((3, 2)), "b1": np.zeros(2)}


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ((np.ones((0, 3)), np.zeros(0, int)), ValueError, "must not be empty"),
        (
            (np.ones((2, 3)), np.array([0, 12])),
            ValueError,
            r"labels must lie in \[0, 2\), found 12",
        ),
        ((np.ones((2, 3)), np.array([0, -1])), ValueError, "found -1 at index 1"),
        ((np.ones((2, 3)), np.array([0.0, 1.0])), TypeError, "labels must be integers"),
        ((np.ones((2, 3)), np.array([0])), ValueError, r"labels must have shape \(2,\)"),
        ((np.ones((2, 4)), np.array([0, 1])), ValueError, r"x must have shape \(N, 3\)"),
        (
            (np.ones((2, 3), np.float32), np.array([0, 1])),
            TypeError,
            "x must have the dtype of W1, float64, found float32",
        ),
        ((np.ones((2, 3), int), np.array([0, 1])), TypeError, "x must have a floating dtype"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(
    batch: Batch, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_train_step(MODEL)(PARAMS, batch, 0.1)


@pytest.mark.parametrize(
    "batch", [None, np.ones((2, 3)), (np.ones((2, 3)),), {"x": 1, "labels": 2}]
)
def test_what_is_no_batch_is_refused(batch: Any) -> None:
    kind = type(batch).__name__
    with pytest.raises(TypeError, match=f"^batch must be a pair of x and labels, found {kind}$"):
        make_train_step(MODEL)(PARAMS, batch, 0.1)


@pytest.mark.parametrize("reg", [-1, np.nan, np.inf])
def test_a_train_step_refuses_a_regularization_that_is_none(reg: float) -> None:
    with pytest.raises(ValueError, match="reg must be a finite number at least 0"):
        make_train_step(MODEL)(PARAMS, (np.ones((2, 3)), np.array([0, 1])), reg)


def some_batches(number: int = 6) -> Iterator[Batch]:
    for i in range(number):
        yield normal(i, (4, 3)), np.arange(4) % 2


def some_step(
    momentum: float = 0.9,
) -> tuple[Callable[[TrainState, Batch], TrainState], TrainState]:
    optimizer = sgd(0.1, momentum)
    start = init_state(MODEL, optimizer, np.random.default_rng(0))
    return make_update(make_train_step(MODEL), optimizer, 0.01), start


def test_the_fold_equals_a_loop_of_train_steps_and_updates() -> None:
    optimizer, train_step = sgd(0.1, 0.9), make_train_step(MODEL)
    params = MODEL.init(np.random.default_rng(0))
    state = optimizer.init(params)
    step, start = some_step()
    assert (start.step, math.isnan(start.loss)) == (0, True)
    assert same(dict(start.params), dict(params))
    folded = [*fold(step, start, some_batches())]
    for i, (found, batch) in enumerate(zip(folded, some_batches(), strict=True), start=1):
        loss, grads = train_step(params, batch, 0.01)
        params, state = optimizer.update(params, state, grads)
        assert (found.step, found.loss) == (i, loss)
        assert same(dict(found.params), dict(params))


def test_the_fold_draws_a_batch_when_its_state_is_asked_for() -> None:
    drawn: list[int] = []

    def watched() -> Iterator[Batch]:
        for i, batch in enumerate(some_batches()):
            drawn.append(i)
            yield batch

    states = fold(*some_step(), watched())
    assert drawn == []
    for i in range(3):
        next(states)
        assert drawn == [*range(i + 1)]


def test_old_states_stay_as_they_were() -> None:
    step, start = some_step()
    states = [start]
    copies = []
    for batch in some_batches():
        copies.append({name: p.copy() for name, p in states[-1].params.items()})
        states.append(step(states[-1], batch))
    for state, copy in zip(states, copies, strict=False):
        assert same(dict(state.params), copy)
    # and training goes on from any of them
    again = step(states[2], [*some_batches()][2])
    assert same(dict(again.params), dict(states[3].params))


def test_epochs_pass_on_losses_and_evaluations() -> None:
    folded = [*fold(*some_step(), some_batches(7))]
    values = iter([(0.1, 0.2, 7.0), (0.3, 0.4, 5.0)])
    seen = []

    def evaluate(params: Any) -> tuple[float, float, float]:
        seen.append(params)
        return next(values)

    ends = [*epochs(folded, 3, evaluate)]
    assert [state.step for state, _ in ends] == [3, 6]  # the 7th step fills no epoch
    assert [params is folded[i].params for params, i in zip(seen, (2, 5), strict=True)] == [
        True
    ] * 2
    history = ends[-1][1]
    assert history.losses.tolist() == [state.loss for state in folded[:6]]
    assert history.train_accuracy.tolist() == [0.1, 0.3]
    assert history.val_accuracy.tolist() == [0.2, 0.4]
    assert history.val_loss.tolist() == [7, 5]
    assert history.data_losses.tolist() == [state.data_loss for state in folded[:6]]
    assert ends[0][1].losses.tolist() == [state.loss for state in folded[:3]]


def test_epochs_are_lazy_and_can_go_on_from_a_history() -> None:
    states = fold(*some_step(), some_batches())
    before = History(np.array([9.0, 8.0]), np.array([0.1]), np.array([0.1]))
    ends = epochs(states, 2, lambda _: (0.5, 0.5, 1.0), before)
    _, history = next(ends)
    assert history.losses.tolist()[:2] == [9, 8]
    assert len(history.losses) == 4
    assert history.val_accuracy.tolist() == [0.1, 0.5]
    assert next(states).step == 3


def long_history(num_epochs: int) -> Iterator[History]:
    """Yield the history after each epoch of two steps, with the step as loss."""
    states = (TrainState(i, PARAMS, None, float(i)) for i in count(1))
    for _, history in islice(epochs(states, 2, lambda _: (0.25, 0.5, 1.0)), num_epochs):
        yield history


def test_old_histories_stay_as_they_were() -> None:
    for n, history in enumerate([*long_history(100)], start=1):
        assert history.losses.tolist() == [*range(1, 2 * n + 1)]
        assert history.train_accuracy.tolist() == [0.25] * n
        assert history.val_accuracy.tolist() == [0.5] * n
        for column in (history.losses, history.train_accuracy, history.val_accuracy):
            assert column.dtype == np.float64
            with pytest.raises(ValueError, match="read-only"):
                column[0] = 7


def test_two_continuations_of_a_history_do_not_meet() -> None:
    *_, history = long_history(5)
    ends = []
    for loss in (100.0, 200.0):
        states = [TrainState(11, PARAMS, None, loss)] * 2
        ends += [end for _, end in epochs(states, 2, lambda _: (0.0, 0.0, 1.0), history)]
    assert [end.losses.tolist()[10:] for end in ends] == [[100, 100], [200, 200]]


def test_a_history_does_not_change_with_the_arrays_it_was_made_of() -> None:
    columns = [np.zeros(4), np.zeros(2), np.zeros(2)]
    history = History(*columns)
    for column in columns:
        column[...] = 1
    assert history.losses.tolist() == [0] * 4
    assert history.val_accuracy.tolist() == history.train_accuracy.tolist() == [0] * 2


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble])
def test_a_history_is_float64(dtype: Any) -> None:
    columns = [np.full(n, 0.5, dtype) for n in (4, 2, 2)]
    history = History(*columns)
    for name, column in zip(("losses", "train_accuracy", "val_accuracy"), columns, strict=True):
        assert same(getattr(history, name), column.astype(np.float64))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([1.0], [0.5], []), "train_accuracy and val_accuracy must have the same length"),
        (([1.0], [], []), "multiple of the number of epochs, 0, found 1"),
        (([1.0, 2.0, 3.0], [0.5] * 2, [0.5] * 2), "multiple of the number of epochs, 2, found 3"),
        (([[1.0]], [0.5], [0.5]), r"losses must have shape \(steps,\), found \(1, 1\)"),
        (([1.0], [1.5], [0.5]), r"train_accuracy must lie in \[0, 1\], found 1.5"),
        (([1.0], [-0.25], [0.5]), r"train_accuracy must lie in \[0, 1\], found -0.25"),
        (([1.0], [0.5], [1.25]), r"val_accuracy must lie in \[0, 1\], found 1.25"),
        (([1.0], [0.5], [np.nan]), "val_accuracy must be finite"),
        (([1.0], [[0.5]], [0.5]), r"train_accuracy must have shape \(epochs,\)"),
    ],
)
def test_a_history_whose_columns_do_not_fit_is_refused(columns: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        History(*map(np.array, columns))


def test_long_runs_keep_their_history_small() -> None:
    tracemalloc.start()
    try:
        [last] = deque(long_history(3000), maxlen=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert last.losses.nbytes == 48_000
    assert peak < 5 * (2 * 48_000 + 3 * 24_000)


def test_the_best_epoch_is_the_first_with_the_best_validation_accuracy() -> None:
    history = History(np.zeros(4), np.full(4, 0.9), np.array([0.1, 0.7, 0.7, 0.3]))
    assert history.best_epoch == 2


def test_a_history_without_epochs_has_no_best_one() -> None:
    with pytest.raises(ValueError, match="history must have at least one epoch"):
        _ = History().best_epoch


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=9), st.integers(1, 9))
@example([0.5, 0.5, 0.25], 2)
@example([0.5, 0.25, 1.0], 2)
def test_a_history_is_stuck_once_the_best_is_patience_epochs_old(
    accuracies: list[float], patience: int
) -> None:
    n = len(accuracies)
    history = History(np.zeros(n), np.zeros(n), np.array(accuracies, float))
    recent = accuracies[-patience:]
    earlier = accuracies[:-patience]
    assert history.is_stuck(patience) == (bool(earlier) and max(recent) <= max(earlier))
    assert not history.is_stuck(None)


def test_what_was_not_recorded_is_nan() -> None:
    old = History(np.zeros(4), np.zeros(2), np.zeros(2))
    assert np.isnan(old.data_losses).tolist() == [True] * 4
    assert np.isnan([*old.val_loss, *old.data_loss, *old.regularization]).all()
    assert old == pickle.loads(pickle.dumps(old))
    for columns, message in (
        ({"data_losses": np.zeros(3)}, "data_losses must have 4 numbers, found 3"),
        ({"val_loss": np.zeros((2, 1))}, r"val_loss must have shape \(N,\), found \(2, 1\)"),
        ({"val_loss": np.array([np.inf, 0.0])}, "val_loss must be finite or NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            History(np.zeros(4), np.zeros(2), np.zeros(2), **columns)


@given(st.integers(1, 5), st.integers(1, 6), seeds)
def test_losses_of_an_epoch_are_the_means_of_its_steps(epochs: int, steps: int, seed: int) -> None:
    data, penalty = normal(seed, (epochs * steps,)) ** 2, normal(seed + 1, (epochs * steps,)) ** 2
    accuracies = np.zeros(epochs)
    history = History(data + penalty, accuracies, accuracies, data, accuracies)
    for epoch in range(epochs):
        part = slice(epoch * steps, (epoch + 1) * steps)
        assert history.data_loss[epoch] == pytest.approx(sum(data[part]) / steps)
        assert history.regularization[epoch] == pytest.approx(sum(penalty[part]) / steps)
    total = history.data_loss + history.regularization
    np.testing.assert_allclose(total, history.losses.reshape(epochs, steps).mean(axis=1))


def test_the_mean_of_finite_losses_of_an_epoch_is_finite() -> None:
    losses = np.array([1.5e308, 1.5e308, 1.0, 3.0])
    history = History(losses, np.zeros(2), np.zeros(2), losses)
    assert history.data_loss.tolist() == [1.5e308, 2]
    assert history.regularization.tolist() == [0, 0]


def test_epochs_without_steps_have_no_mean_loss() -> None:
    history = History(np.empty(0), np.zeros(2), np.zeros(2))
    assert np.isnan(history.data_loss).tolist() == [True, True]
    assert History().data_loss.tolist() == []


@given(networks(), st.floats(0, 10))
def test_the_loss_of_a_step_is_data_loss_plus_regularization(network: Network, reg: float) -> None:
    optimizer = sgd(0.1)
    update = make_update(make_train_step(network.model), optimizer, reg)
    start = TrainState(0, network.params, optimizer.init(network.params), math.nan)
    state = update(start, network.batch)
    data_loss, _ = make_train_step(network.model)(network.params, network.batch, 0.0)
    loss, grads = make_train_step(network.model)(network.params, network.batch, reg)
    assert (state.loss, state.data_loss) == (loss, data_loss)
    expected, _ = optimizer.update(start.params, start.opt_state, grads)
    assert same(dict(state.params), dict(expected))
    history = History(np.array([loss]), np.zeros(1), np.zeros(1), np.array([data_loss]))
    assert history.data_loss.tolist() == [data_loss]
    penalty = sum(
        reg / 2 * float((w.astype(np.longdouble) ** 2).sum())
        for name, w in network.params.items()
        if name.startswith("W")
    )
    assert history.regularization[0] == pytest.approx(penalty, rel=1e-4, abs=1e-6 * abs(loss))


@pytest.mark.parametrize("steps", [0, -1])
def test_an_epoch_has_at_least_a_step(steps: int) -> None:
    with pytest.raises(ValueError, match="steps_per_epoch must be at least 1"):
        next(epochs([], steps, lambda _: (0.0, 0.0, 1.0)))


def test_training_that_diverges_says_so() -> None:
    step, start = some_step(0)
    params = {"W1": np.full((3, 2), 1e308), "b1": np.zeros(2)}
    diverged = TrainState(4, params, start.opt_state, 1.0)
    with pytest.raises(DivergenceError, match=r"training diverged at step 5.*it was 1 at step 4"):
        step(diverged, next(some_batches()))


def test_the_first_loss_that_is_not_finite_ends_training() -> None:
    def train_step(params: ParamsLike, batch: Batch, reg: float) -> tuple[float, Params]:
        return math.inf, Params(params)

    step = make_update(train_step, sgd(0.1), 0)
    with pytest.raises(DivergenceError, match=r"step 1: the loss is inf$"):
        step(TrainState(0, PARAMS, sgd(0.1).init(PARAMS), math.nan), next(some_batches()))


def test_scores_that_are_not_finite_end_training_at_the_epoch() -> None:
    def evaluate(params: Params) -> tuple[float, float, float]:
        raise NonFiniteError("scores must be finite")

    with pytest.raises(DivergenceError, match=r"loss was 3, but then .*scores must") as caught:
        next(epochs([TrainState(7, PARAMS, None, 3.0)], 1, evaluate))
    assert caught.value.step == 7


def test_ties_are_predicted_as_the_first_class() -> None:
    params = {"W1": np.zeros((3, 2)), "b1": np.zeros(2)}
    assert predict(MODEL, params, np.ones((4, 3))).tolist() == [0] * 4


@pytest.mark.parametrize("dtype", [np.float16, *FLOATS])
@given(data=st.data())
def test_the_first_of_several_largest_scores_is_predicted(data: st.DataObject, dtype: Any) -> None:
    row = st.lists(st.integers(-1, 1), min_size=4, max_size=4)
    x = np.array(data.draw(st.lists(row, min_size=1, max_size=5)), dtype)
    params = {"W1": np.eye(4, dtype=dtype), "b1": np.zeros(4, dtype)}  # the scores are x
    predicted = predict(linear_classifier(4, 4, dtype), params, x)
    assert predicted.dtype == np.int64
    assert predicted.tolist() == [scores.index(max(scores)) for scores in x.tolist()]


@given(networks())
def test_predictions_are_the_classes_of_the_largest_scores(network: Network) -> None:
    x, _ = network.batch
    predicted = predict(network.model, network.params, x)
    scores = network.model.apply(network.params, x).tolist()
    assert predicted.dtype == np.int64
    assert predicted.tolist() == [row.index(max(row)) for row in scores]


@given(datasets(), st.integers(1, 50), seeds)
def test_blocks_change_no_score_and_nothing_random_is_drawn(
    dataset: Dataset, batch_size: int, seed: int
) -> None:
    model = mlp([4, 3, len(dataset.class_names)])
    params = model.init(np.random.default_rng(seed))
    stats = fit_standardization(dataset)
    before: Any = np.random.get_state()  # noqa: NPY002
    blocks = predict_scores(
        model, params, dataset, lambda images: standardize(stats, images), batch_size
    )
    after: Any = np.random.get_state()  # noqa: NPY002
    assert np.array_equal(before[1], after[1])
    whole = model.apply(params, standardize(stats, dataset.images))
    assert close(blocks, whole)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_every_image_is_scored_once_in_each_view_and_the_mean_returned(num_threads: int) -> None:
    # Large enough for both threads.
    images = np.random.default_rng(0).integers(256, size=(601, 30, 30), dtype=np.uint8)
    dataset = Dataset(images, np.zeros(601, int), ("a", "b"))
    model = linear_classifier(900, 2)
    params = model.init(np.random.default_rng(0))
    looks: list[Any] = [np.asarray, mirror, lambda images: images // 2]
    seen = []

    def preprocess(images: Array) -> Array:
        seen.append(len(images))
        return images.reshape(len(images), -1) / 255

    with use_threads(num_threads):
        scores = predict_scores(model, params, dataset, preprocess, 100, looks)
    assert sorted(seen) == [1] * 3 + [100] * 18
    expected = [model.apply(params, look(images).reshape(601, -1) / 255) for look in looks]
    np.testing.assert_allclose(scores, np.mean(expected, axis=0), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, *FLOATS])
def test_scores_are_averaged_over_the_views_without_losing_digits(dtype: Any) -> None:
    images = np.random.default_rng(0).integers(256, size=(7, 3, 4), dtype=np.uint8)
    dataset = Dataset(images, np.zeros(7, int), ("a", "b", "c"))
    model = linear_classifier(12, 3, dtype)
    params = model.init(np.random.default_rng(1))
    views = tta_views(True, 2)

    def preprocess(images: Array) -> Array:
        return (images.reshape(len(images), -1) / 255).astype(dtype)

    scores = predict_scores(model, params, dataset, preprocess, 3, views)
    assert scores.dtype == dtype
    for i, image in enumerate(images):
        total = np.zeros(3, np.longdouble)
        for view in views:
            total += wide(model.apply(params, preprocess(view(image[None])))[0])
        eps = float(np.finfo(dtype).eps)
        # Half precision is summed in float64 and rounded once; of the other dtypes the last
        # bits of a product depend on the number of its rows.
        rtol, atol = (eps / 1.9, 0) if dtype == np.float16 else (2 * eps, 20 * eps)
        np.testing.assert_allclose(wide(scores[i]), total / 50, rtol=rtol, atol=atol)


@pytest.mark.parametrize("state", ["warn", "raise"])
def test_the_mean_of_the_smallest_scores_depends_on_no_error_state(state: Any) -> None:
    dataset = Dataset(np.zeros((2, 1, 3), np.uint8), np.zeros(2, int), ("a", "b"))
    params = {"W1": np.zeros((3, 2)), "b1": np.array([5e-324, 1e-310])}
    with np.errstate(all=state):
        scores = predict_scores(
            MODEL, params, dataset, lambda x: np.zeros((len(x), 3)), views=tta_views(True, 1)
        )
    np.testing.assert_allclose(scores, [params["b1"]] * 2, rtol=0, atol=1e-322)


@pytest.mark.parametrize(("dtype", "size"), [(np.float16, 6e4), (np.float32, 3e38), (float, 1e308)])
def test_the_mean_of_the_finite_scores_of_views_is_finite(dtype: Any, size: float) -> None:
    dataset = Dataset(np.zeros((2, 1, 3), np.uint8), np.zeros(2, int), ("a", "b"))
    params = {"W1": np.zeros((3, 2), dtype), "b1": np.array([size, -size], dtype)}

    def preprocess(images: Array) -> Array:
        return images.reshape(len(images), -1).astype(dtype)

    for state in ("raise", "warn"):
        with np.errstate(all=state):
            scores = predict_scores(MODEL, params, dataset, preprocess, views=tta_views(True, 0))
        assert scores.tolist() == [params["b1"].tolist()] * 2


@pytest.mark.parametrize("views", [(), [], {mirror}, (f for f in [mirror]), mirror, [mirror, None]])
def test_views_that_are_not_a_sequence_of_functions_are_refused(views: Any) -> None:
    dataset = Dataset(np.zeros((2, 1, 3), np.uint8), np.zeros(2, int), ("a", "b"))
    message = "^views must be a sequence of at least one function, found "
    with pytest.raises(ValueError, match=message):
        predict_scores(MODEL, {}, dataset, lambda x: x, views=views)


def test_a_divergence_can_be_copied_and_sent_to_another_process() -> None:
    error = DivergenceError(7, "the loss is inf")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert copy.args == error.args == (7, "the loss is inf")


@pytest.mark.parametrize(
    ("predicted", "labels", "error", "message"),
    [
        (np.zeros((2, 1), int), np.zeros((2, 1), int), ValueError, r"^labels must have shape \(N,"),
        (np.zeros(3, int), np.zeros(2, int), ValueError, r"^predicted must have shape \(2,\)"),
        (np.zeros(0, int), np.zeros(0, int), ValueError, "^labels must not be empty$"),
        (np.zeros(2), np.zeros(2, int), TypeError, "^predicted must be integers, found float64"),
        (np.zeros(2, int), np.zeros(2), TypeError, "^labels must be integers, found float64"),
    ],
)
def test_what_has_no_accuracy_is_refused(
    predicted: Array, labels: Array, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        accuracy(predicted, labels)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_accuracy_is_the_fraction_that_is_right(pairs: list[tuple[int, int]]) -> None:
    predicted, labels = np.array(pairs).T
    found = accuracy(predicted, labels)
    assert type(found) is float
    assert found == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))


def test_a_prediction_wants_blocks_of_at_least_one_image(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        predict_scores(MODEL, PARAMS, dataset, lambda images: images, batch_size=0)
