"""Both layouts of CIFAR-10 are read right, and damaged or hostile files are refused."""

import builtins
import contextlib
import copyreg
import os
import pickle
import subprocess
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fnnet import DataError, load_cifar10
from fnnet.checks import Array
from fnnet.data import cifar, pickles
from fnnet.data.cifar_layouts import CIFAR10_BIN, CIFAR10_PY, Layout
from tests.cifar10_files import (
    FOLDERS,
    NAMES,
    SUFFIX,
    TRAIN,
    bin_batch,
    content,
    name_of,
    py_array,
    py_batch,
    py_dict,
    py_list,
    string,
    with_one_replaced,
)
from tests.helpers import same


@pytest.fixture(params=["bin", "py"])
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def source(layout: str, request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(f"cifar_{layout}")
    return folder


def test_both_layouts_are_told_apart_and_read_in_the_official_order(source: Path) -> None:
    train, test = load_cifar10(source)
    for dataset, names in ((train, TRAIN), (test, ["test_batch"])):
        assert dataset.images.shape == (10_000 * len(names), 3, 32, 32)
        assert dataset.images.dtype == np.uint8
        assert dataset.class_names[0] == "airplane"
        assert len(dataset.class_names) == 10
        for i, name in enumerate(names):
            images, labels = content(name)
            rows = slice(10_000 * i, 10_000 * (i + 1))
            assert np.array_equal(dataset.images[rows].reshape(10_000, 3072), images)
            assert np.array_equal(dataset.labels[rows], labels)


def test_the_folder_of_the_files_itself_does_too(source: Path, layout: str) -> None:
    _, test = load_cifar10(str(source / FOLDERS[layout]))
    assert np.array_equal(test.labels, content("test_batch")[1])


def test_the_layout_without_pickles_is_taken_if_both_are_there(
    cifar_bin: Path, tmp_path: Path
) -> None:
    (tmp_path / FOLDERS["bin"]).symlink_to(cifar_bin / FOLDERS["bin"])
    (tmp_path / FOLDERS["py"]).mkdir()
    (tmp_path / FOLDERS["py"] / "data_batch_1").write_bytes(b"no pickle")
    assert len(load_cifar10(tmp_path)[1]) == 10_000


def test_a_folder_without_data_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DataError, match=f"found no CIFAR-10 in {folder}"):
            load_cifar10(folder)


def refused(folder: Path, source: Path, layout: str, name: str, raw: bytes | None) -> str:
    """Return the message about a folder in which one file is replaced."""
    with_one_replaced(folder, source, layout, name, raw)
    with pytest.raises(DataError) as error:
        load_cifar10(folder)
    (folder / FOLDERS[layout] / (name + SUFFIX[layout])).unlink(missing_ok=True)  # up to 31 MB
    return str(error.value)


@pytest.mark.parametrize("name", ["data_batch_2", "data_batch_5", "test_batch"])
def test_a_missing_file_is_named(tmp_path: Path, source: Path, layout: str, name: str) -> None:
    message = refused(tmp_path, source, layout, name, None)
    assert name in message
    assert "missing" in message


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch"])
@pytest.mark.parametrize("change", [-3073, -1, 1, 3073])
def test_a_bin_file_of_another_size_is_refused(
    tmp_path: Path, cifar_bin: Path, name: str, change: int
) -> None:
    raw = (cifar_bin / FOLDERS["bin"] / f"{name}.bin").read_bytes()
    raw = raw[:change] if change < 0 else raw + raw[:change]
    message = refused(tmp_path, cifar_bin, "bin", name, raw)
    assert f"{name}.bin must have 30,730,000 bytes, found {len(raw):,}" in message


def test_empty_files_are_refused(tmp_path: Path, source: Path, layout: str) -> None:
    assert "data_batch_1" in refused(tmp_path, source, layout, "data_batch_1", b"")


@pytest.mark.parametrize("index", [0, 9_999])
@pytest.mark.parametrize("label", [10, 12, 255])
def test_a_label_that_is_no_class_is_refused_by_place(
    tmp_path: Path, source: Path, layout: str, label: int, index: int
) -> None:
    images, labels = content("data_batch_1")
    labels[index] = label
    make = {"bin": bin_batch, "py": py_batch}[layout]
    message = refused(tmp_path, source, layout, "data_batch_1", make(images, labels))
    assert f"labels must lie in [0, 10), found {label} at index {index}" in message


SIZE = 10_000 * 3072
LIST = py_list(np.zeros(10_000, int))


def black(size: int = SIZE, **options: Any) -> bytes:
    """Pickle an array of black images."""
    return py_array(bytes(size), **options)


def list_of(pickled: bytes) -> bytes:
    """Pickle a list of 10,000 times the same object."""
    return b"](" + pickled * 10_000 + b"e"


