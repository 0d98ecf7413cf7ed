"""Short trainings, and the learning-rate range test (Smith 2017, §3.3)."""

import math
from collections.abc import Iterable
from itertools import chain, repeat

import numpy as np
from attrs import evolve, frozen

from fnnet.checks import Watch
from fnnet.optim import Schedule, sgd
from fnnet.runs.run import Run
from fnnet.training import Batch, DivergenceError, TrainState, fold, make_train_step, make_update

STEPS = 60
"""Steps of a short training."""
RATES = tuple(np.geomspace(1e-4, 10, STEPS).tolist())
"""The learning rates of the test: a hundred times too low for a net to far too high."""
TOO_HIGH = 30
"""A loss of this number of times the first one is a divergence."""


def short_training(
    run: Run, learning_rate: float | Schedule, reg: float, batches: Iterable[Batch]
) -> tuple[list[float], TrainState, TrainState]:
    """Train from the run's first weights until the batches end, or the loss is far too high.

    Returns:
        the data loss of each step, after a divergence with infinity at the end; the state before
        the last step, whose scores are finite; the state after it.
    """
    optimizer = sgd(learning_rate, run.config.momentum, run.config.nesterov)
    before = after = evolve(run, optimizer=optimizer).start()
    losses: list[float] = []
    try:
        for state in fold(make_update(make_train_step(run.model), optimizer, reg), after, batches):
            before, after = after, state
            losses.append(state.data_loss)
            if losses[-1] > TOO_HIGH * losses[0]:
                raise DivergenceError(state.step, "the loss is far too high")
    except DivergenceError:
        losses.append(math.inf)
    return losses, before, after


@frozen
class RateTest:
    """The data loss while the learning rate grows from step to step."""

    losses: list[float]
    """The data loss at each of the first :data:`RATES`; the last one is infinite if it diverged."""
    smooth: list[float]
    """The same, as the median of seven steps: the loss of a batch is noisy."""
    lowest: float
    """The rate at which the loss is lowest, a little too high for a training; 0 if it never falls.
    A hundredth of it is the lowest rate that is worth a try."""


def rate_test(run: Run, watch: Watch = iter) -> RateTest:
    """Train for some steps, each with a higher learning rate; momentum and reg are the run's."""
    endless = chain.from_iterable(each.batches() for each in repeat(run))
    batches = (batch for _, batch in zip(watch(range(STEPS)), endless, strict=False))
    losses = short_training(run, RATES.__getitem__, run.config.reg, batches)[0][:STEPS]
    smooth = [float(np.median(losses[max(0, i - 3) : i + 4])) for i in range(len(losses))]
    lowest = int(np.argmin(smooth))
    falls = smooth[lowest] < 0.95 * smooth[0]
    return RateTest(losses, smooth, RATES[lowest] if falls else 0.0)
