"""Check the gradients of the layers, or of the classifiers, against central differences."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import tyro

from fnnet.checks import Array, as_integer
from fnnet.commands.submission import show_module
from fnnet.gradcheck import GradientReport, check_gradients
from fnnet.layers import fc_backward, fc_forward, relu_backward, relu_forward
from fnnet.losses import l2_loss, l2_regularization, softmax_loss
from fnnet.models import Loss, Model, linear_classifier, two_layer_net
from fnnet.training import Batch, TrainStep, make_train_step
from fnnet.values import ParamsLike

Arrays = Mapping[str, Array]


def check_layers(seed: int, tolerance: float) -> dict[str, GradientReport]:
    """Check the gradients of every layer and loss on random float64 inputs.

    A layer is followed by a random linear function of its output, scaled so that
    its value, and with it the rounding error of the numeric gradient, stays small.

    Returns:
        a report for each layer.
    """
    rng = np.random.default_rng(as_integer("seed", seed, low=0))
    n, d = rng.integers(1, 6, size=2).tolist()
    h = int(rng.integers(2, 6))
    labels = rng.integers(h, size=n)
    reg = rng.uniform(0.1, 2)
    grad_y = rng.standard_normal((n, h)) / (n * h)

    x, w, b = (rng.standard_normal(shape) for shape in ((n, d), (d, h), (h,)))
    target = rng.standard_normal((n, d))
    scores = 3 * rng.standard_normal((n, h))
    # The ReLU has a kink at 0: stay more than a step away from it.
    kinked = rng.standard_normal((n, h))
    kinked += np.copysign(0.01, kinked)

    grad_x, grad_w, grad_b = fc_backward(grad_y, fc_forward(x, w, b)[1])

    def fc(a: Arrays) -> float:
        return float(np.sum(grad_y * fc_forward(a["x"], a["w"], a["b"])[0]))

    def relu(a: Arrays) -> float:
        return float(np.sum(grad_y * relu_forward(a["x"])[0]))

    def check_loss(name: str, loss: Loss, at: Array) -> GradientReport:
        return check_gradients(
            lambda a: loss(a[name])[0], {name: at}, {name: loss(at)[1]}, tolerance
        )

    return {
        "fc": check_gradients(
            fc, {"x": x, "w": w, "b": b}, {"x": grad_x, "w": grad_w, "b": grad_b}, tolerance
        ),
        "relu": check_gradients(
            relu, {"x": kinked}, {"x": relu_backward(grad_y, relu_forward(kinked)[1])}, tolerance
        ),
        "softmax_loss": check_loss("scores", partial(softmax_loss, labels=labels), scores),
        "l2_loss": check_loss("pred", partial(l2_loss, target=target), x),
        # Divided by the number of weights: the rounding error grows with the loss.
        "l2_regularization": check_loss("w", partial(l2_regularization, reg=reg / w.size), w),
    }


def check_classifiers(seed: int, tolerance: float) -> dict[str, GradientReport]:
    """Check every parameter's gradient of both classifiers, alone and in a whole train_step.

    ``model.grad`` is checked with a random linear loss of the scores, and
    ``train_step`` with its own: softmax plus regularization.

    Returns:
        a report for each check.
    """
    rng = np.random.default_rng(as_integer("seed", seed, low=0))
    n, d, h = rng.integers(1, 6, size=3).tolist()
    c = int(rng.integers(2, 5))
    models = {
        "linear_classifier": linear_classifier(d, c),
        "two_layer_net": two_layer_net(d, h, c),
    }
    labels = rng.integers(c, size=n)
    reg = rng.uniform(0.1, 1)
    grad_scores = rng.standard_normal((n, c)) / (n * c)

    def linear_loss(scores: Array) -> tuple[float, Array]:
        return float(np.sum(grad_scores * scores)), grad_scores

    reports = {}
    for name, model in models.items():
        params, x = away_from_kinks(rng, model, (n, d))
        batch = x, labels
        train_step = make_train_step(model)

        def model_loss(p: ParamsLike, model: Model = model, x: Array = x) -> float:
            return model.grad(p, x, linear_loss)[0]

        def step_loss(p: ParamsLike, step: TrainStep = train_step, batch: Batch = batch) -> float:
            return step(p, batch, reg)[0]

        # Small numbers make the losses nearly linear in each parameter: the step can
        # then be larger than the default, and the rounding error smaller.
        check = partial(check_gradients, args=params, tolerance=tolerance, h=2e-5)
        reports[name] = check(model_loss, grads=model.grad(params, x, linear_loss)[1])
        reports[f"train_step of {name}"] = check(step_loss, grads=train_step(params, batch, reg)[1])
    return reports


def away_from_kinks(
    rng: np.random.Generator, model: Model, shape: tuple[int, int]
) -> tuple[dict[str, Array], Array]:
    """Draw small random params and inputs for which no ReLU is within 1e-3 of its kink."""
    while True:
        params = {
            name: 0.2 * p + 0.1 * rng.standard_normal(p.shape)
            for name, p in model.init(rng).items()
        }
        x = 0.2 * rng.standard_normal(shape)
        if len(params) == 2 or np.abs(fc_forward(x, params["W1"], params["b1"])[0]).min() > 1e-3:
            return params, x


def show_reports(reports: Mapping[str, GradientReport], tolerance: float) -> int:
    """Print gradient reports and the verdict; return 0 if all passed, else 1."""
    for name, report in reports.items():
        print(f"{name}\n{report}")
    verdicts = {name: {d.verdict for d in report.differences} for name, report in reports.items()}
    failed = ", ".join(name for name, found in verdicts.items() if "FAILED" in found)
    kinks = ", ".join(name for name, found in verdicts.items() if "kink" in found)
    if failed:
        print(f"FAILED: {failed}: a difference is not below {tolerance:g}")
    if kinks:
        print(f"kink: {kinks}: a slope jumps where it was checked: try another seed")
    if failed or kinks:
        return 1
    worst = max(report.max_abs_diff for report in reports.values())
    print(f"passed: the largest difference, {worst:.2e}, is below {tolerance:g}")
    return 0


def layers(
    seed: int = 0, tolerance: float = 1e-9, module: Path | None = None, json: bool = False
) -> int:
    """Check the gradients of every layer and loss against central differences.

    A module is checked in a process of its own, with limits on time (60 s), memory (2 GB) and
    output (1 MB), not on files and network: use a container for the files of strangers.

    Args:
        seed: of the random inputs.
        tolerance: every absolute difference must be below it.
        module: Python file with layers of your own, such as fc_forward and fc_backward; they
            are checked instead of those of fnnet.
        json: print the report on the module as JSON.
    """
    if module is not None or json:
        return show_module(module, "layers", json, seed, tolerance)
    return show_reports(check_layers(seed, tolerance), tolerance)


def classifier(
    seed: int = 0, tolerance: float = 1e-10, module: Path | None = None, json: bool = False
) -> int:
    """Check both classifiers and the whole train_step against central differences.

    A module is checked in a process of its own, with limits on time (60 s), memory (2 GB) and
    output (1 MB), not on files and network: use a container for the files of strangers.

    Args:
        seed: of the random inputs.
        tolerance: every absolute difference must be below it.
        module: Python file with layers of your own, or a class with parameters, forward and
            backward; a two-layer net of them is checked instead of the classifiers of fnnet.
        json: print the report on the module as JSON.
    """
    if module is not None or json:
        return show_module(module, "classifier", json, seed, tolerance)
    return show_reports(check_classifiers(seed, tolerance), tolerance)


CHECKS: dict[str, Callable[..., int]] = {"layers": layers, "classifier": classifier}


def main(*words: str) -> int:
    """Check the layers, or the classifiers, as `words` or the command line says."""
    if words:
        return tyro.cli(CHECKS[words[0]])
    code: int = tyro.extras.subcommand_cli_from_dict(CHECKS)
    return code
