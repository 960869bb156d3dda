"""The whole matrix on real processes: when a worker ends × how it ends × how it was started.

By default each pair of a moment and a way is tried with one start method, and every start method with
every moment; PARMAP_FULL=1 tries all cells.
"""

from __future__ import annotations

import atexit
import os
import re
import signal
import threading
import time
from functools import partial

import pytest

import parmap
from parmap import (
    CallTimeout,
    ItemTimeout,
    Pool,
    WorkerDied,
    WorkerStartError,
    _memory,
    _stock,
    parallel_map,
)

from . import deaths
from .harness import FULL, NAP, until
from .test_when import is_gone

METHODS = ("forkserver", "spawn", "fork")
WAYS = ("SIGKILL", "SIGSEGV", "SIGABRT", "exit 0", "exit 3", "never", "memory")

#: What a worker takes that is to pass its limit, and how far away the limit is.
MUCH = 300_000_000
LIMIT = 150_000_000

#: Seconds for a call that cannot end. Nothing is said about how long it takes.
PATIENCE = 0.7

COUNT, AT = 8, 3


# --- how, in the worker -------------------------------------------------------------------------------


def end(how: str) -> None:
    """End like this, or take too long, or too much."""
    if how == "never":
        while True:
            time.sleep(1)
    if how == "memory":
        held = bytearray(b"x") * MUCH
        while held:
            time.sleep(1)
    deaths.die(how)


class Bomb:
    """Ends whoever unpickles it, but for the process that made it; with a file, only for the first time."""

    def __init__(self, how: str, file: str = "") -> None:
        self.how = how
        self.file = file
        self.pid = os.getpid()

    def __reduce__(self):
        return _explode, (self.how, self.file, self.pid)


def _explode(how: str, file: str, pid: int) -> int:
    if os.getpid() != pid and (not file or deaths.first_time(file)):
        end(how)
    return AT


