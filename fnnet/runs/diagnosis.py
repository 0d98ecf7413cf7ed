"""Checks of a run before a long training: a Run -> findings, each with its cure."""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice, repeat

import numpy as np

from fnnet.checks import Array
from fnnet.data.dataset import first
from fnnet.evaluation import accuracy, predict
from fnnet.gradcheck import numeric_gradient
from fnnet.layers import fc_forward, relu_forward
from fnnet.losses import softmax_loss
from fnnet.models import is_weight
from fnnet.optim import linear, sgd, warm_up
from fnnet.runs.data_checks import Finding, check_data, judge
from fnnet.runs.rates import STEPS, RateTest, Short, short_training
from fnnet.runs.run import Run
from fnnet.training import Batch, History
from fnnet.values import ParamsLike

FEW = 10
"""Examples that every net must be able to learn by heart."""
FEW_STEPS = 200
FEW_RATES = (0.1, 0.01, 1e-3, 1.0, 1e-4, 10.0, 1e-5)
"""What is tried when the rate of the run does not learn them."""
BATCH = 128
"""Examples of the batch on which gradients and units are checked."""
DIRECTIONS = 3


def diagnose(run: Run, test: RateTest) -> Iterator[Finding]:
    """Yield what the checks of a run find, in the order in which to read it.

    Args:
        run: what is about to be trained; nothing of it changes.
        test: what :func:`fnnet.runs.rates.rate_test` returned for it.
    """
    findings = check_data(run)
    yield from findings
    if findings[0].verdict == "wrong":  # one class: there is nothing to learn
        return
    yield check_gradients(run)
    short = short_training(run, run.optimizer, run.config.reg, islice(run.batches(), STEPS))
    yield check_first_loss(run)
    yield check_few(run)
    yield check_units(run, short)
    yield check_updates(short)
    yield check_reg(run, short)
    yield check_rate(run, test, short)


def check_gradients(run: Run) -> Finding:
    """Compare the gradient with central differences along random directions, in float64.

        <grad, d> ≈ (f(p + h d) - f(p - h d)) / 2h

    The difference is relative to the largest <grad, d>. A step over the kink of a ReLU makes it
    a little larger; a wrong gradient makes it larger than 0.01.
    """
    rng, (x, labels) = np.random.default_rng(0), _batch(run)
    params = {name: p.astype(np.float64) for name, p in run.start().params.items()}
    lines = {name: rng.standard_normal((DIRECTIONS, *p.shape)) for name, p in params.items()}
    loss = partial(softmax_loss, labels=labels)

    def along(t: Array) -> float:
        moved = {name: p + np.tensordot(t, lines[name], 1) for name, p in params.items()}
        return loss(run.model.apply(moved, x.astype(np.float64)))[0]

    grads = run.model.grad(params, x.astype(np.float64), loss)[1]
    analytic = sum(np.tensordot(lines[name], grads[name], grads[name].ndim) for name in params)
    numeric = numeric_gradient(along, np.zeros(DIRECTIONS), 1e-7)
    worst = np.abs(analytic - numeric).max() / max(np.abs(numeric).max(), 1e-12)
    found = f"relative difference {worst:.1e} in {DIRECTIONS} random directions"
    return judge("gradients", found, "the backward pass of the model is wrong", worst, 1e-4, 1e-2)


def check_first_loss(run: Run) -> Finding:
    """Compare the first data loss with log C, that of a guess; He's weights add about 1 to it."""
    x, labels = _batch(run)
    loss = softmax_loss(run.model.apply(run.start().params, x), labels)[0]
    found, cure = (
        f"{loss:.3g}, a guess has log C = {_guess(run):.3g}",
        "inputs or weights too large",
    )
    return judge("first loss", found, cure, loss - _guess(run), 2, 4)


