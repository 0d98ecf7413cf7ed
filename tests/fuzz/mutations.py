"""Mutations of JSON, arrays, .npy and .npz files, and bytes; each is a pure function of `rng`."""

import ast
import copy
import io
import json
import struct
import zipfile
from random import Random
from typing import Any

import numpy as np

from fnnet.checks import Array

EDGES = (0, 1, 2, 3, 7, 127, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64)


def number(rng: Random) -> int:
    """Return an integer at which sizes break."""
    return rng.choice(
        (rng.choice(EDGES), rng.choice(EDGES) - 1, -rng.choice(EDGES), rng.randrange(9))
    )


def mutate_bytes(rng: Random, raw: bytes) -> bytes:
    """Change, insert, remove or repeat bytes in one to three places."""
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(raw) + 1)
        end = min(len(raw), at + rng.choice((1, 1, 2, 4, 8, 100)))
        new = rng.choice((rng.randbytes(end - at), bytes(end - at), b"\xff" * (end - at)))
        middle = rng.choice((new, new + raw[at:end], b"", raw[at:end] * rng.choice((2, 50))))
        raw = raw[:at] + middle + raw[end:] if rng.random() < 0.95 else raw[:at]
    return raw


RAW = {
    "@1": b"1e999",
    "@2": b"9" * 5000,
    "@3": b"[" * 2000,
    "@4": b'{"a":' * 600 + b"1" + b"}" * 600,
}
RAW |= {"@5": b"[" * 450 + b"]" * 450, "@6": b'1, "trial": 2', "@7": b"\xff", "@8": b"1" * 400}
RAW |= {f"@{depth}": b"[" * depth + b"]" * depth for depth in (300, 700, 900)}
SCALARS: tuple[Any, ...] = (None, True, False, 0.0, -0.5, 2.0, 1e308, np.nan, np.inf, "", "a")
SCALARS += ("\0", "\ud800", "é" * 400, "x" * 5000, "float64", "1", *RAW)


def json_value(rng: Random) -> Any:
    """Return a value that few expect."""
    lists: tuple[Any, ...] = ([], {}, [1], [[]], ["a", 1], {"a": 1}, [0.5] * 3, [4] * 200)
    return rng.choice((rng.choice(SCALARS), number(rng), copy.deepcopy(rng.choice(lists))))


def mutate_json(rng: Random, value: Any) -> Any:
    """Return a copy of a tree of dicts and lists with one or two nodes changed."""
    tree = [copy.deepcopy(value)]
    for _ in range(rng.randint(1, 2)):
        places: list[tuple[Any, Any]] = []
        todo: list[Any] = [tree]
        while todo:
            node = todo.pop()
            keys = list(node) if isinstance(node, dict) else range(len(node))
            places += [(node, key) for key in keys]
            todo += [node[key] for key in keys if isinstance(node[key], dict | list)]
        node, key = rng.choice(places)
        other_node, other_key = rng.choice(places)
        match rng.randrange(8):
            case 0 if node is not tree:
                del node[key]
            case 1 if isinstance(node, dict):
                node[rng.choice(("surprise", "", "crc32", *node))] = json_value(rng)
            case 2:
                node[key] = [copy.deepcopy(node[key])] * rng.choice((1, 1, 3))
            case 3:
                node[key] = copy.deepcopy(other_node[other_key])
            case 4 if isinstance(node, list) and node is not tree:
                node += copy.deepcopy(node) * rng.choice((1, 9))
            case 5 if type(node[key]) in (int, float):
                node[key] = rng.choice(
                    (node[key] + 1, -node[key], float(node[key]), bool(node[key]))
                )
            case _:
                node[key] = json_value(rng)
    return tree[0]


def dump_json(value: Any) -> bytes:
    """Return a tree as JSON, with the texts of `RAW` in the place of their names."""
    text = json.dumps(value).encode()
    for name, raw in RAW.items():
        text = text.replace(f'"{name}"'.encode(), raw)
    return text


# fmt: off
DTYPES = (
    "?", "i1", "u1", "<u2", ">i4", "<i8", "<u8", "<f2", "<f4", "<f8", ">f8", "g", "<c8", "<c16",
    "<M8[s]", "<U1", "S3", "<U9", "V3",
)
# fmt: on
FLOATS = (np.nan, np.inf, -np.inf, 3e38, 1e300, -0.0, 1e-320, 0.5, 2.0, -1.0)


def mutate_array(rng: Random, array: Array) -> Array:
    """Return another array: of another dtype, of another shape, or with other numbers."""
    array = array.copy()
    match rng.randrange(6):
        case 0:
            return array.astype(rng.choice(DTYPES if array.dtype.kind != "U" else DTYPES[-4:]))
        case 1:
            shapes = (
                array.ravel(),
                array[None],
                array[..., None],
                array.T,
                np.asfortranarray(array),
            )
            return rng.choice((*shapes, np.array(array.flat[0] if array.size else 0, array.dtype)))
        case 2:
            axes = (
                (array[:1], array[:0], array[1:], array[..., :1], array[..., :0])
                if array.ndim
                else ()
            )
            large = np.resize(
                array,
                (rng.choice((2, 300)) * max(1, len(array) if array.ndim else 1), *array.shape[1:]),
            )
            return rng.choice((*axes, large))
        case 3 if array.size:  # any bits, as no NumPy would write them
            flat = np.frombuffer(
                mutate_bytes(rng, array.tobytes()).ljust(array.nbytes, b"\xff"),
                array.dtype,
                array.size,
            )
            return flat.reshape(array.shape)
        case _ if array.size and array.dtype.kind in "uif":
            value: Any = rng.choice(FLOATS) if array.dtype.kind == "f" else number(rng) % 2**63
            index = rng.choice((rng.randrange(array.size), slice(None)))
            array.reshape(-1)[index] = np.array(value).astype(array.dtype)
    return array


