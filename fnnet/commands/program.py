"""What all programs share: exit codes, and errors in one line."""

import io
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from tqdm import tqdm

from fnnet.checks import Watch


def progress(text: str) -> Watch:
    """Return a function that shows a progress bar for the parts of a long work, on a terminal."""
    return partial(tqdm, desc=text, leave=False, disable=None)


INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a program and exit with its code, after an error in one line.

    The code is 0 on success, 1 if a check fails or training diverges, 130 after Ctrl-C, and 2
    on any other error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a path may hold what the locale cannot write
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main() or 0
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    except ArithmeticError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 1
    except (ValueError, OSError, MemoryError) as error:
        print(f"error: {str(error) or type(error).__name__}", file=sys.stderr)
        code = 2
    sys.exit(code)
