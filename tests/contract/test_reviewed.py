"""What reviews have found to go wrong, each as a test."""

from __future__ import annotations

import asyncio
import decimal
import gc
import os
import threading
import time

import pytest

from parmap import (
    ParmapError,
    Pool,
    WorkerDied,
    _segments,
    _stock,
    parallel_imap,
    parallel_map,
    run_in_process,
    shutdown,
)
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


def test_a_worker_gets_the_decimal_context_when_it_imports_decimal(program):
    source = """
        from decimal import getcontext
        import parmap
        getcontext().prec = 5
        def third(x):
            import sys
            before = "decimal" in sys.modules
            from decimal import Decimal
            return before, str(Decimal(1) / 3)
        def look(x):
            import sys
            return "decimal" in sys.modules
        def third_in_a_thread(x):
            import threading
            thread = threading.Thread(target=third, args=(x,))
            thread.start()
            thread.join()
        assert parmap.run_in_process(look, 0) is False
        assert parmap.run_in_process(third, 0) == (False, "0.33333")
        found = parmap.parallel_map(third, range(4), max_workers=1)
        assert found == [(False, "0.33333")] + [(True, "0.33333")] * 3, found
        with parmap.Pool(1) as pool:
            pool.submit(third_in_a_thread, 0).result()
            assert pool.submit(third, 0).result() == (True, "0.33333")
            getcontext().prec = 6
            assert pool.submit(third, 0).result() == (True, "0.333333")
        def initialize():
            import os
            os.environ["FOO"] = "1"
        with parmap.Pool(1, initializer=initialize) as pool:
            assert pool.submit(third, 0).result() == (False, "0.333333")
        """
    program.run(source)


@pytest.mark.parametrize("way", ["map", "process", "initializer", "preload", "function"])
def test_a_worker_may_import_decimal_though_the_caller_has_not(program, way):
    source = f"""
        import sys, parmap
        def third(x):
            import fractions
            return str(fractions.Fraction(x, 3))
        def importing():
            import fractions
        class Importing:
            def __reduce__(self):
                return __import__, ("fractions",)
            def __call__(self, x): ...
        def work(way):
            if way == "map":
                assert parmap.parallel_map(third, range(3)) == ["0", "1/3", "2/3"]
            elif way == "process":
                assert parmap.run_in_process(third, 1) == "1/3"
            elif way == "function":
                try:
                    parmap.parallel_map(Importing(), [1])
                except TypeError:
                    pass  # a module cannot be called, but it is there
            else:
                options = {{"initializer": importing}} if way == "initializer" else {{"preload": ["fractions"]}}
                with parmap.Pool(1, **options) as pool:
                    assert [pool.submit(third, x).result() for x in (1, 2)] == ["1/3", "2/3"]
        work({way!r})
        assert "decimal" not in sys.modules
        """
    program.run(source)


def test_to_look_for_decimal_is_not_to_import_it(program):
    source = """
        from decimal import getcontext
        import parmap
        getcontext().prec = 5
        def third(x):
            import importlib.util
            importlib.util.find_spec("decimal")
            from decimal import Decimal
            return str(Decimal(1) / 3)
        assert parmap.run_in_process(third, 1) == "0.33333"
        """
    program.run(source)


def third_in_a_forked_worker(_):
    with Pool(1, start_method="fork") as pool:
        return pool.submit(third, 0).result()


def test_the_decimal_context_reaches_workers_of_workers():
    with decimal.localcontext(prec=5):
        assert run_in_process(third_in_a_forked_worker, 0) == "0.33333"


def look_at_variable(_):
    return os.environ.get("PARMAP_TEST_VARIABLE")


def set_another():
    os.environ["PARMAP_TEST_ANOTHER"] = "1"


def test_a_caller_whose_environment_is_a_plain_dict(monkeypatch):
    monkeypatch.setattr(os, "environ", {**os.environ, "PARMAP_TEST_VARIABLE": "1"})
    with Pool(1, initializer=set_another) as pool:
        assert pool.submit(look_at_variable, 0).result() == "1"
        del os.environ["PARMAP_TEST_VARIABLE"]
        assert pool.submit(look_at_variable, 0).result() is None


