"""Starts, kills and reaps processes, and says how one ended.

Four ways to start a worker, behind one interface (`Child`): forked from the clean server (the default),
forked from the caller, a fresh interpreter, or through `multiprocessing.Process`, whose objects (locks,
queues, pipes) can be handed over only while one of its processes is being started.
"""

from __future__ import annotations

import _signal
import _thread
import errno
import os
import select
import sys
import time

from . import _codec, _failure, _launch, _wire
from ._channel import Channel, Closed
from ._errors import WorkerStartError
from ._handlers import URGE, let_pass
from ._lock import careful
from ._owned import owned

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Any
else:
    ModuleType = type(sys)  # `types` has it, and is one more import

#: Seconds to wait for the news of an end that must have happened.
NEWS = 2.0

#: Seconds to wait for news that may have been lost.
SOON = 0.1

#: Between two looks at a child where the system offers nothing to wait on.
_NAP = 0.002


class Child:
    """A process that was started here."""

    exitcode: int | None = None  # negative: the number of a signal
    pid: int | None = None
    errno = 0  # why it could not be started

    def kill(self, signal: int) -> None:
        """Send a signal to its process group, if it still runs; `URGE` to itself alone."""
        raise NotImplementedError

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it has ended and is reaped."""
        raise NotImplementedError

    def trouble(self) -> WorkerStartError | None:
        """After an end before it was ready: what is known of the reason."""
        return None

    def unborn(self) -> bool:
        """Whether who is to start it is not ready for that, and may never be."""
        return False


# --- the clean server -----------------------------------------------------------------------------


class Server:
    """The caller's end of a clean server; any thread may use it."""

    def __init__(self, preload: Sequence[str]) -> None:
        ours, self.pid = _launch.clean_server(preload)
        ours.setblocking(False)
        self._channel = Channel(ours)
        self._lock = careful(_thread.allocate_lock())
        self._children: dict[int, Forked] = {}
        self._tokens = 0
        self._shared: set[str] = set()  # what it was asked to import for its workers
        self._imports = preload[0] if preload else ""  # the module to preload that it is at
        self._refusal: BaseException | None = None  # what that raised
        self._exitcode: int | None = None  # if it ended in that
        self._missed = False  # Ctrl-C came while it was listened to: some news may never come
        self.gone = False

    @property
    def busy(self) -> bool:
        """Whether somebody is speaking with it."""
        return self._lock.locked()

    @property
    def imports(self) -> bool:
        """Whether it still imports modules, as far as it has been listened to."""
        return bool(self._imports)

    def fork(self, sock: int, cell: int) -> Forked:
        """Ask for a worker with these descriptors; it says itself when it is there.

        Raises:
            OSError: The server is gone.
        """
        with self._lock:
            self._tokens += 1
            child = Forked(self, self._tokens)
            self._children[child.token] = child
            request = [_codec.pack_plain((child.token, 0))]
            try:
                _write_when_possible(self._channel.sock)
                self._channel.queue_fds(_wire.FORK, request, [sock, cell])
            except (Closed, TimeoutError) as error:
                let_pass(error)
                self.gone = True
                msg = "the clean server has ended"
                raise OSError(msg) from error
            except OSError as error:
                let_pass(error)
                del self._children[child.token]
                raise
        return child

    @property
    def imported(self) -> int:
        """How many modules it was asked to import for its workers."""
        return len(self._shared)

    @property
    def hung_up(self) -> bool:
        """Whether it has ended, though nobody may have heard it yet."""
        return self._channel.hung_up

    def share(self, names: set[str]) -> None:
        """Have modules of the standard library imported before workers are forked that will need them."""
        new = names - self._shared
        if new and not self.gone:
            _launch.undisturbed(lambda: self._share(new))  # no half a frame

    def _share(self, names: set[str]) -> None:
        with self._lock:
            self._shared |= names
            self._tell(_wire.SHARE, sorted(names))

    def signal(self, child: Forked, signal: int) -> None:
        """Have the server signal a worker: it alone knows that the pid still is that worker's."""
        with self._lock:
            if self.gone or child.exitcode is not None:
                return
            self._tell(_wire.KILL, (child.token, signal))

    def _tell(self, kind: int, what: object) -> None:
        try:
            self._channel.queue(kind, [_codec.pack_plain(what)])
            _write_when_possible(self._channel.sock)
            self._channel.flush()
        except (Closed, OSError) as error:
            let_pass(error)
            self.gone = True

    def listen(self, child: Forked, seconds: float) -> bool:
        """Take in news of ended workers until there is some of this one."""
        until = time.monotonic() + (min(seconds, SOON) if self._missed else seconds)
        with self._lock:
            self._listen(child, until)
        return child.token not in self._children

    def _listen(self, child: Forked, until: float) -> None:  # by itself: see `Drive.run`
        poller = select.poll()
        while child.token in self._children and not self.gone:
            # As long as it imports what the user wants, it has no workers, and may never have.
            left = 0.0 if self._imports else until - time.monotonic()
            try:
                poller.register(_descriptor(self._channel.sock), select.POLLIN)
                if not poller.poll(max(0, left * 1000)):
                    return
                self._take_in_all()
            except Exception as error:
                self._missed = True
                let_pass(error)
                self.gone = True  # it has ended, or says what cannot be understood
                if self._imports:
                    self._exitcode = _reap(self.pid, NEWS)[1]
            except BaseException:
                self._missed = True
                raise

    def _take_in_all(self) -> None:
        for frame in self._channel.receive():
            self._take_in(frame)

    def trouble(self) -> WorkerStartError | None:
        """Why it has ended, if that is a module that was to be preloaded."""
        if not (self.gone and self._imports):
            return None
        what = f"the module {self._imports!r} of preload"
        if self._refusal is None:
            how = "" if self._exitcode is None else f" ({_ending(self._exitcode)})"
            return WorkerStartError(f"{what} has ended the process that imported it{how}")
        error = WorkerStartError(f"{what} cannot be imported: {_failure.said(self._refusal)}")
        error.__cause__ = self._refusal
        return error

    def _take_in(self, frame: _wire.Frame) -> None:
        parts = [part for part in frame.parts if part is not None]
        if frame.kind == _wire.PRELOADS:
            self._imports = _codec.unpack(parts[:1])
            if len(parts) > 1:
                self._refusal = _failure.unpack(parts[1])
            return
        token, exitcode, error = _codec.unpack(parts)
        ended = self._children.pop(token)
        ended.exitcode, ended.errno = exitcode, error

    def close(self, *, wait: bool) -> None:
        """End the server, and with it every worker that it still has."""
        self.gone = True
        self._channel.close()
        if wait and not _reap(self.pid, NEWS)[0]:
            os.kill(self.pid, _signal.SIGKILL)
            _reap(self.pid, NEWS)

    def abandon(self) -> None:
        """Forget it, in a forked child of the caller: it is the parent's."""
        self.gone = True
        self._channel.close()


