"""The checks that the programs print leave no gradient out, and a broken layer fails them."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fnnet import (
    GradientReport,
    Params,
    check_gradients,
    layers,
    make_train_step,
    models,
    sgd,
    softmax_loss,
)
from fnnet.commands import gradcheck
from fnnet.commands.gradcheck import away_from_kinks, check_classifiers, check_layers, show_reports
from fnnet.commands.stability import check_softmax_stability
from tests.programs import inside

Check = Callable[[int, float], dict[str, GradientReport]]
CHECKS: list[tuple[Check, float]] = [(check_layers, 1e-9), (check_classifiers, 1e-10)]


def test_no_check_is_empty() -> None:
    # The softmax of one class, for example, has no gradient that could be wrong.
    for seed in range(30):
        for name, report in (check_layers(seed, 1e-9) | check_classifiers(seed, 1e-10)).items():
            assert report.max_abs_diff > 0 or name == "relu", (seed, name)


@pytest.mark.parametrize("check", [check_layers, check_classifiers])
def test_a_tolerance_of_0_fails(check: Check) -> None:
    assert not all(report.passed for report in check(0, 0.0).values())


def test_right_layers_pass_with_any_seed() -> None:
    for seed in range(15):
        for check, tolerance in CHECKS:
            reports = check(seed, tolerance)
            assert [name for name, report in reports.items() if not report.passed] == []


@pytest.mark.parametrize("check", [check_layers, check_classifiers])
def test_a_check_repeats_itself_and_its_seed_matters(check: Check) -> None:
    texts = [{k: str(v) for k, v in check(seed, 1e-9).items()} for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("seed", range(20))
def test_classifiers_are_checked_at_small_numbers_away_from_kinks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    params, x = away_from_kinks(rng, models.two_layer_net(5, 40, 3), (5, 5))
    assert np.abs(x @ params["W1"] + params["b1"]).min() > 1e-3
    assert max(np.abs(p).max() for p in (x, *params.values())) < 1.5


Call = tuple[Callable[[Any], float], dict[str, Any]]


def calls_of(check: Check, monkeypatch: pytest.MonkeyPatch) -> list[list[Call]]:
    """Return the functions that a check differentiates with many seeds, and their arguments."""
    calls: list[list[Call]] = []

    def note(f: Any, args: Any, grads: Any, tolerance: float, h: Any = None) -> GradientReport:
        calls[-1].append((f, dict(args)))
        return GradientReport((), tolerance)

    monkeypatch.setattr(gradcheck, "check_gradients", note)
    for seed in range(60):
        calls.append([])
        check(seed, 1e-9)
    return calls


def test_layers_are_checked_at_inputs_of_all_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of(check_layers, monkeypatch)
    sizes = [{len(args["x"]) for [(_, args), *_] in calls}]
    sizes += [{args["w"].shape[axis] for [(_, args), *_] in calls} for axis in (0, 1)]
    assert sizes == [{1, 2, 3, 4, 5}, {1, 2, 3, 4, 5}, {2, 3, 4, 5}]
    kinked, scores = (
        np.concatenate([call[i][1][name].ravel() for call in calls])
        for i, name in ((1, "x"), (2, "scores"))
    )
    assert 0.01 <= np.abs(kinked).min() < 0.05  # more than a step away from the kink
    assert np.std(kinked) == pytest.approx(1, rel=0.1)
    assert np.std(scores) == pytest.approx(3, rel=0.1)
    for i, largest in ((0, 6.0), (1, 3.0)):  # a larger value has a larger rounding error
        values = [abs(f(args)) for f, args in (call[i] for call in calls)]
        assert max(values) < largest
    regs = [2 * f(a) * a["w"].size / np.sum(a["w"] ** 2) for f, a in (call[4] for call in calls)]
    assert 0.1 <= min(regs) < 0.5
    assert 1.5 < max(regs) <= 2


def test_classifiers_are_checked_at_inputs_of_all_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of(check_classifiers, monkeypatch)
    params = [args for *_, (_, args) in calls]
    inner = [{p["W1"].shape[axis] for p in params} for axis in (0, 1)]
    assert inner == [{1, 2, 3, 4, 5}] * 2
    assert {len(p["b2"]) for p in params} == {2, 3, 4}
    assert all(np.ptp(p["b2"]) > 0 for p in params)  # each element is drawn
    for i in (0, 2):  # a larger value has a larger rounding error
        assert max(abs(f(args)) for f, args in (call[i] for call in calls)) < 0.3


def test_right_classifiers_are_far_below_the_tolerance() -> None:
    worst = max(
        report.max_abs_diff for seed in range(12) for report in check_classifiers(seed, 1).values()
    )
    assert worst < 2e-11


@pytest.mark.parametrize("check", [check_layers, check_classifiers])
def test_a_negative_seed_is_refused(check: Check) -> None:
    with pytest.raises(ValueError, match=r"^seed must be at least 0, found -1$"):
        check(-1, 1e-9)


PROGRAMS: dict[str, tuple[Check, float]] = dict(zip(("layers", "classifier"), CHECKS, strict=True))


@pytest.mark.parametrize("what", PROGRAMS)
def test_a_program_prints_the_check_of_its_name(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check, tolerance = PROGRAMS[what]
    assert show_reports(check(0, tolerance), tolerance) == 0
    wanted = capsys.readouterr().out
    assert inside(tmp_path, "gradcheck", what).stdout == wanted
    monkeypatch.setattr("sys.argv", ["gradcheck"])
    assert gradcheck.main(what) == 0
    assert capsys.readouterr().out == wanted


@pytest.mark.parametrize("what", PROGRAMS)
def test_the_flags_reach_the_check_of_a_module(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(gradcheck, "show_module", lambda *args: told.append(args))
    flags = ["--module", "a.py", "--seed", "3", "--tolerance", "0.5"]
    assert inside(tmp_path, "gradcheck", what, *flags).returncode == 0
    assert inside(tmp_path, "gradcheck", what, "--json").returncode == 0
    tolerance = PROGRAMS[what][1]
    assert told == [
        (Path("a.py"), what, False, 3, 0.5), (None, what, True, 0, tolerance)
    ]  # fmt: skip


def test_every_layer_and_every_parameter_is_checked() -> None:
    layers = {k: {d.name for d in v.differences} for k, v in check_layers(0, 1e-9).items()}
    assert layers == {
        "fc": {"x", "w", "b"},
        "relu": {"x"},
        "softmax_loss": {"scores"},
        "l2_loss": {"pred"},
        "l2_regularization": {"w"},
    }
    one, two = {"W1", "b1"}, {"W1", "b1", "W2", "b2"}
    reports = check_classifiers(0, 1e-10)
    assert {k: {d.name for d in v.differences} for k, v in reports.items()} == {
        "linear_classifier": one,
        "train_step of linear_classifier": one,
        "two_layer_net": two,
        "train_step of two_layer_net": two,
    }


def test_the_softmax_loss_is_stable_where_the_naive_formula_is_not() -> None:
    cases = [*check_softmax_stability()]
    assert all(case.passed for case in cases)
    assert {float(f"{np.abs(case.scores).max():g}") for case in cases} == {1e3, 1e30}
    assert {case.scores.dtype for case in cases} == {np.dtype("f4"), np.dtype("f8")}
    for case in cases:
        scores = case.scores.astype(float)
        exact = math.log(2) + (scores.max() - scores[case.label])  # two share the largest score
        assert case.exact == pytest.approx(exact, rel=1e-15)
        assert case.loss == pytest.approx(exact, rel=1e-15)
    assert any(case.loss > 1e29 for case in cases)
    assert any(case.loss < 1 for case in cases)
    assert not all(math.isfinite(case.naive) for case in cases)
    for case in cases:
        with np.errstate(all="ignore"):  # an exp may be 0 or infinite, as in the textbook
            exp = np.exp(case.scores)
            naive = np.log(exp.sum()) - np.log(exp[case.label])
        assert np.isclose(case.naive, naive, equal_nan=True)


def test_the_stability_check_fails_a_loss_that_is_not_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [*check_softmax_stability()]
    done = inside(tmp_path, "stability")
    assert done.returncode == 0
    title, *rows, verdict = done.stdout.splitlines()
    assert len(rows) == len(cases)
    assert verdict.startswith("passed: ")
    assert title.split() == ["dtype", "scores", "label", "naive", "fnnet", "exact", "grad", "sum"]
    for row, case in zip(rows, cases, strict=True):
        scores, rest = re.fullmatch(r"(.*\[.*\]) (.*)", row).groups()  # type: ignore[union-attr]
        assert scores.rstrip().endswith(f"[{', '.join(f'{s:g}' for s in case.scores)}]")
        label, naive, loss, exact, total = map(float, rest.split())
        assert (label, loss, exact) == (case.label, case.loss, case.exact)
        assert np.isclose(naive, case.naive, rtol=1e-5, equal_nan=True)
        assert total == pytest.approx(case.gradient_sum)

    def rough(scores: Any, labels: Any) -> Any:
        value, grad = softmax_loss(scores, labels)
        return value if value > 1 else value * (1 + 1e-9), grad

    monkeypatch.setattr("fnnet.commands.stability.softmax_loss", rough)
    wrong = sum(case.loss <= 1 for case in cases)
    done = inside(tmp_path, "stability")
    assert done.returncode == 1
    assert f"FAILED: {wrong} cases" in done.stdout.splitlines()
    failed = [line for line in done.stdout.splitlines() if line.endswith("  FAILED")]
    assert len(failed) == wrong


def test_kinks_and_wrong_gradients_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    def report(x: list[float], grads: list[float]) -> GradientReport:
        args, found = {"x": np.array(x)}, {"x": np.array(grads)}
        return check_gradients(lambda a: float(np.maximum(a["x"], 0).sum()), args, found, 1e-9)

    right, kink, wrong = report([1.0], [1.0]), report([0.0], [0.0]), report([1.0], [2.0])
    for reports, code, last in (
        ({"a": right}, 0, ["passed: "]),
        ({"a": right, "b": kink}, 1, ["kink: b: "]),
        ({"a": kink, "b": wrong, "c": right}, 1, ["FAILED: b: ", "kink: a: "]),
        ({"a": kink, "b": wrong, "c": kink, "d": wrong}, 1, ["FAILED: b, d: ", "kink: a, c: "]),
    ):
        assert show_reports(reports, 1e-9) == code
        lines = capsys.readouterr().out.splitlines()[2 * len(reports) :]
        assert len(lines) == len(last)
        for line, words in zip(lines, last, strict=True):
            assert line.startswith(words)


FACTOR = 1.001


def scaled(results: Any, at: int) -> Any:
    """Return the results of a layer with one of them too large."""
    if not isinstance(results, tuple):
        return results * FACTOR
    return tuple(r * FACTOR if i == at else r for i, r in enumerate(results))


# Which of its results a function gets wrong. The network's first layer calls
# fc_backward_params, all others fc_backward: a mistake in a formula is in both.
BROKEN: dict[str, dict[str, int]] = {
    "y of fc": {"fc_forward": 0},
    "grad_x of fc": {"fc_backward": 0},
    "grad_w of fc": {"fc_backward": 1, "fc_backward_params": 0},
    "grad_b of fc": {"fc_backward": 2, "fc_backward_params": 1},
    "y of the ReLU": {"relu_forward": 0},
    "grad_x of the ReLU": {"relu_backward": 0},
}


@pytest.fixture(params=BROKEN)
def broken_layer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result of a layer is wrong by a tenth of a percent, wherever it is used."""
    for name, at in BROKEN[request.param].items():
        right = getattr(layers, name)

        def wrong(*args: Any, right: Any = right, at: int = at) -> Any:
            return scaled(right(*args), at)

        for module in (layers, models, gradcheck):
            monkeypatch.setattr(module, name, wrong, raising=False)


def trained() -> Params:
    """Return what three steps make of a two-layer net."""
    model, optimizer = models.two_layer_net(5, 4, 3), sgd(0.1, 0.9)
    rng = np.random.default_rng(0)
    params = model.init(rng)
    state = optimizer.init(params)
    for _ in range(3):
        batch = rng.standard_normal((6, 5)), np.arange(6) % 3
        _, grads = make_train_step(model)(params, batch, 0.1)
        params, state = optimizer.update(params, state, grads)
    return params


TRAINED = trained()


@pytest.mark.usefixtures("broken_layer")
def test_a_broken_layer_fails_both_checks_and_training_ends_elsewhere(tmp_path: Path) -> None:
    for what in ("layers", "classifier"):
        assert inside(tmp_path, "gradcheck", what).returncode == 1
    for check, tolerance in CHECKS:
        assert not all(report.passed for report in check(0, tolerance).values())
    assert trained() != TRAINED
