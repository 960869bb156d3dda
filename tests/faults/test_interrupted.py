"""Ctrl-C or an alarm between any two lines of ours: the call ends, the next is right, nothing is left.

A trace function raises `KeyboardInterrupt` before the n-th line of the package that the caller runs, for
one n after the other. The interpreter itself raises it at fewer places; above all not where a `with`
block ends and its lock is still held, or where a `try` has not quite begun: so these lines are left out,
and what runs while signals are blocked. From Python 3.12 on, comprehensions are left out, too: what a trace
function raises at the jump back to the next turn of one passes over the `with` around it, as no signal does.
An alarm, whose handler raises `TimeoutError`, must not be taken for an error of the system's either.
"""

from __future__ import annotations

import pytest

from parmap import Pool, _launch, parallel_map
from parmap._link import Link

from .harness import FULL, run

HARNESS = """
import gc, linecache, os, signal, sys, threading, time
import parmap
from parmap import _launch

undisturbed = _launch.undisturbed.__code__

class Interrupt:
    def __init__(self, at):
        self.left, self.where = at, ""
        self.is_lost = False  # in a finalizer, as whatever is raised there

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename.startswith(os.path.dirname(parmap.__file__)):
            return self.line

    def line(self, frame, event, argument):
        if event == "line" and not self.is_left_out(frame):
            self.left -= 1
            if self.left == 0:
                self.where = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
                self.is_lost = any(code.co_name == "__del__" for code in self.codes_above(frame))
                sys.settrace(None)
                self.strike()
        return self.line

    def codes_above(self, frame):
        while frame is not None:
            yield frame.f_code
            frame = frame.f_back

    def strike(self):
        signal.raise_signal(signal.SIGALRM)

    def is_left_out(self, frame):
        if undisturbed in self.codes_above(frame):
            return True
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if " for " in line and " in " in line and sys.version_info >= (3, 12):
            return True
        return line.lstrip().startswith(("with ", "try:", "finally:", "except"))

def interrupted(call, at, error=KeyboardInterrupt):
    "Where the call was interrupted; empty if it has ended before."
    def stop(*_):
        raise error("from a signal handler")

    signal.signal(signal.SIGALRM, stop)
    interrupt = Interrupt(at)
    heard = False
    sys.settrace(interrupt)
    try:
        call()
    except error as caught:
        heard = "from a signal handler" in str(caught)
    finally:
        sys.settrace(None)
    assert heard or interrupt.is_lost or not interrupt.where, interrupt.where
    return interrupt.where

def counted():
    "Children, descriptors and threads."
    children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
    return len(children), len(os.listdir("/proc/self/fd")), threading.active_count()
"""

#: What is interrupted, and what must be right after it.
CALLS = {
    "map": """
def call():
    parmap.parallel_map(abs, range(20), max_workers=2, chunksize=3)
""",
    "small": """
def call():
    assert parmap.parallel_map(abs, [-1, -2]) == [1, 2]
""",
    "first call": """
def call():
    parmap.shutdown()
    parmap.parallel_map(abs, range(4), max_workers=2, chunksize=2)
""",
    "failing": """
def call():
    try:
        parmap.parallel_map((5).__truediv__, [3, 2, 0, 1], max_workers=2, chunksize=1)
    except ZeroDivisionError:
        pass
""",
    "late": """
def call():
    try:
        parmap.parallel_map(time.sleep, [60, 0, 60], max_workers=2, timeout=0.02)
    except parmap.CallTimeout:
        pass
""",
    "lazy": """
def call():
    for x in parmap.parallel_imap(abs, range(100), max_workers=2, chunksize=3):
        if x == 50:
            break
""",
    "death": """
def call():
    got = parmap.parallel_map(os._exit, [3], max_workers=2, on_error="return")
    assert isinstance(got[0], parmap.WorkerDied)
""",
    "pool": """
def call():
    with parmap.Pool(2) as pool:
        pool.submit(abs, -1).result()
        parmap.parallel_map(abs, range(4), executor=pool)
""",
    "processes": """
def call():
    parmap.spawn_each(abs, range(3))
""",
    "large": """
data = bytearray(1 << 21)
def call():
    parmap.parallel_map(len, [data] * 4, max_workers=2)
""",
    "large results": """
def call():
    parmap.parallel_map(bytearray, [1 << 21] * 4, max_workers=2)
""",
}


#: An alarm is tried with those that do the most different things.
ALARMED = CALLS if FULL else ("map", "first call", "large results", "lazy")

CASES = [
    *((name, "KeyboardInterrupt") for name in CALLS),
    *((name, "TimeoutError") for name in ALARMED),
]


#: All that there was before must be all that there is: threads and processes may still be ending.
NOTHING_LEFT = """
parmap.shutdown()
until = time.monotonic() + 20
while (now := counted()) > before and time.monotonic() < until:
    time.sleep(0.01)
    gc.collect()  # the traceback of an interrupt refers to what it has hit
assert now <= before, (now, before)
"""


