"""The only module that knows of MPI: the ranks that ``mpiexec`` started, and how they end."""

import io
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from typing import Any

from fnnet.checks import Array
from fnnet.commands.program import INTERRUPTED
from fnnet.runs.ranks import Comm
from fnnet.waiting import PATIENCE

TURN = 2.0  # seconds between the turns of two ranks: the first that fails ends the others
LONGEST = 10.0  # seconds that any rank waits for its turn
SILENCE = 3600.0  # seconds without an answer after which a rank gives another one up


@contextmanager
def ranks() -> Iterator[Comm]:
    """Lend the ranks of this run; whichever of them fails or exits early ends all of them.

    Only rank 0 prints. If ranks fail, the lowest of them prints its error.

    The program exits with 2 if mpi4py, or the MPI library that it needs, is not installed.
    """
    mpi = _mpi()
    world = mpi.COMM_WORLD
    comm = Comm(world.rank, world.size, partial(_exchange, mpi))
    heard = io.StringIO()
    try:
        if world.rank == 0:
            yield comm
        else:
            with redirect_stdout(io.StringIO()), redirect_stderr(heard):
                yield comm
        return
    except SystemExit as error:
        if not error.code:
            raise
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # a bug: its traceback helps to mend it
        heard.write(traceback.format_exc())
        code = 1
    try:
        # After Ctrl-C rank 0 has a checkpoint to write; it ends the others when it is done.
        interrupted = world.rank > 0 and code == INTERRUPTED
        time.sleep(LONGEST if interrupted else min(LONGEST, TURN * world.rank))
        print(heard.getvalue(), end="", file=sys.stderr, flush=True)
        time.sleep(0.1)  # for mpiexec to pass on what was printed before it ends
    finally:
        world.Abort(code)


def _mpi() -> Any:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        hint = "pip install 'fnnet[mpi]'"
        print(
            f"error: --distributed needs mpi4py and an MPI library ({error}): {hint}",
            file=sys.stderr,
        )
        sys.exit(2)
    return MPI


def _exchange(mpi: Any, other: int, send: Array, receive: Array) -> None:
    world = mpi.COMM_WORLD
    requests = [world.Irecv([receive, mpi.BYTE], other), world.Isend([send, mpi.BYTE], other)]
    waited, last, told = 0.0, time.monotonic(), False
    # MPI's own waiting would be deaf to Ctrl-C, and keep a processor from a rank that works.
    while not mpi.Request.Testall(requests):
        time.sleep(0)
        now = time.monotonic()
        waited, last = waited + min(now - last, 1.0), now  # a pause by Ctrl-Z counts a second
        if waited > PATIENCE and not told:
            told = True
            # Not sys.stderr: only rank 0 has it, and the one that is waited for may be that.
            print(f"rank {world.rank} waits for rank {other}", file=sys.__stderr__, flush=True)
        if waited > SILENCE:
            raise TimeoutError(f"rank {world.rank} has heard nothing from rank {other} for an hour")
