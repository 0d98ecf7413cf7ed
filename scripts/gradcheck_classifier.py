"""Check gradients: see `fnnet gradcheck classifier --help`."""

from fnnet.__main__ import start

if __name__ == "__main__":
    start("gradcheck", "classifier")