@pytest.mark.parametrize(("name", "error"), CASES)
def test_between_any_two_lines(name: str, error: str) -> None:
    program = f"""{HARNESS}{CALLS[name]}
before = counted()
call()
step, most = {(1, 10**6) if FULL else (37 if error == "KeyboardInterrupt" else 89, 120)}
at = 1
while at < most * step:
    where = interrupted(call, at, {error})
    if not where:
        break
    print(at, where, flush=True)  # for whoever reads of a failure
    assert parmap.parallel_map(abs, [-1, -2], max_workers=2, timeout=20) == [1, 2]
    at += step
{NOTHING_LEFT}"""
    run(program, quiet=False, seconds=600 if FULL else 50)


@pytest.mark.parametrize(("name", "error"), CASES)
def test_at_any_moment(name: str, error: str) -> None:
    program = f"""{HARNESS}{CALLS[name]}
import random

def interrupt(*_):
    raise {error}("from a signal handler")

lost = []  # where an interrupt came up and nobody heard it

def hear(unraisable):
    place = f"{{getattr(unraisable.object, '__module__', '')}}.{{unraisable.object}}"
    # Who drops an iterator or a pool may be interrupted in that, which no care can hide.
    if place.startswith("parmap") and ".__del__" not in place:
        lost.append(place)

sys.unraisablehook = hear
before = counted()
call()
began = time.perf_counter()
call()
took = time.perf_counter() - began
signal.signal(signal.SIGALRM, interrupt)
for seed in range({3000 if FULL else 60 if error == "KeyboardInterrupt" else 25}):
    print(seed, flush=True)
    try:
        signal.setitimer(signal.ITIMER_REAL, random.Random(seed).uniform(1e-6, 1.2 * took))
        call()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except {error} as caught:
        assert str(caught) == "from a signal handler"
    assert parmap.parallel_map(abs, [-1, -2], max_workers=2, timeout=20) == [1, 2]
assert not lost, lost
{NOTHING_LEFT}"""
    run(program, quiet=False, seconds=600 if FULL else 50)


def test_a_task_after_one_whose_submission_was_interrupted() -> None:
    """It was never run: the thread that takes tasks had not been woken."""
    run(
        f"""{HARNESS}
pool = parmap.Pool(1)
pool.submit(abs, -1).result()
at = 1
while interrupted(lambda: pool.submit(abs, -2), at):
    time.sleep(0.01)  # the thread sleeps until it is woken
    assert pool.submit(abs, -3).result(timeout=20) == 3, at
    at += 1
assert at > 5
pool.shutdown()
""",
        quiet=False,
        seconds=100,
    )


#: A pool whose thread sleeps, so that a task is sent by who submits it, and taken in by who waits for it.
ASLEEP = """
pool = parmap.Pool(1)
submissions = pool._submissions

def settle():
    assert pool.submit(abs, -1).result(timeout=20) == 1
    until = time.monotonic() + 20
    while submissions._asleep is None or submissions.direct is not None:
        assert time.monotonic() < until
        time.sleep(0.001)
    assert submissions._thread is first or first is None, "the thread has died"

def is_whole():
    settle()
    stock = pool._parmap_stock
    return len(stock._idle) <= 1 and not stock._leased

first = None
settle()
first = submissions._thread
"""


def test_a_task_whose_submission_was_interrupted_at_any_line() -> None:
    """Its worker, of which nobody knows what it was sent, does not stay with it."""
    run(
        f"""{HARNESS}{ASLEEP}
before = counted()
at, where = 1, "not yet"
while where:
    settle()
    where = interrupted(lambda: pool.submit(abs, -2), at)
    assert pool.submit(abs, -3).result(timeout=20) == 3, (at, where)
    assert is_whole(), (at, where)
    at += {1 if FULL else 3}
assert at > 100
pool.shutdown()
{NOTHING_LEFT}""",
        quiet=False,
        seconds=100,
    )


def test_a_result_is_there_though_the_wait_for_it_was_interrupted() -> None:
    """At any line."""
    run(
        f"""{HARNESS}{ASLEEP}
from parmap import _direct, _submit
_direct.SPIN = _submit._LOOK = 5.0  # nobody but who waits takes it in
before = counted()
at, where = 1, "not yet"
while where:
    settle()
    future = pool.submit(abs, -2)
    time.sleep(0.001)
    where = interrupted(future.result, at)
    assert future.result(timeout=20) == 2, (at, where)
    assert is_whole(), (at, where)
    at += {1 if FULL else 2}
assert at > 50
pool.shutdown()
{NOTHING_LEFT}""",
        quiet=False,
        seconds=100,
    )


