"""Trials, and who trains them: whatever it is, the results have the same bits."""

import mmap
import os
import pickle
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from functools import partial
from multiprocessing import Pipe
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fnnet import History, TrainConfig, use_threads
from fnnet.runs.parts import load_parts
from fnnet.runs.run import Run, prepare
from fnnet.runs.state import load_state
from fnnet.search.cluster import cluster
from fnnet.search.halving import Job, Result, plan_rungs, rank, successive_halving
from fnnet.search.trial import map_parts, save_parts, state_path, train_trial
from fnnet.search.workers import (
    READY,
    WorkerError,
    Workers,
    _answer,
    _work,
    _Worker,
    processes,
)
from tests import jobs
from tests.helpers import same
from tests.runs.test_resume import VARIANTS, bits

posix = pytest.mark.skipif(os.name != "posix", reason="needs the signals of POSIX")


@pytest.fixture
def config(small_config: TrainConfig) -> TrainConfig:
    return evolve(small_config, num_threads=1, num_epochs=4)


@pytest.fixture
def folder(config: TrainConfig, tmp_path: Path) -> Path:
    """A folder of its own with the data of a search."""
    folder = tmp_path / "work"
    save_parts(folder, *load_parts(config))
    return folder


# One trial.


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("lost", ["nothing", "a state", "half a state"])
def test_a_trial_in_rungs_is_an_uninterrupted_run(
    config: TrainConfig, folder: Path, variant: str, lost: str
) -> None:
    config = evolve(config, **{**VARIANTS[variant], "hidden_dim": 6})
    with use_threads(1):
        experiment = prepare(config)
        runs = [*experiment.epochs()]
    expected = tuple(map(float, runs[-1][1].val_accuracy))
    curve: tuple[float, ...] = ()
    for start, stop in ((0, 1), (1, 3), (3, 4)):
        job = Job(7, config, start, stop)
        result = train_trial(folder, job)
        assert result == train_trial(folder, job) == Result(7, stop, expected[start:stop])
        curve += result.val_accuracy
        state = state_path(folder, 7, stop)
        if stop == 4:
            assert not state.exists(), "no trial goes on from there"
        else:
            found, wanted = load_state(state, experiment.start()), runs[stop - 1][0]
            assert same(bits((found, History())), bits((wanted, History())))
            if lost == "a state":
                state.unlink()
            elif lost == "half a state":
                state.write_bytes(state.read_bytes()[:1000])
    assert curve == expected


