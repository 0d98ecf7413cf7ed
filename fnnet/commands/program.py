"""What all programs share: exit codes, and errors in one line.

Nothing large is imported here: a program that is interrupted at its start says so.
"""

import io
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it


def progress(text: str) -> Callable[[Sequence[int]], Iterable[int]]:
    """Return a function that shows a progress bar for the parts of a long work, on a terminal."""
    from tqdm import tqdm

    return lambda parts: tqdm(parts, desc=text, leave=False, disable=None)


def printable(value: object) -> str:
    r"""Return the text of a value with control characters as escapes: a terminal obeys them.

    >>> printable("cat\x1b[2J")
    'cat\\x1b[2J'
    """
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a program and exit with its code, after an error in one line.

    The code is 0 on success, 1 if a check fails or training diverges, 130 after Ctrl-C, and 2
    on any other error.
    """
    try:
        _open_streams()
        code = main() or 0
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    except MemoryError as error:
        reason = f": {error}" if str(error) else ""
        _say(f"not enough memory{reason}; a smaller hidden_dim or batch_size needs less")
        code = 2
    except ArithmeticError as error:
        _say(error)
        code = 1
    except (ValueError, OSError) as error:
        _say(str(error) or type(error).__name__)
        code = 2
    sys.exit(code)


def _say(error: object) -> None:
    print(f"error: {printable(error)}", file=sys.stderr)


def _open_streams() -> None:
    """Make standard output and error take any text; nowhere it goes if the shell closed them."""
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:  # else the first file that is opened would get the number of a stream
        null = os.dup(null)
    os.close(null)
    streams: Any = sys
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(streams, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # a path may hold what the locale cannot write
            stream.reconfigure(errors="backslashreplace")
