"""Ten broken set-ups are named, sound ones are not accused, and signs show in a training."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from fnnet import Dataset, History, Standardization, default_config, load_digits
from fnnet.checks import Array
from fnnet.runs.data_checks import Finding
from fnnet.runs.diagnosis import (
    check_few,
    check_rate,
    check_start,
    check_training,
    dead_share,
    diagnose,
    signs,
)
from fnnet.runs.parts import split_parts
from fnnet.runs.rates import STEPS, RateTest, rate_test, short_training
from fnnet.runs.run import Run, assemble
from fnnet.threads import use_threads
from fnnet.values import Params

DIGITS = load_digits()
FEATURES = DIGITS.images.reshape(len(DIGITS), -1) / 16


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small nets are faster with one thread."""
    with use_threads(1):
        yield


def digits_run(data: Dataset = DIGITS, preset: str = "digits", **changes: Any) -> Run:
    """Return a run on some data as the command line would prepare it."""
    dataset = "digits" if data is DIGITS else "own.npz"
    config = default_config(preset, **{"dataset": dataset, "hidden_dim": 32, **changes})
    return assemble(config, *split_parts(config, data))


def findings(run: Run) -> dict[str, Finding]:
    return {finding.check: finding for finding in diagnose(run, rate_test(run))}


def of(images: Array, labels: Array = DIGITS.labels) -> Dataset:
    return Dataset(images, labels, DIGITS.class_names)


def shifted_init(run: Run) -> Run:
    """Return the run with first biases that let no hidden unit be above 0."""

    def init(rng: np.random.Generator) -> Params:
        params = run.model.init(rng)
        return Params({**params, "b1": params["b1"] - 100})

    return evolve(run, model=evolve(run.model, init=init))


def unscaled(run: Run) -> Run:
    size = run.train.images[0].size
    identity = Standardization(np.zeros(size), np.ones(size))
    return assemble(run.config, run.train, run.val, identity)


def copied_within_training() -> Run:
    run = digits_run()
    half = np.arange(len(run.train)) // 2
    train = of(run.train.images[half], run.train.labels[half])
    return assemble(run.config, train, run.val)


def leaked() -> Run:
    run = digits_run()
    val = of(run.train.images[::10], run.train.labels[::10])
    return assemble(run.config, run.train, val)


