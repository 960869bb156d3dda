"""A process for the next `run_in_process`, started while the one before is at work.

A fork and all that a new process does first take longer than most of the rest of such a call. Who has called
twice within a minute is taken to call again; a process that nobody has come for within a minute ends by
itself. It has run nothing, and what has changed in the caller meanwhile it adopts with the call, as warm
workers do.
"""

from __future__ import annotations

import time

from ._cpus import available_cpus
from ._stock import IDLE, Kind, NoWorker, Stock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._link import Link

#: What a process is called if the caller does not say.
USUAL = "parmap-process"

#: What is the same for all processes that are started ahead.
KIND = Kind(tasks=1, name=USUAL, nested=False, ahead=True)

_waiting: list[tuple[int, Stock]] = []  # and how many processors there were when it was started
_called = -IDLE  # when the latest call began


def stock() -> Stock:
    """Where a call gets its process from: one that waits, if there is one."""
    while _waiting:
        cpus, found = _waiting.pop()
        if cpus == available_cpus():
            return found
        found.close(for_good=True)  # it uses as many threads as there were processors
    return Stock(KIND)


def lay_in() -> None:
    """Start a process for the next call, if there seems to be one."""
    global _called
    before, _called = _called, time.monotonic()
    if _called - before >= IDLE or _waiting:
        return
    made = Stock(KIND)
    holder = _Nobody(made)
    try:
        made.lease(holder)
    except NoWorker:
        return  # who needs one will be told
    finally:
        holder.close(abrupt=False)
    _waiting.append((available_cpus(), made))


class _Nobody:
    """Holds a worker while it is being started; see `Tenant`."""

    side_by_side = 1
    suspended = False
    thread = 0
    blocking = True
    awaiting = False
    outside = 0.0
    orphaned = True  # who was interrupted leaves it to whoever clears up

    def __init__(self, made: Stock) -> None:
        self._stock = made

    def close(self, *, abrupt: bool) -> None:  # noqa: ARG002 -- it runs nothing
        for link in self._stock.leave(self):
            self._stock.give_back(link)

    def offer(self, link: Link) -> None:
        """See `Tenant`: it waits for none."""

    def find_place(self) -> None:
        """See `Tenant`: it waits for none."""

    def nudge(self) -> None:
        """See `Tenant`: it can spare none."""
