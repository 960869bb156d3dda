"""Workers are killed at random, all the while: the answer is serial `map`'s."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from parmap import Pool, WorkerDied, parallel_imap, parallel_map

from .deaths import enlist, work  # where imports are cheap: each new worker repeats them
from .harness import FULL

ITEMS = 20_000 if FULL else 2_000
ENOUGH = 100 if FULL else 1  # workers killed
METHODS = ("forkserver", "spawn", "fork")


class Killer:
    """Kills the workers of a pool, which it is told about by their initializer."""

    def __init__(self, seed: int, directory: str, pause: float) -> None:
        self.directory = directory
        self.killed = 0
        self._random = random.Random(seed)
        self._pause = pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._random.uniform(0, 2 * self._pause)):
            names = os.listdir(self.directory)
            if not names:
                continue
            name = self._random.choice(names)
            os.unlink(f"{self.directory}/{name}")
            if not _is_worker(int(name)):
                continue
            try:
                os.kill(int(name), self._random.choice([signal.SIGKILL, signal.SIGSEGV]))
            except ProcessLookupError:
                continue  # it has just ended
            self.killed += 1


def _is_worker(pid: int) -> bool:
    """Whether it still is one of ours; its number may be somebody else's by now."""
    mark = f"PARMAP_TESTS_OF={os.environ['PARMAP_TESTS_OF']}".encode()
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            marked = mark in file.read()
        with open(
            f"/proc/{pid}/stat"
        ) as file:  # a forked one has the environment of this run's start
            parent = int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return False
    return pid not in (1, os.getpid()) and (marked or parent == os.getpid())


@pytest.mark.timeout(600 if FULL else 60)
@pytest.mark.parametrize("method", METHODS)
def test_map(method: str, tmp_path) -> None:
    count = ITEMS
    pause = {"forkserver": 0.02, "spawn": 0.15, "fork": 0.02}[method]
    pool = Pool(3, start_method=method, initializer=enlist, initargs=(str(tmp_path),))
    with pool, Killer(1, str(tmp_path), pause) as killer:
        found = parallel_map(work, range(count), executor=pool, retries=1_000)
    print(killer.killed, "workers killed")
    assert killer.killed >= (1 if method == "spawn" else ENOUGH)  # which takes longer to start
    assert found == list(map(work, range(count)))


@pytest.mark.timeout(600 if FULL else 60)
@pytest.mark.parametrize("ordered", [True, False])
def test_imap(ordered: bool, tmp_path) -> None:
    with (
        Pool(3, initializer=enlist, initargs=(str(tmp_path),)) as pool,
        Killer(2, str(tmp_path), 0.02) as killer,
    ):
        found = list(
            parallel_imap(work, range(ITEMS), executor=pool, retries=1_000, ordered=ordered)
        )
    print(killer.killed, "workers killed")
    assert killer.killed >= ENOUGH
    if not ordered:
        found.sort()
    assert found == list(map(work, range(ITEMS)))


@pytest.mark.timeout(600 if FULL else 60)
def test_failures_stay_where_they_are(tmp_path) -> None:
    with (
        Pool(3, initializer=enlist, initargs=(str(tmp_path),)) as pool,
        Killer(3, str(tmp_path), 0.02) as killer,
    ):
        found = parallel_map(work, range(ITEMS), executor=pool, on_error="return")
    died = [index for index, result in enumerate(found) if isinstance(result, WorkerDied)]
    assert len(died) <= killer.killed
    for index, result in enumerate(found):
        if isinstance(result, WorkerDied):
            assert result.index == index
            assert result.signal in ("SIGKILL", "SIGSEGV")
        else:
            assert result == work(index)


@pytest.mark.timeout(600 if FULL else 60)
def test_submit(tmp_path) -> None:
    with (
        Pool(3, initializer=enlist, initargs=(str(tmp_path),)) as pool,
        Killer(4, str(tmp_path), 0.03) as killer,
    ):
        futures = [pool.submit(work, x) for x in range(ITEMS // 2)]
        died = 0
        for x, future in enumerate(futures):
            error = future.exception(30)
            died += error is not None
            assert error is None or isinstance(error, WorkerDied)
            assert error is not None or future.result() == work(x)
    assert died <= killer.killed


# --- one pool, several threads ------------------------------------------------------------------------


def whole(pool: Pool, chance: random.Random) -> None:
    count = chance.randrange(1, 200)
    chunksize = chance.choice([None, 1, 50])
    found = parallel_map(work, range(count), executor=pool, retries=1_000, chunksize=chunksize)
    assert found == list(map(work, range(count)))


def tasks(pool: Pool, chance: random.Random) -> None:
    futures = [pool.submit(work, x) for x in range(chance.randrange(1, 30))]
    for x, future in enumerate(futures):
        if chance.random() < 0.1 and future.cancel():
            continue
        error = future.exception(30)
        assert isinstance(error, WorkerDied) or (error is None and future.result() == work(x))


def lazy(pool: Pool, chance: random.Random) -> None:
    """Which is suspended while others wait, and left in one way or another."""
    results = parallel_imap(work, range(500), executor=pool, retries=1_000)
    for x in range(chance.randrange(30)):
        assert next(results) == work(x)
    time.sleep(chance.uniform(0, 0.05))
    if chance.random() < 0.5:
        results.close()


def from_tasks(pool: Pool, chance: random.Random) -> None:
    """An input that waits for tasks of the same pool."""
    items = map(pool.submit, [abs] * 20, range(20))
    read = (future.result(30) for future in items if future.exception(30) is None)
    found = parallel_map(work, read, executor=pool, retries=1_000)
    assert set(found) <= {work(x) for x in range(20)}


KINDS = (whole, tasks, lazy, from_tasks)


def use(pool: Pool, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(8):
        chance.choice(KINDS)(pool, chance)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(60 if FULL else 3))
def test_many_threads_use_one_pool(seed: int, tmp_path) -> None:
    """Nobody waits for ever, and nothing is wrong."""
    chance = random.Random(seed)
    pool = Pool(
        chance.randrange(1, 4),
        initializer=enlist,
        initargs=(str(tmp_path),),
        max_tasks_per_child=chance.choice([None, 20]),
    )
    with pool, Killer(seed, str(tmp_path), 0.05), ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(use, pool, 10 * seed + at) for at in range(4)]:
            done.result(60)
    assert not pool._parmap_stock._leased
