"""Fetch CIFAR-10: see `fnnet download --help`."""

from fnnet.commands.download import main
from fnnet.commands.program import run

if __name__ == "__main__":
    run(main)
