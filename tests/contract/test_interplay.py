"""Calls that meet: suspended iterators, cancelled tasks, ends from within, what one leaves to the next."""

from __future__ import annotations

import atexit
import itertools
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import parmap
from parmap import (
    ParmapError,
    Pool,
    SerializationError,
    WorkerDied,
    _channel,
    _process,
    _stock,
    _worker,
    parallel_imap,
    parallel_map,
)

from ..faults.harness import until


def same(x):
    return x


def nap(x):
    time.sleep(0.01)
    return x


def slow_from_20_on(x):
    time.sleep(0.02 if x >= 20 else 0)
    return x


class Remote:
    """A lazy proxy: it has any attribute that it is asked for, and each of them is another."""

    def __init__(self, path=""):
        self.path = path

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Remote(f"{self.path}/{name}")

    def __call__(self, x):
        return self.path, x


@pytest.mark.parametrize("executor", ["process", "serial"])
def test_a_function_that_has_any_attribute(executor):
    assert parallel_map(Remote().add, [1], executor=executor) == [("/add", 1)]


@pytest.mark.parametrize("mode", ["r", "w+"])
def test_an_open_text_file_is_not_copied(tmp_path, mode):
    (tmp_path / "file").write_text("text")
    with open(tmp_path / "file", mode) as file:
        with pytest.raises(SerializationError, match="inside the function"):
            parallel_map(lambda x: file.read(x) + "", [1])
        with pytest.raises(SerializationError, match="inside the function"):
            parallel_map(same, [file])


# --- pools ----------------------------------------------------------------------------------------


def test_a_suspended_iterator_does_not_hold_up_others():
    with Pool(2) as pool:
        results = parallel_imap(same, range(100_000), executor=pool)
        assert next(results) == 0
        assert pool.submit(same, 7).result(timeout=30) == 7
        assert parallel_map(same, [1, 2], executor=pool) == [1, 2]
        assert sum(results) == sum(range(1, 100_000))
        assert parallel_map(same, range(9), executor=pool) == [*range(9)]


def test_an_iterator_that_is_suspended_later_lets_others_on():
    with Pool(1) as pool:
        results = parallel_imap(nap, range(1000), executor=pool)
        other = threading.Thread(
            target=parallel_map, args=(same, [1, 2]), kwargs={"executor": pool}
        )
        next(results)
        other.start()
        for _ in range(5):
            next(results)
        other.join(30)
        assert not other.is_alive()
        results.close()


