"""The files of a run have names from which those of the others follow, and none that clash."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet.runs.names import (
    best_path,
    default_path,
    last_path,
    numbered_path,
    previous_path,
    run_paths,
)

words = st.text("abé. 1", min_size=1, max_size=9).filter(lambda word: word.strip(". "))
files = st.builds(lambda folder, word: Path(folder, f"{word}.npz"), st.just("runs.1"), words)


@given(files)
def test_the_name_of_the_last_epoch_follows_from_those_of_the_others(path: Path) -> None:
    for name in (best_path(path), previous_path(path), best_path(numbered_path(path, 3))):
        assert name.parent == path.parent
        assert name.suffix == path.suffix
    assert last_path(best_path(path)) == last_path(previous_path(path)) == path
    assert last_path(path) == path
    assert run_paths(path) == (best_path(path), previous_path(path), path)


@pytest.mark.parametrize("name", ["run", "runs.1/my run", "r"])
def test_a_name_without_an_ending_comes_back(name: str) -> None:
    path = Path(name)
    assert last_path(best_path(path)) == last_path(previous_path(path)) == last_path(path) == path


@given(files)
def test_no_two_files_have_one_name(path: Path) -> None:
    numbered = [numbered_path(path, number) for number in range(1, 12)]
    names = [name for last in (path, *numbered) for name in run_paths(last)]
    assert len({*names}) == len(names)


@pytest.mark.parametrize("name", ["best.npz", ".best.npz", "a.bestest.npz", "a.1.npz"])
def test_other_names_are_those_of_a_last_epoch(name: str) -> None:
    assert last_path(Path(name)) == Path(name)


def test_programs_take_the_best_epoch_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_path() == Path("checkpoint.npz")
    Path("checkpoint.best.npz").mkdir()  # a folder is not a checkpoint
    assert default_path() == Path("checkpoint.npz")
    Path("checkpoint.best.npz").rmdir()
    Path("checkpoint.best.npz").touch()
    assert default_path() == Path("checkpoint.best.npz")
