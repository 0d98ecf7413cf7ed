"""Functions that worker processes of the tests call; little to import."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from fnnet.search.halving import Job, Result
from fnnet.search.trial import train_trial


def die_once(folder: Path, job: Job) -> Result:
    """Train, but kill the process that first goes on with a trial."""
    if job.start:
        with suppress(FileExistsError):
            (folder / "died").touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
    return train_trial(folder, job)


def die(folder: Path, job: Job) -> Result:
    """Kill the process for trial 3, and note each time."""
    if job.trial == 3:
        with (folder / "deaths").open("a") as file:
            file.write("x")
        os._exit(1)
    return Result(job.trial, job.stop, (0.5,))


def die_beside(folder: Path, job: Job) -> Result:
    """Kill the process for trial 3, each time after the others have begun; those wait."""
    if job.trial == 3:
        while len([*folder.glob("begun-*")]) < 2:
            time.sleep(0.01)
        with (folder / "deaths").open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / f"begun-{os.getpid()}").touch()
    time.sleep(60)
    return Result(job.trial, job.stop, (0.5,))


def fail(folder: Path, job: Job) -> Result:
    """Raise an error that names the trial."""
    raise ValueError(f"no trial {job.trial}")


class OddError(Exception):
    """An error that a pickle cannot make again."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


def fail_oddly(folder: Path, job: Job) -> Result:
    """Raise an error that cannot be pickled."""
    raise OddError("a", "b")


def hang(folder: Path, job: Job) -> Result:
    """Note the process and sleep for a minute, but for trial 0."""
    if job.trial:
        (folder / f"{os.getpid()}.pid").touch()
        time.sleep(60)
    return Result(job.trial, job.stop, (0.5,))


def wait_for_go(folder: Path, job: Job) -> Result:
    """Train until the test says that it has seen enough."""
    while not (folder / "go").exists():
        time.sleep(0.01)
    return Result(job.trial, job.stop, (0.5,))


def hang_once(folder: Path, job: Job) -> Result:
    """Sleep for a minute the first time, but for trial 0."""
    with suppress(FileExistsError):
        if job.trial:
            (folder / "hung").touch(exist_ok=False)
            time.sleep(60)
    return Result(job.trial, job.stop, (0.5,))


def interrupt(folder: Path, job: Job) -> Result:
    """Get the signal that Ctrl-C sends to all processes of a terminal."""
    os.kill(os.getpid(), signal.SIGINT)
    return Result(job.trial, job.stop, (0.5,))
