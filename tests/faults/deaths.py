"""Ways for a process to die, and values that kill whoever handles them."""

from __future__ import annotations

import os
import signal
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def by_kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def by_segfault() -> None:
    import ctypes

    ctypes.string_at(0)


def by_abort() -> None:
    os.abort()


def by_overflow() -> None:
    import faulthandler

    faulthandler._stack_overflow()


def by_exit_0() -> None:
    os._exit(0)


def by_exit_3() -> None:
    os._exit(3)


#: Name to (what to do, what WorkerDied says: signal, exitcode, reason).
DEATHS: dict[str, tuple[Callable[[], None], str | None, int, str]] = {
    "SIGKILL": (by_kill, "SIGKILL", -signal.SIGKILL, "signal"),
    "SIGSEGV": (by_segfault, "SIGSEGV", -signal.SIGSEGV, "signal"),
    "SIGABRT": (by_abort, "SIGABRT", -signal.SIGABRT, "signal"),
    "overflow": (by_overflow, "SIGSEGV", -signal.SIGSEGV, "signal"),
    "exit 0": (by_exit_0, None, 0, "exit"),
    "exit 3": (by_exit_3, None, 3, "exit"),
}


def die(how: str) -> None:
    DEATHS[how][0]()


def same(value: Any) -> Any:
    return value


def square_or_die(x: int, how: str, at: int = 7) -> int:
    """The square; item `at` dies."""
    if x == at:
        die(how)
    return x * x


def square_or_die_once(x: int, how: str, file: str, at: int = 7) -> int:
    """The square; item `at` dies, but for the second time."""
    if x == at and first_time(file):
        die(how)
    return x * x


def first_time(file: str) -> bool:
    """Whether this was never asked about this file."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def kill_clean_server(pid: int, number: int = signal.SIGKILL) -> bool:
    """Signal a clean server; whether `pid` was one, started by this test run.

    A worker that has lost its server belongs to process 1 or to whoever adopts orphans: "the parent of
    a worker" may be anybody, and must never be signalled unseen.
    """
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read()
        with open(f"/proc/{pid}/environ", "rb") as file:
            ours = _MARK in file.read()
    except OSError:
        return False
    if pid <= 1 or not ours or _MARK.endswith(b"=") or b"import parmap._server" not in command:
        return False
    os.kill(pid, number)
    return True


_MARK = f"PARMAP_TESTS_OF={os.environ.get('PARMAP_TESTS_OF', '')}".encode()


class DiesWhenPickled:
    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> Any:
        die(self.how)


class DiesWhenUnpickled:
    """Where it is unpickled, but for this process."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.pid = os.getpid()

    def __reduce__(self) -> Any:
        return _die_unless, (self.how, self.pid)


def _die_unless(how: str, pid: int) -> str:
    if os.getpid() != pid:
        die(how)
    return how


class RaisesWhenPickled:
    def __reduce__(self) -> Any:
        raise LookupError("cannot be pickled")


class RaisesWhenUnpickled:
    def __reduce__(self) -> Any:
        return _raise, ()


def _raise() -> None:
    raise LookupError("cannot be unpickled")


def give(x: int, kind: str, at: int = 3) -> Any:
    """A value of this kind at one place, else the number."""
    if x != at:
        return x
    return {
        "raises when pickled": RaisesWhenPickled,
        "raises when unpickled": RaisesWhenUnpickled,
        "dies when pickled": lambda: DiesWhenPickled("SIGKILL"),
        "exits when pickled": lambda: DiesWhenPickled("exit 0"),
    }[kind]()


def send_much_and_die(x: int, kind: str, size: int, delay: float, at: int = 3) -> Any:
    """Item `at` returns much, and a thread kills its process when the sending has begun."""
    if x != at:
        return x
    if kind == "bytes":
        value: Any = bytes(size)
    elif kind == "list":
        value = [bytes(size // 1000) for _ in range(1000)]
    else:
        import numpy

        value = numpy.ones(size // 8)

    def kill() -> None:
        time.sleep(delay)
        by_kill()

    threading.Thread(target=kill, daemon=True).start()
    return value


def work(x: int) -> tuple[int, str]:
    """Something short, of a length and with a result that depend on the item."""
    time.sleep(0.0002 * (x % 7))
    return x * x, "x" * (x % 100)


def enlist(directory: str) -> None:
    """Say in a directory that there is this worker."""
    open(f"{directory}/{os.getpid()}", "w").close()
