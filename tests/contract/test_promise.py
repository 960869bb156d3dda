"""What holds without being asked for."""

from __future__ import annotations

import concurrent.futures
import contextlib
import contextvars
import decimal
import functools
import os
import re
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

import parmap
from parmap import (
    CallTimeout,
    ItemTimeout,
    Pool,
    WorkerDied,
    WorkerStartError,
    parallel_imap,
    parallel_map,
    parallel_starmap,
    run_in_process,
    spawn_each,
    using,
)

chunks = pytest.mark.parametrize("chunksize", [None, 1, 3, 1000])


def same(x):
    return x


def pid(_=None):
    return os.getpid()


# --- items and results --------------------------------------------------------------------------------


@chunks
def test_a_generator_that_reuses_its_buffer(chunksize):
    def rows():
        row = [0]
        for n in range(20):
            row[0] = n
            yield row

    assert parallel_map(same, rows(), chunksize=chunksize) == [[n] for n in range(20)]
    assert list(parallel_imap(same, rows(), chunksize=chunksize)) == [[n] for n in range(20)]
    pairs = parallel_map(pair, rows(), range(20), chunksize=chunksize)
    assert pairs == [([n], n) for n in range(20)]


def pair(one, other):
    return one, other


@chunks
@pytest.mark.parametrize("size", [10, 400_000])
def test_an_array_that_is_reused(np, chunksize, size):
    def arrays():
        array = np.zeros(size)
        for n in range(8):
            array[:] = n
            yield array

    got = parallel_map(ends, arrays(), chunksize=chunksize)
    assert got == [(n, n) for n in range(8)]


def ends(array):
    return array[0], array[-1]


@chunks
def test_the_buffers_of_nditer(np, chunksize):
    def blocks():
        # Each block is a view of one buffer, which the next one fills again.
        return np.nditer(
            np.arange(40),
            ["external_loop", "buffered"],
            op_dtypes=["f8"],
            casting="safe",
            buffersize=4,
        )

    wanted = [block.tolist() for block in blocks()]
    assert len({tuple(block) for block in wanted}) == 10
    assert [b.tolist() for b in parallel_map(same, blocks(), chunksize=chunksize)] == wanted
    assert [b.tolist() for b in parallel_imap(same, blocks(), chunksize=chunksize)] == wanted


def is_shared(row):
    one, other = row
    one.append(9)
    return one is other, row


@chunks
def test_sharing_within_an_item_but_not_across(chunksize):
    inner = [1]
    items = [(inner, inner), (inner, inner)]
    got = parallel_map(is_shared, items, chunksize=chunksize)
    assert got == [(True, ([1, 9], [1, 9]))] * 2
    assert got[0][1][0] is got[0][1][1]
    assert got[0][1][0] is not got[1][1][0]
    assert inner == [1]


@chunks
def test_results_are_serialised_by_themselves(chunksize):
    got = parallel_map(remember, range(4), chunksize=chunksize, max_workers=1)
    # A warm worker remembers former calls; but each result holds just what there was when it was made.
    before = len(got[0]) - 1
    assert [len(result) - before for result in got] == [1, 2, 3, 4]
    assert all(a is not b for a in got for b in got if a is not b)


_remembered: list[int] = []


def remember(x):
    _remembered.append(x)
    return _remembered


@pytest.mark.parametrize("size", [10, 200_000, 3_000_000])
def test_arrays_are_writable_and_private(np, size):
    items = [np.full(size, n) for n in range(3)]
    got = parallel_map(double_in_place, items)
    for n, (writable, array) in enumerate(got):
        assert writable
        assert array.flags.writeable
        array += 1
        assert array[0] == array[-1] == 2 * n + 1
        assert items[n][0] == n


def double_in_place(array):
    array *= 2
    return array.flags.writeable, array


def test_large_arrays_in_partials(np):
    table = np.arange(3_000_000)
    assert parallel_map(functools.partial(look_up, table), [5, 2_999_999]) == [5, 2_999_999]
    assert parallel_map(functools.partial(look_up, table=table), [7]) == [7]


def look_up(*args, table=None):
    return (args[0] if table is None else table)[args[-1]]


