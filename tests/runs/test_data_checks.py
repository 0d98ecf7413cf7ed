"""The verdict of each check of the data changes where its docstring says."""

import numpy as np
import pytest

from fnnet import Dataset, Standardization, default_config
from fnnet.checks import Array
from fnnet.runs.data_checks import (
    Finding,
    check_classes,
    check_copies,
    check_inputs,
    check_labels,
)
from fnnet.runs.run import Run, assemble

CONFIG = default_config(dataset="own.npz", hidden_dim=0, dtype="float64")


def run_of(x: Array, labels: Array | None = None, val: Array | None = None) -> Run:
    """Return a run on features as they are, not standardized."""
    n, d = x.shape
    train = Dataset(x, np.arange(n) % 2 if labels is None else labels, ("a", "b"))
    val = x[:2] + 0.5 if val is None else val
    held_out = Dataset(val, np.arange(len(val)) % 2, ("a", "b"))
    identity = Standardization(np.zeros(d), np.ones(d), of_features=True)
    return assemble(CONFIG, train, held_out, identity)


def inputs(x: Array) -> dict[str, str]:
    return {finding.check: finding.verdict for finding in check_inputs(run_of(x))}


@pytest.mark.parametrize(
    ("badness", "line"),
    [
        (0.9, "ok     leak: 3 of 9"),
        (1.0, "look   leak: 3 of 9: remove copies"),
        (2.0, "wrong  leak: 3 of 9: remove copies"),
        (np.nan, "wrong  leak: 3 of 9: remove copies"),
    ],
)
def test_a_finding_is_printed_with_its_cure_unless_it_is_ok(badness: float, line: str) -> None:
    assert str(Finding("leak", "3 of 9", "remove copies", badness, 1, 2)) == line


@pytest.mark.parametrize(
    ("of_a", "of_b", "verdict"),
    [(27, 3, "ok"), (30, 3, "look"), (19, 1, "look"), (8, 1, "ok"), (9, 0, "wrong")],
)
def test_no_class_has_ten_times_the_examples_of_another(of_a: int, of_b: int, verdict: str) -> None:
    labels = np.repeat([0, 1], [of_a, of_b])
    finding = check_classes(run_of(np.arange(float(len(labels)))[:, None], labels))
    assert (finding.check, finding.verdict) == ("classes", verdict)
    assert finding.found == f"{of_b} (b) to {of_a} (a) examples each"
    assert finding.cure.startswith("more examples of b: ")


@pytest.mark.parametrize(
    ("constant", "verdict"), [(0, "ok"), (2, "ok"), (3, "look"), (4, "look"), (5, "wrong")]
)
def test_features_that_never_change_are_counted_each_on_its_own(
    constant: int, verdict: str
) -> None:
    x = np.random.default_rng(0).standard_normal((20, 10))
    x[:, :constant] = np.arange(constant)  # each has its own value
    assert inputs(x)["constant inputs"] == verdict


@pytest.mark.parametrize(
    ("width", "features", "verdict"),
    [(0.0, 10, "ok"), (0.02, 10, "ok"), (0.019, 1, "wrong"), (0.019, 0, "ok")],
)
def test_less_than_2_hundredths_between_the_percentiles_is_an_outlier(
    width: float, features: int, verdict: str
) -> None:
    x = np.random.default_rng(0).standard_normal((100, 10))
    x[:, :features] = width * (np.arange(100) % 2)[:, None]
    assert inputs(x)["outliers"] == verdict


def test_an_outlier_in_less_than_a_tenth_of_the_inputs_is_worth_a_look() -> None:
    x = np.random.default_rng(0).standard_normal((100, 11))
    x[:, 0] = 0.01 * (np.arange(100) % 2)
    assert inputs(x)["outliers"] == "look"


@pytest.mark.parametrize(
    ("size", "verdict"),
    [
        (1e-30, "wrong"), (0.0099, "wrong"), (0.0101, "look"), (0.0249, "look"), (0.0251, "ok"),
        (1.0, "ok"), (1.99, "ok"), (2.01, "look"), (4.99, "look"), (5.01, "wrong"),
    ],
)  # fmt: skip
def test_inputs_far_from_size_1_are_found_on_both_sides(size: float, verdict: str) -> None:
    x = size * np.where(np.arange(60).reshape(20, 3) % 2, 1.0, -1.0)
    assert inputs(x)["scale of inputs"] == verdict


