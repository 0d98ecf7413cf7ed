"""Files of students: right ones pass, wrong ones are refused with why, hostile ones end."""

import json
import sys
import types
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fnnet import fc_backward, relu_backward
from fnnet.commands import gradcheck, stability
from fnnet.submissions import layers
from fnnet.submissions.checks import Check
from fnnet.submissions.classifiers import check_class, classes_in
from fnnet.submissions.layers import (
    FNNET,
    LAYERS,
    RESULTS,
    check_function,
    check_softmax,
    draw,
    with_network,
)
from fnnet.submissions.process import check_file, checks_of, read_report
from tests.programs import call, inside
from tests.submissions import NETS, RIGHT, WRONG, WRONG_NETS

TOLERANCE = 1e-9
# Where the gradient is exp(x - log-sum-exp), two scores of 1e30 are both likely to 100 %.
UNSTABLE = ("softmax with log-sum-exp", "softmax with logaddexp")
STABLE = [title for title in RIGHT if title.startswith("softmax") and title not in UNSTABLE]


@pytest.fixture(autouse=True)
def drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Central differences take most of the time, and are the same for every file."""
    monkeypatch.setattr(layers, "draw", cached_draw)


cached_draw = cache(draw)


def names_in(code: str) -> dict[str, Any]:
    """Return the names that a file defines."""
    module = sys.modules["submission"] = types.ModuleType("submission")
    exec(compile(code, "/home/me/my_layers.py", "exec"), module.__dict__)
    return module.__dict__


def check_all(code: str, seed: int) -> list[Check]:
    names = names_in(code)
    return [
        check_function(name, names, seed, TOLERANCE) for name in LAYERS if callable(names.get(name))
    ]


def test_the_corpora_are_large() -> None:
    assert len(RIGHT) >= 30
    assert len(WRONG) >= 30
    assert {title.partition(":")[0] for title in WRONG} == {*LAYERS}


@pytest.mark.parametrize("title", RIGHT)
def test_right_layers_pass(title: str) -> None:
    for seed in range(2):
        for check in check_all(RIGHT[title], seed):
            assert check.passed, (title, seed, check)
            assert len(check.messages) == len(RESULTS[check.name])


@pytest.mark.parametrize("title", WRONG)
def test_wrong_layers_are_refused_with_what_is_wrong(title: str) -> None:
    name, _, remark = title.partition(": ")
    for seed in range(2):
        checks = {check.name: check for check in check_all(WRONG[title], seed)}
        assert not checks[name].passed
        assert any(message.startswith(remark) for message in checks[name].messages), checks[name]
        # A remark on another result would send the student to the wrong line.
        remarks = [m for m in checks[name].messages if m.startswith(f"{remark.split(':')[0]}: ")]
        assert len(remarks) <= 1


def test_the_layers_of_the_package_pass() -> None:
    for name in RESULTS:
        assert check_function(name, FNNET, 0, 1e-10 if name == "two_layer_net" else 1e-9).passed
    assert check_softmax(FNNET).passed


def test_a_tolerance_of_0_fails() -> None:
    assert not any(check_function(name, FNNET, 0, 0.0).passed for name in RESULTS)


def test_a_check_repeats_itself_and_its_seed_matters() -> None:
    checks = [check_function("fc_backward", FNNET, seed, TOLERANCE) for seed in (0, 0, 1)]
    assert checks[0] == checks[1] != checks[2]


@pytest.mark.parametrize("factor", [1 + 1e-5, 1 - 1e-5, 0.999, 1.1, 3.0, -0.3])
def test_a_factor_of_any_size_is_noticed(factor: float) -> None:
    for name in RESULTS:
        for at in range(len(RESULTS[name])):
            wrong = {**FNNET, name: partial(scaled, FNNET[name], factor, at, RESULTS[name])}
            check = check_function(name, wrong, 0, TOLERANCE)
            assert not check.passed, (name, at)
            lines = [line for line in check.messages if "FAILED" in line]
            assert all(line.startswith(RESULTS[name][at]) for line in lines)


def scaled(function: Any, factor: float, at: int, results: list[str], *args: Any) -> Any:
    """Return the results of a function with one of them multiplied; a cache stays as it is."""
    found = function(*args)
    if not isinstance(found, tuple):
        return found * factor
    return tuple(part * factor if i == at else part for i, part in enumerate(found))


def test_one_wrong_element_is_found_with_its_index() -> None:
    def wrong(grad_out: Any, cache: Any) -> Any:
        grad_x, grad_w, grad_b = fc_backward(grad_out, cache)
        grad_w[-1, 0] += 0.5
        return grad_x, grad_w, grad_b

    check = check_function("fc_backward", {**FNNET, "fc_backward": wrong}, 0, TOLERANCE)
    (line,) = (line for line in check.messages if "FAILED" in line)
    case = draw("fc_backward", 0)[0]
    index = [len(case.args["w"]) - 1, 0]
    right = case.right["grad_w"][*index]
    assert line.startswith(f"grad_w       5.00e-01  FAILED  worst at {index}: ")
    found, numeric = map(float, line.partition(": ")[2].split(", numeric "))
    assert found == pytest.approx(right + 0.5)
    assert numeric == pytest.approx(right)


def nothing(*args: Any) -> None:
    pass


def asserts(grad_out: Any, cache: Any) -> None:
    raise AssertionError


def nan(grad_out: Any, cache: Any) -> Any:
    return relu_backward(grad_out, cache) * np.nan


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("relu_backward", asserts, "AssertionError in test_submissions.py, line "),
        ("relu_backward", nan, "grad_x       inf  FAILED  worst at [0, 0]: +nan"),
        ("relu_backward", nothing, "grad_x must be floating, found NoneType"),
        ("relu_forward", nothing, "the forward pass must return (out, cache)"),
        ("l2_loss", lambda p, t: (1, p), "loss must be floating, found int"),
        ("l2_loss", lambda p, t: (0.0, [1.0]), "grad_pred must be floating, found list"),
        ("l2_loss", lambda p: (0.0, p), "TypeError: "),
        ("l2_loss", lambda p, t: sys.exit("bye"), "SystemExit: bye in test_submissions.py, line "),
        (
            "fc_backward",
            lambda g, c: (g, g),
            "must return (grad_x, grad_w, grad_b), found tuple of 2",
        ),
    ],
)
def test_what_is_not_a_result_is_named(name: str, wrong: Any, message: str) -> None:
    check = check_function(name, {**FNNET, name: wrong}, 0, TOLERANCE)
    assert not check.passed
    assert any(line.startswith(message) for line in check.messages), check


def test_an_error_is_shown_with_the_line_of_the_file() -> None:
    code = "import numpy as np\ndef l2_loss(pred, target):\n    return np.zeros(3) @ np.zeros(4)\n"
    (check,) = check_all(code, 0)
    (message,) = check.messages
    assert message.startswith("ValueError: matmul")
    assert " in my_layers.py, line 3" in message


def test_a_backward_pass_without_its_forward_pass_fails() -> None:
    check = check_function("fc_backward", {"fc_backward": fc_backward}, 0, TOLERANCE)
    assert check.messages == ("the forward pass is missing: it makes the cache",)


@pytest.mark.parametrize("title", STABLE)
def test_stable_losses_pass_on_extreme_scores(title: str) -> None:
    assert check_softmax(names_in(RIGHT[title])).passed


CLIPPED = """
import numpy as np
def softmax_loss(x, y):
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(x)), y] + {}).mean()
    p[np.arange(len(x)), y] -= 1
    return loss, p / len(x)
