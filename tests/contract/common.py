"""What the tests of the contract share: values to map over, functions that fail, and what equals what."""

from __future__ import annotations

import dataclasses
import datetime
import math
import pathlib
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: Any = None


class CustomError(Exception):
    """Takes more than its message, and keeps it."""

    def __init__(self, code, *, extra="e"):
        super().__init__(f"code {code}")
        self.code = code
        self.extra = extra


ERRORS = {
    "value": ValueError("bad", 1),
    "key": KeyError("k"),
    "os": OSError(2, "No such file", "name"),
    "unicode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    "zero": ZeroDivisionError(),
    "custom": CustomError(7, extra=[1]),
    "attribute": AttributeError("a"),
    "timeout": TimeoutError("t"),
    "index": IndexError(),
}


class Fails:
    """Answers what it was called with, and raises for some of it, told apart by `repr`."""

    def __init__(self, errors):
        self.errors = errors  # the names in ERRORS, by repr

    def __call__(self, *args):
        key = repr(args[0])
        if key in self.errors:
            raise ERRORS[self.errors[key]]
        return type(args[0]).__name__, args


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**64),
    st.floats(allow_nan=True, allow_infinity=True),
    st.complex_numbers(),
    st.text(max_size=6),
    st.binary(max_size=6),
)
fixed = st.one_of(
    st.dates(),
    st.times(),
    st.datetimes(),
    st.datetimes(timezones=st.just(datetime.UTC)),
    st.timedeltas(),
    st.decimals(allow_nan=False),
)
hashable = st.one_of(
    scalars,
    fixed,
    st.fractions(),
    st.uuids(),
    st.text("ab./\\", max_size=4).map(pathlib.Path),
    st.tuples(scalars, scalars),
    st.frozensets(st.integers(), max_size=1),  # the order of more is outside the promise
    st.builds(Point, st.integers(), st.text(max_size=3)),
)
values = st.one_of(
    hashable,
    st.recursive(
        hashable,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
        ),
        max_leaves=5,
    ),
    st.binary(max_size=4).map(bytearray),
)


def generator(values):
    """A generator over a list."""
    yield from values


#: Ways to hand the same items over.
SHAPES = {
    "list": list,
    "tuple": tuple,
    "generator": generator,
    "iterator": iter,
    "dict values": lambda values: dict(enumerate(values)).values(),
    "dict items": lambda values: dict(enumerate(values)).items(),
    "dict keys": lambda values: dict(enumerate(values)),
    "enumerate": enumerate,
    "reversed": reversed,
    "map": lambda values: map(repr, values),
}


def same(one, other):
    """Equality of type and value that takes nan to be itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (one == other and math.copysign(1, one) == math.copysign(1, other)) or (
            one != one and other != other
        )
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, BaseException):
        return same(one.args, other.args) and same(dict(one.__dict__), dict(other.__dict__))
    if isinstance(one, Decimal):
        return one.as_tuple() == other.as_tuple()
    return one == other


def outcome(call):
    """What a call comes to: ("returned", result) or ("raised", exception)."""
    try:
        return "returned", call()
    except Exception as error:
        return "raised", error
