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

#: Messages in a row for which that has to happen, and how many items they hold at most: who sends more has
#: other workers, which need the other cores.
_OFTEN = 4
_FEW = 4

#: Seconds from one attempt, which takes up to a tenth of a millisecond, to the next.
_PAUSE = 0.005

#: More cores than Linux can have.
_ALL = range(8192)


class Placement:
    """Whether this process has its core for itself."""

    __slots__ = ("_can_move", "_not_before", "_shared")

    def __init__(self) -> None:
        self._can_move = sys.platform == "linux"
        self._shared = 0  # so often in a row
        self._not_before = 0.0

    def note(self, taken: float, count: int) -> None:
        """Take in for how many seconds at most others took the core while a message was waited for.

        It comes after one of so many items.
        """
        self._shared = self._shared + 1 if taken > _TAKEN and 0 < count <= _FEW else 0

    def settle(self) -> None:
        """Move, if the core has been shared for some time and another is idle."""
        if self._shared < _OFTEN or not self._can_move or time.perf_counter() < self._not_before:
            return
        self._shared = 0
        try:
            self._can_move = not _may_be_killed()
            if self._can_move:
                move()
        except Exception:
            self._can_move = False  # somebody does not want it, or this is a system like no other
        self._not_before = time.perf_counter() + _PAUSE


def move() -> bool:
    """Let this thread go on on another core; whether it does. What it may run on stays what it is."""
    allowed = os.sched_getaffinity(0)
    here = _core()
    others = (allowed & _neighbours(here)) - {here}
    if not others or _busy() > max(2, len(others) // 2):
        return False  # the system takes any of them, and most should be idle
    try:
        os.sched_setaffinity(0, others)
    finally:
        # All there are, now or later: else the system would take `allowed` for a wish, and keep to it
        # where a container is given more cores. Unless it is somebody's wish.
        os.sched_setaffinity(0, _ALL)
        if os.sched_getaffinity(0) != allowed:
            os.sched_setaffinity(0, allowed)
    return True


def _may_be_killed() -> bool:
    """Whether there is a filter of system calls, which may end the process for one that it forbids."""
    with open("/proc/self/status", "rb") as file:
        return b"\nSeccomp:\t2" in file.read()


def _core() -> int:
    """The number of the core that this is running on."""
    with open("/proc/thread-self/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[36])


def _neighbours(core: int) -> set[int]:
    """The cores of the same processor, whose memory is as near."""
    with open(f"/sys/devices/system/cpu/cpu{core}/topology/package_cpus_list", "rb") as file:
        runs = [run.split(b"-") for run in file.read().split(b",")]
    return {core for run in runs for core in range(int(run[0]), int(run[-1]) + 1)}


def _busy() -> int:
    """How many processes and threads are running or would like to, on the whole machine."""
    with open("/proc/loadavg", "rb") as file:
        return int(file.read().split()[3].partition(b"/")[0])