class Forked(Child):
    """A worker forked from the clean server."""

    def __init__(self, server: Server, token: int) -> None:
        self._server = server
        self.token = token

    def kill(self, signal: int) -> None:
        """See `Child`."""
        self._server.signal(self, signal)
        if self._server.gone and self.exitcode is None and self.pid is not None:
            # The server has been killed, so nobody reaps its workers here and their pids stay theirs,
            # or the system's own first process does, in the moment that this takes.
            _signal_both(self.pid, signal)

    def wait(self, seconds: float) -> bool:
        """See `Child`."""
        return self._server.listen(self, seconds)

    def trouble(self) -> WorkerStartError | None:
        """See `Child`."""
        return self._server.trouble()

    def unborn(self) -> bool:
        """See `Child`."""
        return not self._server.listen(self, 0.0) and self._server.imports


# --- our own children -----------------------------------------------------------------------------


class Own(Child):
    """A child of the caller itself."""

    def __init__(self, pid: int) -> None:
        # Known from the start, and to the end.
        self.pid: int = pid  # pyright: ignore[reportIncompatibleVariableOverride]
        self._reaped = False

    def kill(self, signal: int) -> None:
        """See `Child`."""
        if not self._reaped:
            _signal_both(self.pid, signal)

    def wait(self, seconds: float) -> bool:
        """See `Child`."""
        if not self._reaped:
            self._reaped, self.exitcode = self._end(seconds)
            if self._reaped and self.exitcode:
                try:
                    os.killpg(self.pid, _signal.SIGKILL)  # what it started must not outlive it
                except (ProcessLookupError, PermissionError):
                    pass
        return self._reaped

    def _end(self, seconds: float) -> tuple[bool, int | None]:
        """Wait for its end: whether it has come, and the exit code where that is known."""
        return _reap(self.pid, seconds)


