"""CIFAR-100, and what is said about files that are missing, copied or saved again."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fnnet import DataError, load_cifar10, load_cifar100
from fnnet.data.cifar import (
    check_different,
    check_name,
    read_file,
    read_names,
    read_pickle,
    read_py,
)
from fnnet.data.cifar_layouts import (
    CIFAR10_BIN,
    CIFAR10_PY,
    CIFAR100_BIN,
    CIFAR100_PY,
    LAYOUTS,
    Layout,
    find,
    find_kind,
)
from tests.cifar10_files import (
    FOLDERS,
    NAMES,
    SUFFIX,
    content,
    py_array,
    py_dict,
    py_list,
    string,
)
from tests.helpers import same

CLASSES = [f"class_{chr(97 + i // 26)}{chr(97 + i % 26)}".encode() for i in range(100)]
Files = dict[str, bytes]


def numbers(size: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images (N, 3072), coarse labels and fine labels."""
    rng = np.random.default_rng(seed)
    images = np.tile(rng.integers(256, size=(100, 3072), dtype=np.uint8), (size // 100, 1))
    return images, rng.integers(20, size=size), rng.integers(100, size=size)


def cifar100_bin() -> Files:
    files = {"fine_label_names.txt": b"\n".join(CLASSES) + b"\n\n"}
    for seed, (name, size) in enumerate({"train.bin": 50_000, "test.bin": 10_000}.items()):
        images, coarse, fine = numbers(size, seed)
        files[name] = np.column_stack([coarse, fine, images]).astype(np.uint8).tobytes()
    return files


def cifar100_py() -> Files:
    strings = b"](" + b"".join(map(string, CLASSES)) + b"e"
    files = {"meta": py_dict(fine_label_names=strings, coarse_label_names=b"]")}
    for seed, (name, size) in enumerate({"train": 50_000, "test": 10_000}.items()):
        images, coarse, fine = numbers(size, seed)
        names = b"".join(string(b"a_s_%06d.png" % i) + b"r" + b"\1\0\1\0" for i in range(size))
        files[name] = py_dict(
            filenames=b"](" + names + b"e",
            batch_label=string(name.encode() + b"ing batch 1 of 1"),
            fine_labels=py_list(fine),
            coarse_labels=py_list(coarse),
            data=py_array(images.tobytes(), images.shape),
        )
    return files


def write(folder: Path, files: Files) -> Path:
    folder.mkdir(exist_ok=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return folder


@pytest.mark.parametrize(
    ("make", "name"), [(cifar100_bin, "cifar-100-binary"), (cifar100_py, "cifar-100-python")]
)
def test_cifar100_is_read_with_its_fine_labels(
    tmp_path: Path, make: Callable[[], Files], name: str
) -> None:
    place = write(tmp_path / name, make())
    for seed, (dataset, size) in enumerate(
        zip(load_cifar100(tmp_path), (50_000, 10_000), strict=True)
    ):
        images, _, fine = numbers(size, seed)
        assert np.array_equal(dataset.images.reshape(size, 3072), images)
        assert np.array_equal(dataset.labels, fine)
        assert [name.encode() for name in dataset.class_names] == CLASSES
    found = find(tmp_path)
    assert found is not None
    assert (found[0].kind, found[1]) == ("CIFAR-100", place)
    assert find(place) == found
    with pytest.raises(DataError, match="found no CIFAR-10 in"):
        load_cifar10(tmp_path)
    file = {"cifar-100-binary": "fine_label_names.txt", "cifar-100-python": "meta"}[name]
    damaged: list[tuple[bytes | None, str]] = [(None, f"{file} is missing"), (b"x", file)]
    if make is cifar100_bin:
        damaged += [
            (b"\n".join(CLASSES[:99]), "100 names, found 99"),
            (b"\n".join([b"\x1b[2J", *CLASSES[1:]]), "names of classes"),
        ]
    for raw, message in damaged:
        (place / file).unlink()
        if raw is not None:
            (place / file).write_bytes(raw)
        with pytest.raises(DataError, match=message):
            load_cifar100(tmp_path)
        (place / file).touch()
    for path in place.iterdir():  # up to 155 MB
        path.unlink()


def test_the_classes_of_cifar100_are_those_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        tmp_path, {"train.bin": b"", "test.bin": b"", "fine_label_names.txt": b"\n".join(CLASSES)}
    )
    part = np.zeros((1, 3, 32, 32), np.uint8), np.array([99])
    monkeypatch.setattr("fnnet.data.cifar.read", lambda *_: (part, part))  # 180 MB
    for dataset in load_cifar100(tmp_path):
        assert dataset.class_names == tuple(name.decode() for name in CLASSES)


def test_the_label_of_a_record_of_cifar100_is_the_last_byte_before_the_pixels(
    tmp_path: Path,
) -> None:
    path, layout = tmp_path / "train.bin", LAYOUTS[2]
    for fine in (99, 100):
        path.write_bytes((b"\xff" + bytes([fine]) + bytes(3072)) * 4)
        images, labels = np.empty((4, 3072), np.uint8), np.empty(4, np.uint8)
        if fine == 99:
            read_file(path, layout, images, labels)
            assert labels.tolist() == [99] * 4
        else:
            with pytest.raises(DataError, match=r"\[0, 100\), found 100 at index 0"):
                read_file(path, layout, images, labels)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_is_told_by_the_names_in_it(tmp_path: Path, layout: object) -> None:
    assert find(tmp_path) is None
    for each in LAYOUTS:
        if each is layout:
            (tmp_path / each.folder).mkdir()
            assert find(tmp_path) is None
            (tmp_path / each.folder / each.files[-1]).touch()
            assert find(tmp_path) == find(tmp_path / each.folder) == (each, tmp_path / each.folder)
            assert find(tmp_path, []) is None


def test_folders_of_images_named_train_and_test_are_not_cifar100(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    assert find(tmp_path) is None
    (tmp_path / "meta").touch()
    assert find(tmp_path) is None


@pytest.mark.parametrize("layout", ["bin", "py"])
@pytest.mark.parametrize("missing", NAMES)
def test_any_missing_file_is_named(tmp_path: Path, layout: str, missing: str) -> None:
    files = {name + SUFFIX[layout]: b"x" for name in NAMES if name != missing}
    place = write(tmp_path / FOLDERS[layout], files)
    for folder in (tmp_path, place):
        needed = ", ".join(name + SUFFIX[layout] for name in NAMES)
        message = f"^{place}/{missing}{SUFFIX[layout]} is missing: CIFAR-10 needs {needed}$"
        with pytest.raises(DataError, match=message):
            load_cifar10(folder)


def test_a_whole_layout_is_taken_before_a_part_of_one(tmp_path: Path) -> None:
    write(tmp_path / FOLDERS["bin"], {"data_batch_2.bin": b""})
    place = write(tmp_path / FOLDERS["py"], dict.fromkeys(NAMES, b""))
    assert find(tmp_path) == (CIFAR10_PY, place)


@pytest.mark.parametrize("layout", ["bin", "py"])
def test_one_file_under_several_names_is_refused(
    tmp_path: Path, layout: str, request: pytest.FixtureRequest
) -> None:
    source = request.getfixturevalue(f"cifar_{layout}") / FOLDERS[layout]
    place = tmp_path / FOLDERS[layout]
    place.mkdir()
    for name in NAMES:
        file = name + SUFFIX[layout]
        original = "data_batch_2" + SUFFIX[layout] if name == "test_batch" else file
        (place / file).symlink_to(source / original)
    with pytest.raises(DataError, match=r"test_batch.* holds the same images as data_batch_2"):
        load_cifar10(tmp_path)


@pytest.mark.parametrize(
    ("file", "label", "is_right"),
    [
        ("data_batch_2", b"training batch 2 of 5", True),
        ("data_batch_2", b"training batch 1 of 5", False),
        ("data_batch_1", b"testing batch 1 of 1", False),
        ("test_batch", b"testing batch 1 of 1", True),
        ("test_batch", b"training batch 1 of 5", False),
        ("train", b"training batch 1 of 1", True),
        ("train", b"testing batch 1 of 1", False),
        ("test", b"testing batch 1 of 1", True),
        ("test", b"training batch 1 of 1", False),
        ("test_batch", b"my own words", True),
        ("test_batch", None, True),
    ],
)
def test_a_pickle_that_says_that_it_is_another_file_is_refused(
    tmp_path: Path, file: str, label: bytes | None, is_right: bool
) -> None:
    check = check_name
    if is_right:
        check(tmp_path / file, label)
    else:
        with pytest.raises(DataError, match=f"{file} says that it is .*: it is another file"):
            check(tmp_path / file, label)


def test_what_a_pickle_says_of_itself_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "data_batch_2"
    for number in (2, 3):
        path.write_bytes(
            py_dict(
                batch_label=string(b"training batch %d of 5" % number),
                labels=py_list(np.arange(4)),
                data=py_array(bytes(4 * 3072), (4, 3072)),
            )
        )
        images, labels = np.empty((4, 3072), np.uint8), np.empty(4, np.uint8)
        if number == 2:
            read_file(path, CIFAR10_PY, images, labels)
        else:
            with pytest.raises(DataError, match="says that it is 'training batch 3 of 5'"):
                read_file(path, CIFAR10_PY, images, labels)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("keys", [str, str.encode])
def test_a_batch_saved_again_by_python_3_is_told(
    tmp_path: Path, protocol: int, keys: Callable[[str], object]
) -> None:
    images, labels = content("data_batch_1")
    batch = {keys("data"): images, keys("labels"): labels.tolist()}
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps(batch, protocol))
    assert path.stat().st_size > (32_000_000 if protocol == 2 else 0)
    found = np.empty((10_000, 3072), np.uint8), np.empty(10_000, np.uint8)
    with pytest.raises(DataError, match=r"data_batch_1 .*saved again.*not the official file"):
        read_file(path, CIFAR10_PY, *found)
    path.unlink()


@pytest.mark.parametrize("grown", [32_000_001, 2**40])
def test_a_file_without_end_is_not_read(tmp_path: Path, grown: int) -> None:
    path = tmp_path / "data_batch_1"
    path.write_bytes(py_dict(labels=b"]")[:-1])
    os.truncate(path, grown)  # zeros that take no room
    found = np.empty((10_000, 3072), np.uint8), np.empty(10_000, np.uint8)
    with pytest.raises(DataError, match=f"at most 32,000,000 bytes, found {grown:,}"):
        read_file(path, CIFAR10_PY, *found)


@pytest.mark.parametrize("layout", ["bin", "py"])
def test_the_home_folder_may_be_written_as_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, request: pytest.FixtureRequest
) -> None:
    source: Path = request.getfixturevalue(f"cifar_{layout}")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cifar").symlink_to(source)
    assert len(load_cifar10("~/cifar")[1]) == len(load_cifar10(Path("~/cifar"))[1]) == 10_000


NAMES_WRONG: list[tuple[list[bytes], str]] = [
    (CLASSES[:99], "100 names, found 99"),
    ([*CLASSES[:99], CLASSES[0]], "100 names, found 99"),
    ([*CLASSES, CLASSES[0]], "100 names, found 100"),
    ([*CLASSES, b"one more"], "100 names, found 101"),
    ([*CLASSES[:99], b"a" * 61], f"names of classes, found '{'a' * 60}'$"),
    ([*CLASSES[:99], b"caf\xe9"], "names of classes, found 'caf"),
    ([*CLASSES[:99], b"a" * 200_000], "must have at most 100,000 bytes"),
]


@pytest.mark.parametrize("layout", [CIFAR100_BIN, CIFAR100_PY], ids=["bin", "py"])
@pytest.mark.parametrize(("names", "message"), NAMES_WRONG)
def test_the_names_of_cifar100_are_a_hundred_different_ones(
    tmp_path: Path, layout: Layout, names: list[bytes], message: str
) -> None:
    assert layout.names_file is not None
    path = tmp_path / layout.names_file
    for lines in (CLASSES, names):
        strings = b"](" + b"".join(map(string, lines)) + b"e"
        path.write_bytes(
            b"\n".join(lines) if layout.label_bytes else py_dict(fine_label_names=strings)
        )
        if lines is CLASSES:
            assert read_names(layout, tmp_path) == tuple(name.decode() for name in CLASSES)
    with pytest.raises(DataError, match=f"^{path} .*{message}"):
        read_names(layout, tmp_path)


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 2, 3], [0, 1, 256], [0, 1, -1], [0, 1, b"x"]])
def test_labels_of_another_number_or_kind_are_refused_by_name(
    tmp_path: Path, labels: list[int | bytes]
) -> None:
    path, data = tmp_path / "test_batch", py_array(bytes(range(192)) * 48, (3, 3072))
    path.write_bytes(py_dict(data=data, labels=py_list(np.array([0, 255, 7]))))
    assert read_py(path, b"labels", 3)[1].tolist() == [0, 255, 7]
    items = [string(n) if isinstance(n, bytes) else py_list(np.array([n]))[2:-1] for n in labels]
    path.write_bytes(py_dict(data=data, labels=b"](" + b"".join(items) + b"e"))
    with pytest.raises(DataError, match=f"^{path}: `labels` must be 3 integers that are labels$"):
        read_py(path, b"labels", 3)


