"""The machine that reads pickles: flat values only, whatever the file says."""

import pickle
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet import DataError
from fnnet.data.pickle_machine import PickledArray
from fnnet.data.pickles import ACTIONS, SavedAgainError, unpickle
from tests.cifar10_files import name_of, py_array, py_dict, string

STEPS = 400_000
ARRAY = py_array(bytes(6), (2, 3))
NESTED: dict[str, bytes] = {
    "tuples": b"\x80\x02}K\x01" + b"\x85" * 150_000 + b"K\x01s.",
    "tuples three deep": b"\x80\x02}U\x01aK\x01\x85\x85\x85s.",
    "tuples of marks": b"\x80\x02}U\x01a" + b"(" * 90_000 + b"K\x01" + b"t" * 90_000 + b"s.",
    "shared tuples": b"\x80\x02}K\x01\x85q\x00" + b"h\x00\x86q\x00" * 60 + b"K\x01s.",
    "a wide tuple": b"\x80\x02}U\x01a(" + b"N" * 1000 + b"ts.",
    "tuples in a tuple in an array": py_dict(data=ARRAY[:-2] + b"K\x01\x85\x85\x85tb"),
    "lists": b"\x80\x02}U\x01a" + b"]" * 9 + b"a" * 8 + b"s.",
    "a list in itself": b"\x80\x02}U\x01a]q\x00h\x00as.",
    "a dict in a dict": b"\x80\x02}U\x01a}s.",
    "a dict in itself": b"\x80\x02}q\x00U\x01ah\x00s.",
    "a list in a tuple": b"\x80\x02}U\x01a]\x85s.",
    "a tuple as a value": b"\x80\x02}U\x01aK\x01\x85s.",
    "a tuple as a key": b"\x80\x02}K\x01\x85U\x01as.",
    "an array in its state": b"\x80\x02}U\x01a" + ARRAY + b"q\x07h\x07\x85bs.",
    "an array in a tuple": b"\x80\x02}U\x01a" + ARRAY + b"\x85s.",
    "an array filled twice": b"\x80\x02}U\x01a" + ARRAY + b"K\x01\x85bs.",
    "a name called": b"\x80\x02}U\x01a" + name_of("numpy", "ndarray") + b"K\x01\x85Rs.",
    "True": b"\x80\x02}U\x01a](\x88es.",
    "True of protocol 0": b"}U\x01aI01\ns.",
    "False in a list": b"\x80\x02}U\x01a](\x89es.",
}


