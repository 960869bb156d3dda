"""The other ways to run a call: threads, this very thread, any `Executor`, a `multiprocessing.Pool`.

An executor is used through `submit` alone. What it can do is in the table of `docs/howto.md`: it has no
workers that could be watched or killed, so item timeouts are for processes.
"""

from __future__ import annotations

import os
import sys
import time
from _queue import Empty, SimpleQueue

from . import _byvalue, _codec, _failure, _globals, _kept
from ._codec import Broken, Packed
from ._cpus import available_cpus
from ._drive import Drive
from ._errors import WorkerDied
from ._plain import SCALARS
from ._plan._vocabulary import GaveBack, Stop, WorkerGone, WorkerReady
from ._runner import unpack_item
from ._serialization import SerializationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Protocol

    from ._link import Task

    class Future(Protocol):
        """What `submit` answers."""

        def cancel(self) -> bool: ...
        def exception(self) -> BaseException | None: ...
        def result(self) -> Any: ...
        def cancelled(self) -> bool: ...

    #: What a chunk came to: results (None where an item failed), failures as (place, error, fatal), how
    #: many items ran, and seconds.
    Outcome = tuple[list[Any], list[tuple[int, Any, bool]], int, float]


# --- running a chunk ------------------------------------------------------------------------------


def run_here(
    func: Callable[..., Any], values: Iterable[Any], *, star: bool, halts: bool, context: Any
) -> Outcome:
    """Run a chunk in this process; with `context`, each item in a copy of it."""
    began = time.perf_counter()
    results: list[Any] = []
    failures: list[tuple[int, Any, bool]] = []
    value: Any = None
    arguments: Any = None
    try:
        for value in values:
            arguments = value if star else (value,)
            try:
                if context is None:
                    results.append(func(*arguments))
                else:
                    results.append(context.copy().run(func, *arguments))
            except BaseException as error:
                if context is None and isinstance(error, KeyboardInterrupt):
                    raise  # Ctrl-C in the caller's own thread is no item's failure
                failures.append((len(results), _tidy(error), _is_fatal(error)))
                results.append(None)
                if halts or failures[-1][2]:
                    break
        return results, failures, len(results), time.perf_counter() - began
    finally:
        # Which the frames of an error would keep, and with them itself.
        del func, values, value, arguments, results, failures


def _is_fatal(error: BaseException) -> bool:
    return isinstance(error, (SystemExit, KeyboardInterrupt))


def _tidy(error: BaseException) -> BaseException:
    """As the error is to be raised: without our own frame, and never StopIteration."""
    traceback = error.__traceback__
    return _failure.as_raised(error).with_traceback(traceback and traceback.tb_next)


_functions: dict[bytes, _globals.Loaded] = {}  # in a foreign worker: the newest few, by key
_FUNCTIONS = 4


def run_there(
    key: bytes,
    function: list[bytes],
    parcels: list[Any],
    parts: list[bytes | bytearray],
    star: bool,  # noqa: FBT001 -- `submit` and `apply_async` have only positions in common
    halts: bool,  # noqa: FBT001
    _chunk: bytes,
) -> tuple[Any, ...]:
    """Run a chunk in somebody else's worker, bytes in and bytes out.

    `_chunk` makes each call another one: Dask runs equal ones once.
    """
    try:
        if key not in _functions:
            _kept.make_room(_functions, _FUNCTIONS)
            parts_of_it = [memoryview(part) for part in function]
            _functions[key] = _globals.Loaded(lambda: _codec.unpack(parts_of_it))
        func = _functions[key].get()
    except _byvalue.RAISED as error:
        msg = f"the function cannot be loaded in a worker: {_failure.said(error)}"
        raise SerializationError(msg) from error
    values = _codec.unbundle(parcels, [memoryview(part) for part in parts])
    results: list[Any] = []
    failures: list[tuple[int, bytes, bool]] = []
    began = time.perf_counter()
    for value in values:
        try:
            item = unpack_item(value) if type(value) is Packed else value
            result = func(*item) if star else func(item)
            if type(result) not in SCALARS:
                result = _codec.pack(result, copy=False, home=True, what="result")
            results.append(result)
        except BaseException as error:
            failures.append((len(results), _failure.pack(_tidy(error)), _is_fatal(error)))
            results.append(None)
            if halts:
                break
    seconds = time.perf_counter() - began
    bundled, blobs = _codec.bundle(results) if results else ([], [])
    return bundled, [_codec.as_bytes(blob) for blob in blobs], failures, len(results), seconds


