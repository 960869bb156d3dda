"""`Pool`: workers of one's own, as a `concurrent.futures.Executor`.

Maps lease its workers and are driven by their callers' threads, like any other call; for what is
submitted, see `_submit`.
"""

from __future__ import annotations

import _thread
import itertools
import sys
from concurrent.futures import Executor, Future
from functools import partial
from types import BuiltinFunctionType, FunctionType

from . import _caller, _codec, _errands, _future, _launch, _process, _stock
from ._byvalue import importable
from ._cpus import available_cpus
from ._options import (
    check_arguments_tuple,
    check_callable,
    check_count,
    check_names,
    check_seconds,
    check_start_method,
)
from ._plain import SCALARS
from ._serialization import SerializationError
from ._submit import Submissions, Submitted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Any, ParamSpec, TypeVar

    from ._options import StartMethod

    P = ParamSpec("P")
    R = TypeVar("R")


_NAMED = (FunctionType, BuiltinFunctionType)


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
            `WorkerStartError`, unless other workers are there to go on.
        initargs: Its arguments; locks, queues, … of `multiprocessing` may be among them.
        max_tasks_per_child: Items after which a worker is replaced; None: never.
        start_method: "forkserver" (the default where there is fork), "spawn" or "fork".
        preload: Names of modules that the clean server imports before it forks workers; with another
            start method, each worker imports them before its initializer is called. One that cannot
            be imported ends a call with `WorkerStartError`, whose cause is what it raised.
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
                setup = _codec.pack((initializer, arguments), copy=True, what="initializer").parts
            else:
                setup = _codec.pack((_errands.set_up_carried, ()), copy=True).parts
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
        self._submissions = Submissions(self._parmap_stock, size)

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
        future: Future[R] = _future.new()
        try:
            # A function that travels by name is the same object there every time; one that does not is
            # packed by itself, so that the worker knows it again.
            function: object = fn
            if type(fn) not in _NAMED or not importable(fn):
                function = _codec.pack_whole(fn, what="function")
            if kwargs or not SCALARS.issuperset(map(type, args)):
                packed = _codec.pack((function, args, kwargs), copy=True, what="task")
            else:  # which nothing has to be looked for in
                packed = _codec.Packed([_codec.pack_plain((function, args, kwargs))])
        except SerializationError as error:
            future.set_exception(error)
            return future
        self._submissions.put(Submitted(future, packed, _caller.ambience()))
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

        Maps that other threads run on the pool, or iterators over their results, go on to their end, and
        are not waited for.

        Args:
            wait: Whether to wait until that is done.
            cancel_futures: Whether to cancel what has not begun.
        """
        self._submissions.end(wait=wait, cancel=cancel_futures)

    def __del__(self) -> None:
        """Who drops a pool without a word is done with it: what was submitted is finished, then it ends."""
        submissions = getattr(self, "_submissions", None)
        if submissions is None or submissions.ended:
            return
        # The collector may come at any moment, also while this thread holds a lock that to end takes.
        try:
            # It waits for nobody: `Thread.join` would leave a mark of this thread for ever.
            # And it leaves signals to others, since it would take them where they are blocked.
            start = _thread.start_new_thread
            _launch.undisturbed(lambda: start(submissions.end, (), {"wait": False}))
        except RuntimeError:
            pass  # the interpreter ends, and the workers with it

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.terminate_workers()
        else:
            self.shutdown()

    def terminate_workers(self) -> None:
        """End all workers at once; what runs fails with `WorkerDied`, what waits is cancelled."""
        self._submissions.kill()

    def kill_workers(self) -> None:
        """The same: a worker has nothing to put in order that could be waited for."""
        self._submissions.kill()

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
