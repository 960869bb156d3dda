"""NumPy's arrays as inputs, items and results: what arrives is what `map` gives, type by type."""

from __future__ import annotations

import multiprocessing
import pickle
import sys

import pytest

from parmap import Pool, parallel_imap, parallel_map

CALLS = {
    "map": parallel_map,
    "chunks": lambda func, items: parallel_map(func, items, chunksize=7),
    "lazy": lambda func, items: list(parallel_imap(func, items)),
    "thread": lambda func, items: parallel_map(func, items, executor="thread"),
    "iterator": lambda func, items: parallel_map(func, iter(items)),
}

TYPES = (
    "f8",
    "f4",
    "f2",
    "i8",
    "i1",
    "?",
    "c16",
    "g",
    ">f8",
    ">i4",
    "M8[s]",
    "m8[ms]",
    "U5",
    "S3",
    "O",
)


def told(item):
    """All that there is to an item."""
    return type(item).__name__, repr(item), getattr(item, "shape", None)


def itself(item):
    return item


def same(np, got, wanted):
    return len(got) == len(wanted) and all(
        type(one) is type(other) and np.array_equal(one, other)
        for one, other in zip(got, wanted, strict=True)
    )


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("dtype", TYPES)
def test_an_array_of_numbers(np, call, dtype):
    array = np.arange(300).astype(dtype)
    for items in (array, array[::-2], array[:0], list(array)):
        assert CALLS[call](told, items) == list(map(told, items))
        assert same(np, CALLS[call](itself, items), list(items))


@pytest.mark.parametrize("call", CALLS)
def test_rows(np, call):
    array = np.arange(1200.0).reshape(300, 4)
    for items in (array, array.T, array[::3, ::2], np.empty((0, 3)), np.empty((3, 0)), list(array)):
        assert CALLS[call](told, items) == list(map(told, items))
        assert same(np, CALLS[call](itself, items), list(items))


def grown(row):
    row += 1
    return row


@pytest.mark.parametrize("call", [call for call in CALLS if call != "thread"])
def test_each_item_is_by_itself(np, call):
    array = np.zeros((100, 3))
    one = np.zeros(3)
    for items in (array, [one] * 100, [one, np.zeros(4)] * 50):
        got = CALLS[call](grown, items)
        assert all((row == 1).all() for row in got)
    assert not array.any()
    assert not one.any()


HOLDERS = {
    "itself, of various lengths": lambda array, n: array,
    "a tuple": lambda array, n: (n, array),
    "a list": lambda array, n: [array, "x", array],  # one that is in it twice
    "a dictionary": lambda array, n: {"id": n, "a": array, "b": 1.5},
    "a dictionary of two": lambda array, n: {"a": array, "b": array.reshape(-1)},
    "a tuple in a tuple": lambda array, n: (n, (array,)),
}
OTHER_ARRAYS = {
    "small": lambda array: array,
    "none": lambda array: array[:0],
    "of no dimension": lambda array: array.sum(keepdims=False)[()].reshape(()),
    "large": lambda array: array.repeat(9_000),
    "of objects": lambda array: array.astype(object),
    "of strings": lambda array: array.astype("U9"),
    "not to be written": lambda array: frozen(array.copy()),
    "every other": lambda array: array.repeat(2)[::2],
}


def frozen(array):
    array.flags.writeable = False
    return array


def arrays_in(value):
    """All arrays in a value, at whatever depth."""
    if isinstance(value, (tuple, list)):
        return [array for inner in value for array in arrays_in(inner)]
    if isinstance(value, dict):
        return arrays_in([*value.values()])
    return [value] if type(value).__name__ == "ndarray" else []


def alone(value):
    """As it is after a journey by itself."""
    return pickle.loads(pickle.dumps(value, 5))


def described(value):
    """What it is, which of its arrays are one object, and its arrays changed."""
    arrays = arrays_in(value)
    alike = [[one is other for other in arrays] for one in arrays]
    flags = [(one.flags.writeable, one.dtype.str, one.shape) for one in arrays]
    seen = repr(value), type(value).__name__, alike, flags
    for one in arrays:
        if one.flags.writeable and one.dtype.kind == "f":
            one += 1
    return seen, value


@pytest.mark.parametrize("call", ["map", "iterator"])
@pytest.mark.parametrize("other", OTHER_ARRAYS)
@pytest.mark.parametrize("holder", HOLDERS)
def test_items_and_results_that_hold_arrays(np, holder, other, call):
    def items():
        arrays = [OTHER_ARRAYS[other](np.arange(1.0, 3 + n % 3)) for n in range(40)]
        return [HOLDERS[holder](array, n) for n, array in enumerate(arrays)]

    given = items()
    got = CALLS[call](described, given)
    wanted = [alone(described(alone(item))) for item in items()]
    assert [seen for seen, _ in got] == [seen for seen, _ in wanted]
    assert [repr(value) for _, value in got] == [repr(value) for _, value in wanted]
    assert [repr(value) for value in given] == [repr(value) for value in items()]
    flags = [[one.flags.writeable for one in arrays_in(value)] for _, value in got]
    assert flags == [[one.flags.writeable for one in arrays_in(value)] for _, value in wanted]


@pytest.mark.parametrize("call", [call for call in CALLS if call != "thread"])
def test_items_that_hold_one_array_are_by_themselves(np, call):
    one = np.zeros(3)
    for items in ([(1, one)] * 100, [{"a": one}] * 100, [[one], [np.zeros(4)]] * 50):
        got = CALLS[call](described, items)
        assert all((array == 1).all() for _, value in got for array in arrays_in(value))
    assert not one.any()


