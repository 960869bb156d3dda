"""Frames over one socket, with descriptors for what travels beside it.

The same class serves both ends: the caller's never blocks, a worker's does.
"""

from __future__ import annotations

import _socket  # `socket` imports `selectors`, `enum` and more: 13 ms against 2
import errno
import os
import select
import time
from struct import Struct

from . import _launch, _memory
from ._handlers import let_pass
from ._segments import Borrower, Lender, Segment, Shared
from ._wire import AREA, ELSEWHERE, FREED, TRACKER, Decoder, Frame, WireError, head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    class Holder(Protocol):
        """Keeps a descriptor open."""

        fd: int


#: Buffers handed to the system in one call; no system takes fewer (POSIX has 16, Linux 1024).
_GATHER = 16 if not hasattr(os, "sysconf") else max(16, min(os.sysconf("SC_IOV_MAX"), 1024))

#: Descriptors that one `recvmsg` makes room for. Each frame carries at most one.
_FDS = 64

#: Bytes up to which a frame is put together before it is sent: to copy them takes less time than to send
#: them part by part.
_SMALL = 1 << 14

#: Stands for a descriptor that could not be received.
LOST = -1

#: Seconds until another try, where others have to do something first.
_NAP = 0.001

#: Seconds to look again and again before sleeping until something happens: to wake a sleeping core takes
#: as long, so a short answer comes sooner; and the core is offered to others at every look.
SPIN = 0.0002 if hasattr(os, "sched_yield") else 0.0

#: Seconds for which others take a core that is offered to them only if there are more of them than cores.
#: Then it is not offered again for some time, twice as long each time, since who sleeps is woken before
#: they are through.
_CROWDED = 0.0005
_PAUSES = 0.002, 0.064


class _Crowd:
    """What this process has seen of others that need its cores."""

    until = 0.0  # when a core may be offered again
    pause = _PAUSES[0]  # for which it is not, the next time


CAN_PASS_FDS = hasattr(_socket.socket, "sendmsg") and hasattr(_socket, "SCM_RIGHTS")
_ROOM = _socket.CMSG_SPACE(4 * _FDS) if CAN_PASS_FDS else 0


class Closed(Exception):
    """The other side has closed the channel, or is gone."""


def look_again(poller: select.poll, seconds: float) -> tuple[list[tuple[int, int]], float]:
    """Poll for so long without sleeping: what has happened, if anything.

    And for how many seconds at most others took the core when it was offered to them.
    """
    now = time.perf_counter()
    until = now + seconds if now > _Crowd.until else now
    taken = 0.0
    happened = poller.poll(0)
    while not happened and now < until:
        os.sched_yield()
        before, now = now, time.perf_counter()
        taken = max(taken, now - before)
        happened = poller.poll(0)
    if taken > _CROWDED:
        _Crowd.until = now + _Crowd.pause
        _Crowd.pause = min(2 * _Crowd.pause, _PAUSES[1])
    elif taken:
        _Crowd.pause = _PAUSES[0]
    return happened, taken


