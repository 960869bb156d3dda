"""Objects to bytes and back; and what travels without cloudpickle does the same as with it."""

from __future__ import annotations

import copyreg
import functools
import gc
import math
import os.path
import pickle
import struct
import sys
import types

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parmap import SerializationError, _byvalue
from parmap._codec import (
    Broken,
    Packed,
    bundle,
    load,
    pack,
    pack_whole,
    unbundle,
    uncollected,
    unpack,
)
from parmap._plain import SCALARS

from ..contract.common import Point, same, scalars, values


def views(parts):
    return [memoryview(part) for part in parts]


def again(value, **options):
    return unpack(views(pack(value, copy=True, **options).parts))


@settings(max_examples=150)
@given(values, st.booleans())
def test_pack_and_unpack(value, copy):
    packed = pack(value, copy=copy)
    assert same(unpack(views(packed.parts)), value)
    assert same(unpack(views([pack_whole(value)])), value)
    assert packed.nbytes == sum(map(len, packed.parts))


@settings(max_examples=100)
@given(st.lists(st.one_of(scalars, values.map(lambda value: pack(value, copy=True))), max_size=12))
def test_bundle_and_unbundle(given_values):
    parcels, parts = bundle(given_values)
    parcels = pickle.loads(pickle.dumps(parcels))
    got = unbundle(parcels, views(parts))
    assert len(got) == len(given_values)
    for one, other in zip(got, given_values, strict=True):
        assert (type(one) is Packed) == (type(other) is Packed)
        if type(one) is Packed:
            assert same(unpack(views(one.parts)), unpack(views(other.parts)))
        else:
            assert same(one, other)


@given(
    st.one_of(
        st.lists(st.integers(-(1 << 65), 1 << 65)),
        st.lists(st.integers()),
        st.lists(st.floats()),
        st.lists(scalars),
        st.lists(st.booleans()),
    ),
    st.sets(st.sampled_from([int, float, bool, str])),
    st.sampled_from([1, 100]),
)
def test_known_kinds_change_nothing(numbers, others, times):
    numbers = numbers * times  # many numbers travel in another way than few
    kinds = {*map(type, numbers)}
    for said in (kinds, kinds | others):
        parcels, parts = bundle(numbers, said)
        assert same(list(unbundle(pickle.loads(pickle.dumps(parcels)), views(parts))), numbers)


def test_numbers_keep_their_bits():
    odd = [
        struct.unpack("d", struct.pack("Q", bits))[0] for bits in (0x7FF0_0000_0000_0001, 1 << 63)
    ] * 50
    parcels, parts = bundle(odd, {float})
    again_odd = unbundle(parcels, views(parts))
    assert [struct.pack("d", one) for one in again_odd] == [struct.pack("d", one) for one in odd]
    assert len(parts[0]) == 800


@settings(max_examples=100)
@given(st.lists(st.one_of(scalars, values.map(lambda value: pack(value, copy=True))), max_size=12))
def test_load_is_unbundle_and_unpack(given_values):
    parcels, parts = bundle(given_values)
    wanted = [
        unpack(views(one.parts)) if type(one) is Packed else one
        for one in unbundle(parcels, views(parts))
    ]
    got, broken = load(parcels, views(parts))
    assert same(list(got), wanted)
    assert not broken
    assert gc.get_threshold()[0]


def test_load_of_what_cannot_be_unpickled(np):
    bad = pack(FailsThere(), copy=True)
    large = pack((np.zeros(1 << 18), FailsThere()), copy=True)
    given_values = [1, bad, pack([2], copy=True), large, bad, 3]
    parcels, parts = bundle(given_values)
    got, broken = load(parcels, views(parts))
    assert broken
    assert [type(one) is Broken for one in got] == [False, True, False, True, True, False]
    assert [one for one in got if type(one) is not Broken] == [1, [2], 3]
    assert str(got[1].error) == "not here"
    assert gc.get_threshold()[0]


