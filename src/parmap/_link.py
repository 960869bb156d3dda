"""The caller's end of one worker: what it has been sent, what it owes, how it ended."""

from __future__ import annotations

import _signal
import os
import select

from . import _area, _codec, _failure, _kept, _memory, _oom, _segments, _tracker, _wire
from ._cell import AT, CLAIMED, HEEDS
from ._channel import CAN_PASS_FDS, Channel, Closed
from ._errors import WorkerDied, WorkerStartError
from ._handlers import URGE, let_pass
from ._process import NEWS, signal_name
from ._wire import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Any, TypeVar

    from ._cell import Cell
    from ._classes import Definition
    from ._process import Child
    from ._segments import Shared

    T = TypeVar("T")

#: Functions that a worker keeps, newest first: enough for a program that alternates between a few.
FUNCTIONS = 16

#: Parts of a function up to this size are compared themselves; larger ones by a digest.
_COMPARED = 1 << 16


class Task:
    """What a call sends to each of its workers before any item."""

    __slots__ = ("chunksize", "halts", "key", "parts", "shared", "star", "timed")

    def __init__(
        self,
        parts: list[Any],
        *,
        halts: bool,
        star: bool,
        timed: bool,
        chunksize: int | None = None,
        share: bool = False,
    ) -> None:
        self.parts = parts  # the function, packed
        self.shared: Shared | None = None  # where its large parts are, if they are shared
        self.halts = halts  # after a failure, what is above it is not to be run
        self.star = star  # an item is a tuple of arguments
        self.timed = timed  # the worker is to say since when it is at an item
        # After so many items the worker is to send their results; None: now and then.
        self.chunksize = chunksize
        if share and max(map(len, parts)) >= _memory.BESIDE:
            try:
                self.shared = _segments.share(parts)
            except OSError as error:
                let_pass(error)  # else no room: each gets its own copy, by the stream if need be
                parts = self.parts = [bytes(part) for part in parts]
        if self.shared is not None:
            self.parts, self.key = self.shared.parts, self.shared.key
        elif sum(map(len, parts)) <= _COMPARED:
            self.key = b"".join(parts)
        else:
            self.key = _kept.digest(parts)


class News:
    """What a worker said, in terms of the call's indices."""

    __slots__ = ("first", "kind", "payload", "seconds", "stop", "values")

    def __init__(
        self, kind: int, first: int = 0, stop: int = 0, payload: Any = None, seconds: float = 0.0
    ) -> None:
        self.kind = kind
        self.first = first
        self.stop = stop
        self.payload = payload
        self.seconds = seconds
        self.values: tuple[Sequence[Any], bool] | None = None  # once they have been unpickled


def understand(read: Callable[..., T], *said: Any) -> T:
    """What `read` makes of what a worker has said.

    Raises:
        WireError: It cannot be read: the stream is in order, but not what it holds.
    """
    try:
        return read(*said)
    except MemoryError:
        raise
    except Exception as error:
        let_pass(error)
        msg = f"a worker cannot be understood: {type(error).__name__}: {error}"
        raise WireError(msg) from error