@pytest.fixture
def zone():
    """Sets the time zone, or removes it."""
    before = os.environ.get("TZ")

    def set_zone(name):
        os.environ.pop("TZ", None)
        if name is not None:
            os.environ["TZ"] = name
        time.tzset()

    yield set_zone
    set_zone(before)


def hour(_=None):
    return time.localtime(0).tm_hour, time.tzname


def set_zone_there(name):
    os.environ["TZ"] = name
    time.tzset()
    return hour()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="no zones to set")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_a_warm_worker_takes_the_callers_time_zone(zone, method):
    with Pool(1, start_method=method) as pool:
        for name in ("XST-9", "UTC0", None, "YST+5"):
            zone(name)
            assert parallel_map(hour, [1], executor=pool) == [hour()]
        assert parallel_map(set_zone_there, ["ZST-3"], executor=pool) == [(3, ("ZST", "ZST"))]
        assert parallel_map(hour, [1], executor=pool) == [hour()] == [(19, ("YST", "YST"))]


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


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)
    return "there"


def make(path):
    open(path, "w").close()


def test_a_task_is_not_stuck_behind_one_that_waits_for_it(tmp_path):
    """It had been sent ahead to a busy worker, though another could be started."""
    with Pool(2) as pool:
        for _ in range(50):
            pool.submit(abs, -1).result()
        waiting = pool.submit(wait_for, tmp_path / "made")
        time.sleep(0.2)
        making = pool.submit(make, tmp_path / "made")
        assert waiting.result(timeout=30) == "there"
        assert making.result(timeout=30) is None


@pytest.mark.parametrize("options", [{}, {"max_tasks_per_child": 1}])
def test_a_callback_may_shut_its_pool_down(options):
    """What was still to be run was lost, or refused."""
    pool = Pool(1, **options)
    futures = [pool.submit(time.sleep, 0.05) for _ in range(4)]
    futures[0].add_done_callback(lambda _: pool.shutdown())
    assert [future.result(timeout=30) for future in futures] == [None] * 4
    pool.shutdown()


def refuse():
    raise LookupError("not today")


def test_shutdown_waits_until_all_is_answered():
    seen = []

    def callback(_):
        time.sleep(0.3)
        seen.append(1)

    pool = Pool(1, initializer=refuse)
    futures = [pool.submit(abs, x) for x in range(3)]
    futures[0].add_done_callback(callback)
    while not futures[0].done():
        time.sleep(0.001)
    pool.shutdown()
    assert [future.done() for future in futures] == [True] * 3
    assert seen


def test_a_worker_that_is_being_started_is_terminated_too(monkeypatch):
    original = _stock.Stock._begin

    def slowly(*arguments):
        time.sleep(0.1)
        return original(*arguments)

    monkeypatch.setattr(_stock.Stock, "_begin", slowly)
    pool = Pool(1)
    future = pool.submit(time.sleep, 1e6)
    time.sleep(0.05)
    pool.terminate_workers()
    assert isinstance(future.exception(timeout=30), ParmapError)


def test_what_pools_that_have_ended_had_sent_is_forgotten():
    for _ in range(3):
        with Pool(1) as pool:
            assert [*map(len, parallel_map(bytearray, [1 << 21] * 3, executor=pool))] == [
                1 << 21
            ] * 3
    gc.collect()
    assert not [one for one in _segments._borrowers if one() is not None and one()._watched]


def test_a_plain_call_in_a_loop_that_runs_an_iterator():
    """It waited for a worker of the iterator, which the loop could not run meanwhile."""

    async def iterate(pool):
        return [x async for x in parallel_imap(abs, range(-20, 0), executor=pool)]

    async def call(pool):
        await asyncio.sleep(0)
        return parallel_map(abs, [-1, -2], executor=pool)

    async def both(pool):
        return await asyncio.gather(iterate(pool), call(pool))

    with Pool(1) as pool:
        assert asyncio.run(both(pool)) == [[*range(20, 0, -1)], [1, 2]]