@pytest.mark.parametrize("kind", NESTED)
def test_what_is_not_flat_is_refused_at_once(kind: str) -> None:
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(DataError):
            unpickle(NESTED[kind], STEPS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - start < 5
    assert peak < 50_000_000


def test_a_wide_tuple_is_refused_however_often_it_is_looked_through() -> None:
    raw = b"\x80\x02(" + b"N" * 50_000 + b"tq\x00(" + b"h\x00" * 50_000 + b"t."
    with pytest.raises(DataError, match="a tuple of 50,000"):
        unpickle(raw, STEPS)


@pytest.mark.parametrize("code", ACTIONS)
@pytest.mark.parametrize("before", [b"", b"}", b"(", b"]N", b"}NN", b"NN", b"\xff"])
def test_an_instruction_out_of_place_raises_nothing_but_a_data_error(
    before: bytes, code: int
) -> None:
    for after in (b"", b".", bytes(9) + b"."):
        try:
            assert unpickle(before + bytes([code]) + after, STEPS) == {}
        except DataError as error:
            assert str(error).startswith("it ")


def test_references_to_one_large_object_are_not_followed() -> None:
    """Looking through a shared object again and again would take the square of the steps."""
    large = b"\x80\x02}U\x01a](" + b"K\x01" * 100_000 + b"eq\x00s("
    raw = large + b"".join(string(b"%d" % i) + b"h\x00" for i in range(90_000)) + b"u."
    start = time.perf_counter()
    assert len(unpickle(raw, STEPS)) == 90_001
    assert time.perf_counter() - start < 5


def test_only_instructions_of_python_2_are_followed() -> None:
    assert {*ACTIONS} == {*b"\x80(NKMJTU\x85\x86\x87t]ae}suqrhjcRb\x89"}


@given(
    st.dictionaries(
        st.binary(max_size=300),
        st.integers(-(2**31), 2**31 - 1)
        | st.binary(max_size=300)
        | st.lists(st.integers(-5, 300) | st.binary(max_size=3)),
    )
)
def test_flat_dicts_are_read_as_python_reads_them(items: dict[bytes, object]) -> None:
    def dump(value: object) -> bytes:
        if isinstance(value, list):
            return b"](" + b"".join(map(dump, value)) + b"e"
        if isinstance(value, bytes):
            return string(value)
        assert isinstance(value, int)
        return b"J" + value.to_bytes(4, "little", signed=True)

    raw = b"\x80\x02}(" + b"".join(dump(k) + dump(v) for k, v in items.items()) + b"u."
    assert unpickle(raw, STEPS) == pickle.loads(raw, encoding="bytes") == items


def test_an_array_is_read_with_its_state() -> None:
    array = unpickle(py_dict(a=ARRAY), STEPS)[b"a"]
    version, shape, dtype, in_fortran_order, pixels = array.state
    assert (version, shape, in_fortran_order, pixels) == (1, (2, 3), False, bytes(6))
    assert dtype.code == b"u1"
    assert dtype.state == (3, b"|", None, None, None, -1, -1, 0)


@pytest.mark.parametrize(
    ("put", "get"), [(b"q\x05", b"h\x05"), (b"r\x05\1\0\0", b"j\x05\1\0\0")], ids=["byte", "long"]
)
def test_what_was_noted_is_pushed_and_pushed_again(put: bytes, get: bytes) -> None:
    raw = py_dict(a=string(b"x") + put, b=string(b"y"), c=get)
    assert unpickle(raw, STEPS) == pickle.loads(raw, encoding="bytes")
    assert unpickle(raw, STEPS) == {b"a": b"x", b"b": b"y", b"c": b"x"}


PIECES = [bytes([code]) for code in ACTIONS] + [b"K\x01", b"U\x01a", b"q\x00", b"h\x00", ARRAY]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=60))
def test_any_bytes_are_a_flat_dict_or_a_data_error(pieces: list[bytes]) -> None:
    try:
        found = unpickle(b"\x80\x02}" + b"".join(pieces) + b".", STEPS)
    except DataError as error:
        assert str(error).startswith("it ")
        return
    assert {*map(type, found)} <= {bytes}
    assert {*map(type, found.values())} <= {bytes, int, list, PickledArray}


def test_more_instructions_than_allowed_are_refused() -> None:
    raw = b"\x80\x02}U\x01aK\x01s."
    assert unpickle(raw, 6) == {b"a": 1}
    with pytest.raises(DataError, match="more than 5 instructions"):
        unpickle(raw, 5)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("key", ["data", b"data"])
def test_a_pickle_of_python_3_is_told(protocol: int, key: object) -> None:
    with pytest.raises(SavedAgainError, match="saved again by Python 3"):
        unpickle(pickle.dumps({key: [1, 2]}, protocol), STEPS)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\x80\x02K\x01.", "must hold a dict"),
        (b"\x80\x02}(U\x01au.", "a key without a value"),
        (b"\x80\x02}u.", "a mark that is not there"),
        (b"\x80\x02}M\x01", "ends too early"),
        (b"\x80\x02}U\x09a", "ends too early"),
        (b"\x80\x02}cposix", "ends too early"),
        (b"\x80\x02}cposix\nsystem", "ends too early"),
        (b"\x80\x02}h\x05", "nothing was noted under 5$"),
        (b"\x80\x02}K\x01\x85b.", "fills something other than a new array"),
        (NESTED["a list in a tuple"], "it has a list in a tuple, which no batch needs$"),
        (NESTED["tuples three deep"], "it nests tuples, which no batch needs$"),
        (NESTED["a dict in a dict"], "it has bytes -> dict in a dict, which no batch needs$"),
        (NESTED["a tuple as a key"], "it has tuple -> bytes in a dict, which no batch needs$"),
        (name_of("numpy._core.multiarray", "_reconstruct"), "saved again by Python 3"),
        (b"\x80\x02}c\xff\n\xfe\n.", "reaches for '\ufffd.\ufffd'"),
        (NESTED["a name called"], "makes something other than an array"),
        (NESTED["an array filled twice"], "fills something other than a new array"),
        (b"\x80\x02}" + name_of("numpy", "dtype") + b"K\x01\x85Rs.", "other than an array"),
    ],
)
def test_what_is_wrong_is_told(raw: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"^(?=it ).*{message}"):
        unpickle(raw, STEPS)
