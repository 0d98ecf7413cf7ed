"""Workers that train the trials: processes on this machine. See :mod:`fnnet.search.cluster`, too.

Either kind gives a function like ``map`` that returns the results in any order, as
:func:`fnnet.search.successive_halving` takes it.
"""

import os
import pickle
import signal
import sys
import threading
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from typing import Any

from attrs import frozen

from fnnet.checks import as_integer
from fnnet.limits import MAX_WORKERS
from fnnet.search.halving import Job, Result, Run

MAX_DEATHS = 3  # of processes at the same trial, before it counts as the trial's fault
LAST_BREATH = 10.0  # seconds for a process that hung up, or was killed, to be gone
READY = b""


class WorkerError(OSError):
    """Workers cannot start, died again and again, or are out of reach."""


@frozen
class Workers:
    """The workers of a search, and how many trials they train at the same time."""

    run: Run
    number: int
    differences: Sequence[str] = ()
    """What is not as on this machine: with other programs or processors the bits may differ."""


@frozen(eq=False)
class _Worker:
    process: SpawnProcess
    line: Connection


@contextmanager
def processes(number: int) -> Iterator[Workers]:
    """Start processes as they are needed; at the end all are gone, busy or not.

    A job whose process dies is run again by another one, three times in all. Ctrl-C reaches
    this process alone, and should it be killed, the others end by themselves.

    Each process first imports the script that was started. So a script must call this function
    only below ``if __name__ == "__main__":``.

    Raises:
        TypeError, ValueError: `number` is not an integer in [1, 1024].
        WorkerError: no process can start, or it died each time; the message names the trial
            it was at.
    """
    number = as_integer("workers", number, 1, MAX_WORKERS)
    staff: list[_Worker] = []
    idle: list[_Worker] = []
    try:
        yield Workers(partial(_run_jobs, number, staff, idle), number)
    finally:
        _end(staff)


def _run_jobs(
    number: int, staff: list[_Worker], idle: list[_Worker], function: Any, jobs: Sequence[Job]
) -> Iterator[Result]:
    """Yield the result of each job as soon as it is there."""
    waiting, deaths = deque(jobs), Counter[Job]()
    busy: dict[Connection, tuple[_Worker, Job]] = {}
    begun = {worker.line for worker in idle}
    try:
        while waiting or busy:
            while waiting and len(busy) < number:
                worker = idle.pop() if idle else _start(staff)
                if not worker.process.is_alive() and worker.line in begun:
                    continue  # it died without a job
                with suppress(OSError):  # it has just died: its line will say so
                    worker.line.send_bytes(pickle.dumps((function, waiting[0])))
                busy[worker.line] = worker, waiting.popleft()
            for line in connection.wait([*busy]):
                assert isinstance(line, Connection)
                worker, job = busy[line]
                try:
                    answer = line.recv_bytes()
                except (EOFError, OSError):
                    del busy[line]
                    _end([worker])
                    deaths[job] += 1
                    _check_death(worker.process, job, deaths[job], line in begun)
                    waiting.append(job)
                    continue
                if answer == READY:
                    begun.add(line)
                    continue
                del busy[line]
                idle.append(worker)
                result, error = pickle.loads(answer)
                if error is not None:
                    raise error
                yield result
    finally:
        _end([worker for worker, _ in busy.values()])


def _check_death(process: SpawnProcess, job: Job, deaths: int, has_begun: bool) -> None:
    """Raise WorkerError unless another process may do better."""
    code = process.exitcode or 0
    if not has_begun and code >= 0:  # no signal: Python itself gave up
        script = getattr(sys.modules["__main__"], "__file__", "the main module")
        raise WorkerError(
            f"a worker cannot start, its own error is above: it first imports {script}, which "
            'must start workers only below `if __name__ == "__main__":`, and all that this imports'
        )
    if deaths == MAX_DEATHS:
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        raise WorkerError(
            f"workers died {deaths} times while they trained trial {job.trial}: the last one by "
            f"{how}; if memory is short, use fewer workers"
        )


def _start(staff: list[_Worker]) -> _Worker:
    # spawn: a fork would copy the BLAS library in the middle of what its threads do
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    with _interrupts_held():
        process.start()
    theirs.close()
    staff.append(_Worker(process, ours))
    return staff[-1]


def _end(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.process.kill()
        worker.line.close()
    for worker in workers:
        worker.process.join(LAST_BREATH)


def _work(line: Connection) -> None:
    """Answer each job, in a process of its own, which ends as soon as the other one does."""
    jobs = SimpleQueue[bytes]()

    def listen() -> None:
        with suppress(EOFError, OSError):
            while True:
                jobs.put(line.recv_bytes())
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    with suppress(BrokenPipeError):  # nobody waits for the answer any more
        line.send_bytes(READY)
        while True:
            line.send_bytes(_answer(jobs.get()))


def _answer(content: bytes) -> bytes:
    """Return the pickled pair of a job's result and None, or of None and the error."""
    try:
        function, job = pickle.loads(content)
        return pickle.dumps((function(job), None))
    except BaseException as error:
        where = f"in a worker process:\n{traceback.format_exc()}"
        error.add_note(where)
        try:
            answer = pickle.dumps((None, error))
            pickle.loads(answer)
        except Exception:  # how an error is pickled and made again is up to its class: all can fail
            return pickle.dumps((None, RuntimeError(where)))
        return answer


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back; a process that is started meanwhile never gets it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its start, with the first process, would let Ctrl-C through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
