"""Show what a checkpoint holds: see `fnnet show --help`."""

from fnnet.commands.program import run
from fnnet.commands.show import main

if __name__ == "__main__":
    run(main)
