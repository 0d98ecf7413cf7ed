"""Hostile archives of CIFAR-10."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

from fnnet import DataError
from fnnet.data.cifar_layouts import CIFAR10_BIN
from fnnet.data.download import unpack
from tests.fuzz import mutations as m
from tests.fuzz.datasets import Check, Files

FOLDER = "cifar-10-batches-bin"
FIELDS_OF_TAR = (
    (0, 100),
    (100, 8),
    (124, 12),
    (136, 12),
    (156, 1),
    (157, 100),
    (257, 8),
    (345, 155),
)


@cache
def tar_blocks() -> list[bytes]:
    """Return the members of an archive, each a header and its content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in CIFAR10_BIN.files:
            info = tarfile.TarInfo(f"{FOLDER}/{name}")
            info.size = 600
            tar.addfile(info, io.BytesIO(name.encode() * 99))
    raw = buffer.getvalue()
    return [raw[i : i + 1536] for i in range(0, 6 * 1536, 1536)]


def mutate_member(rng: Random, block: bytes) -> bytes:
    """Change a field of a header; its checksum is right."""
    at, size = rng.choice(FIELDS_OF_TAR)
    n = m.number(rng)
    values = (
        b"%o" % abs(n),
        b"%d" % n,
        b"\x80" + (n % 256**11).to_bytes(11, "big"),
        b"\xff" * size,
    )
    names = (
        b"../x",
        b"/x",
        f"{FOLDER}/data_batch_2.bin".encode(),
        f"{FOLDER}/./test_batch.bin".encode(),
    )
    paths = (*names, f"{FOLDER}".encode(), b"\xff\xfe", b"")
    choice = {1: (rng.choice([bytes([c]) for c in b"01234567LKxgSVDM\0"]),), 100: paths, 155: paths}
    value = rng.choice(choice.get(size, values))[:size].ljust(size, b"\0")
    block = block[:at] + value + block[at + size :]
    if rng.random() < 0.3:  # extended headers
        keys = (
            b"size",
            b"path",
            b"GNU.sparse.major",
            b"GNU.sparse.size",
            b"GNU.sparse.map",
            b"mtime",
            b"hdrcharset",
        )
        text = b" %s=%s\n" % (
            rng.choice(keys),
            rng.choice((b"%d" % n, b"../x", b"1e999", b"\xff", names[2])),
        )
        line = b"%d" % (len(text) + 2) + text
        block = block[:512] + rng.choice((line, line * 3, b"99999999999" + text)).ljust(1024, b"\0")
        block = m.set_number(block, 156, "B", rng.choice(b"xg"))
        block = block[:124] + b"%011o\0" % rng.choice((len(line), 1024)) + block[136:]
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block[:512]) + block[156:]


def tar(rng: Random) -> Files:
    """Return an archive with other headers, or members that are missing, swapped or twice."""
    blocks = [*tar_blocks()]
    for _ in range(rng.randint(1, 2)):
        i, j = rng.randrange(len(blocks)), rng.randrange(len(blocks))
        match rng.randrange(6):
            case 0:
                blocks.insert(i, mutate_member(rng, blocks[j]))
            case 1:
                blocks[i], blocks[j] = blocks[j], blocks[i]
            case 2:
                blocks[i] = m.mutate_bytes(rng, blocks[j])
            case _:
                blocks[i] = mutate_member(rng, blocks[i])
    raw = gzip.compress(b"".join(blocks) + bytes(1024), 1, mtime=0)
    return {"cifar.tar.gz": m.mutate_bytes(rng, raw) if rng.random() < 0.1 else raw}


def read_tar(folder: Path) -> Check:
    """Unpack an archive as if its hash were known; nothing is written of one that is refused."""
    archive, target = folder / "cifar.tar.gz", folder / "data"
    target.mkdir()

    def written() -> Iterator[str]:
        return (
            str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p != archive
        )

    try:
        unpack(archive, target, [hashlib.sha256(archive.read_bytes()).hexdigest()])
    except DataError:
        assert not [*written()], "something was written"
        raise

    def check() -> None:
        assert {*written()} == {f"data/{FOLDER}/{name}" for name in CIFAR10_BIN.files}
        assert {*folder.iterdir()} == {target, archive}

    return check
