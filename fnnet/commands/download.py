"""Fetch CIFAR-10 (170 MB), or use an archive or a folder that you already have."""

from pathlib import Path

import tyro

from fnnet.data.cifar import load_cifar10
from fnnet.data.download import copy, fetch, is_complete, unpack
from fnnet.data.folders import default_data_dir
from fnnet.files import home


def download(source: Path | None = None, data_dir: Path | None = None) -> None:
    """Fetch CIFAR-10 (170 MB), or use an archive or a folder that you already have.

    Args:
        source: an official .tar.gz, or a folder with the batch files, to use instead of the
            network.
        data_dir: where to put it; by default where a training looks for it.
    """
    data_dir = default_data_dir() if data_dir is None else home(data_dir)
    if is_complete(data_dir):
        print(f"CIFAR-10 is already in {data_dir}")
        return
    if source is None:
        fetch(data_dir)
    elif (source := home(source)).is_dir():
        copy(source, data_dir)
    else:
        unpack(source, data_dir)
    load_cifar10(data_dir)  # "is now in" is said of what loads
    print(f"CIFAR-10 is now in {data_dir}")


def main() -> None:
    """Fetch CIFAR-10 as the command line says."""
    tyro.cli(download)
