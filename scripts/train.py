"""Train a network: see `fnnet train --help`."""

from fnnet.commands.program import run
from fnnet.commands.train import main

if __name__ == "__main__":
    run(main)