class Fuse:
    """Ends whoever pickles it."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self):
        return end(self.how)


# --- what is right ------------------------------------------------------------------------------------


def make_pool(method: str, how: str, **options) -> Pool:
    if how == "memory":
        # A forked worker begins with what this process holds, and others with next to nothing.
        options["memory_limit"] = LIMIT + (_memory.resident() if method == "fork" else 0)
    return Pool(2, start_method=method, **options)


def check_item(results: list[object], how: str, *, timed: type[Exception]) -> None:
    """The item is to blame, by its number, and no other is."""
    assert len(results) == COUNT
    blamed = results[AT]
    for index, result in enumerate(results):
        if index != AT:
            # When a call's time is up, others may not have had their turn.
            assert result == index or (result is blamed and isinstance(result, CallTimeout))
    if how == "never":
        assert isinstance(blamed, timed), repr(blamed)
        return
    assert type(blamed) is WorkerDied, repr(blamed)
    expected = ("SIGKILL", -signal.SIGKILL, "memory") if how == "memory" else deaths.DEATHS[how][1:]
    assert (blamed.signal, blamed.exitcode, blamed.reason) == expected
    assert blamed.index == AT
    assert isinstance(blamed.pid, int)
    assert is_gone(blamed.pid)


def check_next_call(pool: Pool) -> None:
    """Whatever was: the next call is right."""
    assert parallel_map(abs, range(-COUNT, 0), executor=pool) == [*range(COUNT, 0, -1)]
    assert pool.submit(abs, -3).result(30) == 3


# --- when ---------------------------------------------------------------------------------------------


def while_starting(method: str, how: str, directory: str) -> None:
    file = f"{directory}/started"
    first, always = (_explode, (how, file, 0)), (end, (how,))
    if how == "memory":
        first, always = (_hold, (file,)), (_hold, ())
    with make_pool(method, how, initializer=first[0], initargs=first[1]) as pool:
        if how == "never":
            with pytest.raises(CallTimeout):
                _never_started(pool, how, directory)
        else:
            check_next_call(pool)  # another takes its place, and nobody is to blame
    if how != "never":
        pool = make_pool(method, how, initializer=always[0], initargs=always[1])
        with pool, pytest.raises(WorkerStartError):
            parallel_map(abs, range(3), executor=pool)


def _hold(file: str = "") -> None:
    """Hold too much, and go on."""
    if not file or deaths.first_time(file):
        _hold.__dict__["held"] = bytearray(b"x") * MUCH


def _never_started(pool: Pool, how: str, directory: str) -> None:
    # The other worker starts well, so only its items are done; where both hang, none is.
    parallel_map(
        partial(_wait_for, file=f"{directory}/nothing"), [1, 2], executor=pool, timeout=PATIENCE
    )


def _wait_for(_x: int, file: str) -> None:
    while not os.path.exists(file):
        time.sleep(NAP)


def while_idle(method: str, how: str, directory: str) -> None:
    with make_pool(method, how) as pool:
        pids = set(
            parallel_map(
                partial(_lie_in_wait, how=how, directory=directory),
                [1, 2],
                executor=pool,
                chunksize=1,
            )
        )
        open(f"{directory}/go", "w").close()
        if how in ("never", "memory"):
            files = [f"{directory}/{pid}" for pid in pids]
            assert until(lambda: all(map(os.path.exists, files)), 30)
        else:
            assert until(lambda: all(map(is_gone, pids)), 30)
        if how == "never":
            with pytest.raises(CallTimeout):
                parallel_map(abs, range(3), executor=pool, timeout=PATIENCE)
            # Killed, or between two calls still holding on: one more may have to find that out.
            for _ in pids:
                parallel_map(abs, range(3), executor=pool, timeout=PATIENCE, on_error="return")
        check_next_call(pool)


def _lie_in_wait(_x: int, how: str, directory: str) -> int:
    threading.Thread(target=_end_at_a_sign, args=(how, directory), daemon=True).start()
    time.sleep(0.05)  # so that the other worker takes the other item
    return os.getpid()


def _end_at_a_sign(how: str, directory: str) -> None:
    while not os.path.exists(f"{directory}/go"):
        time.sleep(NAP)
    if how == "memory":
        held = bytearray(b"x") * MUCH
    open(f"{directory}/{os.getpid()}", "w").close()
    if how == "never":
        re.match(r"(a+)+$", "a" * 60 + "b")  # it never lets go of the interpreter
    elif how == "memory":
        time.sleep(1e6 * len(held))
    end(how)


def while_unpickling_the_function(method: str, how: str, directory: str) -> None:
    with make_pool(method, how) as pool:
        func = partial(_second, Bomb(how, f"{directory}/once"))
        timeout = PATIENCE if how == "never" else None
        results = parallel_map(
            func, range(COUNT), executor=pool, timeout=timeout, on_error="return"
        )
        if how == "never":
            assert any(isinstance(result, CallTimeout) for result in results)
        else:
            assert results == list(range(COUNT))  # no item had begun, so none is to blame
        if how in deaths.DEATHS:
            with pytest.raises(WorkerDied):
                parallel_map(partial(_second, Bomb(how)), range(COUNT), executor=pool)
        check_next_call(pool)


def _second(_bomb: object, x: int) -> int:
    return x


def while_unpickling_an_item(method: str, how: str, directory: str) -> None:
    items = [Bomb(how) if x == AT else x for x in range(COUNT)]
    check_the_call(method, how, deaths.same, items, timed=CallTimeout)


def while_running(method: str, how: str, directory: str) -> None:
    check_the_call(method, how, partial(_run, how=how), range(COUNT), timed=ItemTimeout)


def _run(x: int, how: str) -> int:
    if x == AT:
        end(how)
    return x


def while_pickling(method: str, how: str, directory: str) -> None:
    check_the_call(method, how, partial(_give, how=how), range(COUNT), timed=CallTimeout)


def _give(x: int, how: str) -> object:
    return Fuse(how) if x == AT else x


def while_sending(method: str, how: str, directory: str) -> None:
    check_the_call(method, how, partial(_send_half, how=how), range(COUNT), timed=CallTimeout)


def _send_half(x: int, how: str) -> object:
    if x != AT:
        return x
    from parmap import _channel

    def send_half(channel) -> None:
        data = b"".join(channel._outgoing[0][0])
        assert channel.sock.send(data[: len(data) // 2]) > 0
        end(how)

    _channel.Channel._flush_some = send_half
    return ["x" * 1_000_000]  # sent at once and by itself, whatever the chunk


def check_the_call(method: str, how: str, func, items, *, timed: type[Exception]) -> None:
    late = how == "never"
    options = {
        "timeout": PATIENCE if late and timed is CallTimeout else None,
        "item_timeout": PATIENCE / 2 if late and timed is ItemTimeout else None,
    }
    with make_pool(method, how) as pool:
        # One that is left alone by its neighbours, and one in a chunk with all.
        for chunksize in (1, COUNT) if not late else (1,):
            results = parallel_map(
                func, items, executor=pool, on_error="return", chunksize=chunksize, **options
            )
            check_item(results, how, timed=timed)
        check_next_call(pool)


def while_exiting(method: str, how: str, directory: str) -> None:
    with make_pool(method, how) as pool:
        pids = set(parallel_map(partial(_end_late, how=how), range(COUNT), executor=pool))
    assert pids
    assert all(map(is_gone, pids))


def _end_late(_x: int, how: str) -> int:
    atexit.register(end, how)
    return os.getpid()


MOMENTS = {
    "starting": while_starting,
    "idle": while_idle,
    "unpickling the function": while_unpickling_the_function,
    "unpickling an item": while_unpickling_an_item,
    "running": while_running,
    "pickling": while_pickling,
    "sending": while_sending,
    "exiting": while_exiting,
}

CELLS = [
    pytest.param(moment, how, method, id=f"{moment}-{how}-{method}")
    for row, moment in enumerate(MOMENTS)
    for column, how in enumerate(WAYS)
    for place, method in enumerate(METHODS)
    if FULL or (row + column) % len(METHODS) == place
]


@pytest.mark.parametrize(("moment", "how", "method"), CELLS)
def test_cell(moment: str, how: str, method: str, tmp_path, monkeypatch) -> None:
    # The graces are as they are; here nobody ends within them, on purpose.
    if moment in ("starting", "exiting") and how in ("never", "memory"):
        monkeypatch.setattr(_stock.Stock.close, "__defaults__", (0.3,))
        monkeypatch.setattr(_stock, "GRACE_AFTER_TERM", 0.1)
    MOMENTS[moment](method, how, str(tmp_path))


@pytest.fixture(autouse=True, scope="module")
def _end_warm_workers():
    yield
    parmap.shutdown()