@pytest.mark.parametrize("length", [1, 9_000])
def test_a_pickle_may_have_the_largest_size_and_not_a_byte_more(
    tmp_path: Path, length: int
) -> None:
    path, raw = tmp_path / "meta", py_dict(a=string(b"b" * length))
    path.write_bytes(raw)
    assert read_pickle(path, len(raw), 100) == {b"a": b"b" * length}
    with pytest.raises(DataError, match=f"at most {len(raw) - 1:,} bytes, found {len(raw):,}$"):
        read_pickle(path, len(raw) - 1, 100)
    path.write_bytes(raw[:-1] + b"}")
    with pytest.raises(DataError, match=f"^{path} was refused: it is damaged: it ends too early$"):
        read_pickle(path, len(raw), 100)
    path.write_bytes(pickle.dumps({"a": "b" * length}, 2))
    with pytest.raises(DataError, match=f"^{path} was refused: .* saved again by Python 3"):
        read_pickle(path, 20_000, 100)


def test_a_file_of_names_may_have_the_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "fine_label_names.txt"
    lines = b"\n".join(CLASSES)
    path.write_bytes(lines.ljust(100_000, b"\n"))
    assert read_names(CIFAR100_BIN, tmp_path)[99] == CLASSES[99].decode()
    path.write_bytes(lines.ljust(100_001, b"\n"))
    with pytest.raises(DataError, match=f"^{path} must have at most 100,000 bytes$"):
        read_names(CIFAR100_BIN, tmp_path)


