"""The promise: the result, or the exception, is that of `list(map(f, *iterables))`."""

from __future__ import annotations

import array
import concurrent.futures
import copy
import ctypes
import functools
import itertools
import multiprocessing
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parmap import (
    Pool,
    SerializationError,
    parallel_imap,
    parallel_map,
    parallel_starmap,
    run_in_process,
    spawn_each,
)

from .common import ERRORS, SHAPES, CustomError, Fails, generator, outcome, same, values

chunksizes = st.sampled_from([None, 1, 2, 7, 1000])
workers = st.integers(1, 4)
shapes = st.sampled_from(sorted(SHAPES))


def start(executor, size):
    """Let an executor start all of its workers, so that no test seems to leave them behind."""
    try:
        parallel_map(abs, range(8 * size), chunksize=1, executor=executor)
    except BaseException:
        executor.shutdown()
        raise


@pytest.fixture(scope="module")
def pool():
    with Pool(2) as made:
        start(made, 2)
        yield made


@pytest.fixture(scope="module")
def threads():
    with concurrent.futures.ThreadPoolExecutor(2) as made:
        list(made.map(pow, [2] * 50, range(50)))
        yield made


@pytest.fixture(scope="module")
def processes():
    # Its threads come first if it forks later, and Python warns of that.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, context) as made:
        for future in [made.submit(pow, 2, n) for n in range(50)]:
            future.result()
        yield made


@pytest.fixture(scope="module")
def mp_pool():
    # In a list, since the last test's arguments are kept until all is torn down, and with the pool its
    # pipes and semaphores.
    pools = [multiprocessing.get_context("spawn").Pool(2)]
    pools[0].map(abs, range(4))
    yield pools
    pools[0].terminate()
    pools.pop().join()


@st.composite
def tasks(draw, most=12):
    """A function, items in some shape, and what to do to have them anew."""
    items = draw(st.lists(values, max_size=most))
    shape = SHAPES[draw(shapes)]
    seen = list(shape(items))
    failing = draw(st.lists(st.integers(0, max(len(seen) - 1, 0)), max_size=3)) if seen else []
    errors = {repr(seen[at]): draw(st.sampled_from(sorted(ERRORS))) for at in failing}
    return Fails(errors), lambda: shape(items)


def lowest(func, items):
    """The index of the first item that fails."""
    for index, item in enumerate(items):
        if repr(item) in func.errors:
            return index
    return None


def check(func, make, got):
    """Compare an outcome with the serial one's."""
    how, what = got
    expected_how, expected = outcome(lambda: list(map(func, make())))
    assert how == expected_how, what
    if how == "returned":
        assert same(what, expected)
        return
    assert type(what) is type(expected)
    assert same(what.args, expected.args)
    assert str(what) == str(expected)
    assert what.parmap_index == lowest(func, make())
    assert what.__notes__[-1].startswith(f"parmap: item {what.parmap_index} of parallel_")
    attributes = {k: v for k, v in what.__dict__.items() if k not in ("parmap_index", "__notes__")}
    kept = {k: v for k, v in expected.__dict__.items() if k not in ("parmap_index", "__notes__")}
    assert same(attributes, kept)


def check_kept(func, make, got):
    """The same for on_error="return"."""
    assert len(got) == len(list(make()))
    for index, (item, result) in enumerate(zip(make(), got, strict=True)):
        key = repr(item)
        if key in func.errors:
            expected = ERRORS[func.errors[key]]
            assert type(result) is type(expected)
            assert same(result.args, expected.args)
            assert result.parmap_index == index
        else:
            assert same(result, func(item))


@settings(max_examples=120)
@given(tasks(), workers, chunksizes)
def test_processes(task, size, chunksize):
    func, make = task
    check(
        func,
        make,
        outcome(lambda: parallel_map(func, make(), max_workers=size, chunksize=chunksize)),
    )


@settings(max_examples=80)
@given(tasks(), workers, chunksizes)
def test_processes_returning_errors(task, size, chunksize):
    func, make = task
    got = parallel_map(func, make(), max_workers=size, chunksize=chunksize, on_error="return")
    check_kept(func, make, got)


