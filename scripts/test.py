"""Evaluate a checkpoint on the test set, once: see `fnnet test --help`."""

from fnnet.__main__ import start

if __name__ == "__main__":
    start("test")