def test_large_strings_and_bytes():
    items = [bytes(20_000_000), "x" * 3_000_000, bytearray(2_000_000)]
    assert parallel_map(same, items) == items


def test_kept_arrays_stay_as_they_are(np):
    with Pool(1) as pool:
        for n in range(5):
            parallel_map(keep, [np.full(400_000, n)], executor=pool)
        assert pool.submit(kept).result() == [0, 1, 2, 3, 4]


_kept = []


def keep(array):
    _kept.append(array)


def kept():
    return [int(array[-1]) for array in _kept]


# --- the caller's surroundings ------------------------------------------------------------------------


def surroundings(_=None):
    return {
        "directory": os.getcwd(),
        "path": list(sys.path),
        "variable": os.environ.get("PARMAP_TEST_VARIABLE"),
        "recursion": sys.getrecursionlimit(),
        "digits": sys.get_int_max_str_digits(),
        "decimal": str(decimal.Decimal(1) / 3),
    }


@pytest.mark.parametrize("call", ["map", "pool", "run", "spawn"])
def test_each_call_brings_its_surroundings(call, tmp_path, monkeypatch):
    def there():
        if call == "map":
            return parallel_map(surroundings, [1])[0]
        if call == "pool":
            return parallel_map(surroundings, [1], executor=pool)[0]
        if call == "run":
            return run_in_process(surroundings)
        return spawn_each(surroundings, [1])[0]

    limits = sys.getrecursionlimit(), sys.get_int_max_str_digits()
    with Pool(1) as pool, decimal.localcontext() as context:
        try:
            assert there() == surroundings()
            monkeypatch.chdir(tmp_path)
            monkeypatch.syspath_prepend(str(tmp_path / "more"))
            monkeypatch.setenv("PARMAP_TEST_VARIABLE", "ü=1")
            sys.setrecursionlimit(1234)
            sys.set_int_max_str_digits(700)
            context.prec = 5
            assert there() == surroundings()
            monkeypatch.delenv("PARMAP_TEST_VARIABLE")
            assert there() == surroundings()
        finally:
            sys.setrecursionlimit(limits[0])
            sys.set_int_max_str_digits(limits[1])


def warn(_):
    warnings.warn("look", UserWarning, stacklevel=1)
    return "warned"


def test_warning_filters():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            parallel_map(warn, [1])
        warnings.simplefilter("ignore")
        assert parallel_map(warn, [1]) == ["warned"]


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_warnings_that_are_errors_on_the_command_line(program, method):
    source = f"""
        import warnings
        from parmap import Pool, parallel_map, run_in_process
        def warn(x): warnings.warn("look", RuntimeWarning)
        def fails(call):
            try:
                call()
            except RuntimeWarning as error:
                return error.args == ("look",)
        with Pool(1, start_method={method!r}) as pool:
            assert fails(lambda: parallel_map(warn, [1], executor=pool))
        assert fails(lambda: run_in_process(warn, 1, start_method={method!r}))
        assert fails(lambda: parallel_map(warn, [1]))
        """
    program.run(source, flags=["-W", "error"])


def hashed(_):
    return hash("parmap"), os.getpid()


def test_one_hash_seed():
    def collect():
        return {value for value, _ in spawn_each(hashed, range(3))} | {
            value for value, _ in parallel_map(hashed, range(8), max_workers=2)
        }

    assert len(collect()) == 1
    with Pool(1, start_method="spawn") as pool:
        assert collect() == {pool.submit(hashed, 0).result()[0]}


# --- workers ------------------------------------------------------------------------------------------


class Function:
    """Counts how often it was loaded where it runs."""

    loaded = 0

    def __setstate__(self, state):
        type(self).loaded += 1

    def __getstate__(self):
        return {"a": 1}

    def __call__(self, x):
        return id(self), type(self).loaded, os.getpid()


def test_an_unchanged_function_is_the_same_object():
    with Pool(1) as pool:
        func = Function()
        seen = [parallel_map(func, range(3), executor=pool) for _ in range(4)]
    assert len({(identity, loaded) for call in seen for identity, loaded, _ in call}) == 1


