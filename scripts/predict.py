"""Classify pictures, folders of pictures and .npz files: the same as `fnnet predict`."""

from fnnet.commands.predict import main
from fnnet.commands.program import run

if __name__ == "__main__":
    run(main)