def test_the_collector_waits_and_then_goes_on_as_before():
    before = gc.get_threshold()
    assert uncollected(gc.get_threshold)[0] == 0
    assert gc.get_threshold() == before
    with pytest.raises(ZeroDivisionError):
        uncollected(lambda: 1 // 0)
    assert gc.get_threshold() == before


def test_the_collector_goes_on_whoever_of_several_ends_last():
    before = gc.get_threshold()
    try:
        gc.set_threshold(0)  # for another thread, which lets it go on
        uncollected(lambda: gc.set_threshold(*before))
        assert gc.get_threshold() == before
    finally:
        gc.set_threshold(*before)


def test_what_an_imported_module_says_about_the_collector_counts():
    before = gc.get_threshold()
    try:
        uncollected(gc.disable)
        assert not gc.isenabled()
        uncollected(lambda: gc.set_threshold(70, 7, 7))
        assert gc.get_threshold()[0] == 70
    finally:
        gc.enable()
        gc.set_threshold(*before)


class FailsThere:
    def __reduce__(self):
        return fail, ()


def fail():
    raise RuntimeError("not here")


@given(st.integers(0, 20), st.integers(1, 3))
def test_ranges_travel_as_such(count, step):
    parcels, parts = bundle(range(0, count * step, step))
    assert list(unbundle(parcels, views(parts))) == list(range(0, count * step, step))


def test_large_buffers_are_parts_of_their_own(np):
    array = np.arange(1 << 18)
    packed = pack(array, copy=False)
    assert len(packed.parts) == 2
    assert len(packed.parts[0]) < 1000
    got = unpack(views(pack((array, array[:10]), copy=True).parts))
    np.testing.assert_array_equal(got[0], array)
    assert got[0].flags.writeable
    np.testing.assert_array_equal(unpack(views([pack_whole(array)])), array)
    mixed = [1, pack(array, copy=True), 2, pack([3], copy=True)]
    parcels, parts = bundle(mixed)
    one, two, three, four = unbundle(parcels, views(parts))
    assert (one, three, unpack(views(four.parts))) == (1, 2, [3])
    np.testing.assert_array_equal(unpack(views(two.parts)), array)


def test_a_copy_is_one(np):
    array = np.zeros(1 << 18)
    copied = pack(array, copy=True)
    array[:] = 1
    assert unpack(views(copied.parts)).sum() == 0


def test_scalars_are_immutable_builtins():
    assert all(kind.__module__ == "builtins" for kind in SCALARS)
    assert not SCALARS & {list, dict, set, tuple, bytearray}


class Refuses:
    def __reduce__(self):
        raise RuntimeError("never")


def test_what_cannot_be_packed():
    with pytest.raises(SerializationError, match="never"):
        pack([Refuses()], copy=True)


# --- functions of __main__ ----------------------------------------------------------------------------

SOURCE = """
import math, os.path, functools
N = 3
table = {"a": 1}
def simple(x): return x + N
def closure(n):
    def inner(x, *, y=2): return x * n + y
    return inner
closed = closure(5)
def default(x, y=[1], *, z=4): return x, y, z
def recursive(x): return 1 if x <= 1 else x * recursive(x - 1)
def even(x): return x == 0 or odd(x - 1)
def odd(x): return x != 0 and even(x - 1)
def modules(x): return math.sqrt(x), os.path.join("a", str(x))
def comprehension(x): return [table.get(k, y + N) for y in range(x) for k in "ab"]
def generator(x): return list(y * N for y in range(x))
def lambdas(x): return (lambda y: y + N)(x)
nested = lambda x: (lambda: x + N)()
def annotated(x: int) -> str: return str(x)
def documented(x):
    "Documented."
    return documented.__doc__, documented.__name__, documented.__qualname__, documented.__module__
def attributed(x): return attributed.mark + x
attributed.mark = 7
def builtin(x): return len(str(x)), max(x, 2)
partial = functools.partial(default, z=9)
def raising(x):
    try: raise KeyError(x)
    except KeyError as error: return error.args
"""
NAMES = (
    "simple", "closed", "default", "recursive", "even", "modules", "comprehension", "generator",
    "lambdas", "nested", "annotated", "documented", "attributed", "builtin", "partial", "raising",
)  # fmt: skip


@pytest.fixture
def space(monkeypatch):
    """The functions of a program."""
    module = types.ModuleType("__main__")
    exec(compile(SOURCE, "program.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_by_value_does_what_cloudpickle_does(space, name):
    func = getattr(space, name)
    with_cloudpickle = pickle.loads(cloudpickle.dumps(func))
    for other in (with_cloudpickle, again(func)):
        assert [other(x) for x in range(4)] == [func(x) for x in range(4)]
    try:
        data = _byvalue.dumps(func, None)
    except _byvalue.NotSimple:
        return  # which is always allowed
    assert [pickle.loads(data)(x) for x in range(4)] == [func(x) for x in range(4)]


@pytest.mark.parametrize(
    "name", ["simple", "closed", "recursive", "modules", "comprehension", "annotated"]
)
def test_the_simple_ones_take_the_short_way(space, name):
    assert _byvalue.dumps(getattr(space, name), None)


CHANGES = {
    "a global": "N = 4",
    "an equal global of another type": "N = 3.0",
    "a global that was not there": "abs = len",
    "a default": "used.__defaults__ = (6,)",
    "a keyword's default": "used.__kwdefaults__ = {'z': 6}",
    "the code": "used.__code__ = helper.__code__",
    "a helper": "def helper(x, y=5): return 0",
    "a helper's default": "helper.__defaults__ = (8,)",
    "a helper's global": "M = 2",
    "an annotation": "used.__annotations__['x'] = str",
    "an attribute": "used.mark = 1",
    "the name": "used.__name__ = 'other'",
    "the documentation": "used.__doc__ = 'Other.'",
    "a closure": "def make(n):\n    def used(x, y=5): return n\n    return used\nused = make(9)",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_function_that_has_changed_is_pickled_anew(space, change):
    exec(
        "N, M = 3, 1\ndef helper(x, y=5): return x + M\n"
        "def used(x, y=5): return helper(x) + abs(N) + y",
        space.__dict__,
    )
    before = _byvalue.dumps(space.used, None)
    assert _byvalue.dumps(space.used, None) is before, "the second time must cost nothing"
    exec(CHANGES[change], space.__dict__)
    assert _byvalue.dumps(space.used, None) != before


def test_an_annotated_function_is_pickled_once(space):
    exec("def used(x: int) -> str: return str(x)", space.__dict__)
    assert _byvalue.dumps(space.used, None) is _byvalue.dumps(space.used, None)
    before = _byvalue.dumps(space.used, None)
    exec("def used(x: float) -> str: return str(x)", space.__dict__)
    assert _byvalue.dumps(space.used, None) != before


def test_what_can_change_within_is_pickled_each_time(space):
    first = _byvalue.dumps(space.comprehension, None)
    space.table["a"] = 2
    assert _byvalue.dumps(space.comprehension, None) != first


def test_only_so_many_pickles_are_kept(space):
    for number in range(200):
        exec(f"def used(x): return x + {number}", space.__dict__)
        _byvalue.dumps(space.used, None)
    assert len(_byvalue._newest) <= _byvalue._NEWEST


def test_globals_are_shared_by_functions_that_travel_together(space):
    exec("count = [0]\ndef up(x): count[0] += 1\ndef get(x): return count[0]", space.__dict__)
    up, get = again((space.up, space.get))
    up(0)
    assert get(0) == 1
    assert space.count == [0]


def test_classes_of_main_come_back_as_themselves(space):
    exec("class C:\n    def __init__(self, x): self.x = x", space.__dict__)
    made = again(space.C(3))
    assert type(made) is space.C
    assert made.x == 3


MENTIONS = {
    "a class": "C",
    "a class of a class": "C.Inner",
    "an instance": "C()",
    "an instance in a set": "{C()}",
    "an instance of a subclass of a built-in type": "D(a=1)",
    "a method": "C().method",
    "a function": "simple",
    "a cached function": "tell",
    "a member of an enumeration": "E.a",
    "one after the same text": "['__main__', 'C', C]",
    "one among calls of calls": "[functools.partial(operator.methodcaller('x', re.compile('a')), C)]",
    "one after much else": "[collections.Counter('abc'), fractions.Fraction(1, 3), bytearray(2), C()]",
}


@pytest.mark.parametrize("mention", MENTIONS)
def test_what_is_of_main_is_found_among_texts(space, mention):
    exec(
        "import collections, enum, fractions, operator, re\n"
        "class C:\n    class Inner: pass\n    def method(self): pass\n"
        "class D(dict): pass\nclass E(enum.Enum): a = 1\ntell = functools.cache(lambda x: x)\n"
        "tell.__qualname__ = 'tell'",
        space.__dict__,
    )
    obj = eval(MENTIONS[mention], space.__dict__)
    for value in (obj, ["__main__", obj], {"__main__": [1, obj]}):
        data = pickle.dumps(value, 5)
        assert b"\x8c\x08__main__" in data, "the mark by which `pack` suspects it"
        assert _byvalue.may_name_main(data, [])
        assert pack(value, copy=True).parts[0] != data


@settings(max_examples=150)
@given(values)
def test_texts_about_main_travel_as_they_are(value):
    given = ["__main__", value, "if __name__ == '__main__':", {"__main__": 1}]
    data = pickle.dumps(given, 5)
    assert not _byvalue.may_name_main(data, [])
    assert pack_whole(given) == data


def test_only_so_much_is_read_to_find_main(space):
    exec("class C: pass", space.__dict__)
    for long in (["__main__", "x" * (1 << 20)], ["__main__", "x" * (1 << 20), space.C]):
        assert _byvalue.may_name_main(pickle.dumps(long, 5), [])
        assert again(long) == long


def test_finding_main_calls_nothing():
    assert not _byvalue.may_name_main(pickle.dumps(["__main__", FailsThere()], 5), [])


def test_registered_extensions_stay_what_they_are():
    code = 0x7FFF_0000
    copyreg.add_extension(Point.__module__, Point.__qualname__, code)
    try:
        given = ["__main__", Point(1, 2)]
        assert again(given) == given
        assert again(given) == given
    finally:
        copyreg.remove_extension(Point.__module__, Point.__qualname__, code)


def test_ordinary_functions_travel_by_name():
    assert again(math.sqrt) is math.sqrt
    assert again(os.path.join) is os.path.join
    assert again(Point) is Point
    assert len(pack(views, copy=True).parts[0]) < 100


@functools.cache
def cached(x):
    return x


def test_importable_caches_travel_by_name():
    assert again(cached) is cached
