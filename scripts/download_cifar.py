"""Fetch CIFAR-10: see `fnnet download --help`."""

from fnnet.__main__ import start

if __name__ == "__main__":
    start("download")
