"""Functions that limit their time by an alarm, which interrupts them wherever they are."""

from __future__ import annotations

import collections
import functools
import itertools
import os
import signal
import sys
import unittest.mock

import numpy
import pytest

from parmap import Pool, _handlers, parallel_map

assert numpy  # it brings threads into each worker, which take signals, too


class Late(Exception):
    """What no library would take for an error of its own."""


def repeat(act, seconds, error):
    """Act again and again until an alarm raises this error."""

    def stop(*_):
        raise error

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        while True:
            act()
    except error:
        pass
    finally:
        signal.signal(signal.SIGALRM, before)


def print_until_it_is_late(x, error):
    stream = sys.stderr if x % 2 else sys.stdout
    counts = itertools.count()

    def write():
        stream.write(f"{x} {next(counts)}\n")  # at once, not each argument by itself

    repeat(write, 0.001 + x * 2e-6, error)
    return next(counts)


@pytest.mark.parametrize("error", [TimeoutError, Late])
def test_what_is_printed_is_there_once(capfd, error):
    items = range(300)
    counts = parallel_map(print_until_it_is_late, items, [error] * len(items), max_workers=2)
    printed = collections.Counter("".join(capfd.readouterr()).splitlines())
    for x, count in enumerate(counts):
        for number in range(count):
            # It may have been interrupted before it wrote the last.
            assert printed.pop(f"{x} {number}", number == count - 1) == 1
    assert not printed


def stop(*_):
    raise TimeoutError


def retry_after(text):
    """Print it, be interrupted when that is done, and print it again."""
    signal.signal(signal.SIGALRM, stop)
    raw = sys.stdout.buffer.raw
    forward = raw._forward

    def forward_and_be_late(number, data):
        forward(number, data)
        signal.raise_signal(signal.SIGALRM)

    raw._forward = forward_and_be_late
    try:
        print(text)
    except TimeoutError:
        pass
    finally:
        raw._forward = forward
    print(text)


@pytest.mark.parametrize("length", [10, 9000])
def test_what_is_printed_again_is_there_twice(capfd, length):
    with Pool(1) as pool:
        pool.submit(retry_after, "x" * length).result()
    assert capfd.readouterr().out.replace("\n", "") == 2 * length * "x"


def put_off_two(at):
    """Two signals come: as it acts, or the first as the handler of the second is given back."""
    heard = []

    def hear(*_):
        heard.append(1)

    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGTERM, hear)
    real = _handlers._signal

    class Late:
        def __getattr__(self, name):
            return getattr(real, name)

        def signal(self, number, handler):
            if handler is hear and at == "end" and not heard:
                heard.append(0)
                os.kill(os.getpid(), signal.SIGALRM)
            return real.signal(number, handler)

    def act():
        if at == "middle":
            os.kill(os.getpid(), signal.SIGALRM)
            os.kill(os.getpid(), signal.SIGTERM)

    _handlers._signal = Late()
    try:
        _handlers.put_off(act)
    except TimeoutError:
        pass
    else:
        return "the alarm was lost"
    finally:
        _handlers._signal = real
    handlers = [*map(signal.getsignal, (signal.SIGALRM, signal.SIGTERM))]
    return handlers == [stop, hear], heard


@pytest.mark.parametrize("at", ["middle", "end"])
def test_no_signal_is_lost_and_no_handler_either(at):
    with Pool(1) as pool:
        assert pool.submit(put_off_two, at).result() == (True, [1] if at == "middle" else [0])


def test_handlers_of_every_kind_are_known():
    class Callable:
        def method(self, *_):
            raise TimeoutError

        __call__ = method

    def caught(handler):
        try:
            handler(signal.SIGALRM, None)
        except TimeoutError as error:
            with pytest.raises(TimeoutError) as passed:
                _handlers.let_pass(error)
            return passed.value is error

    one = Callable()
    for handler in (
        stop,
        one,
        one.method,
        functools.partial(stop, 1),
        functools.partial(one.method, 1),
    ):
        before = signal.signal(signal.SIGALRM, handler)
        try:
            assert caught(handler)
        finally:
            signal.signal(signal.SIGALRM, before)
    with pytest.raises(pytest.fail.Exception):
        caught(stop)  # it is no handler now


def test_what_only_looks_like_a_handler_is_none():
    has_everything = unittest.mock.MagicMock()
    before = signal.signal(signal.SIGUSR1, has_everything)
    try:
        try:
            stop()
        except TimeoutError as error:
            _handlers.let_pass(error)
    finally:
        signal.signal(signal.SIGUSR1, before)


def be_urged_until_it_is_late(x, error):
    repeat(lambda: os.kill(os.getpid(), signal.SIGURG), 0.0005, error)
    return x


@pytest.mark.parametrize("error", [TimeoutError, Late])
def test_it_is_not_lost_in_a_worker_that_tells_what_is_done(error):
    with Pool(1) as pool:
        for _ in range(5):
            items = range(200)
            errors = [error] * len(items)
            results = parallel_map(be_urged_until_it_is_late, items, errors, executor=pool)
            assert results == [*items]
