"""Images and features in .npz files are read right, or refused with the file's name."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet import DataError, load
from fnnet.checks import Array
from fnnet.data.npz import load_npz, read_inputs
from tests.helpers import same

RNG = np.random.default_rng(0)
GRAY = RNG.integers(256, size=(12, 5, 4), dtype=np.uint8)
LABELS = np.arange(12) % 3
FEATURES = RNG.normal(size=(12, 6)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_and_features_come_back_as_they_were_saved(path: Path, save: Any) -> None:
    for name, array in (("images", GRAY), ("features", FEATURES)):
        save(path, **{name: array}, labels=LABELS, class_names=np.array(["a", "b", "c"]))
        dataset, test = load_npz(path)
        assert test is None
        assert same(dataset.images, array)
        assert np.array_equal(dataset.labels, LABELS)
        assert dataset.class_names == ("a", "b", "c")
        assert same(read_inputs(path), array)


def test_the_files_of_keras_have_a_test_part(path: Path) -> None:
    labels = LABELS[:, None]  # as in Keras's cifar10
    np.savez(path, x_train=GRAY, y_train=labels, x_test=GRAY[:3], y_test=labels[:3])
    train, test = load_npz(path)
    assert test is not None
    assert same((train.images, test.images), (GRAY, GRAY[:3]))
    assert test.labels.tolist() == [0, 1, 2]
    assert train.class_names == ("0", "1", "2")
    assert same(read_inputs(path), GRAY[:3])
    np.savez(path, x_train=FEATURES, y_train=LABELS, x_test=FEATURES[:3], y_test=LABELS[:3])
    assert same(load_npz(path)[0].images, FEATURES)


def test_other_integers_and_strings_are_understood(path: Path) -> None:
    words = np.array(["dog", "cat", "emu"])[LABELS]
    np.savez(path, images=GRAY.astype(np.int64), labels=words)
    dataset, _ = load_npz(path)
    assert same(dataset.images, GRAY)
    assert dataset.class_names == ("cat", "dog", "emu")
    assert [dataset.class_names[label] for label in dataset.labels] == words.tolist()
    np.savez(path, features=GRAY[:, 0].astype(">i4"), labels=LABELS == 1)
    dataset, _ = load_npz(path)
    assert same(dataset.images, GRAY[:, 0].astype(np.float64))
    assert dataset.labels.tolist() == (LABELS == 1).tolist()
    np.savez(path, features=np.asfortranarray(FEATURES), labels=LABELS)
    stored = load_npz(path)[0].images
    assert np.array_equal(stored, FEATURES)
    assert stored.flags.c_contiguous


def test_the_files_of_keras_may_name_their_classes_and_the_place_of_the_channels(
    path: Path,
) -> None:
    images = RNG.integers(256, size=(12, 3, 4, 3), dtype=np.uint8)
    arrays = {"x_train": images, "y_train": LABELS, "x_test": images, "y_test": LABELS}
    np.savez(path, **arrays, class_names=np.array(["a", "b", "c"]), layout="channels_last")  # type: ignore[arg-type]
    for part in load_npz(path):
        assert part is not None
        assert np.array_equal(part.images, np.moveaxis(images, 3, 1))
        assert part.class_names == ("a", "b", "c")


def test_there_may_be_as_many_classes_as_the_limit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(path, images=GRAY, labels=LABELS)
    monkeypatch.setattr("fnnet.data.npz.MAX_CLASSES", 3)
    assert len(load_npz(path)[0].class_names) == 3
    monkeypatch.setattr("fnnet.data.npz.MAX_CLASSES", 2)
    with pytest.raises(DataError, match=r"labels must lie in \[0, 2\), found 0 to 2$"):
        load_npz(path)


def test_the_file_may_say_where_the_channels_are(path: Path) -> None:
    images = RNG.integers(256, size=(12, 3, 4, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=LABELS)
    with pytest.raises(DataError, match=r'"channels_last"; or add an entry layout to data\.npz$'):
        load_npz(path)
    np.savez(path, images=images, labels=LABELS, layout="channels_last")
    assert np.array_equal(load_npz(path)[0].images, np.moveaxis(images, 3, 1))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no labels": (
        {"images": GRAY},
        "must hold images or features, and labels, or x_train, y_train, x_test, y_test; "
        "found images$",
    ),
    "nothing": ({}, "found nothing"),
    "strangers": ({"images": GRAY, "labels": LABELS, "x": LABELS}, "found images, labels, x"),
    "both": ({"images": GRAY, "features": FEATURES, "labels": LABELS}, "found both"),
    "other length": ({"images": GRAY, "labels": LABELS[:9]}, "12 examples, and 9 labels"),
    "floating images": (
        {"images": GRAY / 255, "labels": LABELS},
        r"found float64: multiply by 255 and store uint8, or name them .*, of shape \(N, D\)$",
    ),
    "images out of bytes": (
        {"images": GRAY.astype(int) + 1000, "labels": LABELS},
        r"must lie in \[0, 255\]",
    ),
    "a byte too large": (
        {"images": np.where(GRAY < 255, GRAY.astype(int), 256), "labels": LABELS},
        r"must lie in \[0, 255\], found \d+ to 256",
    ),
    "features of a cube": ({"features": GRAY, "labels": LABELS}, r"shape \(N, D\)"),
    "NaN": ({"features": np.full((12, 2), np.nan), "labels": LABELS}, r"nan at index \(0, 0\)$"),
    "labels from 1": ({"images": GRAY, "labels": LABELS + 1}, "class '0' has no example"),
    "negative labels": ({"images": GRAY, "labels": LABELS - 1}, r"must lie in \[0, 2\), found -1"),
    "strings for features": (
        {"features": np.array([["a"]] * 12), "labels": LABELS},
        r"features must be numbers of shape \(N, D\), found <U1",
    ),
    "floating labels": ({"images": GRAY, "labels": LABELS / 1}, "must be integers or strings"),
    "matrix of labels": ({"images": GRAY, "labels": GRAY[:, 0]}, r"shape \(N,\) or \(N, 1\)"),
    "huge labels": ({"images": GRAY, "labels": LABELS + 10**12}, "labels must lie in"),
    "one class": ({"images": GRAY, "labels": LABELS * 0}, "at least two classes"),
    "empty class": ({"images": GRAY, "labels": LABELS * 2}, "class '1' has no example"),
    "a class of the names alone": (
        {"images": GRAY, "labels": LABELS, "class_names": np.array(["a", "b", "c", "d"])},
        "class 'd' has no example",
    ),
    "too few names": (
        {"images": GRAY, "labels": LABELS, "class_names": np.array(["a", "b"])},
        r"must lie in \[0, 2\), found 0 to 2",
    ),
    "names that are numbers": (
        {"images": GRAY, "labels": LABELS, "class_names": np.arange(3)},
        r"class_names must be strings of shape \(C,\), found int",
    ),
    "a matrix of names": (
        {"images": GRAY, "labels": LABELS, "class_names": np.array([["a", "b", "c"]])},
        r"class_names must be strings of shape \(C,\), found <U1",
    ),
    "unnamed label": (
        {"images": GRAY, "labels": np.array(["a", "b"] * 6), "class_names": np.array(["a", "x"])},
        "lacks the label 'b'",
    ),
    "objects": ({"images": GRAY, "labels": LABELS.astype(object)}, "must hold numbers or strings"),
    "a number": ({"images": np.uint8(3), "labels": LABELS}, r"shape \(N, ...\), found \(\)"),
    "another shape to test on": (
        {"x_train": GRAY, "y_train": LABELS, "x_test": GRAY[:, 1:], "y_test": LABELS},
        r"one shape and kind, found uint8 \(5, 4\) and uint8 \(4, 4\)",
    ),
    "features to test on": (
        {"x_train": GRAY[:, 0], "y_train": LABELS, "x_test": GRAY[:, 0] / 4, "y_test": LABELS},
        "one shape and kind, found uint8 .* and float64",
    ),
    "empty": ({"images": GRAY[:0], "labels": LABELS[:0]}, "labels must have shape"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_not_a_dataset_is_refused_with_the_files_name(path: Path, kind: str) -> None:
    arrays, message = WRONG[kind]
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=rf"data\.npz.*{message}"):
        load(path)


@pytest.mark.parametrize(
    ("names", "found"),
    [([], "nothing"), (["labels", "x"], "labels, x"), (["images", "features"], "features, images")],
)
def test_a_file_to_predict_must_hold_one_kind_of_inputs(
    path: Path, names: list[str], found: str
) -> None:
    arrays: dict[str, Any] = dict.fromkeys(names, GRAY)
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=f"^{path} must hold images or features, found {found}$"):
        read_inputs(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_comes_twice_is_named(path: Path) -> None:
    np.savez(path, images=GRAY, labels=LABELS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.npy", archive.read("labels.npy"))
    with pytest.raises(DataError, match=f"^{path} has the entry labels twice$"):
        load_npz(path)


def npy(header: bytes, data: bytes = b"") -> bytes:
    header = header.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    ("shape", "message"),
    [("(99999999999,)", "bytes of data"), ("(-1,)", "bytes of data"), ("()" * 9, "bad header")],
)
def test_a_header_is_not_believed(path: Path, shape: str, message: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        entry = npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode())
        archive.writestr("images.npy", entry)
    with pytest.raises(DataError, match=message):
        load(path)


def test_a_bomb_is_refused_before_it_is_unpacked(path: Path) -> None:
    np.savez_compressed(path, images=np.zeros((200, 1000, 1000), np.uint8), labels=LABELS)
    with pytest.raises(DataError, match="save it without compression"):
        load(path)


def test_bytes_that_unpack_from_nothing_do_not_become_eight_times_as_large(path: Path) -> None:
    np.savez_compressed(path, features=np.zeros((3, 5_000_000), np.uint8), labels=np.arange(3))
    with pytest.raises(DataError, match="unpacks to 120,000,000 bytes"):
        load(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_the_compression_of_numpy_is_read(path: Path, method: int) -> None:
    np.savez(path, images=GRAY, labels=LABELS)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, raw in entries.items():
            archive.writestr(name, raw)
    with pytest.raises(DataError, match="compressed in another way"):
        load(path)


@pytest.mark.parametrize("code", [0x110000, 0xD800])
def test_labels_that_are_not_unicode_are_refused(path: Path, code: int) -> None:
    labels = np.array(["a", "b", "c"])[LABELS]
    labels.view(np.uint32)[0] = code
    np.savez(path, images=GRAY, labels=labels)
    with pytest.raises(DataError, match=r"data\.npz: labels holds strings"):
        load(path)


def test_files_that_are_missing_or_something_else_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "folder.npz").mkdir()
    for name, message in (("gone", "missing"), ("text", "not an .npz file"), ("folder", "a file")):
        with pytest.raises(DataError, match=f"{name}.npz.*{message}"):
            load_npz(tmp_path / f"{name}.npz")


def whole() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, images=GRAY, labels=LABELS.astype(np.uint8))
    return buffer.getvalue()


WHOLE = whole()


@given(st.data())
def test_a_damaged_file_is_refused_or_says_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "data.npz"
    raw = bytearray(WHOLE)
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    try:
        dataset, _ = load_npz(path)
    except DataError as error:
        assert "data.npz" in str(error)
    else:
        found: Array = dataset.images  # an entry's CRC covers its bytes
        assert same(found.reshape(-1), GRAY.reshape(-1)) or found.shape != GRAY.shape
