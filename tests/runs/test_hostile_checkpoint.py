"""Damaged checkpoints, and made-up ones whose digest is right: refused before memory is taken."""

import ast
import hashlib
import io
import json
import os
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from fnnet import CheckpointError, load_checkpoint, save_checkpoint
from fnnet.checks import Array
from fnnet.runs.archive import DIGEST_SIZE
from tests.helpers import is_immutable
from tests.runs.test_checkpoint import assert_same, make

Entries = dict[str, bytes]
SAMPLES = 1000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint as it should be."""
    path = tmp_path_factory.mktemp("whole") / "checkpoint.npz"
    save_checkpoint(path, make())
    return path.read_bytes()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "checkpoint.npz"


def refused(path: Path, raw: bytes) -> str:
    """Return the message about a file that holds `raw`."""
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=path.name) as error:
        load_checkpoint(path)
    return str(error.value)


def sealed(raw: bytes) -> bytes:
    """Put the right digest to the end of a file, as anybody could."""
    content = raw[:-DIGEST_SIZE]
    return content + hashlib.sha256(content).hexdigest().encode()


def entries_of(raw: bytes) -> Entries:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a sealed archive of the entries."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # two entries of one name are what we want
        for name, content in entries:
            archive.writestr(name, content)
        archive.comment = bytes(DIGEST_SIZE)
    return sealed(buffer.getvalue())


def npy(header: str, data: bytes = bytes(96), version: bytes = b"\x01\x00") -> bytes:
    """Return a .npy file with any header."""
    length = 2 if version == b"\x01\x00" else 4
    text = header.encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(length, "little") + text + data


def header(descr: Any = "<f4", shape: Any = (6, 4), fortran_order: Any = False) -> str:
    return repr({"descr": descr, "fortran_order": fortran_order, "shape": shape}) + "\n"


def npy_of(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def test_every_sampled_truncation_is_an_error(path: Path, whole: bytes) -> None:
    lengths = np.random.default_rng(0).choice(len(whole), SAMPLES, replace=False)
    for length in {0, DIGEST_SIZE, len(whole) - 1, *lengths.tolist()}:
        refused(path, whole[:length])


def test_every_sampled_flipped_byte_is_an_error(path: Path, whole: bytes) -> None:
    rng = np.random.default_rng(1)
    positions = rng.choice(len(whole), SAMPLES, replace=False).tolist()
    for position, flip in zip(positions, rng.integers(1, 256, SAMPLES).tolist(), strict=True):
        raw = bytearray(whole)
        raw[position] ^= flip
        refused(path, bytes(raw))


def test_a_flipped_byte_under_a_right_digest_is_an_error_or_meant_nothing(
    path: Path, whole: bytes
) -> None:
    rng = np.random.default_rng(2)
    positions = rng.choice(len(whole) - DIGEST_SIZE, SAMPLES, replace=False).tolist()
    for position, flip in zip(positions, rng.integers(1, 256, SAMPLES).tolist(), strict=True):
        raw = bytearray(whole)
        raw[position] ^= flip
        path.write_bytes(sealed(bytes(raw)))
        try:
            loaded = load_checkpoint(path)
        except CheckpointError as error:
            assert path.name in str(error)
        else:
            assert_same(loaded, make())


def test_surplus_bytes_are_an_error(path: Path, whole: bytes) -> None:
    for raw in (whole + b"\0", b"\0" + whole, whole + whole):
        refused(path, raw)


W1, LOSSES = "params/W1.npy", "history/losses.npy"
WEIGHTS = make().params["W1"]
TRAIN, VAL = "history/train_accuracy.npy", "history/val_accuracy.npy"
LARGE = 2**40
# Entries that take the place of the good ones, and what the message says.
HOSTILE_ENTRIES: dict[str, tuple[dict[str, bytes | None], str]] = {
    "a huge shape": ({W1: npy(header(shape=(LARGE,)))}, "96 bytes of data for float32"),
    "a huge matrix": ({W1: npy(header(shape=(LARGE, LARGE)))}, "96 bytes of data"),
    "a huge history": ({LOSSES: npy(header("<f8", (LARGE,)))}, "96 bytes of data"),
    "a huge text": ({"meta.npy": npy(header("|u1", (LARGE,)))}, "96 bytes of data"),
    "an overflowing shape": ({W1: npy(header(shape=(2**62, 4)))}, "96 bytes of data"),
    "no rows of any length": ({W1: npy(header(shape=(0, 2**70)), b"")}, ""),
    "a negative shape": ({W1: npy(header(shape=(-6, -4)))}, ""),
    "a shape of fractions": ({W1: npy(header(shape=(6.0, 4.0)))}, "bad header"),
    "a shape of 1,000 axes": ({W1: npy(header(shape=(1,) * 1000), bytes(4))}, "64"),
    "data that are missing": ({W1: npy(header(), bytes(95))}, "95 bytes of data"),
    "data too many": ({W1: npy(header(), bytes(97))}, "97 bytes of data"),
    "objects": ({W1: npy(header("|O"), bytes(192))}, "found object"),
    "a pickle": ({W1: npy_of(np.array([{}]), allow_pickle=True)}, "found object"),
    "a record with objects": ({W1: npy(header([("a", "|O")]), bytes(192))}, "must hold integers"),
    "a huge item": ({W1: npy(header(f"|V{2**30}", ()))}, "must hold integers"),
    "strings": ({W1: npy_of(np.full((6, 4), "a"))}, "must hold integers"),
    "complex numbers": ({W1: npy_of(WEIGHTS.astype(complex))}, "must hold integers"),
    "a header that is code": ({W1: npy("__import__('os').mkdir('ran')\n")}, "bad header"),
    "a header that is a list": ({W1: npy("[1, 2]\n")}, "bad header"),
    "a header with more keys": ({W1: npy(header()[:-2] + ", 'x': 1}\n")}, "bad header"),
    "a header of brackets": ({W1: npy("[" * 9000)}, "bad header"),
    "a header of signs": ({W1: npy("-" * 9000 + "1")}, "bad header"),
    "a header of 60,000 bytes": ({W1: npy(header() + " " * 60_000)}, "bad header"),
    "a header that is cut off": ({W1: npy(header())[:40]}, "bad header"),
    "a header of 4 GB": ({W1: b"\x93NUMPY\x02\x00\xff\xff\xff\xff"}, "version"),
    "another version": ({W1: npy(header(), version=b"\x02\x00")}, "version"),
    "no array": ({W1: b"hello"}, "bad header"),
    "nothing": ({W1: b""}, "bad header"),
    "an entry missing": ({W1: None}, "W1"),
    "no text": ({"meta.npy": None}, "meta"),
    "no statistics": ({"preprocessing/std.npy": None}, "std"),
    "a layer more": ({"params/W3.npy": npy_of(np.ones((3, 3), np.float32))}, "W3"),
    "a statistic more": ({"preprocessing/skew.npy": npy_of(np.ones(6))}, "skew"),
    "another shape": ({W1: npy_of(np.ones((7, 4), np.float32))}, "W1 must have shape"),
    "another width": ({W1: npy_of(np.ones((6, 5), np.float32))}, "W1 must have shape"),
    "another dtype": ({W1: npy_of(np.ones((6, 4)))}, "dtype"),
    "a weight that is NaN": ({W1: npy_of(np.full((6, 4), np.nan, np.float32))}, "W1 must be fin"),
    "a bias that is inf": (
        {"params/b2.npy": npy_of(np.full(3, np.inf, np.float32))},
        "b2 must be finite",
    ),
    "other statistics": ({"preprocessing/mean.npy": npy_of(np.zeros(5))}, "std must have shape"),
    "a pixel that never varies": ({"preprocessing/std.npy": npy_of(np.zeros(6))}, "std above 0"),
    "statistics that are NaN": ({"preprocessing/std.npy": npy_of(np.full(6, np.nan))}, "finite"),
    "an empty matrix of any width": (
        {
            "preprocessing/mean.npy": npy_of(np.zeros(0)),
            "preprocessing/std.npy": None,
            "preprocessing/matrix.npy": npy(header("<f8", (0, LARGE)), b""),
            "preprocessing/pool.npy": npy_of(np.array(1)),
        },
        "matrix must not be empty",
    ),
    "no history": ({LOSSES: None}, "losses"),
    "a history of integers": (
        {LOSSES: npy_of(np.ones(10, int))},
        "losses must have a floating dtype",
    ),
    "a history of tables": ({LOSSES: npy_of(np.ones((5, 2)))}, "losses must have shape"),
    "a history of NaN": ({LOSSES: npy_of(np.full(10, np.nan))}, "losses must be finite"),
    "accuracies of fewer epochs": ({VAL: npy_of(np.ones(1))}, "must have the same length"),
    "accuracies of more epochs": (
        {VAL: npy_of(np.ones(3)), TRAIN: npy_of(np.ones(3))},
        "multiple of the number of epochs, 3",
    ),
    "no accuracies": ({TRAIN: None}, "train_accuracy"),
    "accuracies that are strings": ({TRAIN: npy_of(np.full(2, "high"))}, "must hold integers"),
    "accuracies that are NaN": ({VAL: npy_of(np.full(2, np.nan))}, "val_accuracy must be"),
    "accuracies above 1": ({VAL: npy_of(np.full(2, 1.5))}, "val_accuracy must lie in"),
    "accuracies below 0": ({TRAIN: npy_of(np.full(2, -0.5))}, "train_accuracy must lie in"),
    "a table of accuracies": ({TRAIN: npy_of(np.ones((1, 2)))}, "train_accuracy must have shape"),
    "a velocity of NaN": (
        {"opt_state/velocity/W1.npy": npy_of(np.full_like(WEIGHTS, np.nan))},
        "velocity/W1 must be finite",
    ),
    "a name twice": ({"params/W1": npy_of(WEIGHTS)}, "twice"),
}


@pytest.mark.parametrize("kind", HOSTILE_ENTRIES)
def test_hostile_entries_are_refused_before_memory_is_taken(
    path: Path, whole: bytes, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    changes, message = HOSTILE_ENTRIES[kind]
    entries = entries_of(whole) | changes
    raw = archive_of(*((name, content) for name, content in entries.items() if content is not None))
    assert message in frugally_refused(path, raw)
    assert [*path.parent.iterdir()] == [path], "the header ran"


def frugally_refused(path: Path, raw: bytes) -> str:
    """Return the message about a file, read without taking more than a few times its size."""
    tracemalloc.start()
    try:
        message = refused(path, raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000 + 8 * len(raw)
    return message


def test_a_bomb_is_refused_before_memory_is_taken(path: Path, whole: bytes) -> None:
    bomb = npy(header(shape=(2**23,)), bytes(2**25))
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        raw = archive_of(*entries_of(whole).items(), ("bomb.npy", bomb), method=method)
        assert len(raw) < 2**25 / 100
        assert "compressed" in frugally_refused(path, raw)


def test_sizes_beyond_the_file_are_refused(path: Path, whole: bytes) -> None:
    at = whole.index(b"PK\1\2") + 20  # the sizes of the first entry in the directory
    for size in (2**31, 2**32 - 2):
        raw = bytearray(whole)
        raw[at : at + 8] = 2 * size.to_bytes(4, "little")
        assert "larger than the file" in frugally_refused(path, sealed(bytes(raw)))


def test_two_entries_of_one_name_are_refused(path: Path, whole: bytes) -> None:
    entries = entries_of(whole)
    raw = archive_of(*entries.items(), (W1, entries[W1]))
    assert "params/W1 twice" in refused(path, raw)


META: dict[str, Any] = {
    "format of another time": {"format": 1},
    "format None": {"format": None},
    "config None": {"config": None},
    "config a list": {"config": []},
    "config with gaps": {"config": {"dataset": "digits"}},
    "too few names": {"class_names": ["cat"]},
    "names a number": {"class_names": 3},
    "names a string": {"class_names": "abc"},
    "names numbers": {"class_names": [1, 2, 3]},
    "names an object": {"class_names": {"a": 1, "b": 2, "c": 3}},
    "test accuracy a string": {"test_accuracy": "high"},
    "test accuracy inf": {"test_accuracy": float("inf")},
    "provenance None": {"provenance": None},
    "provenance a list": {"provenance": ["numpy"]},
    "provenance of numbers": {"provenance": {"numpy": 2}},
}
CONFIGS: dict[str, Any] = {
    "a wider net": {"hidden_dim": 5},
    "a linear classifier": {"hidden_dim": 0},
    "a negative width": {"hidden_dim": -1},
    "a huge net": {"hidden_dim": LARGE},
    "a fractional width": {"hidden_dim": 4.0},
    "another dtype": {"dtype": "float64"},
    "no dtype": {"dtype": "int8"},
    "a list for a dtype": {"dtype": ["float32"]},
    "a dataset of numbers": {"dataset": 3},
    "a seed in words": {"seed": "0"},
    "a flag in words": {"flip": "no"},
    "a rate of NaN": {"learning_rate": float("nan")},
    "a path of numbers": {"data_dir": 3},
    "a setting too many": {"surprise": 1},
}


@pytest.mark.parametrize("kind", [*META, *CONFIGS])
def test_other_meta_data_are_refused(path: Path, whole: bytes, kind: str) -> None:
    entries = entries_of(whole)
    meta = json.loads(np.load(io.BytesIO(entries["meta.npy"])).tobytes())
    if kind in META:
        meta |= META[kind]
    else:
        meta["config"] |= CONFIGS[kind]
    text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    message = frugally_refused(path, archive_of(*(entries | {"meta.npy": npy_of(text)}).items()))
    if kind.startswith("names a"):
        found = type(meta["class_names"]).__name__
        assert f"class_names must be a list, found {found}" in message
    if kind.startswith("format"):
        assert f"has checkpoint format {meta['format']}, this fnnet reads 2 to 4" in message


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{}", b"[1, 2]", b"null", b"\xff\xfe", b"\x00", b"{", b"{'a': 1}"),
        *(b"[" * 10**6, b'{"a":' * 10**6, b"9" * 10**6),
    ],
    ids=lambda text: f"{text[:9]!r}, {len(text)} bytes",
)
def test_another_text_is_refused(path: Path, whole: bytes, text: bytes) -> None:
    array = np.frombuffer(text, np.uint8)
    refused(path, archive_of(*(entries_of(whole) | {"meta.npy": npy_of(array)}).items()))


@pytest.mark.parametrize(
    "changes",
    [
        {W1: npy_of(np.asfortranarray(WEIGHTS))},
        {W1: npy_of(WEIGHTS.astype(">f4"))},
        {W1: npy(header().replace("6, 4", "6L, 4L"), WEIGHTS.tobytes())},
        {W1: npy_of(WEIGHTS), "surplus.npy": npy_of(np.ones(3))},
    ],
    ids=["fortran", "big-endian", "Python 2", "an entry of nobody"],
)
def test_other_ways_to_write_the_same_are_read_right(
    path: Path, whole: bytes, changes: Entries
) -> None:
    path.write_bytes(archive_of(*(entries_of(whole) | changes).items()))
    loaded = load_checkpoint(path)
    assert_same(loaded, make())
    assert all(p.dtype.isnative and is_immutable(p) for p in loaded.params.values())


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    for missing in (tmp_path / "no.npz", tmp_path / "\udcff.npz"):
        with pytest.raises(CheckpointError, match="no checkpoint at"):
            load_checkpoint(missing)
    np.savez(tmp_path / "foreign.npz", a=np.ones(3))
    np.save(tmp_path / "single.npy", np.ones(3))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "archive.zip").write_bytes(archive_of(("hello.txt", b"hello"), ("meta", b"{}")))
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "folder").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    for file in tmp_path.iterdir():
        with pytest.raises(CheckpointError, match=file.name):
            load_checkpoint(file)


def test_the_headers_that_are_made_here_are_as_numpy_writes_them() -> None:
    raw = npy_of(WEIGHTS)
    assert ast.literal_eval(raw[10:].split(b"\n")[0].decode()) == ast.literal_eval(header())
    assert np.array_equal(np.load(io.BytesIO(npy(header(), WEIGHTS.tobytes()))), WEIGHTS)


VELOCITIES: dict[str, Callable[[Array], Array]] = {
    "of another dtype": lambda p: p.astype("float64"),
    "of another shape": lambda p: p[1:],
    "of integers": lambda p: p.astype(int),
}


@pytest.mark.parametrize("kind", VELOCITIES)
def test_an_optimizer_state_of_another_model_is_not_resumed(path: Path, kind: str) -> None:
    checkpoint = make()
    config = evolve(checkpoint.config, momentum=0.9)
    velocity = {f"velocity/{name}": VELOCITIES[kind](p) for name, p in checkpoint.params.items()}
    opt_state = {"step": np.asarray(10), **velocity}
    save_checkpoint(path, evolve(checkpoint, config=config, opt_state=opt_state))
    with pytest.raises(CheckpointError, match="velocity/W1 must be float32 of shape"):
        load_checkpoint(path).state()


def test_an_optimizer_state_with_a_gap_is_not_resumed(path: Path) -> None:
    config = evolve(make().config, momentum=0.9)
    opt_state = {"step": np.asarray(10), "velocity/W1": WEIGHTS}
    save_checkpoint(path, evolve(make(), config=config, opt_state=opt_state))
    with pytest.raises(CheckpointError, match="the checkpoint does not hold velocity/b1"):
        load_checkpoint(path).state()
