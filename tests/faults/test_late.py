"""Calls at odd moments: while a module is imported, when the program ends, in threads that end."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from .harness import Program, most_telling, run, until

#: All ways to call, with the same right answer.
WAYS = """
def in_pool():
    with parmap.Pool(1) as own:
        return parmap.parallel_map(abs, range(-3, 0), executor=own)

def by_submit():
    with parmap.Pool(1) as own:
        return [own.submit(abs, n).result() for n in range(-3, 0)]

WAYS = {
    "map": lambda: parmap.parallel_map(abs, range(-3, 0)),
    "imap": lambda: list(parmap.parallel_imap(abs, range(-3, 0))),
    "process": lambda: [parmap.run_in_process(abs, n) for n in range(-3, 0)],
    "each": lambda: parmap.spawn_each(abs, range(-3, 0)),
    "each fork": lambda: parmap.spawn_each(abs, range(-3, 0), start_method="fork"),
    "pool": in_pool,
    "submit": by_submit,
    "old pool": lambda: parmap.parallel_map(abs, range(-3, 0), executor=old),
    "old submit": lambda: [old.submit(abs, n).result() for n in range(-3, 0)],
}

ParmapError = parmap.ParmapError

def try_all(ways=WAYS):
    for name, call in ways.items():
        try:
            print(name, call(), flush=True)
        except (RuntimeError, ImportError, ParmapError) as error:
            print(name, "refused:", type(error).__name__, error, flush=True)
"""
NAMES = ["map", "imap", "process", "each", "each fork", "pool", "submit", "old pool", "old submit"]

#: What may be said instead of an answer.
REFUSALS = (
    "RuntimeError cannot schedule new",
    "RuntimeError a Pool cannot be made while the interpreter shuts down",
    "ImportError sys.meta_path is None, Python is likely shutting down",
    "WorkerStartError no worker process can be started: can't fork at interpreter shutdown",
    "RuntimeError can't create new thread at interpreter shutdown",
    "PythonFinalizationError ",  # Python 3.13's own, a RuntimeError
)

#: What needs a fork of this very process, or a thread, which Python 3.12 has no longer then.
PYTHON_REFUSES = {"each fork", "submit"} if sys.version_info[:2] == (3, 12) else set[str]()


def check_lines(out: str, names: list[str]) -> list[str]:
    """Each way was right, or refused in a clear manner; answer those that were right."""
    lines = out.splitlines()
    assert [line.split(" [")[0].split(" refused")[0] for line in lines] == names, out
    right = [name for name, line in zip(names, lines, strict=True) if line == f"{name} [3, 2, 1]"]
    for name, line in zip(names, lines, strict=True):
        refusal = line.removeprefix(f"{name} refused: ")
        assert name in right or refusal.startswith(REFUSALS), line
    return right


# --- when the program ends --------------------------------------------------------------------------------


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_calls_from_atexit(used: bool, first: bool) -> None:
    """Registered before anything of ours, so that it comes after us, or after it."""
    register = "atexit.register(try_all)"
    use = "parmap.parallel_map(abs, [-1]); old.submit(abs, -1).result()" if used else ""
    program = (
        f"import atexit, parmap\nold = parmap.Pool(1)\n{WAYS}\n"
        f"{register if first else ''}\n{use}\n{'' if first else register}\n"
    )
    right = check_lines(run(program), NAMES)
    assert {*NAMES[:7]} - PYTHON_REFUSES <= {*right}


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize("kept", ["late", "late.itself = late", "sys.modules['late'] = late"])
def test_calls_from_a_finalizer_at_exit(used: bool, kept: str) -> None:
    use = "parmap.parallel_map(abs, [-1]); old.submit(abs, -1).result()" if used else ""
    program = f"""
import sys, parmap
old = parmap.Pool(1)
{WAYS}
class Late:
    def __del__(self, try_all=try_all):
        try_all()

