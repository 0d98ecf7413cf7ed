"""The search program: its command line, and whole searches, interrupted and not."""

import csv
import io
import json
import os
import random
import re
import runpy
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from fnnet import default_config, load_checkpoint
from fnnet.commands.ranges import parse_range, pull_ranges
from fnnet.commands.train_flags import train_command
from fnnet.commands.tune import _with_progress, tune_command
from fnnet.search import Choice, Job, LogUniform, Result, Uniform, rank
from fnnet.search.comparison import table
from fnnet.search.journal import decode
from fnnet.search.space import SAME_FOR_ALL
from fnnet.search.workers import WorkerError, Workers
from tests.programs import ENVIRONMENT, SCRIPTS, call, command, inside, names, start

# The command line.

numbers = st.floats(1e-9, 1e9)


@given(numbers, numbers, st.lists(numbers, min_size=1))
def test_a_range_is_read_as_it_is_written(a: float, b: float, values: list[float]) -> None:
    low, high = sorted((a, 2 * b if a == b else b))
    for made in (LogUniform(low, high), Uniform(low, high), Choice(values)):
        assert parse_range("reg", str(made)) == made


def test_ranges_have_the_types_of_their_settings() -> None:
    args = ["--hidden-dim", "choice:8,16", "--flip=choice:true,False", "--seed", "3"]
    args += ["--schedule", "choice:linear,cosine", "--shift", "uniform:0:2"]
    rest, ranges = pull_ranges(args)
    assert rest == ["--seed", "3"]
    assert ranges == {
        "hidden_dim": Choice((8, 16)),
        "flip": Choice((True, False)),
        "schedule": Choice(("linear", "cosine")),
        "shift": Uniform(0, 2),
    }
    assert type(tune_command(args)[1].configs[0].shift) is int


def test_fixed_settings_are_those_of_train() -> None:
    args = ["--preset", "fast", "--reg", "0.5", "--learning-rate", "log:0.1:1"]
    command, search = tune_command(args)
    assert command.config == search.config == default_config("fast", reg=0.5, num_threads=1)
    assert command.preset == "fast"
    assert tune_command(["--dataset", "cifar10", *args[4:]])[0].preset == "cifar10"
    for config in search.configs:
        assert evolve(config, learning_rate=0.3) == command.config
    assert len({config.learning_rate for config in search.configs}) == 27


def test_a_flag_without_effect_in_any_trial_is_said_to_have_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = ["--reg", "log:0.1:1", "--pool", "2"]
    tune_command([*args, "--preprocessing", "choice:standardize,whiten", "--nesterov"])
    assert capsys.readouterr().err == "--nesterov has no effect without momentum\n"
    tune_command(args)
    assert capsys.readouterr().err == "--pool has no effect without whitening\n"


REG = ["--reg", "log:0.1:1"]
BAD_LINES: list[tuple[list[str], str]] = [
    ([], "no setting has a range"),
    (["--reg", "0.1"], "no setting has a range"),
    (["--reg", "log:1:0.1"], "reg must be log:LOW:HIGH.* low 1.0 and high 0.1"),
    (["--reg", "log:0:1"], "reg must be .* low must be above 0"),
    (["--reg", "log:1"], "reg must be log:LOW:HIGH, found log:1"),
    (["--reg", "uniform:1:2:3"], "reg must be uniform:LOW:HIGH"),
    (["--reg", "uniform:nan:2"], "reg must be uniform:LOW:HIGH"),
    (["--reg", "uniform:-1:2"], "reg must be .* at least 0, found -1"),
    (["--reg", "choice:"], "reg must be a number, found ''"),
    (["--hidden-dim", "log:8:1e3"], "hidden_dim must be an integer, found '1e3'"),
    (["--flip", "choice:yes"], "flip must be True or False, found 'yes'"),
    (["--schedule", "choice:linear,wild"], "schedule must be one of"),
    (["--schedule", "log:linear:wild"], "schedule must be log:LOW:HIGH"),
    ([*REG, "--reg", "0.1"], "reg is given twice"),
    (["--reg", "0.1", *REG], "reg is given twice"),
    ([*REG, *REG], "reg is given twice"),
    (["--batch-size", "9", "--reg", "0.1", *REG], "^reg is given twice"),
    (["--no-flip", "--flip", "choice:True,False"], "flip is given twice"),
    ([*REG, "--workers", "0"], "workers must be at least 1, found 0"),
    ([*REG, "--trials", "0"], "trials must be at least 1, found 0"),
    ([*REG, "--budget", "0"], "budget must be at least 1"),
    ([*REG, "--budget", "50"], "budget must be at least 86 epochs .* found 50"),
    ([*REG, "--num-threads", "2"], "num_threads must be 1, found 2"),
    ([*REG, "--patience", "2"], "patience must be None: a search ends trials by their rank$"),
    ([*REG, "--journal", "a\0.jsonl"], "journal must not hold the character NUL"),
    ([*REG, "--journal", "notes.txt"], r"journal must end in .jsonl, found notes.txt"),
    *(
        ([f"--{name.replace('_', '-')}", "choice:1"], f"{name} must be the same for all trials")
        for name in sorted(SAME_FOR_ALL - {"plot_file", "data_dir", "checkpoint_file"})
    ),
]