def test_a_result_is_there_after_an_interrupt_at_any_moment() -> None:
    run(
        f"""{HARNESS}{ASLEEP}
import random, signal

def interrupt(_, frame):
    # Not where the standard library leaves its own lock taken, or gives it back twice.
    if frame.f_globals["__name__"] not in ("threading", "concurrent.futures._base"):
        raise KeyboardInterrupt

settle()
signal.signal(signal.SIGALRM, interrupt)
hit = 0
for seed in range({20_000 if FULL else 600}):
    future = None
    try:
        signal.setitimer(signal.ITIMER_REAL, random.Random(seed).uniform(1e-6, 2e-4))
        future = pool.submit(abs, -seed)
        assert future.result(timeout=20) == seed
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        hit += 1
    if future is not None:
        assert future.result(timeout=20) == seed
assert hit > 50, hit
assert is_whole()
pool.shutdown()
""",
        quiet=False,
        seconds=600 if FULL else 50,
    )


def test_a_signal_handler_may_submit_a_task_and_wait_for_it() -> None:
    """At any moment, in a pool of one worker that is at another task, but not while a lock is held."""
    run(
        f"""{HARNESS}{ASLEEP}
import random, signal

def is_locked(frame):
    if frame.f_globals["__name__"] in ("threading", "concurrent.futures._base"):
        return True  # the future's own lock, perhaps
    return submissions._lock.locked() or pool._parmap_stock.busy

from parmap import _submit
_submit._PATIENCE = 0.01
answers = []

def handle(_, frame):
    if not is_locked(frame):
        answers.append(pool.submit(abs, -7).result(timeout=20))

settle()
signal.signal(signal.SIGALRM, handle)
for seed in range({5_000 if FULL else 300}):
    signal.setitimer(signal.ITIMER_REAL, random.Random(seed).uniform(1e-6, 2e-4))
    assert pool.submit(abs, -seed).result(timeout=20) == seed
    signal.setitimer(signal.ITIMER_REAL, 0)
assert len(answers) > 50 and {{*answers}} == {{7}}, len(answers)
pool.shutdown()
""",
        quiet=False,
        seconds=600 if FULL else 100,
    )


def test_a_signal_handler_may_submit_a_task_during_a_call_on_the_same_pool() -> None:
    """Before any line of ours, as if it had come there."""
    run(
        f"""{HARNESS}{ASLEEP}
futures = []

class Handler(Interrupt):
    def strike(self):
        futures.append(pool.submit(abs, -7))

at = 1
while True:
    handler = Handler(at)
    settle()
    sys.settrace(handler)
    assert parmap.parallel_map(abs, [-1, -at], executor=pool) == [1, at]
    sys.settrace(None)
    if not handler.where:
        break
    at += {1 if FULL else 3}
assert len(futures) > 50
assert {{future.result(timeout=20) for future in futures}} == {{7}}
settle()
pool.shutdown()
""",
        quiet=False,
        seconds=100,
    )


def test_a_signal_handler_may_ask_whether_a_task_is_done() -> None:
    """At any moment: it waits for no lock that is held by whom it has interrupted."""
    run(
        f"""{HARNESS}{ASLEEP}
import random, signal

futures = [pool.submit(abs, -1)]
asked = []

def handle(*_):
    asked.append(futures[-1].done())

signal.signal(signal.SIGALRM, handle)
for seed in range({20_000 if FULL else 3_000}):
    signal.setitimer(signal.ITIMER_REAL, random.Random(seed).uniform(1e-6, 1e-4))
    futures[:] = [pool.submit(abs, -seed)]
    assert futures[-1].result(timeout=20) == seed
    signal.setitimer(signal.ITIMER_REAL, 0)
assert len(asked) > 50
settle()
pool.shutdown()
""",
        quiet=False,
        seconds=600 if FULL else 50,
    )


def test_futures_of_a_pool_whose_end_was_interrupted_are_settled() -> None:
    """Those that waited were neither run nor cancelled."""
    run(
        f"""{HARNESS}
from concurrent.futures import wait

at, where = 1, "not yet"
while where:
    pool = parmap.Pool(1)
    futures = [pool.submit(time.sleep, 0.1), *(pool.submit(abs, x) for x in range(20))]
    where = interrupted(lambda: pool.shutdown(cancel_futures=True, wait=False), at)
    pool.shutdown(cancel_futures=True)
    assert not wait(futures, timeout=20).not_done, where
    at += {1 if FULL else 3}
assert at > 5
""",
        quiet=False,
        seconds=100,
    )


def test_a_handler_that_raises_as_a_worker_has_been_started(monkeypatch):
    """What `signal.alarm` is used for. It was taken for the worker's failure, which then was lost, for ever."""

    def undisturbed(act):
        made = act()
        if type(made) is Link:
            monkeypatch.undo()
            raise TimeoutError("the alarm")
        return made

    with Pool(1, max_tasks_per_child=1) as pool:
        assert parallel_map(abs, [-1], executor=pool) == [1]  # the clean server is there
        monkeypatch.setattr(_launch, "undisturbed", undisturbed)
        with pytest.raises(TimeoutError, match="the alarm"):
            parallel_map(abs, [1], executor=pool)
        assert parallel_map(abs, [-1], executor=pool) == [1]