late = Late()
{kept}
{use}
"""
    check_lines(run(program), NAMES)


def test_calls_from_a_finalizer_in_a_call() -> None:
    """An item, a result, and the input are let go while a call is under way."""
    program = """
        import gc, parmap

        class Late:
            def __init__(self, n):
                self.n = n
                self.itself = self
            def __del__(self):
                seen.append(parmap.parallel_map(abs, [-self.n], max_workers=1) == [self.n])

        def inputs():
            for n in range(6):
                Late(n)
                gc.collect()
                yield n

        seen = []
        assert parmap.parallel_map(abs, inputs(), max_workers=2, chunksize=1) == [*range(6)]
        assert list(parmap.parallel_imap(abs, inputs(), max_workers=2)) == [*range(6)]
        gc.collect()
        print(seen == [True] * 12)
        """
    assert run(program) == "True\n"


@pytest.mark.parametrize("call", most_telling(["map", "submit", "process", "imap", "each"], 3))
def test_daemon_thread_that_calls_for_ever(call: str) -> None:
    """The program ends, whatever the thread is at; what it says then is an error of its own."""
    program = f"""
import threading, time, parmap
old = parmap.Pool(1)
{WAYS}
begun = threading.Event()
def calls():
    while True:
        assert WAYS[{call!r}]() == [3, 2, 1]
        begun.set()

threading.Thread(target=calls, daemon=True).start()
begun.wait()
time.sleep(0.05)
"""
    run(program, quiet=False)


# --- threads that end -------------------------------------------------------------------------------------


ENDS = {"sys.exit": "sys.exit(3)", "raise": "raise LookupError('enough')", "return": "return"}

IN_THREAD = """
import os, sys, threading, time
import parmap
from itertools import count

def work(x):
    open(f"begun-{x}", "w").write(str(os.getpid()))
    if x:
        time.sleep(1e6)

def wait(count):
    while sum(os.path.exists(f"begun-{x}") and os.path.getsize(f"begun-{x}") > 0 for x in range(9)) < count:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("end", ENDS)
def test_thread_that_ends_in_the_middle_of_a_lazy_map(end: str) -> None:
    """Its workers are gone, while the program lives on, and calls go on."""
    program = f"""{IN_THREAD}
def consume():
    for _ in parmap.parallel_imap(work, count(), max_workers=2, chunksize=1):
        wait(2)
        {ENDS[end]}

thread = threading.Thread(target=consume)
thread.start()
thread.join()
said = [open(f"begun-{{x}}").read() for x in range(1, 9) if os.path.exists(f"begun-{{x}}")]
pids = {{int(pid) for pid in said if pid}}
assert pids
until = time.monotonic() + 20
while pids and time.monotonic() < until:
    pids = {{pid for pid in pids if os.path.exists(f"/proc/{{pid}}")}}
    time.sleep(0.01)
print(pids)
print(parmap.parallel_map(abs, [-1, -2]))
"""
    with Program(program) as running:
        assert running.ended_well(quiet=False) == "set()\n[1, 2]\n"
        assert ("Traceback" in running.err) == (end == "raise"), running.err


@pytest.mark.parametrize("end", ["sys.exit", "raise"])
@pytest.mark.parametrize("where", ["input", "progress", "item"])
def test_thread_that_ends_within_a_call(end: str, where: str) -> None:
    program = f"""{IN_THREAD}
def numbers():
    if {where == "input"}:
        yield 0
        # What an error of the input comes after is awaited, as `map` would have run it.
        yield {int(end == "sys.exit")}
        {ENDS[end]}
    yield 1
    yield 2
def progress(done, total):
    if {where == "progress"}:
        {ENDS[end]}
def item(x):
    if {where == "item"}:
        {ENDS[end]}
    work(x)
def call():
    func = (lambda x: item(x) if x == 1 else work(x)) if {where == "item"} else work
    if {where == "progress"}:
        func = abs
    parmap.parallel_map(func, numbers(), max_workers=2, chunksize=1, progress=progress)

thread = threading.Thread(target=call)
thread.start()
print(parmap.parallel_map(lambda x: time.sleep(0.05) or x, range(4), max_workers=2))
thread.join()
print(parmap.parallel_map(abs, [-1, -2]))
"""
    with Program(program) as running:
        assert running.ended_well(quiet=False) == "[0, 1, 2, 3]\n[1, 2]\n"
        assert ("Traceback" in running.err) == (end == "raise"), running.err


