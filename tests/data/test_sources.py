"""What lies at a path decides how it is read; a name means the same as before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fnnet import DataError, Dataset, load, load_cifar10, load_digits, split
from fnnet.data.idx import load_idx
from fnnet.data.npz import load_npz, read_inputs
from fnnet.data.pictures import load_pictures, read_picture
from fnnet.data.sources import hold_out
from tests.helpers import same


def test_the_names_are_the_known_datasets(cifar_bin: Path) -> None:
    digits = load_digits()
    assert same(load("digits"), split(digits, 1437, 360, seed=0))
    assert same(load("cifar10", data_dir=cifar_bin)[1], load_cifar10(cifar_bin)[1])
    assert same(load(cifar_bin)[1], load_cifar10(cifar_bin)[1])


def test_a_file_at_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    np.savez(tmp_path / "own.npz", features=np.eye(10), labels=np.arange(10) % 2)
    train, test = load("~/own.npz")
    assert (len(train), len(test)) == (8, 2)


@given(st.lists(st.integers(1, 30), min_size=2, max_size=5))
def test_a_fifth_is_held_out_by_class_and_always_the_same(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    examples = np.arange(len(labels), dtype=np.float64)[:, None]
    dataset = Dataset(examples, labels, tuple("abcde"))
    train, test = hold_out(dataset)
    assert len(test) == max(1, len(dataset) // 5)
    assert sorted([*train.images[:, 0], *test.images[:, 0]]) == examples[:, 0].tolist()
    assert {*train.labels} == {*range(len(counts))} or min(counts) < 3
    for label, count in enumerate(counts):
        assert abs((test.labels == label).sum() - len(test) * count / len(dataset)) < 1.5
    # The seed is part of the format: a checkpoint remembers that its test part was used.
    wanted = split(dataset, len(train), len(test), seed=0, stratified=True)
    assert same(hold_out(dataset), wanted)


def test_one_example_cannot_be_divided() -> None:
    one = Dataset(np.ones((1, 2)), np.array([0]), ("a", "b"))
    with pytest.raises(DataError, match=r"^a dataset must have at least two examples, found one$"):
        hold_out(one)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "cifar-10",
            "there is no cifar-10: a dataset is digits or cifar10, "
            r"or the path of a folder or of an \.npz file$",
        ),
        ("missing/data.npz", "there is no missing/data.npz"),
        ("notes.txt", "notes.txt must be a folder or an .npz file"),
        ("empty", "empty must hold one folder of pictures a class"),
    ],
)
def test_what_is_not_known_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("hello")
    Path("empty").mkdir()
    with pytest.raises(DataError, match=message):
        load(source)


def test_pictures_have_the_size_and_the_cache_that_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FNNET_DATA_DIR", str(tmp_path / "default"))
    for name in ("a", "b"):
        (tmp_path / "root" / name).mkdir(parents=True)
        for i in range(5):
            Image.new("L", (8, 6), 20 * i).save(tmp_path / "root" / name / f"{i}.png")
    train, test = load(tmp_path / "root", image_size=4, cache=tmp_path / "mine")
    assert train.images.shape[1:] == test.images.shape[1:] == (4, 4)
    assert {path.name for path in tmp_path.iterdir()} == {"root", "mine"}
    assert same(load(tmp_path / "root", image_size=4), (train, test))
    assert {path.name for path in tmp_path.iterdir()} == {"root", "mine", "default"}


def test_an_image_size_is_for_pictures_only(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", features=np.eye(10), labels=np.arange(10) % 2)
    for source in ("digits", tmp_path / "own.npz"):
        with pytest.raises(DataError, match="image_size is for folders of pictures"):
            load(source, image_size=8)


PATHS: list[tuple[Callable[[Any], object], str]] = [
    (load, "source"),
    (lambda path: load("cifar10", data_dir=path), "folder"),
    (load_idx, "folder"),
    (load_npz, "path"),
    (read_inputs, "path"),
    (lambda path: read_picture(path, (2, 2)), "path"),
    (lambda path: load_pictures(path, cache="x"), "folder"),
]


@pytest.mark.parametrize(("read", "name"), PATHS)
@pytest.mark.parametrize("path", [3, b"data", "data\0"])
def test_what_is_not_a_path_is_refused_by_name(
    read: Callable[[Any], object], name: str, path: Any
) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{name} must "):
        read(path)
