"""Search for good settings: see `fnnet tune --help`."""

from fnnet.commands.program import run
from fnnet.commands.tune import main

if __name__ == "__main__":
    run(main)