class Link:
    """One worker, as long as it lives; used by one call at a time."""

    def __init__(self, number: int, channel: Channel, cell: Cell, child: Child) -> None:
        self.number = number
        self.channel = channel
        self._poller = select.poll()
        self._poller.register(channel.fileno(), select.POLLIN)
        self.child = child
        self.ready = False
        self.left = False  # it said that it ends of its own accord
        # What it could not do before its first item, in words, and what was raised.
        self.refusal: tuple[str, BaseException] | None = None
        self.reason = ""  # why we killed it, if we did
        self.overdue: int | None = None  # the item that we killed it for
        self._told = False  # that it is to end
        self.tasks_left: int | None = (
            None  # items it may still be sent in its life; None: any number
        )
        self.ambience = 0  # the version that it has
        self._tracker: tuple[int, int | None] | None = None  # that it was handed
        self.generation = 0  # that of the caller's modules when it was started
        self._cell = cell
        self._area: _area.Area | None = None
        self._wants_area = False
        # Key to number, oldest first; and what keeps their shared memory alive.
        self._functions: dict[bytes, tuple[int, Shared | None]] = {}
        self._numbers = 0
        self._function = 0  # the number of the function at hand
        self._current: tuple[Any, ...] | None = None  # what the worker was told of the call at hand
        self._call = 0  # how many calls it has been used by
        self._defined = 0  # of how many classes it has been told in this one
        self._ordinal = 0  # of the next item
        self._owed: list[
            tuple[int, int, int]
        ] = []  # (ordinal, index, count) of what is not answered
        self._unheard = 0  # items sent of which it has said nothing yet, taken back or not
        self._kills = _oom.kills()  # before its life

    # --- to the worker ----------------------------------------------------------------------------

    def hello(
        self, hello: dict[str, Any], ambience: tuple[int, bytes], setup: Sequence[Any]
    ) -> None:
        """Send what a new worker needs first."""
        self.ambience, surroundings = ambience
        self._hand_over_tracker()
        self.channel.queue(_wire.HELLO, [_codec.pack_plain(hello), surroundings, *setup])
        self.flush()

    def begin(self, task: Task, ambience: tuple[int, bytes]) -> None:
        """Let the items that follow be those of a call.

        Its function is sent if the worker has not got it, its surroundings if they differ; nothing if it
        is as the call before.
        """
        self._call += 1
        self._defined = 0
        self._hand_over_tracker()
        manner = task.halts, task.star, task.timed, task.chunksize
        current = task.key, manner
        if current == self._current and self.ambience == ambience[0]:
            return
        self._current = current
        number, _ = self._functions.pop(task.key, (None, None))
        forget = None
        parts: list[Any] = []
        if number is None:
            self._numbers += 1
            number = self._numbers
            parts = task.parts
            if len(self._functions) >= FUNCTIONS:
                forget, _ = self._functions.pop(next(iter(self._functions)))
        self._functions[task.key] = number, task.shared
        self._function = number
        news = b""
        if self.ambience != ambience[0]:
            self.ambience, news = ambience
        head = _codec.pack_plain((number, forget, *manner))
        self.channel.queue(_wire.CALL, [head, news, *parts], task.shared)

    def _hand_over_tracker(self) -> None:
        """Let the worker have its resources tracked by the process that tracks ours.

        Only between calls, when all has been heard that it told before: the tracker must not be told of
        a resource's end first.
        """
        running = _tracker.running()
        if running is None or running == self._tracker or not CAN_PASS_FDS:
            return
        try:
            self.channel.queue_fd(_wire.TRACKER, _tracker.Duplicate(running[0]))
        except OSError as error:
            let_pass(error)
            return  # no descriptor is left: it is tried again
        self._tracker = running

    def define(self, definitions: Sequence[Definition]) -> None:
        """Tell it of the classes that instances among this call's items may refer to, unless it knows."""
        new = definitions[self._defined :]
        if new:
            self._defined = len(definitions)
            parts = [(one.number, one.data) for one in new]
            self.channel.queue(_wire.DEFINE, [*map(_codec.pack_plain, (self._call, *parts))])

    def send(self, first: int, values: Sequence[Any], kinds: Collection[type]) -> None:
        """Put up the items from index `first` on, among which are these types, for sending."""
        parcels, parts = _codec.bundle(values, kinds)
        count = len(values)
        head = _codec.pack_plain((self._call, self._ordinal, first, count, parcels))
        if self._wants_area:
            self._make_area()
        self._owe(first, count)
        self._unheard += count
        if self.tasks_left is not None:
            self.tasks_left -= count
        self.channel.queue(_wire.ITEMS, [head, *parts])

    def _make_area(self) -> None:
        """Give the worker memory for its results: they are numbers, and many."""
        self._wants_area = False
        try:
            segment, self._area = _area.make()
        except OSError as error:
            let_pass(error)
            return  # it is tried again when there are many more
        self.channel.queue_fd(_wire.AREA, segment)

    def _owe(self, first: int, count: int) -> None:
        if self._owed:  # where it goes on as it was, there need be no more to look through
            start, index, before = self._owed[-1]
            if start + before == self._ordinal and index + before == first:
                self._owed[-1] = start, index, before + count
                self._ordinal += count
                return
        self._owed.append((self._ordinal, first, count))
        self._ordinal += count

    def flush(self) -> None:
        """Send what can be sent; what the worker's end means is seen when reading."""
        try:
            self.channel.flush()
        except Closed:
            pass

    def end(self) -> None:
        """Tell it that there is nothing more to come; again, if that was interrupted."""
        if not self._told:
            self.channel.queue(_wire.END, [])
            self._told = True
        self.flush()

    def kill(self, reason: str) -> None:
        """End it by force."""
        self.reason = self.reason or reason
        self.child.kill(_signal.SIGKILL)

    # --- what it is at ----------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether it has answered for all that it was sent.

        What was taken back counts until it says so, too: a worker that hangs in unpickling a function
        has begun no item, and the next call must not be given it.
        """
        return not self._unheard and not self._owed and not self.channel.sending

    def take_back(self, *, leave_one: bool) -> list[tuple[int, int]]:
        """Take back what it has not begun, and answer the indices.

        `leave_one`: all but its first item; see `AskBack`.
        """
        if not self._owed:
            return []
        first = self._owed[0][0]
        begun = self._cell.take_back((first, first + leave_one), self._ordinal)
        return self._returned(begun, self._ordinal)

    def _returned(self, begin: int, end: int) -> list[tuple[int, int]]:
        spans = self._settle(begin, end)
        if self.tasks_left is not None:
            self.tasks_left += sum(stop - first for first, stop in spans)
        return spans

    def running(self) -> tuple[int | None, float]:
        """The index of the item that it is at, and since when (monotonic seconds; 0: unknown)."""
        ordinal, since = self._position()
        return self._index(ordinal), since / 1e9

    def _position(self) -> tuple[int, int]:
        """The ordinal that it is at, and since when, as in its cell."""
        ordinal, since = self._cell.running()
        if self._area is not None and ordinal >= 0:
            ordinal += self._area.filled(self._cell.words[CLAIMED] - ordinal - 1)
        return ordinal, since

    @property
    def rests(self) -> bool:
        """Whether it runs nothing: it has told of all, or is dead, though nobody may have heard it yet.

        Any thread may ask, while another one has the worker.
        """
        return self._cell.words[AT] < 0 or self.channel.hung_up

    @property
    def owes_several(self) -> bool:
        """Whether it has been sent more than one item that it has not answered for."""
        return len(self._owed) > 1 or (len(self._owed) == 1 and self._owed[0][2] > 1)

    @property
    def holds_back(self) -> int | None:
        """The ordinal of the first item that is done and not told of, though the worker is at a later one.

        None: there is none, or it would not heed who urges it.
        """
        if not (self._owed and self._cell.words[HEEDS]):
            return None
        first = self._owed[0][0]
        return first if self._position()[0] > first else None

    def urge(self) -> None:
        """Have it tell what is done: see `_early`."""
        self.child.kill(URGE)

    def _index(self, ordinal: int) -> int | None:
        for start, index, count in self._owed:
            if start <= ordinal < start + count:
                return index + ordinal - start
        return None

    def _settle(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Strike the ordinals from `begin` to `end` off what is owed, and answer their indices."""
        spans: list[tuple[int, int]] = []
        owed: list[tuple[int, int, int]] = []
        for start, index, count in self._owed:
            low, high = max(begin, start), min(end, start + count)
            if low >= high:
                owed.append((start, index, count))
                continue
            spans.append((index + low - start, index + high - start))
            if start < low:
                owed.append((start, index, low - start))
            if high < start + count:
                owed.append((high, index + high - start, start + count - high))
        self._owed = owed
        return spans

    # --- from the worker --------------------------------------------------------------------------

    @property
    def speaks(self) -> bool:
        """Whether it has something to say, or has ended."""
        return bool(self._poller.poll(0))

    def hear(self) -> list[News]:
        """What it has to say now.

        Raises:
            Closed: It has ended.
            WireError: It said something that makes no sense.
        """
        frames = self.channel.receive()
        return understand(self._news_of, frames)

    def foretell(self) -> tuple[Any, int] | None:
        """The result of the one item that it owes, if that is all that it says, and nobody's code makes it.

        And its bytes: it stays to be heard, by whoever it belongs to by then, or to be struck off.

        Raises:
            WireError: It makes no sense.
        """
        peeked = self.channel.peek()
        if peeked is None or peeked[0].kind != _wire.RESULTS:
            return None
        frame, size = peeked
        parts: Any = frame.parts
        ordinal, count, _, parcels = understand(_codec.unpack, parts[:1])
        owed = [(start, many) for start, _, many in self._owed]
        if count != 1 or owed != [(ordinal, 1)]:
            return None
        if parcels[0][0] == _codec.PLACED or _codec.holds_packed(parcels):
            return None
        values, broken = understand(_codec.load, parcels, parts[1:])
        return None if broken else (values[0], size)

    def strike_off(self, size: int) -> None:
        """Let what was foretold have been heard.

        Raises:
            WireError: It is not there.
        """
        self.channel.skip(size)
        self._owed = []
        self._unheard -= 1

    def rename(self, index: int) -> None:
        """Let the one item that it owes be another of the call's."""
        self._owed = [(ordinal, index, count) for ordinal, _, count in self._owed]

    def _news_of(self, frames: list[_wire.Frame]) -> list[News]:
        news: list[News] = []
        for frame in frames:
            parts: Any = frame.parts  # all there, as they come from a channel
            if frame.kind == _wire.RESULTS:
                self._take_results(parts, news)
            elif frame.kind in (_wire.FAILED, _wire.DROPPED):
                news += self._of_items(frame.kind, parts)
            else:
                news += self._of_worker(frame.kind, parts)
        return news

    def _take_results(self, parts: list[memoryview], news: list[News]) -> None:
        """Add results to the news; to the last of it, if they follow upon that."""
        ordinal, count, seconds, parcels = _codec.unpack(parts[:1])
        kind = parcels[0][0]
        if kind == _codec.PLACED and self._area is not None:
            _, form, place = parcels[0]
            parcels = [(_codec.NUMBERS, form)]
            parts = [parts[0], memoryview(self._area.take(place, count, ordinal + count, form))]
        elif kind == _codec.NUMBERS and self._area is None:
            self._wants_area = count >= _area.WORTH and CAN_PASS_FDS
        self._unheard -= count
        for first, stop in self._settle(ordinal, ordinal + count):
            last = news[-1] if news else None
            if last is not None and last.kind == _wire.RESULTS and last.stop == first:
                last.stop = stop
                last.seconds += seconds
                last.payload.append((parcels, parts[1:]))
            else:
                payload = [(parcels, parts[1:])]
                news.append(News(_wire.RESULTS, first, stop, payload, float(seconds)))

    def _of_items(self, kind: int, parts: list[memoryview]) -> list[News]:
        begin, detail = _codec.unpack(parts[:1])
        if kind == _wire.FAILED:
            self._unheard -= 1
            spans = self._settle(begin, begin + 1)
            return [News(kind, *span, (parts[1], detail)) for span in spans]
        self._unheard -= detail - begin
        return [News(kind, *span) for span in self._returned(begin, detail)]

    def _of_worker(self, kind: int, parts: list[memoryview]) -> list[News]:
        payload: Any = None
        if kind == _wire.READY:
            pid = _codec.unpack(parts)
            if type(pid) is not int or pid <= 1 or self.child.pid not in (None, pid):
                msg = f"this is not the pid of a worker: {pid!r}"
                raise WireError(msg)  # it may be sent a signal
            self.ready = True
            self.child.pid = pid
        elif kind == _wire.LEAVING:
            self.left = True
        elif kind == _wire.SETUP_FAILED:
            self.refusal = _codec.unpack(parts[:1]), _failure.unpack(parts[1])
        elif kind == _wire.OUTPUT:
            payload = (*_codec.unpack(parts[:1]), bytes(parts[1]))
        elif kind == _wire.TRACKED:
            _tracker.note(*_codec.unpack(parts))
            return []
        elif kind == _wire.CALL_FAILED:
            failed = _codec.unpack(parts[:1])
            self._current = None
            kept = {key: held for key, held in self._functions.items() if held[0] != failed}
            self._functions = kept
            payload = parts[1]
            if failed != self._function:
                return []  # late news of a call that has ended
        return [News(kind, payload=payload)]

    def bury(self) -> None:
        """See to it that a worker which has shut its socket is gone."""
        if not self.child.wait(NEWS):
            self.kill("connection")
            self.child.wait(NEWS)

    def obituary(self, whole: str | None) -> tuple[int | None, bool, Exception]:
        """After its end: the index it was at, whether it left in order, and what the end looks like.

        `whole` is the name of a call that is itself what runs, so that no item needs to be named.
        """
        running, _ = self.running()
        self.bury()
        return running, self.left, self._death(running, whole)

    def _death(self, running: int | None, whole: str | None) -> Exception:
        code = self.child.exitcode
        signal = signal_name(-code) if code is not None and code < 0 else None
        how = (
            f"was ended by {signal}"
            if signal
            else f"ended with exit code {code}"
            if code is not None
            else "ended"
        )
        if self.reason == "memory":
            how += ", because its memory passed memory_limit"
        why = ""
        if not self.reason and (signal == "SIGKILL" or code is None) and _oom.explains(self._kills):
            self.reason = "memory"
            why = ": memory had run out (fewer workers or smaller items need less)"
        if not self.ready:
            error = WorkerStartError(f"a worker process {how} while it was starting{why}")
            if self.refusal is not None:
                what, cause = self.refusal
                error = WorkerStartError(f"{what} {_failure.said(cause)}")
                error.__cause__ = cause
            elif self.child.errno:
                reason = os.strerror(self.child.errno)
                error = WorkerStartError(f"no worker can be forked: {reason}")
            return self.child.trouble() or error
        at = "" if running is None else f" while running {whole or f'item {running}'}"
        return WorkerDied(
            f"worker process {self.child.pid} {how}{at}{why}",
            index=None if whole else running,
            exitcode=code,
            signal=signal,
            pid=self.child.pid,
            reason=self.reason
            or ("signal" if signal else "exit" if code is not None else "unknown"),
        )

    def close(self) -> None:
        """Give up what belongs to this end."""
        self.channel.close()
        self._cell.close()
        self._area = None
