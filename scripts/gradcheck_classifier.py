"""Check gradients: see `fnnet gradcheck classifier --help`."""

import tyro

from fnnet.commands.gradcheck import classifier
from fnnet.commands.program import run

if __name__ == "__main__":
    run(lambda: tyro.cli(classifier))
