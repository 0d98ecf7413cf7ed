"""A journal keeps every result, goes on wherever it was cut off, and hides no damage."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet.search.halving import Result, Rung
from fnnet.search.journal import JournalError, decode, encode, open_journal

IDENTITY: dict[str, Any] = {"trials": 9, "reg": "log:0.1:1.0", "momentum": 0.9, "cpu": "Ä 3"}

accuracies = st.floats(0, 1).map(float)
results = st.builds(
    Result,
    st.integers(0, 99),
    st.integers(1, 99),
    st.lists(accuracies, min_size=1, max_size=3).map(tuple),
    st.sampled_from(["", "training diverged at step 3: “nan”\n"]),
)
journals = st.lists(results, max_size=6)


def write(path: Path, entries: Sequence[Result]) -> bytes:
    with open_journal(path, IDENTITY) as (_, append):
        for result in entries:
            append(result)
    return path.read_bytes()


def read(path: Path, identity: dict[str, Any] = IDENTITY) -> list[Result]:
    with open_journal(path, identity) as (known, _):
        return known


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tune.jsonl"


@given(journals, st.data())
def test_a_journal_cut_off_anywhere_goes_on(entries: list[Result], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tune.jsonl")
        whole = write(path, entries)
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
        lines = path.read_bytes().count(b"\n")
        with open_journal(path, IDENTITY) as (known, append):
            assert known == entries[: max(0, lines - 1)]
            assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[: max(1, lines)])
            for result in entries[len(known) :]:
                append(result)
        assert path.read_bytes() == whole
        assert read(path) == entries
        assert path.read_bytes() == whole


@given(journals, st.data())
def test_no_damage_goes_unnoticed(entries: list[Result], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tune.jsonl")
        damaged = bytearray(write(path, entries))
        place = data.draw(st.integers(0, len(damaged) - 2))  # the last newline gone: cut off
        damaged[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(damaged)
        with pytest.raises(JournalError, match=r"is damaged at line|journal of another search"):
            read(path)
        assert path.read_bytes() == damaged


def test_every_result_is_in_the_file_at_once_as_a_line_of_json(path: Path) -> None:
    entries = [Result(3, 1, (0.1,)), Result(0, 1, (1 / 3,), "diverged")]
    with open_journal(path, IDENTITY) as (known, append):
        assert known == []
        for number, result in enumerate(entries, start=2):
            append(result)
            lines = path.read_text().splitlines()
            assert len(lines) == number
            entry = json.loads(lines[-1])
            assert entry["trial"] == result.trial
            assert entry["val_accuracy"] == [*result.val_accuracy]
    assert json.loads(lines[0])["momentum"] == 0.9


@pytest.mark.parametrize("name", IDENTITY)
def test_the_journal_of_another_search_is_refused_by_name_of_what_differs(
    path: Path, name: str
) -> None:
    before = write(path, [Result(3, 1, (0.1,))])
    for other in ({**IDENTITY, name: "another"}, {n: v for n, v in IDENTITY.items() if n != name}):
        with pytest.raises(JournalError) as caught:
            read(path, other)
        found = f"{name} is {IDENTITY[name]} in it, found {other.get(name)}"
        cure = "Start another journal, as with --journal other.jsonl"
        assert str(caught.value) == f"{path} is the journal of another search: {found}. {cure}"
    with pytest.raises(JournalError, match=r"of another search: more is None in it, found 1"):
        read(path, {**IDENTITY, "more": 1})
    assert path.read_bytes() == before


def test_many_and_long_differences_are_told_in_a_line(path: Path) -> None:
    before = {f"setting {i}": i for i in range(9)} | {"a": "x" * 99 + "1"}
    with open_journal(path, before):
        pass
    with pytest.raises(JournalError) as caught:
        read(path, dict.fromkeys(before, 77))
    message = str(caught.value)
    assert message.count(" in it, found ") == 5
    assert "setting 4 is 4 in it, found 77; and 5 more. Start another" in message
    with pytest.raises(JournalError, match=r"setting 4 is 4 in it, found 77\. Start another"):
        read(path, before | {f"setting {i}": 77 for i in range(5)})
    # What differs only beyond the letters that are shown is still another search.
    with pytest.raises(JournalError, match="journal of another search: a"):
        read(path, {**before, "a": "x" * 99 + "2"})
    assert read(path, before) == []


def test_a_value_of_more_than_forty_letters_is_cut(path: Path) -> None:
    with open_journal(path, {"a": "x" * 40, "b": "y" * 41}):
        pass
    with pytest.raises(JournalError) as caught:
        read(path, {"a": 1, "b": 2})
    cut = f"a is {'x' * 40} in it, found 1; b is {'y' * 40}… in it, found 2. Start"
    assert cut in str(caught.value)


LINE = encode({"trial": 1, "epochs": 1, "val_accuracy": [0.5], "diverged": ""})
BAD_LINES = {
    "text": b"hello\n",
    "nothing": b"\n",
    "no checksum": b'{"trial": 1, "epochs": 1, "val_accuracy": [0.5], "diverged": ""}\n',
    "more space": LINE.replace(b": 1", b":  1", 1),
    "a list": b"[1]\n",
    "deep": b"[" * 100_000 + b"\n",
    "no utf-8": b"\xff\n",
    "a field more": encode({**decode(LINE), "time": 1}),
    "a field less": encode({"trial": 1, "epochs": 1}),
    "accuracy of 2": encode({**decode(LINE), "val_accuracy": [2.0]}),
    "accuracy of text": encode({**decode(LINE), "val_accuracy": "0.5"}),
    "trial true": encode({**decode(LINE), "trial": True}),
    "epochs true": encode({**decode(LINE), "epochs": True}),
    "trial of text": encode({**decode(LINE), "trial": "1"}),
}


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_damaged_line_is_refused_by_number_and_stays(path: Path, kind: str) -> None:
    whole = write(path, [Result(3, 1, (0.1,))])
    for rest in (b"", LINE, LINE[:20]):
        path.write_bytes(whole + BAD_LINES[kind] + rest)
        with pytest.raises(JournalError, match=f"{path} is damaged at line 3: "):
            read(path)
        assert path.read_bytes() == whole + BAD_LINES[kind] + rest


def test_a_changed_digit_is_told(path: Path) -> None:
    whole = write(path, [Result(3, 1, (0.5,))])
    path.write_bytes(whole.replace(b"0.5", b"0.6"))
    with pytest.raises(JournalError, match=f"^{path} is damaged at line 2: its checksum is wrong$"):
        read(path)


def test_results_of_other_rungs_are_refused_and_stay(path: Path) -> None:
    whole = write(path, [Result(3, 1, (0.1,)), Result(4, 2, (0.1, 0.2))])
    with (
        pytest.raises(JournalError, match=f"{path} is damaged: the search has not trained trial 4"),
        open_journal(path, IDENTITY, [Rung(9, 1), Rung(3, 3)]),
    ):
        pass
    assert path.read_bytes() == whole


@pytest.mark.parametrize("depth", [1, 400])
def test_a_nested_value_of_another_search_is_told_in_a_line(path: Path, depth: int) -> None:
    value: Any = list(range(1000))
    for _ in range(depth):
        value = {"a": value}
    path.write_bytes(encode({**IDENTITY, "cpu": value}))
    with pytest.raises(JournalError, match=r"cpu is \{'a': ") as caught:
        read(path)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("content", [b"my notes", b"{", b"my notes\nof two lines", b"\n", b"{}\n"])
def test_a_file_that_is_no_journal_is_refused_and_stays(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused = content != b"{"  # a header may be cut off there
    if refused:
        with pytest.raises(JournalError, match=r"is not a journal|is damaged at line 1"):
            read(path)
    assert path.read_bytes() == content
    if not refused:
        assert read(path) == []


def test_two_searches_do_not_share_a_journal(path: Path) -> None:
    pytest.importorskip("fcntl")
    with (
        open_journal(path, IDENTITY),
        pytest.raises(JournalError, match="is in use by another search"),
        open_journal(path, IDENTITY),
    ):
        pass
    assert read(path) == []


def test_a_journal_that_cannot_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "tune.jsonl"):
        with pytest.raises(OSError, match=str(path)), open_journal(path, IDENTITY):
            pass
    assert [*tmp_path.iterdir()] == []