# --- executors ------------------------------------------------------------------------------------


class Submitting:
    """Any `concurrent.futures.Executor`; `owned`: made for this call, and ended with it."""

    def __init__(self, executor: Any, *, owned: bool) -> None:
        self._executor = executor
        self._owned = owned

    def submit(self, call: tuple[Any, ...], done: Callable[[Any], None]) -> Any:
        """Submit and have the end reported, in whatever thread."""
        future = self._executor.submit(*call)
        future.add_done_callback(done)
        return future

    def close(self, *, wait: bool) -> None:
        """End an executor of our own."""
        if self._owned:
            self._executor.shutdown(wait=wait, cancel_futures=True)


class Applying:
    """A `multiprocessing.Pool`, through `apply_async`."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def submit(self, call: tuple[Any, ...], done: Callable[[Any], None]) -> Any:
        """Submit and have the end reported, in the pool's thread."""
        from concurrent.futures import Future as Promise

        future: Promise[Any] = Promise()
        future.set_running_or_notify_cancel()  # what was applied cannot be cancelled
        future.add_done_callback(done)
        self._pool.apply_async(
            call[0], call[1:], callback=future.set_result, error_callback=future.set_exception
        )
        return future

    def close(self, *, wait: bool) -> None:
        """It is not ours to end."""


# --- the drive ------------------------------------------------------------------------------------


class ChunkDrive(Drive):
    """A call whose workers are no more than places where chunks run."""

    may_be_broken = False  # results may be `Broken`, of which the outcome does not say so

    def start_worker(self, worker: int) -> None:
        """See `Drive`: there always is one."""
        self.feed(WorkerReady(time.monotonic(), worker))

    def release_worker(self, worker: int) -> None:
        """See `Drive`."""

    def kill_worker(self, worker: int, overdue: int | None) -> None:  # noqa: ARG002 -- cannot be one
        """See `Drive`: there is nothing that could be killed."""
        self.feed(WorkerGone(time.monotonic(), worker, None, None, orderly=True))

    def running(self, worker: int) -> tuple[int | None, float]:  # noqa: ARG002 -- nobody can know
        """See `Drive`."""
        return None, 0.0

    def take(self, worker: int, first: int, stop: int, outcome: Outcome) -> None:
        """Take in what a chunk came to."""
        results, failures, ran, seconds = outcome
        end: BaseException | None = None
        for place, failure, fatal in failures:
            if fatal:  # serial code would not come further
                end = failure
                del results[place:]
                break
            results[place] = Broken(failure, raised=True)
        if results:
            broken = bool(failures) or self.may_be_broken
            self.took(worker, first, results, seconds, broken=broken)
        if end is not None:
            self.failed(worker, first + len(results), end, fatal=True)
        if ran < stop - first:
            self.feed(GaveBack(time.monotonic(), worker, [(first + ran, stop)]))