def test_a_list_of_names_that_is_missing_or_holds_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "meta"
    for raw in (py_dict(a=string(b"b")), py_dict(fine_label_names=py_list(np.arange(100)))):
        path.write_bytes(raw)
        with pytest.raises(DataError, match=f"^{path} must hold a list of strings `fine_label_"):
            read_names(CIFAR100_PY, tmp_path)


PIXELS = (np.arange(3 * 3072) % 251).astype(np.uint8).reshape(3, 3072)
RIGHT = {"data": py_array(PIXELS.tobytes(), (3, 3072)), "labels": py_list(np.arange(3))}
NO_ARRAY = "must hold a dict with `data` and a list `labels`"
NO_BYTES = r"`data` must be a uint8 array of shape \(3, 3072\)"
ANOTHER_ARRAY = {
    "too few pixels": py_array(bytes(9), (3, 3072)),
    "another shape": py_array(PIXELS.tobytes(), (9, 1024)),
    "another dtype": py_array(PIXELS.tobytes(), (3, 3072), b"i1"),
}


def test_a_batch_of_pickles_is_bytes_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1"
    path.write_bytes(py_dict(**RIGHT))
    assert same(read_py(path, b"labels", 3), (PIXELS, np.arange(3, dtype=np.uint8)))
    for key in RIGHT:
        path.write_bytes(py_dict(**RIGHT | {key: string(b"x")}))
        with pytest.raises(DataError, match=f"^{path} {NO_ARRAY}$"):
            read_py(path, b"labels", 3)


