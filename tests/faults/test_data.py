"""Data stays as it was: the caller's, the function's, and what is on its way while either changes it."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from functools import partial

import pytest

from parmap import (
    Pool,
    parallel_imap,
    parallel_map,
    parallel_starmap,
    run_in_process,
    spawn_each,
)

from . import deaths
from .harness import FULL, most_telling

SMALL, LARGE = 100, 140_000  # numbers: within the stream; beside it


@pytest.fixture(scope="module", params=most_telling(["forkserver", "fork", "spawn"], 2))
def pool(request):
    with Pool(2, start_method=request.param) as pool:
        yield pool


# --- what the function does with its items ------------------------------------------------------------------


class Thing:
    def __init__(self) -> None:
        self.kept = [1, 2]


def spoil(item) -> object:
    """Change an item in place, and answer something of it."""
    if isinstance(item, list):
        while item:
            last = item.pop()
            if isinstance(last, list):
                last.append("spoilt")
    elif isinstance(item, (dict, set)):
        item.clear()
    elif isinstance(item, Thing):
        item.kept.append("spoilt")
        item.more = "spoilt"
    else:
        item[:] = item[:1] * len(item) if isinstance(item, bytearray) else -1
    return os.getpid()


def spoil_two(item, other) -> object:
    spoil(other)
    return spoil(item)


def things(np) -> list:
    return [
        [[1], 2],
        {"a": [1]},
        {1, 2},
        Thing(),
        bytearray(b"abc"),
        bytearray(range(250)) * 10_000,
        np.arange(SMALL),
        np.arange(LARGE),
    ]


def are_whole(values) -> bool:
    a, b, c, d, e, f, g, h = values
    return (
        (a, b, c, e) == ([[1], 2], {"a": [1]}, {1, 2}, bytearray(b"abc"))
        and d.__dict__ == {"kept": [1, 2]}
        and f == bytearray(range(250)) * 10_000
        and g.tolist() == list(range(SMALL))
        and h.sum() == LARGE * (LARGE - 1) // 2
    )


@pytest.mark.parametrize("chunksize", most_telling([50, None, 1], 1))
def test_items_that_the_function_changes(np, pool, chunksize) -> None:
    items = things(np)
    options = {"executor": pool, "chunksize": chunksize}
    assert os.getpid() not in parallel_map(spoil, items, **options)
    parallel_map(spoil, iter(items), **options)
    parallel_map(spoil_two, items, items, **options)
    parallel_starmap(spoil_two, zip(items, items, strict=True), **options)
    list(parallel_imap(spoil, items, **options))
    list(parallel_imap(spoil, iter(items), ordered=False, **options))
    assert are_whole(items)


def test_submitted_arguments_that_the_function_changes(np) -> None:
    items = things(np)
    with Pool(2) as pool:
        for future in [pool.submit(spoil, item) for item in items]:
            future.result(20)
    assert are_whole(items)


@pytest.mark.parametrize("method", most_telling(["forkserver", "fork", "spawn"], 2))
def test_items_that_a_fresh_process_changes(np, method) -> None:
    items = things(np)
    spawn_each(spoil, items, start_method=method, limit=4)
    run_in_process(spoil, items[0], start_method=method)
    run_in_process(partial(spoil, items[-1]), start_method=method)
    assert are_whole(items)


def change_bound(x: int, *, array, names: list) -> tuple[int, int]:
    array += 1
    names.append(x)
    return int(array[0]), len(names)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_is_bound_and_changed(np, pool, size) -> None:
    """Workers may count on in what they were given, each for itself; the caller's stays."""
    array, names = np.zeros(size, int), ["a"]
    func = partial(change_bound, array=array, names=names)
    for _ in range(2):
        for first, count in parallel_map(func, range(10), executor=pool):
            assert first == count - 1
    assert not array.any()
    assert names == ["a"]


# --- what the function keeps ----------------------------------------------------------------------------------

_kept: list = []


def keep_some(number: int, array, every: int) -> bool:
    """Keep every so many; whether all that are kept are as they were."""
    if number % every == 0:
        _kept.append((number, array))
    return all((kept == n).all() for n, kept in _kept[:1] + _kept[-2:])


@pytest.mark.parametrize("chunksize", most_telling([None, 1], 1))
def test_arrays_that_the_function_keeps(np, chunksize) -> None:
    """Unchanged a thousand items later, while memory is used again all the time."""
    arrays = (np.full(LARGE if n % 4 else SMALL, n) for n in range(1001))
    with Pool(1) as pool:
        options = {"executor": pool, "buffersize": 4, "chunksize": chunksize}
        func = partial(keep_some, every=200)
        assert all(parallel_imap(func, itertools.count(), arrays, **options))
        assert pool.submit(all_kept).result(20) == [0, 200, 400, 600, 800, 1000]


