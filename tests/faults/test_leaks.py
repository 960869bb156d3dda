"""Long runs: descriptors, threads and children stay as they are, and memory nearly so."""

from __future__ import annotations

import pytest

from .harness import FULL, run

COUNT = """
import gc, os, time
import parmap

def counts():
    gc.collect()
    children = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        children += int(fields[3]) == os.getsid(0)
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), children

def work_a_little(x):
    time.sleep(0.005)
    return os.getpid()

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 // 1024  # kilobytes

def check(work, times, warm_up, allowed):
    for _ in range(warm_up):
        work()
    before, memory = counts(), resident()
    for _ in range(times):
        work()
    after, grown = counts(), resident() - memory
    assert before == after, (before, after)
    assert grown < allowed, f"{grown} KB"
"""


def long_run(work: str, times: int, warm_up: int = 20, allowed: int = 4_000) -> None:
    body = "\n".join(f"    {line}" for line in work.splitlines())
    run(f"{COUNT}\ndef work():\n{body}\n\ncheck(work, {times}, {warm_up}, {allowed})\n")


def test_calls() -> None:
    long_run(
        "assert parmap.parallel_map(abs, range(10), max_workers=2) == [*range(10)]",
        2_000 if FULL else 300,
    )


def test_calls_with_functions_of_their_own() -> None:
    long_run(
        "n = os.urandom(4)\n"
        "assert parmap.parallel_map(lambda x: (x, n), range(10), max_workers=2)[1] == (1, n)",
        300,
    )


def test_pools() -> None:
    long_run(
        "with parmap.Pool(2) as pool:\n"
        "    assert pool.submit(abs, -3).result() == 3\n"
        "    assert parmap.parallel_map(abs, range(4), executor=pool) == [*range(4)]",
        200 if FULL else 30,
        warm_up=5,
    )


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_pools_of_other_kinds(method: str) -> None:
    long_run(
        f"with parmap.Pool(2, start_method={method!r}) as pool:\n"
        "    assert parmap.parallel_map(abs, range(4), executor=pool) == [*range(4)]",
        10,
        warm_up=3,
    )


def test_lazy_map() -> None:
    items = 1_000_000 if FULL else 20_000
    long_run(
        f"assert sum(parmap.parallel_imap(abs, range({items}), max_workers=2)) == sum(range({items}))",
        1,
        warm_up=5 if FULL else 20,  # each worker has its memory for numbers once it has sent some
        allowed=8_000,
    )


def test_lazy_maps_that_are_left() -> None:
    long_run(
        "lazy = parmap.parallel_imap(str, iter(int, 1), max_workers=2)\nassert next(lazy) == '0'\nlazy.close()",
        60,
    )


def test_failures() -> None:
    long_run(
        "try:\n    parmap.parallel_map(lambda x: 1 / x, range(3), max_workers=2)\n"
        "except ZeroDivisionError:\n    pass",
        200,
    )


def test_deaths() -> None:
    long_run(
        "found = parmap.parallel_map(lambda x: x == 2 and os._exit(1), range(4), max_workers=2, on_error='return')\n"
        "assert type(found[2]) is parmap.WorkerDied\n"
        "there = set()\n"
        "while len(there) < 2:  # one may still be starting\n"
        "    there |= {*parmap.parallel_map(work_a_little, range(8), max_workers=2, chunksize=1)}",
        60,
    )


def test_timeouts() -> None:
    long_run(
        "import time\n"
        "try:\n    parmap.parallel_map(lambda x: time.sleep(9), range(4), max_workers=2, timeout=0.05)\n"
        "except parmap.CallTimeout:\n    pass\n"
        "parmap.parallel_map(lambda x: time.sleep(0.01), range(8), max_workers=2, chunksize=1)",
        20,
        warm_up=5,
    )


def test_fresh_processes() -> None:
    long_run(
        "assert parmap.run_in_process(abs, -3) == 3\nassert parmap.spawn_each(abs, range(3)) == [0, 1, 2]",
        60,
    )


def test_large_buffers() -> None:
    long_run(
        "found = parmap.parallel_map(bytes, [5_000_000] * 4, max_workers=2)\n"
        "assert sum(map(len, found)) == 20_000_000",
        40,
        allowed=30_000,
    )