def _signal_both(pid: int, signal: int) -> None:
    """Signal a process and its group, which it may not have got yet."""
    for send in (os.kill,) if signal == URGE else (os.killpg, os.kill):
        try:
            send(pid, signal)
        except (ProcessLookupError, PermissionError):
            continue  # there is none, or it is gone


def flush_streams() -> None:
    """Print what waits in the buffers: a forked child would print it again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError) as error:
            let_pass(error)  # else there is no stream, or a closed one


def fork(run: Callable[[], None]) -> Own:
    """Fork the caller; the child calls `run` and ends."""
    reading, writing = os.pipe()
    pid = None
    try:
        pid = os.fork()
    except RuntimeError as error:  # Pythons that refuse to, once they shut down
        raise OSError(str(error)) from error
    except Warning:
        # Python 3.15 warns of other threads when the child is there already: where warnings are errors,
        # its number is lost. The child has it.
        os.close(writing)
        writing = -1
        pid = int(os.read(reading, 32) or 0)
        if not pid:
            raise
    finally:
        if pid != 0:
            os.close(reading)
            if writing >= 0:
                os.close(writing)
    if pid:
        return Own(pid)
    code = 1
    try:
        os.write(writing, b"%d" % os.getpid())
        os.close(reading)
        os.close(writing)
        import atexit

        atexit._clear()  # the caller's handlers are the caller's
        _be_apart()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        run()
        code = 0
    finally:
        os._exit(code)


def _be_apart() -> None:
    """Be a process that the caller's terminal says nothing to, and who has started it may signal."""
    os.setpgid(0, 0)
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def spawn(sock: int, cell: int, lifeline: int) -> Own:
    """Start a fresh interpreter as a worker."""
    program = f"s.main({sock}, {cell}, {lifeline})"
    return Own(_launch.interpreter("_worker", program, [sock, cell, lifeline]))


def _reap(pid: int, seconds: float) -> tuple[bool, int | None]:
    """Wait for our child `pid`: whether it has ended, and its exit code where it is known."""
    until = time.monotonic() + seconds
    while True:
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return True, None  # somebody else, such as a SIGCHLD handler, has reaped it
        if ended:
            return True, os.waitstatus_to_exitcode(status)
        left = until - time.monotonic()
        if left <= 0:
            return False, None
        _wait_for(pid, left)


def _wait_for(pid: int, seconds: float) -> None:
    if hasattr(os, "pidfd_open"):
        try:
            (process,) = map(owned, map(os.pidfd_open, [pid]))
        except OSError:
            pass  # an old kernel, or no descriptor left
        else:
            poller = select.poll()
            poller.register(process.fileno(), select.POLLIN)
            poller.poll(seconds * 1000)
            return
    time.sleep(min(_NAP, seconds))


def _write_when_possible(sock: _socket.socket) -> None:
    """Wait until the server can be told something: it is never busy for long."""
    poller = select.poll()
    poller.register(_descriptor(sock), select.POLLOUT)
    if not poller.poll(NEWS * 1000):
        raise TimeoutError


def _descriptor(sock: _socket.socket) -> int:
    """That of a socket.

    Raises:
        OSError: Another thread has closed it.
    """
    fd = sock.fileno()
    if fd < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return fd


def _ending(exitcode: int) -> str:
    return signal_name(-exitcode) if exitcode < 0 else f"exit code {exitcode}"


