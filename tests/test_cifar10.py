import builtins
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fnnet import DataError, load_cifar10
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


def attacks(trace: Path) -> dict[str, Callable[[], bytes]]:
    """Return makers of pickles that would make the file `trace`, or reach too far."""
    touch, write = f"touch {trace}", f"open({str(trace)!r}, 'w').close()"
    system = pickle.dumps(Evil(os.system, touch), 2)[2:-1]
    new = name_of("os", "system") + string(touch.encode()) + b"\x85\x81."
    return {
        "os.system": lambda: pickle.dumps(Evil(os.system, touch), 2),
        "os.system, protocol 0": lambda: pickle.dumps(Evil(os.system, touch), 0),
        "os.system, protocol 4": lambda: pickle.dumps(Evil(os.system, touch), 4),
        "builtins.exec": lambda: pickle.dumps(Evil(builtins.exec, write), 2),
        "builtins.eval": lambda: pickle.dumps(Evil(builtins.eval, write), 2),
        "__builtin__.eval": lambda: by_name("__builtin__", "eval", string(write.encode())),
        "open": lambda: pickle.dumps(Evil(open, str(trace), "w"), 2),
        "in the labels": lambda: py_dict(data=black(), labels=system),
        "in the pixels": lambda: py_dict(data=system, labels=LIST),
        "in a file name": lambda: py_dict(data=black(), labels=LIST, filenames=system),
        "numpy by name": lambda: by_name("numpy", "fromfile", string(str(trace).encode())),
        "numpy.save": lambda: by_name("numpy", "save", string(str(trace).encode())),
        "numpy.load": lambda: by_name("numpy", "load", string(str(trace).encode())),
        "numpy.f2py": lambda: by_name(
            "numpy.testing._private.utils", "runstring", string(write.encode())
        ),
        "scalar": lambda: by_name("numpy.core.multiarray", "scalar", string(b"x")),
        "dotted name": lambda: pickle.dumps(Evil(os.path.join, touch), 4),
        "instance": lambda: b"\x80\x02(" + string(touch.encode()) + b"ios\nsystem\n.",
        "new object": lambda: b"\x80\x02" + new,
        "persistent id": lambda: b"\x80\x02" + string(touch.encode()) + b"Q.",
        "extension registry": lambda: b"\x80\x02\x82\x01.",
        "array of objects": lambda: py_dict(data=black(code=b"O8"), labels=LIST),
        "another array module": lambda: py_dict(
            data=black(module="os"),
            labels=LIST,
        ),
    }


@pytest.mark.parametrize("kind", attacks(Path("trace")))
def test_a_pickle_that_reaches_for_code_is_refused_unrun(
    tmp_path: Path, cifar_py: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trace = tmp_path / "trace"
    (tmp_path / "data").mkdir()
    raw = attacks(trace)[kind]()
    message = refused(tmp_path / "data", cifar_py, "py", "data_batch_1", raw)
    assert "data_batch_1" in message
    assert [*tmp_path.iterdir()] == [tmp_path / "data"], "the pickle ran"


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
