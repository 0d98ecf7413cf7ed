"""The kinds of hostile files: how a mutant is made, and what must hold for one that is read."""

import gzip
import hashlib
import io
import json
import os
import pickletools
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from attrs import evolve, frozen
from PIL import Image

from fnnet import CheckpointError, DataError, Dataset, load, load_checkpoint, save_checkpoint
from fnnet.checks import NonFiniteError
from fnnet.data import cifar
from fnnet.data.cifar_layouts import CIFAR10_BIN, CIFAR10_PY, CIFAR100_BIN, CIFAR100_PY, Layout
from fnnet.data.download import unpack
from fnnet.data.npz import read_inputs
from fnnet.data.picture_cache import cache_folder
from fnnet.data.picture_files import list_pictures
from fnnet.data.pictures import load_pictures, read_picture
from fnnet.data.preprocessing import Standardization, Whitening
from fnnet.runs.archive import DIGEST_SIZE
from fnnet.runs.checkpoint import Checkpoint
from fnnet.runs.presets import default_config
from fnnet.search.halving import Job, Result, cost, rank, successive_halving
from fnnet.search.journal import JournalError, encode, open_journal
from fnnet.search.plan import Search, plan_search
from fnnet.search.space import LogUniform
from tests.cifar10_files import bin_batch, py_array, py_dict, py_list, string
from tests.data.test_idx import idx
from tests.fuzz import mutations as m
from tests.runs.test_checkpoint import make as make_checkpoint
from tests.runs.test_hostile_checkpoint import sealed

Files = dict[str, bytes]
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(12, 5, 4), dtype=np.uint8)
LABELS = np.arange(12) % 3
RUNS = Path(__file__).parents[1] / "runs"


@frozen
class Kind:
    """A kind of file; a reader takes the folder of a mutant, and returns what checks it."""

    make: Callable[[Random], Files]
    readers: tuple[Callable[[Path], Callable[[], None]], ...]
    error: type[Exception] | tuple[()] = DataError
    """The only error that a reader may raise."""


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


# Checkpoints


@cache
def checkpoints() -> list[bytes]:
    """Return checkpoints of all formats, with all kinds of preprocessing."""
    whole = make_checkpoint()
    config = evolve(whole.config, num_threads=1, data_dir=Path("data"), momentum=0.9)
    velocity = {f"velocity/{name}": p for name, p in whole.params.items()}
    one = evolve(whole, config=config, provenance={"numpy": "2"}, test_accuracy=0.5)
    one = evolve(one, opt_state={"step": np.asarray(10), **velocity})
    path = Path("checkpoint.npz")
    found = []
    whitening = Whitening(2, np.zeros(6), np.eye(6), (4, 6))
    for fitted in (one.preprocessing, whitening, Standardization(np.ones(6), np.ones(6), None, True)):
        save_checkpoint(path, evolve(one, preprocessing=fitted))
        found.append(path.read_bytes())
    path.unlink()
    return found + [path.read_bytes() for path in sorted(RUNS.glob("format*.npz"))]


def checkpoint(rng: Random) -> Files:
    """Return a checkpoint with another text, array, or archive, and the right digest."""
    entries = m.unzipped(rng.choice(checkpoints()))
    if rng.random() < 0.4:
        i = [name for name, _ in entries].index("meta.npy")
        meta = json.loads(m.unnpy(entries[i][1]).tobytes())
        text = m.dump_json(m.mutate_json(rng, meta))
        entries[i] = "meta.npy", m.npy(np.frombuffer(text, np.uint8))
        raw = m.zipped(entries)
    else:
        raw = m.mutate_npz(rng, entries)
    if raw[-22:-18] == b"PK\5\6":  # the digest stands in the archive's comment
        raw = m.set_number(raw, len(raw) - 2, "<H", DIGEST_SIZE) + bytes(DIGEST_SIZE)
    return {"checkpoint.npz": sealed(raw)}


def read_checkpoint(folder: Path) -> Callable[[], None]:
    """Load a checkpoint; what is loaded can be saved, loaded again, evaluated, and resumed."""
    loaded = load_checkpoint(folder / "checkpoint.npz")

    def check() -> None:
        save_checkpoint(folder / "again.npz", loaded)
        again: Checkpoint = load_checkpoint(folder / "again.npz")
        assert again.params == loaded.params
        assert again.config == loaded.config
        shape, fitted = loaded.preprocessing.shape, loaded.preprocessing
        if shape is not None:
            assert all(type(n) is int and n > 0 for n in shape), f"shape {shape}"
            if np.prod(shape, dtype=float) < 1e6:
                images = np.zeros((1, *shape), float if fitted.of_features else np.uint8)
                with suppress(NonFiniteError):  # numbers beyond float32
                    assert len(loaded.model.apply(loaded.params, loaded.preprocess(images))) == 1
        with suppress(CheckpointError):  # no state, or that of another optimizer
            loaded.state()

    return check


# Data in .npz and IDX files

