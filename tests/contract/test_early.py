"""What is done is heard of though a slow item follows it: else who waits for it may wait for ever."""

from __future__ import annotations

import asyncio
import dis
import importlib
import io
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy
import pytest

import parmap
from parmap import Pool, _results, parallel_imap, parallel_map, using
from parmap._early import LOOK, Watch
from parmap._runner import Runner

SLOW = 7  # the item that waits until somebody has seen the one before it
COUNT = 40
MERCY = 30.0


class Thing:
    """What has to be pickled by itself."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return type(other) is Thing and other.value == self.value

    def __hash__(self):
        return hash(self.value)


KINDS = {
    "int": int,
    "float": float,
    "truth": lambda x: x % 2 == 0,
    "text": str,
    "pair": lambda x: (x, str(x)),
    "thing": Thing,
    "array": lambda x: numpy.full(3, x).tobytes(),
    "mixed": lambda x: (int, str, Thing, float)[x % 4](x),
    "int, then text": lambda x: x if x < 4 else str(x),
}


def wait_for(path):
    until = time.monotonic() + MERCY
    while not os.path.exists(path):
        if time.monotonic() > until:
            raise TimeoutError(path)
        time.sleep(0.01)


def item(x, path, kind):
    if x == SLOW:
        wait_for(path)
    return KINDS[kind](x)


def failing_item(x, path):
    if x == SLOW:
        wait_for(path)
        return x
    raise ValueError(x)


def see_through(results, path):
    """All results, of which the slow one waits until this has seen all before it."""
    seen = []
    for result in results:
        seen.append(result)
        if len(seen) == SLOW:
            path.touch()
    return seen


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {}) for kind in KINDS),
        *((kind, {"item_timeout": MERCY}) for kind in ("int", "thing")),
        *((kind, {"chunksize": COUNT}) for kind in ("int", "mixed")),
    ],
)
def test_results_before_a_slow_item_are_handed_out(tmp_path, kind, options):
    path = tmp_path / "seen"
    results = parallel_imap(
        item,
        range(COUNT),
        itertools.repeat(path),
        itertools.repeat(kind),
        max_workers=1,
        **options,
    )
    assert see_through(results, path) == [KINDS[kind](x) for x in range(COUNT)]


@pytest.mark.parametrize("kind", KINDS)
def test_results_before_a_slow_item_of_a_known_function_are_handed_out(tmp_path, kind):
    path = tmp_path / "seen"

    def one(x):
        if x == 1000 + SLOW:
            wait_for(path)
        return KINDS[kind](x)

    expected = [KINDS[kind](x) for x in range(1000, 5000)]
    with using(max_workers=1):
        parallel_map(one, range(5000, 20_000))  # they take no time, so all travel together
        assert see_through(parallel_imap(one, range(1000, 5000)), path) == expected


def test_errors_before_a_slow_item_are_handed_out(tmp_path):
    path = tmp_path / "seen"
    results = parallel_imap(
        failing_item, range(COUNT), itertools.repeat(path), max_workers=1, on_error="return"
    )
    seen = see_through(results, path)
    assert seen.pop(SLOW) == SLOW
    assert all(type(error) is ValueError for error in seen)


def test_results_as_they_come(tmp_path):
    path = tmp_path / "seen"
    arguments = range(COUNT), itertools.repeat(path), itertools.repeat("text")
    results = parallel_imap(item, *arguments, max_workers=1, ordered=False)
    assert sorted(see_through(results, path)) == sorted(map(str, range(COUNT)))


def test_async(tmp_path):
    path = tmp_path / "seen"

    async def see():
        arguments = range(COUNT), itertools.repeat(path), itertools.repeat("int")
        seen = []
        async for result in parallel_imap(item, *arguments, max_workers=1):
            seen.append(result)
            if len(seen) == SLOW:
                path.touch()
        return seen

    assert asyncio.run(see()) == [*range(COUNT)]


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_however_workers_are_started(tmp_path, start_method):
    path = tmp_path / "seen"
    arguments = range(COUNT), itertools.repeat(path), itertools.repeat("text")
    with Pool(1, start_method=start_method) as pool:
        results = parallel_imap(item, *arguments, executor=pool)
        assert see_through(results, path) == [*map(str, range(COUNT))]


def test_tasks_before_a_slow_one_are_answered(tmp_path):
    path = tmp_path / "seen"
    with Pool(1) as pool:
        pool.submit(str, 0).result()
        quick = [pool.submit(str, x) for x in range(50)]
        slow = pool.submit(wait_for, path)
        assert [future.result(MERCY) for future in quick] == [*map(str, range(50))]
        path.touch()
        assert slow.result() is None


def test_a_function_in_c_is_interrupted():
    reading, writing = os.pipe()
    ready, filled = os.pipe()
    os.write(filled, b"x" * SLOW)
    fds = [ready] * SLOW + [reading]
    seen = []
    with Pool(1, start_method="fork") as pool:
        for result in parallel_imap(os.read, fds, itertools.repeat(1), executor=pool):
            seen.append(result)
            if len(seen) == SLOW:
                os.write(writing, b"y")
    assert seen == [b"x"] * SLOW + [b"y"]
    for fd in (reading, writing, ready, filled):
        os.close(fd)


def nested(x, path):
    if x == SLOW:
        return parallel_map(wait_for, [path], max_workers=1)
    return x


def in_a_loop(x, path):
    if x == SLOW:
        return asyncio.run(asyncio.wait_for(asyncio.to_thread(wait_for, path), MERCY))
    return x


@pytest.mark.parametrize("func", [nested, in_a_loop])
def test_items_that_wait_for_others(tmp_path, func):
    path = tmp_path / "seen"
    with Pool(1) as pool:
        results = parallel_imap(func, range(COUNT), itertools.repeat(path), executor=pool)
        assert see_through(results, path)[SLOW + 1 :] == [*range(SLOW + 1, COUNT)]


def see_in_a_forked_worker(path):
    arguments = range(COUNT), itertools.repeat(path), itertools.repeat("int")
    with Pool(1, start_method="fork") as pool:
        return see_through(parallel_imap(item, *arguments, executor=pool), path)


def test_workers_forked_from_a_worker(tmp_path):
    with Pool(1) as pool:
        assert pool.submit(see_in_a_forked_worker, tmp_path / "seen").result() == [*range(COUNT)]


def talk_beside(x, path):
    """Have a thread that sends as well."""
    if x == SLOW:
        stop = threading.Event()

        def talk():
            while not stop.is_set():
                print("x" * 60_000)

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            wait_for(path)
            time.sleep(8 * LOOK)
        finally:
            stop.set()
            thread.join()
    return x


def test_threads_of_an_item_may_print_meanwhile(tmp_path, monkeypatch):
    class Slowly(io.StringIO):
        def write(self, text):
            time.sleep(0.01)
            return len(text)

    monkeypatch.setattr(sys, "stdout", Slowly())
    path = tmp_path / "seen"
    arguments = range(COUNT), itertools.repeat(path)
    with Pool(1) as pool:
        results = parallel_imap(talk_beside, *arguments, chunksize=COUNT, executor=pool)
        assert see_through(results, path) == [*range(COUNT)]


def is_urged(x):
    """Whether somebody urges this worker meanwhile, which then tells nothing."""
    if x != SLOW:
        return None
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGURG])
    try:
        return signal.sigtimedwait([signal.SIGURG], 10 * LOOK) is not None
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGURG])


def test_only_where_somebody_could_hear_of_it():
    with Pool(1) as pool:
        options = {"chunksize": COUNT, "executor": pool}
        assert not parallel_map(is_urged, range(COUNT), **options)[SLOW]
        assert parallel_map(is_urged, range(COUNT), **options, progress=lambda *_: None)[SLOW]
        assert [*parallel_imap(is_urged, range(COUNT), **options)][SLOW]


# --- whom it must not concern ------------------------------------------------------------------------


def handle_it(log):
    signal.signal(signal.SIGURG, lambda *_: log.touch())


def linger(x):
    if x == SLOW:
        time.sleep(8 * LOOK)
    return x


def test_a_handler_of_the_initializer_is_left_alone(tmp_path):
    log = tmp_path / "handled"
    with Pool(1, initializer=handle_it, initargs=(log,)) as pool:
        results = parallel_imap(linger, range(COUNT), chunksize=COUNT, executor=pool)
        assert [*results] == [*range(COUNT)]
    assert not log.exists()


def test_a_handler_of_a_forking_caller_is_left_alone(tmp_path):
    log = tmp_path / "handled"
    before = signal.signal(signal.SIGURG, lambda *_: log.touch())
    try:
        with Pool(1, start_method="fork") as pool:
            results = parallel_imap(linger, range(COUNT), chunksize=COUNT, executor=pool)
            assert [*results] == [*range(COUNT)]
    finally:
        signal.signal(signal.SIGURG, before)
    assert not log.exists()


MODULE = """
import signal, time