@settings(max_examples=50)
@given(tasks(), workers, chunksizes, st.sampled_from(["thread", "serial"]), st.booleans())
def test_in_this_process(task, size, chunksize, executor, keeps):
    func, make = fresh(task)
    options = {"max_workers": size, "chunksize": chunksize, "executor": executor}
    if keeps:
        check_kept(func, make, parallel_map(func, make(), on_error="return", **options))
    else:
        check(func, make, outcome(lambda: parallel_map(func, make(), **options)))


def fresh(task):
    """The same, whose exceptions are new ones each time: nothing is copied on the way here."""
    func, make = task
    return FailsAnew(func.errors), make


class FailsAnew(Fails):
    def __call__(self, *args):
        key = repr(args[0])
        if key in self.errors:
            error = ERRORS[self.errors[key]]
            raised = error.__reduce__()
            made = (
                CustomError(error.code, extra=error.extra)
                if type(error) is CustomError
                else raised[0](*raised[1])
            )
            raise made
        return super().__call__(*args)


def on(executor, task, chunksize):
    func, make = fresh(task)
    options = {"chunksize": chunksize, "executor": executor}
    check(func, make, outcome(lambda: parallel_map(func, make(), **options)))
    check_kept(func, make, parallel_map(func, make(), on_error="return", **options))
    check(func, make, outcome(lambda: list(parallel_imap(func, make(), **options))))


# The executors are asked for directly, so that they are there before it is noted what there is.


@settings(max_examples=30)
@given(task=tasks(), chunksize=chunksizes)
def test_on_a_pool(pool, task, chunksize):
    on(pool, task, chunksize)


@settings(max_examples=30)
@given(task=tasks(), chunksize=chunksizes)
def test_on_a_thread_pool_executor(threads, task, chunksize):
    on(threads, task, chunksize)


@settings(max_examples=15)
@given(task=tasks(), chunksize=chunksizes)
def test_on_a_process_pool_executor(processes, task, chunksize):
    on(processes, task, chunksize)


# Without Hypothesis: should the pool be broken, shrinking would hang again and again.
@pytest.mark.timeout(20)
@pytest.mark.parametrize("chunksize", [None, 1, 2, 7])
def test_on_a_multiprocessing_pool(mp_pool, chunksize):
    for count in (0, 1, 2, 5, 12):
        items = list(range(count))
        for failing in ((), (0,), (2, 4), (11,)):
            errors = {repr(at): "value" for at in failing if at < count}
            on(mp_pool[0], (Fails(errors), lambda items=items: iter(items)), chunksize)


@settings(max_examples=60)
@given(tasks(), workers, chunksizes, st.sampled_from([None, 1, 3, 100]))
def test_imap(task, size, chunksize, buffersize):
    func, make = task
    options = {"max_workers": size, "chunksize": chunksize, "buffersize": buffersize}
    got = []

    def drain():
        for result in parallel_imap(func, make(), **options):
            got.append(result)
        return got

    end = outcome(drain)
    check(func, make, end)
    before = lowest(func, make())
    assert same(got, [func(item) for item in itertools.islice(make(), before)])


@settings(max_examples=60)
@given(tasks(), workers, chunksizes, st.sampled_from([None, 1, 3, 100]))
def test_imap_unordered(task, size, chunksize, buffersize):
    func, make = task
    options = {"max_workers": size, "chunksize": chunksize, "buffersize": buffersize}
    got = list(parallel_imap(func, make(), ordered=False, on_error="return", **options))
    expected = [repr(r) for r in parallel_map(func, make(), on_error="return", executor="serial")]
    assert sorted(map(repr, got)) == sorted(expected)
    how, what = outcome(lambda: list(parallel_imap(func, make(), ordered=False, **options)))
    if lowest(func, make()) is None:
        assert how == "returned"
        assert sorted(map(repr, what)) == sorted(expected)
    else:
        assert how == "raised"
        assert what.parmap_index == lowest(func, make())


def together(*args):
    return args


