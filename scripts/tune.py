"""Search for good settings: see `fnnet tune --help`."""

from fnnet.__main__ import start

if __name__ == "__main__":
    start("tune")
