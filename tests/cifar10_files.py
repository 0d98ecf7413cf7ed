"""Synthetic CIFAR-10 files in both official layouts, byte for byte as their makers wrote them."""

import struct
from pathlib import Path

import numpy as np

from fnnet.checks import Array

TRAIN = [f"data_batch_{i}" for i in range(1, 6)]
NAMES = [*TRAIN, "test_batch"]
FOLDERS = {"bin": "cifar-10-batches-bin", "py": "cifar-10-batches-py"}
SUFFIX = {"bin": ".bin", "py": ""}


def content(name: str) -> tuple[Array, Array]:
    """Return the made-up images (10000, 3072) and labels (10000,) of a batch file."""
    rng = np.random.default_rng(NAMES.index(name))
    images = np.tile(rng.integers(256, size=(100, 3072), dtype=np.uint8), (100, 1))
    images[:, 0] = np.arange(10_000) % 251  # neighbors differ
    images[:, 1] = np.arange(10_000) // 251
    return images, rng.integers(10, size=10_000, dtype=np.uint8)


def bin_batch(images: Array, labels: Array) -> bytes:
    """Return the records of a .bin file."""
    return np.column_stack([labels, images]).astype(np.uint8).tobytes()


def string(value: bytes) -> bytes:
    """Pickle a str of Python 2."""
    if len(value) < 256:
        return b"U" + bytes([len(value)]) + value
    return b"T" + struct.pack("<i", len(value)) + value


def name_of(module: str, name: str) -> bytes:
    """Pickle a reference to a name of a module."""
    return f"c{module}\n{name}\n".encode()


def py_array(
    pixels: bytes,
    shape: tuple[int, ...] = (10_000, 3072),
    code: bytes = b"u1",
    module: str = "numpy.core.multiarray",
) -> bytes:
    """Pickle an array as NumPy under Python 2 did."""
    dtype = name_of("numpy", "dtype") + string(code) + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + string(b"|") + b"NNN" + 2 * b"J\xff\xff\xff\xff" + b"K\x00tb"
    empty = name_of(module, "_reconstruct") + name_of("numpy", "ndarray")
    empty += b"K\x00\x85" + string(b"b") + b"\x87R"
    size = b"".join(b"J" + struct.pack("<i", n) for n in shape)
    return empty + b"(K\x01" + size + b"\x86" + dtype + b"\x89" + string(pixels) + b"tb"


def py_list(numbers: Array) -> bytes:
    """Pickle a list of small integers."""
    return b"](" + b"".join(b"J" + struct.pack("<i", n) for n in numbers.tolist()) + b"e"


def py_dict(**items: bytes) -> bytes:
    """Pickle a dict with str keys, protocol 2."""
    pairs = b"".join(string(key.encode()) + value for key, value in items.items())
    return b"\x80\x02}(" + pairs + b"u."


def py_batch(images: Array, labels: Array) -> bytes:
    """Return a pickle as the official archive holds it."""
    return py_dict(
        batch_label=string(b"training batch"),
        labels=py_list(labels),
        data=py_array(images.tobytes(), images.shape),
        filenames=b"](" + string(b"leptodactylus_pentadactylus_s_000004.png") + b"e",
    )


def write_layout(folder: Path, layout: str) -> Path:
    """Write the six batch files of a layout into the folder; return the folder."""
    place = folder / FOLDERS[layout]
    place.mkdir()
    make = {"bin": bin_batch, "py": py_batch}[layout]
    for name in NAMES:
        (place / (name + SUFFIX[layout])).write_bytes(make(*content(name)))
    return folder


def with_one_replaced(
    folder: Path, source: Path, layout: str, name: str, raw: bytes | None
) -> Path:
    """Link to the files of `source` but for one, which holds `raw` or is missing for None."""
    place = folder / FOLDERS[layout]
    place.mkdir()
    for each in NAMES:
        file = each + SUFFIX[layout]
        if each != name:
            (place / file).symlink_to(source / FOLDERS[layout] / file)
        elif raw is not None:
            (place / file).write_bytes(raw)
    return folder
