"""Workers that train the trials: processes on this machine, or a Dask cluster.

Either one gives a function like ``map`` that returns the results in any order, as
:func:`fnnet.search.successive_halving` takes it.
"""

import os
import re
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    ProcessPoolExecutor,
    as_completed,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from typing import Any

from attrs import frozen

from fnnet.checks import as_integer
from fnnet.limits import MAX_WORKERS
from fnnet.runs.provenance import differences, environment
from fnnet.search.halving import Job, Result, Run

MAX_DEATHS = 3  # of workers at the same trial, before it counts as the trial's fault
TIMEOUT = 10  # seconds for a scheduler to answer, and to have a worker


class WorkerError(OSError):
    """Workers died again and again, or are out of reach."""


@frozen
class Workers:
    """The workers of a search, and how many trials they train at the same time."""

    run: Run
    number: int
    differences: Sequence[str] = ()
    """What is not as on this machine: with other programs or processors the bits may differ."""


@contextmanager
def processes(number: int) -> Iterator[Workers]:
    """Start processes as they are needed; at the end all are gone, busy or not.

    A job whose process dies is run again by another one, three times in all. Ctrl-C reaches
    this process alone, and should it be killed, the others end by themselves.

    Raises:
        TypeError, ValueError: `number` is not an integer in [1, 1024].
        WorkerError: the process died each time; the message names the trials it was at.
    """
    number = as_integer("workers", number, 1, MAX_WORKERS)
    theirs, ours = Pipe(duplex=False)  # the processes end when `ours` closes, as by our death
    pools: list[ProcessPoolExecutor] = []

    def renew() -> None:
        # spawn: a fork would copy the BLAS library in the middle of what its threads do
        pools.append(ProcessPoolExecutor(number, get_context("spawn"), _end_with, (theirs,)))

    renew()
    try:
        yield Workers(partial(_run_jobs, number, pools, renew), number)
    finally:
        ours.close()
        for pool in pools:
            pool.shutdown(cancel_futures=True)
        theirs.close()


def _run_jobs(
    number: int,
    pools: Sequence[ProcessPoolExecutor],
    renew: Callable[[], None],
    function: Any,
    jobs: Sequence[Job],
) -> Iterator[Result]:
    """Yield the result of each job as soon as it is there; `renew` replaces the last pool."""
    waiting, deaths = deque(jobs), Counter[Job]()
    running: dict[Future[Result], tuple[Job, ProcessPoolExecutor]] = {}
    while waiting or running:
        # At most one job for each process: a broken pool does not say which job's process died,
        # so every running job counts as a suspect.
        while waiting and len(running) < number:
            try:
                with _interrupts_held():
                    future = pools[-1].submit(function, waiting[0])
            except BrokenProcessPool:
                renew()
            else:
                running[future] = waiting.popleft(), pools[-1]
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            job, pool = running.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                deaths[job] += 1
                if deaths[job] == MAX_DEATHS:
                    at = " or ".join(str(job.trial) for job in deaths)
                    reason = f"workers died {MAX_DEATHS} times while they trained trial {at}"
                    raise WorkerError(f"{reason}: if memory is short, use fewer workers") from None
                waiting.append(job)
                if pool is pools[-1]:
                    renew()
            else:
                yield result


def _end_with(pipe: Connection) -> None:
    """End this process as soon as the other end of the pipe is closed, even by a kill."""

    def watch() -> None:
        pipe.poll(None)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back; a process that is started meanwhile never gets it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def cluster(address: str) -> Iterator[Workers]:
    """Use the workers of the Dask cluster whose scheduler is at the address, tcp://HOST:PORT.

    They need this version of fnnet, and what a job reads must lie in a folder that they
    share. Dask gives the job of a worker that dies to another one.

    Raises:
        ValueError: Dask is not installed, or the scheduler does not answer or lacks workers.
        WorkerError: a job's worker died four times, or the scheduler went away.
    """
    if not re.fullmatch(r"(tcp|tls)://[^\s/]+:\d{1,5}", address):
        raise ValueError(f"scheduler must be tcp://HOST:PORT, found {address!r}")
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise ValueError("scheduler needs Dask: pip install 'fnnet[cluster]'") from None
    try:
        client = Client(address, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"scheduler cannot be reached at {address!r}: {error}") from None

    def run(function: Any, jobs: Sequence[Job]) -> Iterator[Result]:
        executor = client.get_executor(pure=False)
        for future in as_completed([executor.submit(function, job) for job in jobs]):
            try:
                result = future.result()
            except KilledWorker as error:
                raise WorkerError(str(error)) from None
            except CancelledError:
                raise WorkerError(f"the scheduler at {address} went away") from None
            yield result

    with client:
        try:
            client.wait_for_workers(1, timeout=TIMEOUT)
        except TimeoutError:
            raise ValueError(f"scheduler at {address} must have workers, found none") from None
        here = environment()
        unlike = [
            line
            for worker, there in client.run(environment).items()
            for line in differences(
                there, here | {"blas threads": there["blas threads"]}, f"at {worker}", " here"
            )
        ]
        yield Workers(run, sum(client.nthreads().values()), unlike)
