"""The exception tree, but for `SerializationError`, whose other base takes 5 ms to import."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ParmapError(Exception):
    """Base of everything that parmap itself raises while a call runs."""

    __module__ = "parmap"

    #: The place in the input of the item concerned, where there is one.
    parmap_index: int | None

    def __reduce__(self) -> tuple[Any, ...]:
        # Not `type(self)(*args)`: the constructors below take more than the message.
        return rebuild, (type(self), self.args, self.__dict__)


class WorkerDied(ParmapError):
    """A worker process ended while it ran an item, or before it could.

    Attributes:
        index: The item that was running, or that several workers in a row died before beginning; None
            where it is not known.
        exitcode: The exit code (negative: the number of the signal), or None where it is not known.
        signal: The signal's name, such as "SIGKILL", or None.
        pid: The process id, or None for a worker that never came up.
        reason: "memory" where its `memory_limit` (or, as far as can be known, the system) ended it,
            "signal", "exit", "connection" (it shut its connection but lived on), "shutdown" (the `Pool` was
            ended by force meanwhile), or "unknown".
    """

    __module__ = "parmap"

    def __init__(
        self,
        message: str,
        *,
        index: int | None = None,
        exitcode: int | None = None,
        signal: str | None = None,
        pid: int | None = None,
        reason: str = "unknown",
    ) -> None:
        super().__init__(message)
        self.index = index
        self.exitcode = exitcode
        self.signal = signal
        self.pid = pid
        self.reason = reason


class WorkerStartError(ParmapError):
    """Workers cannot be started, or their initializer raised, three times running, and there are none.

    Where some are at work, a call goes on with them, says so by a `RuntimeWarning`, and tries again later.
    """

    __module__ = "parmap"


class ItemTimeout(ParmapError, TimeoutError):
    """An item ran longer than `item_timeout`, and its worker was killed.

    Attributes:
        index: The item.
        seconds: The limit that it passed.
    """

    __module__ = "parmap"

    def __init__(self, message: str, *, index: int, seconds: float) -> None:
        super().__init__(message)
        self.index = index
        self.seconds = seconds


class CallTimeout(ParmapError, TimeoutError):
    """The whole call ran longer than `timeout`; what was running was killed.

    Attributes:
        seconds: The limit that was passed.
        done: How many items were finished.
        total: How many items there are, or None where the input has no length.
        results: The results so far, by index.
    """

    __module__ = "parmap"

    def __init__(
        self,
        message: str,
        *,
        seconds: float,
        done: int = 0,
        total: int | None = None,
        results: dict[int, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.seconds = seconds
        self.done = done
        self.total = total
        self.results = {} if results is None else results


class RemoteError(ParmapError):
    """Stands in for an exception of a worker that cannot be pickled, or not unpickled.

    Attributes:
        type_name: The name of the original's class, with its module.
        message: What the original said.
        traceback: The original's traceback, as text.
    """

    __module__ = "parmap"

    def __init__(self, type_name: str, message: str, traceback: str) -> None:
        super().__init__(f"{type_name}: {message}" if message else type_name)
        self.type_name = type_name
        self.message = message
        self.traceback = traceback


def rebuild(cls: type[ParmapError], args: tuple[Any, ...], state: dict[str, Any]) -> ParmapError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error
