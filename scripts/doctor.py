"""Check a training before it starts: see `fnnet doctor --help`."""

from fnnet.__main__ import start

if __name__ == "__main__":
    start("doctor")
