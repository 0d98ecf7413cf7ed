"""Decoded pictures on disk: found by what the files are, verified, and never an error."""

import contextlib
import hashlib
import io
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from fnnet.checks import Array
from fnnet.data.picture_files import TEST, TRAIN, PictureFolder
from fnnet.files import atomic_write
from fnnet.npy import read_header

VERSION = 1  # another one for every change of what the same files decode to
INDEX = "index.json"


def cache_folder(cache: Path, pictures: PictureFolder, image_size: int | None) -> Path:
    """Return the folder that belongs to these files, as they are now, in this size."""
    digest = hashlib.sha256()
    root = pictures.root.resolve()
    digest.update(repr((VERSION, PIL.__version__, image_size, os.fsencode(root))).encode())
    for part in (pictures.train, pictures.test):
        for file in part.files if part else ():
            name = os.fsencode(file.path.relative_to(pictures.root))
            digest.update(repr((name, file.size, file.mtime_ns)).encode())
    return cache / "pictures" / digest.hexdigest()


def read_cache(folder: Path, pictures: PictureFolder) -> dict[str, Array] | None:
    """Return the images of each part, memory-mapped, or None unless all of it is right."""
    try:
        index = json.loads((folder / INDEX).read_bytes())
        if index["class_names"] != list(pictures.class_names):
            return None
        if index["labels"] != _label_digests(pictures):
            return None
        parts = {TRAIN: pictures.train} | ({TEST: pictures.test} if pictures.test else {})
        images = {
            name: _read(folder / f"{name}.npy", index["images"][name], len(part.files))
            for name, part in parts.items()
        }
        return images if len({array.shape[1:] for array in images.values()}) == 1 else None
    except Exception:  # whatever is wrong in it: the pictures themselves are at hand
        return None


def _read(path: Path, digest: str, number: int) -> Array:
    """Map the images (N, height, width) or (N, 3, height, width) of a part."""
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise ValueError(f"{path} has changed")
        file.seek(0)
        shape, fortran, dtype = read_header(file)
        start = file.tell()
    known = shape[0] == number and (len(shape) == 3 or (len(shape) == 4 and shape[1] == 3))
    if not known or 0 in shape or fortran or dtype != np.uint8:
        raise ValueError(f"{path} holds {dtype} of shape {shape}")
    return np.memmap(path, np.uint8, "r", start, shape)


def write_cache(folder: Path, pictures: PictureFolder, images: Mapping[str, Array]) -> None:
    """Write the images of each part and, last, the index. A failure is one line on stderr."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        digests = {name: _write(folder / f"{name}.npy", array) for name, array in images.items()}
        index: dict[str, Any] = {
            "class_names": pictures.class_names,
            "labels": _label_digests(pictures),
            "images": digests,
        }
        with atomic_write(folder / INDEX) as file:
            file.write(json.dumps(index).encode())
    except OSError as error:
        with contextlib.suppress(OSError):  # room for others on a full disk
            for name in images:
                (folder / f"{name}.npy").unlink(missing_ok=True)
        print(f"decoded pictures are not kept: {folder}: {error.strerror}", file=sys.stderr)


def _write(path: Path, images: Array) -> str:
    """Write a .npy file and return its SHA-256, of what it should hold."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(images))
    with atomic_write(path) as file:
        file.write(header.getvalue())
        file.write(images.data)
    digest = hashlib.sha256(header.getvalue())
    digest.update(images.data)
    return digest.hexdigest()


def _label_digests(pictures: PictureFolder) -> list[str]:
    parts = (pictures.train, pictures.test)
    return [hashlib.sha256(p.labels.astype("<i8").tobytes()).hexdigest() for p in parts if p]
