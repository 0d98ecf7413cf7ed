"""Check the softmax loss on extreme scores: see `fnnet stability --help`."""

from fnnet.commands.program import run
from fnnet.commands.stability import main

if __name__ == "__main__":
    run(main)