NPZ = [
    {"images": IMAGES, "labels": LABELS},
    {"features": RNG.normal(size=(12, 6)), "labels": np.array(["a", "b", "c"])[LABELS]},
    {"images": IMAGES[..., None], "labels": LABELS[:, None], "layout": np.array("channels_last"),
     "class_names": np.array(["a", "b", "c"])},
    {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:3], "y_test": LABELS[:3]},
    {"x_train": IMAGES[:, 0] / 4, "y_train": LABELS, "x_test": IMAGES[:3, 0] / 4, "y_test": LABELS[:3]},
]  # fmt: skip


def npz(rng: Random) -> Files:
    """Return data in an .npz file."""
    entries = [(f"{name}.npy", m.npy(array)) for name, array in rng.choice(NPZ).items()]
    return {"data.npz": m.mutate_npz(rng, entries)}


def read_data(name: str, folder: Path) -> Callable[[], None]:
    """Load any dataset."""
    return partial(check_datasets, *load(folder / name, cache=folder / "cache"))


def read_npz_inputs(folder: Path) -> Callable[[], None]:
    """Read inputs without their labels."""
    inputs = read_inputs(folder / "data.npz")
    return lambda: check_datasets(Dataset(inputs, np.zeros(len(inputs), int), ("a",), layout="channels_first"))


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
            raw = m.set_number(raw, rng.choice((0, 2, 3, 4, 8, 12)), rng.choice((">I", "B")), m.number(rng))
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


# CIFAR

NAMES = [b"class_%d" % i for i in range(5)]
SIZES = {"train": {"data_batch_1": 4}, "test": {"test_batch": 3}, "num_classes": 5}
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
        numbers = {layout.label_key.decode(): py_list(labels), "data": py_array(images.tobytes(), images.shape)}
        words = {"batch_label": string(b"%sing batch 1 of 1" % name.split("_")[0].replace("data", "train").encode())}
        if layout.label_bytes:
            files[name] = bin_batch(images, np.column_stack([labels] * layout.label_bytes))
        else:
            files[name] = py_dict(**words, **numbers)
    if layout.names_file is not None:
        strings = b"](" + b"".join(map(string, NAMES)) + b"e"
        files[layout.names_file] = b"\n".join(NAMES) if layout.label_bytes else py_dict(fine_label_names=strings)
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
                codes.insert(i, rng.choice((op, codes[j], b"q\0", b"h\0", b"(", b"N", b"\x89", b"K\1")))
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
                codes[i] = rng.choice((op, codes[j], b"K\0", b"](K\1e", b"U\2u1", b"J\xff\xff\xff\xff"))
    return b"".join(codes)


def cifar_files(rng: Random) -> Files:
    """Return the files of a layout, one of them mutated."""
    kind = rng.choice([*LAYOUTS, "cifar10-py", "cifar10-py"])
    files = dict(BATCHES[kind])
    name = rng.choice([*files])
    is_pickle = kind.endswith("py") and rng.random() < 0.9
    files[name] = (mutate_pickle if is_pickle else m.mutate_bytes)(rng, files[name])
    return {f"{kind}/{name}": raw for name, raw in files.items()}


def read_cifar(folder: Path) -> Callable[[], None]:
    """Read a layout with a few images."""
    (place,) = folder.iterdir()
    layout = LAYOUTS[place.name]
    names = cifar.read_names(layout, place) if layout.names_file else tuple("abcde")
    parts = cifar.read(layout, place)
    return lambda: check_datasets(*(Dataset(*part, names) for part in parts))


# Pictures, and the cache of decoded ones


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
        ("png", "I;16", {"transparency": 7}), ("png", "1", {}), ("jpeg", "RGB", {"exif": exif}),
        ("jpeg", "CMYK", {}), ("gif", "L", {}), ("gif", "P", {"transparency": 3}), ("bmp", "RGB", {}),
        ("webp", "RGBA", {}),
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
            chunks[0] = chunks[0][0], m.set_number(chunks[0][1], at, rng.choice((">I", "B")), m.number(rng))[:14]
        case 1:
            chunks.insert(i, rng.choice((chunks[j], (b"IDAT", b""), (b"acTL", bytes(8)), (b"gAMA", b"\0"))))
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


def read_scaled(folder: Path) -> Callable[[], None]:
    """Load a folder of pictures that are scaled to one size."""
    parts = load_pictures(folder / "root", image_size=5, cache=folder / "cache")
    return lambda: check_datasets(*parts)


def read_one(folder: Path) -> Callable[[], None]:
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


def read_cached(folder: Path) -> Callable[[], None]:
    """Load pictures whose cache was tampered with."""
    place = cache_folder(folder / "cache", list_pictures(folder / "root"), None)
    place.parent.mkdir(parents=True)
    (folder / "kept").rename(place)
    return read_data("root", folder)


# The journal of a search


@cache
def search() -> Search:
    """Return a search of two rungs."""
    config = default_config(num_epochs=3, num_threads=1, data_dir=Path("data"))
    return plan_search(config, {"learning_rate": LogUniform(0.01, 1)}, trials=6, budget=11)


