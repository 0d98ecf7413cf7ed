"""A Dask cluster whose parts are of the wrong kind, or go away: one line says so."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import fnnet
from fnnet import TrainConfig
from fnnet.runs.provenance import environment
from fnnet.search.cluster import LOGGERS, _run_jobs, cluster
from fnnet.search.halving import Job
from fnnet.search.workers import WorkerError
from tests import jobs
from tests.conftest import LOOPBACK

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scheduler_alone() -> Iterator[str]:
    """The address of a scheduler in this process, without workers."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=0, **LOOPBACK) as alone:
        yield alone.scheduler_address


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all waits be short."""
    monkeypatch.setattr("fnnet.search.cluster.PATIENCE", 0.2)
    monkeypatch.setattr("fnnet.search.cluster.ABANDONED", 1.0)


@contextmanager
def part(kind: str, *args: object, path: Path = ROOT, first: str = "pass") -> Iterator[Any]:
    """Start a scheduler or a worker of its own, which imports fnnet from a path."""
    code = f"import sys; {first}; from distributed.cli.dask_{kind} import main; main()"
    words = [sys.executable, "-c", code, *map(str, args), "--no-dashboard"]
    with subprocess.Popen(
        words,
        cwd=path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(path), str(ROOT)))},
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def worker(address: str, **options: Any) -> Any:
    return part("worker", address, "--nthreads", 1, "--no-nanny", **options)


def listed(config: TrainConfig, *trials: int) -> Sequence[Job]:
    return [Job(trial, config, 0, 1) for trial in trials]


def test_a_worker_that_cannot_import_fnnet_is_named(scheduler_alone: str) -> None:
    message = r"^the worker at tcp://\S+ must be able to import fnnet: .*No module named"
    with (
        worker(scheduler_alone, first="sys.modules['fnnet'] = None"),
        pytest.raises(WorkerError, match=message),
        cluster(scheduler_alone),
    ):
        pass


def test_a_search_whose_last_worker_dies_says_so_and_ends(
    scheduler_alone: str, small_config: TrainConfig, tmp_path: Path, brief: None
) -> None:
    told: list[str] = []
    with worker(scheduler_alone) as only, cluster(scheduler_alone, told.append) as workers:
        results = iter(workers.run(partial(jobs.hang, tmp_path), listed(small_config, 0, 1)))
        assert next(results).trial == 0
        only.kill()
        with pytest.raises(WorkerError, match="has had no workers for 1 s"):
            next(results)
    assert told == [f"no worker is connected to the scheduler at {scheduler_alone}: waiting"]


@contextmanager
def made_up(answers: dict[str, Any] | Exception) -> Iterator[Any]:
    """A client whose workers answer as given."""

    def run(function: Any, *, workers: list[str], callback_timeout: float, **_: Any) -> Any:
        assert callback_timeout > 0  # a worker that is deaf must not keep the search waiting
        if isinstance(answers, Exception):
            raise answers
        return {worker: answers[worker] for worker in workers}

    names = ["a", "b"] if isinstance(answers, Exception) else answers
    yield SimpleNamespace(
        wait_for_workers=lambda *_, **__: None,
        nthreads=lambda callback_timeout: dict.fromkeys(names, 2),
        run=run,
    )


def test_what_is_not_the_same_at_a_worker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    here = environment()
    answers = {"a": here, "b": {**here, "cpu": "another"}, "c": {**here, "blas threads": "9"}}
    monkeypatch.setattr("fnnet.search.cluster._connect", lambda _: made_up(answers))
    with cluster("tcp://h:1") as workers:
        assert workers.differences == [f"cpu is another at b, found {here['cpu']} here"]
        assert workers.number == 6


@pytest.mark.parametrize("error", [TimeoutError(), OSError("gone")])
def test_workers_that_do_not_answer_are_named(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("fnnet.search.cluster._connect", lambda _: made_up(error))
    with (
        pytest.raises(WorkerError, match=r"^a worker of tcp://h:1 does not answer: a or b$"),
        cluster("tcp://h:1"),
    ):
        pass


@pytest.mark.parametrize(
    ("error", "reason"), [(OSError("no route"), "no route"), (TimeoutError(), "TimeoutError")]
)
def test_why_a_scheduler_cannot_be_reached_is_told(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def client(*_: Any, timeout: float, **__: Any) -> None:
        assert timeout > 0
        raise error

    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=client))
    message = f"^scheduler cannot be reached at 'tcp://h:1': {reason}; is it a Dask scheduler"
    with pytest.raises(ValueError, match=message), cluster("tcp://h:1"):
        pass


def test_a_worker_that_loses_fnnet_is_told_and_lost_workers_go_to_stderr(
    small_config: TrainConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("fnnet.search.cluster.PATIENCE", 0.01)
    future = Future[Any]()

    def nthreads(callback_timeout: float) -> dict[str, int]:
        if told:
            future.set_exception(ModuleNotFoundError("No module named 'fnnet'"))
        told.append(True)
        return {}

    told: list[bool] = []
    client = SimpleNamespace(
        wait_for_workers=lambda *_, **__: None,
        get_executor=lambda pure: SimpleNamespace(submit=lambda *_: future),
        nthreads=nthreads,
    )
    monkeypatch.setattr("fnnet.search.cluster._connect", lambda _: nullcontext(client))
    with (
        pytest.raises(
            WorkerError, match=r"^a worker of tcp://h:1 must be able to import fnnet: No module"
        ),
        cluster("tcp://h:1") as workers,
    ):
        told.clear()
        next(iter(workers.run(partial(jobs.hang, Path()), listed(small_config, 1))))
    shown = capsys.readouterr()
    line = "no worker is connected to the scheduler at tcp://h:1: waiting\n"
    assert (shown.out, shown.err) == ("", line)


def test_workers_are_not_looked_after_while_results_come(small_config: TrainConfig) -> None:
    futures = [Future[Any](), Future[Any]()]
    jobs_left = iter(futures)

    def nthreads(callback_timeout: float) -> Any:
        raise AssertionError("the scheduler is asked for its workers")

    client = SimpleNamespace(
        get_executor=lambda pure: SimpleNamespace(submit=lambda *_: next(jobs_left)),
        nthreads=nthreads,
    )
    results = _run_jobs("tcp://a:1", client, set(), print, sorted, listed(small_config, 1, 2))
    for future in futures:
        future.set_result(future)
        assert next(results) is future  # type: ignore[comparison-overlap]
    assert [*results] == []


@pytest.mark.parametrize("lost", ["scheduler", "workers"])
def test_what_is_lost_during_a_search_is_named(
    small_config: TrainConfig, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("fnnet.search.cluster.PATIENCE", 0.01)
    future = Future[Any]()

    def nthreads(callback_timeout: float) -> Any:
        raise TimeoutError

    client = SimpleNamespace(
        get_executor=lambda pure: SimpleNamespace(submit=lambda *_: future), nthreads=nthreads
    )
    message = "^the scheduler at tcp://a:1 does not answer any more$"
    if lost == "workers":
        state = SimpleNamespace(address="tcp://b:2")
        future.set_exception(distributed.KilledWorker("task", state, 3))
        message = "^workers died again and again while they had trial 7, and maybe others: .*task"
    with pytest.raises(WorkerError, match=message):
        [*_run_jobs("tcp://a:1", client, set(), print, sorted, listed(small_config, 7))]


def test_a_search_goes_on_waiting_if_a_worker_comes_and_goes(
    small_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnnet.search.cluster.PATIENCE", 0.05)
    monkeypatch.setattr("fnnet.search.cluster.ABANDONED", 0.22)
    looks: list[list[str]] = [[], [], ["a"], *[[]] * 100]
    client = SimpleNamespace(
        get_executor=lambda pure: SimpleNamespace(submit=lambda *_: Future()),
        nthreads=lambda callback_timeout: looks.pop(0),
        run=lambda *_, **__: {"a": environment()},
    )
    told: list[str] = []
    results = _run_jobs("tcp://a:1", client, set(), told.append, sorted, listed(small_config, 1))
    with pytest.raises(WorkerError, match="has had no workers for 0 s"):
        next(results)
    assert told == ["no worker is connected to the scheduler at tcp://a:1: waiting"] * 2
    assert len(looks) <= 96


def test_another_worker_takes_over(
    scheduler_alone: str,
    small_config: TrainConfig,
    tmp_path: Path,
    brief: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fnnet.search.cluster.ABANDONED", 60.0)
    with worker(scheduler_alone) as first, cluster(scheduler_alone) as workers:
        results = iter(workers.run(partial(jobs.hang_once, tmp_path), listed(small_config, 0, 1)))
        assert next(results).trial == 0
        first.kill()
        with worker(scheduler_alone):
            assert [result.trial for result in results] == [1]


def test_a_worker_with_other_sources_is_named_whenever_it_comes(
    scheduler_alone: str, small_config: TrainConfig, tmp_path: Path, brief: None
) -> None:
    shutil.copytree(Path(fnnet.__file__).parent, tmp_path / "fnnet")
    with (tmp_path / "fnnet" / "losses.py").open("a") as file:
        file.write("# changed\n")
    told: list[str] = []
    with worker(scheduler_alone), cluster(scheduler_alone, told.append) as workers:
        assert workers.differences == []
        results = workers.run(partial(jobs.wait_for_go, tmp_path), listed(small_config, 1))
        thread = threading.Thread(target=list, args=(results,))
        thread.start()
        with worker(scheduler_alone, path=tmp_path):
            deadline = time.monotonic() + 30
            while not told:
                assert time.monotonic() < deadline, "the worker is not named"
                time.sleep(0.05)
            with cluster(scheduler_alone) as late:
                (line,) = late.differences
            (tmp_path / "go").touch()
            thread.join(30)
    assert line.startswith("fnnet sources is ")
    assert told == [f"{line}: the last bits may change"]


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_scheduler_that_goes_away_ends_the_search_in_one_line(
    small_config: TrainConfig,
    tmp_path: Path,
    brief: None,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("distributed")
    if how == "stop" and os.name != "posix":
        pytest.skip("needs the signals of POSIX")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    levels = [logging.getLogger(name).level for name in LOGGERS]
    with (
        part("scheduler", "--host", "127.0.0.1", "--port", port) as process,
        worker(address),
        cluster(address) as workers,
    ):
        results = iter(workers.run(partial(jobs.hang, tmp_path), listed(small_config, 0, 1)))
        assert next(results).trial == 0
        monkeypatch.setattr("fnnet.search.cluster.TIMEOUT", 1.0)
        assert not logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)
        process.send_signal(signal.SIGKILL if how == "kill" else signal.SIGSTOP)
        with pytest.raises(WorkerError, match=f"^the scheduler at {address} (went|does)"):
            next(results)
    assert capfd.readouterr().err == ""
    assert [logging.getLogger(name).level for name in LOGGERS] == levels


def test_a_port_that_waits_for_words_of_another_kind_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("fnnet.search.cluster.TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"tcp://127.0.0.1:{deaf.getsockname()[1]}"
        with (
            pytest.raises(ValueError, match=f"^scheduler cannot be reached at '{address}': .+"),
            cluster(address),
        ):
            pass


@pytest.mark.parametrize(
    "address", ["", "nowhere", "tcp://nowhere", "http://127.0.0.1:80", "tcp://a b:1"]
)
def test_what_is_no_address_of_a_scheduler_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="scheduler must be tcp://HOST:PORT"), cluster(address):
        pass


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("fnnet.search.cluster.TIMEOUT", 0.2)
    with (
        pytest.raises(ValueError, match=r"scheduler cannot be reached at 'tcp://127.0.0.1:1'"),
        cluster("tcp://127.0.0.1:1"),
    ):
        pass


def test_a_scheduler_without_workers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("fnnet.search.cluster.TIMEOUT", 0.5)
    with (
        distributed.LocalCluster(n_workers=0, **LOOPBACK) as empty,
        pytest.raises(ValueError, match="must have workers, found none"),
        cluster(empty.scheduler_address),
    ):
        pass


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(ValueError, match=r"pip install 'fnnet\[cluster\]'"),
        cluster("tcp://127.0.0.1:1"),
    ):
        pass
