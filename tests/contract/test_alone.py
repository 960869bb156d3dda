"""Tasks that are submitted one at a time go to a warm worker before the plan is asked: they give the same."""

from __future__ import annotations

import os
import pathlib
import signal
import threading
import time

import pytest
from hypothesis import given

from parmap import CallTimeout, ParmapError, Pool, SerializationError, WorkerDied, parallel_map
from parmap._small import AheadDrive
from parmap._submit import Submissions, _SubmitDrive

from .common import outcome, same, values
from .test_reviewed import wait_for
from .test_small import act, describe


@pytest.fixture(autouse=True, params=["by the thread", "by whoever is first"])
def way(request, monkeypatch):
    """Without and with those that their submitter sends himself; see `test_direct`."""
    if request.param == "by the thread":
        monkeypatch.setattr(Submissions, "_engage", lambda *_: False)
    return request.param


@pytest.fixture
def alone(monkeypatch):
    """For each task that was tried: whether it was answered before the plan was asked."""
    tried: list[bool] = []
    run_alone, ask_plan = _SubmitDrive._run_alone, AheadDrive._ask_plan

    def spy(drive, task):
        tried.append(True)
        if not run_alone(drive, task):
            tried.pop()
            return False
        return True

    def ask(drive, heard):
        tried[-1:] = [False]
        ask_plan(drive, heard)

    monkeypatch.setattr(_SubmitDrive, "_run_alone", spy)
    monkeypatch.setattr(AheadDrive, "_ask_plan", ask)
    return tried


@pytest.fixture(scope="module")
def pool():
    with Pool(2) as pool:
        pool.submit(abs, 0).result()
        yield pool


def test_the_plan_is_not_asked(pool, alone, way):
    if way != "by the thread":
        pytest.skip("nor is the thread")
    for number in range(100):
        assert pool.submit(abs, -number).result() == number
        if alone and alone[-1]:
            break
    assert alone[-1]


@given(values)
def test_it_gives_what_a_call_gives(pool, item):
    assert same(
        outcome(lambda: pool.submit(describe, item).result()), outcome(lambda: describe(item))
    )


def test_whatever_happens_the_next_task_is_well(pool, capfd):
    with pytest.raises(KeyError):
        pool.submit(act, "raise").result()
    assert pool.submit(act, 1).result() == 1
    with pytest.raises(WorkerDied) as caught:
        pool.submit(act, "kill").result()
    assert caught.value.signal == "SIGKILL"
    assert pool.submit(act, 2).result() == 2
    with pytest.raises(SerializationError):
        pool.submit(act, "lambda").result()
    assert pool.submit(act, 3).result() == 3
    assert len(pool.submit(act, "large").result()) == 3 << 20
    assert pool.submit(act, "print").result() == "print"
    assert pool.submit(act, "slow").result() == "slow"
    assert pool.submit(act, 4).result() == 4
    assert capfd.readouterr().out == "from the worker\n"


def test_a_task_may_wait_for_one_that_is_submitted_later(pool, alone, way, tmp_path):
    pool.submit(abs, 1).result()
    path = tmp_path / "file"
    first = pool.submit(wait_for, path)
    assert pool.submit(path.touch).result(timeout=60) is None
    assert first.result(timeout=60) == "there"
    assert way != "by the thread" or False in alone or len(alone) < 3


