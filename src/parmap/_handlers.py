"""Signal handlers of the user's, which run in the middle of what is ours, and may raise.

Programs limit the time of something by `signal.alarm` and a handler that raises, most often `TimeoutError`,
which is an `OSError`: what it has interrupted must not take it for an error of its own. And a message must
not be left half sent. To block signals would not do: other threads take them, and NumPy alone brings some
along; it is the main thread that calls the handler.
"""

from __future__ import annotations

import _signal
import _thread
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any

#: All but the two that nobody can handle, and those for real time, which nobody uses by accident.
SIGNALS: tuple[int, ...] = tuple(
    {number for number in _signal.valid_signals() if number < 32}  # noqa: PLR2004 -- see above
    - {getattr(_signal, name, 0) for name in ("SIGKILL", "SIGSTOP")}
)

#: By which a worker is urged (`_early`), 0 where there is none; its handler is ours, and raises nothing.
URGE = getattr(_signal, "SIGURG", 0)

_THEIRS: tuple[int, ...] = tuple({*SIGNALS} - {URGE})

thread: int = 0  # of this process, if it is a worker, that handles signals


def put_off(act: Callable[[], None]) -> None:
    """In a worker, act while no handler is called.

    Those that would have been called are called afterwards, and may raise something.
    """
    handlers: list[Any] = [*map(_signal.getsignal, _THEIRS)]
    if not any(map(callable, handlers)) or _thread.get_ident() != thread:
        act()
        return
    late: dict[int, None] = {}  # as an ordered set

    def note(number: int, _frame: Any) -> None:
        late[number] = None

    theirs = [pair for pair in zip(_THEIRS, handlers, strict=True) if callable(pair[1])]
    try:
        for number, _ in theirs:
            _signal.signal(number, note)
        act()
    finally:
        _give_back(theirs, late)


def _give_back(theirs: list[tuple[int, Any]], late: dict[int, None]) -> None:
    """Let these be the handlers again, and call those that were put off, whatever any of them raises."""
    if not theirs:
        _raise_again([*late])
        return
    try:
        _signal.signal(*theirs[0])
    except BaseException:  # it calls handlers first, and some have been given back already
        _signal.signal(*theirs[0])
        raise
    finally:
        _give_back(theirs[1:], late)


def _raise_again(numbers: list[int]) -> None:
    if numbers:
        try:
            _signal.raise_signal(numbers[0])
        finally:
            _raise_again(numbers[1:])


def let_pass(error: BaseException) -> None:
    """Raise what was caught again, if it is a handler that has raised it."""
    traceback = error.__traceback__
    if traceback is None or traceback.tb_next is None:
        return  # raised in C, where it was caught
    codes = {_code_of(handler) for handler in map(_signal.getsignal, SIGNALS) if callable(handler)}
    while traceback is not None:
        if traceback.tb_frame.f_code in codes:
            raise error
        traceback = traceback.tb_next


def _code_of(handler: Any) -> CodeType | None:
    partial: Any = getattr(sys.modules.get("functools"), "partial", ())  # else there is none
    while isinstance(handler, partial):
        handler = handler.func
    if not hasattr(handler, "__code__"):  # nor a method, which has its function's
        handler = type(handler).__call__
    return getattr(handler, "__code__", None)
