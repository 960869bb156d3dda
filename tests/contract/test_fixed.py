"""Dates, decimals and enums, of which many share a pickle, and what goes by itself, though it is like them."""

from __future__ import annotations

import datetime
import decimal
import enum
import http
import sys
import threading
import uuid
from fractions import Fraction
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parmap import Pool, _codec, _fixed, parallel_imap, parallel_map, parallel_starmap
from parmap._intake import Intake

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
    with Pool(1, initializer=without, initargs=("decimal",)) as pool:
        for some in ([ALL["decimal"]] * 100, [1, (1, ALL["decimal"]), 3]):
            got = parallel_map(str, some, executor=pool, on_error="return")
            assert {type(one).__name__ for one in got} <= {"str", "SerializationError"}
            assert any("cannot be unpickled" in str(one) for one in got)


def test_what_cannot_be_unpickled_at_that_moment(monkeypatch):
    """Each was to say so by being unpickled again: when that succeeded, each was all of them."""
    parcels, parts = _codec.bundle([ALL["decimal"]] * 100)
    load, turns = _codec.loads, []

    def fail_once(*args, **kwargs):
        turns.append(1)
        if len(turns) == 1:
            raise RuntimeError("not now")
        return load(*args, **kwargs)

    monkeypatch.setattr(_codec, "loads", fail_once)
    values, broken = _codec.load(parcels, [memoryview(part) for part in parts])
    assert broken
    assert len(values) == 100
    assert all("not now" in str(value.error) for value in values)


class Other:
    """Takes the place of a class, as libraries do that stop the clock."""


def replace_class(number):
    if number == 2:
        datetime.timedelta = Other
    return number if number % 2 else datetime.date(2000, 1, 1) - datetime.date(2000, 1, 2)


def test_a_class_that_is_replaced_before_results_are_sent():
    """Its values cannot be pickled any more. The worker died of it, and other items with it."""
    with Pool(1) as pool:
        got = parallel_map(replace_class, range(6), executor=pool, on_error="return")
    assert got[1::2] == [1, 3, 5]
    assert [type(one).__name__ for one in got[4::2]] == ["SerializationError"]


def test_a_class_that_is_replaced_before_items_are_sent(pool, monkeypatch):
    items = [1, datetime.timedelta(1), "x", datetime.date(2000, 1, 1)]
    monkeypatch.setattr(datetime, "timedelta", Other)
    got = parallel_map(str, items, executor=pool, on_error="return")
    assert [got[0], *got[2:]] == ["1", "x", "2000-01-01"]
    assert type(got[1]).__name__ == "SerializationError"


class Count(int):
    """An int of the program."""


def test_what_may_hold_anything_still_goes_by_itself(pool):
    assert not any(map(_fixed.is_fixed, [uuid.UUID, Fraction, type(Path())]))
    odd = uuid.UUID(int=Count(7))
    assert parallel_map(itself, [odd] * 20, executor=pool) == [odd] * 20


def test_one_that_fills_a_message_before_numbers_of_numpy(pool):
    """What is sent is forgotten: also that there were such values, of which no more were looked at."""
    assert parallel_map(of_three_kinds, range(300), executor=pool, chunksize=300) == [
        *map(of_three_kinds, range(300))
    ]


def of_three_kinds(x):
    if x == 100:
        return ("x" * (262_144 - 20),)  # nearly as much as is sent at once
    return datetime.timedelta(x) if 100 < x < 110 else np.float64(x)


def test_large_decimals_are_weighed():
    large = decimal.Decimal("1" * 100_000)
    for items in ([large] * 10, [(large, 1)] * 10, [[large], large, 1] * 10):
        for shape in (list, iter):
            intake = Intake([shape(items)], star=False, strict=False, packing=True)
            intake.read(10)
            assert intake.nbytes > 100_000


def test_a_set_that_another_thread_changes(pool):
    changing, over = set(range(10)), threading.Event()

    def change():
        number = 0
        while not over.is_set():
            changing.add(number % 30)
            changing.discard((number + 15) % 30)
            number += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(100):
            assert len(parallel_map(type, iter([changing] * 20), executor=pool)) == 20
    finally:
        over.set()
        thread.join()


# --- members of enums -----------------------------------------------------------------------------


class Color(enum.Enum):
    RED = 1
    GREEN = "g"
    NONE = None
    ALIAS = 1  # noqa: PIE796 -- that it has


class Number(enum.IntEnum):
    ONE = 1
    TWO = 2


