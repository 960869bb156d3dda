"""What is plain is told from what is not, and a copy of it stays as it is."""

from __future__ import annotations

import copy
import copyreg
import datetime
import decimal
import enum
import uuid
from collections import OrderedDict
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parmap import _plain
from parmap._fixed import all_fixed
from parmap._plain import SCALARS, Copier, all_copied, copied

from ..contract.common import fixed, same, scalars, values


class Named(NamedTuple):
    x: int


class Level(enum.IntFlag):
    LOW = 1


class Zone(datetime.tzinfo):
    pass


class Day(datetime.date):
    pass


class Text(str):
    __slots__ = ()


leaves = st.one_of(scalars, fixed)
keys = leaves.filter(lambda key: key == key)
containers = {
    tuple: st.lists(leaves, max_size=4).map(tuple),
    list: st.lists(leaves, max_size=4),
    dict: st.dictionaries(keys, leaves, max_size=4),
    set: st.sets(keys, max_size=4),
    frozenset: st.frozensets(keys, max_size=4),
}
FIXED = {
    datetime.date,
    datetime.time,
    datetime.datetime,
    datetime.timedelta,
    decimal.Decimal,
}
plain = st.one_of(*containers.values())


def inside(value):
    return [*value, *value.values()] if type(value) is dict else value


def is_plain(value):
    """By the letter of it."""
    return type(value) in containers and (SCALARS | FIXED).issuperset(map(type, inside(value)))


@given(st.one_of(plain, values))
def test_a_copy_is_one_of_what_is_plain(value):
    made = copied(value)
    assert (made is not None) == is_plain(value)
    if made is not None:
        assert same(made[0], value)
        assert type(value) in (tuple, frozenset) or made[0] is not value


@given(st.sampled_from([*containers]).flatmap(lambda kind: st.lists(containers[kind], min_size=1)))
def test_copies_of_many(values):
    made, nbytes = all_copied(values, type(values[0]))
    assert same(made, values)
    strings = sum(
        len(leaf) for value in values for leaf in inside(value) if type(leaf) in (str, bytes)
    )
    assert nbytes >= strings
    copied = len({*map(id, made + values)}) == 2 * len(values)
    assert copied or type(values[0]) in (tuple, frozenset)


@given(st.lists(st.lists(values, max_size=3), min_size=1))
def test_many_are_plain_if_each_is(values):
    assert (all_copied(values, list) is not None) == all(map(is_plain, values))


NOT_PLAIN = {
    "a list in it": [[]],
    "a tuple in a tuple": ((),),
    "a list in a dictionary": {"a": []},
    "a key that is none": {(): 1},
    "of a subclass": OrderedDict(a=1),
    "a named tuple": Named(1),
    "a flag in it": [Level.LOW],
    "a subclass of str in it": (Text("x"),),
    "bytearray": [bytearray(1)],
    "not small": [0] * 100,
    "a set with a tuple in it": {(1,)},
    "a zone that is somebody's": [datetime.time(tzinfo=Zone())],
    "a zone with a name": [datetime.time(tzinfo=datetime.timezone(datetime.timedelta(), "x"))],
    "what is written in Python": [uuid.UUID(int=1)],
    "of a subclass of date in it": [Day(2000, 1, 1)],
    "a scalar": 1,
}


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_what_is_not_plain(name):
    value = NOT_PLAIN[name]
    assert copied(value) is None
    assert all_copied([copy.copy(value)] * 3, type(value)) is None


def test_a_copier_looks_at_fewer_and_fewer_while_they_are_not_plain(monkeypatch):
    looked_at = []

    def watched(value):
        looked_at.append(value)
        return copied(value)

    monkeypatch.setattr(_plain, "copied", watched)
    copier = Copier()
    assert all(copier.copied([[at]]) is None for at in range(100))
    assert looked_at == [[[0]], [[2]], [[6]], [[14]], [[30]], [[62]], [[95]]]
    passed_over = next(at for at in range(100) if copier.copied([at]) is not None)
    assert passed_over == 28
    assert all(copier.copied([at]) == ([at], 0) for at in range(100))


def test_how_many_arrays_are_plain(np):
    """More of them would make one pickle slower than many."""
    one, two, three = np.zeros(3), np.zeros(4), np.zeros(0)
    made, nbytes = copied([one, two, one, 1])
    assert [made[0] is made[2], made[0] is one, made[1] is two] == [True, False, False]
    assert 56 <= nbytes <= 56 + 2 * 200
    assert copied([one, two, three]) is None
    assert all_copied([[one], [one, two, three]], list) is None
    assert all_copied([[one], [one, two]], list)[1] >= 24 + 56


def test_an_object_that_comes_twice_is_copied_twice():
    one = [1]
    made, _ = all_copied([one, one], list)
    made[0].append(2)
    assert (made, one) == ([[1, 2], [1]], [1])


@pytest.mark.parametrize(
    ("value", "nbytes"),
    [((), 0), ((1, "abc"), 3), (["a", b"b", None], 2), ({"key": "ab", "other": 7}, 10)],
)
def test_bytes_of_strings(value, nbytes):
    assert copied(value) == (value, nbytes)
    assert all_copied([value] * 3, type(value)) == ([value] * 3, 3 * nbytes)


@pytest.mark.parametrize("value", [(1 << 800_000,), [1.5, 1 << 800_000], {1: 1 << 800_000}])
def test_bytes_of_large_numbers(value):
    assert copied(value)[1] >= 100_000
    assert all_copied([value] * 3, type(value))[1] >= 300_000


@pytest.mark.parametrize("value", [datetime.date(2000, 1, 1), decimal.Decimal(1)])
def test_what_somebody_pickles_in_a_way_of_his_own_is_not_batched(value, monkeypatch):
    assert all_fixed([value], type(value))
    monkeypatch.setitem(copyreg.dispatch_table, type(value), repr)
    assert not all_fixed([value], type(value))
    assert copied([value]) is None


def test_a_class_that_only_looks_like_one_of_the_standard_library():
    class Decimal:
        __module__ = "decimal"

    class Strange:
        pass

    Strange.__module__ = ["decimal"]
    assert not all_fixed([Decimal()], Decimal)
    assert not all_fixed([Strange()], Strange)


def test_times_with_zones():
    naive, known = datetime.time(1), datetime.time(1, tzinfo=datetime.UTC)
    assert all_fixed([naive, known], datetime.time)
    assert not all_fixed([naive, datetime.time(tzinfo=Zone())], datetime.time)
    assert all_copied([[naive], [datetime.time(tzinfo=Zone())]], list) is None