def signal_name(number: int) -> str:
    """The name of a signal, such as "SIGKILL"."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# --- through multiprocessing ----------------------------------------------------------------------


class Multiprocessing(Own):
    """A `multiprocessing.Process`."""

    def __init__(self, process: Any) -> None:
        super().__init__(process.pid)
        self._process = process

    def kill(self, signal: int) -> None:
        """See `Child`."""
        if self._process.exitcode is None:  # else `multiprocessing` may have reaped it
            super().kill(signal)

    def _end(self, seconds: float) -> tuple[bool, int | None]:
        self._process.join(seconds)
        return self._process.exitcode is not None, self._process.exitcode


def launcher(start_method: str | None, carried: Any) -> Callable[..., Child] | None:
    """How to start a process that is to carry this, where none of our own ways can hand it over."""
    if "multiprocessing.context" not in sys.modules:
        return None
    from . import _cloud

    if not _cloud.holds_process_objects(carried):
        return None
    import multiprocessing

    # The objects of its default context can be handed over by that context's own start method alone.
    method = start_method or multiprocessing.get_context().get_start_method()
    method = "fork" if method == "fork" else "spawn"  # its fork server may import `__main__`

    def launch(sock: int, cell: int, lifeline: int, ours: int, name: str) -> Child:
        return start_multiprocessing(method, carried, sock, cell, lifeline, ours, name)

    return launch


def start_multiprocessing(
    method: str, carried: Any, sock: int, cell: int, lifeline: int, ours: int, name: str
) -> Multiprocessing:
    """Start a worker through `multiprocessing`, which alone can hand its objects over.

    Its fresh interpreters would import the caller's `__main__`; so while one is being described, a
    stand-in takes the place of `__main__` which has all of its attributes but those that say where it
    came from.
    """
    import multiprocessing

    context: Any = multiprocessing.get_context(method)
    arguments: tuple[Any, ...]
    if method == "fork":
        target, arguments = _be_forked_worker, (carried, sock, cell, lifeline, ours)
        process = context.Process(target=target, args=arguments, name=name)
        process.start()
        return Multiprocessing(process)
    arguments = (_Carrier(carried), *map(_Descriptor, (sock, cell, lifeline)))
    process = context.Process(target=_be_spawned_worker, args=arguments, name=name)
    with _main_lock:
        real = sys.modules["__main__"]
        sys.modules["__main__"] = _StandIn(real)
        try:
            process.start()
        finally:
            sys.modules["__main__"] = real
    return Multiprocessing(process)


_main_lock = careful(_thread.allocate_lock())


def abandon() -> None:
    """In a forked child of the caller: whoever had put the stand-in there, and held the lock, is not here."""
    global _main_lock  # noqa: PLW0603 -- of this process
    _main_lock = careful(_thread.allocate_lock())
    main = sys.modules.get("__main__")
    if type(main) is _StandIn:
        sys.modules["__main__"] = main.__dict__["_real"]


class _StandIn(ModuleType):
    """`__main__` without an origin; other threads may meet it, and find all else as it was."""

    def __init__(self, real: Any) -> None:
        super().__init__("__main__")
        self._real = real

    def __getattr__(self, name: str) -> Any:
        if name in ("__file__", "__path__"):
            raise AttributeError(name)
        return getattr(self.__dict__["_real"], name)


class _Carrier:
    """Pickles what it holds the way `multiprocessing` does, and by value where that cannot."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        from . import _cloud

        return _carry, (_cloud.dumps_for_process(self.value),)


def _carry(data: bytes) -> _Carrier:
    return _Carrier(_codec.unpack([memoryview(data)]))


class _Descriptor:
    """A descriptor that is handed over while a process is being started."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> Any:
        from multiprocessing import reduction

        return _duplicate, (reduction.DupFd(self.fd),)


def _duplicate(handle: Any) -> _Descriptor:
    return _Descriptor(handle.detach())


def _be_forked_worker(carried: Any, sock: int, cell: int, lifeline: int, ours: int) -> None:
    os.close(ours)
    _be_worker(carried, sock, cell, lifeline, forked=True)


def _be_spawned_worker(
    carrier: _Carrier, sock: _Descriptor, cell: _Descriptor, lifeline: _Descriptor
) -> None:
    _be_worker(carrier.value, sock.fd, cell.fd, lifeline.fd, forked=False)


def _be_worker(carried: Any, sock: int, cell: int, lifeline: int, *, forked: bool) -> None:
    from . import _errands, _worker

    _be_apart()
    _errands.carried = carried
    _worker.main(sock, cell, lifeline, last=False, forked=forked)
