"""The caller ends, in every way there is: everything that it started is gone within two seconds."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest

from . import deaths
from .harness import Hangs, Program, most_telling, run, until

METHODS = ("forkserver", "spawn", "fork")

#: What workers are at when the end comes.
BUSY = {
    "sleep": "time.sleep(1e6)",
    "loop": "\n    while True: pass",
    "hold": "re.match(r'(a+)+$', 'a' * 60 + 'b')",
    "ignore": "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 15)]; time.sleep(1e6)",
}

#: Ways to call, with two workers that say so when they are there.
CALLS = {
    "map": "parmap.parallel_map(work, range(2), max_workers=2)",
    "imap": "list(parmap.parallel_imap(work, range(2), max_workers=2))",
    "each": "parmap.spawn_each(work, range(2))",
    "each spawn": "parmap.spawn_each(work, range(2), start_method='spawn')",
    "each fork": "parmap.spawn_each(work, range(2), start_method='fork')",
    "process": "threading.Thread(target=parmap.run_in_process, args=(work, 0), daemon=True).start(); parmap.run_in_process(work, 1)",
    "objects": "event = multiprocessing.Event(); parmap.spawn_each(lambda x, _: work(x), range(2), [event] * 2)",
    "submit": "pool = parmap.Pool(2); [f.result() for f in [pool.submit(work, i) for i in range(2)]]",
    "submit with": "\nwith parmap.Pool(2) as pool: [f.result() for f in [pool.submit(work, i) for i in range(2)]]",
    "pool spawn": "pool = parmap.Pool(2, start_method='spawn'); parmap.parallel_map(work, range(2), executor=pool)",
    "pool fork": "pool = parmap.Pool(2, start_method='fork'); parmap.parallel_map(work, range(2), executor=pool)",
}


def source(call: str, busy: str = "sleep", before: str = "", after: str = "") -> str:
    """A program whose two workers write files named after their items, then are busy for ever."""
    return f"""\
import multiprocessing, os, pathlib, re, signal, sys, threading, time
import parmap
{before}
def work(x):
    pathlib.Path(f"begun-{{x}}").write_text(str(os.getpid()))
    {BUSY[busy]}
print("going", flush=True)
{CALLS[call]}
{after}
"""


def begun(program: Program, count: int = 2) -> None:
    """Wait until the workers are at it."""
    files = [program.directory / f"begun-{x}" for x in range(count)]
    if not until(lambda: all(file.exists() and file.read_text() for file in files), 30):
        raise Hangs(f"the workers did not begin\n{program.err}")


#: What `multiprocessing` says of the semaphores of a killed program, where its default is not "fork".
TRACKED = re.compile(r".*resource_tracker: There appear to be .*\n +warnings\.warn\(\n")

every_call = pytest.mark.parametrize("call", CALLS)
every_busy = pytest.mark.parametrize("busy", BUSY)


# --- Ctrl-C -------------------------------------------------------------------------------------------------


def check_interrupted(program: Program) -> None:
    seconds = program.ends()
    assert seconds < 4.0
    assert program.code == -signal.SIGINT, (program.code, program.err)
    assert not program.left(), program.left()
    assert program.err.count("Traceback (most recent") == 1, program.err
    # Where it came while an enum was made, Python says so in a note.
    assert re.search(
        r"^KeyboardInterrupt(\nError calling __set_name__ .*)?\s*\Z", program.err, re.MULTILINE
    ), program.err
    assert program.out == "going\n"


@every_call
def test_ctrl_c(call: str) -> None:
    with Program(source(call)) as program:
        begun(program)
        program.signal(signal.SIGINT, group=True)
        check_interrupted(program)


@every_busy
def test_ctrl_c_while_busy(busy: str) -> None:
    with Program(source("map", busy)) as program:
        begun(program)
        program.signal(signal.SIGINT, group=True)
        check_interrupted(program)


@pytest.mark.parametrize("pause", most_telling([0.0, 0.02, 0.2], 2))
@pytest.mark.parametrize("call", ["map", "imap", "each", "submit"])
def test_ctrl_c_twice(call: str, pause: float) -> None:
    """The second comes while the first is dealt with: still nothing is left."""
    with Program(source(call)) as program:
        begun(program)
        program.signal(signal.SIGINT, group=True)
        time.sleep(pause)
        program.signal(signal.SIGINT, group=True)
        assert program.ends() < 8.0
        assert program.code in (-signal.SIGINT, 1, 130), (program.code, program.err)
        assert not program.left(), program.left()
        assert "parmap.__" not in program.err


@pytest.mark.parametrize("delay", most_telling([0.03, 0.1, 0.0, 0.01, 0.06, 0.15], 2))
@pytest.mark.parametrize("call", ["map", "each", "pool spawn"])
def test_ctrl_c_while_starting(call: str, delay: float) -> None:
    with Program(source(call)) as program:
        program.says("going")
        time.sleep(delay)
        program.signal(signal.SIGINT, group=True)
        check_interrupted(program)


def test_ctrl_c_is_caught_and_work_goes_on() -> None:
    program = source("map").replace(
        CALLS["map"],
        f"try:\n    {CALLS['map']}\nexcept KeyboardInterrupt:\n    print('caught', flush=True)\n"
        "print(parmap.parallel_map(abs, range(-3, 0)))",
    )
    with Program(program) as running:
        begun(running)
        running.signal(signal.SIGINT, group=True)
        assert running.ended_well() == "going\ncaught\n[3, 2, 1]\n"


@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_ctrl_c_in_shutdown(pause: float) -> None:
    """A worker's `atexit` handler takes for ever; the caller waits for it no longer when interrupted."""
    program = """
        import atexit, os, time
        import parmap

        def work(x):
            atexit.register(time.sleep, 1e6)
            return os.getpid()

        pool = parmap.Pool(1)
        pool.submit(work, 1).result()
        print("going", flush=True)
        pool.shutdown()
        """
    with Program(program) as running:
        running.says("going")
        time.sleep(pause)
        running.signal(signal.SIGINT, group=True)
        assert running.ends() < 10
        assert not running.left(), running.left()