# --- the terminal -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call", ["parallel_map(work, [1, 2], max_workers=2)", "spawn_each(work, [1, 2])"]
)
def test_terminal_that_is_closed(call: str) -> None:
    """As its window is: SIGHUP, and no terminal to write to."""
    ours, theirs = os.openpty()

    def adopt() -> None:  # in a session of its own by then
        import fcntl
        import termios

        os.close(ours)
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        for fd in range(3):
            os.dup2(theirs, fd)

    program = f"{IN_THREAD}\nparmap.{call}\n"
    try:
        with Program(program, before=adopt, pass_fds=(ours, theirs)) as running:
            os.close(theirs)
            theirs = -1
            files = [running.directory / f"begun-{x}" for x in (1, 2)]
            assert until(lambda: all(file.exists() and file.read_text() for file in files), 30)
            os.close(ours)
            ours = -1
            running.ends(10)
            assert running.code == -signal.SIGHUP
            assert not running.left(), running.left()
    finally:
        for fd in (ours, theirs):
            if fd >= 0:
                os.close(fd)


# --- lazy maps that nobody holds any more -------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cycle", "generator", "frame", "exception"])
def test_lazy_map_that_is_garbage(how: str) -> None:
    text = {
        "cycle": "class Box: pass\nbox = Box(); box.me = box; box.lazy = begun(); del box",
        "generator": "def through():\n    yield from begun()\nlines = through(); next(lines); del lines",
        "frame": "def leave():\n    mine = begun(); frames = [sys._getframe()]\nleave()",
        "exception": (
            "def fail():\n    mine = begun(); raise LookupError\n"
            "try: fail()\nexcept LookupError as error: kept = [error]; kept.append(kept)\ndel kept"
        ),
    }[how]
    program = f"""{IN_THREAD}
import gc
def begun():
    lazy = parmap.parallel_imap(work, map(abs, [0, 0, 1]), max_workers=2, chunksize=1)
    next(lazy)
    if {how != "generator"}:
        next(lazy)
    while not os.path.exists("begun-1"):
        time.sleep(0.01)
    return lazy
{text}
gc.collect()
until = time.monotonic() + 20
pid = open("begun-1").read()
while os.path.exists(f"/proc/{{pid}}") and time.monotonic() < until:
    time.sleep(0.01)
print(os.path.exists(f"/proc/{{pid}}"))
"""
    assert run(program) == "False\n"


# --- while a module is imported -----------------------------------------------------------------------------


AT_IMPORT = {
    "map": "parmap.parallel_map(double, range(3))",
    "imap": "list(parmap.parallel_imap(double, range(3)))",
    "two workers": "parmap.parallel_map(double, range(3), max_workers=2)",
    "timeout": "parmap.parallel_map(double, range(3), timeout=100)",
    "process": "[parmap.run_in_process(double, n) for n in range(3)]",
    "each": "parmap.spawn_each(double, range(3))",
    "submit": "[pool.submit(double, n).result() for n in range(3)]",
    "pool": "parmap.parallel_map(double, range(3), executor=pool)",
    "initializer": "parmap.parallel_map(abs, range(0, 6, 2), executor=parmap.Pool(1, initializer=double, initargs=(1,)))",
    "item": "parmap.parallel_map(len, [Sized(n) for n in range(0, 6, 2)], max_workers=2)",
    "process fork": "[parmap.run_in_process(double, n, start_method='fork') for n in range(3)]",
    "each spawn": "parmap.spawn_each(double, range(3), start_method='spawn')",
}
#: Those that can be right: in its workers the call is serial, or they need not import the module.
RIGHT = {"map", "imap", "process fork"}


