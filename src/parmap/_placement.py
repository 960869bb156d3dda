"""A worker that takes turns with its caller on one core, while another is idle, moves there.

Linux tends to wake a process where the one is that wakes it. Both then look for messages without sleeping,
so to its scheduler they are two busy processes, which it leaves together for tens of milliseconds: some
hundred calls that take half as long again.
"""

from __future__ import annotations

import os
import sys
import time

#: Seconds for which a core that was offered to others is taken when they are not only passing by.
_TAKEN = 3e-5

#: Messages in a row for which that has to happen.
_OFTEN = 4

#: Seconds from one attempt, which takes up to a tenth of a millisecond, to the next.
_PAUSE = 0.005

CAN_MOVE = sys.platform == "linux"


class Placement:
    """Whether this process has its core for itself."""

    __slots__ = ("_not_before", "_shared")

    def __init__(self) -> None:
        self._shared = 0  # so often in a row
        self._not_before = 0.0

    def note(self, taken: float) -> None:
        """Take in for how many seconds at most others took the core while a message was waited for."""
        self._shared = self._shared + 1 if taken > _TAKEN else 0

    def settle(self) -> None:
        """Move, if the core has been shared for some time and another is idle."""
        if CAN_MOVE and self._shared >= _OFTEN and time.perf_counter() >= self._not_before:
            self._shared = 0
            try:
                move()
            except (OSError, ValueError):  # in a sandbox
                pass
            self._not_before = time.perf_counter() + _PAUSE


def move() -> bool:
    """Let this thread go on on another core; whether it does. What it may run on stays what it is."""
    allowed = os.sched_getaffinity(0)
    others = allowed - {_core()}
    if not others or _busy() > len(allowed):
        return False
    try:
        os.sched_setaffinity(0, others)
    finally:
        os.sched_setaffinity(0, allowed)
    return True


def _core() -> int:
    """The number of the core that this is running on."""
    with open("/proc/thread-self/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[36])


def _busy() -> int:
    """How many processes and threads are running or would like to, on the whole machine."""
    with open("/proc/loadavg", "rb") as file:
        return int(file.read().split()[3].partition(b"/")[0])