def test_a_survivor_goes_on_from_its_state_and_trains_no_epoch_twice(
    config: TrainConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[int] = []
    plain = Run.batches

    def counted(self: Run, first_epoch: int = 0) -> Iterator[Any]:
        epochs.append(first_epoch)
        return plain(self, first_epoch)

    monkeypatch.setattr(Run, "batches", counted)
    for start, stop in ((0, 1), (1, 3), (3, 4)):
        train_trial(folder, Job(0, config, start, stop))
    assert epochs == [0, 1, 3]


def test_trials_of_one_process_are_trained_one_at_a_time(
    config: TrainConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_trial(folder, Job(0, config, 0, 1))  # from now on the data are there
    plain, calls, meetings = Run.batches, threading.Barrier(2), list[int]()
    in_training = threading.Barrier(2)

    def watched(self: Run, first_epoch: int = 0) -> Iterator[Any]:
        # A trial that trains waits for the other trial. The wait fails unless both train at once.
        with suppress(threading.BrokenBarrierError):
            meetings.append(in_training.wait(timeout=0.2))
        return plain(self, first_epoch)

    monkeypatch.setattr(Run, "batches", watched)

    def call(trial: int) -> Result:
        calls.wait()
        return train_trial(folder, Job(trial, config, 0, 1))

    with ThreadPoolExecutor(2) as executor:
        assert [result.trial for result in executor.map(call, (1, 2))] == [1, 2]
    assert in_training.broken
    assert meetings == []


def test_the_images_are_mapped_and_the_parts_are_those_that_were_saved(
    config: TrainConfig, folder: Path
) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    save_parts(folder, *load_parts(config))
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    for found, expected in zip(map_parts(folder), load_parts(config), strict=True):
        assert same(found.images, expected.images)
        assert same(found.labels, expected.labels)
        assert found.class_names == expected.class_names
        base: Any = found.images
        while isinstance(base, np.ndarray):
            base = base.base
        assert isinstance(base, mmap.mmap)


def test_a_trial_that_diverges_is_a_result(config: TrainConfig, folder: Path) -> None:
    wild = evolve(config, learning_rate=1e38)
    result = train_trial(folder, Job(2, wild, 0, 1))
    assert (result.trial, result.epochs, result.score) == (2, 1, -1)
    assert "diverged at step" in result.diverged
    assert not state_path(folder, 2, 1).exists()
    # After a good beginning the curve that there is stays.
    late = evolve(config, learning_rate=30.0, schedule="constant", num_epochs=200, dtype="float32")
    late = evolve(late, reg=0.1)
    result = train_trial(folder, Job(3, late, 0, 200))
    assert result.diverged
    assert result.score == -1


def test_settings_that_do_not_fit_the_data_name_the_trial(
    config: TrainConfig, folder: Path
) -> None:
    job = Job(5, evolve(config, preprocessing="whiten", pool=3), 0, 1)
    with pytest.raises(ValueError, match=r"^trial 5 cannot be trained: .*pool"):
        train_trial(folder, job)


# Many trials.


def configs_of(config: TrainConfig) -> list[TrainConfig]:
    rates = [0.001, 0.3, 0.03, 1e38, 0.1, 0.03, 0.1, 0.01, 0.2]
    return [evolve(config, learning_rate=rate, momentum=0.5) for rate in rates]


def search(configs: Sequence[TrainConfig], train: Any, run: Any = map) -> list[Result]:
    rungs = plan_rungs(len(configs), configs[0].num_epochs)
    return rank(successive_halving(configs, rungs, train, run))


@pytest.fixture
def expected(config: TrainConfig, tmp_path: Path) -> list[Result]:
    """The table of the search, trained one after the other in this process."""
    folder = tmp_path / "expected"
    save_parts(folder, *load_parts(config))
    return search(configs_of(config), partial(train_trial, folder))


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(1, 4), order=st.randoms(use_true_random=False))
def test_threads_in_any_order_find_the_same_table(
    config: TrainConfig,
    folder: Path,
    expected: list[Result],
    number: int,
    order: random.Random,
) -> None:
    def run(train: Any, jobs: Sequence[Job]) -> Iterator[Result]:
        with ThreadPoolExecutor(number) as executor:
            shuffled = order.sample(jobs, len(jobs))
            for future in as_completed([executor.submit(train, job) for job in shuffled]):
                yield future.result()

    assert search(configs_of(config), partial(train_trial, folder), run) == expected
    assert expected[-1].diverged


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@posix
def test_processes_find_the_same_table_even_if_one_dies(
    config: TrainConfig, folder: Path, expected: list[Result]
) -> None:
    with processes(2) as workers:
        assert workers.number == 2
        found = search(configs_of(config), partial(jobs.die_once, folder), workers.run)
    assert found == expected
    assert (folder / "died").exists()


def test_one_process_finds_the_same_table_twice(
    config: TrainConfig, folder: Path, expected: list[Result]
) -> None:
    with processes(1) as workers:
        for _ in range(2):
            found = search(configs_of(config), partial(train_trial, folder), workers.run)
            assert found == expected


@posix
def test_a_trial_whose_process_dies_each_time_is_named_and_no_other(
    config: TrainConfig, folder: Path
) -> None:
    # The first one: what waited in the process behind it would be blamed, too.
    listed = [Job(trial, config, 0, 1) for trial in (3, 0, 1, 2, 4)]
    seen: set[int] = set()
    with (
        pytest.raises(WorkerError, match=r"died 3 times while they trained trial 3:"),
        processes(1) as workers,
    ):
        for result in workers.run(partial(jobs.die, folder), listed):
            seen.add(result.trial)
    assert seen == {0, 1, 2, 4}
    assert (folder / "deaths").read_text() == "xxx"


@posix
def test_a_trial_whose_process_dies_is_named_and_no_other_that_runs_beside_it(
    config: TrainConfig, folder: Path
) -> None:
    listed = [Job(trial, config, 0, 1) for trial in (0, 1, 3)]
    message = r"died 3 times while they trained trial 3: the last one by SIGKILL"
    with pytest.raises(WorkerError, match=message), processes(3) as workers:
        [*workers.run(partial(jobs.die_beside, folder), listed)]
    assert (folder / "deaths").read_text() == "xxx"
    begun = [path.name for path in folder.glob("begun-*")]
    assert len(begun) == 2, "the others lost their processes"


class Threads:
    """Threads in place of processes: they start at once, and die as they are told to."""

    def __init__(self, deadly: int | None = None, code: int = -9, is_ready: bool = True) -> None:
        self.started: list[Any] = []
        self.deadly, self.code, self.is_ready = deadly, code, is_ready

    def start(self, staff: list[_Worker]) -> _Worker:
        assert len(self.started) < 9, "more and more processes are started"
        ours, theirs = Pipe()
        process: Any = SimpleNamespace(exitcode=None, kill=lambda: None, join=lambda _: None)
        process.is_alive = lambda: process.exitcode is None

        def work() -> None:
            with suppress(OSError, EOFError):
                if self.is_ready:
                    theirs.send_bytes(READY)
                while True:
                    content = theirs.recv_bytes()
                    if pickle.loads(content)[1].trial == self.deadly:
                        break
                    theirs.send_bytes(_answer(content))
            process.exitcode = self.code
            theirs.close()

        threading.Thread(target=work, daemon=True).start()
        self.started.append(process)
        staff.append(_Worker(process, ours))
        return staff[-1]


def score(job: Job) -> Result:
    return Result(job.trial, job.stop, (0.5,))


def listed(config: TrainConfig, number: int) -> list[Job]:
    return [Job(trial, config, 0, 1) for trial in range(number)]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_more_processes_than_asked_for_train_all_jobs_and_are_used_again(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    threads = Threads()
    monkeypatch.setattr("fnnet.search.workers._start", threads.start)
    with processes(number) as workers:
        for _ in range(2):
            found = [result.trial for result in workers.run(score, listed(config, 7))]
            assert sorted(found) == [*range(7)]
            assert len(threads.started) == number
        threads.started[0].exitcode = -9  # without a job: no trial's fault
        found = [result.trial for result in workers.run(score, listed(config, 7))]
        assert sorted(found) == [*range(7)]
        assert len(threads.started) == number + 1


@pytest.mark.parametrize(
    ("code", "how"), [(-9, "SIGKILL"), (-11, "SIGSEGV"), (0, "exit code 0"), (3, "exit code 3")]
)
def test_how_the_processes_of_a_trial_died_is_told(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, code: int, how: str
) -> None:
    threads = Threads(deadly=1, code=code)
    monkeypatch.setattr("fnnet.search.workers._start", threads.start)
    message = f"^workers died 3 times while they trained trial 1: the last one by {how}; "
    with pytest.raises(WorkerError, match=message), processes(1) as workers:
        [*workers.run(score, listed(config, 3))]
    assert 3 <= len(threads.started) <= 4


def test_processes_that_end_before_they_are_ready_are_not_started_again(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = Threads(deadly=0, code=1, is_ready=False)
    monkeypatch.setattr("fnnet.search.workers._start", threads.start)
    with pytest.raises(WorkerError, match=r"^a worker cannot start, "), processes(1) as workers:
        [*workers.run(score, listed(config, 3))]
    assert len(threads.started) == 1


def test_processes_that_cannot_start_are_told_of_without_a_main_file(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))  # as in a notebook
    threads = Threads(deadly=0, code=1, is_ready=False)
    monkeypatch.setattr("fnnet.search.workers._start", threads.start)
    with pytest.raises(WorkerError, match="it first imports the main module"), processes(1) as w:
        [*w.run(score, listed(config, 3))]


def test_an_error_in_a_process_is_raised_with_the_place_where_it_happened(
    config: TrainConfig, folder: Path
) -> None:
    listed = [Job(trial, config, 0, 1) for trial in (0, 1)]
    with processes(1) as workers:
        for kind, message in ((jobs.fail, "^no trial 0"), (jobs.fail_oddly, "OddError")):
            with pytest.raises((ValueError, RuntimeError), match=message) as caught:
                [*workers.run(partial(kind, folder), listed)]
            told = "".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
            assert f"in {kind.__name__}" in told
        assert [*workers.run(partial(jobs.interrupt, folder), listed)], "it works on"


SCRIPT = """
from functools import partial
from pathlib import Path
{before}
from fnnet import default_config
from fnnet.search.halving import Job
from fnnet.search.workers import processes
from tests.jobs import interrupt

{guard}
    with processes(1) as workers:
        [*workers.run(partial(interrupt, Path()), [Job(0, default_config(), 0, 1)])]
"""
GUARD = 'if __name__ == "__main__":'


def run_script(folder: Path, before: str, guard: str) -> Any:
    script = folder / "script.py"
    script.write_text(SCRIPT.format(before=before, guard=guard))
    return subprocess.run(
        [sys.executable, script],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=60,
    )


@pytest.mark.parametrize(
    ("before", "guard", "reason"),
    [
        ("", "if True:", "RuntimeError"),
        ('if __name__ != "__main__": import nowhere', GUARD, "No module named 'nowhere'"),
        ('if __name__ != "__main__": raise SystemExit', GUARD, ""),
    ],
    ids=["no guard", "an import that fails", "an exit"],
)
def test_a_process_that_cannot_start_is_no_lack_of_memory(
    tmp_path: Path, before: str, guard: str, reason: str
) -> None:
    done = run_script(tmp_path, before, guard)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("fnnet.search.workers.WorkerError: a worker cannot start")
    assert f"it first imports {tmp_path / 'script.py'}" in last
    assert 'below `if __name__ == "__main__":`' in last
    assert "memory" not in last
    assert reason in done.stderr


@posix
def test_ctrl_c_does_not_reach_the_first_process_of_a_program(tmp_path: Path) -> None:
    done = run_script(tmp_path, "", GUARD)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", [0, -1, 2000])
def test_a_number_of_processes_that_makes_no_sense_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"^workers must be .*, found {number}"), processes(number):
        pass


def wait_for_pids(folder: Path, number: int) -> list[int]:
    deadline = time.monotonic() + 60
    while len(found := [*folder.glob("*.pid")]) < number:
        assert time.monotonic() < deadline, "a worker does not begin"
        time.sleep(0.01)
    return [int(path.stem) for path in found]


def wait_for_the_end_of(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(map(alive, pids)):
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.01)


@posix
def test_busy_processes_are_gone_when_the_search_is_left(config: TrainConfig, folder: Path) -> None:
    class LeftError(Exception):
        pass

    listed = [Job(trial, config, 0, 1) for trial in range(3)]
    with pytest.raises(LeftError), processes(2) as workers:
        results = iter(workers.run(partial(jobs.hang, folder), listed))
        assert next(results).trial == 0
        pids = wait_for_pids(folder, 1)
        assert all(map(alive, pids))
        raise LeftError
    wait_for_the_end_of(pids)


@posix
def test_busy_processes_are_gone_when_their_results_are_not_wanted(
    config: TrainConfig, folder: Path
) -> None:
    listed = [Job(trial, config, 0, 1) for trial in range(3)]
    with processes(2) as workers:
        results: Any = workers.run(partial(jobs.hang, folder), listed)
        assert next(results).trial == 0
        pids = wait_for_pids(folder, 1)
        results.close()
        wait_for_the_end_of(pids)
        again = workers.run(partial(jobs.interrupt, folder), listed)
        assert {result.trial for result in again} == {0, 1, 2}


@posix
def test_ctrl_c_does_not_reach_a_process(config: TrainConfig, folder: Path) -> None:
    with processes(1) as workers:
        (result,) = workers.run(partial(jobs.interrupt, folder), [Job(4, config, 0, 1)])
    assert result.trial == 4


ORPHANS = """
if __name__ == "__main__":
    import sys
    from functools import partial
    from pathlib import Path
    from fnnet import default_config
    from fnnet.search.halving import Job
    from fnnet.search.workers import processes
    from tests.jobs import hang

    jobs = [Job(trial, default_config(), 0, 1) for trial in (1, 2)]
    with processes(2) as workers:
        next(iter(workers.run(partial(hang, Path(sys.argv[1])), jobs)))
"""


@posix
def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, script, tmp_path], env=os.environ | {"PYTHONPATH": root}
    ) as parent:
        pids = wait_for_pids(tmp_path, 2)
        parent.kill()
    wait_for_the_end_of(pids)


