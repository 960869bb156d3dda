"""Workers are killed at random, all the while: the answer is serial `map`'s."""

from __future__ import annotations

import os
import random
import signal
import threading

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
            if _is_worker(int(name)):
                os.kill(int(name), self._random.choice([signal.SIGKILL, signal.SIGSEGV]))
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