class Channel:
    """Sends and receives frames."""

    __slots__ = (
        "_arrived",
        "_borrower",
        "_decoder",
        "_fds",
        "_outgoing",
        "lender",
        "passed",
        "queued",
        "received",
        "sock",
    )

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock
        self.queued = 0  # bytes put up for sending so far
        self.received = 0
        self._decoder = Decoder()
        self._outgoing: list[tuple[list[memoryview], Holder | None]] = []
        self.lender = Lender()
        self._borrower = Borrower()
        # What the socket has given last, until its descriptors are among those below.
        self._arrived: list[tuple[int, list[tuple[int, int, bytes]], int, Any]] = []
        self._fds: list[int] = []  # received, and their frames not yet whole
        self.passed: list[int] = []  # those that came by `queue_fd`; some may be `LOST`

    @property
    def hung_up(self) -> bool:
        """Whether the other end is closed, or this one, though nobody may have heard it; in any thread."""
        poller = select.poll()
        try:
            poller.register(self.sock, 0)  # for its end only
        except ValueError:
            return True
        return bool(poller.poll(0))

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.sock.fileno()

    # --- sending ----------------------------------------------------------------------------------

    @property
    def sending(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._outgoing)

    def queue(
        self, kind: int, parts: Sequence[bytes | memoryview], shared: Shared | None = None
    ) -> None:
        """Put a frame at the end of what is to be sent; its large parts may be in shared memory.

        The parts are bytes, or views of bytes.
        """
        lengths = [len(part) for part in parts]
        size = sum(lengths)
        self.queued += size
        freed = self._borrower.freed()
        if freed:
            numbers = Struct(f"<{len(freed)}Q").pack(*freed)
            self._outgoing.append(([memoryview(head(FREED, [len(numbers)]) + numbers)], None))
        if size <= _SMALL:
            whole = memoryview(b"".join((head(kind, lengths), *parts)))
            self._outgoing.append(([whole], None))
        else:
            self._queue_large(kind, [memoryview(part) for part in parts], lengths, shared)

    def _queue_large(
        self, kind: int, views: list[memoryview], lengths: list[int], shared: Shared | None
    ) -> None:
        large = [view for view in views if view.nbytes >= _memory.BESIDE]
        segment: Segment | None = None
        if large and CAN_PASS_FDS:
            try:
                if shared is None:
                    segment = self.lender.lend(large)
                else:
                    segment = shared
                    self.lender.pass_on()
            except OSError as error:
                let_pass(error)  # else no room: the stream takes them, more slowly
            else:
                lengths = [n | ELSEWHERE if n >= _memory.BESIDE else n for n in lengths]
                views = [view for view in views if view.nbytes < _memory.BESIDE]
        start = memoryview(head(kind, lengths))
        self._outgoing.append(([start, *(view for view in views if view.nbytes)], segment))

    def queue_fd(self, kind: int, holder: Holder) -> None:
        """Put up a descriptor, of which the other side gets one of its own."""
        self._outgoing.append(([memoryview(head(kind, []))], holder))

    def queue_fds(self, kind: int, parts: Sequence[bytes], fds: Sequence[int]) -> None:
        """Send a small frame now, with descriptors of the caller's; only while nothing waits."""
        data = head(kind, [len(part) for part in parts]) + b"".join(parts)
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, Struct(f"{len(fds)}i").pack(*fds))]
        try:
            sent = self.sock.sendmsg([data], rights)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed from error
        if sent < len(data):
            self._outgoing.insert(0, ([memoryview(data)[sent:]], None))

    def flush(self) -> bool:
        """Send what can be sent now; whether all is sent.

        Raises:
            Closed: Nobody is there to read it.
        """
        while self._outgoing:
            try:
                self._flush_some()
            except BlockingIOError:
                return False
            except OSError as error:
                let_pass(error)
                if error.errno != errno.ETOOMANYREFS:
                    self._give_up()
                    raise Closed from error
                # Too many descriptors of this user are on their way; those who get them are at it.
                time.sleep(_NAP)
                if self.sock.gettimeout() is not None:
                    return False
        return True

    def _give_up(self) -> None:
        """After an error that is none of a closed socket: let both sides see one, or they would wait."""
        try:
            self.sock.shutdown(_socket.SHUT_RDWR)
        except OSError:
            pass  # it is closed

    def _flush_some(self) -> None:
        """Send once: a frame whose memory comes along, or as many others as one call takes.

        Two threads may be at it as a worker is told its end. What one has sent is not there for the other.
        """
        first = self._outgoing[:1]
        if not first:
            return
        views, segment = first[0]
        if segment is not None:
            rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, Struct("i").pack(segment.fd))]
            sent = self.sock.sendmsg(views[:_GATHER], rights)
            self._outgoing[0] = views, None
        elif len(self._outgoing) == 1 and len(views) == 1:
            sent = self.sock.send(views[0])
            if sent == len(views[0]):  # as nearly always
                del self._outgoing[:1]
                return
        else:
            batch: list[memoryview] = []
            for views, segment in self._outgoing:
                if segment is not None or len(batch) + len(views) > _GATHER:
                    break
                batch += views
            batch = batch or views[:_GATHER]
            sent = self.sock.sendmsg(batch) if CAN_PASS_FDS else self.sock.send(batch[0])
        while first := self._outgoing[:1]:
            views, segment = first[0]
            if segment is not None:
                break
            rest = _after(views, sent)
            if rest:
                self._outgoing[:1] = [(rest, None)]
                break
            sent -= sum(view.nbytes for view in views)
            del self._outgoing[:1]

    # --- receiving --------------------------------------------------------------------------------

    def receive(self) -> list[Frame]:
        """The frames that one read of the socket completes (none: nothing whole is there yet).

        Raises:
            Closed: The other side is gone. Half a frame before that is lost with it.
            WireError: What came is no frame.
        """
        space = self._decoder.space()
        try:
            count = self._receive_with_fds(space) if CAN_PASS_FDS else self.sock.recv_into(space)
        except (BlockingIOError, InterruptedError):
            return []
        except ConnectionResetError as error:
            raise Closed from error
        except OSError as error:
            let_pass(error)
            self._give_up()
            msg = f"nothing can be received: {error}"
            raise WireError(msg) from error
        if count == 0:
            raise Closed
        self.received += count
        frames = self._decoder.put(count)
        freed = False
        for frame in frames:
            if frame.beside:
                self.received += sum(frame.beside)
                self._fill_in(frame)
            elif frame.kind in (AREA, TRACKER):
                self.passed.append(self._next_fd(may_be_lost=True))
            freed = freed or frame.kind == FREED
        return self._without_freed(frames) if freed else frames

    def peek(self) -> tuple[Frame, int] | None:
        """A small frame that can be received now, and stays to be, and its bytes.

        None: there is none, or more than it, or that is not sure; whoever receives will find out.
        """
        decoder = Decoder()
        if self._decoder.midway:
            return None
        try:
            count = self.sock.recv_into(decoder.space(), 0, _socket.MSG_PEEK)
            frames = decoder.put(count)
        except (OSError, WireError) as error:
            let_pass(error)
            return None
        whole = len(frames) == 1 and not decoder.midway and not frames[0].beside
        return (frames[0], count) if whole else None

    def skip(self, count: int) -> None:
        """Receive what has been looked at.

        Raises:
            WireError: It is not there.
        """
        if len(self.sock.recv(count)) != count:
            msg = "what was there has gone"
            raise WireError(msg)
        self.received += count

    def _receive_with_fds(self, space: memoryview) -> int:
        arrived = self._arrived
        arrived.clear()
        # All of it in C: else Ctrl-C could come between the call and the assignment.
        arrived.extend(map(self.sock.recvmsg_into, ([space],), (_ROOM,)))
        count, extra, flags, _ = arrived[0]
        if extra:
            self._fds += _descriptors(extra)
            arrived.clear()
        if flags & _socket.MSG_CTRUNC:  # too many open files
            self._fds.append(LOST)
        return count

    def _without_freed(self, frames: list[Frame]) -> list[Frame]:
        for frame in frames:
            if frame.kind == FREED:
                for part in frame.parts:
                    if part is None or len(part) % 8:
                        msg = "no segments are numbered like this"
                        raise WireError(msg)
                    self.lender.take_back(Struct(f"<{len(part) // 8}Q").unpack(part))
        return [frame for frame in frames if frame.kind != FREED]

    def _fill_in(self, frame: Frame) -> None:
        try:
            buffers = iter(
                _launch.undisturbed(lambda: self._borrower.load(self._next_fd(), frame.beside))
            )
        except OSError as error:
            let_pass(error)
            msg = f"the memory of a frame cannot be had: {error}"
            raise WireError(msg) from error
        frame.parts = [next(buffers) if part is None else part for part in frame.parts]

    def _next_fd(self, *, may_be_lost: bool = False) -> int:
        if not self._fds:
            msg = "a frame came without its memory"
            raise WireError(msg)
        fd = self._fds.pop(0)
        if fd == LOST and not may_be_lost:
            msg = "a descriptor could not be received: too many open files"
            raise WireError(msg)
        return fd

    def take_fds(self, count: int) -> list[int]:
        """Descriptors that came with a frame of `queue_fds`."""
        return [self._next_fd() for _ in range(count)]

    # --- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket and whatever descriptors are still held."""
        self._outgoing.clear()
        self.lender = Lender()
        self.sock.close()
        if self._fds or self.passed or self._arrived:
            _launch.undisturbed(self._close_fds)

    def _close_fds(self) -> None:
        fds = {*self._fds, *self.passed}
        for _, extra, _, _ in self._arrived:
            fds |= {*_descriptors(extra)}
        self._fds, self.passed, self._arrived = [], [], []
        for fd in fds - {LOST}:
            os.close(fd)


def _descriptors(extra: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """Those that came along with what was received."""
    found: list[int] = []
    for level, kind, data in extra:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            found += Struct(f"{len(data) // 4}i").unpack(data[: len(data) // 4 * 4])
    return found


def _after(views: list[memoryview], sent: int) -> list[memoryview]:
    """What is left of `views` when `sent` bytes of them are gone."""
    for at, view in enumerate(views):
        if sent < view.nbytes:
            return [view[sent:], *views[at + 1 :]]
        sent -= view.nbytes
    return []