def test_warm_workers_are_reused():
    first = set(parallel_map(pid, range(20), max_workers=2, chunksize=1))
    for _ in range(5):
        assert len(first | set(parallel_map(pid, range(20), max_workers=2, chunksize=1))) <= 2
    parmap.shutdown()
    assert not first & set(parallel_map(pid, range(20), max_workers=2, chunksize=1))


def number_and_name(_):
    import multiprocessing

    time.sleep(0.02)
    return os.environ["PARMAP_WORKER"], multiprocessing.current_process().name


def test_numbers_and_names_of_workers():
    with Pool(3) as pool:
        got = set(parallel_map(number_and_name, range(30), chunksize=1, executor=pool))
    assert {number for number, _ in got} == {"0", "1", "2"}
    assert {name for _, name in got} == {f"parmap-pool-{n}" for n in range(3)}
    with Pool(2, max_tasks_per_child=1) as pool:
        got = {n for n, _ in parallel_map(number_and_name, range(6), chunksize=1, executor=pool)}
    assert got <= {"0", "1"}


def names(_=None):
    import multiprocessing

    return multiprocessing.current_process().name, multiprocessing.parent_process().pid


def test_names_of_fresh_processes():
    assert spawn_each(names, range(3), name="job") == [(f"job-{n}", os.getpid()) for n in range(3)]
    assert spawn_each(names, range(3), name="job", limit=1)[2][0] == "job-2"
    assert run_in_process(names, name="alone") == ("alone", os.getpid())


def speak(x):
    print("line", x)
    print("to stderr", x, file=sys.stderr)
    return x


@pytest.mark.parametrize("call", ["map", "imap", "run", "spawn", "submit"])
def test_what_workers_print_arrives_in_whole_lines(call, capsys):
    if call == "map":
        parallel_map(speak, range(50), max_workers=2, chunksize=1)
    elif call == "imap":
        list(parallel_imap(speak, range(50), max_workers=2))
    elif call == "spawn":
        spawn_each(speak, range(50), limit=4)
    elif call == "run":
        for n in range(5):
            run_in_process(speak, n)
    else:
        with Pool(2) as pool:
            for future in [pool.submit(speak, n) for n in range(50)]:
                future.result()
    count = 5 if call == "run" else 50
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()) == sorted(f"line {n}" for n in range(count))
    assert sorted(err.splitlines()) == sorted(f"to stderr {n}" for n in range(count))


def test_print_before_a_failure(capsys):
    with pytest.raises(ZeroDivisionError):
        parallel_map(speak_and_fail, [1])
    assert capsys.readouterr().out == "line 1\nno end"


def speak_and_fail(x):
    speak(x)
    print("no end", end="")
    return 1 / 0


def nested(x):
    return os.getpid(), parallel_map(pid, range(4)), parallel_map(pid, range(4), max_workers=2)


def test_nested_calls():
    with Pool(2) as pool:  # whose end is that of its workers' own workers
        for mine, serial, parallel in parallel_map(nested, range(3), executor=pool):
            assert set(serial) == {mine}
            assert mine not in parallel


@pytest.mark.parametrize("method", ["forkserver", "fork"])
@pytest.mark.parametrize("said", ["by the variable", "by using", "by using a pool"])
def test_nested_calls_are_serial_whatever_the_default_of_the_caller(monkeypatch, method, said):
    with Pool(2, start_method=method) as pool, contextlib.ExitStack() as stack:
        if said == "by the variable":
            monkeypatch.setenv("PARMAP_EXECUTOR", "process")
        else:
            stack.enter_context(using(executor="process" if said == "by using" else pool))
        for mine, serial, _ in parallel_map(nested, range(2), executor=pool):
            assert set(serial) == {mine}


variable = contextvars.ContextVar("variable", default=0)


def read_and_set(x):
    seen = variable.get()
    variable.set(x)
    return seen


def test_threads_run_in_a_copy_of_the_context():
    token = variable.set(7)
    try:
        assert parallel_map(read_and_set, range(9), executor="thread", max_workers=2) == [7] * 9
        assert variable.get() == 7
    finally:
        variable.reset(token)


