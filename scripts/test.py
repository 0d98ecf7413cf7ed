"""Evaluate a checkpoint on the test set, once: see `fnnet test --help`."""

from fnnet.commands.program import run
from fnnet.commands.test import main

if __name__ == "__main__":
    run(main)
