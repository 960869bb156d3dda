"""A worker that shares its core with its caller moves to an idle one, and may run where it might before."""

from __future__ import annotations

import itertools
import os

import pytest

import parmap
from parmap import _placement
from parmap._placement import Placement

pytestmark = pytest.mark.skipif(not _placement.CAN_MOVE, reason="Linux only")

LONG, SHORT = 2 * _placement._TAKEN, _placement._TAKEN / 2


@pytest.fixture
def moves(monkeypatch):
    """When a worker has moved."""
    made = []
    clock = [0.0]
    monkeypatch.setattr(_placement, "move", lambda: made.append(clock[0]))
    monkeypatch.setattr(_placement.time, "perf_counter", lambda: clock[0])
    placement = Placement()

    def play(*taken):
        for seconds in taken:
            placement.note(seconds)
            placement.settle()
            clock[0] += _placement._PAUSE / 10
        return made

    return play


def test_it_moves_once_its_core_is_taken_again_and_again(moves):
    assert not moves(*[LONG] * (_placement._OFTEN - 1))
    assert len(moves(LONG)) == 1


def test_it_stays_where_others_only_pass_by(moves):
    assert not moves(*[LONG, LONG, LONG, SHORT] * 20)


def test_it_does_not_move_all_the_time(moves):
    made = moves(*[LONG] * 200)
    assert len(made) >= 2
    between = [later - sooner for sooner, later in itertools.pairwise(made)]
    assert min(between) > 0.99 * _placement._PAUSE


@pytest.fixture
def masks(monkeypatch):
    """What a process that may run on three cores, and is on the second of them, asks for."""
    asked = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, mask: asked.append(set(mask)))
    monkeypatch.setattr(_placement, "_core", lambda: 1)
    monkeypatch.setattr(_placement, "_busy", lambda: 3)
    return asked


def test_it_leaves_its_core_and_may_come_back(masks):
    assert _placement.move()
    assert masks == [{0, 2}, {0, 1, 2}]


def test_it_stays_where_no_core_is_idle(masks, monkeypatch):
    monkeypatch.setattr(_placement, "_busy", lambda: 4)
    assert not _placement.move()
    assert not masks


def test_it_stays_where_it_may_not_go_elsewhere(masks, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1})
    assert not _placement.move()
    assert not masks


def test_what_it_may_run_on_is_put_right_whatever_happens(masks, monkeypatch):
    def refuse(_, mask):
        masks.append(set(mask))
        if mask == {0, 2}:
            raise OSError

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    placement = Placement()
    for _ in range(_placement._OFTEN):
        placement.note(LONG)
    placement.settle()
    assert masks[-1] == {0, 1, 2}


def test_the_system_says_where_it_runs_and_how_busy_it_is():
    assert _placement._core() in os.sched_getaffinity(0)
    assert _placement._busy() >= 1


def affinity(_):
    return os.sched_getaffinity(0)


def test_functions_never_see_it(monkeypatch):
    monkeypatch.setattr(_placement, "_TAKEN", 0.0)
    monkeypatch.setattr(_placement, "_OFTEN", 1)
    monkeypatch.setattr(_placement, "_PAUSE", 0.0)
    monkeypatch.setattr(_placement, "_busy", lambda: 0)
    with parmap.Pool(2, start_method="fork") as pool:  # which inherits this
        for _ in range(100):
            seen = parmap.parallel_map(affinity, range(4), executor=pool, chunksize=1)
            assert seen == [os.sched_getaffinity(0)] * 4
