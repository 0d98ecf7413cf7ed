"""Check gradients: see `fnnet gradcheck layers --help`."""

import tyro

from fnnet.commands.gradcheck import layers
from fnnet.commands.program import run

if __name__ == "__main__":
    run(lambda: tyro.cli(layers))