@settings(max_examples=60)
@given(
    st.lists(st.lists(values, max_size=5), min_size=2, max_size=4),
    st.booleans(),
    st.lists(st.sampled_from(["list", "generator", "dict values"]), min_size=4, max_size=4),
    chunksizes,
    st.sampled_from(["process", "thread", "serial"]),
)
@example([[1, 2], [1], [1, 2, 3]], True, ["list"] * 4, None, "process")
@example([[], [1]], True, ["list"] * 4, None, "process")
def test_unequal_lengths(lists, strict, kinds, chunksize, executor):
    def make():
        return [SHAPES[kind](items) for kind, items in zip(kinds, lists, strict=False)]

    expected = outcome(lambda: [together(*row) for row in zip(*make(), strict=strict)])
    options = {"strict": strict, "chunksize": chunksize, "executor": executor}
    got = outcome(lambda: parallel_map(together, *make(), **options))
    assert got[0] == expected[0]
    if got[0] == "returned":
        assert same(got[1], expected[1])
    else:
        assert type(got[1]) is ValueError
        assert str(got[1]) == str(expected[1])
    lazily = outcome(lambda: list(parallel_imap(together, *make(), **options)))
    assert lazily[0] == expected[0]
    assert (
        str(lazily[1]) == str(expected[1])
        if lazily[0] == "raised"
        else same(lazily[1], expected[1])
    )


@settings(max_examples=60)
@given(
    st.lists(st.tuples(values, values) | st.tuples(values) | st.just(()), max_size=8),
    st.sampled_from(["list", "generator"]),
    chunksizes,
    st.sampled_from(["process", "thread", "serial"]),
)
def test_starmap(rows, shape, chunksize, executor):
    got = parallel_starmap(together, SHAPES[shape](rows), chunksize=chunksize, executor=executor)
    assert same(got, list(itertools.starmap(together, rows)))


def test_starmap_of_any_iterables():
    rows = ["ab", [1, 2], {3: 4}, iter((5, 6)), generator([7])]
    assert parallel_starmap(together, rows) == [("a", "b"), (1, 2), (3,), (5, 6), (7,)]


@pytest.mark.parametrize("executor", ["process", "thread", "serial"])
def test_starmap_of_something_else(executor):
    with pytest.raises(TypeError, match="'int' object is not iterable"):
        parallel_starmap(together, [(1, 2), 3], executor=executor)


@settings(max_examples=40)
@given(st.integers(-5, 5), st.integers(0, 300), st.integers(1, 4), workers, chunksizes)
def test_ranges(begin, count, step, size, chunksize):
    items = range(begin, begin + count * step, step)
    assert parallel_map(str, items, max_workers=size, chunksize=chunksize) == list(map(str, items))


@settings(max_examples=30)
@given(st.text(max_size=30), st.binary(max_size=30), chunksizes)
def test_strings_and_bytes(text, data, chunksize):
    assert parallel_map(ord, text, chunksize=chunksize) == list(map(ord, text))
    assert parallel_map(str, data, chunksize=chunksize) == list(map(str, data))
    assert parallel_map(pair, text, data, chunksize=chunksize) == list(map(pair, text, data))


def pair(one, other):
    return one, other


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000, 20_000])
def test_many(count, size):
    assert parallel_map(str, range(count), max_workers=size) == [str(n) for n in range(count)]


def test_sequences_by_getitem_alone():
    class Old:
        def __getitem__(self, at):
            if at > 3:
                raise IndexError
            return at

    assert parallel_map(str, Old()) == ["0", "1", "2", "3"]


def test_a_length_that_lies():
    class Liar(list):
        def __len__(self):
            return 2

    assert parallel_map(str, Liar([1, 2, 3, 4])) == ["1", "2", "3", "4"]

    class Braggart(Liar):
        def __len__(self):
            return 9

    assert parallel_map(str, Braggart([1, 2, 3, 4])) == ["1", "2", "3", "4"]
    results = parallel_map(str, Braggart([1, 2, 3, 4]), on_error="return", timeout=50)
    assert results == ["1", "2", "3", "4"]


def grow(x):
    return x


def test_a_list_that_grows_while_it_is_read():
    items = [0]

    def more():
        for item in items:
            if item < 50:
                items.append(item + 1)
            yield item

    assert parallel_map(grow, more()) == list(range(51))


class Weird:
    """Equal to everything, false, without length."""

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0

    def __bool__(self):
        return False


class Touchy:
    """Cannot be compared nor tested."""

    def __eq__(self, other):
        raise RuntimeError

    __hash__ = None

    def __bool__(self):
        raise RuntimeError

    def __len__(self):
        raise RuntimeError


def same_thing(x):
    return x


