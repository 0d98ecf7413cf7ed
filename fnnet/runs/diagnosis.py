"""Checks of a run before a long training: a Run -> findings, each with its cure."""

import math
from collections.abc import Iterator
from functools import partial
from itertools import islice, repeat

import numpy as np

from fnnet.checks import Array
from fnnet.evaluation import accuracy, predict
from fnnet.gradcheck import numeric_gradient
from fnnet.layers import fc_forward, relu_forward
from fnnet.losses import softmax_loss
from fnnet.models import is_weight
from fnnet.runs.data_checks import Finding, check_classes, check_copies, check_inputs, check_labels
from fnnet.runs.rates import STEPS, RateTest, short_training
from fnnet.runs.run import Run
from fnnet.training import Batch, History, TrainState
from fnnet.values import ParamsLike

FEW = 10
"""Examples that every net must be able to learn by heart."""
FEW_STEPS = 200
BATCH = 128
"""Examples of the batch on which gradients and units are checked."""


def diagnose(run: Run, test: RateTest) -> Iterator[Finding]:
    """Yield what the checks of a run find, in the order in which to read it.

    Args:
        run: what is about to be trained; nothing of it changes.
        test: what :func:`fnnet.runs.rates.rate_test` returned for it.
    """
    classes = check_classes(run)
    yield classes
    if classes.verdict == "wrong":  # one class: there is nothing to learn
        return
    yield from check_copies(run)
    yield from check_inputs(run)
    yield check_labels(run)
    yield from check_start(run)
    yield check_few(run)
    yield from check_training(run, test)


def check_start(run: Run) -> Iterator[Finding]:
    """Check gradient and data loss of the first weights on a batch, in float64.

    The gradient is compared with central differences along three random directions:

        <grad, d> ≈ (f(p + h d) - f(p - h d)) / 2h

    The difference is relative to the largest <grad, d>. A step over the kink of a ReLU makes it
    a little larger; a wrong gradient makes it larger than 0.01. The loss of a guess is log C;
    He's weights add about 1 to it.
    """
    rng, (x, labels) = np.random.default_rng(0), _batch(run)
    x, loss = x.astype(np.float64), partial(softmax_loss, labels=labels)
    params = {name: p.astype(np.float64) for name, p in run.start().params.items()}
    lines = {name: rng.standard_normal((3, *p.shape)) for name, p in params.items()}

    def along(t: Array) -> float:
        moved = {name: p + np.tensordot(t, lines[name], 1) for name, p in params.items()}
        return loss(run.model.apply(moved, x))[0]

    first_loss, grads = run.model.grad(params, x, loss)
    analytic = sum(np.tensordot(lines[name], grads[name], grads[name].ndim) for name in params)
    numeric = numeric_gradient(along, np.zeros(3), 1e-7)
    worst = np.abs(analytic - numeric).max() / max(np.abs(numeric).max(), 1e-12)
    found = f"relative difference {worst:.1e} in three random directions"
    yield Finding("gradients", found, "the model's backward pass is wrong", worst, 1e-4, 1e-2)
    above = first_loss - _guess(run)
    found = f"{first_loss:.3g}, {above:.2g} above log C, that of a guess"
    yield Finding("first loss", found, "inputs or weights too large", above, 2, 4)


def check_few(run: Run) -> Finding:
    """Learn ten examples by heart, without regularization, at a rate that suits most nets."""
    x, labels = (part[:FEW] for part in _batch(run))
    _, state, _ = short_training(run, 0.1, 0.0, repeat((x, labels), FEW_STEPS))
    right = accuracy(predict(run.model, state.params, x), labels)
    found = f"{right:.0%} right after {FEW_STEPS} steps without regularization"
    cure = "a wider --hidden-dim, or look at inputs and labels"
    wrong = 0.21 if x.shape[1] >= FEW else math.inf  # few inputs may be too few for ten examples
    return Finding("ten examples", found, cure, 1 - right, 0.01, wrong)