def train(job: Job) -> Result:
    """Return a made-up result."""
    if job.trial == 5:
        return Result(5, job.stop, (), "nan")
    return Result(job.trial, job.stop, (job.trial / 10,) * (job.stop - job.start))


IDENTITY: dict[str, Any] = {"trials": 6, "reg": 0.1, "momentum": 0.9, "cpu": "Ä 3"}
FIELDS = ("trial", "epochs", "val_accuracy", "diverged")


@cache
def journal_lines() -> list[dict[str, Any]]:
    """Return the entries of a whole journal."""
    results = successive_halving(search().configs, search().rungs, train)
    return [IDENTITY] + [{f: getattr(result, f) for f in FIELDS} for result in results]


def line_of(entry: Any) -> bytes:
    """Return a line with the right checksum, if the entry is JSON that can be read."""
    text = m.dump_json(entry)
    try:
        entry = json.loads(text)
        return encode(entry if isinstance(entry, dict) else {"": entry})
    except (ValueError, RecursionError):
        return text + b"\n"


def journal(rng: Random) -> Files:
    """Return a journal with other entries, more, fewer, or in another order."""
    entries: list[Any] = journal_lines()[: rng.randint(1, len(journal_lines()))]
    i, j = rng.randrange(len(entries)), rng.randrange(len(entries))
    match rng.randrange(5):
        case 0:
            entries.insert(i, entries[j])
        case 1:
            entries[i], entries[j] = entries[j], entries[i]
        case _:
            entries[i] = m.mutate_json(rng, entries[i])
    raw = b"".join(map(line_of, entries))
    return {"tune.jsonl": m.mutate_bytes(rng, raw) if rng.random() < 0.1 else raw}


def read_journal(folder: Path) -> Callable[[], None]:
    """Open a journal; the search goes on from it to its end."""
    with open_journal(folder / "tune.jsonl", IDENTITY, search().rungs) as (known, _):
        pass

    def check() -> None:
        plan = search()
        plan.progress(known, 2)
        news = successive_halving(plan.configs, plan.rungs, train, known=known)
        results = [*known, *news]
        assert len({(r.trial, r.epochs) for r in results}) == len(results), "a result twice"
        assert plan.epochs_of(results) <= cost(plan.rungs)
        ranking = rank(results)
        assert sorted(r.trial for r in ranking) == [*range(6)]
        assert all(r.diverged or len(r.val_accuracy) == r.epochs for r in ranking)
        plan.table(ranking).encode()

    return check


# Archives of CIFAR-10

FOLDER = "cifar-10-batches-bin"
FIELDS_OF_TAR = ((0, 100), (100, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (345, 155))


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
    values = (b"%o" % abs(n), b"%d" % n, b"\x80" + (n % 256**11).to_bytes(11, "big"), b"\xff" * size)
    names = (b"../x", b"/x", f"{FOLDER}/data_batch_2.bin".encode(), f"{FOLDER}/./test_batch.bin".encode())
    paths = (*names, f"{FOLDER}".encode(), b"\xff\xfe", b"")
    choice = {1: (rng.choice([bytes([c]) for c in b"01234567LKxgSVDM\0"]),), 100: paths, 155: paths}
    value = rng.choice(choice.get(size, values))[:size].ljust(size, b"\0")
    block = block[:at] + value + block[at + size :]
    if rng.random() < 0.3:  # extended headers
        keys = (b"size", b"path", b"GNU.sparse.major", b"GNU.sparse.size", b"GNU.sparse.map", b"mtime", b"hdrcharset")
        text = b" %s=%s\n" % (rng.choice(keys), rng.choice((b"%d" % n, b"../x", b"1e999", b"\xff", names[2])))
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


def read_tar(folder: Path) -> Callable[[], None]:
    """Unpack an archive as if its hash were known; nothing is written of one that is refused."""
    archive, target = folder / "cifar.tar.gz", folder / "data"
    target.mkdir()

    def written() -> Iterator[str]:
        return (str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p != archive)

    try:
        unpack(archive, target, [hashlib.sha256(archive.read_bytes()).hexdigest()])
    except DataError:
        assert not [*written()], "something was written"
        raise

    def check() -> None:
        assert {*written()} == {f"data/{FOLDER}/{name}" for name in CIFAR10_BIN.files}
        assert {*os.listdir(folder)} == {"data", archive.name}

    return check


KINDS = {
    "checkpoint": Kind(checkpoint, (read_checkpoint,), CheckpointError),
    "npz": Kind(npz, (partial(read_data, "data.npz"), read_npz_inputs)),
    "idx": Kind(idx_files, (partial(read_data, ""),)),
    "cifar": Kind(cifar_files, (read_cifar,)),
    "pictures": Kind(pictures, (partial(read_data, "root"), read_scaled, read_one)),
    "cache": Kind(picture_cache, (read_cached,), ()),
    "journal": Kind(journal, (read_journal,), JournalError),
    "tar": Kind(tar, (read_tar,)),
}
