"""What runs in a worker: reads calls and items, has them run, sends results.

One thread, one socket, and no decisions: which items to run, for how long and what a failure means is
the caller's business. Items are run in *runs* of about half a millisecond (`_runner`); between two runs the
worker sends what it has, if it is time, and finds out whether what it was going to do was taken back.
"""

from __future__ import annotations

import _socket
import _thread
import os
import select
import sys
import time

from . import (
    _ambience,
    _area,
    _cell,
    _codec,
    _early,
    _failure,
    _globals,
    _handlers,
    _identity,
    _lifeline,
    _memory,
    _nesting,
    _strays,
    _tracker,
    _wire,
)
from ._channel import LOST, SPIN, Channel, Closed, look_again
from ._lock import careful
from ._placement import Placement
from ._premises import Premises
from ._results import Results
from ._runner import RUN, Runner, starred
from ._streams import known, open_stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Sequence
    from typing import Any

    from ._output import Voice

#: Seconds of work after which a worker with a `memory_limit` looks at its memory, which takes some ten
#: microseconds; often enough that the caller, which kills for a long item, seldom comes first.
LOOK = 0.02
_NEVER = float("inf")

#: Seconds after which memory that was kept for large results is given up.
REST = 1.0

_AT, _CLAIMED, _SINCE, _LIMIT = _cell.AT, _cell.CLAIMED, _cell.SINCE, _cell.LIMIT
_KEPT_LOW, _KEPT_HIGH, _HEEDS = _cell.KEPT_LOW, _cell.KEPT_HIGH, _cell.HEEDS


def main(sock: int, cell: int, lifeline: int, *, last: bool = True, forked: bool = False) -> None:
    """Be a worker until the caller has no more need of it; if this is the `last` thing, end the process.

    `forked` says that this is a fork of the caller, whose `__main__` is here.
    """
    code = 1
    _globals.be_main(forked=forked)
    if forked:
        from ._choice import defaults

        defaults.set((None, None, None))  # what `using` says is for the caller's own calls
    _nesting.bottom = main.__code__
    try:
        _lifeline.hold(lifeline)
        mapped = _cell.Cell(cell)
        os.close(cell)
        connection = _socket.socket(fileno=sock)
        connection.setblocking(True)  # whatever `socket.setdefaulttimeout()` was told
        worker = Worker(Channel(connection), mapped)
        worker.serve()
        code = 0
    except Closed:
        code = 0  # the caller is gone, or wants no more of this worker
    except BaseException:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        sys.excepthook(*sys.exc_info())  # pyright: ignore[reportArgumentType] -- there is one
    if last:
        _end(code)


def _end(code: int) -> None:
    """End in order: `atexit` handlers run, buffers are written."""
    try:
        if "threading" in sys.modules and not _ambience.nested:
            # A process of the user's own ends as a program does. Threads that items have left behind in
            # a pool's worker are nobody's: they end with it.
            sys.modules["threading"]._shutdown()
        import atexit

        atexit._run_exitfuncs()
    except BaseException:
        sys.excepthook(*sys.exc_info())  # pyright: ignore[reportArgumentType] -- there is one
    finally:
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            try:
                stream.flush()  # type: ignore[union-attr]
            except (AttributeError, OSError, ValueError, Closed):
                pass  # there is none, or nobody listens
        os._exit(code)


