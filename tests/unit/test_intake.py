"""Reading the input: what is read is what was there, and large items are read few at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parmap._codec import Packed, unpack
from parmap._intake import Intake
from parmap._plan._chunks import HEAVY

from ..contract.common import SHAPES, same, values


def unpacked(value):
    return unpack([memoryview(part) for part in value.parts]) if type(value) is Packed else value


@given(
    st.one_of(st.lists(values), st.lists(st.integers()), st.lists(st.floats())),
    st.sampled_from([*SHAPES]),
    st.lists(st.one_of(st.integers(1, 9), st.integers(60, 200)), min_size=1),
    st.booleans(),
    st.sampled_from([1, 100]),
)
def test_what_is_read(items, shape, counts, strict, times):
    """In runs of any length, from any container, `values` gives what `list` gives."""
    items = items * times
    made = SHAPES[shape](items)
    wanted = list(SHAPES[shape](items))
    intake = Intake([made], star=False, strict=strict, packing=True)
    read, ended = 0, False
    while not ended:
        count, ended = intake.read(counts[read % len(counts)])
        read += count
        assert not ended or read == len(wanted)
    got = intake.values(0, read) if read else []
    assert same(list(map(unpacked, got)), wanted)
    assert {*map(type, got)} <= intake.kinds


LARGE = {
    "bytes": lambda: bytes(HEAVY // 2),
    "str": lambda: "x" * (HEAVY // 2),
    "bytearray": lambda: bytearray(HEAVY // 2),
    "list of bytes": lambda: [bytes(HEAVY // 2)],
}


@pytest.mark.parametrize("kind", LARGE)
def test_large_items_of_an_iterator_are_read_few_at_a_time(kind):
    intake = Intake([(LARGE[kind]() for _ in range(100))], star=False, strict=False, packing=True)
    count, ended = intake.read(100)
    assert (count <= 3, ended) == (True, False)
    assert intake.nbytes >= count * (HEAVY // 2)


@pytest.mark.parametrize("make", [iter, list, tuple])
def test_large_numbers_are_weighed(make):
    numbers = [(1 << 8 * (1 << 20)) + number for number in range(5)]
    intake = Intake([make(numbers)], star=False, strict=False, packing=True)
    intake.read(5)
    assert intake.nbytes >= 5 << 20
    intake = Intake([make([*range(1000)])], star=False, strict=False, packing=True)
    intake.read(1000)
    assert intake.nbytes == 0


#: How arguments come: as several inputs of which one is a generator, or all are lists; or as tuples.
TOGETHER = {
    "a generator": lambda texts: ([iter(texts), range(len(texts))], False),
    "lists": lambda texts: ([texts, [*range(len(texts))]], False),
    "tuples": lambda texts: ([zip(texts, range(len(texts)), strict=True)], True),
}
together = pytest.mark.parametrize("how", TOGETHER)


def arguments(how, texts):
    inputs, star = TOGETHER[how](texts)
    return Intake(inputs, star=star, strict=False, packing=True)


@together
def test_large_arguments_are_weighed(how):
    large = [str(number) + "x" * (HEAVY // 2) for number in range(20)]
    intake = arguments(how, large)
    count, _ = intake.read(20)
    assert intake.nbytes >= count * (HEAVY // 2)
    assert how == "lists" or count <= 3


@together
def test_an_argument_that_all_share_is_weighed_once(how):
    intake = arguments(how, ["x" * (HEAVY // 2)] * 50)
    assert intake.read(20)[0] == 20
    assert HEAVY // 2 <= intake.nbytes < HEAVY
    intake.read(20)
    assert intake.nbytes < 100
    assert intake.read(20) == (10, True)


@together
def test_an_array_that_all_share_is_weighed_each_time(how, np):
    """Each has a copy of its own."""
    array = np.zeros(4_000)
    intake = arguments(how, [array] * 1_000)
    read = [intake.read(500)[0], intake.read(500)[0]]
    assert intake.nbytes >= read[1] * array.nbytes
    assert how == "lists" or max(read) <= HEAVY / array.nbytes + 1


@pytest.mark.parametrize("kind", LARGE)
def test_the_weight_of_a_list_is_known(kind):
    intake = Intake([[LARGE[kind]()] * 3], star=False, strict=False, packing=True)
    intake.read(3)
    assert intake.nbytes >= 3 * (HEAVY // 2)