log = []
signal.signal(signal.SIGURG, lambda *_: log.append(1))

def linger(x):
    if x == 7:
        time.sleep(0.4)
    return len(log)
"""


def test_a_handler_of_a_module_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "handling.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.getsignal(signal.SIGURG)
    try:
        handling = importlib.import_module("handling")
        with Pool(1) as pool:
            results = parallel_imap(handling.linger, range(COUNT), chunksize=COUNT, executor=pool)
            assert not any(results)
    finally:
        signal.signal(signal.SIGURG, before)


def run_shell(x, path, log):
    if x == SLOW:
        script = f"trap 'touch {log}' URG; while [ ! -e {path} ]; do sleep 0.01; done"
        subprocess.run(["sh", "-c", script], check=True, timeout=MERCY)
    return x


@pytest.mark.parametrize("start_method", ["spawn", None])
def test_what_an_item_has_started_is_left_alone(tmp_path, start_method):
    path, log = tmp_path / "seen", tmp_path / "handled"
    arguments = range(COUNT), itertools.repeat(path), itertools.repeat(log)
    with Pool(1, start_method=start_method) as pool:
        results = parallel_imap(run_shell, *arguments, executor=pool)
        assert see_through(results, path) == [*range(COUNT)]
    assert not log.exists()


def fork_and_linger(x):
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGURG)
        os._exit(len([*range(x)]))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_process_that_an_item_has_forked_tells_nothing():
    assert parallel_map(fork_and_linger, range(5), max_workers=1) == [*range(5)]


# --- at any moment -----------------------------------------------------------------------------------


def bombard():
    """Urge this worker again and again, wherever it is."""
    pid = os.getpid()

    def urge():
        dice = random.Random(pid)
        while True:
            os.kill(pid, signal.SIGURG)
            time.sleep(dice.random() * 0.0005)

    threading.Thread(target=urge, daemon=True).start()


def urge_at_each_step(share):
    """Urge this worker between the instructions of all functions from here on, a share of them."""
    heed = signal.getsignal(signal.SIGURG)
    dice = random.Random(os.getpid())

    def trace(frame, _event, _arg):
        frame.f_trace_opcodes = True
        if dice.random() < share:
            heed(signal.SIGURG, frame)
        return trace

    sys.settrace(trace)


class Slotted:
    """What runs code of its own as it is pickled."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        value = self.value
        return Slotted, (value,)

    def __eq__(self, other):
        return type(other) is Slotted and other.value == self.value

    def __hash__(self):
        return hash(self.value)


