"""Shared memory and other named resources of `multiprocessing`: who removes them, and when.

A worker's end must not remove what others use; the program's end removes what nobody has. Warnings are
no errors in these programs, since then the tracker would keep them to itself.
"""

from __future__ import annotations

import os
import time

import pytest

METHODS = ("forkserver", "spawn", "fork")

HEAD = """
import os, signal, sys, time
from multiprocessing import shared_memory
import parmap
from parmap import Pool, parallel_map, run_in_process, spawn_each

def make(number):
    made = shared_memory.SharedMemory(create=True, size=64)
    made.buf[0] = number
    made.close()
    return made.name

def peek(name):
    attached = shared_memory.SharedMemory(name=name)
    found = attached.buf[0]
    attached.close()
    return found, os.getpid()

def remove(name):
    attached = shared_memory.SharedMemory(name=name)
    attached.close()
    attached.unlink()

def lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

def wait_for_the_end_of(pid):
    until = time.monotonic() + 20
    while lives(pid):
        assert time.monotonic() < until
        time.sleep(0.01)
    time.sleep(0.2)  # a tracker of its own would do its work now
"""


@pytest.fixture
def run(program):
    """Runs a program after the above, and looks that none of the segments that it names is left."""

    def run_it(source, *, stderr="", **options):
        (program.folder / "helper.py").write_text(HEAD, encoding="utf-8")
        source = "from helper import *\n" + source
        printed = program.run(source, flags=(), fails=bool(stderr), **options)
        assert stderr in program.stderr
        assert program.returncode == 0, program.stderr
        *names, last = printed.split()
        assert last == "done"
        until = time.monotonic() + 10
        while left := [name for name in names if os.path.exists(f"/dev/shm/{name}")]:
            assert time.monotonic() < until, left
            time.sleep(0.01)
        return names

    return run_it


ENDS = {
    "idle": """
with Pool(1, idle_timeout=0.1, start_method=method) as pool:
    for _ in range(2):
        (found, pid), = parallel_map(peek, [name], executor=pool)
        assert found == 7
        wait_for_the_end_of(pid)
""",
    "tasks": """
with Pool(2, max_tasks_per_child=1, start_method=method) as pool:
    found = parallel_map(peek, [name] * 4, executor=pool, chunksize=1)
    assert [seven for seven, _ in found] == [7] * 4
""",
    "the pool's end": """
for _ in range(2):
    with Pool(1, start_method=method) as pool:
        (found, pid), = parallel_map(peek, [name], executor=pool)
        assert found == 7
    wait_for_the_end_of(pid)
""",
    "shutdown": """
for _ in range(2):
    (found, pid), = parallel_map(peek, [name])
    assert found == 7
    parmap.shutdown()
    wait_for_the_end_of(pid)
""",
    "run_in_process": """
for _ in range(2):
    found, pid = run_in_process(peek, name, start_method=method)
    assert found == 7
    wait_for_the_end_of(pid)
""",
    "spawn_each": """
found = spawn_each(peek, [name] * 2, start_method=method) + spawn_each(peek, [name], start_method=method)
assert [seven for seven, _ in found] == [7] * 3
wait_for_the_end_of(found[-1][1])
""",
    "with a lock": """
import multiprocessing
lock = multiprocessing.get_context(method).Lock()
for _ in range(2):
    found, pid = run_in_process(lambda lock: peek(name), lock, start_method=method)
    assert found == 7
    wait_for_the_end_of(pid)
del lock
""",
    "initargs": """
for _ in range(2):
    with Pool(1, initializer=len, initargs=([own],), start_method=method) as pool:
        pid, = parallel_map(lambda _: os.getpid(), [0], executor=pool)
    wait_for_the_end_of(pid)
""",
    "a crash": """
with Pool(1, start_method=method) as pool:
    (found, pid), = parallel_map(peek, [name], executor=pool)
    os.kill(pid, signal.SIGKILL)
    wait_for_the_end_of(pid)
    assert parallel_map(peek, [name], executor=pool)[0][0] == 7
""",
}
OF_EACH_METHOD = [(end, method) for end in ENDS for method in METHODS if end != "shutdown"]


