"""`Pool`: workers of one's own, as a `concurrent.futures.Executor`.

Maps lease its workers and are driven by their callers' threads, like any other call. `submit` must
return at once, so what is submitted is one endless call, whose items are the tasks, driven by one
daemon thread that starts with the first of them.
"""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import threading
import time
from concurrent.futures import Executor, Future
from functools import partial

from . import _codec, _nesting, _process, _stock, _worker
from ._cpus import available_cpus
from ._errors import ParmapError
from ._intake import Intake
from ._link import Task
from ._loop import ProcessDrive, Wake
from ._options import (
    check_arguments_tuple,
    check_callable,
    check_count,
    check_names,
    check_seconds,
    check_start_method,
)
from ._plan._call import Rules
from ._plan._vocabulary import InputRead, ItemsDone, Keep, Stop
from ._serialization import SerializationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Any, ParamSpec, TypeVar

    from ._options import StartMethod

    P = ParamSpec("P")
    R = TypeVar("R")


class Pool(Executor):
    """Worker processes of one's own, with an initializer, limits or a start method.

    The map functions take it as `executor=`; it also is a `concurrent.futures.Executor`, with `submit`,
    `map` and `shutdown` as the standard library documents them. A dead worker fails its own item only
    and is replaced. Any number of threads, calls and tasks may share it: workers are dealt to them at
    chunk borders. Workers start when they are first needed.

    Args:
        max_workers: Most workers at once; None: `available_cpus()`.
        mp_context: A context of `multiprocessing`, for its start method alone.
        initializer: Called in each worker when it starts; three failures in a row end a call with
            `WorkerStartError`.
        initargs: Its arguments; locks, queues, … of `multiprocessing` may be among them.
        max_tasks_per_child: Items after which a worker is replaced; None: never.
        start_method: "forkserver" (the default where there is fork), "spawn" or "fork".
        preload: Names of modules that the clean server imports before it forks workers; one that
            cannot be imported ends a call with `WorkerStartError`, whose cause is what it raised.
        memory_limit: Resident bytes of one worker. Above it between items, it is replaced; during an
            item, it is killed: `WorkerDied` with reason "memory".
        idle_timeout: Seconds after which an idle worker ends; None: never.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument has a wrong value.

    Example:
        >>> from parmap import Pool, parallel_map
        >>> with Pool(4) as pool:
        ...     pool.submit(pow, 2, 5).result()
        ...     parallel_map(abs, [-1, 2], executor=pool)
        32
        [1, 2]
    """

    __module__ = "parmap"

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        max_tasks_per_child: int | None = None,
        start_method: StartMethod | None = None,
        preload: Sequence[str] = (),
        memory_limit: int | None = None,
        idle_timeout: float | None = None,
    ) -> None:
        if sys.is_finalizing():
            msg = "a Pool cannot be made while the interpreter shuts down"
            raise RuntimeError(msg)
        size = check_count("max_workers", max_workers) or available_cpus()
        if initializer is not None:
            check_callable("initializer", initializer)
        arguments = check_arguments_tuple("initargs", initargs)
        method = _start_method(start_method, mp_context)
        launch = None
        setup: Sequence[Any] = ()
        if initializer is not None:
            launch = _process.launcher(method, (initializer, arguments))
            if launch is None:
                setup = _codec.pack((initializer, arguments), copy=True).parts
            else:
                setup = _codec.pack((_worker.set_up_carried, ()), copy=True).parts
        kind = _stock.Kind(
            start_method=method,
            setup=setup,
            preload=check_names("preload", preload),
            memory_limit=check_count("memory_limit", memory_limit),
            idle_timeout=check_seconds("idle_timeout", idle_timeout),
            tasks=check_count("max_tasks_per_child", max_tasks_per_child),
            name="parmap-pool-{}",
            launch=launch,
        )
        #: How many workers there are at most. `_max_workers` is its name in the standard library.
        self.size = self._max_workers = size
        self._parmap_stock = _stock.Stock(kind, limit=size)
        self._lock = threading.Lock()
        self._tasks: _Tasks | None = None
        self._pid = os.getpid()
        self._closed = False
        atexit.register(self._at_exit)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Schedule `fn(*args, **kwargs)` and return its future at once.

        The function and its arguments are pickled here and now.

        Args:
            fn: The function.
            *args: Its arguments.
            **kwargs: Its keyword arguments.

        Returns:
            A `concurrent.futures.Future`, which can be cancelled until the task is sent to a worker.

        Raises:
            RuntimeError: The pool has been shut down.

        Example:
            >>> from parmap import Pool
            >>> with Pool(1) as pool:
            ...     pool.submit(int, "11", base=2).result()
            3
        """
        check_callable("fn", fn)
        future: Future[R] = Future()
        try:
            function = b"".join(_codec.pack(fn, copy=False, beside=False).parts)
            task = _codec.pack((function, args, kwargs), copy=True)
        except SerializationError as error:
            future.set_exception(error)
            return future
        with self._lock:
            if self._pid != os.getpid():  # a forked child: the thread is the parent's
                self._pid, self._tasks = os.getpid(), None
            if self._closed:
                msg = "cannot schedule new futures after shutdown"
                raise RuntimeError(msg)
            while self._tasks is None or not self._tasks.put(future, task):
                self._tasks = _Tasks(self._parmap_stock, self.size)
        return future

    def map(
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        **buffersize: Any,
    ) -> Iterator[R]:
        """Like `map`, with all calls submitted at once; see `concurrent.futures.Executor.map`.

        Args:
            fn: The function.
            *iterables: Its arguments.
            timeout: Seconds from this call in which each result must be there.
            chunksize: Calls that travel together; None: adaptive.
            **buffersize: From Python 3.14 on, `buffersize`: most calls submitted and not handed out.

        Returns:
            An iterator over the results.

        Raises:
            TimeoutError: While iterating: a result was not there in time.
            BaseException: While iterating: what `fn` raised.

        Example:
            >>> from parmap import Pool
            >>> with Pool(2) as pool:
            ...     list(pool.map(abs, [-1, 2, -3]))
            [1, 2, 3]
        """
        check_callable("fn", fn)
        size = check_count("chunksize", chunksize)
        if size is None or size == 1:
            return super().map(fn, *iterables, timeout=timeout, **buffersize)
        rows = zip(*iterables, strict=False)
        chunks = iter(lambda: list(itertools.islice(rows, size)), [])
        results = super().map(partial(_run_rows, fn), chunks, timeout=timeout, **buffersize)
        return itertools.chain.from_iterable(results)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Take no more tasks, finish those that are there, and end the workers.

        Args:
            wait: Whether to wait until that is done.
            cancel_futures: Whether to cancel what has not begun.
        """
        with self._lock:
            self._closed = True
            tasks = self._tasks if self._pid == os.getpid() else None
        if tasks is not None:
            tasks.close(cancel=cancel_futures)
            if not wait:
                return  # the thread ends the workers when it is through, which the exit waits for
            tasks.join()
        atexit.unregister(self._at_exit)
        self._parmap_stock.close(for_good=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._stop()
        else:
            self.shutdown()

    def _at_exit(self) -> None:
        if issubclass(getattr(sys, "last_type", None) or Exception, KeyboardInterrupt):
            self._stop()
        else:
            self.shutdown()

    def terminate_workers(self) -> None:
        """End all workers at once; what runs fails with `WorkerDied`, what waits is cancelled."""
        self._stop()

    def kill_workers(self) -> None:
        """The same: a worker has nothing to put in order that could be waited for."""
        self._stop()

    def _stop(self) -> None:
        with self._lock:
            self._closed = True
            tasks = self._tasks
        if tasks is not None:
            tasks.killed = True
            tasks.close(cancel=True)
        self._parmap_stock.kill_all()
        self.shutdown(wait=True)

    def __reduce__(self) -> Any:
        """In a worker, a pool is a serial executor: objects that carry theirs can be mapped."""
        return SerialPool, ()


class SerialPool(Executor):
    """Runs what is submitted at once, where it is."""

    size = _max_workers = 1

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run it now."""
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _start_method(given: Any, context: Any) -> StartMethod | None:
    method = check_start_method("start_method", given)
    if context is None:
        return method
    get = getattr(context, "get_start_method", None)
    if not callable(get):
        msg = (
            f"mp_context must be a context of multiprocessing or None, got {type(context).__name__}"
        )
        raise TypeError(msg)
    theirs = check_start_method("mp_context", get())
    if method is not None and method != theirs:
        msg = f"start_method and mp_context must agree, got {method!r} and {theirs!r}"
        raise ValueError(msg)
    return theirs


def _run_rows(fn: Callable[..., Any], rows: list[tuple[Any, ...]]) -> list[Any]:
    return [fn(*row) for row in rows]


# --- what is submitted ----------------------------------------------------------------------------


class _Tasks:
    """The thread that runs what is submitted, and the queue to it."""

    def __init__(self, stock: _stock.Stock, size: int) -> None:
        self._ancestors = _nesting.lineage()
        self._stock = stock
        self._size = size
        self._lock = threading.Lock()
        self._waiting: list[tuple[Future[Any], _codec.Packed]] = []
        self._closed = False
        self._wake = Wake()
        self.alive = True
        self.killed = False  # no worker is started any more
        self._thread = threading.Thread(target=self._run, name="parmap-submit", daemon=True)
        try:
            self._thread.start()
        except BaseException:  # there may be no more threads to be had
            self._wake.close()
            raise

    def put(self, future: Future[Any], task: _codec.Packed) -> bool:
        """Add a task; whether that was in time."""
        with self._lock:
            if not self.alive:
                return False
            self._waiting.append((future, task))
            if len(self._waiting) == 1:
                self._wake.set()
            return True

    def close(self, *, cancel: bool) -> None:
        """Take no more tasks; `cancel` those that have not begun."""
        with self._lock:
            self._closed = True
            waiting = self._waiting if cancel else []
            if cancel:
                self._waiting = []
            if self.alive:
                self._wake.set()
        for future, _ in waiting:
            if future.cancel():
                future.set_running_or_notify_cancel()

    def join(self) -> None:
        """Wait until all is done."""
        if self._thread is not threading.current_thread():
            self._thread.join()

    def take(self, most: int) -> tuple[list[tuple[Future[Any], _codec.Packed]], bool]:
        """Up to so many tasks that have not been cancelled, and whether there are no more to come."""
        taken: list[tuple[Future[Any], _codec.Packed]] = []
        with self._lock:
            while self._waiting and len(taken) < most:
                some = most - len(taken)
                tasks, self._waiting = self._waiting[:some], self._waiting[some:]
                taken += [task for task in tasks if task[0].set_running_or_notify_cancel()]
            return taken, self._closed and not self._waiting

    def _run(self) -> None:
        _nesting.of_thread[threading.get_ident()] = self._ancestors
        drive = _SubmitDrive(self, self._stock, self._size, self._wake)
        try:
            drive.run()
            error: Any = drive.verdict.error if drive.verdict is not None else None
        except BaseException as failure:
            error = failure
        del _nesting.of_thread[threading.get_ident()]
        with self._lock:
            self.alive = False
            left = [future for future, _ in self._waiting]
            self._waiting = []
            self._wake.close()
            closed = self._closed
        error = error or ParmapError("the pool has ended")
        for future in drive.futures.values():
            if not future.done():
                future.set_exception(error)
        for future in left:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        if closed:
            self._stock.close(for_good=True)


class _SubmitDrive(ProcessDrive):
    """A call without an end, whose items are submitted tasks."""

    def __init__(self, tasks: _Tasks, stock: _stock.Stock, size: int, wake: Wake) -> None:
        rules = Rules(workers=size, stop_at_failure=False, keep_idle=False)
        function = _codec.pack(_worker.apply_task, copy=True)
        task = Task(function.parts, halts=False, star=True, timed=False)
        intake = Intake([()], star=False, strict=False, packing=True)
        super().__init__(stock, task, rules, intake, name="submit", retry_on=(), numbered=False)
        self._tasks = tasks
        self._asked = 0  # for so many tasks, once there are some
        self._packed: dict[int, _codec.Packed] = {}
        self.futures: dict[int, Future[Any]] = {}
        intake.kinds.add(_codec.Packed)
        self.wake_by(wake)

    def read(self, most: int) -> None:
        """See `Drive`: the answer waits until there is something to read."""
        self._asked = most
        self._answer()

    def _answer(self) -> None:
        taken, ended = self._tasks.take(self._asked)
        if not taken and not ended:
            return
        self._asked = 0
        first = self.plan.read
        for index, (future, packed) in enumerate(taken, first):
            self.futures[index] = future
            self._packed[index] = packed
        self.feed(InputRead(time.monotonic(), len(taken), ended=ended))

    def woken(self) -> None:
        """See `ProcessDrive`: a task has come, or a worker."""
        super().woken()
        if self._asked:
            self._answer()

    def start_worker(self, worker: int) -> None:
        """See `Drive`."""
        if not self._tasks.killed:
            super().start_worker(worker)
        elif not self._links:
            self._give_up()

    def _lost(self, worker: int) -> None:
        super()._lost(worker)
        if self._tasks.killed and not self._links:
            self._give_up()

    def _give_up(self) -> None:
        """After the last worker was killed: what it had not begun will not run."""
        self.feed(
            Stop(time.monotonic(), ParmapError("the workers of the pool have been terminated"))
        )

    def values(self, first: int, stop: int) -> Sequence[Any]:
        """See `ProcessDrive`."""
        return [self._packed[index] for index in range(first, stop)]

    def _took_run(
        self, now: float, worker: int, first: int, stop: int, values: Sequence[Any], seconds: float
    ) -> None:
        if first < stop:
            for index, value in enumerate(values, first):
                del self._packed[index]
                self.futures.pop(index).set_result(value)
            self.feed(ItemsDone(now, worker, first, stop, seconds))

    def failed(
        self,
        worker: int | None,
        index: int,
        error: BaseException,
        *,
        fatal: bool = False,  # noqa: ARG002 -- no task ends the pool
    ) -> None:
        """See `Drive`: whatever a task raises is its future's."""
        super().failed(worker, index, error, fatal=False)

    def _on_keep(self, command: Keep) -> None:
        self._packed.pop(command.index, None)
        future = self.futures.pop(command.index)
        assert isinstance(command.error, BaseException)
        future.set_exception(command.error)