# Made one at a time: each has 31 MB.
BAD_PICKLES: dict[str, Callable[[], bytes]] = {
    "truncated": lambda: py_dict(data=black(), labels=LIST)[:-100_000],
    "no stop": lambda: py_dict(data=black(), labels=LIST)[:-1],
    "garbage": lambda: b"\x00" * 1000,
    "text": lambda: b"hello, world\n" * 100,
    "too large": lambda: py_dict(data=black(), labels=LIST) + bytes(2_000_000),
    "no dict": lambda: b"\x80\x02" + LIST + b".",
    "no data": lambda: py_dict(labels=LIST),
    "no labels": lambda: py_dict(data=black()),
    "data a string": lambda: py_dict(data=string(bytes(SIZE)), labels=LIST),
    "data None": lambda: py_dict(data=b"N", labels=LIST),
    "too few pixels": lambda: py_dict(data=black(SIZE - 1), labels=LIST),
    "too many pixels": lambda: py_dict(data=black(SIZE + 1), labels=LIST),
    "fewer images": lambda: py_dict(data=black(3072, shape=(1, 3072)), labels=LIST),
    "other shape": lambda: py_dict(data=black(shape=(3072, 10_000)), labels=LIST),
    "negative shape": lambda: py_dict(data=black(shape=(-1, 3072)), labels=LIST),
    "floating pixels": lambda: py_dict(data=black(code=b"f4"), labels=LIST),
    "signed pixels": lambda: py_dict(data=black(code=b"i1"), labels=LIST),
    "object pixels": lambda: py_dict(data=black(code=b"O8"), labels=LIST),
    "too few labels": lambda: py_dict(data=black(), labels=py_list(np.zeros(9_999, int))),
    "too many labels": lambda: py_dict(data=black(), labels=py_list(np.zeros(10_001, int))),
    "negative label": lambda: py_dict(data=black(), labels=py_list(-np.ones(10_000, int))),
    "label 256": lambda: py_dict(data=black(), labels=py_list(np.full(10_000, 256))),
    "labels an array": lambda: py_dict(data=black(), labels=black(10_000)),
    "labels a string": lambda: py_dict(data=black(), labels=string(bytes(10_000))),
    "floating labels": lambda: py_dict(
        data=black(), labels=b"](" + (b"G" + bytes(8)) * 10_000 + b"e"
    ),
    "labels of strings": lambda: py_dict(data=black(), labels=list_of(string(b"x"))),
    "boolean labels": lambda: py_dict(data=black(), labels=list_of(b"\x88")),
}


@pytest.mark.parametrize("kind", BAD_PICKLES)
def test_a_pickle_of_anything_else_is_refused(tmp_path: Path, cifar_py: Path, kind: str) -> None:
    assert "data_batch_1" in refused(tmp_path, cifar_py, "py", "data_batch_1", BAD_PICKLES[kind]())


