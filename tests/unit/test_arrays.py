"""NumPy's numbers and small arrays: which travel together, and that they arrive as they were."""

from __future__ import annotations

import pickle
import sys

import pytest

from parmap import SerializationError, _arrays
from parmap._codec import Broken, Packed, bundle, load, pack, unbundle
from parmap._runner import unpack_item


def views(parts):
    return [memoryview(part) for part in parts]


NUMBERS = ("float64", "float32", "float16", "longdouble", "int64", "uint8", "bool_", "complex128")
OTHERS = ("timedelta64", "datetime64", "str_", "bytes_", "void", "ndarray", "dtype")


def test_which_types_are_numbers(np):
    class Own(np.float64):
        pass

    assert all(_arrays.is_number(getattr(np, name)) for name in NUMBERS)
    assert not any(_arrays.is_number(getattr(np, name)) for name in OTHERS)
    assert not any(map(_arrays.is_number, (int, float, Own, type(np))))


@pytest.mark.parametrize("name", NUMBERS)
def test_many_numbers_are_an_array(np, name):
    numbers = [getattr(np, name)(n % 2) for n in range(20)]
    parcels, parts = bundle(numbers, {type(numbers[0])})
    assert len(parts[0]) < len(pickle.dumps(numbers))
    for got in (unbundle(parcels, views(parts)), load(parcels, views(parts))[0]):
        assert got == numbers
        assert {*map(type, got)} == {getattr(np, name)}


def test_arrays_that_are_alike_are_one(np):
    arrays = [np.arange(n, n + 6.0).reshape(2, 3) for n in range(20)]
    one = _arrays.stacked(arrays)
    assert one.shape == (20, 2, 3)
    assert not np.shares_memory(one, arrays[0])
    parcels, parts = bundle(arrays, {np.ndarray})
    for got in (load(parcels, views(parts))[0], unbundle(parcels, views(parts))):
        assert all(map(np.array_equal, got, arrays))
        assert all(one.base is None for one in got)  # to keep one keeps no other


UNLIKE = {
    "of another shape": lambda np: [np.zeros(2)] * 9 + [np.zeros(3)],
    "of another type": lambda np: [np.zeros(2)] * 9 + [np.zeros(2, int)],
    "of another byte order": lambda np: [np.zeros(2, ">f8")] * 10,
    "that cannot be written": lambda np: [np.zeros(2)] * 9 + [np.broadcast_to(1.0, 2)],
    "in another order": lambda np: [np.zeros((2, 3), order="F")] * 10,
    "of objects": lambda np: [np.array([{}, {}])] * 10,
    "of no dimension": lambda np: [np.array(1.0)] * 10,
    "with notes": lambda np: [np.zeros(2, np.dtype("f8", metadata={"unit": n})) for n in range(9)],
    "of records": lambda np: [np.zeros(2, [("a", int)])] * 10,
    "that are large": lambda np: [np.zeros(100_000)] * 10,
    "that are few": lambda np: [np.zeros(2)] * 2,
    "of many dimensions": lambda np: [np.zeros((1,) * 32)] * 10,
    "of nothing, and a shape that is too large for ten": lambda np: [np.empty((0, 1 << 59))] * 10,
}


@pytest.mark.parametrize("what", UNLIKE)
def test_arrays_that_are_not(np, what):
    assert _arrays.stacked(UNLIKE[what](np)) is None


@pytest.mark.parametrize("what", UNLIKE)
def test_they_travel_all_the_same(np, what):
    arrays = UNLIKE[what](np)
    parcels, parts = bundle([pack(array, copy=True) for array in arrays])
    got, broken = load(parcels, views(parts))
    assert not broken
    assert all(one.dtype == other.dtype for one, other in zip(got, arrays, strict=True))
    assert all(map(np.array_equal, got, arrays))


def test_what_cannot_be_read_is_told_of_each(np):
    parcels, _ = bundle([np.float64(n) for n in range(3)], {np.float64})
    broken = views([b"cno_such_module\nnothing\n."])
    values = unbundle(parcels, broken)
    assert [*map(type, values)] == [Packed] * 3
    with pytest.raises(SerializationError, match="no_such_module"):
        unpack_item(values[0])
    values, is_broken = load(parcels, broken)
    assert is_broken
    assert [*map(type, values)] == [Broken] * 3


def test_so_it_is_with_what_holds_numbers(np, monkeypatch):
    records = [(1, np.float64(2))] * 3
    for bundled in (bundle(records), bundle([*records, pack([[]], copy=True)])):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "numpy", None)
            patch.setitem(sys.modules, "numpy._core.multiarray", None)
            patch.setitem(sys.modules, "numpy.core.multiarray", None)
            values, is_broken = load(bundled[0], views(bundled[1]))
        assert is_broken
        assert [*map(type, values[:3])] == [Broken] * 3
        assert len(values) in (3, 4)
        assert values[3:] in ([], [[[]]])
