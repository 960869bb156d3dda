"""The pipe by which workers know that the caller is gone, however it went.

Only the caller holds its writing end, and every worker the other.
"""

from __future__ import annotations

import _signal  # `signal` wraps the same numbers in enums, and costs 3.5 ms
import _thread
import os
import select
import time

#: Seconds that a worker whose caller is gone gets to end in order, where a thread has to see to that.
GRACE = 0.5


# --- in the caller --------------------------------------------------------------------------------

#: The pipe's, by "this" process: a dictionary, since that is set, and emptied, in one step.
_ends: dict[str, tuple[int, int]] = {}


def end() -> int:
    """The reading end, for workers."""
    ends = _ends.get("this")
    if ends is None:
        made = os.pipe()
        ends = _ends.setdefault("this", made)  # one step, since several threads may come first
        if ends is not made:
            os.close(made[0])
            os.close(made[1])
    return ends[0]


def cut(*, here: bool) -> None:
    """Close it; `here`: only this process's copy of the writing end, in a forked child.

    A child must, or workers would outlive the caller while it lives. The other end stays: the child may
    be about to be a worker.
    """
    ends = _ends.pop("this", None)  # first: nothing may be closed twice
    if ends is not None:
        reading, writing = ends
        os.close(writing)
        if not here:
            os.close(reading)


# --- in a worker ----------------------------------------------------------------------------------


def hold(lifeline: int) -> None:
    """End this process and what it has started when the caller is gone, should the server be, too.

    The system itself does it where it can: a signal is sent when the last end of the pipe is closed,
    whatever this process does then. Elsewhere a thread waits for that.
    """
    try:
        hold_by_signal(lifeline)
    except (ImportError, AttributeError, OSError):
        _thread.start_new_thread(_watch, (lifeline,))
        return
    os.close(lifeline)


def hold_by_signal(lifeline: int) -> int:
    """Have the system send it; answer the descriptor that must stay open for that."""
    import fcntl

    # Opened anew, since the flag belongs to what all workers would share otherwise.
    own = os.open(f"/proc/self/fd/{lifeline}", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(own, fcntl.F_SETOWN, -os.getpgrp() if os.getpgrp() == os.getpid() else os.getpid())
    fcntl.fcntl(own, fcntl.F_SETSIG, _signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    if _is_cut(own):  # before the signal was asked for
        os._exit(1)
    return own


def _is_cut(lifeline: int) -> bool:
    poller = select.poll()
    poller.register(lifeline, 0)
    return bool(poller.poll(0))


def _watch(lifeline: int) -> None:
    poller = select.poll()
    poller.register(lifeline, 0)
    poller.poll()
    time.sleep(GRACE)
    if os.getpgrp() == os.getpid():
        os.killpg(0, _signal.SIGKILL)
    os._exit(1)
