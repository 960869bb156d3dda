"""What runs in a worker: reads calls and items, runs them, sends results.

One thread, one socket, and no decisions: which items to run, for how long and what a failure means is
the caller's business. Items are run in *runs* of about half a millisecond; between two runs the worker
sends what it has, if it is time, and finds out whether what it was going to do was taken back.
"""

from __future__ import annotations

import _signal
import _socket
import _thread
import io
import os
import select
import sys
import time

from . import _ambience, _byvalue, _cell, _codec, _failure, _identity, _memory, _nesting, _wire
from ._channel import SPIN, Channel, Closed, look_again
from ._codec import SCALARS, Packed
from ._premises import Premises
from ._serialization import SerializationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

#: Seconds of work after which a worker sends the results that it has.
SLICE = 0.02

#: Bytes of results after which it does so anyway.
ENOUGH = 1 << 18

#: Seconds that a run of items should take, and how fast runs may grow.
RUN = 0.0005
RUN_GROWTH = 4

_LONGEST = 1 << 30  # no chunk is as long

#: Seconds of work after which a worker with a `memory_limit` looks at its memory, which takes some ten
#: microseconds; often enough that the caller, which kills for a long item, seldom comes first.
LOOK = 0.02
_NEVER = float("inf")

#: Seconds after which memory that was kept for large results is given up.
REST = 1.0

#: Functions of submitted tasks that are kept.
_KNOWN = 16

#: Seconds that a worker whose caller is gone gets to end in order.
GRACE = 0.5

_AT, _CLAIMED, _SINCE, _LIMIT = _cell.AT, _cell.CLAIMED, _cell.SINCE, _cell.LIMIT
_KEPT_LOW, _KEPT_HIGH = _cell.KEPT_LOW, _cell.KEPT_HIGH
_STEP, _BLOCK, _COUNT = _cell.STEP, _cell.BLOCK, bytes(range(_cell.BLOCK))


def main(sock: int, cell: int, lifeline: int, *, last: bool = True) -> None:
    """Be a worker until the caller has no more need of it; if this is the `last` thing, end the process."""
    code = 1
    _nesting.bottom = main.__code__
    try:
        _die_with(lifeline)
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


def _die_with(lifeline: int) -> None:
    """End this process and what it has started when the caller is gone, should the server be, too.

    The system itself does it where it can: a signal is sent when the last end of the pipe is closed,
    whatever this process does then. Elsewhere a thread waits for that.
    """
    try:
        die_by_signal(lifeline)
    except (ImportError, AttributeError, OSError):
        _thread.start_new_thread(_watch, (lifeline,))
        return
    os.close(lifeline)