def all_kept() -> list[int]:
    assert all((kept == n).all() for n, kept in _kept)
    return [n for n, _ in _kept]


def made(number: int):
    import numpy

    return numpy.full(LARGE if number % 4 else SMALL, number)


def test_arrays_that_the_caller_keeps(np) -> None:
    kept = []
    for n, array in enumerate(parallel_imap(made, range(1001), max_workers=2)):
        assert (array == n).all()
        if n % 200 == 0:
            kept.append((n, array))
    for n, array in kept:
        assert (array == n).all()


# --- what comes back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("chunksize", most_telling([None, 1], 1))
def test_the_same_array_comes_back(np, pool, size, chunksize) -> None:
    items = [np.full(size, n) for n in range(40)]
    results = parallel_map(deaths.same, items, executor=pool, chunksize=chunksize)
    for n, result in enumerate(results):
        assert (result == n).all()
        result += 1000  # its own
    for n, (item, result) in enumerate(zip(items, results, strict=True)):
        assert (item == n).all()
        assert (result == n + 1000).all()
    assert all((a == b).all() for a, b in zip(parallel_map(deaths.same, items), items, strict=True))


_last: list = []


def spoil_the_last(array):
    """Give an array back, and change the one that was given back before."""
    for one in _last:
        one[:] = -1
    _last[:] = [array]
    return array


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("chunksize", most_telling([None, 1, 50], 1))
def test_results_that_the_function_changes_later(np, pool, size, chunksize) -> None:
    items = [np.full(size, n) for n in range(60)]
    options = {"executor": pool, "chunksize": chunksize}
    for n, result in enumerate(parallel_map(spoil_the_last, items, **options)):
        assert (result == n).all()
    for n, result in enumerate(parallel_imap(spoil_the_last, items, **options)):
        assert (result == n).all()


_one: list = []


def same_one_again(number: int, size: int):
    import numpy

    if not _one:
        _one.append(numpy.zeros(size, int))
    _one[0][:] = number
    return _one[0]


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("chunksize", [None, 50])
def test_one_array_for_all_results(np, size, chunksize) -> None:
    with Pool(1) as pool:
        func = partial(same_one_again, size=size)
        results = parallel_map(func, range(50), executor=pool, chunksize=chunksize)
    assert [(int(r[0]), int(r[-1])) for r in results] == [(n, n) for n in range(50)]


# --- what the caller changes meanwhile ----------------------------------------------------------------------------


class Counted:
    """An iterator that counts what was taken from it; `look` is called whenever it is asked."""

    def __init__(self, items, look=lambda: None) -> None:
        self.items = iter(items)
        self.taken = 0
        self.look = look

    def __iter__(self):
        return self

    def __next__(self):
        self.look()
        item = next(self.items)
        self.taken += 1
        return item


def both(item) -> tuple[int, int, int]:
    number, array = item
    return number[0], int(array[0]), int(array[-1])


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("kind", ["list", "iterator", "two"])
@pytest.mark.parametrize("chunksize", most_telling([None, 1, 4], 2))
def test_input_that_the_caller_changes(np, size, kind, chunksize) -> None:
    """As it was when it was read, all of it; what has not been read yet is read as it is then."""
    items = [([0], np.zeros(size, int)) for _ in range(30)]
    given = items if kind == "list" else Counted(items)
    options = {"max_workers": 2, "chunksize": chunksize, "buffersize": 8}
    if kind == "two":
        first, second = Counted([i[0] for i in items]), Counted([i[1] for i in items])
        results = parallel_imap(lambda *item: both(item), first, second, **options)
        given = first
    else:
        results = parallel_imap(both, given, **options)
    found = [next(results)]
    taken = None if kind == "list" else given.taken
    for number, array in items:
        number[0] = 1
        array[:] = 1
    found += results
    old = found.index((1, 1, 1))
    assert found == [(0, 0, 0)] * old + [(1, 1, 1)] * (30 - old)
    assert 1 <= old <= 8
    assert taken in {None, old}


@pytest.mark.parametrize("kind", ["list", "iterator"])
def test_input_that_the_caller_changes_before_it_is_sent_again(np, kind, tmp_path) -> None:
    """Items that a dead worker had not begun are sent to another as they were when they were read."""
    items = [([0], np.zeros(LARGE, int)) for _ in range(6)]
    given = items if kind == "list" else iter(items)
    func = partial(die_when_told, directory=str(tmp_path))
    options = {"max_workers": 1, "chunksize": 1, "buffersize": 6, "retries": 1}
    results = parallel_imap(func, list(range(6)), given, **options)
    found = [next(results)]
    for number, array in items:
        number[0] = 1
        array[:] = 1
    (tmp_path / "changed").touch()
    found += results
    assert (tmp_path / "died").exists()
    assert set(found) <= {(0, 0, 0), (1, 1, 1)}
    assert found[:2] == [(0, 0, 0)] * 2  # the second had been read, since it ran


