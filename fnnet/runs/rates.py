"""Short trainings, and the learning-rate range test (Smith 2017, §3.3)."""

import math
from collections.abc import Iterable

import numpy as np
from attrs import evolve, field, frozen
from numpy.lib.stride_tricks import sliding_window_view

from fnnet.checks import Array, NonFiniteError, Watch
from fnnet.data.dataset import first
from fnnet.optim import Optimizer, sgd
from fnnet.runs.run import Run
from fnnet.training import Batch, DivergenceError, TrainState, fold, make_train_step, make_update
from fnnet.values import by_content, lock

STEPS = 60
"""Steps of a short training."""
RATES = lock(np.geomspace(1e-4, 10, STEPS))
"""The learning rates of the test: a hundred times too low for a net to far too high."""
WINDOW = 7
"""Steps of which the median is taken: the loss of a batch is noisy."""
SPAN = 12
"""Steps over which the fall of the loss is measured: about a factor of 10 of the rate."""
TOO_HIGH = 30
"""A loss of this number of times the first one is a divergence."""


@frozen(eq=False)
class Short:
    """What a short training did: its data losses, and its last states."""

    losses: tuple[float, ...]
    before: TrainState
    """The state before the last step."""
    after: TrainState
    diverged: bool

    @property
    def end(self) -> float:
        """Mean data loss of the last quarter of the steps; infinite after a divergence."""
        last = self.losses[-max(1, len(self.losses) // 4) :]
        return math.inf if self.diverged else sum(last) / len(last)


def short_training(run: Run, optimizer: Optimizer, reg: float, batches: Iterable[Batch]) -> Short:
    """Train from the run's first weights until the batches end, or the loss is far too high."""
    before = after = evolve(run, optimizer=optimizer).start()
    update, losses = make_update(make_train_step(run.model), optimizer, reg), []
    try:
        for state in fold(update, after, batches):
            before, after = after, state
            losses.append(state.data_loss)
            if losses[-1] > TOO_HIGH * losses[0]:
                return Short(tuple(losses), before, after, True)
        run.scores(after.params, first(run.train, 1))  # the last update may have overflowed
    except (DivergenceError, NonFiniteError):
        return Short(tuple(losses), before, after, True)
    return Short(tuple(losses), before, after, False)


@frozen
class RateTest:
    """The data loss while the learning rate grows from step to step, and what follows from it."""

    rates: Array = field(eq=by_content)
    """(steps,) The learning rate of each step, until the loss was far too high."""
    losses: Array = field(eq=by_content)
    """(steps,) The data loss of each step."""
    smooth: Array = field(eq=by_content)
    """(steps,) The same, as the median of seven steps."""
    falls: bool
    """Whether the loss falls at all."""
    steepest: float
    """The rate at which the loss falls fastest."""
    diverges: float
    """The rate at which the loss is back where it began, or infinity."""

    @property
    def low(self) -> float:
        """The lowest rate that is worth a try."""
        return float(f"{self.steepest / 3:.1g}")

    @property
    def high(self) -> float:
        """The highest rate that is worth a try."""
        high = min(self.diverges, float(self.rates[-1]))
        digit = 10.0 ** math.floor(math.log10(high))
        return float(f"{math.floor(high / digit + 1e-9) * digit:g}")


def rate_test(run: Run, watch: Watch = iter) -> RateTest:
    """Train for some steps, each with a higher learning rate; momentum and reg are the run's."""
    config = run.config
    endless = evolve(run, config=evolve(config, num_epochs=max(config.num_epochs, STEPS)))
    optimizer = sgd(lambda step: float(RATES[step]), config.momentum, config.nesterov)
    batches = (batch for _, batch in zip(watch(range(STEPS)), endless.batches(), strict=False))
    short = short_training(run, optimizer, config.reg, batches)
    losses = np.array(short.losses or [math.inf])
    rates = RATES[: len(losses)]
    before = losses[:WINDOW].mean()
    padded = np.pad(losses, WINDOW // 2, mode="symmetric")
    smooth = np.median(sliding_window_view(padded, WINDOW), axis=1)
    lowest = int(smooth.argmin())
    drops = smooth[SPAN : lowest + 1] - smooth[: max(0, lowest + 1 - SPAN)]
    steepest = rates[drops.argmin() + SPAN // 2 if len(drops) else lowest]
    back = np.flatnonzero(smooth[lowest:] > before)
    diverges = rates[lowest + back[0]] if len(back) else math.inf
    falls = bool(smooth[lowest] < 0.95 * before)
    return RateTest(rates, losses, smooth, falls, float(steepest), float(diverges))