@pytest.mark.parametrize(("end", "method"), [("shutdown", "forkserver"), *OF_EACH_METHOD])
def test_the_callers_memory_outlives_workers(run, end, method):
    run(f"""
method = {method!r}
own = shared_memory.SharedMemory(create=True, size=64)
own.buf[0] = 7
name = own.name
{ENDS[end]}
time.sleep(0.2)
assert own.buf[0] == 7
assert peek(name)[0] == 7
own.close()
own.unlink()
print(name, "done")
""")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("call", ["map", "run_in_process", "spawn_each"])
def test_what_a_worker_makes_outlives_it(run, call, method):
    run(f"""
method = {method!r}
if {call!r} == "map":
    with Pool(2, start_method=method) as pool:
        names = parallel_map(make, [1, 2], executor=pool, chunksize=1)
elif {call!r} == "run_in_process":
    names = [run_in_process(make, number, start_method=method) for number in (1, 2)]
else:
    names = spawn_each(make, [1, 2], start_method=method)
time.sleep(0.3)
assert [peek(name)[0] for name in names] == [1, 2]
with Pool(2) as pool:  # what the caller attaches to has a tracker by now
    assert [found for found, _ in parallel_map(peek, names, executor=pool, chunksize=1)] == [1, 2]
remove(names[0])
run_in_process(remove, names[1])
print(*names, "done")
""")


@pytest.mark.parametrize("before", ["", "own = shared_memory.SharedMemory(create=True, size=9)\n"])
def test_what_nobody_removes_is_removed_at_the_end(run, before):
    after = "own.close(); own.unlink()" if before else ""
    names = run(
        f"""{before}
def make_and_die(number):
    print(make(number), flush=True)
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)
with Pool(2) as pool:
    print(*parallel_map(make, [1, 2], executor=pool))
    parallel_map(make_and_die, [3], executor=pool, on_error="return")
{after}
print("done")
""",
        stderr="There appear to be 3 leaked shared_memory objects",
    )
    assert len(names) == 3


def test_shareable_lists_and_arrays(run, np):
    run("""
import numpy as np
def sum_of(name, size):
    attached = shared_memory.SharedMemory(name=name)
    array = np.ndarray(size, dtype=np.float64, buffer=attached.buf)
    array[0] += 1
    found = float(array.sum())
    del array
    attached.close()
    return found
def last(shared):
    return shared[-1]
listed = shared_memory.ShareableList([1, 2.5, "x"])
own = shared_memory.SharedMemory(create=True, size=80)
array = np.ndarray(10, dtype=np.float64, buffer=own.buf)
array[:] = 1
for _ in range(2):
    with Pool(1) as pool:
        assert parallel_map(last, [listed] * 2, executor=pool) == ["x", "x"]
        parallel_map(sum_of, [own.name], [10], executor=pool)
    time.sleep(0.2)
assert array.sum() == 12
assert listed[1] == 2.5
print(own.name, listed.shm.name, "done")
del array
for one in (own, listed.shm):
    one.close()
    one.unlink()
""")


def test_semaphores_made_in_a_worker(run):
    run("""
import multiprocessing
def count(n):
    lock = multiprocessing.get_context("spawn").Lock()
    with lock:
        return n
with Pool(2) as pool:
    assert parallel_map(count, range(9), executor=pool, chunksize=1) == list(range(9))
assert run_in_process(count, 3) == 3
print("done")
""")


@pytest.mark.parametrize("has_own", [True, False])
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_that_a_worker_starts(run, has_own, method):
    before = "own = shared_memory.SharedMemory(create=True, size=9)"
    run(f"""
def start(name):
    import multiprocessing, helper
    process = multiprocessing.get_context({method!r}).Process(target=helper.peek, args=(name,))
    process.start()
    process.join()
    return process.exitcode
def make_and_start(_):
    name = make(1)
    assert start(name) == 0
    remove(name)
    return name
{before if has_own else ""}
print(run_in_process(make_and_start, 0), *parallel_map(make_and_start, range(2)))
if {has_own}:
    assert run_in_process(start, own.name) == 0
    time.sleep(0.3)
    assert peek(own.name)[0] == 0
    own.close()
    own.unlink()
print("done")
""")


