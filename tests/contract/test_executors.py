"""Executors of others, with manners of their own; and the serial one, which is `map`."""

from __future__ import annotations

import gc
import itertools
import random
import sys
import threading
import time
import weakref
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor

import pytest

from parmap import parallel_imap, parallel_map, using


class Remote(Executor):
    """Begins what it is given a moment later, in threads of its own; until then it can be cancelled."""

    def __init__(self):
        self.submitted = 0
        self._threads: list[threading.Timer] = []

    def submit(self, fn, /, *args, **kwargs):
        self.submitted += 1
        future: Future = Future()

        def begin():
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)

        self._threads.append(threading.Timer(0.01, begin))
        self._threads[-1].start()
        return future

    def shutdown(self, wait=True, **_):
        for thread in self._threads:
            thread.join()


class Cancelling(Executor):
    """Has given up."""

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future


class Merging(Executor):
    """Runs what is equal once, as Dask does."""

    def __init__(self):
        self._pool = ThreadPoolExecutor(2)
        self._known: dict[str, Future] = {}

    def submit(self, fn, /, *args, **kwargs):
        key = repr(args)
        if key not in self._known:
            self._known[key] = self._pool.submit(fn, *args, **kwargs)
        return self._known[key]

    def shutdown(self, wait=True, **_):
        self._pool.shutdown()


def square(x):
    return x * x


def draw(_):
    return random.random()


@pytest.mark.parametrize("count", [1, 6, 100])
@pytest.mark.parametrize("chunksize", [None, 1])
def test_one_that_begins_late(count, chunksize):
    """Two of its places took a chunk that waited from each other, for ever."""
    with Remote() as executor:
        results = parallel_map(square, range(count), executor=executor, chunksize=chunksize)
    assert results == [n * n for n in range(count)]
    assert executor.submitted <= 2 * count


def test_one_that_cancels():
    with pytest.raises(CancelledError, match="item"):
        parallel_map(square, range(3), executor=Cancelling())


def test_no_two_chunks_are_the_same():
    with Merging() as executor:
        drawn = parallel_map(draw, [0] * 8, executor=executor, chunksize=1)
    assert len(set(drawn)) == 8


# --- serial -------------------------------------------------------------------------------------------


def buffers():
    """One buffer, filled again and again."""
    buffer = bytearray(2)
    for n in range(6):
        buffer[:] = bytes([n, n])
        yield buffer


def summed(_):
    return parallel_map(sum, buffers())


def test_an_item_is_run_before_the_next_is_read():
    def length(pair):
        return pair[0], len(list(pair[1]))

    with using(executor="serial"):
        assert parallel_map(length, itertools.groupby("aaabbc")) == [("a", 3), ("b", 2), ("c", 1)]
        assert parallel_map(sum, buffers()) == [0, 2, 4, 6, 8, 10]
        assert [*parallel_imap(sum, buffers())] == [0, 2, 4, 6, 8, 10]
    assert parallel_map(summed, [0]) == [
        [0, 2, 4, 6, 8, 10]
    ]  # in a worker, where it is the default


@pytest.mark.parametrize("options", [{}, {"chunksize": 3}, {"on_error": "return"}, {"retries": 1}])
def test_what_is_read_and_run_takes_turns(options):
    story = []

    def items():
        for n in range(5):
            story.append(f"read {n}")
            yield n

    def func(n):
        story.append(f"run {n}")
        return n

    assert parallel_map(func, items(), executor="serial", **options) == [0, 1, 2, 3, 4]
    assert story == [f"{what} {n}" for n in range(5) for what in ("read", "run")]


def noted(count, read):
    """Numbers, and which of them have been read."""
    for n in range(count):
        read.append(n)
        yield n


def test_after_a_failure_nothing_more_is_read():
    read = []
    with pytest.raises(ZeroDivisionError) as caught:
        parallel_map(lambda n: 1 / (2 - n), noted(5, read), executor="serial")
    assert caught.value.parmap_index == 2
    assert read == [0, 1, 2]


def test_failures_among_many_stand_in_their_places():
    results = parallel_map(
        lambda n: 1 / (n % 3), (n for n in range(9)), executor="serial", on_error="return"
    )
    assert [type(one).__name__ for one in results] == ["ZeroDivisionError", "float", "float"] * 3
    assert [one.parmap_index for one in results[::3]] == [0, 3, 6]


def test_a_failure_that_is_retried():
    failed = []

    def func(n):
        if n == 2 and len(failed) < 2:
            failed.append(n)
            raise OSError
        return n

    options = {"executor": "serial", "retries": 2, "retry_on": (OSError,)}
    assert parallel_map(func, (n for n in range(5)), **options) == [0, 1, 2, 3, 4]
    assert failed == [2, 2]


@pytest.mark.parametrize("make", [list, iter], ids=["list", "iterator"])
def test_progress_is_told_of_meanwhile(make):
    told = []

    def progress(done, total):
        told.append(done)
        if done > 20:
            raise InterruptedError

    def nap(n):
        time.sleep(0.005)
        return n

    with pytest.raises(InterruptedError):
        parallel_map(nap, make(range(200)), executor="serial", progress=progress)
    assert told[0] < 20
    assert told[-1] < 200


def test_large_items_are_not_kept_until_the_end():
    import tracemalloc

    items = (bytes([n % 256]) * 1_000_000 for n in range(60))
    tracemalloc.start()
    try:
        assert parallel_map(len, items, executor="serial") == [1_000_000] * 60
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_system_exit_is_the_end_whatever_is_to_be_done_about_errors():
    read = []

    def leave(n):
        if n == 2:
            sys.exit(3)
        return n

    with pytest.raises(SystemExit):
        parallel_map(leave, noted(8, read), executor="serial", on_error="return")
    assert read == [0, 1, 2]


# --- what an error keeps --------------------------------------------------------------------------------


class Item:
    def __init__(self, n):
        self.n = n


def refuse_three(item):
    if item.n == 3:
        raise LookupError(item.n)
    return item.n


@pytest.mark.parametrize("executor", ["serial", "thread", "process"])
@pytest.mark.parametrize("call", [parallel_map, lambda *args, **kw: [*parallel_imap(*args, **kw)]])
@pytest.mark.parametrize("make", [list, iter], ids=["list", "iterator"])
@pytest.mark.parametrize("on_error", ["raise", "return"])
def test_a_call_that_failed_leaves_nothing_to_the_garbage_collector(executor, call, make, on_error):
    references = []

    def items():
        for n in range(6):
            item = Item(n)
            references.append(weakref.ref(item))
            yield item

    gc.collect()
    gc.disable()
    try:
        xs = make(items())
        try:
            results = call(refuse_three, xs, executor=executor, on_error=on_error)
        except LookupError:
            assert on_error == "raise"
        else:
            assert [type(one) for one in results] == [int] * 3 + [LookupError] + [int] * 2
            del results
        del xs
        until = time.monotonic() + 20  # a thread may not have returned yet
        while any(one() is not None for one in references) and time.monotonic() < until:
            time.sleep(0.01)
        assert sum(one() is not None for one in references) == 0
    finally:
        gc.enable()
