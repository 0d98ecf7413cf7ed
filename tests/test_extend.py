"""The page extend.md, run as it stands: its optimizer, layer, model and loss, and their files."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from fnnet import (
    CheckpointError,
    Params,
    check_gradients,
    load_checkpoint,
    load_state,
    mlp,
    predict,
    save_checkpoint,
    use_threads,
)
from fnnet.commands import show, test, train
from fnnet.runs.state import flatten
from fnnet.training import fold
from tests.helpers import assert_pure, inner, same
from tests.test_readme import ROOT, blocks

PAGE = ROOT / ".github" / "extend.md"
Names = dict[str, Any]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Names:
    """The names that the page defines, and `folder`, where its files are."""
    folder = tmp_path_factory.mktemp("extend")
    names: Names = {"folder": folder}
    # Two threads would wait for each other on a busy machine, and another number rounds elsewhere.
    with contextlib.chdir(folder), use_threads(1):
        for block in blocks(PAGE, "python"):
            exec(compile(block, PAGE.name, "exec"), names)
    return names


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with use_threads(1):
        yield


def test_each_block_has_at_most_14_lines_of_code() -> None:
    for block in blocks(PAGE, "python"):
        lines = [line for line in block.splitlines() if line.strip()]
        assert len(lines) <= 14, lines[0]


def test_the_tanh_pair_has_the_right_gradient(page: Names) -> None:
    rng = np.random.default_rng(0)
    x, grad_y = rng.standard_normal((2, 4, 3))
    y, cache = page["tanh_forward"](x)
    grad_x = page["tanh_backward"](grad_y, cache)
    report = check_gradients(
        lambda args: inner(grad_y, page["tanh_forward"](args["x"])[0]),
        {"x": x},
        {"x": grad_x},
        1e-9,
    )
    assert report.passed, report
    assert_pure(lambda x: page["tanh_forward"](x)[0], x)
    assert_pure(page["tanh_backward"], grad_y, y)


@pytest.mark.parametrize("reg", [0.0, 0.3])
def test_the_gradient_of_the_whole_model_is_right(page: Names, reg: float) -> None:
    rng = np.random.default_rng(1)
    params = page["model"].init(rng)
    params = {name: p + rng.standard_normal(p.shape) / 4 for name, p in params.items()}
    batch = rng.standard_normal((6, 64)), np.array([0, 9, 3, 3, 1, 5])
    _, grads = page["train_step"](params, batch, reg)
    report = check_gradients(
        lambda p: page["train_step"](p, batch, reg)[0], params, grads, tolerance=1e-9
    )
    assert report.passed, report


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0])
def test_the_smoothed_loss_is_the_cross_entropy_with_the_smoothed_labels(
    page: Names, epsilon: float
) -> None:
    rng = np.random.default_rng(2)
    scores, labels = 3 * rng.standard_normal((7, 5)), rng.integers(5, size=7)
    loss, grad_scores = page["smoothed_loss"](scores, labels, epsilon)
    target = (1 - epsilon) * np.eye(5)[labels] + epsilon / 5
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert loss == pytest.approx(-(target * np.log(p)).sum() / 7, rel=1e-12)
    assert np.allclose(grad_scores, (p - target) / 7, atol=1e-15)
    report = check_gradients(
        lambda args: page["smoothed_loss"](args["scores"], labels, epsilon)[0],
        {"scores": scores}, {"scores": grad_scores}, 1e-9,
    )  # fmt: skip
    assert report.passed, report


def test_adam_is_that_of_the_paper(page: Names) -> None:
    """Compared with algorithm 1, written with loops over numbers in extended precision."""
    rng = np.random.default_rng(3)
    optimizer = page["adam"](0.01, 0.8, 0.95, 1e-6)
    params = Params({"W1": rng.standard_normal((2, 3)), "b1": rng.standard_normal(3)})
    state = optimizer.init(params)
    theta: dict[str, Any] = {n: p.astype(np.longdouble) for n, p in params.items()}
    m: dict[str, Any] = {n: 0 * p for n, p in theta.items()}
    v: dict[str, Any] = {n: 0 * p for n, p in theta.items()}
    for t in range(1, 8):
        grads: dict[str, Any] = {n: rng.standard_normal(p.shape) for n, p in params.items()}
        params, state = optimizer.update(params, state, grads)
        for n, g in grads.items():
            for i in np.ndindex(g.shape):
                m[n][i] = 0.8 * m[n][i] + 0.2 * g[i]
                v[n][i] = 0.95 * v[n][i] + 0.05 * g[i] ** 2
                m_hat, v_hat = m[n][i] / (1 - 0.8**t), v[n][i] / (1 - 0.95**t)
                theta[n][i] -= 0.01 * m_hat / (np.sqrt(v_hat) + 1e-6)
        assert state["step"] == t
        assert all(np.allclose(params[n], theta[n].astype(float), rtol=1e-13) for n in theta)


def test_the_first_step_of_adam_has_the_length_of_the_learning_rate(page: Names) -> None:
    """Without the bias correction it would be 0.1 / sqrt(0.001) = 3.16 times as long."""
    optimizer = page["adam"](0.01)
    params = {"W1": np.zeros(3)}
    grads = {"W1": np.array([1e-3, -7.0, 100.0])}
    new, _ = optimizer.update(params, optimizer.init(params), grads)
    assert np.allclose(new["W1"], [-0.01, 0.01, -0.01], rtol=1e-4)


def test_adam_keeps_the_dtype_and_mutates_nothing(page: Names) -> None:
    params = mlp((3, 2), np.float32).init(np.random.default_rng(0))
    optimizer = page["adam"](0.01)
    state = optimizer.init(params)
    first = optimizer.update(params, state, params)
    assert {p.dtype for p in first[0].values()} == {np.dtype(np.float32)}
    assert same(first, optimizer.update(params, state, params))


def test_a_resumed_model_of_your_own_has_the_bits_of_one_that_never_stopped(page: Names) -> None:
    *_, whole = fold(page["step"], page["start"], page["batches"](range(10)))
    resumed = page["resumed"]
    assert load_state(page["folder"] / "own.npz", page["start"]).step == 5 * 12
    assert same(flatten(resumed), flatten(whole))
    x = page["val"].images.reshape(-1, 64) / 16
    assert np.mean(predict(page["model"], resumed.params, x) == page["val"].labels) > 0.9


def test_a_resumed_run_with_adam_has_the_bits_of_one_that_never_stopped(page: Names) -> None:
    *_, (state, history) = page["adam_run"](num_epochs=6).epochs()
    assert same(flatten(page["state"]), flatten(state))
    assert page["history"] == history
    assert history.val_accuracy[-1] > 0.9


def test_a_checkpoint_keeps_the_state_of_adam(page: Names) -> None:
    saved = load_checkpoint(page["folder"] / "adam.npz")
    optimizer = page["adam"](0.003)
    state = saved.state(optimizer)
    assert state.step == state.opt_state["step"] == 3 * 38
    assert same(flatten(state.opt_state), dict(saved.opt_state))
    assert np.abs(state.opt_state["v"]["W1"]).max() > 0
    for momentum in (0.0, 0.9):
        config = evolve(saved.config, momentum=momentum)
        with pytest.raises(CheckpointError, match="cannot resume"):
            evolve(saved, config=config).state()


def test_a_single_number_of_an_optimizer_may_be_infinite(page: Names, tmp_path: Path) -> None:
    """Such as the best loss so far, before the first step; an array must be finite."""
    saved = load_checkpoint(page["folder"] / "adam.npz")
    path = tmp_path / "best.npz"
    save_checkpoint(path, evolve(saved, opt_state=flatten({"best": np.inf})))
    assert load_checkpoint(path).opt_state["best"] == np.inf
    with pytest.raises(CheckpointError, match="m must be finite"):
        save_checkpoint(path, evolve(saved, opt_state=flatten({"m": np.array([np.inf])})))


def test_the_programs_read_a_checkpoint_of_adam_and_do_not_resume_it(
    page: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(page["folder"] / "adam.npz", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fnnet", "--checkpoint-file", "adam.npz"])
    test.main()
    monkeypatch.setattr(sys, "argv", ["fnnet", "adam.npz"])
    show.main()
    monkeypatch.setattr(sys, "argv", ["fnnet", "--resume", "adam.npz", "--num-epochs", "9"])
    with pytest.raises(CheckpointError, match="cannot resume: the checkpoint holds m/W1"):
        train.main()