def test_tasks_of_many_threads(pool):
    wrong = []

    def work(start):
        for number in range(start, start + 200):
            if pool.submit(abs, -number).result(timeout=60) != number:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(1000 * at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_tasks_beside_maps_on_the_same_pool(pool, monkeypatch):
    """A worker that the plan has asked for may still be with a map: then none is sent ahead."""
    go_ahead = AheadDrive._go_ahead
    members = []

    def spy(drive, link, stop):
        members.append(len(drive.plan.crew.members))
        go_ahead(drive, link, stop)

    monkeypatch.setattr(AheadDrive, "_go_ahead", spy)
    ended = threading.Event()

    def map_on():
        while not ended.is_set():
            assert parallel_map(nap, range(4), executor=pool, chunksize=1) == [*range(4)]

    mapping = threading.Thread(target=map_on)
    mapping.start()
    try:
        for number in range(100):
            futures = [pool.submit(nap, -number) for _ in range(number % 4)]
            assert [future.result(timeout=60) for future in futures] == [-number] * (number % 4)
            assert pool.submit(abs, -number).result(timeout=60) == number
    finally:
        ended.set()
        mapping.join()
    assert not any(members)


def nap(item):
    time.sleep(0.001)
    return item


def test_a_task_that_does_not_fit_the_socket(pool, alone):
    pool.submit(abs, 1).result()
    tried = len(alone)
    data = bytes(range(256)) * 4096
    assert pool.submit(bytes, data).result(timeout=60) == data
    assert len(alone) == tried


def start_slowly(folder, fails):
    """Start at once, but for the second worker."""
    number = len(os.listdir(folder))
    pathlib.Path(folder, str(number)).touch()
    if number == 1:
        time.sleep(0.3)
        if fails:
            raise OSError("not this time")


@pytest.mark.parametrize("way", ["submit", "map"])
@pytest.mark.parametrize(("size", "fails"), [(1, True), (2, False)])
def test_a_worker_that_still_starts_is_not_sent_anything_ahead(tmp_path, size, fails, way):
    with Pool(size, initializer=start_slowly, initargs=(tmp_path, fails)) as pool:
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        with pytest.raises(CallTimeout):  # and gives back a worker that still starts
            parallel_map(abs, [1], executor=pool, timeout=0.1)
        if way == "map":
            assert parallel_map(abs, [-1], executor=pool) == [1]
        else:
            futures = [pool.submit(abs, -1)]
            time.sleep(0.05)
            futures += [pool.submit(abs, -1) for _ in range(40)]
            assert {future.result(timeout=60) for future in futures} == {1}


def test_tasks_that_come_while_one_is_taken(pool, monkeypatch):
    """They set no wake, since some wait already: who takes one has to look for more."""
    take = Submissions.take
    monkeypatch.setattr(Submissions, "take", lambda self, most: take(self, min(most, 1)))
    for _ in range(20):
        futures = [pool.submit(abs, -number) for number in range(10)]
        assert [future.result(timeout=60) for future in futures] == [*range(10)]


def test_tasks_that_come_while_one_runs(pool, monkeypatch):
    """The plan hears of them before it sends, so more than the first may be sent at once."""
    pool.submit(abs, 1).result()

    def listen_late(drive, link):
        until = time.monotonic() + 10
        while len(drive._submissions._waiting) < 9 and time.monotonic() < until:
            time.sleep(0.001)
        return []

    monkeypatch.setattr(AheadDrive, "_listen", listen_late)
    futures = [pool.submit(abs, -number) for number in range(10)]
    assert [future.result(timeout=60) for future in futures] == [*range(10)]


@pytest.mark.parametrize("limits", [{"max_tasks_per_child": 1}, {"memory_limit": 1 << 40}])
def test_where_there_are_limits_the_plan_is_asked(limits, alone):
    with Pool(1, **limits) as pool:
        pids = {pool.submit(os.getpid).result() for _ in range(3)}
    assert not alone
    assert len(pids) == (3 if "max_tasks_per_child" in limits else 1)


@pytest.mark.parametrize("end", ["shutdown", "terminate", "drop"])
def test_the_end_of_a_pool_while_one_runs(end):
    pool = Pool(1)
    pool.submit(abs, 1).result()
    future = pool.submit(act, "slow")
    while not future.running():
        time.sleep(0.001)
    if end == "terminate":
        pool.terminate_workers()
        with pytest.raises(ParmapError):  # not that a worker died, if it had not been sent to one
            future.result(timeout=60)
        return
    if end == "shutdown":
        pool.shutdown()
        assert future.done()
    del pool
    assert future.result(timeout=60) == "slow"
