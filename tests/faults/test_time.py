"""Deadlines: of one item, and of a whole call."""

from __future__ import annotations

import os
import re
import signal
import time
from functools import partial

import pytest

from parmap import (
    CallTimeout,
    ItemTimeout,
    Pool,
    parallel_imap,
    parallel_map,
    run_in_process,
    spawn_each,
)

from .harness import most_telling

METHODS = ("forkserver", "spawn", "fork")


def sleep() -> None:
    time.sleep(1e6)


def loop() -> None:
    while True:
        pass


def hold() -> None:
    """C code that never lets go of the interpreter."""
    re.match(r"(a+)+$", "a" * 60 + "b")


def ignore() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(1)


def swallow() -> None:
    while True:
        try:
            time.sleep(1)
        except BaseException:
            pass


STUCK = {"sleep": sleep, "loop": loop, "hold": hold, "ignore": ignore, "swallow": swallow}

every_stuck = pytest.mark.parametrize("how", STUCK)
stuck = pytest.mark.parametrize(
    "how", most_telling(["hold", "ignore", "sleep", "loop", "swallow"], 2)
)


def stuck_at(x: int, how: str, places: tuple[int, ...] = (3,)) -> int:
    if x in places:
        STUCK[how]()
    return x


@every_stuck
@pytest.mark.parametrize("chunksize", most_telling([100, 1, None], 2))
def test_item_timeout(how: str, chunksize: int | None) -> None:
    func = partial(stuck_at, how=how)
    began = time.monotonic()
    results = parallel_map(
        func, range(30), max_workers=2, item_timeout=0.3, on_error="return", chunksize=chunksize
    )
    late = results.pop(3)
    assert type(late) is ItemTimeout
    assert (late.index, late.seconds) == (3, 0.3)
    assert results == [i for i in range(30) if i != 3]
    assert 0.3 <= time.monotonic() - began < 10


@stuck
def test_item_timeout_raises(how: str) -> None:
    func = partial(stuck_at, how=how)
    with pytest.raises(ItemTimeout) as caught:
        parallel_map(func, range(30), max_workers=2, item_timeout=0.2)
    assert caught.value.index == 3
    lazy = parallel_imap(func, range(30), max_workers=2, item_timeout=0.2)
    assert [next(lazy) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ItemTimeout):
        next(lazy)


@stuck
@pytest.mark.parametrize("method", METHODS)
def test_fresh_processes(how: str, method: str) -> None:
    with pytest.raises(CallTimeout):
        run_in_process(STUCK[how], timeout=0.5, start_method=method)
    func = partial(stuck_at, how=how, places=(1,))
    results = spawn_each(func, range(3), item_timeout=0.3, on_error="return", start_method=method)
    assert isinstance(results[1], ItemTimeout)
    assert [results[0], results[2]] == [0, 2]


@stuck
def test_timeout_of_the_call(how: str) -> None:
    func = partial(stuck_at, how=how)
    began = time.monotonic()
    with pytest.raises(CallTimeout) as caught:
        parallel_map(func, range(30), max_workers=2, timeout=0.5)
    assert 0.5 <= time.monotonic() - began < 5
    error = caught.value
    assert (error.seconds, error.total) == (0.5, 30)
    assert error.done == len(error.results) < 30
    assert all(index == result for index, result in error.results.items())
    assert 3 not in error.results
    results = parallel_map(func, range(30), max_workers=2, timeout=0.5, on_error="return")
    assert isinstance(results[3], CallTimeout)
    assert all(r == i or isinstance(r, CallTimeout) for i, r in enumerate(results))


@stuck
def test_item_timeout_and_timeout_together(how: str) -> None:
    func = partial(stuck_at, how=how, places=tuple(range(30)))
    with pytest.raises(CallTimeout):
        parallel_map(
            func,
            range(30),
            max_workers=2,
            timeout=0.7,
            item_timeout=0.3,
            retries=1_000,
            retry_on=(ItemTimeout,),
        )


def test_several_stuck_items() -> None:
    places = (1, 2, 11, 28)
    func = partial(stuck_at, how="sleep", places=places)
    results = parallel_map(func, range(30), max_workers=2, item_timeout=0.2, on_error="return")
    for index, result in enumerate(results):
        assert isinstance(result, ItemTimeout) if index in places else result == index


@pytest.mark.parametrize("chunksize", most_telling([100, 1, None], 2))
@pytest.mark.parametrize("method", METHODS)
def test_items_in_time_keep_their_worker(chunksize: int | None, method: str) -> None:
    """Together they take longer than one may."""
    with Pool(2, start_method=method) as pool:
        before = set(parallel_map(_pid, range(8), executor=pool, chunksize=1))
        pids = parallel_map(_pid, range(60), executor=pool, chunksize=chunksize, item_timeout=0.5)
        assert len(before | set(pids)) <= 2


def _pid(_x: int) -> int:
    time.sleep(0.02)
    return os.getpid()


def test_large_results_are_not_the_items_time() -> None:
    """Pickling, sending and waiting for a slow consumer are no part of an item's time."""
    lazy = parallel_imap(_large, range(6), max_workers=2, item_timeout=0.5, chunksize=1)
    for index, result in enumerate(lazy):
        assert len(result) == 30_000_000, index
        time.sleep(0.3)


def _large(x: int) -> bytes:
    return bytes([x]) * 30_000_000


def test_slow_unpickling_is_not_the_items_time() -> None:
    items = [_Slow(), 1, _Slow(), 2]
    assert parallel_map(_is_none, items, item_timeout=0.3, max_workers=2) == [
        True,
        False,
        True,
        False,
    ]


class _Slow:
    def __reduce__(self):
        return _wait, ()


def _wait() -> None:
    time.sleep(0.6)


def _is_none(x: object) -> bool:
    return x is None


def test_timeout_while_workers_start() -> None:
    with Pool(2, initializer=time.sleep, initargs=(1e6,)) as pool:
        with pytest.raises(CallTimeout):
            parallel_map(abs, range(3), executor=pool, timeout=0.3)
        with pytest.raises(CallTimeout):
            parallel_map(abs, range(3), executor=pool, timeout=0.3)


def test_timeout_while_large_items_are_sent() -> None:
    """A worker that reads nothing does not keep the caller from its deadline."""
    func = partial(_sleep_at, at=b"0")
    with pytest.raises(CallTimeout):
        parallel_map(func, [b"0" * 50_000_000] * 8, max_workers=2, timeout=1.0)


def _sleep_at(x: bytes, at: bytes) -> None:
    if x.startswith(at):
        time.sleep(1e6)
