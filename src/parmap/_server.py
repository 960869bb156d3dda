"""The clean server: a fresh, single-threaded process that forks workers on request.

It has imported what a worker needs and nothing of the caller's, so a fork costs a millisecond and
inherits no lock, thread, socket or random state. Two promises rest on it: the exit status of every
worker becomes known, and when the caller is gone, however it went, so is every worker within moments,
even one that holds the GIL in C code; its end of the control socket is all that the server watches.
"""

from __future__ import annotations

import _signal  # `signal` wraps the same functions in enums, and costs 3.5 ms
import _socket
import errno
import gc
import os
import select
import sys

from . import _codec, _failure, _lifeline, _wire, _worker
from ._channel import Channel, Closed
from ._handlers import URGE

try:  # for the workers, none of which then has to find and open them
    import atexit  # noqa: F401  # pyright: ignore[reportUnusedImport]
    import fcntl  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError:
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(control: int, lifeline: int, preload: Sequence[str], path: list[str]) -> None:
    """Serve until the caller is gone; in each forked worker, be that worker."""
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)  # Ctrl-C is the caller's to decide about
    channel = Channel(_socket.socket(fileno=control))
    channel.sock.setblocking(False)
    role = None
    if _preload(channel, lifeline, preload, path):
        gc.collect()
        gc.freeze()  # so that collections in workers do not touch, and so copy, these pages
        role = _Server(channel).serve()
    if role is None:
        os._exit(0)  # nothing here is worth the time that an interpreter takes to end
    _worker.main(*role, lifeline)


def _preload(channel: Channel, lifeline: int, names: Sequence[str], path: list[str]) -> bool:
    """Import modules with the caller's `sys.path`, telling how that goes; whether all could be."""
    if not names:
        return True
    try:
        own = _lifeline.hold_by_signal(lifeline)  # an import that never ends sees no socket
    except (ImportError, AttributeError, OSError):
        own = -1
    usual = sys.path[:]
    sys.path[:] = path
    name = ""
    try:
        for name in names:
            _tell(channel, name)
            __import__(name)
        _tell(channel, "")
    except Closed:
        return False
    except BaseException as error:
        channel.queue(_wire.PRELOADS, [_codec.pack_plain(name), _failure.pack(error)])
        channel.flush()
        return False
    sys.path[:] = usual
    if own >= 0:
        os.close(own)  # from here on the server has workers to end first
    return True


def _tell(channel: Channel, name: str) -> None:
    channel.queue(_wire.PRELOADS, [_codec.pack_plain(name)])
    channel.flush()


class _Server:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._workers: dict[int, int] = {}  # pid to token
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)
        _signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, lambda _signal, _frame: None)

    def serve(self) -> tuple[int, int] | None:
        """Answer requests; returns in a worker, with its descriptors, or when the caller is gone."""
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        try:
            while True:
                events = select.POLLIN | (select.POLLOUT if self._channel.sending else 0)
                poller.register(self._channel.fileno(), events)
                ready = {fd for fd, _ in poller.poll()}
                if self._wake in ready:
                    os.read(self._wake, 4096)
                    self._reap()
                if self._channel.fileno() in ready:
                    for frame in self._channel.receive():
                        role = self._answer(frame)
                        if role is not None:
                            return role
                self._channel.flush()
        except (Closed, _wire.WireError):
            self._end_all()
            self._channel.close()
            return None

    def _answer(self, frame: _wire.Frame) -> tuple[int, int] | None:
        try:
            said = _codec.unpack([part for part in frame.parts if part is not None])
            if frame.kind == _wire.SHARE:
                _share(said)
                return None
            token, what = said
            if not 0 <= what < _signal.NSIG:
                raise ValueError(what)  # noqa: TRY301 -- one of several ways to be nonsense
            sock, cell = self._channel.take_fds(2) if frame.kind == _wire.FORK else (-1, -1)
        except Exception as error:
            msg = "a request that is none"
            raise _wire.WireError(msg) from error
        if frame.kind == _wire.FORK:
            return self._fork(token, sock, cell)
        for pid, its_token in self._workers.items():
            if its_token == token:
                _signal_group(pid, what)
        return None

    def _fork(self, token: int, sock: int, cell: int) -> tuple[int, int] | None:
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(token, None, error.errno)
            os.close(sock)
            os.close(cell)
            return None
        if pid == 0:
            os.setpgid(0, 0)  # so that a signal to its group reaches what it has started, too
            _signal.set_wakeup_fd(-1)
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            os.close(self._wake)
            os.close(self._waker)
            self._channel.close()
            return sock, cell
        try:
            os.setpgid(pid, pid)  # in both, since neither knows who comes first
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.ESRCH):
                raise
        os.close(sock)
        os.close(cell)
        self._workers[pid] = token
        return None

    def _reap(self) -> None:
        while self._workers:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            token = self._workers.pop(pid, None)
            if token is None:
                continue
            code = os.waitstatus_to_exitcode(status)
            if code != 0:
                _signal_group(pid, _signal.SIGKILL)  # what it started must not outlive its crash
            self._tell(token, code, 0)

    def _tell(self, token: int, exitcode: int | None, error: int | None) -> None:
        self._channel.queue(_wire.EXITED, [_codec.pack_plain((token, exitcode, error))])

    def _end_all(self) -> None:
        for pid in self._workers:
            _signal_group(pid, _signal.SIGKILL)
        for pid in self._workers:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass


def _share(names: Sequence[str]) -> None:
    from . import _stdlib

    _stdlib.share(names)
    gc.freeze()  # as above


def _signal_group(pid: int, signal: int) -> None:
    """Signal a process group; with `URGE` the process alone that leads it."""
    try:
        (os.kill if signal == URGE else os.killpg)(pid, signal)
    except (ProcessLookupError, PermissionError):
        pass  # all of it is gone
