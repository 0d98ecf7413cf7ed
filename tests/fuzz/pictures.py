"""Hostile pictures, and hostile caches of decoded ones."""

import hashlib
import io
import struct
import zlib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from fnnet.data.picture_cache import cache_folder
from fnnet.data.picture_files import list_pictures
from fnnet.data.pictures import load_pictures, read_picture
from tests.fuzz import mutations as m
from tests.fuzz.datasets import IMAGES, Check, Files, check_datasets, read_data


def picture(ending: str, mode: str, **options: Any) -> bytes:
    """Return a valid picture."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(256, size=(6, 8, 4), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode if mode != "I;16" else "I").convert(mode)
    image.save(buffer, ending, **options)
    return buffer.getvalue()


@cache
def valid_pictures() -> list[tuple[str, bytes]]:
    """Return a picture of each format and mode that differs."""
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: list[tuple[str, str, dict[str, Any]]] = [
        ("png", "L", {}), ("png", "RGBA", {"exif": exif}), ("png", "P", {"transparency": 3}),
        ("png", "I;16", {}), ("png", "1", {}), ("jpeg", "RGB", {"exif": exif}),
        ("jpeg", "CMYK", {}), ("gif", "L", {}), ("gif", "P", {"transparency": 3}),
        ("bmp", "RGB", {}), ("webp", "RGBA", {}),
    ]  # fmt: skip
    return [(ending, picture(ending, mode, **options)) for ending, mode, options in kinds]


def mutate_png(rng: Random, raw: bytes) -> bytes:
    """Insert, delete, swap or change chunks; their CRCs are right."""
    chunks, at = [], 8
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "big")
        chunks.append((raw[at + 4 : at + 8], raw[at + 8 : at + 8 + size]))
        at += 12 + size
    i, j = rng.randrange(len(chunks)), rng.randrange(len(chunks))
    name, data = chunks[i]
    match rng.randrange(6):
        case 0:
            at = rng.choice((0, 4, 7, 8, 9, 10, 11, 12))
            chunks[0] = (
                chunks[0][0],
                m.set_number(chunks[0][1], at, rng.choice((">I", "B")), m.number(rng))[:14],
            )
        case 1:
            chunks.insert(
                i, rng.choice((chunks[j], (b"IDAT", b""), (b"acTL", bytes(8)), (b"gAMA", b"\0")))
            )
        case 2:
            chunks[i], chunks[j] = chunks[j], chunks[i]
        case 3:
            words = b"tRNS PLTE iCCP zTXt iTXt tEXt eXIf cHRM pHYs fcTL fdAT sBIT bKGD".split()
            extra = rng.choice((data, rng.randbytes(9), b"a\0\0" + zlib.compress(bytes(10**5))))
            chunks.insert(rng.randrange(1, len(chunks) + 1), (rng.choice(words), extra))
        case 4 if name == b"IDAT":
            chunks[i] = name, zlib.compress(m.mutate_bytes(rng, zlib.decompress(data)))
        case _:
            chunks[i] = name, m.mutate_bytes(rng, data)
    sums = (struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    parts = (struct.pack(">I", len(d)) + n + d + s for (n, d), s in zip(chunks, sums, strict=True))
    return raw[:8] + b"".join(parts)


def pictures(rng: Random) -> Files:
    """Return a folder of pictures, one of them mutated."""
    ending, raw = rng.choice(valid_pictures())
    raw = (mutate_png if ending == "png" and rng.random() < 0.9 else m.mutate_bytes)(rng, raw)
    return {f"root/cat/1.{ending}": raw, "root/dog/1.png": valid_pictures()[0][1], "cache": b""}


def read_scaled(folder: Path) -> Check:
    """Load a folder of pictures that are scaled to one size."""
    parts = load_pictures(folder / "root", image_size=5, cache=folder / "cache")
    return lambda: check_datasets(*parts)


def read_one(folder: Path) -> Check:
    """Read a single picture."""
    (path,) = (folder / "root/cat").iterdir()
    found = read_picture(path, (3, 4, 4))

    def check() -> None:
        assert found.shape == (3, 4, 4)
        assert found.dtype == np.uint8

    return check


def picture_cache(rng: Random) -> Files:
    """Return gray pictures and what the cache holds of them, mutated, with the right digests."""
    gray = valid_pictures()[0][1]
    names = ("train/cat/1", "train/dog/1", "train/dog/2", "test/dog/1")
    arrays = {"train": m.npy(IMAGES[:3]), "test": m.npy(IMAGES[:1])}
    index: dict[str, Any] = {"class_names": ["cat", "dog"], "labels": []}
    for part, labels in {"train": [0, 1, 1], "test": [1]}.items():
        index["labels"].append(hashlib.sha256(np.array(labels, "<i8").tobytes()).hexdigest())
        if rng.random() < 0.6:
            arrays[part] = m.mutate_npy(rng, arrays[part])
    index["images"] = {part: hashlib.sha256(raw).hexdigest() for part, raw in arrays.items()}
    text = m.dump_json(index if rng.random() < 0.7 else m.mutate_json(rng, index))
    files = {f"root/{name}.png": gray for name in names}
    return files | {"kept/index.json": text} | {f"kept/{p}.npy": raw for p, raw in arrays.items()}


def read_cached(folder: Path) -> Check:
    """Load pictures whose cache was tampered with."""
    place = cache_folder(folder / "cache", list_pictures(folder / "root"), None)
    place.parent.mkdir(parents=True)
    (folder / "kept").rename(place)
    return read_data("root", folder)
