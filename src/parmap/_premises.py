"""What every function may take for granted in a worker, put right after one that has changed it.

Standard streams and their descriptors, signal handlers, the signal mask and the file mode mask. What a
call brings along is in `_ambience`; these are the worker's own.
"""

from __future__ import annotations

import _signal
import os
import sys

from ._handlers import SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Premises:
    """How a process is to be; to look takes two microseconds."""

    __slots__ = ("_copies", "_handlers", "_mask", "_streams", "_umask")

    def __init__(self) -> None:
        self._copies = {fd: copy for fd in range(3) if (copy := _copy(fd)) is not None}
        self.keep()

    def keep(self) -> None:
        """Take how the process is now for how it is to be."""
        self._streams = sys.stdout, sys.stderr
        self._handlers = _handlers()
        self._mask = _mask()
        self._umask = os.umask(0o077)
        os.umask(self._umask)

    @property
    def is_disturbed(self) -> bool:
        """Whether anything is not as it is to be."""
        return (
            sys.stdout is not self._streams[0]
            or sys.stderr is not self._streams[1]
            or os.umask(self._umask) != self._umask
            or not all(map(_is_open, self._copies))
            or _handlers() != self._handlers
            or _mask() != self._mask
        )

    def put_right(self) -> None:
        """Let everything be as it is to be.

        A descriptor is replaced only if it is closed: otherwise it may by now be a file of somebody's.
        """
        sys.stdout, sys.stderr = self._streams
        os.umask(self._umask)
        for fd, copy in self._copies.items():
            if not _is_open(fd):
                os.dup2(copy, fd)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._mask)
        for number, before, now in zip(SIGNALS, self._handlers, _handlers(), strict=True):
            if now != before and before is not None:  # None: by other means than Python's
                _signal.signal(number, before)


def _handlers() -> list[Any]:
    return list(map(_signal.getsignal, SIGNALS))


def _mask() -> set[int]:
    return _signal.pthread_sigmask(_signal.SIG_BLOCK, ())


def _is_open(fd: int) -> bool:
    try:
        os.get_inheritable(fd)
    except OSError:
        return False
    return True


def _copy(fd: int) -> int | None:
    try:
        return os.dup(fd)
    except OSError:
        return None  # the caller has none
