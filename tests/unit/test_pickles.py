"""Values that are pickled each by itself, many at a time: none is changed, exchanged or lost."""

from __future__ import annotations

import dataclasses
import datetime
import os
import pickle
import random
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

import parmap
from parmap import _cell, _memory, _results, _runner
from parmap._codec import Buffers, Packed, Pickles, bundle, load, pickled_each, unbundle, unpack
from parmap._intake import Intake
from parmap._memory import BESIDE

from ..contract.common import fixed, same


def pack_each(values):
    return Pickles(pickled_each(values, Buffers(), copy=False))


def views(parts):
    return [memoryview(bytes(part)) for part in parts]


class Zone(datetime.tzinfo):
    """One of somebody's own."""

    def utcoffset(self, _):
        return datetime.timedelta(hours=1)


OTHERS = st.one_of(
    st.tuples(st.sets(st.integers(), max_size=3)),
    st.integers(0, 9).map(range),
    st.datetimes(timezones=st.builds(Zone)),
    st.lists(st.lists(st.integers(), max_size=2), max_size=3),
    st.dictionaries(st.text(max_size=3), st.lists(st.text(max_size=3)), max_size=3),
)
PLAIN = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
    st.sets(st.integers(), max_size=1),
    fixed,
)


@given(st.lists(OTHERS, min_size=1))
def test_they_are_what_was_packed(values):
    pickles = pack_each(values)
    assert same([unpack(views(one.parts)) for one in pickles], values)
    parcels, parts = bundle(pickles)
    again, broken = load(parcels, views(parts))
    assert same(again, values)
    assert not broken
    unbundled = unbundle(parcels, views(parts))
    assert same([unpack(one.parts) for one in unbundled], values)


@given(st.lists(OTHERS, min_size=2), st.data())
def test_a_slice(values, data):
    first, stop = sorted(data.draw(st.lists(st.integers(0, len(values)), min_size=2, max_size=2)))
    some = pack_each(values)[first:stop]
    assert len(some) == stop - first
    assert same([unpack(views(one.parts)) for one in some], values[first:stop])


class Refuses:
    def __reduce__(self):
        raise ValueError("no")


def of_main():
    made = dataclasses.make_dataclass("Made", ["x"])
    made.__module__ = "__main__"
    return made(1)


CAREFUL = {
    "cannot be pickled": Refuses,
    "a lambda": lambda: lambda x: x,
    "of the program": of_main,
    "random": lambda: [random.choice],
    "a partial of random": lambda: partial(random.choice, "abc"),
}


class Buffer:
    def __init__(self, size):
        self.size = size

    def __reduce_ex__(self, protocol):
        return bytearray, (pickle.PickleBuffer(bytearray(self.size)),)


class Once:
    """Can be pickled only once."""

    def __init__(self, data):
        self.data = data

    def __getstate__(self):
        state, self.data = {"data": self.data}, None
        return state


@pytest.mark.parametrize("name", CAREFUL)
@pytest.mark.parametrize("place", [0, 3, 9])
def test_one_that_needs_more_care(name, place):
    values = [Once(number) for number in range(10)]
    values[place] = CAREFUL[name]()
    made = pickled_each(values, Buffers(), copy=False)
    assert made.pop(place) is None
    assert [pickle.loads(one).data for one in made] == [at for at in range(10) if at != place]


@pytest.mark.parametrize("copy", [False, True])
def test_one_with_a_large_buffer(copy):
    values = [Once(0), Buffer(BESIDE), {"__main__"}, Once(2), [Buffer(BESIDE), "__main__"]]
    made = pickled_each(values, Buffers(), copy=copy)
    assert [*map(type, made)] == [bytes, Packed, bytes, bytes, Packed]
    assert unpack(views(made[1].parts)) == bytearray(BESIDE)
    assert pickle.loads(made[3]).data == 2


def test_the_caller_keeps_them_as_they_were():
    items = [[[number]] for number in range(100)]
    intake = Intake([items], star=False, strict=False, packing=True)
    assert intake.read(100) == (100, True)
    assert type(intake.values(0, 100)) is type(intake.values(7, 8)) is Pickles
    items[7][0].append("later")
    (one,) = intake.values(7, 8)
    assert unpack(views(one.parts)) == [[7]]
    assert intake.nbytes == sum(map(len, intake.values(0, 100).data))


def test_runs_of_them_are_joined():
    items = [[{number}] for number in range(50)]
    intake = Intake([items], star=False, strict=False, packing=True)
    for _ in range(5):
        intake.read(10)
    values = intake.values(5, 45)
    assert type(values) is Pickles
    assert [unpack(views(one.parts)) for one in values] == items[5:45]


# --- results ------------------------------------------------------------------------------------------


@given(
    st.lists(st.one_of(PLAIN, OTHERS), min_size=1, max_size=60),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_results_of_whatever_kinds_arrive_in_order(values, lengths):
    """Some runs of them are told of when they are over, some not."""
    sent = []

    def send(_, parts):
        head, *rest = parts
        _, count, _, parcels = unpack([memoryview(head)])
        some, broken = load(parcels, views(rest))
        assert (len(some), broken) == (count, False)
        sent.extend(some)

    results = _results.Results(send)
    fd = _memory.anonymous_file(_cell.SIZE)
    cell = _cell.Cell(fd)
    os.close(fd)
    runner = _runner.Runner(cell, results)
    runner.call = lambda value: value
    begin = turn = 0
    while begin < len(values):
        end = min(begin + lengths[turn % len(lengths)], len(values))
        runner._run_fast(values, begin, end, begin)
        if turn % 2:
            results.report()
        begin, turn = end, turn + 1
    results.report()
    cell.close()
    assert same(sent, values)


def grow(shared, x):
    shared.append([x])
    return shared


def test_a_result_is_as_it_was_when_it_was_returned():
    got = parmap.parallel_map(partial(grow, []), range(20), max_workers=1)
    assert [len(one) for one in got] == list(range(1, 21))
    assert got[4] == [[0], [1], [2], [3], [4]]


# --- in a worker --------------------------------------------------------------------------------------


class Bad:
    """Cannot be made again."""

    def __init__(self, how):
        self.how = how

    def __reduce__(self):
        return made_again, (self.how,)


def made_again(how):
    if how == "die":
        os._exit(3)
    raise ValueError(how)


def when(x):
    return x if isinstance(x, datetime.date) else max(x)


@pytest.mark.parametrize("place", [0, 33, 299])
def test_an_item_that_cannot_be_unpickled(place):
    items = [{number, number + 1} for number in range(300)]
    items[place] = Bad("no")
    got = parmap.parallel_map(when, items, on_error="return", max_workers=2)
    assert isinstance(got[place], parmap.SerializationError)
    assert "no" in str(got[place])
    assert got[:place] + got[place + 1 :] == [
        number + 1 for number in range(300) if number != place
    ]
    with pytest.raises(parmap.SerializationError) as caught:
        parmap.parallel_map(when, items, max_workers=2)
    assert f"item {place} " in caught.value.__notes__[-1]


@pytest.mark.parametrize("place", [0, 33, 299])
def test_a_worker_that_dies_of_unpickling_an_item(place):
    items = [{number, number + 1} for number in range(300)]
    items[place] = Bad("die")
    with pytest.raises(parmap.WorkerDied) as caught:
        parmap.parallel_map(when, items, max_workers=2)
    assert caught.value.index == place


def test_items_that_are_timed():
    days = [datetime.date(2000, 1, 1 + number) for number in range(20)]
    assert parmap.parallel_map(when, days, item_timeout=20) == days