def die_when_told(number: int, item, directory: str) -> tuple[int, int, int]:
    if number == 1:
        while not os.path.exists(f"{directory}/changed"):
            deaths.time.sleep(0.005)
        if deaths.first_time(f"{directory}/died"):
            os.kill(os.getpid(), signal.SIGKILL)
    return both(item)


def test_submitted_arguments_that_the_caller_changes(np) -> None:
    with Pool(1) as pool:
        pool.submit(os.getpid).result(20)
        number, array = [0], np.zeros(LARGE, int)
        futures = []
        for n in range(20):
            number[0] = n
            array[:] = n
            futures.append(pool.submit(both, (number, array)))
        number[0] = array[0] = -1
        assert [future.result(20) for future in futures] == [(n, n, n) for n in range(20)]


def test_input_that_grows_while_it_is_mapped() -> None:
    items = [1, 2, 3]
    seen = []
    for result in parallel_imap(abs, items, buffersize=1):
        seen.append(result)
        if len(items) < 10:
            items.append(-len(items) - 1)
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) >= 3


# --- how far a lazy map reads ahead ------------------------------------------------------------------------------


def die_or_fail(x: int, directory: str) -> int:
    """Some items kill their worker at the first try, some take longer than others."""
    if x % 11 == 5 and deaths.first_time(f"{directory}/{x}"):
        os.kill(os.getpid(), signal.SIGKILL)
    if x % 7 == 3:
        deaths.time.sleep(0.005)
    return x


@pytest.mark.parametrize("buffersize", most_telling([1, 7, 2], 2))
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("chunksize", most_telling([5, None], 1))
def test_read_ahead_while_workers_die(buffersize, ordered, chunksize, tmp_path) -> None:
    got: list[int] = []

    def look() -> None:
        assert items.taken - len(got) < buffersize

    items = Counted(range(30), look)
    func = partial(die_or_fail, directory=str(tmp_path))
    options = {"max_workers": 2, "retries": 2, "chunksize": chunksize, "ordered": ordered}
    for result in parallel_imap(func, items, buffersize=buffersize, **options):
        got.append(result)
    assert sorted(got) == list(range(30))
    assert ordered <= (got == sorted(got))


@pytest.mark.parametrize("buffersize", [1, 3])
def test_read_ahead_of_large_items(np, buffersize) -> None:
    got = 0

    def look() -> None:
        assert items.taken - got < buffersize

    items = Counted((np.full(LARGE, n) for n in range(30)), look)
    for result in parallel_imap(deaths.same, items, buffersize=buffersize, max_workers=2):
        assert result[-1] == got
        got += 1
    assert got == 30


@pytest.mark.parametrize("executor", ["process", "thread", "serial"])
def test_read_ahead_of_async_for(executor) -> None:
    got: list[int] = []

    def look() -> None:
        assert items.taken - len(got) < 3

    items = Counted(range(-50, 0), look)

    async def consume() -> None:
        async for result in parallel_imap(abs, items, buffersize=3, executor=executor):
            got.append(result)

    asyncio.run(consume())
    assert got == list(range(50, 0, -1))


@pytest.mark.parametrize("executor", ["process", "thread"])
def test_nothing_is_read_while_nobody_asks(executor) -> None:
    """The consumer is slow, the workers are not: what they finish makes no room by itself."""
    items = Counted(itertools.count())
    with parallel_imap(abs, items, buffersize=4, executor=executor) as results:
        for n in range(5):
            assert next(results) == n
            taken = items.taken
            assert taken <= n + 1 + 4
            deaths.time.sleep(0.02)
            assert items.taken == taken


# --- much of it ---------------------------------------------------------------------------------------------------


def much(kind: str):
    import numpy

    if kind == "array":
        array = numpy.zeros(1_000_000_000, numpy.uint8)
        array[-1] = 7
        return array
    if kind == "list":
        return [bytes(1_000_000) for _ in range(1000)]
    return bytes(999_999_999) + b"\7"


@pytest.mark.skipif(not FULL, reason="takes several gigabytes; PARMAP_FULL=1")
@pytest.mark.parametrize("kind", ["array", "bytes", "list"])
@pytest.mark.parametrize("call", ["map", "imap", "submit", "process"])
@pytest.mark.timeout(300)
def test_results_of_a_gigabyte(np, kind, call) -> None:
    if call == "map":
        (result,) = parallel_map(much, [kind], max_workers=1)
    elif call == "imap":
        (result,) = parallel_imap(much, [kind], max_workers=1)
    elif call == "submit":
        with Pool(1) as pool:
            result = pool.submit(much, kind).result(200)
    else:
        result = run_in_process(much, kind)
    if kind == "list":
        assert len(result) == 1000
        assert sum(map(len, result)) == 1_000_000_000
    else:
        assert len(result) == 1_000_000_000
        assert result[-1] == 7
