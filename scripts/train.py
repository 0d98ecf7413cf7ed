"""Train a network: see `fnnet train --help`."""

from fnnet.__main__ import start

if __name__ == "__main__":
    start("train")
