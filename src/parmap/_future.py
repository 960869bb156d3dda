"""The future of a submitted task: what the standard library's is, without its lock until somebody looks.

The standard library makes a lock and two lists for each future, and takes the lock at each step, which is
a third of what thousands of tasks cost their caller. Most futures are first looked at when they are
finished. Until somebody looks at an unfinished one, which makes the lock, only two steps are taken by two
threads at once:

- It begins or is cancelled. Whoever first says so (`dict.setdefault`) may begin it without the lock, or
  try to cancel it.
- It finishes while somebody comes to wait. Who finishes it sets the state, and then looks whether there
  is a lock; who waits makes the lock, and then looks at the state. So one of them sees the other.
"""

from __future__ import annotations

import sys
from concurrent.futures import Future as StandardFuture
from threading import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Standard = StandardFuture[Any]
else:
    Standard = StandardFuture

# As in `concurrent.futures`.
_PENDING, _RUNNING, _FINISHED = "PENDING", "RUNNING", "FINISHED"
_CANCELLED = ("CANCELLED", "CANCELLED_AND_NOTIFIED")

#: How often and how long, in seconds, a future's lock is asked for before the future is given up.
_ASKED = 20
_PATIENCE = 0.05


class Future(Standard):
    """A future; `new` makes one."""

    def __init__(self) -> None:
        self._state = _PENDING
        self._result = None
        self._exception = None

    def __getattr__(self, name: str) -> Any:
        if name == "_condition":
            return self.__dict__.setdefault(name, Condition())
        if name in ("_waiters", "_done_callbacks"):
            return self.__dict__.setdefault(name, [])
        return super().__getattribute__(name)  # which says that there is none

    def __reduce__(self) -> Any:
        msg = f"cannot pickle {type(self).__name__!r} object"  # its lock does it for a standard one
        raise TypeError(msg)

    def _is(self, fate: str) -> bool:
        return bool(self.__dict__.setdefault("_fate", fate) == fate)

    def cancel(self) -> bool:
        return self._is(_CANCELLED[0]) and super().cancel()

    def cancelled(self) -> bool:
        return self._state in _CANCELLED

    def running(self) -> bool:
        return self._state == _RUNNING

    def done(self) -> bool:
        return self._state == _FINISHED or self._state in _CANCELLED

    def result(self, timeout: float | None = None) -> Any:
        if self._state == _FINISHED and self._exception is None:
            return self._result
        try:
            return super().result(timeout)
        finally:
            del self  # else an exception's traceback would keep its future

    def set_running_or_notify_cancel(self) -> bool:
        if self._state == _PENDING and self._is(_RUNNING):
            self._state = _RUNNING
            return True
        return super().set_running_or_notify_cancel()

    def set_result(self, result: Any) -> None:
        if is_watched(self) or self._state != _RUNNING:
            super().set_result(result)
        else:
            self._result = result
            self._finish("add_result")

    def set_exception(self, exception: BaseException | None) -> None:
        if is_watched(self) or self._state != _RUNNING:
            super().set_exception(exception)
        else:
            self._exception = exception
            self._finish("add_exception")

    def _finish(self, news: str) -> None:
        self._state = _FINISHED
        if is_watched(self) and _can_be_told(self):  # since a moment ago
            with self._condition:
                for waiter in self._waiters:
                    getattr(waiter, news)(self)
                self._condition.notify_all()
            self._invoke_callbacks()


def _is_as_known() -> bool:
    """Whether a standard future is made of what is known here, and threads take turns."""
    made = {"_condition", "_state", "_result", "_exception", "_waiters", "_done_callbacks"}
    takes_turns = getattr(sys, "_is_gil_enabled", lambda: True)()
    return takes_turns and vars(StandardFuture()).keys() == made


#: Makes a future.
new: Callable[[], Standard] = Future if _is_as_known() else StandardFuture


def is_watched(future: Standard) -> bool:
    """Whether anybody waits for it, or has done so."""
    return "_condition" in future.__dict__


def tell(future: Standard, say: Callable[..., Any], *said: Any) -> Any:
    """Tell a future something by one of its methods, unless nobody can."""
    return say(*said) if not is_watched(future) or _can_be_told(future) else None


def _can_be_told(future: Standard) -> bool:
    """Whether its lock can be had.

    Ctrl-C may hit the thread that waits for it where `threading.Condition` has taken the lock and not
    given it back: then it stays taken for ever, and so would we. Others hold it for microseconds.
    """
    lock = future._condition
    if not (
        lock.acquire(blocking=False) or any(lock.acquire(timeout=_PATIENCE) for _ in range(_ASKED))
    ):
        return False
    lock.release()  # what is called back must not find it held
    return True