class Word(enum.StrEnum):
    A = "a"
    B = enum.auto()


class Holding(enum.Enum):
    LIST = [1]  # noqa: RUF012 -- as enums of the program do
    OTHER = 2


class Odd(enum.Enum):
    NAN = float("nan")
    ONE = 1.0


class Bits(enum.Flag):
    A = 1
    B = 2


class Own(enum.Enum):
    X = 1

    def __reduce_ex__(self, protocol):
        return getattr, (Own, "X")


class Outer:
    class Inner(enum.Enum):
        X = 1


class Place(enum.Enum):
    UTC = "utc"

    @property
    def tzinfo(self):
        raise ZeroDivisionError


class Sized(enum.Enum):
    X = 1

    def __sizeof__(self):
        raise ZeroDivisionError


MEMBERS = [*Color, *Number, *Word, *Holding, Odd.ONE, *Bits, Bits.A | Bits.B, Own.X, Outer.Inner.X]
MEMBERS += [Place.UTC, Sized.X]


@pytest.mark.parametrize("kind", [Color, Number, Word, Place, http.HTTPStatus])
def test_enums_of_which_many_share_a_pickle(kind):
    assert _fixed.is_fixed(kind)
    assert _fixed.is_fixed(kind)


@pytest.mark.parametrize(
    "kind", [Holding, Odd, Bits, Own, Outer.Inner, Sized, enum.Enum("Made", "A B")]
)
def test_enums_whose_members_go_each_by_itself(kind):
    assert not _fixed.is_fixed(kind)
    assert not _fixed.is_fixed(kind)


@settings(max_examples=40)
@given(st.lists(st.one_of(st.sampled_from(MEMBERS), scalars, fixed), max_size=40))
def test_members_are_those_of_the_process(pool, values):
    def is_same(got):
        return same([*got], values) and all(
            one is value
            for one, value in zip(got, values, strict=True)
            if isinstance(value, enum.Enum)
        )

    assert is_same(parallel_map(itself, values, executor=pool))
    assert is_same(list(parallel_imap(itself, iter(values), executor=pool)))
    within = parallel_map(itself, [(value, {"x": value}) for value in values], executor=pool)
    assert is_same([one for one, _ in within])
    assert is_same([held["x"] for _, held in within])


def by_identity(member):
    return member is type(member)[member.name], member.name


def test_members_are_those_of_the_worker(pool):
    for members in ([*Color] * 30, [*Word], [*Number] * 90, [*Holding, *Color]):
        expected = [(True, member.name) for member in members]
        assert parallel_map(by_identity, members, executor=pool) == expected


def test_enums_of_a_module_that_workers_cannot_import():
    with Pool(1, initializer=without, initargs=("http",)) as pool:
        members = [http.HTTPStatus.OK, http.HTTPStatus.NOT_FOUND] * 50
        got = parallel_map(str, members, executor=pool, on_error="return")
        assert {type(one).__name__ for one in got} == {"SerializationError"}
        assert parallel_map(str, [1, 2], executor=pool) == ["1", "2"]


def test_members_of_an_enum_that_its_module_keeps_no_more(pool, monkeypatch):
    """They go by value, each by itself, as anything does of a module that was loaded anew."""
    assert parallel_map(by_identity, [*Word], executor=pool) == [(True, "A"), (True, "B")]
    old = Word.A
    monkeypatch.setattr(sys.modules[__name__], "Word", enum.StrEnum("Word", "A"))
    assert parallel_map(itself, [old] * 20, executor=pool) == [old] * 20


def extend(name, value):
    member = object.__new__(Color)
    member._name_, member._value_ = name, value
    Color._value2member_map_[value] = member
    return member


def extend_and_return(number):
    return extend("LATE", 99) if number == 50 else (number, Color.RED)


def test_only_the_member_that_the_other_side_lacks_fails():
    with Pool(1) as pool:
        got = parallel_map(extend_and_return, range(100), executor=pool, on_error="return")
        assert "99 is not a valid Color" in str(got.pop(50))
        assert got == [(number, Color.RED) for number in range(100) if number != 50]
    items = [Color.RED] * 50 + [extend("NEW", 98)] + [[Color.GREEN]] * 49
    try:
        with Pool(1) as pool:
            got = parallel_map(itself, items, executor=pool, on_error="return")
    finally:
        del Color._value2member_map_[98]
    assert "98 is not a valid Color" in str(got.pop(50))
    assert got == [Color.RED] * 50 + [[Color.GREEN]] * 49
