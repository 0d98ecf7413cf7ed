"""Hostile files of CIFAR, in small layouts."""

import pickletools
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from attrs import evolve

from fnnet import Dataset
from fnnet.data import cifar
from fnnet.data.cifar_layouts import CIFAR10_BIN, CIFAR10_PY, CIFAR100_BIN, CIFAR100_PY, Layout
from tests.cifar10_files import bin_batch, py_array, py_dict, py_list, string
from tests.fuzz import mutations as m
from tests.fuzz.datasets import Check, Files, check_datasets

NAMES = [b"class_%d" % i for i in range(5)]
SIZES: dict[str, Any] = {"train": {"data_batch_1": 4}, "test": {"test_batch": 3}, "num_classes": 5}
LAYOUTS: dict[str, Layout] = {
    "cifar10-bin": evolve(CIFAR10_BIN, **SIZES),
    "cifar10-py": evolve(CIFAR10_PY, **SIZES),
    "cifar100-bin": evolve(CIFAR100_BIN, **SIZES),
    "cifar100-py": evolve(CIFAR100_PY, **SIZES),
}


def cifar_batches(layout: Layout) -> Files:
    """Return the files of a layout with a few images."""
    files: Files = {}
    for name, size in (layout.train | layout.test).items():
        images = np.random.default_rng(size).integers(256, size=(size, 3072), dtype=np.uint8)
        labels = np.arange(size)
        numbers = {
            layout.label_key.decode(): py_list(labels),
            "data": py_array(images.tobytes(), images.shape),
        }
        words = {
            "batch_label": string(
                b"%sing batch 1 of 1" % name.split("_")[0].replace("data", "train").encode()
            )
        }
        if layout.label_bytes:
            files[name] = bin_batch(images, np.column_stack([labels] * layout.label_bytes))
        else:
            files[name] = py_dict(**words, **numbers)
    if layout.names_file is not None:
        strings = b"](" + b"".join(map(string, NAMES)) + b"e"
        files[layout.names_file] = (
            b"\n".join(NAMES) if layout.label_bytes else py_dict(fine_label_names=strings)
        )
    return files


BATCHES = {kind: cifar_batches(layout) for kind, layout in LAYOUTS.items()}


@cache
def instructions(raw: bytes) -> list[bytes]:
    """Return the instructions of a pickle with their arguments."""
    places = [at for _, _, at in pickletools.genops(raw) if at is not None]
    return [raw[start:end] for start, end in zip(places, [*places[1:], len(raw)], strict=True)]


def mutate_pickle(rng: Random, raw: bytes) -> bytes:
    """Insert, delete, swap, repeat or change instructions."""
    codes = [*instructions(raw)]
    for _ in range(rng.randint(1, 3)):
        i, j = rng.randrange(len(codes)), rng.randrange(len(codes))
        op = rng.choice(pickletools.opcodes).code.encode("latin1") + rng.randbytes(rng.randrange(5))
        match rng.randrange(6):
            case 0:
                codes.insert(
                    i, rng.choice((op, codes[j], b"q\0", b"h\0", b"(", b"N", b"\x89", b"K\1"))
                )
            case 1:
                del codes[i]
                codes = codes or [b"."]
            case 2:
                codes[i], codes[j] = codes[j], codes[i]
            case 3:
                codes[i] *= rng.choice((2, 3, 2000))
            case 4 if len(codes[i]) < 100:
                codes[i] = codes[i][:1] + m.mutate_bytes(rng, codes[i][1:])
            case _:
                codes[i] = rng.choice(
                    (op, codes[j], b"K\0", b"](K\1e", b"U\2u1", b"J\xff\xff\xff\xff")
                )
    return b"".join(codes)


def cifar_files(rng: Random) -> Files:
    """Return the files of a layout, one of them mutated."""
    kind = rng.choice([*LAYOUTS, "cifar10-py", "cifar10-py"])
    files = dict(BATCHES[kind])
    name = rng.choice([*files])
    is_pickle = kind.endswith("py") and rng.random() < 0.9
    files[name] = (mutate_pickle if is_pickle else m.mutate_bytes)(rng, files[name])
    return {f"{kind}/{name}": raw for name, raw in files.items()}


def read_cifar(folder: Path) -> Check:
    """Read a layout with a few images."""
    (place,) = folder.iterdir()
    layout = LAYOUTS[place.name]
    names = cifar.read_names(layout, place) if layout.names_file else tuple("abcde")
    parts = cifar.read(layout, place)
    return lambda: check_datasets(*(Dataset(*part, names) for part in parts))