def test_calls_within_workers(run):
    run("""
def outer(name):
    with Pool(1) as pool:
        found = parallel_map(peek, [name], executor=pool)[0][0]
        return found, parallel_map(make, [5], executor=pool)[0]
own = shared_memory.SharedMemory(create=True, size=9)
for _ in range(2):
    found, name = run_in_process(outer, own.name)
    time.sleep(0.2)
    assert (found, peek(name)[0]) == (0, 5)
    remove(name)
peek(own.name)
own.close()
own.unlink()
print(own.name, "done")
""")


def test_a_tracker_that_was_started_anew(run):
    """Workers that are warm get the new one; and none keeps more descriptors for it."""
    run("""
import warnings
from multiprocessing import resource_tracker
def held(name):
    return peek(name)[0], len(os.listdir("/proc/self/fd"))
with Pool(1) as pool:
    counts = set()
    for _ in range(3):
        own = shared_memory.SharedMemory(create=True, size=9)
        counts.add(parallel_map(held, [own.name], executor=pool)[0])
        counts.add(parallel_map(held, [own.name], executor=pool)[0])
        own.close()
        own.unlink()
        pid = resource_tracker._resource_tracker._pid
        os.kill(pid, signal.SIGKILL)
        wait_for_the_end_of(pid)
        warnings.simplefilter("ignore")
        resource_tracker.ensure_running()
        assert resource_tracker._resource_tracker._pid != pid
    own = shared_memory.SharedMemory(create=True, size=9)
    assert parallel_map(held, [own.name], executor=pool)[0] in counts
    assert len(counts) == 1
time.sleep(0.2)
peek(own.name)
own.close()
own.unlink()
print(own.name, "done")
""")


def test_who_uses_none_pays_nothing(program):
    source = """
import os, sys
from parmap import parallel_map, run_in_process
{before}
def imported(_):
    return [name for name in sys.modules if name.startswith("multiprocessing")]
assert parallel_map(imported, range(4)) == [[]] * 4
assert run_in_process(imported, 0) == []
with open(f"/proc/self/task/{{os.getpid()}}/children") as file:
    children = file.read().split()
print(len(children), *imported(0))
"""
    assert program.run(source.format(before="")) == "1\n"  # the clean server
    # Nor does one who has only imported it have a process started.
    printed = program.run(source.format(before="import multiprocessing.resource_tracker"))
    assert printed.split()[0] == "1"


AT_THE_END = {
    "a lazy map": "lazy = parmap.parallel_imap(peek, [own.name] * 10**6); next(lazy)",
    "a lazy map in a cycle": "lazy = [parmap.parallel_imap(peek, [own.name] * 10**6)]; next(lazy[0]); lazy.append(lazy)",
    "a thread": "threading.Thread(target=parallel_map, args=(pause, [0] * 2), daemon=True).start(); time.sleep(0.5)",
    "warm workers": "parallel_map(peek, [own.name])",
    "a late call": "atexit.register(parallel_map, peek, [own.name])",
    "a late first call": "atexit.register(parallel_map, peek, [own.name]); del parmap",
}


@pytest.mark.parametrize("what", AT_THE_END)
def test_the_program_ends_whoever_is_left(program, what):
    """Python 3.13.3, and others, wait for the tracker's end at last, which waits for the workers'."""
    first = "" if "first" in what else "parallel_map(peek, [own.name])"
    (program.folder / "helper.py").write_text(HEAD, encoding="utf-8")
    program.run(
        f"""
from helper import *
import atexit, threading
from multiprocessing import resource_tracker

def wait_for_it(tracker):
    if tracker._fd is not None and tracker._pid is not None:
        os.close(tracker._fd)
        os.waitpid(tracker._pid, 0)
        tracker._fd = tracker._pid = None
resource_tracker.ResourceTracker.__del__ = wait_for_it
def pause(_):
    time.sleep(60)
own = shared_memory.SharedMemory(create=True, size=9)
{first}
{AT_THE_END[what]}
""",
        flags=(),
        fails=True,  # the memory is left, and the tracker says so
        timeout=20,
    )
    assert program.returncode == 0, program.stderr
