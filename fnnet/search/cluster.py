"""Workers of a Dask cluster, which train the trials of a search."""

import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from fnnet.runs.provenance import differences, environment
from fnnet.search.halving import Job, Result
from fnnet.search.workers import WorkerError, Workers
from fnnet.waiting import PATIENCE, within

TIMEOUT = 10.0  # seconds for a scheduler to answer, and to have a worker
LOGGERS = ("distributed", "distributed.client")
ABANDONED = 60.0  # seconds without any worker after which a search ends


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


@contextmanager
def cluster(address: str, tell: Callable[[str], object] = _tell) -> Iterator[Workers]:
    """Use the workers of the Dask cluster whose scheduler is at the address, tcp://HOST:PORT.

    They need this version of fnnet, and what a job reads must lie in a folder that they
    share. Dask gives the job of a worker that dies to another one.

    Args:
        address: of the scheduler.
        tell: gets a line when no worker is left, or one comes that is not as this machine.

    Raises:
        ValueError: Dask is not installed, or the scheduler does not answer or lacks workers.
        WorkerError: a worker cannot import fnnet, a job's worker died four times, no worker
            was left for a minute, or the scheduler went away.
    """
    if not re.fullmatch(r"(tcp|tls)://[^\s/]+:\d{1,5}", address):
        raise ValueError(f"scheduler must be tcp://HOST:PORT, found {address!r}")
    with _quiet(), _connect(address) as client:
        try:
            within(2 * TIMEOUT, client.wait_for_workers, 1, timeout=TIMEOUT)
        except TimeoutError:
            raise ValueError(f"scheduler at {address} must have workers, found none") from None
        threads = client.nthreads(callback_timeout=TIMEOUT)
        compared: set[str] = set()
        unlike = _compare(address, client, compared, threads)
        run = partial(_run_jobs, address, client, compared, tell)
        yield Workers(run, sum(threads.values()), unlike)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's log from the terminal: what matters becomes an error of ours, in one line."""
    with suppress(ImportError):
        import distributed  # noqa: F401  # it sets its levels
    levels = {logger: logger.level for logger in map(logging.getLogger, LOGGERS)}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise ValueError("scheduler needs Dask: pip install 'fnnet[cluster]'") from None
    try:
        # A server of another kind may keep Dask waiting for ever.
        return within(2 * TIMEOUT, Client, address, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"scheduler cannot be reached at {address!r}: {reason}; is it a Dask scheduler?"
        ) from None


def _run_jobs(
    address: str,
    client: Any,
    compared: set[str],
    tell: Callable[[str], object],
    function: Any,
    jobs: Sequence[Job],
) -> Iterator[Result]:
    """Yield the result of each job as soon as it is there, and look after the workers."""
    executor = client.get_executor(pure=False)
    trials = {executor.submit(function, job): job.trial for job in jobs}
    waiting: Iterable[Future[Result]] = trials
    looked, abandoned = time.monotonic(), None
    while waiting:
        done, waiting = wait(waiting, PATIENCE, FIRST_COMPLETED)
        yield from (_result(address, trials[future], future) for future in done)
        now = time.monotonic()
        if not waiting or now - looked < PATIENCE:
            continue
        looked = now
        workers = _workers(address, client)
        for line in _compare(address, client, compared, workers):
            tell(f"{line}: the last bits may change")
        if workers:
            abandoned = None
        elif abandoned is None:
            abandoned = now
            tell(f"no worker is connected to the scheduler at {address}: waiting")
        elif now - abandoned >= ABANDONED:
            raise WorkerError(
                f"the scheduler at {address} has had no workers for {ABANDONED:.0f} s"
            )


def _result(address: str, trial: int, future: Future[Result]) -> Result:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        # Dask suspects all that a worker had when it died, guilty or not.
        at = f"while they had trial {trial}, and maybe others"
        raise WorkerError(f"workers died again and again {at}: {error}") from None
    except CancelledError:
        raise WorkerError(f"the scheduler at {address} went away") from None
    except ImportError as error:
        raise WorkerError(f"a worker of {address} must be able to import fnnet: {error}") from None


def _workers(address: str, client: Any) -> Iterable[str]:
    try:
        return [*client.nthreads(callback_timeout=TIMEOUT)]
    except (OSError, TimeoutError):
        raise WorkerError(f"the scheduler at {address} does not answer any more") from None


def _compare(
    address: str, client: Any, compared: set[str], workers: Iterable[str]
) -> Sequence[str]:
    """Return what is not as on this machine at the workers that were not compared before."""
    new = [worker for worker in workers if worker not in compared]
    if not new:
        return []
    compared.update(new)
    try:
        answers = client.run(environment, workers=new, on_error="return", callback_timeout=TIMEOUT)
    except (OSError, TimeoutError):
        raise WorkerError(f"a worker of {address} does not answer: {' or '.join(new)}") from None
    here, unlike = environment(), []
    for worker, there in answers.items():
        if isinstance(there, OSError):  # it has gone already
            continue
        if isinstance(there, Exception):
            raise WorkerError(f"the worker at {worker} must be able to import fnnet: {there}")
        like = here | {"blas threads": there["blas threads"]}
        unlike += differences(there, like, f"at {worker}", " here")
    return unlike