def check_few(run: Run) -> Finding:
    """Learn ten examples by heart, without regularization: with the run's rate, or with others."""
    config, train = run.config, first(run.train, FEW)
    batch = run.preprocess(train.images), train.labels

    def right(rate: float) -> float:
        schedule = warm_up(linear(rate, FEW_STEPS), FEW_STEPS // 4)
        optimizer = sgd(schedule, config.momentum, config.nesterov)
        short = short_training(run, optimizer, 0.0, repeat(batch, FEW_STEPS))
        if short.diverged:
            return 0.0
        return accuracy(predict(run.model, short.after.params, batch[0]), train.labels)

    reached = right(config.learning_rate)
    found = f"{reached:.0%} right after {FEW_STEPS} steps without regularization"
    works = None if reached == 1 else next((r for r in FEW_RATES if right(r) == 1), None)
    cure = "at no learning rate more: a wider --hidden-dim, or look at inputs and labels"
    cure = f"--learning-rate {works:g} learns them" if works else cure
    can = works or batch[0].shape[1] >= FEW  # a net of few inputs may be too small for them
    return judge("ten examples", found, cure, 1 - reached, 0.01, 0.21 if can else math.inf)


def check_units(run: Run, short: Short) -> Finding:
    """Count the hidden units that are 0 on a whole batch, before and after a short training."""
    start, end = (dead_share(p, _batch(run)[0]) for p in (run.start().params, short.before.params))
    found = f"{start:.0%} of a layer at first, {end:.0%} after {len(short.losses)} steps"
    cure = "the first weights do not fit" if start >= 0.1 else "try a lower --learning-rate"
    return judge("dead units", found, cure, max(start, end), 0.1, 0.5)


def dead_share(params: ParamsLike, x: Array) -> float:
    """Return the share of units that are 0 for every row of x (N, D), of the worst hidden layer."""
    worst = 0.0
    for i in range(1, len(params) // 2):
        x, active = relu_forward(fc_forward(x, params[f"W{i}"], params[f"b{i}"])[0])
        worst = max(worst, 1 - float(active.any(axis=0).mean()))
    return worst


def check_updates(short: Short) -> Finding:
    """Compare the length of the last step with that of the weights: 0.001 is a good ratio."""
    ratio = math.inf if short.diverged else 0.0
    for name in filter(is_weight, short.before.params):
        p = short.before.params[name]
        step = float(np.linalg.norm(short.after.params[name] - p))
        ratio = max(ratio, step / max(float(np.linalg.norm(p)), 1e-300))
    cure = f"a {'lower' if ratio > 1e-3 else 'higher'} --learning-rate"
    found, distance = f"{ratio:.1e}, about 1e-3 is good", abs(math.log10(max(ratio, 1e-99) / 1e-3))
    return judge("update / weight", found, cure, distance, 2, 3)


def check_reg(run: Run, short: Short) -> Finding:
    """Tell whether the regularization leaves anything to learn.

    A step takes learning_rate · reg of each weight: from 2 on, weights grow without end.
    """
    product, cure = run.config.learning_rate * run.config.reg, "a lower --reg"
    if product >= 0.5 or short.end < _guess(run) or not run.config.reg:
        found = f"learning_rate × reg = {product:.2g}, above 2 weights diverge"
        return judge("regularization", found, cure, product, 0.1, 1)
    free = short_training(run, run.optimizer, 0.0, islice(run.batches(), STEPS))
    found = f"data loss {short.end:.3g} after a short training, {free.end:.3g} with --reg 0"
    return judge("regularization", found, cure, float(free.end < _guess(run)), 1, 1)


def check_rate(run: Run, test: RateTest, short: Short) -> Finding:
    """Compare the learning rate with those of the range test."""
    rate, low, high = run.config.learning_rate, test.low, test.high
    limit = (2 if run.config.warm_up else 1) * test.diverges  # the test itself has no warm-up
    too_high = (short.diverged and rate * run.config.reg < 1) or rate >= 1.5 * limit
    if too_high:
        high = min(high, rate / 2)
        low = min(low, high / 10)
    try_ = f"fnnet tune --learning-rate log:{low:g}:{high:g}"
    found = f"{rate:g}, steepest at {test.steepest:.2g}, diverges from {test.diverges:.2g} on"
    if too_high:
        return Finding("learning rate", "wrong", found, f"too high, try {try_}")
    if not test.falls:
        return Finding("learning rate", "look", found, "no rate lowers the loss: look at the data")
    badness = max(low / max(rate, 1e-300), rate / limit)
    too = "low" if rate < low else "high"
    return judge("learning rate", found, f"too {too}, try {try_}", badness, 1 + 1e-9, 30)


def _batch(run: Run) -> Batch:
    train = first(run.train, BATCH)
    return run.preprocess(train.images), train.labels


def _guess(run: Run) -> float:
    """Return log C, the data loss of scores that are all equal."""
    return math.log(len(run.train.class_names))


def signs(run: Run, params: ParamsLike, history: History) -> Mapping[str, str]:
    """Return what goes wrong in a training by its history so far: a sentence for each, by name.

    Args:
        run: what is trained.
        params: those after the last epoch of the history.
        history: of at least one epoch.
    """
    found, steps, epochs = {}, len(history.losses), len(history.val_accuracy)
    train, val = history.train_accuracy[-1], history.val_accuracy[-1]
    loss = history.data_losses[-max(1, steps // epochs // 4) :].mean()
    if steps >= STEPS // 2 and loss > _guess(run):
        found["loss"] = f"the data loss, {loss:.3g}, is above that of a guess, {_guess(run):.3g}"
    if dead_share(params, _batch(run)[0]) == 1:
        found["dead"] = "all units of a hidden layer are dead"
    share = np.bincount(run.train.labels).max() / len(run.train)
    if steps >= STEPS // 2 and epochs >= 2 and train <= share + 0.01:
        found["chance"] = f"a train accuracy of {train:.2%} needs one class for all examples"
    if train - val > 0.25 and epochs - history.best_epoch >= 3:
        found["gap"] = f"train accuracy is far above validation, {val:.2%}, which stopped rising"
    return found