# A cluster.


def test_a_cluster_finds_the_same_table_even_if_a_worker_dies(
    config: TrainConfig, folder: Path, expected: list[Result], scheduler: str
) -> None:
    with cluster(scheduler) as workers:
        assert isinstance(workers, Workers)
        assert workers.number == 2
        assert workers.differences == []
        found = search(configs_of(config), partial(jobs.die_once, folder), workers.run)
    assert found == expected
    assert (folder / "died").exists()


def test_an_error_on_a_cluster_is_that_of_the_trial(
    config: TrainConfig, folder: Path, scheduler: str
) -> None:
    bad = Job(5, evolve(config, preprocessing="whiten", pool=3), 0, 1)
    with cluster(scheduler) as workers, pytest.raises(ValueError, match=r"^trial 5 cannot be"):
        [*workers.run(partial(train_trial, folder), [bad])]


def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    class Line:
        """A line whose other end goes away between a job and its answer."""

        def __init__(self) -> None:
            self.jobs = iter([pickle.dumps((len, "abc"))])

        def recv_bytes(self) -> bytes:
            for job in self.jobs:
                return job
            threading.Event().wait()  # for ever: the end of the line would end this process
            raise AssertionError

        def send_bytes(self, answer: bytes) -> None:
            if answer != READY:
                raise BrokenPipeError(32, "Broken pipe")

    _work(Line())  # type: ignore[arg-type]