kept = []


def again(np_and_x):
    """The same array each time, with something else in it."""
    np, x = __import__("numpy"), np_and_x
    if not kept:
        kept.append(np.zeros(3))
    kept[0][:] = x
    return kept[0]


def test_results_are_what_they_were(np):
    got = parallel_map(again, range(200))
    assert [*map(list, got)] == [[x] * 3 for x in range(200)]
    assert not any(map(np.shares_memory, got, got[1:]))
    got[0][:] = -1
    assert [*got[1]] == [1] * 3


def various(x):
    import numpy as np

    return [np.float64(x), np.zeros(x % 3), x, np.arange(x), {"mean": np.float32(x)}, None][x % 6]


def test_results_of_various_types(np):
    got = parallel_map(various, range(100))
    assert same(np, got, list(map(various, range(100))))


def joined(x, y):
    return x * y, type(x).__name__


def test_several_arrays(np):
    array = np.arange(100.0)
    assert parallel_map(joined, array, array) == list(map(joined, array, array))
    assert parallel_map(joined, array, range(100)) == list(map(joined, array, range(100)))


def test_what_is_not_to_be_written_is_not(np):
    array = np.arange(6.0)
    array.flags.writeable = False
    assert parallel_map(is_writeable, [array] * 20) == [False] * 20


def is_writeable(array):
    return array.flags.writeable


def view_of(kind, np):
    if kind == "windows":
        return np.lib.stride_tricks.sliding_window_view(np.arange(300.0), 5)
    if kind == "broadcast":
        return np.broadcast_to(np.arange(5.0), (300, 5))
    if kind == "turned":
        return np.arange(4500.0).reshape(300, 3, 5).transpose(0, 2, 1)
    if kind == "of another byte order":
        return np.zeros((300, 2), ">i4")
    if kind == "with notes":
        return np.zeros((300, 2), np.dtype("f8", metadata={"unit": "m"}))
    array = np.arange(1500.0).reshape(300, 5)
    array.flags.writeable = False
    return array


def looks(row):
    flags = row.flags
    metadata = dict(row.dtype.metadata or {})
    return flags.writeable, flags.c_contiguous, row.ravel("K").tolist(), row.dtype.str, metadata


VIEWS = (
    "windows",
    "broadcast",
    "turned",
    "of another byte order",
    "with notes",
    "not to be written",
)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", VIEWS)
def test_rows_look_as_they_did(np, call, kind):
    array = view_of(kind, np)
    wanted = list(map(looks, array))
    if kind == "windows":  # which are copied, so that they no longer lie upon each other
        wanted = [(False, *looks(row.copy())[1:]) for row in array]
    assert CALLS[call](looks, array) == wanted
    assert list(parallel_imap(looks, array, buffersize=50)) == wanted


def test_rows_can_be_changed_in_workers_of_others(np):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        got = parallel_map(grown, np.zeros((4000, 128)), executor=pool, chunksize=2000)
        assert all((row == 1).all() for row in got)
        assert got[0].flags.writeable
        pool.close()
        pool.join()


def without_numpy():
    sys.modules["numpy"] = None


def test_workers_without_it(np):
    items = [1, (1, np.float64(2)), 3, np.float64(4)]
    with Pool(1, initializer=without_numpy) as pool:
        for some in (items, [np.float64(1)] * 100, np.arange(100.0)):
            got = parallel_map(told, some, executor=pool, on_error="return")
            assert {type(one).__name__ for one in got} <= {"tuple", "SerializationError"}
            assert any("cannot be unpickled" in str(one) for one in got)


def fail_once(x):
    if x == 0:
        raise OSError(float(x))
    return float(x)


def test_what_was_read_is_tried_again_as_it_was(np):
    array = np.arange(8.0)

    def change(*_):
        array[:] = 99

    got = parallel_map(
        fail_once, array, retries=1, retry_on=(OSError,), progress=change, on_error="return"
    )
    assert type(got[0]) is OSError


def test_arrays_that_are_pickled_in_a_way_of_the_programs_own(program):
    program.run("""
        import copyreg
        import numpy as np
        from parmap import parallel_map
        copyreg.pickle(np.ndarray, lambda array: (dict, ({"list": array.tolist()},)))
        assert parallel_map(lambda x: type(x).__name__, [np.zeros(3)] * 100) == ["dict"] * 100
        assert parallel_map(lambda x: type(x).__name__, np.zeros((100, 3))) == ["dict"] * 100
        """)


class Meta(type):
    @property
    def __module__(cls):
        msg = "nobody has to ask"
        raise RuntimeError(msg)


def test_types_are_not_asked():
    class Odd(metaclass=Meta):
        def __reduce__(self):
            return int, ("7",)

    assert parallel_map(str, [Odd(), Odd()]) == ["7", "7"]


def test_other_arrays(np):
    structured = np.zeros(3, [("a", int), ("b", float)])
    masked = np.ma.array([1.0, 2.0], mask=[False, True])
    assert parallel_map(told, structured) == list(map(told, structured))
    assert parallel_map(told, masked) == list(map(told, masked))
    with pytest.raises(TypeError, match="0-d"):
        parallel_map(told, np.array(1.0))


def test_rows_that_are_large(np):
    array = np.arange(6e6).reshape(6, 1_000_000)
    assert same(np, parallel_map(itself, array), list(array))
    assert same(np, list(parallel_imap(itself, array)), list(array))
