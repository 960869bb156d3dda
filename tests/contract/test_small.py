"""Calls of a few cheap items, which go to one worker before the plan is asked: they give the same."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parmap import Pool, WorkerDied, _loop, _run, parallel_map
from parmap._channel import SPIN
from parmap._plan._call import Plan, Rules
from parmap._plan._vocabulary import InputRead, Read, Send, StartWorker, WorkerReady
from parmap._small import MapDrive

from .common import outcome, same, values

#: For each small call since the last `warmed`: whether the plan was not asked.
CALLS: list[bool] = []


class Cheap(dict):
    """The costs of functions: none is known to be dear, however busy this machine is."""

    def get(self, _key):
        return 1e-6, 1000


@pytest.fixture(scope="module", autouse=True)
def small():
    """Answers how the small calls since the last `warmed` went."""
    original = MapDrive._run_at_once

    def spy(drive):
        original(drive)
        CALLS.append(drive.verdict is not None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MapDrive, "_run_at_once", spy)
        patch.setattr(_run, "_costs", Cheap())
        yield CALLS


def warmed(function, items=(0, 1), **options):
    """Let there be an idle worker."""
    parallel_map(function, items, **options)
    CALLS.clear()


def test_the_plan_is_not_asked(small):
    # The worker may be kept from answering in time, but not again and again.
    for _ in range(100):
        assert parallel_map(abs, [-1, -2]) == [1, 2]
        if small[-1]:
            break
    assert small[-1]


@given(st.lists(values, min_size=1, max_size=4))
def test_it_gives_what_map_gives(items):
    warmed(describe)
    assert same(
        outcome(lambda: parallel_map(describe, items)), outcome(lambda: [*map(describe, items)])
    )


def describe(item):
    return type(item).__name__, item


def act(how):
    """Do what an item says; others are cheap."""
    if how == "raise":
        raise KeyError(how)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "print":
        print("from the worker")
    if how == "slow":
        time.sleep(0.1)
    if how == "lambda":
        return Unreadable()
    if how == "large":
        return b"x" * (3 << 20)
    return how


class Unreadable:
    def __reduce__(self):
        return divmod, (1, 0)


def test_an_item_that_raises(small):
    warmed(act)
    with pytest.raises(KeyError) as caught:
        parallel_map(act, [1, "raise", 3])
    assert "item 1 of parallel_map(act)" in caught.value.__notes__[0]
    assert parallel_map(act, [1, 2]) == [1, 2]
    assert small[0] is False


def test_all_that_fail_stand_among_the_results(small):
    warmed(act)
    first, second, third = parallel_map(act, ["raise", 2, "raise"], on_error="return")
    assert (type(first), second, type(third)) == (KeyError, 2, KeyError)
    assert small == [False]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_worker_that_dies(small, place):
    warmed(act)
    items = [1, 2, 3]
    items[place] = "kill"
    with pytest.raises(WorkerDied) as caught:
        parallel_map(act, items)
    assert (caught.value.index, caught.value.signal) == (place, "SIGKILL")
    assert small == [False]


def test_a_worker_that_dies_and_a_retry(small, tmp_path):
    def once(path):
        if isinstance(path, int):
            return path
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return "again"
        os._exit(3)

    warmed(once)
    assert parallel_map(once, [1, tmp_path / "a", 3], retries=1) == [1, "again", 3]
    assert small == [False]


def test_output(small, capfd):
    warmed(act)
    assert parallel_map(act, [1, "print", 3]) == [1, "print", 3]
    assert capfd.readouterr().out == "from the worker\n"
    assert small  # whichever of the two comes first


def test_items_that_take_longer_than_it_seemed_are_shared(small):
    def slow_when_told(item):
        if item:
            time.sleep(0.3)
        return os.getpid()

    warmed(slow_when_told, [0, 0])
    assert len({*parallel_map(slow_when_told, [1, 1, 1, 1], max_workers=2)}) == 2
    assert small == [False]


def test_a_result_that_cannot_be_read(small):
    warmed(act)
    with pytest.raises(Exception, match="cannot be unpickled") as caught:
        parallel_map(act, [1, "lambda", 3])
    assert type(caught.value.__cause__) is ZeroDivisionError
    assert small == [False]


def test_an_item_that_cannot_be_sent():
    warmed(act)
    with pytest.raises(Exception, match="cannot be sent to another process"):
        parallel_map(act, [1, (n for n in ()), 3])


def test_a_large_result(small):
    warmed(act)
    assert [len(r) for r in parallel_map(act, ["large"] * 2)] == [3 << 20] * 2
    assert small  # whichever of the two comes first


def test_the_worker_is_killed_between_calls(small):
    with Pool(1) as pool:
        warmed(identify, executor=pool)
        (pid,) = parallel_map(identify, [0], executor=pool)
        os.kill(pid, signal.SIGKILL)
        assert parallel_map(identify, [0], executor=pool) != [pid]
    assert len(small) == 2


def test_each_call_counts_its_own_bytes(monkeypatch, capsys):
    warmed(abs)
    monkeypatch.setenv("PARMAP_DEBUG", "1")
    for _ in range(6):
        parallel_map(abs, [-1, -2])
    # The first brings the variable along.
    _, *counted = re.findall(r"([\d,]+) bytes sent, ([\d,]+) received", capsys.readouterr().err)
    assert len(counted) == 5
    assert all(0 < int(sent.replace(",", "")) < 500 for sent, _ in counted)
    assert all(0 < int(received.replace(",", "")) < 500 for _, received in counted)


def identify(_item):
    return os.getpid()


@given(
    cost=st.floats(1e-9, 10),
    seen=st.integers(1, 100_000),
    total=st.integers(1, 2_000),
    workers=st.integers(1, 200),
)
def test_the_plan_sends_what_was_sent_ahead(cost, seen, total, workers):
    plan = Plan(Rules(workers=workers, known=(cost, seen)))
    (command,) = plan.begin()
    assert type(command) is Read
    fits = plan.pace.size(total, workers) >= total
    started = plan.handle(InputRead(0.0, total, ended=True, nbytes=8 * total))
    assert not fits or [type(one) for one in started] == [StartWorker]
    sent = plan.handle(WorkerReady(0.0, started[0].worker, None))
    assert not fits or [*map(repr, sent)] == [repr(Send(started[0].worker, 0, total))]


@pytest.mark.parametrize("cores", [1, 1_000])
def test_the_caller_is_not_in_the_way_of_workers_that_have_enough_to_do(monkeypatch, cores):
    """It looks again and again only where there is a core for it, or an answer is due at once."""
    looked = []

    def look_again(poller, seconds):
        looked.append(seconds)
        return poller.poll(0), 0.0

    items = [20] * 20_000
    parallel_map(count, items)
    monkeypatch.setattr(_loop, "look_again", look_again)
    monkeypatch.setattr(_loop, "available_cpus", lambda: cores)
    assert parallel_map(count, items) == [190] * 20_000
    assert 0.0 in looked if cores == 1 else looked[0] == SPIN


def count(turns):
    total = 0
    for turn in range(turns):
        total += turn
    return total