@pytest.mark.parametrize(("row", "verdict"), [(11, "wrong"), (12, "ok")])
def test_of_large_inputs_as_many_are_looked_at_as_fit_into_memory(
    monkeypatch: pytest.MonkeyPatch, row: int, verdict: str
) -> None:
    monkeypatch.setattr("fnnet.runs.data_checks.MOST", 51)  # 10 examples of 5 numbers, and two
    x = np.ones((20, 5))
    x[row] = 1e6
    assert inputs(x)["scale of inputs"] == verdict


@pytest.mark.parametrize(
    ("size", "leaks", "verdict"),
    [(10, 0, "ok"), (10, 1, "look"), (10, 2, "look"), (10, 3, "wrong"),
     (100, 3, "look"), (100, 4, "look"), (100, 5, "wrong")],
)  # fmt: skip
def test_a_leak_is_wrong_from_a_twentieth_and_from_three_examples_on(
    size: int, leaks: int, verdict: str
) -> None:
    x, val = np.arange(20.0)[:, None], 0.5 + np.arange(float(size))[:, None]
    val[:leaks] = x[:leaks]
    duplicates, leak = check_copies(run_of(x, val=val))
    assert (duplicates.check, duplicates.verdict) == ("duplicates", "ok")
    assert (leak.check, leak.verdict) == ("leak", verdict)
    assert leak.found.startswith(f"{leaks} of {size} validation examples")


@pytest.mark.parametrize(
    ("copies", "verdict"), [(0, "ok"), (1, "look"), (4, "look"), (5, "wrong"), (99, "wrong")]
)
def test_copies_are_wrong_from_a_twentieth_of_the_training_examples_on(
    copies: int, verdict: str
) -> None:
    x = np.arange(100.0)[:, None]
    x[: copies + 1] = 0
    duplicates, leak = check_copies(run_of(x))
    assert (duplicates.check, duplicates.verdict) == ("duplicates", verdict)
    assert duplicates.found == f"{copies} of 100 training examples are copies of others"
    assert (leak.check, leak.verdict) == ("leak", "ok")


def test_the_cures_of_bad_data_name_what_to_change() -> None:
    run = run_of(np.ones((20, 2)))
    findings = [*check_copies(run), *check_inputs(run), check_labels(run)]
    words = ["copies", "copies", "--dataset", "logarithms", "--preprocessing standardize", "order"]
    assert [w in f.cure for w, f in zip(words, findings, strict=True)] == [True] * 6


def test_the_length_of_an_example_counts_when_the_nearest_is_looked_for() -> None:
    # Each x of the second half is nearest to one of its own label, and between the means.
    known, others = np.array([[0.0], [1.0], [10.0], [11.0]]), np.array([[4.0], [6.9]])
    x = np.concatenate([np.tile(known, (2, 1)), np.tile(others, (4, 1))])
    labels = np.concatenate([np.tile([0, 0, 1, 1], 2), np.tile([0, 1], 4)])
    assert check_labels(run_of(x, labels)).found.startswith("100% are guessed")


@pytest.mark.parametrize(
    ("half", "right", "verdict"),
    [(100, 66, "ok"), (100, 64, "look"), (100, 61, "look"), (100, 59, "wrong"),
     (98, 59, "look"), (98, 49, "look"), (98, 10, "look"), (98, 97, "ok")],
)  # fmt: skip
def test_labels_are_guessed_better_than_by_chance_by_standard_deviations(
    half: int, right: int, verdict: str
) -> None:
    known = np.arange(half) % 2
    others = np.where(np.arange(half) < right, known, 1 - known)  # the rest has wrong labels
    x = np.tile(known, 2)[:, None] - 0.5
    finding = check_labels(run_of(x, np.concatenate([known, others])))
    assert (finding.check, finding.verdict) == ("labels", verdict)
    # By chance half of the guesses are right, with a standard deviation of sqrt(1/4 n).
    deviations = (right / half - 0.5) / np.sqrt(0.25 / half)
    assert finding.badness == pytest.approx(-deviations)
    assert finding.found.startswith(f"{right / half:.0%} are guessed")
