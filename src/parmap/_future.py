"""The future of a submitted task: what the standard library's is, without its lock until somebody looks.

The standard library makes a lock and two lists for each future, and takes the lock at each step, which is
a third of what thousands of tasks cost their caller. Most futures are first looked at when they are
finished. The first look makes the lock, and from then on all is as in the standard library. Before it, two
steps are taken without, each of which two threads may want to take at once; `dict.setdefault` decides:

- It begins, or somebody tries to cancel it.
- It ends, or somebody looks at it. Who looks later finds it finished, and who ends it later takes the lock.
"""

from __future__ import annotations

import sys
from concurrent.futures import Future as StandardFuture
from threading import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Taker(Protocol):
        """What `result` can wait with before it waits for others; see `_direct`."""

        def take(self, timeout: float | None) -> float | None: ...
        def hand_over(self) -> None: ...

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

    _taker: Taker | None = None

    def __init__(self) -> None:
        self._state = _PENDING
        self._result = None
        self._exception = None

    def __getattr__(self, name: str) -> Any:
        if name == "_condition":
            ended = self.__dict__.setdefault("_ended", None)
            if ended is not None:  # perhaps just now, so that it has yet to be written down
                self._result, self._exception = ended
                self._state = _FINISHED
            condition = self.__dict__.setdefault(name, Condition())
            self._hand_over()  # after, since who takes answers in looks for it
            return condition
        if name in ("_waiters", "_done_callbacks"):
            return self.__dict__.setdefault(name, [])
        return super().__getattribute__(name)  # which says that there is none

    def __reduce__(self) -> Any:
        msg = f"cannot pickle {type(self).__name__!r} object"  # a standard one has a lock, which refuses
        raise TypeError(msg)

    def _hand_over(self) -> None:
        taker = self._taker
        if taker is not None:
            taker.hand_over()

    def _is(self, fate: str) -> bool:
        return bool(self.__dict__.setdefault("_fate", fate) == fate)

    def cancel(self) -> bool:
        return self._is(_CANCELLED[0]) and super().cancel()

    def cancelled(self) -> bool:
        return self._state in _CANCELLED

    def running(self) -> bool:
        self._hand_over()
        has_begun = self._state == _PENDING and self.__dict__.get("_fate") == _RUNNING
        return has_begun or self._state == _RUNNING

    def done(self) -> bool:
        self._hand_over()
        return self._state == _FINISHED or self._state in _CANCELLED

    def result(self, timeout: float | None = None) -> Any:
        taker = self._taker
        if taker is not None and self._state != _FINISHED:
            timeout = taker.take(timeout)
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
        if not self.ends((result, None)):
            super().set_result(result)

    def set_exception(self, exception: BaseException | None) -> None:
        if not self.ends((None, exception)):
            super().set_exception(exception)

    def ends(self, ended: tuple[Any, BaseException | None]) -> bool:
        """Finish it, unless somebody has looked at it, or it has not begun."""
        if self._state != _RUNNING or self.__dict__.setdefault("_ended", ended) is not ended:
            return False
        self._result, self._exception = ended
        self._state = _FINISHED
        return True


def _is_as_known() -> bool:
    """Whether a standard future is made of what is known here, and threads take turns."""
    made = {"_condition", "_state", "_result", "_exception", "_waiters", "_done_callbacks"}
    takes_turns = getattr(sys, "_is_gil_enabled", lambda: True)()
    return takes_turns and vars(StandardFuture()).keys() == made


#: Makes a future.
new: Callable[[], Standard] = Future if _is_as_known() else StandardFuture


def attach(future: Standard, taker: Taker | None) -> None:
    """Let `result` of a future of ours ask this one first; None: nobody any more."""
    future.__dict__["_taker"] = taker


def is_watched(future: Standard) -> bool:
    """Whether anybody waits for it, or has done so."""
    return "_condition" in future.__dict__


def is_settled(future: Standard) -> bool:
    """Whether it has ended, though who ended it may have been interrupted."""
    _look = future._condition  # the first look writes the end down
    return future.done()


def end_unseen(future: Standard, result: Any) -> bool:
    """Let a future of ours end with a result, if nobody has looked at it: then nobody has to be told."""
    return isinstance(future, Future) and future.ends((result, None))


def tell(future: Standard, say: Callable[..., Any], *said: Any) -> Any:
    """Tell a future something by one of its methods, unless nobody can."""
    return say(*said) if not is_watched(future) or _can_be_told(future) else None


def _can_be_told(future: Standard) -> bool:
    """Whether its lock can be had.

    Ctrl-C may hit the thread that waits for it where `threading.Condition` has taken the lock and not
    given it back: then it stays taken for ever, and so would we. Others hold it for microseconds, but for
    as long as it takes to go through them if they wait for a hundred thousand.
    """
    lock = future._condition
    looks = _ASKED
    while not lock.acquire(timeout=_PATIENCE):
        looks -= not _is_at_work(lock)
        if not looks:
            return False
    lock.release()  # what is called back must not find it held
    return True


def _is_at_work(lock: Condition) -> bool:
    """Whether who holds a future's lock is about to give it back."""
    _, _, owner = repr(getattr(lock, "_lock", None)).partition(" owner=")
    frame = sys._current_frames().get(int(owner.split()[0])) if owner else None
    found = False
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module == "threading" and frame.f_code.co_name == "wait":
            return False  # for something else, since who waits for this gives back its lock
        found |= module in ("concurrent.futures._base", __name__)
        frame = frame.f_back
    return found