# --- defaults -----------------------------------------------------------------------------------------


def test_using():
    with using(executor="serial"):
        assert set(parallel_map(pid, range(3))) == {os.getpid()}
        assert os.getpid() not in parallel_map(pid, range(3), executor="process")
        with using(executor="process", max_workers=1):
            assert len(set(parallel_map(pid, range(30), chunksize=1)) | {os.getpid()}) == 2
    assert os.getpid() not in parallel_map(pid, range(3))


def test_one_using_in_two_threads():
    """Who has entered first leaves first."""
    serial = using(executor="serial")
    entered, left = threading.Event(), threading.Event()

    def other():
        with serial:
            entered.set()
            assert left.wait(30)
            return pid() in parallel_map(pid, range(3))

    with ThreadPoolExecutor(1) as threads:
        with serial:
            inside = threads.submit(other)
            assert entered.wait(30)
        left.set()
        assert inside.result(30)
    assert pid() not in parallel_map(pid, range(3))


def test_environment_variables(monkeypatch, capsys):
    monkeypatch.setenv("PARMAP_EXECUTOR", "serial")
    assert set(parallel_map(pid, range(3))) == {os.getpid()}
    monkeypatch.setenv("PARMAP_EXECUTOR", "nonsense")
    with pytest.raises(ValueError, match="PARMAP_EXECUTOR"):
        parallel_map(pid, range(3))
    monkeypatch.delenv("PARMAP_EXECUTOR")
    monkeypatch.setenv("PARMAP_MAX_WORKERS", "1")
    assert len(set(parallel_map(pid, range(30), chunksize=1))) == 1
    monkeypatch.setenv("PARMAP_DEBUG", "1")
    capsys.readouterr()
    parallel_map(abs, range(10))
    assert re.match(
        r"parmap: parallel_map\(abs\): 10 items in \d+ chunks, ", capsys.readouterr().err
    )


# --- progress, time, retries --------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["process", "thread", "serial"])
@pytest.mark.parametrize("kind", [list, iter])
def test_progress(executor, kind):
    calls = []

    def progress(done, total):
        calls.append((done, total, threading.get_ident()))

    parallel_map(same, kind(range(40)), progress=progress, executor=executor, chunksize=5)
    done = [done for done, _, _ in calls]
    assert done == sorted(done)
    assert done[-1] == 40
    assert {total for _, total, _ in calls} == (
        {40} if kind is list else {None, 40} & {t for _, t, _ in calls}
    )
    assert {thread for _, _, thread in calls} == {threading.get_ident()}


def test_a_progress_bar(capsys):
    parallel_map(same, range(10), progress="squares")
    assert "squares: 100%" in capsys.readouterr().err
    parallel_map(same, range(10), progress={"desc": "other", "unit": "file"})
    assert "other: 100%" in capsys.readouterr().err


def test_a_progress_that_raises():
    def progress(done, total):
        raise LookupError

    with pytest.raises(LookupError):
        parallel_map(same, range(10), progress=progress)
    assert parallel_map(same, [1]) == [1]


def sleep_at_two(x):
    if x == 2:
        time.sleep(60)
    return x


def test_timeout_raises():
    with pytest.raises(CallTimeout) as info:
        parallel_map(sleep_at_two, range(4), timeout=3.0, max_workers=2, chunksize=1)
    error = info.value
    assert isinstance(error, TimeoutError)
    assert (error.seconds, error.done, error.total) == (3.0, 3, 4)
    assert error.results == {0: 0, 1: 1, 3: 3}
    assert parallel_map(same, [1]) == [1]


def test_timeout_returns():
    got = parallel_map(
        sleep_at_two, range(4), timeout=3.0, max_workers=2, chunksize=1, on_error="return"
    )
    assert type(got[2]) is CallTimeout
    assert got[:2] + got[3:] == [0, 1, 3]


def test_timeout_of_threads():
    release = threading.Event()

    def wait(x):
        release.wait(20)

    try:
        with pytest.raises(CallTimeout):
            parallel_map(wait, range(3), timeout=0.2, executor="thread", max_workers=2)
    finally:
        release.set()