#: Kinds whose results are many enough to have places in shared memory.
NUMBERS = (
    "int",
    "float",
    "truth",
    "whole and truth",
    "whole and real",
    "now and then",
    "ever larger",
)

STEPPED = KINDS | {
    "slotted": Slotted,
    "whole and truth": lambda x: x if x % 6 < 3 else x % 4 == 0,
    "whole and real": lambda x: x if x % 6 < 3 else x / 2,
    "now and then": lambda x: Slotted(x) if x % 10 == 0 else x,
    "ever larger": lambda x: 2 ** (x // 40),
    "large": lambda x: numpy.full(1 << 18, x) if x % 50 == 0 else x,
}


def talk(x):
    if x % 50 == 0:
        print(x)
    return KINDS["mixed"](x) if x % 1000 < 500 else x


def fail_sometimes(x):
    if x % 7 == 0:
        raise ValueError(x)
    return x if x % 1000 < 500 else str(x)


@pytest.mark.parametrize("kind", KINDS)
def test_results_are_the_same_whenever_they_are_told(kind):
    func, count = KINDS[kind], 20_000
    with Pool(2, initializer=bombard) as pool:
        assert parallel_map(func, range(count), executor=pool) == [*map(func, range(count))]


def same(one, other):
    return type(one) is type(other) and numpy.array_equal(one, other)


@pytest.mark.parametrize("kind", STEPPED)
def test_results_are_the_same_wherever_the_worker_is_urged(kind):
    func = STEPPED[kind]
    count = 2500 if kind in NUMBERS else 500
    expected = [*map(func, range(count))]
    with Pool(1) as pool:
        parallel_map(int, range(100_000), executor=pool)  # numbers have their places from here on
        pool.submit(urge_at_each_step, 0.02).result()
        for options in ({}, {"item_timeout": MERCY}, {"chunksize": 70}):
            results = parallel_map(func, range(count), executor=pool, **options)
            assert len(results) == count
            assert all(map(same, results, expected))


def urge_in_the_loops():
    """Urge this worker at one instruction of its loops after the other, with many runs to a message."""
    dice = random.Random(os.getpid())
    loops = [
        way.__code__ for name, way in vars(Runner).items() if name.startswith(("_run", "_place"))
    ]
    targets = [(loop, step.offset) for loop in loops for step in dis.get_instructions(loop)]
    heed = signal.getsignal(signal.SIGURG)
    target, age = dice.choice(targets), 0
    _results.SLICE = 1e9

    def pace(self, _seconds, _count):
        self.length = dice.choice([1, 2, 5, 30, 300, 700])

    def trace_loop(frame, event, _arg):
        nonlocal target, age
        if event == "opcode":
            age += 1
            if target == (frame.f_code, frame.f_lasti):
                heed(signal.SIGURG, frame)
                age = 3000
            if age == 3000:
                target, age = dice.choice(targets), 0
        return trace_loop

    def trace(frame, _event, _arg):
        if frame.f_code not in loops:
            return None
        frame.f_trace_opcodes = True
        return trace_loop

    Runner.pace = pace
    sys.settrace(trace)


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_are_the_same_wherever_the_loops_are_interrupted(kind):
    func, count = STEPPED[kind], 8000
    with Pool(1) as pool:
        parallel_map(int, range(100_000), executor=pool)
        pool.submit(urge_in_the_loops).result()
        for options in ({}, {"item_timeout": MERCY}, {"chunksize": 700}):
            results = parallel_map(func, range(count), executor=pool, **options)
            assert len(results) == count
            assert all(map(same, results, map(func, range(count))))


@pytest.mark.parametrize("share", [1, 0.05])
def test_items_and_errors_are_the_same_wherever_the_worker_is_urged(share):
    things = [*map(Slotted, range(200))]
    with Pool(1, initializer=urge_at_each_step, initargs=(share,)) as pool:
        assert parallel_map(lambda thing: thing, things, executor=pool) == things
        results = parallel_map(fail_sometimes, range(900), executor=pool, on_error="return")
        with pytest.raises(ValueError, match="700"):
            parallel_map(fail_sometimes, range(694, 900), executor=pool)
        assert [*map(len, pool.map(str, range(50)))] == [1] * 10 + [2] * 40
    for x, result in enumerate(results):
        assert result == fail_sometimes(x) if x % 7 else type(result) is ValueError


def test_items_that_come_as_pickles():
    things = [*map(Thing, range(5000))]
    with Pool(2, initializer=bombard) as pool:
        assert parallel_map(lambda thing: thing.value, things, executor=pool) == [*range(5000)]
        assert parallel_map(lambda thing: thing, things, executor=pool) == things


def test_output_and_errors(capfd):
    with Pool(2, initializer=bombard) as pool:
        assert parallel_map(talk, range(10_000), executor=pool) == [*map(talk, range(10_000))]
        futures = [pool.submit(fail_sometimes, x) for x in range(2000)]
        for x, future in enumerate(futures):
            if x % 7 == 0:
                assert type(future.exception()) is ValueError
            else:
                assert future.result() == (x if x % 1000 < 500 else str(x))
    printed = capfd.readouterr().out.split()
    assert sorted(printed) == sorted(2 * [str(x) for x in range(0, 10_000, 50)])


def die_at(x):
    if x == 4321:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def test_the_culprit_is_named():
    with (
        Pool(2, initializer=bombard) as pool,
        pytest.raises(parmap.WorkerDied) as caught,
    ):
        parallel_map(die_at, range(10_000), executor=pool)
    assert caught.value.index == 4321


# --- the parts ---------------------------------------------------------------------------------------


class FakeLink:
    def __init__(self):
        self.holds_back = None
        self.urged = 0

    def urge(self):
        self.urged += 1


def test_who_holds_back_is_urged_ever_less_often():
    watch, link = Watch(), FakeLink()
    watch.look([link])
    link.holds_back = 3
    urged = []
    for look in range(20):
        watch.look([link])
        if link.urged > len(urged):
            urged.append(look)
    assert urged == [1, 2, 4, 8, 16]
    link.holds_back = 5  # it has told something, and something else waits
    watch.look([link])
    assert link.urged == 5
    watch.look([link])
    assert link.urged == 6


def test_who_tells_by_itself_is_not_urged():
    watch, link = Watch(), FakeLink()
    for first in range(20):
        link.holds_back = first
        watch.look([link])
    assert link.urged == 0
