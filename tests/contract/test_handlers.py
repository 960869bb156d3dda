"""Functions that limit their time by an alarm, which interrupts them wherever they are."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import sys

import numpy
import pytest

from parmap import Pool, parallel_map

assert numpy  # it brings threads into each worker, which take signals, too


class Late(Exception):
    """What no library would take for an error of its own."""


@contextlib.contextmanager
def limit(seconds, error):
    def stop(*_):
        raise error

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    except error:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def print_until_it_is_late(x, error):
    stream = sys.stderr if x % 2 else sys.stdout
    count = 0
    with limit(0.001 + x * 2e-6, error):
        while True:
            stream.write(f"{x} {count}\n")  # at once, not each argument by itself
            count += 1
    return count


@pytest.mark.parametrize("error", [TimeoutError, Late])
def test_what_is_printed_is_there_once(capfd, error):
    items = range(300)
    counts = parallel_map(print_until_it_is_late, items, [error] * len(items), max_workers=2)
    printed = collections.Counter("".join(capfd.readouterr()).splitlines())
    for x, count in enumerate(counts):
        for number in range(count):
            assert printed.pop(f"{x} {number}") == 1
        assert printed.pop(f"{x} {count}", 1) == 1  # it was at this when it was interrupted
    assert not printed


def be_urged_until_it_is_late(x, error):
    with limit(0.0005, error):
        while True:
            os.kill(os.getpid(), signal.SIGURG)
    return x


@pytest.mark.parametrize("error", [TimeoutError, Late])
def test_it_is_not_lost_in_a_worker_that_tells_what_is_done(error):
    with Pool(1) as pool:
        for _ in range(5):
            items = range(200)
            errors = [error] * len(items)
            results = parallel_map(be_urged_until_it_is_late, items, errors, executor=pool)
            assert results == [*items]
