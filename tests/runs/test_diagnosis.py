"""Ten broken set-ups are named, sound ones are not accused, and signs show in a training."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from fnnet import Dataset, History, Standardization, default_config, load_digits
from fnnet.checks import Array
from fnnet.runs.data_checks import Finding
from fnnet.runs.diagnosis import dead_units, diagnose, signs
from fnnet.runs.parts import split_parts
from fnnet.runs.rates import RATES, rate_test, read_rates
from fnnet.runs.run import Run, assemble
from fnnet.values import Params

DIGITS = load_digits()
FEATURES = DIGITS.images.reshape(len(DIGITS), -1) / 16


def digits_run(data: Dataset = DIGITS, preset: str = "digits", **changes: Any) -> Run:
    """Return a run on some data as the command line would prepare it."""
    dataset = "digits" if data is DIGITS else "own.npz"
    config = default_config(preset, dataset=dataset, **changes)
    return assemble(config, *split_parts(config, data))


def findings(run: Run) -> dict[str, Finding]:
    return {finding.check: finding for finding in diagnose(run, rate_test(run))}


def wrong(run: Run) -> set[str]:
    return {f.check for f in findings(run).values() if f.verdict == "wrong"}


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


def with_outlier() -> Array:
    features = FEATURES.copy()
    features[::300] = -1e6  # a code for missing values
    return features


def same_pixels() -> Array:
    images = DIGITS.images.copy()
    images[:, 2:] = 7
    return images


def copied_within_training() -> Run:
    run = digits_run()
    half = np.arange(len(run.train)) // 2
    train = of(run.train.images[half], run.train.labels[half])
    return assemble(run.config, train, run.val)


def leaked() -> Run:
    run = digits_run()
    val = of(run.train.images[::10], run.train.labels[::10])
    return assemble(run.config, run.train, val)


SHUFFLED = np.random.default_rng(0).permutation(DIGITS.labels)
BROKEN = {
    "rate too high": (partial(digits_run, learning_rate=5.0), "learning rate", "too high"),
    "rate too low": (partial(digits_run, learning_rate=1e-5), "learning rate", "too low"),
    "reg too high": (partial(digits_run, reg=3.0), "regularization", "lower --reg"),
    "labels shuffled": (partial(digits_run, of(DIGITS.images, SHUFFLED)), "labels", "shuffled"),
    "inputs not scaled": (lambda: unscaled(digits_run()), "scale of inputs", "standardize"),
    "outliers": (partial(digits_run, of(with_outlier())), "outliers", "huge values"),
    "units dead": (lambda: shifted_init(digits_run()), "dead units", "first weights"),
    "one class": (partial(digits_run, of(FEATURES, 0 * SHUFFLED)), "classes", "two classes"),
    "features constant": (partial(digits_run, of(same_pixels())), "constant inputs", "remove"),
    "leak": (leaked, "leak", "remove copies"),
    "copies": (copied_within_training, "duplicates", "remove copies"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_set_up_is_named_with_its_cure(name: str) -> None:
    make, check, cure = BROKEN[name]
    found = findings(make())
    assert found[check].verdict == "wrong", {k: str(v) for k, v in found.items()}
    assert cure in found[check].cure
    assert str(found[check]).startswith(f"wrong  {check}: ")
    print("\n".join(map(str, found.values())))
