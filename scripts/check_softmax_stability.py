"""Check the softmax loss on extreme scores: see `fnnet stability --help`."""

from fnnet.__main__ import start

if __name__ == "__main__":
    start("stability")
