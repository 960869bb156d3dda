"""Results that are done and wait in a worker for a slow item to end: told while that runs.

A worker tells of many items together (`_results`), so a quick one that came before one of ten seconds would
be heard of after these; or never, if the slow one waits for what somebody does once he has the quick one's
result. So where results stay away for long, the caller *urges* the worker, by a signal whose handler sends
what is there. Python handles a signal between two instructions of the main thread, and goes on with the
system call that was interrupted; in C code that does not come back to the interpreter it waits.

The signal is SIGURG, as in Go's runtime: ignored where nobody handles it, and used by hardly anybody.
"""

from __future__ import annotations

import _signal
import os
import sys

from ._handlers import URGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType, FrameType

    from ._link import Link

#: Seconds between two looks whether a worker holds results back: longer than it does by itself.
LOOK = 0.05

#: Modules whose functions must not be interrupted by what is to be told: it changes what they are at.
_DELICATE = f"{__package__}._results", f"{__package__}._worker"

#: Calls within calls that telling may take.
_DEEP = 100


class Watch:
    """The caller's looks at its workers."""

    def __init__(self) -> None:
        # Those that hold results back: the first of these, and how many looks have seen it so.
        self._seen: dict[Link, tuple[int, int]] = {}

    def look(self, links: Iterable[Link]) -> None:
        """Urge those that still hold back what they did at the last look, and then ever less often."""
        before, self._seen = self._seen, {}
        for link in links:
            first = link.holds_back
            if first is None:
                continue
            was_first, looks = before.get(link, (None, 0))
            looks = looks + 1 if first == was_first else 0
            self._seen[link] = first, looks
            if looks.bit_count() == 1:  # 1, 2, 4, 8 ...
                link.urge()


def heed(tell: Callable[[], None], home: CodeType) -> None:
    """Have `tell` called when this process is urged while a function runs that `home` has called.

    Unless there is no such signal, or somebody else handles it.
    """
    usual = _signal.SIG_DFL, _signal.SIG_IGN
    if not URGE or not (is_heeded() or _signal.getsignal(URGE) in usual):
        return
    pid = os.getpid()

    def _heed(_number: int, frame: FrameType | None) -> None:
        if os.getpid() == pid and _is_in_function(frame, home):
            tell()

    _signal.signal(URGE, _heed)


def is_heeded() -> bool:
    """Whether the signal is handled as `heed` has set it up, here or in whom this process was forked from."""
    return bool(URGE) and getattr(_signal.getsignal(URGE), "__module__", None) == __name__


def _is_in_function(frame: FrameType | None, home: CodeType) -> bool:
    """Whether all that was interrupted, up to `home`, may be."""
    depth = 0
    while frame is not None and frame.f_code is not home:
        if frame.f_globals.get("__name__") in _DELICATE:
            return False
        frame = frame.f_back
        depth += 1
    return frame is not None and 0 < depth < sys.getrecursionlimit() - _DEEP