class FutureDrive(ChunkDrive):
    """A call on an executor: each of the plan's workers is a place in it."""

    def __init__(
        self,
        executor: Any,
        task: Task | None,
        func: Callable[..., Any],
        *args: Any,
        star: bool,
        halts: bool,
        context: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._executor = executor
        self._task = task  # the function, packed, if it leaves this process
        self.may_be_broken = task is not None
        self._func = func
        self._star = star
        self._halts = halts
        self._context = context
        self._inbox: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        self._chunks: dict[int, tuple[int, int, int, Any]] = {}  # (worker, first, stop, future)
        self._number = 0
        self._listener: Callable[[], None] | None = None

    def kill_worker(self, worker: int, overdue: int | None) -> None:
        """See `Drive`: it cannot be killed, so it is left alone and nobody listens to it any more."""
        for number, chunk in list(self._chunks.items()):
            if chunk[0] == worker:
                del self._chunks[number]
        super().kill_worker(worker, overdue)

    def send(self, worker: int, first: int, stop: int) -> None:
        """See `Drive`."""
        values = self.intake.values(first, stop)
        self._number += 1
        number = self._number
        self._chunks[number] = worker, first, stop, None

        def done(future: Any) -> None:
            self._report(number, future)

        future = self._executor.submit(self._call(values), done)
        self._chunks[number] = worker, first, stop, future

    def _report(self, number: int, future: Any) -> None:
        if number and number not in self._chunks:
            return  # nobody waits for it any more
        self._inbox.put((number, future))
        listener = self._listener
        if listener is not None:
            listener()

    def nudge(self) -> None:
        """See `Drive`."""
        self._report(0, None)

    def notify(self, listener: Callable[[], None] | None) -> None:
        """See `Drive`."""
        self._listener = listener
        if listener is not None and not self._inbox.empty():
            listener()  # what came before

    def _call(self, values: Sequence[Any]) -> Any:
        if self._task is not None:
            parcels, parts = _codec.bundle(values)
            function = [bytes(part) for part in self._task.parts]
            blobs = [_codec.as_bytes(part) for part in parts]
            manner = self._star, self._halts, os.urandom(16)
            return run_there, self._task.key, function, parcels, blobs, *manner
        from functools import partial

        call = partial(
            run_here,
            self._func,
            values,
            star=self._star,
            halts=self._halts,
            context=self._context,
        )
        return (call,)

    def take_back(self, worker: int, *, leave_one: bool = False) -> list[tuple[int, int]]:
        """See `Drive`: what has been submitted and not begun is taken back whole.

        Nothing is, if one item is to be left: two places would take a chunk that waits from each other.
        """
        spans: list[tuple[int, int]] = []
        if leave_one:
            return spans
        for number, (owner, first, stop, future) in list(self._chunks.items()):
            if owner == worker and future is not None and future.cancel():
                del self._chunks[number]
                spans.append((first, stop))
        return spans

    def wait(self, until: float) -> None:
        """See `Drive`."""
        left = until - time.monotonic()
        try:
            # The queue cannot wait for ever and be interrupted everywhere: an hour is as good.
            got = self._inbox.get(timeout=max(0.0, min(left, 3600.0)))
        except Empty:
            return
        while True:
            self._hear(*got)
            try:
                got = self._inbox.get_nowait()
            except Empty:
                return

    def _hear(self, number: int, future: Future) -> None:
        chunk = self._chunks.pop(number, None)
        if chunk is None:
            return
        worker, first, stop, _ = chunk
        now = time.monotonic()
        if future.cancelled():  # not by us, who have forgotten the chunk
            from concurrent.futures import CancelledError

            what = f"the executor has cancelled what it was to do for {_items(first, stop)}"
            self.feed(Stop(now, CancelledError(what)))
            return
        error = future.exception()
        if error is not None:
            self.feed(Stop(now, _explained(error, first, stop)))
            return
        outcome = self._outcome(future.result())
        self.take(worker, first, stop, outcome)
        # The future keeps them, the executor's frames the future, and an error's frames those.
        outcome[0].clear()
        outcome[1].clear()

    def _outcome(self, result: Any) -> Outcome:
        if self._task is None:
            outcome: Outcome = result
            return outcome
        parcels, parts, failures, ran, seconds = result
        views = [memoryview(part) for part in parts]
        values = [*_codec.load(parcels, views)[0]] if ran else []
        return values, [(at, _failure.unpack(data), f) for at, data, f in failures], ran, seconds

    def close(self, *, abrupt: bool) -> None:
        """See `Drive`."""
        for worker, *_ in list(self._chunks.values()):
            self.take_back(worker)
        # What runs cannot be stopped; it is waited for only where nobody can tell the difference.
        still_runs = bool(self._chunks)
        self._chunks.clear()
        self._executor.close(wait=not (abrupt or still_runs))


def _explained(error: BaseException, first: int, stop: int) -> BaseException:
    """What the executor itself raised; a broken one has lost a worker."""
    base = sys.modules.get("concurrent.futures")
    if base is not None and isinstance(error, base.BrokenExecutor):
        made = WorkerDied(
            f"the executor lost a worker while running {_items(first, stop)}: {error}",
            index=first if stop - first == 1 else None,
        )
        made.__cause__ = error
        return made
    return error


def _items(first: int, stop: int) -> str:
    return f"item {first}" if stop - first == 1 else f"one of the items {first} to {stop - 1}"


def width(executor: Any) -> int:
    """How many chunks an executor runs side by side, as far as it says."""
    for attribute in ("_max_workers", "_processes"):
        size = getattr(executor, attribute, None)
        if isinstance(size, int) and size > 0:
            return size
    return available_cpus()