@chunks
def test_item_timeout(chunksize):
    got = parallel_map(
        sleep_at_two,
        range(6),
        item_timeout=1.0,
        max_workers=2,
        chunksize=chunksize,
        on_error="return",
    )
    assert type(got[2]) is ItemTimeout
    assert (got[2].index, got[2].seconds, got[2].parmap_index) == (2, 1.0, 2)
    assert got[:2] + got[3:] == [0, 1, 3, 4, 5]
    with pytest.raises(ItemTimeout):
        parallel_map(sleep_at_two, range(6), item_timeout=0.3, max_workers=2, chunksize=chunksize)


def test_timeouts_of_fresh_processes():
    with pytest.raises(CallTimeout):
        run_in_process(sleep_at_two, 2, timeout=0.3)
    got = spawn_each(sleep_at_two, range(4), item_timeout=1.0, on_error="return")
    assert type(got[2]) is ItemTimeout
    with pytest.raises(CallTimeout):
        spawn_each(sleep_at_two, range(4), timeout=0.5)


class Flaky:
    """Fails so many times for odd items, then does what it should."""

    def __init__(self, folder, times, error=ValueError):
        self.folder, self.times, self.error = str(folder), times, error

    def __call__(self, x):
        path = os.path.join(self.folder, str(x))
        with open(path, "a") as file:
            file.write("x")
        if x % 2 and os.path.getsize(path) <= self.times:
            raise self.error(x)
        return x


@chunks
@pytest.mark.parametrize("executor", ["process", "thread", "serial"])
def test_retries(tmp_path, chunksize, executor):
    options = {"chunksize": chunksize, "executor": executor, "retry_on": (ValueError,)}
    assert parallel_map(Flaky(tmp_path, 2), range(6), retries=2, **options) == list(range(6))
    assert [(tmp_path / str(n)).stat().st_size for n in range(6)] == [1, 3, 1, 3, 1, 3]


def test_retries_are_not_endless(tmp_path):
    with pytest.raises(ValueError) as info:
        parallel_map(Flaky(tmp_path, 9), range(6), retries=2, retry_on=(ValueError,))
    assert info.value.parmap_index == 1
    assert (tmp_path / "1").stat().st_size == 3
    with pytest.raises(KeyError):
        parallel_map(Flaky(tmp_path, 9, KeyError), range(6), retries=2, retry_on=(ValueError,))


# --- Pool ---------------------------------------------------------------------------------------------

_set = []


def set_up(*args):
    _set.append(args)


def what_was_set(_=None):
    return _set


def refuse():
    raise LookupError("not today")


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_initializer(method):
    with Pool(2, initializer=set_up, initargs=(1, [2]), start_method=method) as pool:
        assert parallel_map(what_was_set, range(4), executor=pool) == [[(1, [2])]] * 4


def test_an_initializer_that_raises():
    with Pool(1, initializer=refuse) as pool, pytest.raises(WorkerStartError, match="not today"):
        parallel_map(same, [1], executor=pool)


def test_max_tasks_per_child():
    with Pool(1, max_tasks_per_child=2) as pool:
        pids = parallel_map(pid, range(6), executor=pool)
    assert [pids.count(one) for one in sorted(set(pids), key=pids.index)] == [2, 2, 2]


def is_loaded(name):
    return name in sys.modules


def test_preload():
    with Pool(1, preload=["colorsys"]) as pool:
        assert pool.submit(is_loaded, "colorsys").result()
    with Pool(1) as pool:
        assert not pool.submit(is_loaded, "colorsys").result()


def test_submit_and_map():
    with Pool(2) as pool:
        futures = [pool.submit(pow, 2, n) for n in range(20)]
        assert [future.result(timeout=30) for future in futures] == [2**n for n in range(20)]
        assert all(isinstance(future, concurrent.futures.Future) for future in futures)
        failed = pool.submit(divmod, 1, 0)
        assert isinstance(failed.exception(timeout=30), ZeroDivisionError)
        for chunksize in (None, 1, 3):
            assert list(pool.map(pow, range(9), range(9), chunksize=chunksize)) == [
                n**n for n in range(9)
            ]
        results = pool.map(divmod, [1, 1], [1, 0])
        assert next(results) == (1, 0)
        with pytest.raises(ZeroDivisionError):
            next(results)
        assert len(list(concurrent.futures.as_completed(futures))) == 20
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(abs, 1)


