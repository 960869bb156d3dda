"""What reviews have found to go wrong, each as a test."""

from __future__ import annotations

import asyncio
import decimal
import os
import threading
import time

import pytest

from parmap import Pool, WorkerDied, parallel_imap, parallel_map, shutdown
from parmap._lazy import ParallelIterator


def same(x):
    return x


def adding_the_length_of(text):
    return lambda x: x + len(text)


def with_low_precision(x):
    decimal.getcontext().prec = 5
    return x


def third(x):
    return str(decimal.Decimal(1) / 3)


class DeadlyToPickle:
    def __reduce__(self):
        os._exit(3)


class Calling:
    """Calls on a pool whenever it is pickled."""

    pool: Pool

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        return Calling, (parallel_map(abs, [self.value], executor=self.pool)[0],)


def value_of(item):
    return item.value


@pytest.mark.parametrize("count", [3, 50])
def test_what_a_call_runs_in_the_caller_may_call_on_the_same_pool(count):
    """It waited for ever for a worker of the call that it was part of."""
    with Pool(1) as pool:
        for _ in range(2):
            asking = (parallel_map(abs, [x], executor=pool)[0] for x in range(count))
            assert parallel_map(same, asking, executor=pool) == [*range(count)]
            Calling.pool = pool
            items = [Calling(x) for x in range(count)]
            assert parallel_map(value_of, items, executor=pool) == [*range(count)]


def test_a_callback_may_call_on_the_same_pool():
    seen = []
    with Pool(1) as pool:
        future = pool.submit(same, 3)
        future.add_done_callback(
            lambda done: seen.append(parallel_map(same, [done.result()], executor=pool))
        )
        pool.submit(same, 4).result()
    assert seen == [[3]]


def test_tasks_of_a_loop_share_the_places_of_a_pool():
    """They run in one thread, too, and yet each can wait for what another holds."""
    seen = set()

    async def one(pool):
        async for pid in parallel_imap(pid_of, range(20), executor=pool, buffersize=2):
            seen.add(pid)

    async def both(pool):
        await asyncio.gather(one(pool), one(pool))

    with Pool(1) as pool:
        asyncio.run(both(pool))
    assert len(seen) == 1


def pid_of(_):
    return os.getpid()


def test_a_small_call_whose_function_does_not_fit_the_socket():
    func = adding_the_length_of("x" * 900_000)
    with Pool(2) as learning, Pool(2) as warm:
        parallel_map(func, range(2_000), executor=learning)
        parallel_map(abs, range(4), executor=warm)
        expected = [*range(900_000, 900_004)]
        assert parallel_map(func, range(4), executor=warm) == expected


def test_a_call_does_not_find_the_decimal_context_of_the_one_before():
    for _ in range(50):
        parallel_map(with_low_precision, range(4), max_workers=1)
        assert {*parallel_map(third, range(4), max_workers=1)} == {third(0)}


@pytest.mark.parametrize("ended_by", ["a call", "shutdown"])
def test_an_iterator_whose_end_was_lost_is_ended_by_whoever_comes_next(monkeypatch, ended_by):
    """Ctrl-C may hit its `__del__` before it has begun, and its workers ran on for ever."""
    monkeypatch.delattr(ParallelIterator, "__del__")
    iterator = parallel_imap(pid_of, range(100), max_workers=2, buffersize=4)
    pids = {next(iterator) for _ in range(10)}
    del iterator
    if ended_by == "a call":
        assert not pids & {*parallel_map(pid_of, range(2), max_workers=2)}
    else:
        shutdown()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_that_the_function_forks_and_that_comes_back_changes_nothing():
    """It wrote its own results among those of the worker."""

    def func(x):
        if x == 600 and os.fork() == 0:
            time.sleep(0.002)
            return -1
        if x % 100 == 0:
            time.sleep(0.001)
        return x

    with Pool(1) as pool:
        parallel_map(same, range(100_000), executor=pool)
        for _ in range(10):
            got = parallel_map(func, range(5_000), executor=pool, chunksize=5_000)
            assert got == [*range(5_000)]


def test_a_callback_may_wait_for_who_looks_at_the_future():
    seen = []

    def callback(future):
        other = threading.Thread(target=lambda: seen.append(future.result()))
        other.start()
        other.join(20)

    with Pool(1) as pool:
        pool.submit(same, 3).add_done_callback(callback)
        assert pool.submit(same, 4).result(timeout=30) == 4
    assert seen == [3]


def test_an_item_among_numbers_that_ends_its_worker_in_pickling_runs_once(tmp_path):
    ran = tmp_path / "ran"

    def func(x):
        if x == 1500:
            with open(ran, "a") as file:
                file.write("x")
            return DeadlyToPickle()
        return x

    parallel_map(same, range(100_000), max_workers=1)
    with pytest.raises(WorkerDied) as caught:
        parallel_map(func, range(3_000), max_workers=1, chunksize=3_000)
    assert caught.value.index == 1500
    assert ran.read_text() == "x"