def die_by_signal(lifeline: int) -> int:
    """Have the system send it; answer the descriptor that must stay open for that."""
    import fcntl

    # Opened anew, since the flag belongs to what all workers would share otherwise.
    own = os.open(f"/proc/self/fd/{lifeline}", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(own, fcntl.F_SETOWN, -os.getpgrp() if os.getpgrp() == os.getpid() else os.getpid())
    fcntl.fcntl(own, fcntl.F_SETSIG, _signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    if _is_cut(own):  # before the signal was asked for
        os._exit(1)
    return own


def _is_cut(lifeline: int) -> bool:
    poller = select.poll()
    poller.register(lifeline, 0)
    return bool(poller.poll(0))


def _watch(lifeline: int) -> None:
    poller = select.poll()
    poller.register(lifeline, 0)
    poller.poll()
    time.sleep(GRACE)
    if os.getpgrp() == os.getpid():
        os.killpg(0, _signal.SIGKILL)
    os._exit(1)


class Worker:
    """The state of one worker."""

    def __init__(self, channel: Channel, cell: _cell.Cell) -> None:
        self._channel = channel
        self._words = cell.words
        self._steps = cell.steps
        self._lock = _thread.RLock()  # the function's own threads may print
        self._pid = os.getpid()
        self._functions: dict[int, _byvalue.Loaded] = {}  # by number
        self._own: dict[str, str] = {}
        self._idle_timeout: float | None = None
        self._memory_limit: int | None = None
        self._look_at = _NEVER  # when to look at the memory
        self._item_name = (
            ""  # what a process that runs one item is called, with a place for its index
        )
        self._streams: list[io.TextIOWrapper] = []
        self._premises: Premises
        # The call at hand.
        self._number = 0
        self._call: Callable[[Any], Any] | None = None
        self._halts = False  # after a failure, what is above it is not run
        self._halted = -1  # index of that failure
        self._timed = False
        self._run_length = 1
        self._longest_run = _LONGEST
        # What is done and not yet sent: scalars as they are, all else packed.
        self._out: list[Any] = []
        self._out_from: int = 0  # the ordinal of the first
        self._out_bytes = 0
        self._out_kinds: set[type] = set()  # their types
        self._seconds = 0.0
        self._sent_at = time.perf_counter()

    # --- frames -----------------------------------------------------------------------------------

    def serve(self) -> None:
        """Answer frames until there is no more to come."""
        poller = select.poll()
        poller.register(self._channel.fileno(), select.POLLIN)
        while True:
            if not look_again(poller, SPIN) and not self._wait(poller):
                self._send(_wire.LEAVING, [])
                return
            for frame in self._channel.receive():
                if frame.kind == _wire.END:
                    return
                if frame.kind == _wire.ITEMS:
                    self._items(frame)
                elif frame.kind == _wire.CALL:
                    self._begin(frame)
                else:
                    self._set_up(frame)
            # Not before its first item: with a function that is too large, each would leave at once.
            if self._words[_CLAIMED] and self._is_too_large():
                self._send(_wire.LEAVING, [])
                return

    def _wait(self, poller: select.poll) -> bool:
        """Wait for something to do; False after too long without."""
        if self._channel.lender.keeps and not poller.poll(REST * 1000):
            self._channel.lender.rest()
        if self._idle_timeout is None:
            return True  # to receive waits as well
        return bool(poller.poll(self._idle_timeout * 1000))

    def _leave_if_too_large(self) -> None:
        """Leave what is left of a chunk to others if, with all that was done sent, it still is so."""
        self._look_at = time.perf_counter() + LOOK
        if self._is_too_large():
            self._report()  # results count, too, until they are sent
        if self._is_too_large():
            self._words[_AT] = -1
            self._send(_wire.LEAVING, [])
            raise Closed

    def _is_too_large(self) -> bool:
        return self._memory_limit is not None and _memory.resident() > self._memory_limit

    def _send(self, kind: int, parts: Sequence[bytes | memoryview]) -> None:
        if os.getpid() != self._pid:
            os._exit(0)  # a function has forked, and its child has come back here
        with self._lock:
            self._channel.queue(kind, parts)
            while not self._channel.flush():
                # The function has made it non-blocking, or a process that it forked, which shares it.
                poller = select.poll()
                poller.register(self._channel.fileno(), select.POLLOUT)
                poller.poll()

    def _set_up(self, frame: _wire.Frame) -> None:
        hello = _codec.unpack(_parts(frame)[:1])
        ambience = _surroundings(_parts(frame)[1])
        self._own = hello["own"]
        self._idle_timeout = hello["idle_timeout"]
        self._memory_limit = hello["memory_limit"]
        self._look_at = _NEVER if self._memory_limit is None else 0.0
        self._item_name = hello["item_name"]
        _ambience.nested = hello["nested"]
        _ambience.adopt(ambience, self._own)
        _identity.adopt(hello["name"], ambience["process"])
        sys.stdout, sys.stderr = (self._stream(number) for number in (1, 2))
        os.register_at_fork(after_in_child=self._be_nobody)
        what = ""
        try:
            for name in hello["preload"]:
                what = f"the module {name!r} of preload cannot be imported:"
                __import__(name)
            what = "the initializer raised"
            if len(frame.parts) > 2:  # noqa: PLR2004 -- there is one
                initializer, arguments = _codec.unpack(_parts(frame)[2:])
                initializer(*arguments)
                _ambience.keep()
            self._premises = Premises()
            self._check_size()
        except BaseException as error:
            self._send(_wire.SETUP_FAILED, [_codec.pack_plain(what), _failure.pack(error, skip=1)])
            raise Closed from error
        self._send(_wire.READY, [_codec.pack_plain(os.getpid())])

    def _check_size(self) -> None:
        if self._is_too_large():
            msg = f"a new worker holds {_memory.resident():,} bytes, more than memory_limit"
            raise MemoryError(msg)

    def _be_nobody(self) -> None:
        """In a process that the function forked: speak for oneself, not for the worker."""
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__

    def _begin(self, frame: _wire.Frame) -> None:
        call, forget, halts, star, timed = _codec.unpack(_parts(frame)[:1])
        ambience, *function = _parts(frame)[1:]
        self._halts, self._timed = halts, timed
        if forget is not None:
            self._functions.pop(forget, None)
        try:
            if len(ambience):
                _ambience.adopt(_surroundings(ambience), self._own)
            if function:
                self._functions[call] = _byvalue.Loaded(lambda: _codec.unpack(function))
                self._premises.keep()  # a module that was imported for it may have set a handler
            func = self._functions[call].get()
            self._call = _starred(func) if star else func
        except BaseException as error:
            self._call = None
            self._send(_wire.CALL_FAILED, [_codec.pack_plain(call), _failure.pack(error, skip=1)])

    # --- items ------------------------------------------------------------------------------------

    def _items(self, frame: _wire.Frame) -> None:
        call, start, first, count, parcels = _codec.unpack(_parts(frame)[:1])
        if call != self._number:
            self._number, self._halted = call, -1
            self._run_length, self._longest_run = 1, _LONGEST
            _ambience.enforce()  # threads that were left behind may have changed something
        if self._item_name:
            _identity.adopt(self._item_name.format(first))
        if self._call is None or (self._halted >= 0 and first > self._halted):
            self._send(_wire.DROPPED, [_codec.pack_plain((start, start + count))])
            return
        values = _values(frame, parcels, count)
        run = self._run_fast
        if self._timed or _codec.holds_packed(parcels):
            values, run = list(values), self._run_carefully
        self._out_from = at = start
        stop = start + count
        self._sent_at = time.perf_counter()
        while at < stop:
            at, upto = self._claim(at, stop)
            if at == upto:
                continue
            began = time.perf_counter()
            try:
                run(values, at - start, upto - start, at)
            except BaseException as error:
                self._pace(time.perf_counter() - began, upto - at)
                upto = self._failed(error)
                if self._halts:
                    self._halted = first + upto - 1 - start
                    upto = self._drop(upto, stop) if upto < stop else upto
            else:
                self._pace(time.perf_counter() - began, upto - at)
            at = upto
            if self._out_bytes >= ENOUGH or time.perf_counter() - self._sent_at >= SLICE:
                self._report()
            if at < stop:
                self._put_right()
        self._report()
        self._words[_AT] = -1
        self._put_right()  # while the caller is at the results

    def _claim(self, at: int, stop: int) -> tuple[int, int]:
        """Claim the next run of items: where it begins and ends. It is empty if they were taken back."""
        words = self._words
        if words[_CLAIMED] and time.perf_counter() >= self._look_at:
            self._leave_if_too_large()
        upto = min(at + self._run_length, stop)
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
            self._run_length = self._longest_run = 1

    def _run_fast(self, values: Any, begin: int, end: int, ordinal: int) -> None:
        """Run items that are there as they are: the loop that tiny items live in.

        To say which item it is at, it writes a word for each block and a byte for each item, which is
        half as dear; and local names are faster to look up than global ones.
        """
        call, append, scalars, usual = self._call, self._out.append, SCALARS, None
        words, steps, step = self._words, self._steps, _STEP
        for block in range(begin, end, _BLOCK):
            words[_AT] = -1  # so that no moment says a word of one block and a byte of another
            steps[step] = 0
            words[_AT] = ordinal + block - begin
            for steps[step], value in zip(_COUNT, values[block : min(block + _BLOCK, end)]):  # noqa: B905
                result = call(value)  # type: ignore[misc]
                kind = type(result)
                if kind is usual:
                    append(result)
                elif kind in scalars:
                    usual = kind
                    self._out_kinds.add(kind)
                    append(result)
                else:
                    self._keep(result)
                    usual = None  # what was kept may have been sent, and its kinds forgotten

    def _run_carefully(self, values: Any, begin: int, end: int, ordinal: int) -> None:
        """Run items that are to be unpacked, each by itself, or timed."""
        words = self._words
        words[_AT] = -1
        self._steps[_STEP] = 0
        for at in range(begin, end):
            words[_SINCE] = 0
            words[_AT] = ordinal + at - begin
            value, values[at] = values[at], None
            if type(value) is Packed:
                value = _unpack_item(value)
            if self._timed:
                words[_SINCE] = time.monotonic_ns()
            result = self._call(value)  # type: ignore[misc]
            words[_SINCE] = 0
            if type(result) in SCALARS:
                self._out_kinds.add(type(result))
                self._out.append(result)
            else:
                self._keep(result)

    def _keep(self, result: object) -> None:
        """Pack a result that is no scalar; send it now if it is large."""
        packed = _codec.pack(result, copy=False, home=True)
        self._out.append(packed)
        self._out_kinds.add(Packed)
        self._out_bytes += packed.nbytes
        if self._out_bytes >= ENOUGH or len(packed.parts) > 1:
            self._report()  # large buffers are not copied: nothing may run before they are sent

    def _pace(self, seconds: float, count: int) -> None:
        """Take in how long a run took, and choose the length of the next."""
        self._seconds += seconds
        wanted = int(count * RUN / max(seconds, 1e-9))
        self._run_length = max(1, min(wanted, self._run_length * RUN_GROWTH, self._longest_run))

    def _failed(self, error: BaseException) -> int:
        """Send what is done, and then how the item after it has failed; answer where to go on."""
        self._report()
        ordinal = self._out_from
        if isinstance(error, StopIteration):
            error = _as_runtime_error(error)
        fatal = isinstance(error, (SystemExit, KeyboardInterrupt))
        head = _codec.pack_plain((ordinal, fatal))
        # Our own frames above the function are none of the reader's business.
        data = _failure.pack(error, skip=2 + (getattr(self._call, "__name__", "") == "_call_with"))
        self._words[_SINCE] = 0
        self._send(_wire.FAILED, [head, data])
        self._out_from += 1
        return self._out_from

    def _drop(self, begin: int, end: int) -> int:
        """Say that the items from `begin` to `end` will not be run."""
        self._report()
        self._words[_CLAIMED] = begin
        self._send(_wire.DROPPED, [_codec.pack_plain((begin, end))])
        self._out_from = end
        return end

    def _report(self) -> None:
        """Send the results that are there."""
        for stream in self._streams:
            stream.flush()
        count = len(self._out)
        if count:
            parcels, parts = _codec.bundle(self._out, self._out_kinds)
            head = _codec.pack_plain((self._out_from, count, self._seconds, parcels))
            self._send(_wire.RESULTS, [head, *parts])
            self._out.clear()
            self._out_from += count
            self._out_bytes = 0
            self._out_kinds.clear()
            self._seconds = 0.0
        self._sent_at = time.perf_counter()

    # --- what the function prints -----------------------------------------------------------------

    def _stream(self, number: int) -> io.TextIOWrapper:
        stream = _Stream(
            io.BufferedWriter(_Forwarder(self._forward, number)),
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )
        self._streams.append(stream)
        return stream

    def _forward(self, number: int, data: bytes) -> None:
        self._send(_wire.OUTPUT, [_codec.pack_plain(number), data])


class _Stream(io.TextIOWrapper):
    """A standard stream, which a function cannot close for those that come after it."""

    def close(self) -> None:
        self.flush()


class _Forwarder(io.RawIOBase):
    """Sends to the caller what is written."""

    def __init__(self, forward: Callable[[int, bytes], None], number: int) -> None:
        self._forward = forward
        self._number = number
        self._pid = os.getpid()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def write(self, data: Any) -> int:
        if os.getpid() != self._pid:  # a process that an item has forked: it speaks for itself
            return os.write(self._number, data)
        try:
            self._forward(self._number, bytes(data))
        except Closed:
            pass  # nobody listens any more
        return len(data)


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
    sys.path[:] = found["path"]  # a warning filter's category may come from there
    try:
        found["filters"] = _codec.unpack([memoryview(found["filters"])])
    except Exception:
        del found["filters"]  # it cannot be imported here: better no filters than no call
    return found


def _starred(func: Callable[..., Any]) -> Callable[[Any], Any]:
    def _call_with(arguments: Any) -> Any:
        return func(*arguments)

    return _call_with


def _unpack_item(value: Packed) -> Any:
    try:
        return _codec.unpack([memoryview(part) for part in value.parts])
    except _byvalue.RAISED as error:
        msg = f"the item cannot be unpickled in the worker: {_failure.said(error)}"
        raise SerializationError(msg) from error


def _as_runtime_error(error: StopIteration) -> RuntimeError:
    made = RuntimeError("the function raised StopIteration")
    made.__cause__ = error
    return made.with_traceback(error.__traceback__)


_known: dict[bytes, _byvalue.Loaded] = {}  # functions of submitted tasks, newest last


def apply_task(function: bytes, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Run a submitted task. An unchanged function is the same object every time, with its caches."""
    loaded = _known.pop(function, None)
    if loaded is None:
        loaded = _byvalue.Loaded(lambda: _codec.unpack([memoryview(function)]))
        _byvalue.make_room(_known, _KNOWN)
    _known[function] = loaded
    return loaded.get()(*arguments, **keywords)


carried: Any = None  # what a process was started with, where it could not be sent afterwards


def run_carried(index: int) -> Any:
    """Run the function that this process carries, with the arguments at a place."""
    func, items = carried
    return func(*items[index])


def set_up_carried() -> Any:
    """Run the initializer that this process carries."""
    func, arguments = carried
    return func(*arguments)