@pytest.mark.parametrize("cls", [Weird, Touchy])
@pytest.mark.parametrize("executor", ["process", "thread", "serial"])
def test_odd_items_and_results(cls, executor):
    got = parallel_map(same_thing, [cls() for _ in range(5)], executor=executor)
    assert [type(one) for one in got] == [cls] * 5
    got = list(parallel_imap(same_thing, [cls() for _ in range(5)], executor=executor))
    assert [type(one) for one in got] == [cls] * 5


class AttrDict(dict):
    """Has whatever it holds as attributes, and raises KeyError for others."""

    __getattr__ = dict.__getitem__

    def __call__(self, x):
        return self.scale * x


@pytest.mark.parametrize("executor", ["process", "thread", "serial"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_functions_whose_name_cannot_be_asked_for(executor, wrapped):
    func = AttrDict(scale=3)
    if wrapped:
        func = functools.partial(func)
    assert parallel_map(func, [1, 2], executor=executor) == [3, 6]
    assert list(parallel_imap(func, [1, 2], executor=executor)) == [3, 6]
    assert run_in_process(func, 1) == 3
    assert spawn_each(func, [1]) == [3]
    with pytest.raises(TypeError) as caught:
        parallel_map(func, [None], executor=executor)
    assert caught.value.__notes__ == ["parmap: item 0 of parallel_map(AttrDict)"]


@pytest.mark.parametrize(
    "value", [b"\0", None, (), StopIteration, Exception("e"), NotImplemented, ...]
)
def test_no_value_is_special(value):
    got = parallel_map(same_thing, [value] * 5)
    assert [repr(one) for one in got] == [repr(value)] * 5
    assert all(not hasattr(one, "parmap_index") for one in got)
    assert [repr(one) for one in parallel_imap(same_thing, [value] * 5)] == [repr(value)] * 5


class Int(int):
    """A subclass of a type that travels in batches."""


def kind(x):
    return type(x), x


def test_subclasses_of_scalars():
    items = [1, Int(2), 3, True, Int(4), "s", 2.0]
    got = parallel_map(kind, items, chunksize=7)
    assert got == [(type(item), item) for item in items]


def test_arrays(np):
    items = [
        np.arange(n, dtype=float).reshape(-1, 1) * np.nan if n == 3 else np.arange(n)
        for n in range(8)
    ]
    for chunksize in (None, 1, 3):
        got = parallel_map(kind, items, chunksize=chunksize)
        for (cls, made), item in zip(got, items, strict=True):
            assert cls is np.ndarray
            assert made.dtype == item.dtype
            np.testing.assert_array_equal(made, item)
    rows = np.arange(12).reshape(4, 3)
    np.testing.assert_array_equal(parallel_map(np.sum, rows), rows.sum(axis=1))
    assert parallel_map(same_thing, np.arange(5)) == [0, 1, 2, 3, 4]


NUMBERS = memoryview(array.array("d", [1.0, 2.0, -0.0, 4.0]))
VIEWS = {
    "numbers": NUMBERS,
    "large": memoryview(array.array("q", range(100_000))),
    "large, not to be written": memoryview(bytes(range(256)) * 1000),
    "bytes": memoryview(b"bytes"),
    "bytes to be written": memoryview(bytearray(b"bytes")),
    "characters": memoryview(b"bytes").cast("c"),
    "native": memoryview(b"bytes123").cast("@h"),
    "two dimensions": NUMBERS.cast("B").cast("d", (2, 2)),
    "no dimension": memoryview(b"12345678").cast("q", ()),
    "a part": NUMBERS[1:3],
    "empty": NUMBERS[:0],
    "empty, not to be written": memoryview(b""),
}


def seen(view):
    """All that a memoryview shows."""
    told = view.format, view.itemsize, view.ndim, view.shape, view.strides, view.readonly
    return type(view).__name__, *told, view.tobytes(), view.tolist()


GLOBAL_VIEW = memoryview(array.array("h", [1, 2, 3]))


@pytest.mark.parametrize("executor", ["process", "thread", "serial"])
@pytest.mark.parametrize("name", VIEWS)
def test_memoryviews(name, executor):
    view = VIEWS[name]

    def returned(item):
        return item

    expected = seen(view)
    assert parallel_map(seen, [view, view], executor=executor) == [expected] * 2
    assert parallel_map(lambda held: seen(held["view"]), [{"view": view}]) == [expected]
    assert parallel_map(lambda _: seen(view), [0], executor=executor) == [expected]
    assert [*map(seen, parallel_map(returned, [view], executor=executor))] == [expected]
    assert seen(run_in_process(returned, view)) == expected


def test_a_memoryview_that_is_a_global():
    assert parallel_map(lambda _: sum(GLOBAL_VIEW), [0]) == [6]


class Pair(ctypes.Structure):
    _fields_ = [("one", ctypes.c_int), ("other", ctypes.c_int)]


def shown(view):
    return view.format, view.shape, view.readonly, view.tolist(), view == view.tobytes()


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_memoryviews_with_gaps(kind):
    views = [memoryview(kind(b"123456"))[::2], memoryview(kind(b"123456"))[::-1]]
    assert parallel_map(shown, views) == [*map(shown, views)]
    assert parallel_map(lambda view: view[::2], views) == [view[::2] for view in views]


def test_memoryviews_are_copies():
    def set_first(view):
        view[0] = 7
        return view

    view = memoryview(array.array("d", [1.0, 2.0]))
    (made,) = parallel_map(set_first, [view])
    assert (view[0], made[0]) == (1, 7)
    made[1] = 8
    assert made.tolist() == [7, 8]


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (memoryview((Pair * 2)()), "destination format must be"),
        (memoryview((ctypes.c_byte * 2 * 0)()), "zeros in shape"),
    ],
    ids=["format", "nothing in two dimensions"],
)
def test_memoryviews_that_cannot_travel(view, said):
    with pytest.raises(SerializationError, match=said) as info:
        parallel_map(len, [view])
    assert "memoryview object, the item, cannot be sent" in str(info.value)
    assert "pass its `tobytes()`" in str(info.value)