class Worker:
    """The state of one worker."""

    def __init__(self, channel: Channel, cell: _cell.Cell) -> None:
        self._channel = channel
        self._words = cell.words
        self._lock = careful(_thread.RLock())  # the function's own threads may print
        self._sending = False  # by whoever has the lock
        self._hasty = False  # what cannot be sent at once is sent later
        self._pid = os.getpid()
        _handlers.thread = _thread.get_ident()
        self._results = Results(self._send)
        self._runner = Runner(cell, self._results)
        self._functions: dict[int, _globals.Loaded] = {}  # by number
        self._own: dict[str, str] = {}
        self._idle_timeout: float | None = None
        self._memory_limit: int | None = None
        self._look_at = _NEVER  # when to look at the memory
        # What a process that runs one item is called, with a place for its index.
        self._item_name = ""
        self._streams: list[io.TextIOWrapper] = []
        self._voices: tuple[Voice, Voice]  # how they encode
        self._premises: Premises
        # The call at hand.
        self._call = 0
        self._halts = False  # after a failure, what is above it is not run
        self._halted = -1  # index of that failure
        self._chunksize: int | None = None
        self._began = 0.0  # when the run at hand did, as far as it was not told of
        self._looked_at = 0.0  # when what an item may have changed was last looked for
        self._has_slept = False  # since the last call
        self._placement = Placement()
        self._count = 0  # items of the latest message

    # --- frames -----------------------------------------------------------------------------------

    def serve(self) -> None:
        """Answer frames until there is no more to come."""
        _tracker.use(self._tell_tracked)  # the way to the caller's may come before all else
        poller = select.poll()
        poller.register(self._channel.fileno(), select.POLLIN)
        while True:
            self._placement.settle()
            happened, taken = look_again(poller, SPIN)
            self._placement.note(taken, self._count)
            if not happened and not self._wait(poller):
                self._send(_wire.LEAVING, [])
                return
            for frame in self._channel.receive():
                if frame.kind == _wire.END:
                    return
                if frame.kind == _wire.ITEMS:
                    self._items(frame)
                elif frame.kind == _wire.CALL:
                    self._begin(frame)
                elif frame.kind == _wire.DEFINE:
                    self._define(frame)
                elif frame.kind == _wire.AREA:
                    self._take_area(self._channel.passed.pop(0))
                elif frame.kind == _wire.TRACKER:
                    self._take_tracker(self._channel.passed.pop(0))
                else:
                    self._set_up(frame)
            # Not before its first item: with a function that is too large, each would leave at once.
            if self._words[_CLAIMED] and self._is_too_large():
                self._send(_wire.LEAVING, [])
                return

    def _wait(self, poller: select.poll) -> bool:
        """Wait for something to do; False after too long without."""
        self._has_slept = True
        if self._channel.lender.keeps and not poller.poll(REST * 1000):
            self._channel.lender.rest()
        if self._idle_timeout is None:
            return True  # to receive waits as well
        return bool(poller.poll(self._idle_timeout * 1000))

    def _send(self, kind: int, parts: Sequence[bytes | memoryview]) -> None:
        if os.getpid() != self._pid:
            os._exit(0)  # a function has forked, and its child has come back here
        with self._lock:
            self._channel.queue(kind, parts)
            if self._sending:
                return  # here a finalizer speaks, in the middle of what sends this, too
            self._sending = True
            try:
                while not (self._channel.flush() or self._hasty):
                    # The function has made it non-blocking, or a process that it forked, which shares it.
                    poller = select.poll()
                    poller.register(self._channel.fileno(), select.POLLOUT)
                    poller.poll()
            finally:
                self._sending = False

    def _take_area(self, fd: int) -> None:
        self._results.area = None
        if fd == LOST:
            return  # results can be sent, too
        try:
            area = _area.Area(fd)
            area.keep_from_forks()
            self._results.area = area
        except OSError:
            pass  # no address space
        finally:
            os.close(fd)

    def _take_tracker(self, fd: int) -> None:
        if fd != LOST:  # else the caller is told, as where it has none
            _tracker.take(fd)

    def _tell_tracked(self, act: str, name: str, kind: str) -> None:
        try:
            _handlers.put_off(
                lambda: self._send(_wire.TRACKED, [_codec.pack_plain((act, name, kind))])
            )
        except Closed:
            pass  # nobody is there to track it

    # --- setting up -------------------------------------------------------------------------------

    def _set_up(self, frame: _wire.Frame) -> None:
        parts = _parts(frame)
        hello = _codec.unpack(parts[:1])
        ambience = _surroundings(parts[1])
        self._own = hello["own"]
        self._idle_timeout = hello["idle_timeout"]
        self._memory_limit = hello["memory_limit"]
        self._look_at = _NEVER if self._memory_limit is None else 0.0
        self._item_name = hello["item_name"]
        _ambience.nested = hello["nested"]
        _ambience.adopt(ambience, self._own)
        _identity.adopt(hello["name"], ambience["process"])
        out, err = self._voices = known(ambience["voices"])
        self._streams = [open_stream(1, out, self._forward), open_stream(2, err, self._forward)]
        sys.stdout, sys.stderr = self._streams
        os.register_at_fork(after_in_child=self._be_nobody)
        _early.heed(lambda: _handlers.put_off(self._tell_early), Worker._run_all.__code__)
        what = ""
        try:
            for name in hello["preload"]:
                what = f"the module {name!r} of preload cannot be imported:"
                __import__(name)
            what = "the initializer raised"
            if len(parts) > 2:  # noqa: PLR2004 -- there is one
                initializer, arguments = _codec.unpack(parts[2:])
                initializer(*arguments)
                _ambience.keep()
            self._premises = Premises()
            self._words[_HEEDS] = _early.is_heeded()
            self._check_size()
        except BaseException as error:
            self._send(_wire.SETUP_FAILED, [_codec.pack_plain(what), _failure.pack(error)])
            raise Closed from error
        self._send(_wire.READY, [_codec.pack_plain(os.getpid())])

    def _forward(self, number: int, data: bytes) -> None:
        encoding, _ = self._voices[number - 1]
        self._send(_wire.OUTPUT, [_codec.pack_plain((number, encoding)), data])

    def _speak(self, voices: tuple[Voice, Voice]) -> None:
        """Encode what is printed as the caller's streams do now."""
        for stream, voice, before in zip(self._streams, voices, self._voices, strict=True):
            if voice != before:
                stream.flush()
                stream.reconfigure(encoding=voice[0], errors=voice[1])
        self._voices = voices

    def _be_nobody(self) -> None:
        """In a process that the function forked: speak for oneself, not for the worker."""
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__

    def _begin(self, frame: _wire.Frame) -> None:
        head, ambience, *function = _parts(frame)
        number, forget, self._halts, star, timed, self._chunksize = _codec.unpack([head])
        runner = self._runner
        runner.timed = timed
        self._results.forget()
        if forget is not None:
            self._functions.pop(forget, None)
        try:
            if len(ambience):
                found = _surroundings(ambience)
                _ambience.adopt(found, self._own)
                _identity.follow(found["process"])
                self._speak(known(found["voices"]))
            if function:
                self._functions[number] = _codec.uncollected(
                    lambda: _globals.Loaded(lambda: _codec.unpack(function))
                )
                self._premises.keep()  # a module that was imported for it may have set a handler
                self._words[_HEEDS] = _early.is_heeded()
                _ambience.after_imports()
            func = self._functions[number].get()
            runner.call = starred(func) if star else func
        except BaseException as error:
            runner.call = None
            self._send(_wire.CALL_FAILED, [_codec.pack_plain(number), _failure.pack(error)])

    def _define(self, frame: _wire.Frame) -> None:
        """Let classes be had by their numbers: nothing is loaded before an item needs it."""
        from . import _classes

        call, *definitions = (_codec.unpack([part]) for part in _parts(frame))
        for number, data in definitions:
            _classes.offer(call, number, data)

    # --- memory -----------------------------------------------------------------------------------

    def _check_size(self) -> None:
        if self._is_too_large():
            msg = f"a new worker holds {_memory.resident():,} bytes, more than memory_limit"
            raise MemoryError(msg)

    def _is_too_large(self) -> bool:
        return self._memory_limit is not None and _memory.resident() > self._memory_limit

    def _leave_if_too_large(self) -> None:
        """Leave what is left of a chunk to others if, with all that was done sent, it still is so."""
        self._look_at = time.perf_counter() + LOOK
        if self._is_too_large():
            self._report()  # results count, too, until they are sent
        if self._is_too_large():
            self._words[_AT] = -1
            self._send(_wire.LEAVING, [])
            raise Closed

    # --- items ------------------------------------------------------------------------------------

    def _items(self, frame: _wire.Frame) -> None:
        call, start, first, count, parcels = _codec.unpack(_parts(frame)[:1])
        self._count = count
        if call != self._call:
            self._next_call(call)
        if self._item_name:
            _identity.adopt(self._item_name.format(first))
        if self._runner.call is None or (self._halted >= 0 and first > self._halted):
            self._send(_wire.DROPPED, [_codec.pack_plain((start, start + count))])
            return
        values = _values(frame, parcels, count)
        self._results.begin(start)
        placed = self._results.find_place(start, count)
        run, values = self._runner.way(values, packed=_holds_packed(parcels, values), placed=placed)
        self._run_all(run, values, start, first)
        self._words[_AT] = -1
        self._put_right()  # while the caller is at the results

    def _next_call(self, call: int) -> None:
        self._call, self._halted = call, -1
        self._results.fit = True
        self._runner.begin()
        if self._has_slept or _ambience.is_disturbed(lastingly=True):
            self._has_slept = False  # threads that were left behind may have changed something, too
            _ambience.enforce()

    def _run_all(self, run: Callable[..., None], values: Any, start: int, first: int) -> None:
        """Run the items of a message, whose ordinals begin at `start` and whose indices at `first`.

        Whatever comes of it, all results are sent.
        """
        stop = start + len(values)
        every = self._chunksize or len(values)
        at = start
        due = min(start + every, stop)  # where results are to be sent, however few
        self._looked_at = time.perf_counter()
        pace = self._runner.pace
        while at < stop:
            at, upto = self._claim(at, due, stop)
            if at == upto:
                continue
            self._began = time.perf_counter()
            try:
                run(values, at - start, upto - start, at)
            except BaseException as error:
                seconds = self._count_time()
                upto = self._failed(error)
                if self._halts:
                    self._halted = first + upto - 1 - start
                    upto = self._drop(upto, stop) if upto < stop else upto
            else:
                seconds = self._count_time()
            pace(seconds, upto - at)
            at = upto
            now = time.perf_counter()
            if at >= due or self._results.is_time(now):
                self._report()
                due = min(at + every, stop)
            if at < stop and now - self._looked_at >= RUN:
                self._looked_at = now
                self._put_right()

    def _claim(self, at: int, due: int, stop: int) -> tuple[int, int]:
        """Claim the next run of items, up to `due`: where it begins and ends.

        It is empty if they were taken back.
        """
        words = self._words
        if words[_CLAIMED] and time.perf_counter() >= self._look_at:
            self._leave_if_too_large()
        upto = min(at + self._runner.length, due, stop)
        words[_CLAIMED] = upto
        if words[_LIMIT] > at:
            high = words[_KEPT_HIGH]
            low = words[_KEPT_LOW]
            if not low <= at < high:
                at = self._drop(at, min(low if at < low < high else words[_LIMIT], stop))
                return at, at
            upto = min(upto, high)
            words[_CLAIMED] = upto
        return at, upto

    def _put_right(self) -> None:
        """Undo what an item has changed; as others of this call may do so, too, look after each."""
        if _ambience.is_disturbed() or self._premises.is_disturbed:
            _ambience.enforce()
            self._premises.put_right()
            self._runner.creep()

    def _count_time(self) -> float:
        """How long a run has taken, which is told with its results."""
        seconds = time.perf_counter() - self._began
        self._results.seconds += seconds
        return seconds

    def _failed(self, error: BaseException) -> int:
        """Tell how the item after those that are done has failed; answer where to go on."""
        results = self._results
        error = _failure.as_raised(error)
        fatal = isinstance(error, (SystemExit, KeyboardInterrupt))
        self._words[_SINCE] = 0
        if self._halts or fatal:
            self._report()
            ordinal = results.first
            self._send(_wire.FAILED, [_codec.pack_plain((ordinal, fatal)), _failure.pack(error)])
            results.first = ordinal + 1
        else:  # there may be many: as one of the results
            results.fail(error)
        return results.first + results.count

    def _drop(self, begin: int, end: int) -> int:
        """Say that the items from `begin` to `end` will not be run."""
        self._report()
        self._words[_CLAIMED] = begin
        self._send(_wire.DROPPED, [_codec.pack_plain((begin, end))])
        self._results.first = end
        return end

    def _report(self) -> None:
        """Send what was printed, and the results that are there."""
        for stream in self._streams:
            stream.flush()
        self._results.report()

    def _tell_early(self) -> None:
        """Send the results that are there while an item runs, as far as the socket takes them at once."""
        sock = self._channel.sock
        with self._lock:  # a thread of the function's may be sending something
            sock.setblocking(False)
            self._hasty = True
            try:
                self._report_early()
                self._channel.flush()
            except (Closed, MemoryError):
                pass  # as who sends next will find; or it is urged again
            finally:
                self._hasty = False
                sock.setblocking(True)

    def _report_early(self) -> None:
        results, placed = self._results, self._runner.placed
        count = results.count + placed
        if count <= 0:  # a run has just ended, and not yet left out what was told of early
            return
        # When the item began is not known: as if each had taken as long as this one by now.
        spent = (time.perf_counter() - self._began) * count / (count + 1)
        self._began += spent
        results.seconds += spent
        results.report_early(placed)


def _parts(frame: _wire.Frame) -> list[memoryview]:
    return [part for part in frame.parts if part is not None]


def _values(frame: _wire.Frame, parcels: Any, count: int) -> Any:
    values = _codec.unbundle(parcels, _parts(frame)[1:])
    if len(values) != count:
        msg = f"{len(values)} items came in place of {count}"
        raise _wire.WireError(msg)
    frame.parts = ()  # a large item's memory is used again as soon as nobody refers to it
    return values


def _surroundings(data: memoryview) -> dict[str, Any]:
    found: dict[str, Any] = _codec.unpack([data])
    _nesting.ancestors = found.pop("ancestors")
    _strays.adopt(found.pop("strays"))
    sys.path[:] = found["path"]  # a class of the caller's may need it, which is a filter's category
    try:
        filters = memoryview(found["filters"])
        found["filters"] = _codec.uncollected(lambda: _codec.unpack([filters]))
    except Exception:
        del found["filters"]  # it cannot be imported here: better no filters than no call
    return found


def _holds_packed(parcels: Any, values: Any) -> bool:
    if _codec.holds_packed(parcels):
        return True
    return len(values) > 0 and type(values[0]) is _codec.Packed  # what came as one cannot be read
