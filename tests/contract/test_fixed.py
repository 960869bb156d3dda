"""Dates, decimals, paths and the like, of which many share a pickle: nobody can tell."""

from __future__ import annotations

import datetime
import decimal
import sys
import uuid
from fractions import Fraction
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parmap import Pool, parallel_imap, parallel_map, parallel_starmap

from .common import fixed, same, scalars


@pytest.fixture(scope="module")
def pool():
    with Pool(1) as pool:
        yield pool


def itself(value):
    return value


leaves = st.one_of(scalars, fixed)
items = st.one_of(
    leaves,
    st.tuples(leaves, leaves),
    st.lists(leaves, max_size=3),
    st.dictionaries(st.text(max_size=3), leaves, max_size=3),
    st.frozensets(fixed, max_size=1),
)


@settings(max_examples=60)
@given(st.lists(items, max_size=12))
def test_they_arrive_and_come_back(pool, values):
    assert same(parallel_map(itself, values, executor=pool), values)
    assert same(list(parallel_imap(itself, iter(values), executor=pool)), values)


ALL = {
    "date": datetime.date(2000, 1, 31),
    "time": datetime.time(12, 30, fold=1),
    "datetime": datetime.datetime(2000, 1, 31, 12, tzinfo=datetime.UTC),
    "timedelta": datetime.timedelta(days=-1, microseconds=1),
    "decimal": decimal.Decimal("-1.500"),
    "nan": decimal.Decimal("sNaN1"),
    "fraction": Fraction(-7, 3),
    "uuid": uuid.UUID(int=7),
    "path": Path("/a/b.c"),
    "pure path": PurePosixPath("a"),
    "set": {1, 2, 3},
    "frozenset": frozenset("a"),
}


@pytest.mark.parametrize("name", ALL)
def test_many_alike_and_some_others_among_them(pool, name):
    one = ALL[name]
    for values in ([one] * 100, [one, None, one, [one], one, "x", {"x": one}, 1] * 20):
        got = parallel_map(itself, values, executor=pool)
        assert [repr(value) for value in got] == [repr(value) for value in values]
    pairs = parallel_starmap(shown, [(one, number) for number in range(50)], executor=pool)
    assert pairs == [(repr(one), number) for number in range(50)]


def shown(value, number):
    return repr(value), number


def grown(value):
    value.add(len(value))
    return value


def test_a_set_is_the_function_s_own(pool):
    """It is not that of another item, though the caller has the same object in both places."""
    shared = {0}
    assert parallel_map(grown, [shared] * 50, executor=pool) == [{0, 1}] * 50
    assert shared == {0}


def kept_and_grown(number, *, kept=set()):  # noqa: B006 -- as functions do
    kept.add(number)
    return kept


def test_a_set_is_sent_as_it_was_when_it_was_returned(pool):
    got = parallel_map(kept_and_grown, range(20), executor=pool)
    assert got == [set(range(number + 1)) for number in range(20)]


class Zone(datetime.tzinfo):
    """A zone that counts, in this process, what it was asked."""

    def __init__(self):
        self.asked = 0

    def utcoffset(self, _):
        self.asked += 1
        return datetime.timedelta(hours=1)


def ask(time):
    time.utcoffset()
    return time.tzinfo.asked


def test_a_zone_of_somebody_s_own_is_not_shared_by_items_that_travel_together(pool):
    zone = Zone()
    times = [datetime.datetime(2000, 1, 1, hour, tzinfo=zone) for hour in range(20)]
    assert parallel_map(ask, times, executor=pool) == [1] * 20
    assert parallel_map(ask, [times[0], *times], executor=pool, chunksize=3) == [1] * 21


def without(name):
    sys.modules[name] = None


def test_workers_that_cannot_import_the_module():
    with Pool(1, initializer=without, initargs=("uuid",)) as pool:
        for some in ([ALL["uuid"]] * 100, [1, (1, ALL["uuid"]), 3]):
            got = parallel_map(str, some, executor=pool, on_error="return")
            assert {type(one).__name__ for one in got} <= {"str", "SerializationError"}
            assert any("cannot be unpickled" in str(one) for one in got)
