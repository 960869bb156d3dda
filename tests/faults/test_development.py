"""Python's development mode, with all warnings as errors: parmap has nothing to be told."""

from __future__ import annotations

import pytest

from .harness import run

SOURCE = """
import asyncio, gc, os, sys, threading, time
import parmap
from parmap import Pool, parallel_imap, parallel_map, run_in_process, spawn_each

method = sys.argv[1]

def look(x):  # in a worker: nothing has been left there to complain about
    gc.collect()
    assert sys.flags.dev_mode and "error" in sys.warnoptions, sys.warnoptions
    return bytes(x)

def end(x):
    return x == 2 and os._exit(3)

def fail(x):
    return 1 / x

async def use_lazily(pool):
    return [value async for value in parallel_imap(abs, range(-3, 0), executor=pool)]

for turn in range(2):
    # Python 3.15 warns of threads when a fork is done: as an error, that must not lose the child.
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    with Pool(2, start_method=method, idle_timeout=0.2, max_tasks_per_child=50) as pool:
        assert parallel_map(abs, range(-50, 0), executor=pool) == [*range(50, 0, -1)]
        assert len(parallel_map(look, [10, 5_000_000], executor=pool)[1]) == 5_000_000
        assert [pool.submit(abs, -x).result() for x in range(3)] == [0, 1, 2]
        lazy = parallel_imap(abs, range(1000), executor=pool)
        assert next(lazy) == 0
        lazy.close()
        assert asyncio.run(use_lazily(pool)) == [3, 2, 1]
        assert type(parallel_map(end, range(4), executor=pool, on_error="return")[2]) is parmap.WorkerDied
        assert type(parallel_map(fail, range(3), executor=pool, on_error="return")[0]) is ZeroDivisionError
        try:
            parallel_map(time.sleep, [30, 30], executor=pool, timeout=0.2)
        except parmap.CallTimeout:
            pass
        time.sleep(0.4)  # workers end, being idle
        assert parallel_map(abs, [-3], executor=pool) == [3]
    over.set()
    thread.join()
    assert run_in_process(abs, -3, start_method=method) == 3
    assert spawn_each(abs, [-3, -4], start_method=method) == [3, 4]
    gc.collect()
parmap.shutdown()
gc.collect()
"""


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_nothing_to_complain_about(method: str) -> None:
    """No socket, file or process is left to the garbage collector; nothing that is deprecated is used."""
    run(
        SOURCE,
        flags=["-X", "dev", "-W", "error"],
        arguments=[method],
        environment={"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"},  # for who is started by it
    )