@pytest.mark.parametrize("kind", ANOTHER_ARRAY)
def test_an_array_of_another_shape_or_dtype_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "data_batch_1"
    path.write_bytes(py_dict(**RIGHT | {"data": ANOTHER_ARRAY[kind]}))
    with pytest.raises(DataError, match=f"^{path}: {NO_BYTES}$"):
        read_py(path, b"labels", 3)


def test_files_are_copies_only_if_images_and_labels_are_the_same(tmp_path: Path) -> None:
    labels = np.arange(3, dtype=np.uint8)
    one, other = (PIXELS, labels), (PIXELS[::-1], labels)
    check_different(tmp_path, {"a": one, "b": other, "c": (PIXELS, labels[::-1])})
    with pytest.raises(DataError, match=f"^{tmp_path}/c holds the same images as b: it is a copy$"):
        check_different(tmp_path, {"a": one, "b": other, "c": other})


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    for layout in (CIFAR10_BIN, CIFAR10_PY):
        with pytest.raises(DataError, match=f"^{tmp_path}/x is missing$"):
            read_file(tmp_path / "x", layout, PIXELS, np.zeros(3, np.uint8))


@pytest.mark.parametrize("file", ["data_batch_4.bin", "data_batch_4", "test_batch"])
def test_one_file_of_cifar10_tells_what_a_folder_holds(tmp_path: Path, file: str) -> None:
    (tmp_path / file).touch()
    assert find(tmp_path) == (CIFAR10_BIN if ".bin" in file else CIFAR10_PY, tmp_path)


