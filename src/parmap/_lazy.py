"""The iterator that `parallel_imap` returns."""

from __future__ import annotations

import _thread
import os
from _operator import length_hint
from _weakref import ref

from . import _calls, _launch
from ._lock import careful

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any, Self, TypeVar

    from ._async import Asking
    from ._choice import Call
    from ._drive import Drive

    T_co = TypeVar("T_co", covariant=True)

    class chain(Iterator[T_co]):  # noqa: N801 -- as far as it matters here
        @classmethod
        def from_iterable(cls, batches: Iterator[Iterator[Any]]) -> Self: ...
        def __next__(self) -> T_co: ...

else:
    from itertools import chain

    # Importing `typing` costs more than the rest of parmap: at run time `chain[T_co]` is `chain`.
    T_co = "T_co"
    chain = {T_co: chain}


class Flow:
    """A call whose results are taken batch by batch: an iterator over iterators."""

    def __init__(self, call: Call) -> None:
        self._call: Call | None = call
        self._drive: Drive | None = None
        self._pid = 0  # of the process that has begun it
        self._batch: list[Any] = []
        self.ready: Iterator[Any] = iter(())  # over the batch; perhaps handed out, and not used up
        self._lock = careful(_thread.allocate_lock())  # several threads may ask
        self._asking = 0  # the thread that does now
        self.awaiting: Asking | None = None  # a task does
        self.closing = False

    def __iter__(self) -> Flow:
        return self

    def __next__(self) -> Iterator[Any]:
        # To raise something here would end the chain, and the call would not be told.
        if self._asking == _thread.get_ident():
            return _refusal("by its own input or progress, which it is waiting for")
        if self.awaiting is not None:
            return _refusal("while an `async for` is waiting for the next one")
        self._check_home()
        with self._lock:
            try:
                self._asking = _thread.get_ident()
                if not length_hint(self.ready):
                    self._proceed()
                return self.ready
            finally:
                self._asking = 0

    def _fill(self, drive: Drive) -> None:  # by itself: see `Drive.run`
        while not self.closing and not self.refill(drive):
            drive.advance()

    def _proceed(self) -> None:
        """Run until something is ready; at the end, raise what the call ends with."""
        drive = self.running()
        if drive is None:
            raise StopIteration
        try:
            self._fill(drive)
        except BaseException:
            self.end(abrupt=True)
            raise
        if self._batch and not self.closing:
            drive.suspend()
            return
        try:
            self.conclude(drive)
        finally:
            del drive  # an error's traceback would keep it
        raise StopIteration

    @property
    def _is_copy(self) -> bool:
        """Whether this is that of a forked process: the workers, and perhaps a thread, are its parent's."""
        return self._drive is not None and os.getpid() != self._pid

    def _check_home(self) -> None:
        if self._is_copy:
            msg = "this iterator goes on in the process that has forked this one"
            raise RuntimeError(msg)

    def running(self) -> Drive | None:
        """The drive of the call, begun if need be; None: it has ended.

        Raises:
            RuntimeError: It is that of another process.
        """
        self._check_home()
        if self._drive is None and self._call is not None:
            call, self._call = self._call, None  # should it not come about, that is the end
            self._pid = os.getpid()
            self._drive = _calls.make_drive(call)
            self._drive.owner = ref(self)
        return self._drive

    def refill(self, drive: Drive) -> bool:
        """Take over what has been delivered; whether there is something to hand out, or the end.

        What was ready before has been handed out.
        """
        if self._batch:
            drive.taken(len(self._batch))
        self._batch, drive.delivered = drive.delivered, []
        self.ready = iter(self._batch)
        return bool(self._batch) or drive.verdict is not None

    @property
    def entangled(self) -> bool:
        """See `Drive`."""
        return self._drive is not None and self._drive.entangled

    def conclude(self, drive: Drive) -> None:
        """After the last batch: raise what the call ends with, if it is an error."""
        self.end(abrupt=False)
        try:
            if not self.closing:
                drive.conclude()
        finally:
            del drive  # an error's traceback would keep it

    def close(self) -> None:
        """End the call, perhaps while it is being asked for a result, which then does not come."""
        if self._is_copy:
            return
        if self._asking == _thread.get_ident():  # its own input or progress has had enough
            self.end(abrupt=False)
            return
        self.closing = True
        drive = self._drive
        if drive is not None:
            drive.nudge()
        if self.awaiting:
            return  # who waits there will end it
        with self._lock:
            self.end(abrupt=False)

    def end(self, *, abrupt: bool) -> None:
        """End the call and whatever still runs for it; nothing more is handed out."""
        if self._is_copy:
            return
        drive, self._drive, self._call = self._drive, None, None
        self._batch.clear()
        if drive is not None:
            try:
                drive.abandon(abrupt=abrupt)
            finally:
                drive.end_progress()
                drive.debug()


def _refusal(how: str) -> Iterator[Any]:
    msg = f"parallel_imap is asked for a result {how}"
    raise ValueError(msg)
    yield


async def _fill(flow: Flow, drive: Drive) -> None:
    from . import _async

    flow.awaiting = asking = _async.Asking()
    try:
        await _go_on(flow, drive)
    finally:
        flow.awaiting = None
        asking.end()


async def _go_on(flow: Flow, drive: Drive) -> None:  # by itself: see `Drive.run`
    from . import _async

    while not flow.closing and not flow.refill(drive):
        await _async.advance(drive)


class ParallelIterator(chain[T_co]):
    """What `parallel_imap` returns: an iterator, and an asynchronous one.

    It is an `itertools.chain` of batches, so that handing out a result costs as little as it can.
    """

    __module__ = "parmap"

    _flow: Flow

    def __new__(cls, call: Call) -> Self:
        flow = Flow(call)
        self = cls.from_iterable(flow)
        self._flow = flow
        return self

    def close(self) -> None:
        """End what still runs; the iterator then is exhausted. May be called again, in any thread."""
        self._flow.close()

    def __enter__(self) -> ParallelIterator[T_co]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # The collector may come at any moment, also while this thread holds a lock that to end takes.
        if self._flow.entangled:
            try:
                # It leaves signals to others, since it would take them where they are blocked.
                start, flow = _thread.start_new_thread, self._flow
                _launch.undisturbed(lambda: start(flow.end, (), {"abrupt": True}))
            except RuntimeError:
                pass  # the interpreter ends, and the workers with it
        else:
            self._flow.end(abrupt=True)

    # --- async for --------------------------------------------------------------------------------

    def __aiter__(self) -> ParallelIterator[T_co]:
        return self

    async def __anext__(self) -> T_co:
        flow = self._flow
        ready: Iterator[T_co]
        while True:
            ready = flow.ready
            for result in ready:
                return result
            if flow.awaiting is None:
                break
            await flow.awaiting.over()  # another task asks
        drive = flow.running()
        if drive is None:
            raise StopAsyncIteration
        try:
            await _fill(flow, drive)
        except BaseException:
            flow.end(abrupt=True)
            raise
        ready = flow.ready
        for result in ready:
            drive.suspend()
            return result
        try:
            flow.conclude(drive)
        except StopAsyncIteration as error:  # would end the loop as if all was well
            msg = "the function or the input raised StopAsyncIteration"
            raise RuntimeError(msg) from error
        finally:
            del drive
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """The same as `close`, for `contextlib.aclosing`."""
        self.close()