"""


@pytest.mark.parametrize("added", ["0", "1e-12"])
def test_a_logarithm_of_0_fails_on_extreme_scores(added: str) -> None:
    check = check_softmax(names_in(CLIPPED.format(added)))
    assert not check.passed
    assert any(line.startswith("loss: no log(0), no clipping") for line in check.messages)


@pytest.mark.parametrize("title", NETS)
def test_right_classifiers_pass(title: str) -> None:
    for name, kind in classes_in(names_in(NETS[title])).items():
        check = check_class(kind, 0, 1e-10)
        assert check.name == name
        assert check.passed, check
        assert len(check.messages) in (3, 5)


@pytest.mark.parametrize("title", WRONG_NETS)
def test_wrong_classifiers_are_refused_with_what_is_wrong(title: str) -> None:
    (kind,) = classes_in(names_in(WRONG_NETS[title])).values()
    check = check_class(kind, 0, 1e-10)
    assert not check.passed
    assert any(message.startswith(title) for message in check.messages), check


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("l2_regularization", lambda w, reg: (reg / 2 * (w * w).sum(), 0 * w),
         "grad_W1: the regularization is missing"),
        ("l2_regularization", lambda w, reg: (reg / 2 * (w * w).sum(), 2 * reg * w),
         "grad_W2: twice the regularization"),
        ("fc_backward", lambda g, c: (g @ c[1].T, c[0].T @ g, g.mean(axis=0)),
         "grad_b1: 1/N of the right value"),
    ],
)  # fmt: skip
def test_a_network_of_wrong_layers_is_refused(name: str, wrong: Any, message: str) -> None:
    check = check_function("two_layer_net", with_network({**FNNET, name: wrong}), 0, 1e-10)
    assert not check.passed
    assert any(line.startswith(message) for line in check.messages), check


HOSTILE = {
    "while True: pass": "it took more than 1 s",
    "def relu_forward(x):\n    while True: pass": "it took more than 1 s",
    "a = []\nimport numpy as np\nwhile True: a.append(np.zeros(1 << 24))": "MemoryError: Unable",
    "import sys\nsys.exit(0)": "SystemExit: 0 in my_layers.py, line 2",
    "import os\ndef relu_forward(x):\n    os._exit(0)": "its process ended early, with exit code 0",
    "while True: print('x' * 99)": "OSError: [Errno 27] File too large in my_layers.py, line 1",
    "def f(:\n    pass": "SyntaxError: invalid syntax (my_layers.py, line 1)",
    "input()": "EOFError: EOF when reading a line in my_layers.py, line 1",
    "import os\nos.fork()\nwhile True: pass": "it took more than 1 s",
    "import os\nfor i in range(3, 9):\n    os.write(i, b'[' * 9999)\nos._exit(0)": "it",
}


@pytest.mark.parametrize("code", HOSTILE)
def test_whatever_a_file_does_there_is_a_report(code: str, tmp_path: Path) -> None:
    path = tmp_path / "my_layers.py"
    path.write_text(code)
    seconds = 1.0 if "took" in HOSTILE[code] else 60.0
    report = check_file(path, "layers", 0, TOLERANCE, seconds)
    assert not report["passed"]
    assert len(report["output"]) <= 2000
    assert any(HOSTILE[code] in text for check in report["checks"] for text in check["messages"]), (
        report
    )
    assert {p.name for p in tmp_path.iterdir()} == {"my_layers.py"}


JUNK = [
    b"",
    b"[" * 9999,
    b"\xff",
    b"5\n",
    b'"ab"',
    b'{"a": 1, "b": 2}',
    b"[1, 2]",
    b'[["a"], []]\n7',
    b'[["a"], []]\n[]',
    b'[["a"], []]\n[1, "m"]',
    b'[["a"], []]\n[true, ["m"]]\n}',
    b'[["a", "b"], []]\n[true]',
]


@pytest.mark.parametrize("junk", JUNK)
def test_junk_in_the_results_fails(junk: bytes) -> None:
    report = read_report(junk, "", "why")
    assert not report["passed"]
    assert report["checks"]
    json.dumps(report)
    for check in report["checks"]:
        assert [*check] == ["name", "passed", "messages"]
        assert all(isinstance(text, str) for text in (check["name"], *check["messages"]))


WHOLE = "\n".join(
    RIGHT[title]
    for title in (
        "fc as in the lecture",
        "relu with maximum",
        "softmax as in the lecture",
        "l2 as in the lecture",
        "regularization as in the lecture",
    )
)
PROGRAMS: dict[str, Any] = {
    "gradcheck_layers.py": gradcheck.layers,
    "gradcheck_classifier.py": gradcheck.classifier,
    "check_softmax_stability.py": stability.show_cases,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_report_is_printed_in_lines(
    program: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checks = [
        {"name": "a", "passed": True, "messages": ["1", "2"]},
        {"name": "b", "passed": False, "messages": ["3"]},
        {"name": "c", "passed": False, "messages": []},
    ]
    report = {"passed": False, "checks": checks, "missing": ["d", "e"], "output": "hello\n"}
    monkeypatch.setattr("fnnet.commands.submission.check_file", lambda *args: report)
    path = tmp_path / "my_layers.py"
    path.touch()
    assert PROGRAMS[program](module=path) == 1
    assert capsys.readouterr().out.splitlines() == [
        "a passed", "  1", "  2", "b FAILED", "  3", "c FAILED", f"printed by {path}:", "hello",
        "missing: d, e", "FAILED: b, c",
    ]  # fmt: skip


@pytest.mark.parametrize(("passed", "code"), [(True, 0), (False, 1)])
def test_the_report_as_json_is_all_that_was_found(
    passed: bool, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    report = {"passed": passed, "checks": [], "missing": [], "output": ""}

    def check(*args: Any) -> dict[str, Any]:
        asked.append(args)
        return report

    monkeypatch.setattr("fnnet.commands.submission.check_file", check)
    (tmp_path / "a.py").touch()
    done = inside(tmp_path, "gradcheck", "layers", "--module", "a.py", "--json")
    assert (done.returncode, done.stderr) == (code, "")
    assert json.loads(done.stdout) == {"file": "a.py", **report}
    assert done.stdout.startswith('{\n  "file": "a.py",\n')
    done = inside(tmp_path, "gradcheck", "layers", "--module", "a.py")
    told = "passed" if passed else "FAILED: nothing to check"
    assert (done.returncode, done.stdout) == (code, f"{told}\n")
    inside(tmp_path, "stability", "--module", "a.py")
    layers_, stability_ = (Path("a.py"), "layers", 0, 1e-9), (Path("a.py"), "stability", 0, 0.0)
    assert asked == [layers_, layers_, stability_]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--json"], "--json has an effect only with --module"),
        (["--module", "a.py", "--seed", "-1"], "seed must be at least 0, found -1"),
        (
            ["--module", "a.py", "--tolerance", "-1"],
            "tolerance must be a finite number at least 0, found -1.0",
        ),
    ],
)
def test_a_wrong_flag_is_named(flags: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").touch()
    done = inside(tmp_path, "gradcheck", "layers", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {message}\n"


def test_the_checks_of_a_file_are_those_of_its_functions_and_classes() -> None:
    title = next(iter(NETS))
    code = f"{WHOLE}\n{NETS[title]}"
    kinds = [*classes_in(names_in(NETS[title]))]
    for what, wanted in (
        ("layers", [*LAYERS]),
        ("classifier", ["two_layer_net", *kinds]),
        ("stability", ["softmax_loss"]),
    ):
        names = names_in(code)
        checks, missing = checks_of(what, names, seed=1, tolerance=1e-9)
        assert ([*checks], missing) == (wanted, [])
        found = {name: make() for name, make in checks.items()}
        assert [check.name for check in found.values()] == wanted
        assert all(check.passed for check in found.values())
        del names["softmax_loss"]
        checks, missing = checks_of(what, names, seed=1, tolerance=1e-9)
        assert [*checks] == [n for n in wanted if n not in ("softmax_loss", "two_layer_net")]
        assert missing == ["softmax_loss"]


@pytest.mark.parametrize("what", ["layers", "classifier"])
def test_seed_and_tolerance_reach_each_check_of_a_file(what: str) -> None:
    names = names_in(f"{WHOLE}\n{NETS[next(iter(NETS))]}")

    def run(seed: int, tolerance: float) -> list[Check]:
        return [
            make() for make in checks_of(what, names, seed=seed, tolerance=tolerance)[0].values()
        ]

    assert not any(check.passed for check in run(0, 0.0))
    for one, other in zip(run(0, 1e-9), run(1, 1e-9), strict=True):
        assert one.messages != other.messages


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_right_file_exits_0_and_a_wrong_one_1(
    program: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my_layers.py"
    path.write_text(WHOLE)
    assert PROGRAMS[program](module=path) == 0
    out = capsys.readouterr().out
    assert out.endswith("\npassed\n")
    assert "FAILED" not in out
    assert {p.name for p in tmp_path.iterdir()} == {"my_layers.py"}

    path.write_text(WHOLE.replace("np.sum(log_probs", "np.sum(np.exp(shifted)"))
    done = call(tmp_path, program, "--module", path.name, "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["passed"] is False
    name = "two_layer_net" if "classifier" in program else "softmax_loss"
    (failed,) = (check for check in report["checks"] if not check["passed"])
    assert failed["name"] == name
    assert failed["messages"][0].startswith("loss ")


@pytest.mark.parametrize("program", PROGRAMS.values())
def test_a_module_that_is_absent_is_refused(program: Any, tmp_path: Path) -> None:
    for path in (tmp_path / "my_layers.py", tmp_path):
        with pytest.raises(ValueError, match="module must be a Python file, found none at /"):
            program(module=path)
    with pytest.raises(TypeError, match=r"^module must be a path, found int$"):
        program(module=3)
    with pytest.raises(ValueError, match="--json has an effect only with --module"):
        program(json=True)


def test_what_is_missing_is_said_and_nothing_at_all_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my_layers.py"
    path.write_text(RIGHT["relu with maximum"])
    report = check_file(path, "layers", 0, TOLERANCE)
    assert report["passed"]
    assert [check["name"] for check in report["checks"]] == ["relu_forward", "relu_backward"]
    assert set(report["missing"]) == {*LAYERS} - {"relu_forward", "relu_backward"}
    assert not check_file(path, "classifier", 0, TOLERANCE)["passed"]
    assert stability.show_cases(path) == 1
    assert capsys.readouterr().out == "missing: softmax_loss\nFAILED: nothing to check\n"


def test_prints_do_not_disturb_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my_layers.py"
    print_ = """print('{"passed": true}\\x1b[2J', flush=True)"""
    stderr = "import sys; print('no', file=sys.stderr)"
    path.write_text(f"{print_}\n{stderr}\n{RIGHT['relu with maximum']}")
    assert gradcheck.layers(module=path, json=True) == 0
    assert json.loads(capsys.readouterr().out)["output"] == '{"passed": true}\x1b[2J\nno\n'
    assert gradcheck.layers(module=path) == 0
    shown = capsys.readouterr().out
    assert "\\x1b[2J" in shown
    assert "\x1b" not in shown


def test_a_file_imports_what_lies_beside_it_and_main_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(RIGHT["relu with maximum"])
    (tmp_path / "numpy.py").write_text("raise SystemExit('not this one')")
    path = tmp_path / "my_layers.py"
    path.write_text("from helper import *\nif __name__ == '__main__':\n    raise ValueError\n")
    assert check_file(path, "layers", 0, TOLERANCE)["passed"]
    assert {p.name for p in tmp_path.iterdir()} == {"my_layers.py", "helper.py", "numpy.py"}


def test_checks_before_the_end_of_a_process_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "my_layers.py"
    path.write_text(WHOLE.replace("diff = pred - target", "import os; os._exit(7)"))
    report = check_file(path, "layers", 0, TOLERANCE)
    found = {check["name"]: check for check in report["checks"]}
    assert found["softmax_loss"]["passed"]
    assert found["l2_loss"]["messages"] == ["its process ended early, with exit code 7"]
    assert found["l2_regularization"]["messages"] == ["not run"]