@pytest.mark.parametrize("layout", [CIFAR100_BIN, CIFAR100_PY], ids=["bin", "py"])
def test_two_files_of_cifar100_tell_what_a_folder_holds(tmp_path: Path, layout: Layout) -> None:
    first, second, _ = layout.files
    (tmp_path / first).touch()
    assert find(tmp_path) is None
    (tmp_path / second).touch()
    assert find(tmp_path) == (layout, tmp_path)


def test_of_two_whole_layouts_the_one_without_pickles_is_taken(tmp_path: Path) -> None:
    for layout in reversed(LAYOUTS):
        write(tmp_path / layout.folder, dict.fromkeys(layout.files, b""))
    for kind, binary in (("CIFAR-10", CIFAR10_BIN), ("CIFAR-100", CIFAR100_BIN)):
        assert find(tmp_path, [kind]) == (binary, tmp_path / binary.folder)
        assert find_kind(tmp_path, kind) == (binary, tmp_path / binary.folder)
    assert find(tmp_path) == (CIFAR10_BIN, tmp_path / CIFAR10_BIN.folder)


CURE = "; `fnnet download` fetches it"  # it does not fetch CIFAR-100
NOTHING = {
    "CIFAR-10": f"a folder cifar-10-batches-bin or cifar-10-batches-py in it{CURE}",
    "CIFAR-100": "a folder cifar-100-binary or cifar-100-python in it",
}


@pytest.mark.parametrize(
    ("load", "kind"), [(load_cifar10, "CIFAR-10"), (load_cifar100, "CIFAR-100")]
)
def test_a_folder_without_data_is_told_what_should_be_in_it(
    tmp_path: Path, load: Callable[[Path], object], kind: str
) -> None:
    message = f"^found no {kind} in {tmp_path}: expected {NOTHING[kind]}$"
    with pytest.raises(DataError, match=message):
        load(tmp_path)
