"""Seeds draw independent random numbers, the same ones each time, and wrong seeds are refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnnet.seeds import STREAMS, generator
from tests.strategies import seeds

streams = st.sampled_from(STREAMS)
keys = st.tuples(seeds, streams, st.integers(0, 1000))


def numbers(key: tuple[int, str, int]) -> list[int]:
    drawn: list[int] = generator(*key).integers(2**62, size=4).tolist()
    return drawn


@given(keys, keys)
def test_streams_are_equal_exactly_if_their_keys_are(
    a: tuple[int, str, int], b: tuple[int, str, int]
) -> None:
    assert (numbers(a) == numbers(b)) == (a == b)


@given(keys)
def test_neighboring_seeds_streams_and_epochs_share_nothing(key: tuple[int, str, int]) -> None:
    seed, stream, epoch = key
    others = [(seed + 1, stream, epoch), (seed, stream, epoch + 1)]
    others += [(seed, other, epoch) for other in STREAMS if other != stream]
    assert all(numbers(key) != numbers(other) for other in others)


@given(keys)
def test_a_stream_disturbs_no_other_and_no_global_state(key: tuple[int, str, int]) -> None:
    before: Any = np.random.get_state()  # noqa: NPY002
    expected = numbers(key)
    for stream in STREAMS:
        generator(key[0], stream, key[2]).random(10)
    assert numbers(key) == expected
    after: Any = np.random.get_state()  # noqa: NPY002
    assert np.array_equal(before[1], after[1])


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        ((-1, "init", 0), ValueError, "seed must be at least 0"),
        ((0, "init", -1), ValueError, "epoch must be at least 0"),
        ((0.0, "init", 0), TypeError, "seed must be an integer"),
        ((None, "init", 0), TypeError, "seed must be an integer"),
        ((0, "init", 1.5), TypeError, "epoch must be an integer"),
        ((0, "noise", 0), ValueError, "stream must be one of"),
    ],
)
def test_what_is_no_seed_is_refused(key: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        generator(*key)