@pytest.mark.parametrize("call", AT_IMPORT)
def test_call_while_its_module_is_imported(call: str) -> None:
    """The workers import the module, too: they must not call in their turn for ever."""
    program = f"""
import os, sys
import parmap

open("mapper.py", "w").write('''
import os, parmap
with open("count", "a") as file:
    file.write("x")
if os.path.getsize("count") > 30:
    os._exit(9)  # enough
def double(x):
    return 2 * x
class Sized:
    def __init__(self, n):
        self.n = n
    def __len__(self):
        return self.n
with parmap.Pool(1) as pool:
    found = {AT_IMPORT[call]}
''')
sys.path.insert(0, ".")
try:
    import mapper
    print(mapper.found)
except Exception as error:
    print(error)
print(os.path.getsize("count") < 20, parmap.parallel_map(abs, [-1]))
"""
    out, last = run(program).rstrip("\n").rsplit("\n", 1)
    assert last == "True [1]"
    if call in RIGHT:
        assert out == "[0, 2, 4]"
    else:
        assert "the module 'mapper' starts processes while it is imported" in out, out


def test_calls_while_a_module_is_imported_that_end() -> None:
    """A module may call what is elsewhere, and be imported by workers, too."""
    program = """
        import sys
        import parmap

        open("other.py", "w").write("def five():\\n    return 5\\n")
        open("mapper.py", "w").write('''
        import parmap, other
        FIVE = parmap.run_in_process(other.five)
        ONES = parmap.parallel_map(abs, [-1, 1], max_workers=2)
        with parmap.Pool(1) as pool:
            SIX = pool.submit(abs, -6).result()
        def add(x):
            return x + FIVE
        def inner():
            return parmap.run_in_process(other.five), parmap.parallel_map(abs, [-1], max_workers=1)
        THERE = parmap.run_in_process(inner, start_method="fork")
        '''.replace("\\n        ", "\\n"))
        sys.path.insert(0, ".")
        import mapper
        print(mapper.ONES, mapper.SIX, mapper.THERE)
        print(parmap.parallel_map(mapper.add, [1, 2], max_workers=2), parmap.run_in_process(mapper.add, 3))
        with parmap.Pool(1) as pool:
            print(pool.submit(mapper.add, 4).result())
        """
    assert run(program) == "[1, 1] 6 (5, [1])\n[6, 7] 8\n9\n"


def test_objects_of_multiprocessing_while_a_module_is_imported() -> None:
    """They travel in a way of their own, which must end as well."""
    program = """
        import os, sys
        import parmap

        open("mapper.py", "w").write('''
        import multiprocessing, os, parmap
        with open("count", "a") as file:
            file.write("x")
        if os.path.getsize("count") > 30:
            os._exit(9)
        def first(x, event):
            return x
        found = parmap.run_in_process(first, 3, multiprocessing.Event())
        '''.replace("\\n        ", "\\n"))
        sys.path.insert(0, ".")
        try:
            import mapper
            print(mapper.found)
        except (RuntimeError, parmap.ParmapError) as error:
            print("refused")
        print(os.path.getsize("count") < 20)
        """
    said, ended = run(program, quiet=False).splitlines()
    assert said in {"3", "refused"}
    assert ended == "True"


def test_import_in_a_thread_while_others_call() -> None:
    """That one thread imports something is nothing to the calls of another."""
    program = """
        import sys, threading
        import parmap

        open("slow.py", "w").write("import go_on; go_on.begun.set(); go_on.event.wait()")
        open("go_on.py", "w").write("import threading; event, begun = threading.Event(), threading.Event()")
        sys.path.insert(0, ".")
        import go_on
        thread = threading.Thread(target=__import__, args=("slow",))
        thread.start()
        go_on.begun.wait()
        print(parmap.parallel_map(abs, [-1, -2], max_workers=2), parmap.run_in_process(abs, -3))
        go_on.event.set()
        thread.join()
        """
    assert run(program) == "[1, 2] 3\n"
