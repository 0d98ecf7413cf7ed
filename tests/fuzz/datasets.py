"""Hostile data: .npz and IDX files."""

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import numpy as np

from fnnet import Dataset, load
from fnnet.checks import Array
from fnnet.data.npz import read_inputs
from tests.data.test_idx import idx
from tests.fuzz import mutations as m

Files = dict[str, bytes]
Check = Callable[[], None]

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(12, 5, 4), dtype=np.uint8)
LABELS = np.arange(12) % 3
ROWS = RNG.normal(size=(12, 6))


def check_datasets(*parts: Dataset | None) -> None:
    """Assert that the parts of a dataset are well-formed and fit together."""
    first = parts[0]
    assert first is not None
    for part in filter(None, parts):
        images, labels = part.images, part.labels
        assert images.dtype == np.uint8 or (images.dtype.kind == "f" and np.isfinite(images).all())
        assert images.dtype.kind == first.images.dtype.kind, "parts of different kinds"
        assert images.shape[1:] == first.images.shape[1:], "parts of different shapes"
        assert len(images) == len(labels) > 0
        assert labels.dtype.kind in "iu"
        assert 0 <= labels.min() <= labels.max() < len(part.class_names)
        assert part.class_names == first.class_names
        "".join(part.class_names).encode()


NPZ: list[dict[str, Array]] = [
    {"images": IMAGES, "labels": LABELS},
    {"features": ROWS, "labels": np.array(["a", "b", "c"])[LABELS]},
    {"images": IMAGES[..., None], "labels": LABELS[:, None], "layout": np.array("channels_last"),
     "class_names": np.array(["a", "b", "c"])},
    {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:3], "y_test": LABELS[:3]},
    {"x_train": ROWS, "y_train": LABELS, "x_test": ROWS[:3], "y_test": LABELS[:3]},
]  # fmt: skip


def npz(rng: Random) -> Files:
    """Return data in an .npz file."""
    entries = [(f"{name}.npy", m.npy(array)) for name, array in rng.choice(NPZ).items()]
    return {"data.npz": m.mutate_npz(rng, entries)}


def read_data(name: str, folder: Path) -> Check:
    """Load any dataset."""
    return partial(check_datasets, *load(folder / name, cache=folder / "cache"))


def read_npz_inputs(folder: Path) -> Check:
    """Read inputs without their labels."""
    inputs = read_inputs(folder / "data.npz")
    return lambda: check_datasets(
        Dataset(inputs, np.zeros(len(inputs), int), ("a",), layout="channels_first")
    )


def idx_files(rng: Random) -> Files:
    """Return IDX files, gzipped or not, one of them mutated."""
    files: Files = {}
    parts = ("train", "t10k")[: rng.randint(1, 2)]
    for part in parts:
        for name, array in (("images-idx3", IMAGES), ("labels-idx1", LABELS.astype(np.uint8))):
            files[f"{part}-{name}-ubyte"] = idx(array)
    name = rng.choice([*files])
    raw = files[name]
    match rng.randrange(3):
        case 0:
            raw = m.set_number(
                raw, rng.choice((0, 2, 3, 4, 8, 12)), rng.choice((">I", "B")), m.number(rng)
            )
        case 1:
            raw = idx(m.mutate_array(rng, IMAGES if "images" in name else LABELS.astype(np.uint8)))
        case _:
            raw = m.mutate_bytes(rng, raw)
    files[name] = raw
    if rng.random() < 0.5:
        files = {f"{n}.gz": gzip.compress(raw, mtime=0) for n, raw in files.items()}
        if rng.random() < 0.5:
            files[f"{name}.gz"] = m.mutate_bytes(rng, files[f"{name}.gz"])
    return files