@pytest.mark.parametrize("where", ["shutdown", "exit"])
def test_ctrl_c_in_the_end_of_warm_workers(where: str) -> None:
    program = f"""
        import atexit, os, time
        import parmap

        def work(x):
            atexit.register(time.sleep, 1e6)
            return x

        parmap.parallel_map(work, range(2))
        print("going", flush=True)
        {"parmap.shutdown()" if where == "shutdown" else ""}
        """
    with Program(program) as running:
        running.says("going")
        time.sleep(0.3)
        running.signal(signal.SIGINT, group=True)
        assert running.ends() < 10
        assert not running.left(), running.left()


# --- signals that end the caller ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", most_telling([signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], 2))
@every_call
def test_killed(call: str, number: int) -> None:
    with Program(source(call)) as program:
        begun(program)
        program.signal(number)
        program.ends(5)
        assert program.code == -number
        assert not program.left(), program.left()
        assert TRACKED.sub("", program.err) == ""


@pytest.mark.parametrize("call", ["map", "each fork", "pool spawn", "objects", "pool fork"])
@every_busy
def test_killed_while_busy(call: str, busy: str) -> None:
    with Program(source(call, busy)) as program:
        begun(program)
        program.signal(signal.SIGKILL)
        program.ends(5)
        assert not program.left(), program.left()


@pytest.mark.parametrize(
    "delay", most_telling([0.02, 0.05, 0.12, 0.0, 0.005, 0.01, 0.03, 0.08, 0.2], 3)
)
@pytest.mark.parametrize("call", ["map", "pool spawn", "pool fork"])
def test_killed_while_starting(call: str, delay: float) -> None:
    with Program(source(call)) as program:
        program.says("going")
        time.sleep(delay)
        program.signal(signal.SIGKILL)
        program.ends(5)
        assert not program.left(), program.left()


@every_busy
def test_killed_together_with_its_clean_server(busy: str) -> None:
    with Program(source("map", busy)) as program:
        begun(program)
        servers = {pid for pid in program.processes() if parent_of(pid) == program.pid}
        assert len(servers) == 1
        for pid in (program.pid, *servers):
            os.kill(pid, signal.SIGSTOP)  # so that neither can act on the other's end
        for pid in (*servers, program.pid):
            os.kill(pid, signal.SIGKILL)
        program.ends(5)
        assert not program.left(), program.left()


def parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def test_killed_while_workers_are_idle() -> None:
    program = "import time, parmap; parmap.parallel_map(abs, range(100)); print('going', flush=True); time.sleep(1e6)"
    with Program(program) as running:
        running.says("going")
        assert running.processes()
        running.signal(signal.SIGKILL)
        running.ends(5)
        assert not running.left(), running.left()


def test_killed_and_what_its_items_started_is_gone() -> None:
    program = """
        import os, pathlib, subprocess, time
        import parmap

        def work(x):
            child = subprocess.Popen(["sleep", "1000"])
            pathlib.Path(f"begun-{x}").write_text(str(child.pid))
            time.sleep(1e6)

        parmap.parallel_map(work, range(2), max_workers=2)
        """
    with Program(program) as running:
        begun(running)
        running.signal(signal.SIGKILL)
        running.ends(5)
        assert not running.left(), running.left()


# --- other ends -------------------------------------------------------------------------------------------------


