"""Whoever waits looks again before sleeping, but not where others need the core."""

from __future__ import annotations

import os
import select

import pytest

from parmap import _channel

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_yield"), reason="cores cannot be offered here"
)


@pytest.fixture
def looks(monkeypatch):
    """How often the core is offered in so many looks, of which each takes others so many seconds."""
    clock = [1000.0]
    offered = []
    monkeypatch.setattr(_channel._Crowd, "until", 0.0)
    monkeypatch.setattr(_channel._Crowd, "pause", _channel._PAUSES[0])
    monkeypatch.setattr(_channel.time, "perf_counter", lambda: clock[0])
    reading, writing = os.pipe()
    poller = select.poll()
    poller.register(reading, select.POLLIN)

    def look(seconds):
        def others():
            offered.append(seconds)
            clock[0] += seconds

        offered.clear()
        monkeypatch.setattr(os, "sched_yield", others)
        happened, taken = _channel.look_again(poller, _channel.SPIN)
        return len(offered), bool(happened), round(taken, 9)

    look.clock, look.reading, look.writing = clock, reading, writing
    yield look
    os.close(reading)
    os.close(writing)


def test_it_is_offered_again_and_again(looks):
    for _ in range(3):
        times, happened, taken = looks(_channel.SPIN / 10)
        assert 9 <= times <= 11
        assert (happened, taken) == (False, _channel.SPIN / 10)


def test_it_is_not_offered_for_a_while_once_others_have_taken_it_for_long(looks):
    long = 2 * _channel._CROWDED
    assert looks(long) == (1, False, long)
    assert looks(long) == (0, False, 0.0)
    os.write(looks.writing, b"x")
    assert looks(long) == (0, True, 0.0)
    os.read(looks.reading, 1)
    looks.clock[0] += 1.1 * _channel._PAUSES[0]
    assert looks(long) == (1, False, long)


def test_for_longer_each_time(looks):
    long = 2 * _channel._CROWDED
    shortest, longest = _channel._PAUSES
    pause = shortest
    for _ in range(9):
        assert looks(long)[0] == 1
        looks.clock[0] += 0.9 * pause
        assert looks(long)[0] == 0
        looks.clock[0] += 0.2 * pause
        pause = min(2 * pause, longest)
    assert looks(_channel.SPIN / 10)[0] > 1  # it is quiet again
    assert looks(long)[0] == 1
    looks.clock[0] += 1.1 * shortest
    assert looks(long)[0] == 1
