"""The iterator that `parallel_imap` returns."""

from __future__ import annotations

from . import _calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Generic, TypeVar

    from ._choice import Call
    from ._drive import Drive

    T_co = TypeVar("T_co", covariant=True)
else:
    # Importing `typing` costs more than the rest of parmap: at run time `Generic[T_co]` is `object`.
    T_co = "T_co"
    Generic = {T_co: object}


class ParallelIterator(Generic[T_co]):
    """What `parallel_imap` returns: an iterator, and an asynchronous one."""

    __module__ = "parmap"

    def __init__(self, call: Call) -> None:
        self._call: Call | None = call
        self._drive: Drive | None = None
        self._ready: Iterator[T_co] = iter(())
        self._handed_out = 0  # since the plan was told

    def __iter__(self) -> ParallelIterator[T_co]:
        return self

    def __next__(self) -> T_co:
        for result in self._ready:
            self._handed_out += 1
            return result
        drive = self._running()
        try:
            while not self._refill(drive):
                drive.advance()
        except BaseException:
            self._end(abrupt=True)
            raise
        return self._first(drive)

    def _running(self) -> Drive:
        """The drive of the call, begun if need be."""
        if self._call is None:
            raise StopIteration
        if self._drive is None:
            call, self._call = self._call, None  # should it not come about, that is the end
            self._drive = _calls.make_drive(call)
            self._call = call
        return self._drive

    def _refill(self, drive: Drive) -> bool:
        """Take over what has been delivered; whether there is something to hand out, or the end."""
        if self._handed_out:
            drive.taken(self._handed_out)
            self._handed_out = 0
        if drive.delivered:
            self._ready, drive.delivered = iter(drive.delivered), []
            return True
        return drive.verdict is not None

    def _first(self, drive: Drive) -> T_co:
        """The next of what is ready; at the end, what the call ends with."""
        for result in self._ready:
            self._handed_out += 1
            return result
        self._end(abrupt=False)
        drive.conclude()
        raise StopIteration

    def _end(self, *, abrupt: bool) -> None:
        """End the call and whatever still runs for it."""
        drive, self._drive, self._call, self._ready = self._drive, None, None, iter(())
        if drive is not None:
            try:
                drive.close(abrupt=abrupt)
            finally:
                drive.end_progress()
                drive.debug()

    def close(self) -> None:
        """End what still runs; the iterator then is exhausted. May be called again."""
        self._end(abrupt=False)

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
        if getattr(self, "_drive", None) is not None:
            self._end(abrupt=True)

    # --- async for --------------------------------------------------------------------------------

    def __aiter__(self) -> ParallelIterator[T_co]:
        return self

    async def __anext__(self) -> T_co:
        for result in self._ready:
            self._handed_out += 1
            return result
        from . import _async

        try:
            drive = self._running()
        except StopIteration:
            raise StopAsyncIteration from None
        try:
            while not self._refill(drive):
                await _async.advance(drive)
        except BaseException:
            self._end(abrupt=True)
            raise
        try:
            return self._first(drive)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """The same as `close`, for `contextlib.aclosing`."""
        self.close()