# What a command line can break is in tests/commands/test_doctor.py.
BROKEN: dict[str, tuple[Callable[[], Run], str, str]] = {
    "inputs not scaled": (lambda: unscaled(digits_run()), "scale of inputs", "standardize"),
    "units dead": (lambda: shifted_init(digits_run()), "dead units", "first weights"),
    "one class": (partial(digits_run, of(FEATURES, 0 * DIGITS.labels)), "classes", "two classes"),
    "leak": (leaked, "leak", "remove copies"),
    "copies": (copied_within_training, "duplicates", "remove copies"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_set_up_is_named_with_its_cure(name: str) -> None:
    make, check, cure = BROKEN[name]
    found = findings(make())
    assert found[check].verdict == "wrong", [*map(str, found.values())]
    assert cure in found[check].cure
    assert str(found[check]).startswith(f"wrong  {check}: ")
    if name in ("leak", "copies"):  # nothing else is
        assert {f.check for f in found.values() if f.verdict == "wrong"} == {check}


def table(n: int = 150, features: int = 4) -> Dataset:
    """Return a small table like those of flowers: three classes, two equal rows."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(n) % 3
    x = rng.standard_normal((n, features)).round(1) + 2.5 * labels[:, None]
    x[1], x[:, 0] = x[0], 1e4 + 100 * x[:, 0]
    return Dataset(x, labels, ("a", "b", "c"))


def skewed() -> Dataset:
    """Return a table of numbers with many large ones, one of which decides the label."""
    rng = np.random.default_rng(1)
    x = np.exp(1.5 * rng.standard_normal((600, 10)))
    return Dataset(x, (x[:, 0] > 1).astype(int), ("low", "high"))


def pictures() -> Dataset:
    """Return pictures of the shape of CIFAR-10, the class faintly visible in the color."""
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=1300)
    images = rng.normal(128, 30, (1300, 3, 32, 32)) + 3 * labels[:, None, None, None]
    return Dataset(images.clip(0, 255).astype(np.uint8), labels, tuple("abcdefghij"))


SOUND: dict[str, Callable[[], Run]] = {
    "digits": digits_run,
    "no regularization": partial(digits_run, reg=0.0),
    "linear classifier": partial(digits_run, hidden_dim=0),
    "two hidden layers": partial(digits_run, hidden_dim=(64, 32)),
    "momentum": partial(digits_run, momentum=0.9, learning_rate=0.03),
    "float64": partial(digits_run, hidden_dim=32, dtype="float64"),
    "one short epoch": partial(digits_run, num_train=200, num_epochs=1),
    "fast, whitened": partial(digits_run, preset="fast", hidden_dim=128),
    "table": partial(digits_run, table(), hidden_dim=16),
    "table, linear": partial(digits_run, table(), hidden_dim=0),
    "skewed table": partial(digits_run, skewed(), hidden_dim=32),
    "pictures": partial(digits_run, pictures(), "cifar10", hidden_dim=32),
    "features": partial(digits_run, of(FEATURES), hidden_dim=32),
}


CHECKS = [
    "classes", "duplicates", "leak", "constant inputs", "outliers", "scale of inputs", "labels",
    "gradients", "first loss", "ten examples", "dead units", "update / weight", "regularization",
    "learning rate",
]  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_nothing_is_wrong_with_a_sound_set_up(name: str) -> None:
    found = findings(SOUND[name]())
    assert [str(f) for f in found.values() if f.verdict == "wrong"] == []
    assert [*found] == CHECKS
    if name in ("digits", "features"):
        assert {f.verdict for f in found.values()} == {"ok"}


def test_a_run_is_checked_twice_with_the_same_findings() -> None:
    run = digits_run(hidden_dim=8)
    test = rate_test(run)
    assert [*diagnose(run, test)] == [*diagnose(run, test)]


def test_the_cure_of_each_check_of_a_net_names_what_to_change() -> None:
    run, test = digits_run(hidden_dim=8), RateTest([2.0], [2.0], 1.0)
    found = [*check_start(run), check_few(run), *check_training(run, test)]
    words = [
        "backward pass", "inputs or weights", "wider --hidden-dim", "lower --learning-rate",
        "--learning-rate", "lower --reg", "fnnet tune --learning-rate log:0.01:1",
    ]  # fmt: skip
    assert [f.check for f in found] == CHECKS[-7:]
    assert [w in f.cure for w, f in zip(words, found, strict=True)] == [True] * 7


@pytest.mark.parametrize("wrong", ["W1", "b1", "W2", "b2"])
def test_a_wrong_gradient_of_any_parameter_is_found(wrong: str) -> None:
    run = digits_run(hidden_dim=8)

    def grad(params: Any, x: Array, loss: Any) -> tuple[float, Params]:
        value, grads = run.model.grad(params, x, loss)
        return value, Params({**grads, wrong: 1.5 * grads[wrong]})

    wrong_run = evolve(run, model=evolve(run.model, grad=grad))
    assert [finding.verdict for finding in check_start(run)] == ["ok", "ok"]
    assert [finding.verdict for finding in check_start(wrong_run)] == ["wrong", "ok"]


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(0.0, "ok"), (9e-5, "ok"), (2e-4, "look"), (0.009, "look"), (0.02, "wrong")],
)
def test_the_error_of_a_gradient_decides_its_verdict(error: float, verdict: str) -> None:
    run = digits_run(hidden_dim=0)

    def grad(params: Any, x: Array, loss: Any) -> tuple[float, Params]:
        value, grads = run.model.grad(params, x, loss)
        return value, Params({name: (1 + error) * g for name, g in grads.items()})

    finding, _ = check_start(evolve(run, model=evolve(run.model, grad=grad)))
    assert (finding.check, finding.verdict) == ("gradients", verdict)
    assert finding.badness == pytest.approx(error, abs=1e-6)


def with_biases(run: Run, biases: Array) -> Run:
    """Return a run whose first scores are these biases, for every input."""

    def init(rng: np.random.Generator) -> Params:
        params = run.model.init(rng)
        return Params({"W1": 0 * params["W1"], "b1": biases.astype(params["b1"].dtype)})

    return evolve(run, model=evolve(run.model, init=init))


def one_feature(labels: Array) -> Run:
    """Return a run on inputs that are all 1 or -1, with a linear classifier of two classes."""
    x = np.where(np.arange(len(labels)) % 2, 1.0, -1.0)[:, None]
    data = Dataset(x, labels, ("a", "b"))
    config = default_config(dataset="own.npz", hidden_dim=0, dtype="float64", momentum=0.0)
    return assemble(config, data, data)


@pytest.mark.parametrize(
    ("above", "verdict"),
    [(0.0, "ok"), (1.99, "ok"), (2.01, "look"), (3.99, "look"), (4.01, "wrong")],
)
def test_the_first_loss_is_compared_with_that_of_a_guess(above: float, verdict: str) -> None:
    # Of the scores (s, 0) and label 1 the loss is log(1 + exp(s)).
    biases = np.array([np.log(2 * np.exp(above) - 1), 0.0])
    _, finding = check_start(with_biases(one_feature(np.ones(20, int)), biases))
    assert (finding.check, finding.verdict) == ("first loss", verdict)
    assert finding.badness == pytest.approx(above, abs=1e-12)


@pytest.mark.parametrize(
    ("features", "rare", "verdict"),
    [(10, 0, "ok"), (10, 1, "look"), (10, 2, "look"), (10, 3, "wrong"), (9, 3, "look")],
)
def test_ten_examples_are_learned_but_for_two_if_there_are_as_many_inputs(
    features: int, rare: int, verdict: str
) -> None:
    # Inputs that are all equal: what is learned is the class of most of the ten.
    labels = np.arange(20) % 2
    labels[:10] = np.arange(10) < rare
    data = Dataset(np.ones((20, features)), labels, ("a", "b"))
    config = default_config(dataset="own.npz", hidden_dim=0, dtype="float64")
    identity = Standardization(np.zeros(features), np.ones(features), of_features=True)
    finding = check_few(assemble(config, data, data, identity))
    assert (finding.check, finding.verdict) == ("ten examples", verdict)
    assert finding.found == f"{100 - 10 * rare}% right after 200 steps without regularization"


@pytest.mark.parametrize(("dead", "verdict"), [(0, "ok"), (2, "look"), (4, "look"), (5, "wrong")])
def test_half_of_the_units_of_a_layer_may_not_be_dead(dead: int, verdict: str) -> None:
    run = digits_run(hidden_dim=10, learning_rate=0.0)

    def init(rng: np.random.Generator) -> Params:
        bias = np.where(np.arange(10) < dead, -1e3, 1e3).astype(np.float32)
        return Params({**run.model.init(rng), "b1": bias})

    dead_run = evolve(run, model=evolve(run.model, init=init))
    finding = next(check_training(dead_run, RateTest([2.0], [2.0], 1.0)))
    assert (finding.check, finding.verdict) == ("dead units", verdict)
    assert finding.found == f"{10 * dead}% of a layer"


def still(run: Run) -> tuple[Run, list[int]]:
    """Return a run that no step changes, worse than a guess, and the sizes of its batches."""
    run, sizes = with_biases(run, np.array([1.0, 0.0])), []

    def grad(params: Any, x: Array, loss: Any) -> tuple[float, Params]:
        value, grads = run.model.grad(params, x, loss)
        sizes.append(len(x))
        return value, Params({name: 0 * g for name, g in grads.items()})

    return evolve(run, model=evolve(run.model, grad=grad)), sizes


@pytest.mark.parametrize(
    ("rate", "reg", "trainings", "verdict"),
    [(0.0, 1.0, 1, "ok"), (0.5, 0.18, 2, "ok"), (0.5, 0.25, 2, "look"), (0.5, 1.98, 2, "look"),
     (0.5, 2.0, 1, "wrong"), (0.5, 3.0, 1, "wrong")],
)  # fmt: skip
def test_the_product_of_rate_and_reg_decides_where_nothing_learns(
    rate: float, reg: float, trainings: int, verdict: str
) -> None:
    run = one_feature(np.arange(20) % 2)
    config = evolve(run.config, learning_rate=rate, reg=reg, batch_size=20, num_epochs=1000)
    run, sizes = still(assemble(config, run.train, run.val, run.preprocessing))
    finding = [*check_training(run, RateTest([2.0], [2.0], 1.0))][2]
    assert (finding.check, finding.verdict) == ("regularization", verdict)
    product = f"learning_rate × reg = {rate * reg:.2g}"
    assert finding.found == f"{product}, from 2 on weights diverge"
    assert sizes == [20] * (trainings * STEPS)  # one with reg; then one without, if it may help


@pytest.mark.parametrize(
    ("reg", "found"),
    [(0.0, "1024 diverges"), (2.0**-11, "1024 diverges"),
     (2.0**-10, "1024, the loss is lowest at 0.5"), (0.0015, "1024, the loss is lowest at 0.5")],
)  # fmt: skip
def test_a_rate_is_said_to_diverge_unless_reg_is_the_cause(reg: float, found: str) -> None:
    run = digits_run(hidden_dim=8, learning_rate=1024.0, reg=reg)
    *_, finding = check_training(run, RateTest([2.0], [2.0], 0.5))
    assert (finding.check, finding.found) == ("learning rate", found)


@pytest.mark.parametrize(
    ("rate", "lowest", "diverges", "found", "cure"),
    [
        (0.001, 1.0, False, "0.001, the loss is lowest at 1", "too low, try {}0.01:1"),
        (9.0, 0.316, False, "9, the loss is lowest at 0.32", "too high, try {}0.003:0.3"),
        (0.8, 1.0, True, "0.8 diverges", "too high, try {}0.004:0.4"),
        (9.0, 1.0, True, "9 diverges", "too high, try {}0.01:1"),
        (0.8, 0.0, True, "0.8 diverges", "too high, try {}0.004:0.4"),
    ],
)
def test_the_rates_to_try_end_at_the_lowest_loss_and_below_a_divergence(
    rate: float, lowest: float, diverges: bool, found: str, cure: str
) -> None:
    finding = check_rate(rate, lowest, diverges)
    assert finding.found == found
    assert finding.cure == cure.format("fnnet tune --learning-rate log:")


@pytest.mark.parametrize(
    ("rate", "diverges", "verdict"),
    [
        (0.0009, False, "wrong"), (0.0011, False, "look"), (0.00995, False, "look"),
        (0.0101, False, "ok"), (1.0, False, "ok"), (1.9, False, "ok"), (2.1, False, "look"),
        (5.9, False, "look"), (6.1, False, "wrong"), (0.5, True, "wrong"), (9.0, True, "wrong"),
    ],
)  # fmt: skip
def test_a_rate_is_compared_with_that_of_the_lowest_loss(
    rate: float, diverges: bool, verdict: str
) -> None:
    finding = check_rate(rate, 1.0, diverges)
    assert (finding.check, finding.verdict) == ("learning rate", verdict)
    low, high = map(float, finding.cure.partition("log:")[2].split(":"))
    assert high == pytest.approx(100 * low, rel=0.5)  # both have one digit
    # What is to be tried lies below a rate that diverges.
    assert high <= (rate / 2 if diverges else 1.0)


def test_no_rate_to_try_is_named_where_none_lowers_the_loss() -> None:
    finding = check_rate(0.1, 0.0, diverges=False)
    assert (finding.check, finding.verdict) == ("learning rate", "look")
    assert "look at the data" in finding.cure


def test_a_short_training_begins_as_the_run_itself() -> None:
    for nesterov in (False, True):
        run = digits_run(hidden_dim=8, momentum=0.9, nesterov=nesterov, reg=0.01)
        states = [*islice(run.states(), 5)]
        found, before, after = short_training(run, run.schedule, 0.01, islice(run.batches(), 5))
        assert found == [state.data_loss for state in states]
        assert (before, after) == (states[3], states[4])


@pytest.mark.parametrize(("times", "diverges"), [(29, False), (31, True)])
def test_a_loss_of_thirty_times_the_first_one_ends_a_short_training(
    times: int, diverges: bool
) -> None:
    run = with_biases(one_feature(np.arange(20) % 2), np.zeros(2))
    # A step from scores of 0 on x = 1 and label 0 makes them (1 + x) / 2 · (1, -1): a large
    # negative input then has a loss of -(1 + x).
    first, label = np.log(2), np.zeros(1, int)
    batches = [(np.array([[x]]), label) for x in (1.0, *[-1 - times * first] * 2)]
    losses, _, after = short_training(run, 1.0, 0.0, batches)
    assert losses[:2] == pytest.approx([first, times * first])
    assert (losses[-1] == np.inf) == diverges
    assert len(losses) == 3
    assert after.step == (2 if diverges else 3)


def test_a_loss_that_never_falls_has_no_rate_of_the_lowest_one() -> None:
    run = with_biases(one_feature(np.arange(20) % 2), np.zeros(2))

    def grad(params: Any, x: Array, loss: Any) -> tuple[float, Params]:
        value, grads = run.model.grad(params, x, loss)
        return value, Params({name: 0 * g for name, g in grads.items()})

    test = rate_test(evolve(run, model=evolve(run.model, grad=grad)))
    assert test.lowest == 0
    assert test.losses == pytest.approx([np.log(2)] * STEPS)


def test_a_large_product_of_rate_and_reg_is_wrong() -> None:
    finding = findings(digits_run(hidden_dim=8, reg=20.0))["regularization"]
    assert finding.verdict == "wrong"
    assert finding.found == "learning_rate × reg = 2, from 2 on weights diverge"


def test_a_reg_without_which_the_net_learns_is_wrong() -> None:
    # With reg 1 it learns nothing, either.
    finding = findings(digits_run(hidden_dim=8, learning_rate=0.3, reg=3.0))["regularization"]
    assert (finding.verdict, finding.badness) == ("wrong", 1)
    found, _, why = finding.found.partition("; ")
    assert found == "learning_rate × reg = 0.9, from 2 on weights diverge"
    assert why == "a short training learns with --reg 0 only"


@pytest.mark.parametrize("rate", [0.0, 1e-5, 5.0, 1e30, 1e300])
def test_a_rate_that_is_too_low_or_too_high_is_wrong_without_a_warning(rate: float) -> None:
    found = findings(digits_run(hidden_dim=8, learning_rate=rate, reg=0.0))["learning rate"]
    assert found.verdict == "wrong", found
    assert f"too {'low' if rate < 1 else 'high'}, try fnnet tune" in found.cure


def test_dead_units_are_counted_in_the_worst_layer() -> None:
    x = np.array([[1.0], [-1.0]])
    params = {
        "W1": np.array([[1.0, 1, 1, 1]]), "b1": np.array([0.0, 0, -2, 0]),
        "W2": np.ones((4, 2)), "b2": np.array([-9.0, 0]),
        "W3": np.ones((2, 2)), "b3": np.zeros(2),
    }  # fmt: skip
    assert dead_share(params, x) == 0.5
    assert dead_share({name: params[name] for name in ("W1", "b1")}, x) == 0


def test_the_range_test_reads_a_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    run = digits_run(hidden_dim=32)
    test = rate_test(run)
    assert 1e-1 < test.lowest < 10
    assert test.lowest / 100 <= run.config.learning_rate <= test.lowest
    assert STEPS >= len(test.losses) == len(test.smooth)
    middle = [sorted(test.losses[i - 3 : i + 4])[3] for i in range(3, len(test.losses) - 3)]
    assert test.smooth[3:-3] == middle
    assert rate_test(run) == test
    assert digits_run().config.learning_rate == 0.1


# Signs in a training.


def history(data: float, train: float, val: Array, steps: int = 40) -> History:
    losses, n = np.full(steps * len(val), data), len(val)
    return History(losses, np.full(n, train), val, losses, np.full(n, 1.0))


SIGNS = {
    "loss": history(2.4, 0.5, np.array([0.5])),
    "loss of thirty steps": history(2.4, 0.5, np.array([0.5]), steps=30),
    "loss of a quarter of an epoch": evolve(
        history(0.1, 0.5, np.array([0.5])), data_losses=np.repeat([0.1, 99, 0.1], [30, 2, 8])
    ),
    "loss of the last step": evolve(
        history(0.1, 0.5, np.full(10, 0.5), steps=4), data_losses=np.repeat([0.1, 3.0], [39, 1])
    ),
    "chance": history(2.0, 0.11, np.array([0.1, 0.1])),
    "gap": history(0.1, 0.9, np.array([0.5, 0.64, 0.6, 0.6, 0.6])),
}
WORDS = {"loss": "above that of a guess", "chance": "one class for all", "gap": "stopped rising"}
QUIET = [
    history(2.2, 0.5, np.array([0.5])),
    history(2.4, 0.5, np.array([0.5]), steps=29),  # a few steps prove nothing
    history(0.1, 0.75, np.full(5, 0.5)),  # not more than 25 % apart
    history(2.0, 0.11, np.array([0.1])),
    history(0.1, 1.0, np.array([0.95, 0.97, 0.97, 0.97, 0.97])),
    history(0.1, 0.9, np.array([0.5, 0.6, 0.62, 0.64, 0.6])),  # it was rising until now
    history(np.log(10), 0.5, np.array([0.5])),  # exactly that of a guess
    evolve(SIGNS["loss"], data_losses=np.repeat([9.0, 0.1], [30, 10])),  # it has become good
    evolve(SIGNS["loss"], data_losses=np.full(40, np.nan)),  # of an earlier version
]


@pytest.mark.parametrize("name", SIGNS)
def test_a_sign_is_read_from_the_history(name: str) -> None:
    run = digits_run(hidden_dim=8)
    (sign,) = signs(run, run.start().params, SIGNS[name])
    assert WORDS[name.partition(" ")[0]] in sign


@pytest.mark.parametrize("past", QUIET)
def test_no_sign_is_seen_in_a_good_history(past: History) -> None:
    run = digits_run(hidden_dim=8)
    assert signs(run, run.start().params, past) == []


@pytest.mark.parametrize(("train", "number"), [(0.51, 1), (0.52, 0)])
def test_the_accuracy_of_one_class_for_all_is_a_sign_up_to_a_percent_above(
    train: float, number: int
) -> None:
    run = one_feature(np.arange(20) % 2)
    found = signs(run, run.start().params, history(0.5, train, np.array([0.5, 0.5])))
    assert ["one class for all" in sign for sign in found] == [True] * number


def test_dead_layers_are_a_sign() -> None:
    run = shifted_init(digits_run(hidden_dim=8))
    (sign,) = signs(run, run.start().params, QUIET[0])
    assert "all units of a hidden layer are dead" in sign
