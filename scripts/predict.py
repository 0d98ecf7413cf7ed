"""Classify pictures, folders of pictures and .npz files: the same as `fnnet predict`."""

from fnnet.__main__ import start

if __name__ == "__main__":
    start("predict")