@pytest.mark.parametrize("words", [["--dataset=x=log:1:2"], ["--dataset", "C:log"], ["--reg"]])
def test_what_only_looks_like_a_range_stays_on_the_command_line(words: list[str]) -> None:
    assert pull_ranges(words) == (words, {})


@pytest.mark.parametrize(("args", "message"), BAD_LINES, ids=[" ".join(a) for a, _ in BAD_LINES])
def test_what_cannot_be_searched_is_refused_by_name(args: list[str], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        tune_command(args)


def test_help_explains_the_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tune_command(["--help"])
    shown = capsys.readouterr().out
    assert all(f"{kind}:" in shown for kind in ("uniform", "log", "choice"))


# Whole searches.

SMALL = "--num-train 80 --num-val 40 --num-epochs 9 --trials 9 --momentum choice:0,0.5,0.9"
SMALL += " --learning-rate log:0.01:1e3 --hidden-dim log:4:16"
SMALL_ARGS = SMALL.split()
WRITTEN = {"tune.jsonl", "tune.png", "tune.csv", "tune.md"}


@pytest.fixture(autouse=True)
def data_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    """The winner's command names the folder of the data."""
    monkeypatch.setenv("FNNET_DATA_DIR", ENVIRONMENT["FNNET_DATA_DIR"])


def results_of(journal: Path) -> list[Result]:
    return [Result(**decode(line)) for line in journal.read_bytes().splitlines(True)[1:]]


def rows_of(output: str) -> list[str]:
    return re.findall(r"^\| +\d+ +\| +\d+ .*$", output, re.M)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of an uninterrupted search with one worker, and what it printed."""
    folder = tmp_path_factory.mktemp("reference")
    done = call(folder, "tune.py", *SMALL_ARGS, "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no terminal, no progress line
    return folder, done.stdout


def in_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *args: object
) -> tuple[Any, str, str]:
    """Run tune.py in this process; return its exit code, stdout and stderr."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["tune.py", *SMALL_ARGS, *map(str, args)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(SCRIPTS / "tune.py"), run_name="__main__")
    output = capsys.readouterr()
    return caught.value.code, output.out, output.err


def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let searches train in this process and draw nothing: both take time."""
    workers = nullcontext(Workers(map, 1))
    monkeypatch.setattr("fnnet.commands.tune.processes", lambda number: workers)
    monkeypatch.setattr("fnnet.plots.search.plot_search", lambda *args: None)
    monkeypatch.setattr("fnnet.plots.save", lambda figure, path: path.touch())


def test_a_search_prints_a_ranked_table_and_draws_a_picture(reference: tuple[Path, str]) -> None:
    folder, output = reference
    assert names(folder) == WRITTEN
    assert (folder / "tune.png").read_bytes().startswith(b"\x89PNG")
    results = results_of(folder / "tune.jsonl")
    _, search = tune_command(SMALL_ARGS)
    ranking = rank(results)
    assert len(results) == 9 + 3 + 1
    rows = search.rows(ranking, 40)
    assert table(rows) in output
    with (folder / "tune.csv").open(newline="") as file:
        assert [[*row.values()] for row in csv.DictReader(file)] == [
            [str(value) for value in row.values()] for row in rows
        ]
    assert len((folder / "tune.md").read_text().splitlines()) == 9 + 2
    assert [row.split()[3] for row in rows_of(output)] == [str(r.trial) for r in ranking]
    best = ranking[0]
    assert best.epochs == 9
    assert rows[0]["validation (%)"] in rows_of(output)[0]
    assert f"{search.configs[best.trial].learning_rate:.4g}" in rows_of(output)[0]
    assert "9 to epoch 1, 3 to epoch 3, 1 to epoch 9; 21 epochs in all" in output
    assert ranking[-1].score <= best.score


def test_the_last_line_trains_the_winner_to_the_very_accuracy(
    reference: tuple[Path, str], tmp_path: Path
) -> None:
    folder, output = reference
    words = shlex.split(output.splitlines()[-1])
    start = words.index("train") + 1
    args = words[start:]
    best = rank(results_of(folder / "tune.jsonl"))[0]
    winner = tune_command(SMALL_ARGS)[1].configs[best.trial]
    assert train_command(args)[0].config == winner
    subprocess.run(words, cwd=tmp_path, env=ENVIRONMENT, check=True, capture_output=True)
    history = load_checkpoint(tmp_path / "checkpoint.npz").history
    assert tuple(map(float, history.val_accuracy)) == best.val_accuracy


def test_two_processes_and_a_terminal_find_the_same_table(
    reference: tuple[Path, str], tmp_path: Path
) -> None:
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    try:
        done = call(tmp_path, "tune.py", *SMALL_ARGS, "--workers", 2, stderr=theirs)
        bar = os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0
    assert done.stdout == reference[1]
    assert "0 of 13 done, 2 running" in bar
    assert re.search(r"12 of 13 done, 1 running, best \d+\.\d\d%", bar)
    assert "/21" in bar
    assert re.search(r"\d\d:\d\d<\d\d:\d\d", bar), "the time left"
    assert (tmp_path / "tune.png").read_bytes() == (reference[0] / "tune.png").read_bytes()


def test_a_cluster_finds_the_same_table(
    reference: tuple[Path, str],
    tmp_path: Path,
    scheduler: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = in_process(tmp_path, monkeypatch, capsys, "--scheduler", scheduler)
    assert code == 0, err
    assert out == reference[1]
    assert names(tmp_path) == WRITTEN


def test_a_journal_cut_off_anywhere_ends_in_the_same_table(
    reference: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    inline(monkeypatch)
    whole = (reference[0] / "tune.jsonl").read_bytes()
    rng = random.Random(0)
    journal = tmp_path / "tune.jsonl"
    for cut in [0, len(whole), *rng.sample(range(len(whole)), 6)]:
        journal.write_bytes(whole[:cut])
        for name in WRITTEN - {"tune.jsonl"}:  # they are kept when the journal is new
            (tmp_path / name).unlink(missing_ok=True)
        code, out, err = in_process(tmp_path, monkeypatch, capsys)
        assert code == 0, err
        assert rows_of(out) == rows_of(reference[1])
        assert out.splitlines()[-1] == reference[1].splitlines()[-1]
        known = max(0, whole[:cut].count(b"\n") - 1)
        assert (f"going on after {known} results in tune.jsonl" in out) == (known > 0)
        assert sorted(journal.read_bytes().splitlines()) == sorted(whole.splitlines())
        assert names(tmp_path) == WRITTEN


def test_the_end_of_a_search_says_what_it_wrote_and_how_sure_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inline(monkeypatch)
    for budget, trials in ((9, 9), (21, 9)):  # all trials to one epoch, or the best to nine
        folder = tmp_path / str(budget)
        folder.mkdir()
        epochs = ["--num-epochs", 1] if budget == 9 else []
        code, out, err = in_process(folder, monkeypatch, capsys, "--budget", budget, *epochs)
        assert (code, err) == (0, "")
        first, second = rank(results_of(folder / "tune.jsonl"))[:2]
        (wrote,) = re.findall(r"^wrote (.*)$", out, re.M)
        assert {*wrote.split(", ")} == names(folder)
        assert "every trial diverged" not in out
        number = 1 if budget == 9 else 9
        best = rf"^best: trial {first.trial}, validation accuracy ([\d.]+) % after epoch "
        (percent,) = re.findall(rf"{best}{number} of {number}; train it:$", out, re.M)
        assert float(percent) == pytest.approx(100 * first.score, abs=0.5)
        told = [line for line in out.splitlines() if f"trial {second.trial}" in line]
        assert len(told) == (first.epochs == second.epochs)  # else they cannot be compared
        assert len(results_of(folder / "tune.jsonl")) >= trials


def test_workers_that_are_not_as_this_machine_are_told_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inline(monkeypatch)
    workers = nullcontext(Workers(map, 1, ["cpu is another at b, found this here"]))
    monkeypatch.setattr("fnnet.commands.tune.processes", lambda number: workers)
    code, out, err = in_process(tmp_path, monkeypatch, capsys, "--num-epochs", 1)
    assert code == 0
    assert err == "cpu is another at b, found this here: the last bits may change\n"
    assert "cpu" not in out


def test_a_new_search_keeps_the_picture_of_another(
    reference: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    inline(monkeypatch)
    journal, picture = tmp_path / "tune.jsonl", tmp_path / "tune.png"
    picture.write_bytes(b"of another search")
    code, _, err = in_process(tmp_path, monkeypatch, capsys)
    assert code == 0, err
    assert "kept tune.png of another run as tune.1.png" in err
    assert (tmp_path / "tune.1.png").read_bytes() == b"of another search"
    journal.write_bytes(journal.read_bytes()[:-1])  # one result is to be computed again
    assert in_process(tmp_path, monkeypatch, capsys)[0] == 0
    assert names(tmp_path) == WRITTEN | {"tune.1.png"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--seed", "1"], "seed is 0 in it, found 1; training data is"),
        (["--trials", "10"], "trials is 9 in it, found 10"),
        (["--budget", "81"], "budget is 21 in it, found 81"),
        (["--reg", "choice:0.1"], "reg is 0.01 in it, found choice:0.1"),
        (["--batch-size", "16"], "batch_size is 32 in it, found 16"),
    ],
    ids=str,
)
def test_the_journal_of_another_search_is_refused(
    reference: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    message: str,
) -> None:
    content = (reference[0] / "tune.jsonl").read_bytes()
    (tmp_path / "tune.jsonl").write_bytes(content)
    code, out, err = in_process(tmp_path, monkeypatch, capsys, *args)
    assert (code, out) == (2, "")
    assert f"tune.jsonl is the journal of another search: {message}" in err
    assert (tmp_path / "tune.jsonl").read_bytes() == content
    assert names(tmp_path) == {"tune.jsonl"}


@pytest.mark.parametrize(
    "args",
    [
        ["--scheduler", "nowhere"],
        ["--journal", "missing/tune.jsonl"],
        ["--dataset", "cifar10", "--data-dir", "nowhere"],
        ["--num-train", "2000"],
    ],
    ids=str,
)
def test_what_cannot_begin_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
) -> None:
    code, out, err = in_process(tmp_path, monkeypatch, capsys, *args)
    assert (code, out) == (2, "")
    assert args[0][2:].replace("-", "_") in err or "CIFAR-10" in err
    assert names(tmp_path) == set()


class Stderr(io.StringIO):
    """A stream that may be a terminal."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self.isatty = lambda: is_terminal  # type: ignore[method-assign]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_long_wait_is_told_where_no_progress_bar_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr("fnnet.waiting.PATIENCE", 0.1)
    stream = Stderr(is_terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    _, search = tune_command(SMALL_ARGS)

    def results() -> Iterator[Result]:
        for trial in range(2):
            time.sleep(0.4 * trial)
            yield Result(trial, 1, (0.5,))

    found: list[Result] = []
    for result in _with_progress(search, found, 2, results()):
        found += [result]
    told = "waiting: 1 of 13 done, 2 running, best 50.00%\n"
    assert (stream.getvalue() == told) is not is_terminal
    assert ("waiting" in stream.getvalue()) is not is_terminal
    assert ("2 of 13 done" in stream.getvalue()) is is_terminal
    assert ("0/21 [" in stream.getvalue()) is is_terminal
    assert stream.getvalue().endswith("\r") is is_terminal  # it is wiped off


def test_the_bar_of_a_search_that_goes_on_begins_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)
    stream = Stderr(True)
    monkeypatch.setattr(sys, "stderr", stream)
    _, search = tune_command(SMALL_ARGS)
    known = [Result(0, 1, (0.5,))]
    results = (Result(trial, 1, (0.5,)) for trial in (1, 2))
    for result in _with_progress(search, known, 2, results):
        known += [result]
    shown = re.findall(r"(\d+)/(\d+) \[[^\]]*[\d?]epoch/s", stream.getvalue())
    assert shown[0] == ("1", "21")
    assert shown[-1] == ("3", "21")


ACCURACY = {0: 0.5, 1: 0.75, 2: 0.7, 3: 0.25}


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_whole_output_of_a_search_follows_from_its_results(
    epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[Path] = []

    def train(folder: Path, job: Job) -> Result:
        assert folder == folders[0]
        return Result(job.trial, job.stop, (ACCURACY[job.trial],) * job.stop)

    inline(monkeypatch)
    monkeypatch.setattr("fnnet.commands.tune.train_trial", train)
    monkeypatch.setattr("fnnet.commands.tune.save_parts", lambda path, *parts: folders.append(path))
    monkeypatch.setattr("shutil.which", lambda name: name)
    flags = ["--num-train", 80, "--num-val", 50, "--num-epochs", epochs, "--trials", 4]
    done = inside(tmp_path, "tune", *flags, "--learning-rate", "choice:0.125", "--reg", "choice:0")
    assert (done.returncode, done.stderr) == (0, "")
    [folder] = folders
    assert folder.parent == tmp_path / "tune.work"
    assert re.fullmatch(r"[0-9a-f]{16}", folder.name)
    lines = done.stdout.splitlines()
    plan = "4 to epoch 1" if epochs == 1 else "4 to epoch 1, 1 to epoch 3"
    assert lines[0] == f"training: {plan}; {4 if epochs == 1 else 6} epochs in all"
    assert [line.split()[3] for line in lines[3:7]] == ["1", "2", "0", "3"]
    assert lines[7] == "wrote tune.jsonl, tune.csv, tune.md, tune.png"
    told = lines[8:-2]
    if epochs == 1:  # else the second was trained for less
        [line] = told
        assert line.startswith("trial 1 and trial 2 cannot be told apart: they differ by 5 ± 17 ")
    else:
        assert told == []
    accuracy = f"validation accuracy 75 % after epoch {epochs} of {epochs}"
    assert lines[-2] == f"best: trial 1, {accuracy}; train it:"
    assert lines[-1].startswith("fnnet train --preset digits --num-train 80 --num-val 50 ")
    assert "--learning-rate 0.125 --reg 0" in lines[-1]
    refused = inside(tmp_path, "tune", *flags, "--reg", "choice:0", "--journal", "no/a.jsonl")
    assert refused.stderr.startswith("error: journal must lie in an existing folder")


def test_a_search_that_loses_its_workers_keeps_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(train: Any, jobs: Sequence[Job]) -> Iterator[Result]:
        yield train(jobs[0])
        raise WorkerError("the scheduler went away")

    inline(monkeypatch)
    workers = nullcontext(Workers(run, 1))

    def connect(address: str, tell: Any) -> Any:
        tell("no worker is connected")
        return workers

    monkeypatch.setattr("fnnet.commands.tune.cluster", connect)
    code, _, err = in_process(tmp_path, monkeypatch, capsys, "--scheduler", "tcp://a:1")
    assert code == 2
    assert err.splitlines() == [
        "no worker is connected",
        "results kept in tune.jsonl: 1; the same command goes on from there",
        "error: the scheduler went away",
    ]
    code, out, err = in_process(tmp_path, monkeypatch, capsys)
    assert code == 0, err
    assert "going on after 1 results" in out


def tune(folder: Path) -> subprocess.Popen[str]:
    """Start the search in a process group of its own, as a terminal does."""
    words = command("tune.py", *SMALL_ARGS, "--workers", 2)
    return start(folder, words, start_new_session=True)


def wait_for_results(folder: Path, number: int, search: subprocess.Popen[str]) -> None:
    journal = folder / "tune.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") <= number:
        assert search.poll() is None, "the search ended by itself"
        time.sleep(0.002)


def members(group: int) -> list[int]:
    """Return the living processes of a group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has ended meanwhile
            continue
        if int(of_group) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="needs the list of processes in /proc"
)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_an_interrupted_search_leaves_no_process_and_goes_on(
    reference: tuple[Path, str],
    tmp_path: Path,
    how: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with tune(tmp_path) as search:
        wait_for_results(tmp_path, 2, search)
        if how == signal.SIGINT:
            os.killpg(search.pid, how)
        else:
            search.kill()
        out, err = search.communicate(timeout=60)
    assert "Traceback" not in out + err
    deadline = time.monotonic() + 20
    while members(search.pid):
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.01)
    kept = (tmp_path / "tune.jsonl").read_bytes().count(b"\n") - 1
    assert 2 <= kept < 13
    if how == signal.SIGINT:
        assert search.returncode == 130
        assert f"results kept in tune.jsonl: {kept}; the same command goes on" in err
        assert len(results_of(tmp_path / "tune.jsonl")) == kept
    inline(monkeypatch)
    code, out, err = in_process(tmp_path, monkeypatch, capsys)
    assert code == 0, err
    assert f"going on after {kept} results in tune.jsonl" in out
    assert rows_of(out) == rows_of(reference[1])
    assert names(tmp_path) == WRITTEN


def test_a_search_whose_trials_all_diverge_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inline(monkeypatch)
    monkeypatch.setitem(globals(), "SMALL_ARGS", ["--num-train", "80", "--num-val", "40"])
    args = ["--learning-rate", "log:1e30:1e38", "--trials", "2", "--num-epochs", "2"]
    code, out, err = in_process(tmp_path, monkeypatch, capsys, *args)
    assert code == 1, err
    assert out.count("diverged") == 3
    assert "every trial diverged: try lower learning rates" in out.splitlines()
    assert "train.py" not in out
    lines = (tmp_path / "tune.jsonl").read_text().splitlines()[1:]
    assert all("diverged at step" in json.loads(line)["diverged"] for line in lines)
