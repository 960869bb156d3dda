"""Starts interpreters: fresh workers, and the clean servers.

Light on purpose: a call starts its clean server through here first, and imports the rest of the package
while that boots.
"""

from __future__ import annotations

import _signal  # `signal` wraps the same numbers in enums, and costs 3.5 ms
import _socket  # `socket` imports `selectors`, `enum` and more: 13 ms against 2
import _thread
import os
import sys

from . import _lifeline
from ._handlers import SIGNALS, let_pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    T = TypeVar("T")

_begun: list[tuple[_socket.socket, int]] = []  # a clean server that nobody has asked for yet
_controls: list[_socket.socket] = []  # to all clean servers, so that no forked child keeps one
_hooked = False  # forked children forget these
_beginning = _thread.allocate_lock()  # held while it is started: several threads may come first

#: Seconds to wait for a thread that is starting one: it may have been lost in a fork.
_PATIENCE = 1.0


def undisturbed(act: Callable[[], T]) -> T:
    """Act while no signal is handled, so that Ctrl-C comes before or after what must be done whole.

    Where there are other threads it may still come, since they take signals, too.
    """
    if not hasattr(_signal, "pthread_sigmask"):
        return act()
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
    try:
        _signal.pthread_sigmask(_signal.SIG_BLOCK, SIGNALS)
        return act()
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def begin() -> None:
    """Start the clean server of the default workers, unless one was started before."""
    taken: list[bool] = []
    try:
        taken.extend(map(_beginning.acquire, (False,)))  # in C: it is known whether it was taken
        if taken == [True] and _is_wanted():
            undisturbed(lambda: _begun.append(_start_clean_server(())))
    except OSError as error:
        let_pass(error)  # else who leases a worker will be told
    finally:
        if taken == [True]:
            _beginning.release()


def _is_wanted() -> bool:
    return not _begun and "parmap._stock" not in sys.modules and hasattr(os, "fork")


def clean_server(preload: Sequence[str]) -> tuple[_socket.socket, int]:
    """A clean server that imports these modules: the socket to it, and its pid."""
    if not preload:
        taken: list[bool] = []
        try:
            taken.extend(map(_beginning.acquire, (True,), (_PATIENCE,)))  # as above
            if _begun:
                return _begun.pop()
        finally:
            if taken == [True]:
                _beginning.release()
    return _start_clean_server(preload)


def has_begun() -> bool:
    """Whether a clean server was started, or is just being, that nobody has asked for yet."""
    return bool(_begun) or _beginning.locked()


def forget() -> None:
    """In a forked child of the caller: what was started is the parent's."""
    global _beginning  # noqa: PLW0603 -- of this process
    for sock in _controls:
        sock.close()
    _controls.clear()
    _begun.clear()
    _beginning = _thread.allocate_lock()  # whoever held it is not here
    _lifeline.cut(here=True)


def _start_clean_server(preload: Sequence[str]) -> tuple[_socket.socket, int]:
    global _hooked  # noqa: PLW0603 -- as above
    if not _hooked:
        _hooked = True
        os.register_at_fork(after_in_child=forget)
    ours, theirs = _socket.socketpair()
    _controls[:] = [ours, *(sock for sock in _controls if sock.fileno() >= 0)]
    try:
        lifeline = _lifeline.end()
        path = [str(place) for place in sys.path] if preload else []
        program = f"s.main({theirs.fileno()}, {lifeline}, {list(preload)!r}, {path!r})"
        return ours, interpreter("_server", program, [theirs.fileno(), lifeline])
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()


def interpreter(module: str, program: str, fds: Sequence[int]) -> int:
    """Start an interpreter that runs `program`, with `s` our module of that name."""
    package = os.path.dirname(os.path.abspath(__file__))
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(package)!r}); "
        f"import {__package__}.{module} as s; del sys.path[0]; {program}"
    )
    arguments = [sys.executable, *_interpreter_flags(), "-c", code]
    actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    actions += [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in fds]  # which makes it inheritable there
    environment = {**os.environ, "PYTHONHASHSEED": _hash_seed()}
    return os.posix_spawn(
        sys.executable,
        arguments,
        environment,
        file_actions=actions,
        setpgroup=0,
        setsigdef=[_signal.SIGINT, _signal.SIGTERM, _signal.SIGCHLD, _signal.SIGPIPE],
        setsigmask=[],
    )


_seed: str = ""


def _hash_seed() -> str:
    """One hash seed for all workers: the caller's, where it was chosen."""
    global _seed  # noqa: PLW0603 -- drawn once in each process
    if not _seed:
        given = os.environ.get("PYTHONHASHSEED", "random")
        _seed = str(int.from_bytes(os.urandom(4), "big")) if given in ("", "random") else given
    return _seed


def _interpreter_flags() -> list[str]:
    """The options that this interpreter was started with, for another like it."""
    flags = ["-P"]  # the directory of a `-c` program, which is the current one, is not for imports
    letters = {
        "isolated": "I",
        "no_site": "S",
        "no_user_site": "s",
        "ignore_environment": "E",
        "dont_write_bytecode": "B",
        "verbose": "v",
        "bytes_warning": "b",
    }
    for name, letter in letters.items():
        if getattr(sys.flags, name):
            flags.append("-" + letter * getattr(sys.flags, name))
    if sys.flags.optimize:
        flags.append("-" + "O" * sys.flags.optimize)
    flags += [f"-W{option}" for option in sys.warnoptions]
    for name, value in getattr(sys, "_xoptions", {}).items():
        flags += ["-X", name if value is True else f"{name}={value}"]
    return flags
