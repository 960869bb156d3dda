"""A worker that shares its core with its caller moves to an idle one, and may run where it might before."""

from __future__ import annotations

import itertools
import os
import sys

import pytest

import parmap
from parmap import _placement
from parmap._placement import Placement

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")

LONG, SHORT = 2 * _placement._TAKEN, _placement._TAKEN / 2


@pytest.fixture
def moves(monkeypatch):
    """When a worker has moved."""
    made = []
    clock = [0.0]
    monkeypatch.setattr(_placement, "move", lambda: made.append(clock[0]))
    monkeypatch.setattr(_placement, "_may_be_killed", lambda: False)
    monkeypatch.setattr(_placement.time, "perf_counter", lambda: clock[0])
    placement = Placement()

    def play(*taken):
        for seconds in taken:
            placement.note(seconds, 1)
            placement.settle()
            clock[0] += _placement._PAUSE / 10
        return made

    return play


def test_it_moves_once_its_core_is_taken_again_and_again(moves):
    assert not moves(*[LONG] * (_placement._OFTEN - 1))
    assert len(moves(LONG)) == 1


def test_it_stays_where_others_only_pass_by(moves):
    assert not moves(*[LONG, LONG, LONG, SHORT] * 20)


def test_it_stays_where_there_is_much_to_do(monkeypatch):
    monkeypatch.setattr(_placement, "move", pytest.fail)
    placement = Placement()
    for count in [0, _placement._FEW + 1] * 20:
        placement.note(LONG, count)
        placement.settle()


def test_it_does_not_move_all_the_time(moves):
    made = moves(*[LONG] * 200)
    assert len(made) >= 2
    between = [later - sooner for sooner, later in itertools.pairwise(made)]
    assert min(between) > 0.99 * _placement._PAUSE


class Cores:
    """What a process that may run on four cores, and is on the second of them, asks for."""

    def __init__(self):
        self.allowed = {0, 1, 2, 3}
        self.wish = None  # of the user's
        self.asked = []

    def get(self, _):
        return self.allowed if self.wish is None else self.wish

    def set(self, _, mask):
        mask = set(mask)
        self.asked.append("all" if len(mask) > 1000 else mask)
        self.wish = None if len(mask) > 1000 else mask


@pytest.fixture
def cores(monkeypatch):
    cores = Cores()
    monkeypatch.setattr(os, "sched_getaffinity", cores.get)
    monkeypatch.setattr(os, "sched_setaffinity", cores.set)
    monkeypatch.setattr(_placement, "_core", lambda: 1)
    monkeypatch.setattr(_placement, "_neighbours", lambda _: {0, 1, 2, 3, 4, 5})
    monkeypatch.setattr(_placement, "_busy", lambda: 2)
    monkeypatch.setattr(_placement, "_may_be_killed", lambda: False)
    return cores


def test_it_leaves_its_core_and_may_come_back(cores):
    assert _placement.move()
    assert cores.asked == [{0, 2, 3}, "all"]
    assert cores.wish is None, "it gets what its container gets later"


def test_what_the_user_wants_is_kept(cores):
    cores.wish = {1, 2}
    assert _placement.move()
    assert cores.asked == [{2}, "all", {1, 2}]


def test_it_stays_where_no_core_is_idle(cores, monkeypatch):
    monkeypatch.setattr(_placement, "_busy", lambda: 3)
    assert not _placement.move()
    assert not cores.asked


@pytest.mark.parametrize(("allowed", "near"), [({1}, {0, 1}), ({1, 2}, {0, 1}), ({0, 1}, {1, 2})])
def test_it_stays_where_there_is_no_other_core_near(cores, monkeypatch, allowed, near):
    cores.allowed = allowed
    monkeypatch.setattr(_placement, "_neighbours", lambda _: near)
    assert _placement.move() == bool(allowed & near - {1})
    assert bool(cores.asked) == bool(allowed & near - {1})


def settle_often(placement):
    for _ in range(20):
        for _ in range(_placement._OFTEN):
            placement.note(LONG, 2)
        placement.settle()


def test_it_never_tries_again_where_that_fails(cores, monkeypatch):
    tried = []

    def refuse(_, mask):
        tried.append(mask)
        raise PermissionError

    monkeypatch.setattr(_placement, "_PAUSE", 0.0)
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    settle_often(Placement())
    assert len(tried) == 2, "there, and back in any case"


@pytest.mark.parametrize("name", ["_core", "_neighbours", "_busy", "_may_be_killed"])
def test_a_system_like_no_other_is_left_alone(cores, monkeypatch, name):
    calls = []

    def fail(*_):
        calls.append(name)
        raise IndexError

    monkeypatch.setattr(_placement, "_PAUSE", 0.0)
    monkeypatch.setattr(_placement, name, fail)
    settle_often(Placement())
    assert len(calls) == 1
    assert not cores.asked


def test_it_does_nothing_where_a_filter_may_kill_it(cores, monkeypatch):
    monkeypatch.setattr(_placement, "_PAUSE", 0.0)
    monkeypatch.setattr(_placement, "_may_be_killed", lambda: True)
    settle_often(Placement())
    assert not cores.asked


def test_the_system_says_where_it_runs_and_how_busy_it_is():
    core = _placement._core()
    assert core in os.sched_getaffinity(0)
    assert core in _placement._neighbours(core)
    assert _placement._busy() >= 1
    assert _placement._may_be_killed() in {True, False}


def affinity(_):
    return os.sched_getaffinity(0)


def test_functions_never_see_it(monkeypatch):
    monkeypatch.setattr(_placement, "_TAKEN", 0.0)
    monkeypatch.setattr(_placement, "_OFTEN", 1)
    monkeypatch.setattr(_placement, "_PAUSE", 0.0)
    monkeypatch.setattr(_placement, "_busy", lambda: 0)
    monkeypatch.setattr(_placement, "_may_be_killed", lambda: False)
    with parmap.Pool(2, start_method="fork") as pool:  # which inherits this
        for _ in range(100):
            seen = parmap.parallel_map(affinity, range(4), executor=pool, chunksize=1)
            assert seen == [os.sched_getaffinity(0)] * 4
