"""Each system call fails in turn: in the caller, in its clean server, in its workers.

What may come of it is the right result, or a clear error; never a hang, never anything left behind, and
the next call is right. How calls are made to fail is in `injected/faulty.py`.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from parmap import Pool, parallel_map

from .harness import FULL, Program, run

HERE = Path(__file__).parent / "injected"
sys.path.insert(0, str(HERE))
try:
    from faulty import ERRORS
finally:
    sys.path.remove(str(HERE))

METHODS = ("forkserver", "spawn", "fork")
PATH = {"PYTHONPATH": f"{HERE}:{HERE.parents[2]}"}

#: Calls of the caller. Not among them: `close`, which closes whatever it says, and `write`, which fails
#: only where a pipe is full, and then nothing is lost; nor `waitpid`, since what it says is true: that
#: somebody else has reaped a child is tested where somebody does (`test_surroundings`).
CALLER = (
    *("os.pipe", "_socket.socketpair", "os.memfd_create", "os.posix_fallocate", "os.ftruncate"),
    *("os.pwrite", "os.preadv", "mmap.mmap", "os.posix_spawn", "os.fork"),
    *("os.pidfd_open", "sendmsg", "recvmsg_into", "poll", "os.read", "os.kill", "os.killpg"),
    *("os.open",),
)


@pytest.mark.parametrize("method", METHODS if FULL else METHODS[:1])
@pytest.mark.parametrize("call", CALLER)
def test_in_the_caller(call: str, method: str) -> None:
    errors = ERRORS[call] if FULL else ERRORS[call][:2]
    most = 12 if FULL else 3
    program = f"import faulty; faulty.here({call!r}, {errors!r}, {most}, {method!r})"
    out = run(program, environment=PATH, seconds=300 if FULL else 40)
    print(out)


ELSEWHERE = {
    "server": ("os.fork", "sendmsg", "recvmsg_into", "poll", "os.killpg"),
    "worker": (
        "sendmsg",
        "recvmsg_into",
        "poll",
        "mmap.mmap",
        "os.memfd_create",
        "os.pwrite",
        "os.open",
    ),
}


@pytest.mark.parametrize(
    ("who", "call"), [(who, call) for who in ELSEWHERE for call in ELSEWHERE[who]]
)
def test_elsewhere(who: str, call: str, tmp_path) -> None:
    """Once, at the first or third time, in the clean server or in a worker; later calls are right."""
    for error in ERRORS[call] if FULL else ERRORS[call][:1]:
        for nth in (1, 3):
            environment = {
                **PATH,
                "FAULTY_WHO": who,
                "FAULTY_CALL": call,
                "FAULTY_ERROR": error,
                "FAULTY_NTH": str(nth),
                "FAULTY_ONCE": str(tmp_path / f"{error}-{nth}"),
            }
            # What fails like this in its own business says so on stderr.
            program = "import faulty; faulty.elsewhere('forkserver')"
            run(program, environment=environment, quiet=False)


WITHOUT = {
    "nothing": ("", METHODS),
    "anonymous files": ("os.memfd_create os.posix_fallocate", METHODS),
    "process descriptors": ("os.pidfd_open", METHODS),
    "a yield": ("os.sched_yield", METHODS),
    "signals for descriptors": ("fcntl.F_SETSIG", METHODS),
    "/proc": ("proc", METHODS),
    "descriptors over sockets": ("_socket.sendmsg", ("spawn", "fork")),
}


@pytest.mark.parametrize("what", WITHOUT)
def test_without(what: str) -> None:
    """What other systems lack is done without: all calls are right."""
    names, methods = WITHOUT[what]
    environment = {**PATH, "FAULTY_WITHOUT": names}
    run(f"import faulty; faulty.calls({methods!r})", environment=environment)


@pytest.mark.parametrize("what", ["signals for descriptors", "/proc"])
@pytest.mark.parametrize("method", METHODS)
def test_without_the_signal_workers_end_with_their_caller(what: str, method: str) -> None:
    """A thread watches the lifeline instead."""
    source = f"""
        import sys, time
        from parmap import Pool, parallel_map
        def busy(x):
            print("begun", flush=True)
            time.sleep(1e6)
        with Pool(2, start_method={method!r}) as pool:
            parallel_map(busy, range(2), executor=pool, chunksize=1)
        """
    with Program(source, environment={**PATH, "FAULTY_WITHOUT": WITHOUT[what][0]}) as program:
        program.says("begun\nbegun\n")
        program.signal(signal.SIGKILL)
        program.ends()
        assert not program.left()


@pytest.mark.parametrize("method", METHODS)
def test_what_was_begun_is_undone(method: str) -> None:
    """Ctrl-C when a worker has just been started; no thread to be had for what is submitted."""
    source = f"""
        import threading
        import faulty, parmap
        from parmap import _link

        def fail(error):
            def call(*_arguments):
                raise error
            return call

        def raises(error, call):
            try:
                call()
            except type(error):
                return
            raise AssertionError

        faulty.work({method!r})
        parmap.shutdown()
        before = faulty._count()

        hello, stopped = _link.Link.hello, KeyboardInterrupt()
        for _ in range(3):
            _link.Link.hello = fail(stopped)
            raises(stopped, lambda: parmap.run_in_process(abs, -3, start_method={method!r}))
        _link.Link.hello = hello
        parmap.shutdown()
        faulty._await(before)

        start, refused = threading.Thread.start, RuntimeError("can't start new thread")
        with parmap.Pool(1, start_method={method!r}) as pool:
            for _ in range(3):
                threading.Thread.start = fail(refused)
                raises(refused, lambda: pool.submit(abs, -3))
            threading.Thread.start = start
            assert pool.submit(abs, -3).result() == 3
        parmap.shutdown()
        faulty._await(before)
        faulty.work({method!r})
        """
    run(source, environment=PATH)


def test_function_that_makes_its_workers_sockets_non_blocking() -> None:
    """All the same, no result is lost that does not fit into them at once."""
    items = [900_000] * 5
    with Pool(1) as pool:
        assert parallel_map(_unblock_and_answer, items, executor=pool) == [["x" * 900_000]] * 5


def _unblock_and_answer(size: int) -> list[str]:
    for fd in range(3, 30):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.set_blocking(fd, False)
        except OSError:
            continue
    return ["x" * size]