def wait_for(file):
    until = time.monotonic() + 20
    while not os.path.exists(file):
        assert time.monotonic() < until, "nobody let it go on"
        time.sleep(0.01)


def touch(file):
    with open(file, "w"):
        pass


def test_a_worker_that_submitted_tasks_left_serves_another_call(tmp_path):
    """Though their plan still waits for a second one, which a call has that waits for another call."""
    file = str(tmp_path / "go")
    with Pool(2) as pool, concurrent.futures.ThreadPoolExecutor(1) as thread:
        parallel_map(abs, range(100), executor=pool)
        first = thread.submit(parallel_map, wait_for, [file], executor=pool, max_workers=1)
        time.sleep(0.2)
        for task in [pool.submit(time.sleep, 0.05) for _ in range(4)]:
            task.result(timeout=30)
        parallel_map(touch, [file], executor=pool, max_workers=1)
        first.result(timeout=30)


def test_each_task_runs_in_the_surroundings_of_its_submit(monkeypatch):
    with Pool(1) as pool:
        pool.submit(time.sleep, 0.2)  # so that they wait for it side by side
        tasks = []
        for name in ("a", "b", "b", "c"):
            monkeypatch.setenv("PARMAP_TEST_SURROUNDINGS", name)
            tasks.append(pool.submit(os.getenv, "PARMAP_TEST_SURROUNDINGS"))
        assert [task.result(timeout=30) for task in tasks] == ["a", "b", "b", "c"]


def test_a_future_whose_lock_is_lost_holds_up_no_other():
    """Ctrl-C may hit who waits for it where `threading.Condition` has just taken the lock."""
    with Pool(1) as pool:
        lost = pool.submit(time.sleep, 0.2)
        thread = threading.Thread(target=lost._condition.acquire)
        thread.start()
        thread.join()
        assert pool.submit(abs, -1).result(timeout=30) == 1


def test_map_times_out():
    with Pool(1) as pool:
        assert pool.submit(abs, -1).result() == 1  # the worker is there
        results = pool.map(sleep_at_two, [1, 2], timeout=2.0)
        assert next(results) == 1
        with pytest.raises(TimeoutError):
            next(results)
        pool.terminate_workers()


def nap(x):
    time.sleep(0.05)
    return x


def test_shutdown_finishes_what_is_pending():
    pool = Pool(1)
    futures = [pool.submit(nap, n) for n in range(6)]
    pool.shutdown(wait=True)
    assert [future.result(timeout=0) for future in futures] == list(range(6))


def test_shutdown_without_waiting():
    pool = Pool(1)
    futures = [pool.submit(nap, n) for n in range(4)]
    pool.shutdown(wait=False)
    assert [future.result(timeout=30) for future in futures] == list(range(4))
    pool.shutdown()


def test_shutdown_cancels():
    pool = Pool(1)
    futures = [pool.submit(nap, n) for n in range(40)]
    assert futures[0].result(timeout=30) == 0
    pool.shutdown(cancel_futures=True)
    assert all(future.done() for future in futures)
    assert any(future.cancelled() for future in futures)
    for future, n in zip(futures, range(40), strict=True):
        assert future.cancelled() or future.result() == n


def test_cancel():
    with Pool(1) as pool:
        futures = [pool.submit(nap, n) for n in range(30)]
        cancelled = futures[-1].cancel()
        assert futures[0].result(timeout=30) == 0
        assert cancelled
        assert futures[-1].cancelled()
        assert futures[-2].result(timeout=30) == 28


def die(_=None):
    os._exit(3)


def test_a_dead_worker_fails_its_own_task_only():
    with Pool(2) as pool:
        futures = [pool.submit(die if n == 5 else nap, n) for n in range(12)]
        for n, future in enumerate(futures):
            if n == 5:
                assert isinstance(future.exception(timeout=30), WorkerDied)
            else:
                assert future.result(timeout=30) == n