def test_deep_nesting():
    deep = []
    for _ in range(200):
        deep = [deep]
    assert parallel_map(same_thing, [deep, deep]) == [deep, deep]


def too_deep(n):
    return too_deep(n + 1)


def test_recursion_error():
    with pytest.raises(RecursionError) as caught:
        parallel_map(too_deep, [0])
    assert caught.value.parmap_index == 0
    assert len(list(iterate(caught.value.__traceback__))) <= sys.getrecursionlimit()


def iterate(traceback):
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


# --- small records, of which many travel together -------------------------------------------------

KEYS = st.text(max_size=2)
LEAVES = st.one_of(st.integers(), st.floats(), st.text(max_size=3), st.none(), st.booleans())
RECORDS = {
    "lists": st.lists(LEAVES, max_size=3),
    "tuples": st.lists(LEAVES, max_size=3).map(tuple),
    "dictionaries": st.dictionaries(KEYS, LEAVES, max_size=3),
    "mixed": st.one_of(st.lists(LEAVES, max_size=2), st.dictionaries(KEYS, LEAVES), LEAVES),
    "nested": st.lists(st.lists(LEAVES, max_size=2), max_size=2),
}

last = []


def touch(record):
    """Change what can be changed, and answer something that the next item changes."""
    last.append(record)
    if len(last) > 1 and type(last[-2]) is list:
        last[-2].append("changed later")
    if type(record) is list:
        record.append("seen")
    if type(record) is dict:
        record["seen"] = len(record)
    return record


def touched(record):
    """What `touch` gives where each item is by itself."""
    record = copy.deepcopy(record)
    last.clear()
    return touch(record)


@pytest.mark.parametrize("kind", RECORDS)
@settings(max_examples=25)
@given(st.data(), chunksizes, st.sampled_from([1, 40]))
def test_records(kind, data, chunksize, times):
    records = data.draw(st.lists(RECORDS[kind], min_size=1, max_size=6)) * times
    before = copy.deepcopy(records)
    expected = [touched(record) for record in records]
    assert same(parallel_map(touch, records, chunksize=chunksize), expected)
    assert same(list(parallel_imap(touch, records, chunksize=chunksize)), expected)
    assert same(list(parallel_imap(touch, iter(records), chunksize=chunksize)), expected)
    assert same(records, before)


def joined(*arguments):
    return arguments


@settings(max_examples=25)
@given(st.lists(st.tuples(LEAVES, LEAVES), min_size=1), st.sampled_from([1, 40]), chunksizes)
def test_several_inputs_of_scalars(pairs, times, chunksize):
    ones, others = zip(*(pairs * times), strict=True)
    got = parallel_map(joined, ones, others, chunksize=chunksize)
    assert same(got, list(map(joined, ones, others)))