def check_training(run: Run, test: RateTest) -> Iterator[Finding]:
    """Train for some steps; check units, size of the last step, regularization and learning rate.

    A step takes learning_rate · reg of each weight: from 2 on, weights grow without end.
    """
    config = run.config
    end, before, after = _train(run, config.reg)
    dead = dead_share(before.params, _batch(run)[0])
    cure = "try a lower --learning-rate, or smaller first weights"
    yield Finding("dead units", f"{dead:.0%} of a layer", cure, dead, 0.1, 0.5)
    yield check_updates(before.params, after.params)
    product = config.learning_rate * config.reg
    learns = end < _guess(run) or not 0 < product < 1 or _train(run, 0.0)[0] >= _guess(run)
    found = f"learning_rate × reg = {product:.2g}, from 2 on weights diverge"
    found += "" if learns else "; a short training learns with --reg 0 only"
    yield Finding("regularization", found, "a lower --reg", product if learns else 1, 0.1, 1)
    yield check_rate(config.learning_rate, test.lowest, math.isinf(end) and product < 1)


@np.errstate(all="ignore")
def check_updates(before: ParamsLike, after: ParamsLike) -> Finding:
    """Compare the length of a step with that of the weights: 0.001 is a good ratio."""
    norm = np.linalg.norm
    ratio = np.max([norm(after[n] - p) / norm(p) for n, p in before.items() if is_weight(n)])
    found, distance = f"{ratio:.1e}, about 1e-3 is good", abs(np.log10(ratio / 1e-3))
    return Finding("update / weight", found, "try another --learning-rate", distance, 2, 3)


def check_rate(rate: float, lowest: float, diverges: bool) -> Finding:
    """Compare a learning rate, which may diverge, with that at which the loss is lowest, or 0."""
    high = min(lowest or rate, rate / 2) if diverges else lowest
    found = f"{rate:g} diverges" if diverges else f"{rate:g}, the loss is lowest at {lowest:.2g}"
    cure = f"fnnet tune --learning-rate log:{high / 100:.1g}:{high:.1g}"
    if not high:
        return Finding("learning rate", found, "no rate lowers the loss: look at the data", 1, 1)
    if rate < high:
        cure = f"too low, try {cure}"
        return Finding("learning rate", found, cure, -rate, -high / 100, -high / 1000)
    wrong = 2 if diverges else 6
    return Finding("learning rate", found, f"too high, try {cure}", rate / high, 2, wrong)


def _guess(run: Run) -> float:
    """Return log C, the data loss of scores that are all equal."""
    return math.log(len(run.train.class_names))


def _train(run: Run, reg: float) -> tuple[float, TrainState, TrainState]:
    """Return the mean data loss at the end of a short training, and its last two states."""
    batches = islice(run.batches(), STEPS)
    losses, before, after = short_training(run, run.schedule, reg, batches)
    return float(np.mean(losses[-STEPS // 4 :])), before, after


def dead_share(params: ParamsLike, x: Array) -> float:
    """Return the share of units that are 0 for every row of x (N, D), of the worst hidden layer."""
    worst = 0.0
    for i in range(1, len(params) // 2):
        x, active = relu_forward(fc_forward(x, params[f"W{i}"], params[f"b{i}"])[0])
        worst = max(worst, 1 - float(active.any(axis=0).mean()))
    return worst


def _batch(run: Run) -> Batch:
    return run.preprocess(run.train.images[:BATCH]), run.train.labels[:BATCH]


def signs(run: Run, params: ParamsLike, history: History) -> list[str]:
    """Return what goes wrong in a training by its history so far, as sentences.

    Args:
        run: what is trained.
        params: those after the last epoch of the history.
        history: of at least one epoch.
    """
    steps, epochs = len(history.losses), len(history.val_accuracy)
    loss = history.data_losses[-max(1, steps // epochs // 4) :].mean()
    train, val = history.train_accuracy[-1], history.val_accuracy[-1]
    apart = train > val + 0.25 and history.is_stuck(3)
    share = np.bincount(run.train.labels).max() / len(run.train)
    begun = steps >= STEPS // 2
    at_chance = begun and epochs >= 2 and train <= share + 0.01
    seen = {
        "the data loss is above that of a guess": begun and loss > _guess(run),
        "all units of a hidden layer are dead": dead_share(params, _batch(run)[0]) == 1,
        "the train accuracy needs one class for all examples": at_chance,
        "train accuracy is far above validation, which stopped rising": apart,
    }
    return [sign for sign, is_seen in seen.items() if is_seen]
