"""Files of MNIST's format are read right, gzipped or not, or refused by name."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet import DataError, load
from fnnet.checks import Array
from fnnet.data.idx import load_idx

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(20, 5, 4), dtype=np.uint8)
LABELS = (np.arange(20) % 4).astype(np.uint8)


def idx(array: Array) -> bytes:
    """Return an array in IDX format."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write(folder: Path, part: str, images: bytes, labels: bytes, dash: str = "-") -> Path:
    (folder / f"{part}-images{dash}idx3-ubyte").write_bytes(images)
    (folder / f"{part}-labels{dash}idx1-ubyte").write_bytes(labels)
    return folder


def zipped(folder: Path) -> None:
    for path in [*folder.iterdir()]:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


@pytest.mark.parametrize("dash", ["-", "."])
@pytest.mark.parametrize("gzipped", [False, True])
def test_both_parts_are_read(tmp_path: Path, dash: str, gzipped: bool) -> None:
    write(tmp_path, "train", idx(IMAGES), idx(LABELS), dash)
    write(tmp_path, "t10k", idx(IMAGES[:7]), idx(LABELS[:7]), dash)
    if gzipped:
        zipped(tmp_path)
    for train, test in (load_idx(tmp_path), load(tmp_path)):
        assert test is not None
        assert np.array_equal(train.images, IMAGES)
        assert np.array_equal(train.labels, LABELS)
        assert np.array_equal(test.images, IMAGES[:7])
        assert train.class_names == test.class_names == ("0", "1", "2", "3")


def test_without_a_test_part_some_examples_are_held_out(tmp_path: Path) -> None:
    write(tmp_path, "train", idx(IMAGES), idx(LABELS))
    assert load_idx(tmp_path)[1] is None
    train, test = load(tmp_path)
    assert (len(train), len(test)) == (16, 4)


WRONG: dict[str, tuple[bytes, bytes, str]] = {
    "no images": (b"", idx(LABELS), "must begin with 00000803, found $"),
    "other magic": (b"\0\0\x0d\x03" + idx(IMAGES)[4:], idx(LABELS), "found 00000d03$"),
    "a header cut off": (idx(IMAGES)[:15], idx(LABELS), "ends before it has stated its shape$"),
    "labels for images": (idx(LABELS), idx(LABELS), "must begin with 00000803, found 00000801"),
    "short": (idx(IMAGES)[:-1], idx(LABELS), "must hold 400 bytes .*found 399"),
    "long": (idx(IMAGES) + b"x", idx(LABELS), "must hold 400 bytes .*found more"),
    "fewer labels": (idx(IMAGES), idx(LABELS[:-1]), "20 images, and 19 labels"),
    "empty": (idx(IMAGES[:0]), idx(LABELS[:0]), "states the shape"),
    "huge": (b"\0\0\x08\x03" + b"\xff" * 12, idx(LABELS), "which its size cannot have"),
    "one class": (idx(IMAGES), idx(LABELS * 0), "at least two classes"),
    "one label": (idx(IMAGES[:1]), idx(LABELS[:1]), "at least two classes"),
    "empty class": (idx(IMAGES), idx(LABELS + (LABELS > 1)), "class 2 has no example"),
}


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("kind", WRONG)
def test_what_is_not_idx_is_refused(tmp_path: Path, kind: str, gzipped: bool) -> None:
    images, labels, message = WRONG[kind]
    write(tmp_path, "train", images, labels)
    if gzipped:
        zipped(tmp_path)
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_a_file_of_the_size_that_it_states_needs_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnnet.data.idx.ROOM", 0)
    write(tmp_path, "train", idx(IMAGES), idx(LABELS))
    assert np.array_equal(load_idx(tmp_path)[0].images, IMAGES)


def test_a_file_may_hold_what_its_size_allows_and_not_a_byte_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "train", idx(IMAGES), idx(LABELS))
    monkeypatch.setattr("fnnet.data.idx.FACTOR", 0)
    monkeypatch.setattr("fnnet.data.idx.ROOM", 400)  # 20 images of 5×4 bytes
    assert len(load_idx(tmp_path)[0]) == 20
    monkeypatch.setattr("fnnet.data.idx.ROOM", 399)
    with pytest.raises(DataError, match=r"states the shape \(20, 5, 4\), which its size cannot"):
        load_idx(tmp_path)


def test_a_class_of_the_test_part_alone_is_named(tmp_path: Path) -> None:
    write(tmp_path, "train", idx(IMAGES), idx(LABELS % 2))
    write(tmp_path, "t10k", idx(IMAGES), idx(LABELS % 3))
    with pytest.raises(DataError, match=f"^{tmp_path}: the class 2 has no example to train on$"):
        load_idx(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, "train", idx(IMAGES), idx(LABELS))
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="train-labels-idx1-ubyte is missing"):
        load(tmp_path)


def test_train_and_test_must_have_one_size(tmp_path: Path) -> None:
    write(tmp_path, "train", idx(IMAGES), idx(LABELS))
    write(tmp_path, "t10k", idx(IMAGES[:, :4]), idx(LABELS))
    with pytest.raises(DataError, match=r"one size, found \(5, 4\) and \(4, 4\)"):
        load(tmp_path)


@given(st.data())
def test_a_damaged_file_is_refused_or_holds_images_and_labels(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    raw = [bytearray(idx(IMAGES)), bytearray(idx(LABELS))]
    gzipped = data.draw(st.booleans())
    raw = [bytearray(gzip.compress(r)) for r in raw] if gzipped else raw
    chosen = raw[data.draw(st.integers(0, 1))]
    chosen[data.draw(st.integers(0, len(chosen) - 1))] ^= data.draw(st.integers(1, 255))
    ending = ".gz" if gzipped else ""
    (folder / f"train-images-idx3-ubyte{ending}").write_bytes(raw[0])
    (folder / f"train-labels-idx1-ubyte{ending}").write_bytes(raw[1])
    try:
        train, _ = load_idx(folder)
    except DataError as error:
        assert str(folder) in str(error)
    else:
        assert train.images.shape[0] == len(train.labels)
        assert train.images.size == IMAGES.size