# fmt: off
DESCRS: tuple[Any, ...] = (
    "|O", "|b1", "|u1", "<U1", "<U0", "|S0", "|V0", "<M8[s]", "<f16", "<c16", "<f3", "", None, 3,
    [("a", "|O")], [("a", "<f4", (2,))], ("<f4", (2,)), "f", "float", "a5", "<U1000000000", ">i8",
    "<f4,<f4", "\ud800", "|V2147483647", [("a" * 9000, "<f4")], [],
)
# fmt: on


def npy(array: Array) -> bytes:
    """Return an array as a .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, (1, 0), allow_pickle=False)
    return buffer.getvalue()


def unnpy(raw: bytes) -> Array:
    """Return the array of a .npy file."""
    array: Array = np.load(io.BytesIO(raw), allow_pickle=False)
    return array


def mutate_npy(rng: Random, raw: bytes) -> bytes:
    """Return a .npy file with another array, another header, or other bytes."""
    if rng.random() < 0.6:
        return npy(mutate_array(rng, unnpy(raw)))
    length = int.from_bytes(raw[8:10], "little")
    header, data = ast.literal_eval(raw[10 : 10 + length].decode()), raw[10 + length :]
    version, text = b"\1\0", ""
    match rng.randrange(7):
        case 0:
            header["descr"] = rng.choice(DESCRS)
        case 1:
            sizes = [*header["shape"], 1]
            sizes[rng.randrange(len(sizes))] = rng.choice((number(rng), 1.0, True, None, "1", (2,)))
            header["shape"] = rng.choice((tuple(sizes), tuple(sizes[:-1]), sizes, (1,) * 65, -1))
        case 2:
            header["fortran_order"] = rng.choice((not header["fortran_order"], 1, None, "yes"))
        case 3:
            version = rng.choice((b"\2\0", b"\3\0", b"\1\1", b"\0\0"))
        case 4:
            data = rng.choice((data[:-1], b"", data + data, data + b"\0", bytes(len(data))))
        case 5:  # Python 2 wrote 3L for 3
            text = repr(header).replace(",", "L,").replace("'L,", "',").replace("FalseL", "False")
        case _:
            text = mutate_bytes(rng, repr(header).encode("ascii", "replace")).decode("latin1")
    head = (text or repr(header)).encode("latin1", "replace") + b"\n"
    size = len(head) if rng.random() < 0.97 else number(rng) % 2**16
    width = 2 if version[:1] in b"\1\0" else 4
    return b"\x93NUMPY" + version + size.to_bytes(width, "little") + head + data


Entries = list[tuple[str, bytes]]
METHODS = (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def zipped(entries: Entries, method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip archive of the entries, always the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, content)
    return buffer.getvalue()


def unzipped(raw: bytes) -> Entries:
    """Return the entries of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


# The signature of each part of a zip archive, and the place and size of its numbers.
DIRECTORY = {
    b"PK\1\2": ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (42, 4)),
    b"PK\3\4": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\5\6": ((4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
}  # fmt: skip


def mutate_directory(rng: Random, raw: bytes) -> bytes:
    """Change one to three numbers of a zip archive: sizes, offsets, methods, flags, CRCs."""
    changed = bytearray(raw)
    for _ in range(rng.randint(1, 3)):
        signature = rng.choice([*DIRECTORY])
        places = [i for i in range(len(raw)) if raw.startswith(signature, i)]
        at, size = rng.choice(DIRECTORY[signature])
        at += rng.choice(places)
        old = int.from_bytes(raw[at : at + size], "little")
        new = rng.choice((number(rng), old + 1, old - 1, old * 2, 8, 14)) % 256**size
        changed[at : at + size] = new.to_bytes(size, "little")
    return bytes(changed)


def mutate_npz(rng: Random, entries: Entries) -> bytes:
    """Return an .npz file with another entry, other entries, or another directory."""
    entries, i = [*entries], rng.randrange(len(entries))
    name, content = entries[i]
    kind = rng.randrange(12)
    if kind < 7:
        entries[i] = name, mutate_npy(rng, content)
    elif kind == 7:
        entries[i] = rng.choice(entries)[0], content
    elif kind == 8:
        entries[i:] = rng.choice(
            ([], entries[i + 1 :], [(name + "x", content)], [("meta.npy", b"")])
        )
    elif kind == 9:
        entries[i] = (
            rng.choice(("", "/", "../a.npy", "labels.npy", "a\0b", "params/", "é")),
            content,
        )
    raw = zipped(entries, rng.choice(METHODS) if rng.random() < 0.05 else zipfile.ZIP_STORED)
    if kind == 10 and entries:
        raw = mutate_directory(rng, raw)
    return mutate_bytes(rng, raw) if kind == 11 else raw


def set_number(raw: bytes, at: int, form: str, value: int) -> bytes:
    """Write an integer into bytes, as far as it fits."""
    packed = struct.pack(form, value % 256 ** struct.calcsize(form))
    return raw[:at] + packed + raw[at + len(packed) :]