ENDS = {
    "os._exit": ("os._exit(3)", 3),
    "raise": ("raise LookupError('enough')", 1),
    "sys.exit": ("sys.exit(4)", 4),
    "end": ("", 0),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("busy", ["sleep", "hold"])
@pytest.mark.parametrize("how", ["thread", "imap", "submit"])
def test_end_while_workers_are_busy(end: str, busy: str, how: str) -> None:
    """In another thread that is a daemon, in a lazy map that is not read on, in a pool."""
    call = {
        "thread": f"threading.Thread(target=lambda: {CALLS['map']}, daemon=True).start()",
        "imap": "lazy = parmap.parallel_imap(lambda x: x and work(x - 1), range(3), max_workers=2, chunksize=1); next(lazy)",
        "submit": "pool = parmap.Pool(2); [pool.submit(work, i) for i in range(2)]",
    }[how]
    if how == "submit" and end != "os._exit":
        pytest.skip("submitted tasks are finished, as the standard library's executors do")
    text, code = ENDS[end]
    wait = "while not (os.path.exists('begun-0')): time.sleep(0.01)\n"
    program = source("map", busy).replace(CALLS["map"], f"{call}\n{wait}{text}")
    with Program(program) as running:
        running.ends(20)
        assert running.code == code, running.err
        assert not running.left(), running.left()
        assert ("Traceback" in running.err) == (end == "raise"), running.err


def test_unhandled_exception_in_the_input() -> None:
    program = """
        import time, parmap

        def numbers():
            yield from range(100)
            raise AttributeError("no more")

        parmap.parallel_map(lambda x: time.sleep(0.01) or x, numbers(), max_workers=2)
        """
    with Program(program) as running:
        running.ended_well(code=1, quiet=False)
        assert running.err.rstrip().endswith("AttributeError: no more")


def test_sys_exit_in_an_item() -> None:
    run(
        "import sys, parmap; parmap.parallel_map(lambda x: sys.exit(5) if x == 3 else x, range(20))",
        code=5,
    )


def test_calls_in_a_thread_while_the_main_one_ends() -> None:
    program = """
        import threading, time, parmap

        def calls():
            for _ in range(20):
                try:
                    assert parmap.parallel_map(abs, range(-30, 0)) == [*range(30, 0, -1)]
                except RuntimeError as error:
                    print(error)
                    return
                time.sleep(0.01)

        threading.Thread(target=calls).start()
        parmap.parallel_map(abs, range(3))
        """
    run(program)


def test_call_while_a_module_is_imported() -> None:
    program = """
        import pathlib, sys
        pathlib.Path("mapper.py").write_text(
            "import parmap\\n"
            "def double(x):\\n    return 2 * x\\n"
            "found = parmap.parallel_map(double, range(3))\\n"
        )
        sys.path.insert(0, ".")
        import mapper
        print(mapper.found)
        """
    assert run(program) == "[0, 2, 4]\n"


@pytest.mark.parametrize("end", ["close", "del", "break"])
def test_lazy_map_that_is_left(end: str) -> None:
    text = {
        "close": "lazy = parmap.parallel_imap(work, count(), max_workers=2, chunksize=1); next(lazy); lazy.close()",
        "del": "lazy = parmap.parallel_imap(work, count(), max_workers=2, chunksize=1); next(lazy); del lazy",
        "break": "for _ in parmap.parallel_imap(work, count(), max_workers=2, chunksize=1): break",
    }[end]
    program = f"""
        import os, time, parmap
        from itertools import count

        def work(x):
            time.sleep(1e6 if x else 0)

        {text}
        parmap.shutdown()
        print([pid for pid in os.listdir("/proc") if pid.isdigit() and parent(pid) == os.getpid()])
        """.replace(
        "def work",
        """def parent(pid):
            try:
                with open(f"/proc/{pid}/stat") as file:
                    return int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                return 0

        def work""",
    )
    assert run(program) == "[]\n"


# --- forks of the caller ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)"])
def test_forked_child(end: str) -> None:
    """It has workers of its own, and leaves its parent's alone."""
    program = f"""
        import os, sys, time, warnings
        import parmap

        def pids():
            return set(parmap.parallel_map(lambda x: time.sleep(0.02) or os.getpid(), range(8), max_workers=2, chunksize=1))

        before = pids()
        pid = os.fork()
        if pid == 0:
            assert not pids() & before
            assert parmap.run_in_process(abs, -3) == 3
            print("child", flush=True)
            {end}
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
        assert pids() == before
        print("parent")
        """
    assert run(program, quiet=False) == "child\nparent\n"


def check_only_its_child_is_left(running: Program) -> None:
    """Kill a program that has forked a child, which holds on to none of its parent's."""
    running.says("going")
    running.signal(signal.SIGKILL)
    running.ends(5)
    assert until(lambda: len(running.processes()) == 1, 5), running.processes()


def test_forked_child_outlives_its_parent() -> None:
    """Then the parent's workers end, and the child's go on."""
    program = """
        import os, sys, time
        import parmap

        parmap.parallel_map(abs, range(10), max_workers=2)
        if os.fork() == 0:
            while os.getppid() == int(sys.argv[1]) or not os.path.exists("gone"):
                time.sleep(0.01)
                if os.path.exists("gone"):
                    break
            print(parmap.parallel_map(abs, range(-3, 0)), flush=True)
            sys.exit()
        print("going", flush=True)
        time.sleep(1e6)
        """.replace("int(sys.argv[1])", "0")
    with Program(program) as running:
        check_only_its_child_is_left(running)
        (running.directory / "gone").touch()
        assert until(lambda: "[3, 2, 1]" in running.out), running.err
        assert not running.left(), running.left()


def test_child_forked_during_a_call() -> None:
    program = """
        import os, threading, time
        import parmap

        # Else the thread may be importing: a fork then leaves a lock of the interpreter's taken in the child.
        parmap.parallel_map(abs, [1, 2])
        thread = threading.Thread(target=lambda: print(parmap.parallel_map(lambda x: time.sleep(0.05) or x, range(20), max_workers=2, chunksize=1)))
        thread.start()
        time.sleep(0.3)
        pid = os.fork()
        if pid == 0:
            assert parmap.parallel_map(abs, range(-3, 0)) == [3, 2, 1]
            os._exit(0)
        print(os.waitpid(pid, 0)[1])
        thread.join()
        """
    out = run(program, quiet=False)
    assert out == f"0\n{list(range(20))}\n"


@pytest.mark.parametrize("moment", ["_launch._begun or registry._servers", "registry._servers"])
def test_child_forked_during_the_very_first_call_lets_workers_end(moment: str) -> None:
    """It keeps nothing by which they would outlive their caller."""
    program = f"""
        import os, threading, time
        import parmap
        from parmap import _launch
        from parmap._registry import registry

        threading.Thread(target=parmap.parallel_map, args=(time.sleep, [60] * 2), daemon=True).start()
        while not ({moment}):
            time.sleep(0)
        if os.fork() == 0:
            time.sleep(1e6)
        print("going", flush=True)
        time.sleep(1e6)
        """
    with Program(program) as running:
        check_only_its_child_is_left(running)


@pytest.mark.parametrize("call", ["parallel_imap(abs, range(1000))", "lazily()", "threads()"])
def test_forked_child_leaves_an_iterator(call: str) -> None:
    """Which goes on in its parent."""
    program = f"""
        import os, sys
        from parmap import parallel_imap
        import parmap

        def lazily():
            return parallel_imap(abs, range(1000), ordered=False, buffersize=4)

        def threads():
            return parallel_imap(abs, range(1000), buffersize=4, executor="thread")

        for how in ("leave", "next", "drop"):
            with {call} as results:
                first = next(results)
                if os.fork() == 0:
                    if how == "next":
                        try:
                            list(results)
                        except RuntimeError as error:
                            assert "in the process that has forked this one" in str(error)
                        else:
                            os._exit(4)
                    elif how == "drop":
                        del results
                    sys.exit(3)
                status = os.waitstatus_to_exitcode(os.wait()[1])
                assert status == 3, (how, status)
                assert sum([first, *results]) == sum(range(1000))
        with {call} as results:  # which the child begins
            if os.fork() == 0:
                assert sum(results) == sum(range(1000))
                results.close()
                sys.exit(0)
            assert os.wait()[1] == 0
            assert sum(results) == sum(range(1000))
        """
    run(program, quiet=False)


def test_multiprocessing_fork_child() -> None:
    program = """
        import multiprocessing
        import parmap

        def inner(x):
            return sum(parmap.parallel_map(abs, range(x), max_workers=2))

        print(parmap.parallel_map(abs, range(3)))
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(inner, range(5)))
        print(parmap.parallel_map(abs, range(3)))
        """
    assert run(program, quiet=False) == "[0, 1, 2]\n[0, 0, 1, 3, 6]\n[0, 1, 2]\n"


def test_deaths_are_no_zombies() -> None:
    program = f"""
        import os, sys
        import parmap
        from tests.faults.deaths import square_or_die
        from functools import partial

        for how in {list(deaths.DEATHS)!r}:
            parmap.parallel_map(partial(square_or_die, how=how), range(20), on_error="return")
        parmap.shutdown()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{{pid}}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == os.getsid(0) and int(pid) != os.getpid() and fields[1] != "1":
                print(pid, fields[:4])
        """
    assert run(program, quiet=False) == ""
