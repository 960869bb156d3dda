"""Signal handlers of the user's, which run in the middle of what is ours, and may raise.

Programs limit the time of something by `signal.alarm` and a handler that raises, most often `TimeoutError`,
which is an `OSError`: what it has interrupted must not take it for an error of its own. And a message must
not be left half sent. To block signals would not do: other threads take them, and NumPy alone brings some
along; it is the main thread that calls the handler.
"""

from __future__ import annotations

import _signal
import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any

#: All but the two that nobody can handle, and those for real time, which nobody uses by accident.
SIGNALS = tuple({*range(1, min(_signal.NSIG, 32))} - {_signal.SIGKILL, _signal.SIGSTOP})

#: By which a worker is urged (`_early`), 0 where there is none; its handler is ours, and raises nothing.
URGE = getattr(_signal, "SIGURG", 0)

_THEIRS = tuple({*SIGNALS} - {URGE})

thread: int = 0  # of this process, if it is a worker, that handles signals


def put_off(act: Callable[[], None]) -> None:
    """In a worker, act while no handler is called.

    Those that would have been called are called afterwards, and may raise something.
    """
    handlers = [*map(_signal.getsignal, _THEIRS)]
    if not any(map(callable, handlers)) or _thread.get_ident() != thread:
        act()
        return
    late: list[tuple[int, Any]] = []

    def note(number: int, frame: Any) -> None:
        late.append((number, frame))

    theirs: dict[int, Any] = dict(zip(_THEIRS, handlers, strict=True))
    theirs = {number: handler for number, handler in theirs.items() if callable(handler)}
    try:
        for number in theirs:
            _signal.signal(number, note)
        act()
    finally:
        for number, handler in theirs.items():
            _signal.signal(number, handler)
        for number, frame in late:
            theirs[number](number, frame)


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
    while hasattr(handler, "func"):  # a `partial`
        handler = handler.func
    if not hasattr(handler, "__code__"):  # nor a method, which has its function's
        handler = type(handler).__call__
    return getattr(handler, "__code__", None)
