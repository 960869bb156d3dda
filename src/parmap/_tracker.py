"""One resource tracker for the caller and its workers, as `multiprocessing` has it for its own children.

Its tracker is a process that is told of each named resource (a `SharedMemory`, a semaphore) when somebody
makes it, or merely attaches to it, and of its end. When all who can talk to the tracker are gone, it
removes what is left. A worker that started one of its own would have the caller's memory removed when
the worker ends.

So a worker is handed the caller's end of the pipe to the tracker, if there is one as a call begins. Where
there is none, the worker tells the caller what is to be tracked, who starts one then. Neither costs
anything where nobody uses such resources: to import `multiprocessing.resource_tracker` takes ten
milliseconds, and to start that process as long again.
"""

from __future__ import annotations

import os
import sys

from . import _launch
from ._handlers import let_pass
from ._imports import when_imported
from ._owned import owned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MODULE = "multiprocessing.resource_tracker"


def _descriptor() -> int | None:
    """This process's end of the pipe to a tracker, if one runs.

    There is no public way to ask without starting one. Where the private one has gone, none seems to run.
    """
    module = sys.modules.get(_MODULE)
    found = getattr(getattr(module, "_resource_tracker", None), "_fd", None)
    return found if type(found) is int else None


# --- in the caller --------------------------------------------------------------------------------


def running() -> tuple[int, int | None] | None:
    """The end of the pipe to the tracker that workers are to share, and the tracker's pid if it is ours."""
    module = sys.modules.get(_MODULE)
    if module is None:
        return None if _handed is None else (_handed, None)  # a worker's workers use it, too
    fd = _descriptor()
    if fd is None or not sys.modules["threading"].main_thread().is_alive():
        return (
            None  # the program ends, and who may still start workers is not awaited: see `let_go`
        )
    return fd, getattr(module._resource_tracker, "_pid", None)


class Duplicate:
    """A descriptor of somebody else's, for as long as it takes to hand it over."""

    def __init__(self, fd: int) -> None:
        (self._owner,) = map(owned, map(os.dup, [fd]))
        self.fd = self._owner.fileno()


def note(act: str, name: str, kind: str) -> None:
    """Do for a worker what it has told: "register" a resource or "unregister" it."""
    from multiprocessing import resource_tracker

    acts = {"register": resource_tracker.register, "unregister": resource_tracker.unregister}
    try:
        _launch.undisturbed(lambda: acts[act](name, kind))
    except (OSError, RuntimeError, ValueError, Warning) as error:
        let_pass(error)  # else no tracker can be started, or not any more: it goes untracked


def let_go() -> None:
    """At the program's end, with workers still in use: do not wait for the tracker's end.

    Some versions of Python do, when all else is done, and without a limit. But it ends after all workers
    that have it, and those end after this process.
    """
    tracker = getattr(sys.modules.get(_MODULE), "_resource_tracker", None)
    if tracker is not None and hasattr(tracker, "_pid"):
        tracker._pid = None


# --- in a worker ----------------------------------------------------------------------------------

_tell: Callable[[str, str, str], None] | None = None  # lets the caller know
_pid = 0  # of the worker, whose channel that uses
_handed: int | None = None  # the end of the pipe that came from the caller


def use(tell: Callable[[str, str, str], None]) -> None:
    """Let this process, a new worker, track nothing by itself."""
    global _tell, _pid, _handed  # noqa: PLW0603 -- one process, one caller
    first = _tell is None  # else it was forked from a worker, with all that was put in place there
    _tell, _pid = tell, os.getpid()
    module = sys.modules.get(_MODULE)
    if module is not None:
        _handed = _descriptor()  # of the process that it was forked from
    if first and module is not None:
        _put_in_place(module)
    elif first:
        when_imported(_MODULE, _put_in_place)


def take(fd: int) -> None:
    """Take the end of the pipe to the caller's tracker."""
    global _handed  # noqa: PLW0603 -- as above
    current = _descriptor() if _MODULE in sys.modules else _handed
    if current is not None and (current != _handed or os.path.sameopenfile(current, fd)):
        os.close(fd)  # a tracker runs here, for this worker's own children; or it is the same
        return
    os.set_inheritable(fd, False)
    _handed = fd
    if _MODULE in sys.modules:
        _hand_on(sys.modules[_MODULE])
    if current is not None:
        os.close(current)


def _hand_on(module: Any) -> None:
    tracker = getattr(module, "_resource_tracker", None)
    if tracker is not None and hasattr(tracker, "_fd"):
        tracker._fd = _handed  # as `multiprocessing` does it in its own children


def _put_in_place(module: Any) -> None:
    """Have its functions tell the caller where they would start a tracker."""
    ordinary_register, ordinary_unregister = module.register, module.unregister

    def register(name: str, rtype: str) -> None:
        if _is_shared():
            ordinary_register(name, rtype)
        else:
            _to_caller("register", name, rtype)

    def unregister(name: str, rtype: str) -> None:
        if _is_shared():
            ordinary_unregister(name, rtype)
            return
        _to_caller("unregister", name, rtype)
        if _descriptor() is not None:
            # One was started for children of this worker's, who may have attached to the resource. And
            # of what it has not heard, it must not be told the end.
            ordinary_register(name, rtype)
            ordinary_unregister(name, rtype)

    module.register, module.unregister = register, unregister
    _hand_on(module)


def _is_shared() -> bool:
    """Whether the tracker here is the caller's."""
    fd = _descriptor()
    return fd is not None and fd == _handed


def _to_caller(act: str, name: str, kind: str) -> None:
    # A process that the function has forked must not use the channel. What it uses stays untracked: a
    # tracker of its own would remove, at its end, what it shares with the worker.
    if _tell is not None and os.getpid() == _pid:
        _tell(act, name, kind)
