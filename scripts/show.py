"""Show what a checkpoint holds: see `fnnet show --help`."""

from fnnet.__main__ import start

if __name__ == "__main__":
    start("show")