def test_terminate_workers():
    pool = Pool(1)
    future = pool.submit(time.sleep, 60)
    waiting = pool.submit(abs, 1)
    while not future.running():
        time.sleep(0.01)
    time.sleep(0.2)
    pool.terminate_workers()
    assert isinstance(future.exception(timeout=10), WorkerDied)
    assert waiting.cancelled() or isinstance(waiting.exception(timeout=10), Exception)


class Owner:
    def __init__(self, pool):
        self.pool = pool

    def work(self, x):
        return self.pool.submit(pow, x, 2).result(), list(self.pool.map(abs, [-x]))


def test_objects_that_carry_their_pool():
    with Pool(2) as pool:
        assert parallel_map(Owner(pool).work, [1, 2], executor=pool) == [(1, [1]), (4, [2])]


def test_threads_share_a_pool():
    got = {}
    with Pool(2) as pool:

        def call(n):
            got[n] = parallel_map(pow, range(50), [n] * 50, executor=pool)

        threads = [threading.Thread(target=call, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        futures = [pool.submit(abs, -n) for n in range(20)]
        for thread in threads:
            thread.join()
        assert [future.result() for future in futures] == list(range(20))
    assert got == {n: [x**n for x in range(50)] for n in range(4)}


def test_threads_call_at_the_same_time():
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        futures = [
            threads.submit(parallel_map, same, range(n, n + 100), max_workers=2) for n in range(8)
        ]
        assert [f.result() for f in futures] == [list(range(n, n + 100)) for n in range(8)]
    parmap.shutdown()


def test_a_closed_pool():
    with Pool(1) as pool:
        pass
    with pytest.raises(RuntimeError, match="shut down"):
        parallel_map(abs, [1], executor=pool)


# --- fresh processes ----------------------------------------------------------------------------------


def test_spawn_each_is_side_by_side(tmp_path):
    assert spawn_each(functools.partial(meet, tmp_path), range(4)) == [4] * 4


def meet(folder, x):
    (folder / str(x)).touch()
    until = time.monotonic() + 20
    while len(list(folder.iterdir())) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    return len(list(folder.iterdir()))


def test_spawn_each_without_a_limit():
    many = max(64, 8 * parmap.available_cpus()) + 1
    with pytest.raises(ValueError, match="limit"):
        spawn_each(same, range(many))
    assert spawn_each(same, range(5), limit=2) == list(range(5))
    assert spawn_each(same, []) == []


def wait_or_fail(x):
    if x == 3:
        raise LookupError(x)
    time.sleep(60)


def test_the_first_failure_in_time_ends_the_others():
    began = time.monotonic()
    with pytest.raises(LookupError) as info:
        spawn_each(wait_or_fail, range(5))
    assert info.value.parmap_index == 3
    assert time.monotonic() - began < 30


def test_spawn_each_returns_errors():
    got = spawn_each(divmod, [1, 1], [1, 0], on_error="return")
    assert got[0] == (1, 0)
    assert type(got[1]) is ZeroDivisionError
    with pytest.raises(ValueError, match="strict|shorter|longer"):
        spawn_each(divmod, [1, 1], [1], strict=True)


def test_each_has_its_own_process():
    pids = spawn_each(pid, range(4))
    assert len({*pids, os.getpid()}) == 5
    assert run_in_process(pid) not in pids


def put(queue, x):
    queue.put(x * x)


def test_queues_under_the_default_start_method():
    import multiprocessing

    queue = multiprocessing.Queue()
    try:
        run_in_process(put, queue, 3)
        assert queue.get(timeout=20) == 9
        spawn_each(put, [queue] * 2, [4, 5])
        assert sorted(queue.get(timeout=20) for _ in range(2)) == [16, 25]
    finally:
        queue.close()
        queue.join_thread()


def test_starmap_returns_errors():
    got = parallel_starmap(divmod, [(4, 2), (1, 0)], on_error="return")
    assert got[0] == (2, 0)
    assert type(got[1]) is ZeroDivisionError