def test_others_behind_suspended_iterators_that_want_more_workers():
    """What comes free goes to who runs, and what the suspended hold does not count."""
    with Pool(3) as pool, ThreadPoolExecutor() as threads:

        def busy(count, seconds):
            items = [seconds] * count
            call = threads.submit(parallel_map, time.sleep, items, executor=pool, chunksize=1)
            time.sleep(0.1)
            return call

        calls = [busy(2, 0.5)]
        suspended = [parallel_imap(nap, range(1000), executor=pool, chunksize=1) for _ in range(2)]
        for results in suspended:
            next(results)
        calls += [busy(1, 0.5), busy(1, 0.1)]
        for call in calls:
            call.result(20)
        for results in suspended:
            results.close()


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("kind", ["input", "lazy input", "progress"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_call_that_waits_for_tasks_of_its_own_pool(size, kind, elsewhere):
    """As input or progress may; with `elsewhere` by way of another thread."""
    with Pool(size) as pool, ThreadPoolExecutor(1) as threads:

        def ask(x):
            if elsewhere:
                return threads.submit(parallel_map, same, [x, x], executor=pool).result(30)[0]
            return pool.submit(same, x).result(timeout=30)

        items = map(ask, range(4))
        if kind == "input":
            results = parallel_map(same, items, executor=pool)
        elif kind == "lazy input":
            results = list(parallel_imap(same, items, executor=pool))
        else:
            results = parallel_map(
                same, range(4), executor=pool, progress=lambda done, total: ask(done)
            )
        assert results == [*range(4)]
        stock = pool._parmap_stock
        assert until(lambda: len(stock._idle) + len(stock._leased) <= size, 30)


def test_a_pool_that_was_larger_for_a_while_is_not_for_long():
    """What was lent while an input paused is taken back, though others always wait."""
    with Pool(2) as pool, ThreadPoolExecutor(4) as threads:
        go = threading.Event()

        def pausing():
            yield from range(3)
            go.wait(30)
            yield from range(100)

        def call(items):
            return threads.submit(parallel_map, nap, items, executor=pool, chunksize=1)

        leased = pool._parmap_stock._leased
        calls = [call(pausing()), call(pausing())]
        assert until(lambda: len(leased) == 2, 30)
        calls += [call(range(100)), call(range(100))]
        assert until(lambda: len(leased) > 2, 30)
        go.set()
        assert until(lambda: len(leased) <= 2, 30)
        assert not any(call.done() for call in calls)
        for one in calls:
            one.result(60)


class Interrupted(BaseException):
    pass


def test_who_waits_for_a_place_that_an_interrupted_thread_was_seeing_to():
    """The worker whose end it waited for ends later, when nobody looks any more."""

    def interrupt(*_):
        raise Interrupted

    with Pool(1, max_tasks_per_child=1) as pool, ThreadPoolExecutor(1) as threads:
        parallel_map(end_slowly, [1], executor=pool)
        before = signal.signal(signal.SIGALRM, interrupt)
        waiting = threading.Timer(
            0.1, lambda: got.append(threads.submit(parallel_map, same, [1], executor=pool))
        )
        got = []
        try:
            waiting.start()
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(Interrupted):  # while it waits for the first worker's end
                parallel_map(end_slowly, [1], executor=pool)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        waiting.join()
        assert got[0].result(30) == [1]


def end_slowly(x):
    atexit.register(time.sleep, 0.8)
    return x


def test_who_waits_for_a_place_that_a_worker_was_to_have_which_cannot_be_started(monkeypatch):
    make = _stock.Stock._make
    tried = []

    def fail_once(stock, number):
        tried.append(number)
        if len(tried) == 1:  # as a reducer of the user's may, which runs then
            time.sleep(0.2)
            raise ZeroDivisionError
        return make(stock, number)

    monkeypatch.setattr(_stock.Stock, "_make", fail_once)
    with Pool(1) as pool, ThreadPoolExecutor(2) as threads:
        first = threads.submit(parallel_map, same, [1], executor=pool)
        assert until(lambda: tried, 30)
        second = threads.submit(parallel_map, same, [2], executor=pool)
        assert isinstance(first.exception(30), ZeroDivisionError)
        assert second.result(30) == [2]


def test_two_threads_tell_one_worker_its_end(monkeypatch):
    """One gives it back, and the other waits for the end of all that are to end."""
    flush = _channel.Channel._flush_some

    def slowly(channel):
        time.sleep(0.002)  # in which the other may do the same
        flush(channel)

    monkeypatch.setattr(_channel.Channel, "_flush_some", slowly)
    with Pool(2, max_tasks_per_child=1) as pool, ThreadPoolExecutor(4) as threads:
        calls = [
            threads.submit(parallel_map, same, [x, x], executor=pool, chunksize=1)
            for x in range(12)
        ]
        assert [call.result(30) for call in calls] == [[x, x] for x in range(12)]


def test_a_worker_that_has_yet_to_say_what_it_dropped_gets_the_next_function(monkeypatch):
    drop = _worker.Worker._drop

    def slowly(self, begin, end):
        self._report()  # so that the caller sees no reason to keep it
        time.sleep(0.05)
        return drop(self, begin, end)

    monkeypatch.setattr(_worker.Worker, "_drop", slowly)
    with Pool(2, start_method="fork") as pool, ThreadPoolExecutor() as threads:
        for _ in range(3):
            # What the second worker holds is divided when the first has nothing left.
            other = threads.submit(
                parallel_map, slow_from_20_on, range(40), chunksize=20, executor=pool
            )
            time.sleep(0.01)
            assert parallel_map(str, range(9), executor=pool) == [*map(str, range(9))]
            assert other.result(30) == [*range(40)]


def test_a_cancelled_task_does_not_hold_up_the_next():
    with Pool(1) as pool:
        pool.submit(time.sleep, 0.3)
        time.sleep(0.1)
        cancelled, wanted = pool.submit(same, 1), pool.submit(same, 2)
        cancelled.cancel()
        assert wanted.result(timeout=30) == 2


def test_terminated_workers_are_not_replaced():
    with Pool(1) as pool:
        for task in [pool.submit(same, x) for x in range(300)]:
            task.result(timeout=30)  # cheap ones: the next are sent ahead
        tasks = [pool.submit(time.sleep, 60) for _ in range(10)]
        time.sleep(0.2)
        pool.terminate_workers()
        for task in tasks:
            assert task.cancelled() or isinstance(
                task.exception(timeout=30), (WorkerDied, ParmapError)
            )


@pytest.mark.parametrize("options", [{}, {"max_tasks_per_child": 2}])
def test_a_call_goes_on_in_a_pool_that_is_shut_down(options):
    """It gets the workers that it needs, and none is kept."""
    pool = Pool(2, **options)
    begun = threading.Event()
    items = iter(lambda: begun.set() or 1, 0)  # which are read
    with ThreadPoolExecutor(1) as threads:
        got = threads.submit(
            parallel_map, nap, itertools.islice(items, 40), executor=pool, chunksize=1
        )
        assert begun.wait(30)
        pool.shutdown()
        parmap.shutdown()  # which takes away no server that the call needs
        assert got.result(30) == [1] * 40
    assert not pool._parmap_stock.in_use
    with pytest.raises(RuntimeError, match="shut down"):
        parallel_map(nap, [1], executor=pool)


def test_a_call_gets_no_worker_in_place_of_those_that_are_terminated():
    pool = Pool(2)
    with ThreadPoolExecutor(1) as threads:
        got = threads.submit(parallel_map, time.sleep, [60] * 4, executor=pool, retries=1)
        assert until(lambda: len(pool._parmap_stock._leased) == 2, 30)
        pool.terminate_workers()
        with pytest.raises((WorkerDied, RuntimeError)):
            got.result(30)
    assert not pool._parmap_stock.in_use


def test_a_second_interrupt_while_the_first_is_dealt_with(monkeypatch):
    """It is raised where the caller waits for the workers that it has killed."""
    listen = _process.Server.listen

    def interrupted(server, child, seconds):
        monkeypatch.setattr(_process.Server, "listen", listen)
        raise KeyboardInterrupt

    def interrupt(*_):
        monkeypatch.setattr(_process.Server, "listen", interrupted)
        raise KeyboardInterrupt

    with Pool(1) as pool:
        assert parallel_map(abs, [-1], executor=pool) == [1]
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(KeyboardInterrupt):
                parallel_map(time.sleep, [60], executor=pool)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert parallel_map(abs, [-1], executor=pool) == [1]


# --- from within ----------------------------------------------------------------------------------


def test_closed_by_its_own_progress():
    results = parallel_imap(nap, range(100), progress=lambda done, _: done >= 3 and results.close())
    got = list(results)
    assert got == [*range(len(got))]
    assert len(got) < 100


def test_closed_by_its_own_input():
    def items():
        for item in range(100):
            if item == 10:
                results.close()
            yield item

    results = parallel_imap(nap, items())
    got = list(results)
    assert got == [*range(len(got))]
    assert len(got) <= 10


def test_asked_for_a_result_by_its_own_input():
    def items():
        yield 1
        yield next(results)

    results = parallel_imap(same, items(), buffersize=2, chunksize=2)
    with pytest.raises(ValueError, match="its own input"):
        list(results)


def test_asked_for_a_result_by_its_own_progress():
    results = parallel_imap(nap, range(20), progress=lambda done, _: done and next(results))
    with pytest.raises(ValueError, match="its own input or progress"):
        list(results)


# --- items and results ----------------------------------------------------------------------------


def refuses_none(x):
    assert x is not None, "called with what is no item"
    return x


def test_no_function_is_called_with_an_item_that_cannot_be_sent():
    items = [(1,), (2,), threading.Lock(), (3,), (4,), threading.Lock()]
    got = parallel_map(refuses_none, items * 5, on_error="return", max_workers=1)
    for one, item in zip(got, items * 5, strict=True):
        assert isinstance(one, SerializationError) if type(item) is not tuple else one == item


def of_many_kinds(x):
    if x % 16 == 8:
        return bytearray(1 << 18)  # so large that it is sent at once
    return (x, x % 2 == 0, x + 0.5, str(x), None, 1 << 70)[x * 7 % 6]


def number_or_not(x):
    if x == 8:
        return bytearray(1 << 18)
    return x if x < 10 else x + 0.5


@pytest.mark.parametrize("func", [of_many_kinds, number_or_not])
def test_results_of_many_kinds_in_one_message(func):
    got = parallel_map(func, range(64), chunksize=64, max_workers=1)
    wanted = [*map(func, range(64))]
    assert got == wanted
    assert [*map(type, got)] == [*map(type, wanted)]


def nap_and_double(x):
    time.sleep(0.0005 * (x % 5))
    return 2 * x if x % 3 else [x]


@pytest.mark.parametrize("chunksize", [None, 7, 100, 1000])
def test_results_sent_in_the_middle_of_a_message_and_at_its_end(chunksize):
    """They are sent every fiftieth of a second, and the rest must not wait for the next message."""
    items, wanted = range(400), [*map(nap_and_double, range(400))]
    for _ in range(2):
        assert parallel_map(nap_and_double, items, chunksize=chunksize, timeout=30) == wanted
        got = parallel_imap(nap_and_double, items, chunksize=chunksize, max_workers=1)
        assert list(got) == wanted


# --- what changes between calls -------------------------------------------------------------------

TOGGLED = """
from parmap import Pool, parallel_map
N = 1
def helper(x): return x * N
def f(x): return helper(x) + N
def g(x): return N
table = {1: "a"}
get = table.get
def h(x): return get(x)
got = []
with Pool(1) as pool:
    for N in (1, 2, 1, 1.0, True, 2, 1):
        for func in (f, g):
            assert repr(parallel_map(func, [3], executor=pool)) == repr([func(3)]), (func, N)
            assert repr(pool.submit(func, 3).result()) == repr(func(3)), (func, N)
    for table[1] in "bcb":
        assert parallel_map(h, [1], executor=pool) == [h(1)]
    first = helper
    for helper in (lambda x: -x, first, lambda x: 0, first):
        assert parallel_map(f, [3], executor=pool) == [f(3)]
print("done")
"""


def test_globals_that_change_to_and_fro(program):
    assert program.run(TOGGLED) == "done\n"


CATEGORY = """
import sys, warnings, pathlib
from parmap import parallel_map, shutdown
assert parallel_map(abs, [-1], max_workers=1) == [1]
pathlib.Path("elsewhere").mkdir()
pathlib.Path("elsewhere", "categories.py").write_text("class Odd(UserWarning): pass")
sys.path.insert(0, str(pathlib.Path("elsewhere").absolute()))
import categories
warnings.simplefilter("error", categories.Odd)
def warn(x): warnings.warn("!", categories.Odd)
for _ in range(2):
    try:
        parallel_map(warn, [1], max_workers=1)
    except categories.Odd:
        print("as an error")
    shutdown()
"""


def test_a_warning_category_from_a_new_place(program):
    assert program.run(CATEGORY) == "as an error\n" * 2