class Evil:
    """Pickled as a call of any function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def by_name(module: str, name: str, argument: bytes) -> bytes:
    """Pickle the call of a function by name with one argument."""
    return b"\x80\x02" + name_of(module, name) + argument + b"\x85R."


def attacks(trace: Path) -> dict[str, bytes]:
    """Return pickles that make the file `trace` when Python reads them."""
    touch, write = f"touch {trace}", f"open({str(trace)!r}, 'w').close()"
    call = pickle.dumps(Evil(os.system, touch), 2)[2:-1]
    system, argument = name_of("posix", "system"), string(touch.encode())
    run = {f"os.system, protocol {n}": pickle.dumps(Evil(os.system, touch), n) for n in range(6)}
    return run | {
        "exec": pickle.dumps(Evil(builtins.exec, write), 2),
        "eval": pickle.dumps(Evil(builtins.eval, write), 2),
        "eval of Python 2": by_name("__builtin__", "eval", string(write.encode())),
        "mkdir": pickle.dumps(Evil(os.mkdir, str(trace)), 2),
        "subprocess": pickle.dumps(Evil(subprocess.call, ["touch", str(trace)]), 2),
        "partial": pickle.dumps(Evil(partial(os.system, touch)), 2),
        "numpy.savetxt": pickle.dumps(Evil(np.savetxt, str(trace), [1.0]), 2),
        "numpy.memmap": pickle.dumps(Evil(np.memmap, str(trace), "u1", "w+", 0, (1,)), 2),
        "instance": b"\x80\x02(" + argument + b"iposix\nsystem\n.",
        "object": b"\x80\x02(" + system + argument + b"o.",
        "stack": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c" + short(touch) + b"\x85R.",
        "dotted": b"\x80\x04\x8c\x02os\x8c\x0bpath.os.sys\x93"
        + b"0"
        + b"\x8c\x05posix\x8c\x06system\x93\x8c"
        + short(touch)
        + b"\x85R.",
        "in the labels": py_dict(labels=call, data=black(9)),
        "in the pixels": py_dict(data=call, labels=LIST),
        "in a file name": py_dict(filenames=call, labels=LIST, data=black(9)),
        "in a key": b"\x80\x02}(" + call + b"Nu.",
        "after much": py_dict(labels=LIST, batch_label=string(b"x"))[:-1] + b"0" + call + b".",
        "thrown away": b"\x80\x02" + call + b"0" + py_dict(labels=LIST)[2:],
    }


def short(text: str) -> bytes:
    """Pickle the length and the bytes of a str, as SHORT_BINUNICODE has them."""
    return bytes([len(text)]) + text.encode()


@pytest.mark.parametrize("kind", attacks(Path("trace")))
def test_a_pickle_that_reaches_for_code_is_refused_unrun(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trace = tmp_path / "trace"
    raw = attacks(trace)[kind]
    with pytest.raises(DataError, match="which no batch needs"):
        unpickle(raw)
    assert [*tmp_path.iterdir()] == [], "the pickle ran"
    # Python itself runs it: the attack is none in name only.
    with contextlib.suppress(Exception):
        pickle.loads(raw)
    if kind not in ("eval of Python 2", "dotted"):
        assert trace.exists()


@pytest.mark.parametrize(
    ("instruction", "code"),
    [(b"\x82\xf0", 0xF0), (b"\x83\x00\xf0", 0xF000), (b"\x84\x00\x00\x0f\x00", 0xF0000)],
    ids=["EXT1", "EXT2", "EXT4"],
)
def test_a_pickle_that_reaches_for_registered_code_is_refused_unrun(
    tmp_path: Path, instruction: bytes, code: int
) -> None:
    trace = tmp_path / "trace"
    raw = b"\x80\x02" + instruction + string(f"touch {trace}".encode()) + b"\x85R."
    copyreg.add_extension("posix", "system", code)
    try:
        pickle.loads(raw)  # from now on Python has the function at hand and asks nobody
        trace.unlink()
        with pytest.raises(DataError, match=r"the instruction EXT\d, which no batch needs"):
            unpickle(raw)
    finally:
        copyreg.remove_extension("posix", "system", code)
    assert not trace.exists(), "the pickle ran"


# What does no harm by itself, but has no place in the file of a batch.
OUT_OF_PLACE: dict[str, bytes] = {
    "numpy.load": by_name("numpy", "load", string(b"x")),
    "numpy.fromfile": by_name("numpy", "fromfile", string(b"x")),
    "numpy.f2py": by_name("numpy.testing._private.utils", "runstring", string(b"x")),
    "scalar": by_name("numpy.core.multiarray", "scalar", string(b"x")),
    "the new name of NumPy's core": by_name("numpy._core.multiarray", "_reconstruct", b"N"),
    "a name inside a name": by_name("numpy", "dtype.__class__", b"N"),
    "copyreg": by_name("copyreg", "_reconstructor", b"N"),
    "copy_reg": by_name("copy_reg", "add_extension", b"N"),
    "getattr": by_name("builtins", "getattr", b"N"),
    "new object": b"\x80\x02" + name_of("numpy", "ndarray") + b")\x81.",
    "new object with keywords": b"\x80\x04" + name_of("numpy", "dtype") + b")}\x92.",
    "persistent id": b"\x80\x02" + string(b"x") + b"Q.",
    "persistent id, protocol 0": b"Px\n.",
    "extension registry": b"\x80\x02\x82\x01.",
    "extension registry, 2 bytes": b"\x80\x02\x83\x01\x00.",
    "extension registry, 4 bytes": b"\x80\x02\x84\x01\x00\x00\x00.",
    "next buffer": b"\x80\x05\x97.",
    "a huge byte array": b"\x80\x05\x96" + (2**34).to_bytes(8, "little") + b".",
    "a huge memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "lists without end": b"\x80\x02" + b"]" * 10**6 + b".",
}


@pytest.mark.parametrize("kind", OUT_OF_PLACE)
def test_what_no_batch_needs_is_refused_before_memory_is_taken(kind: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            unpickle(OUT_OF_PLACE[kind])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


def test_building_cannot_change_what_the_next_file_gets() -> None:
    for name in ("_reconstruct", "ndarray", "dtype"):
        module = "numpy.core.multiarray" if name == "_reconstruct" else "numpy"
        state = b"}" + string(b"__defaults__") + b"Ns"
        with contextlib.suppress(Exception):
            unpickle(b"\x80\x02" + name_of(module, name) + b"N" + state + b"\x86b.")
    whole = unpickle(py_dict(data=black(9), labels=LIST))
    assert whole[b"data"].state[-1] == bytes(9)


FEW = 4  # images of a file: thousands of them are read

LAYOUTS = [(bin_batch, CIFAR10_BIN), (py_batch, CIFAR10_PY)]


def unpickle(raw: bytes) -> dict[bytes, Any]:
    return pickles.unpickle(raw, 81_000)


def read_few(path: Path, layout: Layout) -> tuple[Array, Array]:
    """Read a file of four images."""
    found = np.full((FEW, 3072), 77, np.uint8), np.full(FEW, 77, np.uint8)
    cifar.read_file(path, layout, *found)
    return found


@pytest.mark.parametrize(("make", "layout"), LAYOUTS)
def test_damaged_files_are_refused_or_hold_images_and_classes(
    tmp_path: Path, make: Any, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(FEW, 3072), dtype=np.uint8)
    labels = np.array([0, 9, 3, 5], np.uint8)
    whole, path = make(images, labels), tmp_path / "batch"

    def read(raw: bytes) -> tuple[Array, Array]:
        path.write_bytes(raw)
        return read_few(path, layout)

    assert same(read(whole), (images, labels))
    for length in rng.choice(len(whole), 1000, replace=False).tolist():
        with pytest.raises(DataError, match="batch"):
            read(whole[:length])

    # Pixels are most of a file, and a changed one is another picture: flip the rest.
    start = whole.index(images[0].tobytes())
    size = images.size if layout is CIFAR10_PY else 3072
    places = [*range(start), *range(start + size, len(whole))]
    refusals = 0
    for place in rng.choice(places, 1000).tolist():
        raw = bytearray(whole)
        raw[place] ^= int(rng.integers(1, 256))
        try:
            found = read(bytes(raw))
        except DataError as error:
            assert "batch" in str(error)
            refusals += 1
        else:
            assert found[1].max() < 10
            assert (found[0] != images).sum() + (found[1] != labels).sum() <= 1
    assert 100 < refusals < 1000 if layout is CIFAR10_PY else refusals < 100
    assert [*tmp_path.iterdir()] == [path]


def test_a_flipped_label_is_noticed_exactly_if_it_is_no_class(tmp_path: Path) -> None:
    images, path = np.zeros((FEW, 3072), np.uint8), tmp_path / "batch"
    for label in range(256):
        labels = np.array([1, 2, label, 3], np.uint8)
        for make, layout in LAYOUTS:
            path.write_bytes(make(images, labels))
            if label < 10:
                assert same(read_few(path, layout), (images, labels))
            else:
                with pytest.raises(DataError, match=f"found {label} at index 2"):
                    read_few(path, layout)


@pytest.mark.parametrize("truth", [b"\x88", b"\x89"], ids=["True", "False"])
def test_a_truth_value_among_the_labels_is_refused(tmp_path: Path, truth: bytes) -> None:
    images, path = np.zeros((FEW, 3072), np.uint8), tmp_path / "batch"
    for label in (b"K\x01", truth):
        labels = b"](K\x00K\x09" + label + b"K\x00e"
        path.write_bytes(py_dict(labels=labels, data=py_array(images.tobytes(), images.shape)))
        if label == truth:
            with pytest.raises(DataError, match="batch"):
                read_few(path, CIFAR10_PY)
        else:
            assert read_few(path, CIFAR10_PY)[1].tolist() == [0, 9, 1, 0]


@pytest.mark.parametrize("lost", [1, 3073])
def test_a_bin_file_that_shrinks_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    images, labels = np.zeros((FEW, 3072), np.uint8), np.zeros(FEW, np.uint8)
    path, plain = tmp_path / "batch", cifar.file_size
    path.write_bytes(bin_batch(images, labels))

    def shrink_after(path: Path) -> int:
        size = plain(path)
        os.truncate(path, size - lost)
        return size

    monkeypatch.setattr(cifar, "file_size", shrink_after)
    found = f"batch must have 12,292 bytes, found {12_292 - lost:,}"
    with pytest.raises(DataError, match=found):
        read_few(path, CIFAR10_BIN)


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("numpy", "load"), ("numpy.core.multiarray", "scalar")],
)
def test_the_name_that_a_pickle_reaches_for_is_told(
    tmp_path: Path, cifar_py: Path, module: str, name: str
) -> None:
    raw = by_name(module, name, string(b"x"))
    assert f"{module}.{name}" in refused(tmp_path, cifar_py, "py", "data_batch_1", raw)


def test_every_file_is_read(tmp_path: Path, source: Path, layout: str) -> None:
    for name in NAMES:
        folder = tmp_path / name
        folder.mkdir()
        assert name + SUFFIX[layout] in refused(folder, source, layout, name, b"x" * 1000)
