"""`run_in_process` and `spawn_each`: a fresh process for each function call."""

from __future__ import annotations

import time

from . import _codec, _errands, _globals, _process, _standby, _stock
from ._choice import describe
from ._cpus import available_cpus
from ._intake import Intake
from ._link import Task
from ._loop import ProcessDrive
from ._options import (
    check_callable,
    check_choice,
    check_count,
    check_flag,
    check_iterable,
    check_name,
    check_seconds,
    check_start_method,
)
from ._plan._call import Rules
from ._plan._crew import INFINITY
from ._standby import USUAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Literal, TypeVarTuple, Unpack, overload

    from ._options import StartMethod
    from ._signatures import A, B, C, D, E, R, SpawnRaising, SpawnReturning

    Ts = TypeVarTuple("Ts")


def run_in_process(
    func: Callable[[*Ts], R],
    /,
    *args: *Ts,
    timeout: float | None = None,
    name: str | None = None,
    start_method: StartMethod | None = None,
) -> R:
    """Run one function in one fresh process and return its result.

    The process is a new interpreter, forked from a clean server, so it shares nothing with the caller:
    whatever the function leaks, changes or breaks ends with it. What it prints arrives here.

    Args:
        func: The function; keyword arguments are bound with `functools.partial`. Lambdas and functions
            of `__main__` will do.
        *args: Its arguments. Locks, queues, pipes, events and values of `multiprocessing` may be among
            them.
        timeout: Seconds after which the process is killed; None: no limit.
        name: What `multiprocessing.current_process().name` says there.
        start_method: "forkserver" (the default where there is fork), "spawn" or "fork".

    Returns:
        What `func` returns.

    Raises:
        CallTimeout: It ran longer than `timeout`.
        WorkerDied: The process ended before the function had.
        WorkerStartError: No process can be started.
        SerializationError: The function, an argument or the result cannot be pickled.
        TypeError: An argument is of the wrong type.
        ValueError: An argument has a wrong value.
        BaseException: Whatever `func` raises, as itself.

    Example:
        >>> import os
        >>> from parmap import run_in_process
        >>> run_in_process(pow, 2, 10)
        1024
        >>> run_in_process(os.getpid) == os.getpid()
        False
    """
    check_callable("func", func)
    fresh = _Fresh(
        f"run_in_process({describe(func)})",
        func,
        timeout=check_seconds("timeout", timeout),
        process_name=check_name("name", name) or USUAL,
        numbered=False,
        start_method=check_start_method("start_method", start_method),
    )
    result: R = fresh.run(Intake([[args]], star=True, strict=False, packing=False), star=True)[0]
    return result


# fmt: off
if TYPE_CHECKING:
    @overload
    def spawn_each(func: Callable[[A], R], a: Iterable[A], /,
                   **options: Unpack[SpawnRaising]) -> list[R]: ...
    @overload
    def spawn_each(func: Callable[[A], R], a: Iterable[A], /,
                   **options: Unpack[SpawnReturning]) -> list[R | Exception]: ...
    @overload
    def spawn_each(func: Callable[[A, B], R], a: Iterable[A], b: Iterable[B], /,
                   **options: Unpack[SpawnRaising]) -> list[R]: ...
    @overload
    def spawn_each(func: Callable[[A, B], R], a: Iterable[A], b: Iterable[B], /,
                   **options: Unpack[SpawnReturning]) -> list[R | Exception]: ...
    @overload
    def spawn_each(func: Callable[[A, B, C], R], a: Iterable[A], b: Iterable[B], c: Iterable[C], /,
                   **options: Unpack[SpawnRaising]) -> list[R]: ...
    @overload
    def spawn_each(func: Callable[[A, B, C], R], a: Iterable[A], b: Iterable[B], c: Iterable[C], /,
                   **options: Unpack[SpawnReturning]) -> list[R | Exception]: ...
    @overload
    def spawn_each(func: Callable[[A, B, C, D], R], a: Iterable[A], b: Iterable[B], c: Iterable[C],
                   d: Iterable[D], /, **options: Unpack[SpawnRaising]) -> list[R]: ...
    @overload
    def spawn_each(func: Callable[[A, B, C, D], R], a: Iterable[A], b: Iterable[B], c: Iterable[C],
                   d: Iterable[D], /, **options: Unpack[SpawnReturning]) -> list[R | Exception]: ...
    @overload
    def spawn_each(func: Callable[[A, B, C, D, E], R], a: Iterable[A], b: Iterable[B],
                   c: Iterable[C], d: Iterable[D], e: Iterable[E], /,
                   **options: Unpack[SpawnRaising]) -> list[R]: ...
    @overload
    def spawn_each(func: Callable[[A, B, C, D, E], R], a: Iterable[A], b: Iterable[B],
                   c: Iterable[C], d: Iterable[D], e: Iterable[E], /,
                   **options: Unpack[SpawnReturning]) -> list[R | Exception]: ...
    @overload
    def spawn_each(func: Callable[..., R], a: Iterable[Any], b: Iterable[Any], c: Iterable[Any],
                   d: Iterable[Any], e: Iterable[Any], f: Iterable[Any], /, *more: Iterable[Any],
                   **options: Unpack[SpawnRaising]) -> list[R]: ...
    @overload
    def spawn_each(func: Callable[..., R], a: Iterable[Any], b: Iterable[Any], c: Iterable[Any],
                   d: Iterable[Any], e: Iterable[Any], f: Iterable[Any], /, *more: Iterable[Any],
                   **options: Unpack[SpawnReturning]) -> list[R | Exception]: ...
# fmt: on
def spawn_each(
    func: Callable[..., Any],
    iterable: Iterable[Any],
    /,
    *iterables: Iterable[Any],
    limit: int | None = None,
    timeout: float | None = None,
    item_timeout: float | None = None,
    on_error: Literal["raise", "return"] = "raise",
    strict: bool = False,
    name: str | None = None,
    start_method: StartMethod | None = None,
) -> list[Any]:
    """Run a function over items, each in one fresh process, all side by side.

    For functions that talk to each other, or wait for each other: no item waits for another's process
    to come free. For many short items, `parallel_map` is the right one. All processes have ended when
    this returns or raises.

    Args:
        func: The function. Lambdas and functions of `__main__` will do.
        iterable: Its arguments.
        *iterables: Its second, third, … arguments, as with `map`. Locks, queues, pipes, events and
            values of `multiprocessing` may be among the items, or be carried by the function.
        limit: Most processes alive at once; None: all of them, side by side.
        timeout: Seconds for the whole call; None: no limit.
        item_timeout: Seconds for one item, from the call of `func`; None: no limit.
        on_error: "raise": the first failure in time ends the others and is raised. "return": all run,
            and a failure stands in the list as its exception.
        strict: Whether iterables of unequal lengths are an error, as with `zip`.
        name: "job" names the processes job-0, job-1, … after their items.
        start_method: "forkserver" (the default where there is fork), "spawn" or "fork".

    Returns:
        The results, in the order of the items.

    Raises:
        ValueError: There are more than `max(64, 8 * available_cpus())` items and no `limit`; or an
            argument has a wrong value; or `strict` and the lengths differ.
        TypeError: An argument is of the wrong type.
        WorkerDied: A process ended before its item had.
        ItemTimeout: An item ran longer than `item_timeout`.
        CallTimeout: All of it took longer than `timeout`.
        WorkerStartError: No process can be started.
        SerializationError: The function, an item or a result cannot be pickled.
        BaseException: Whatever `func` or the input raises, as itself.

    Example:
        >>> from parmap import spawn_each
        >>> spawn_each(pow, [2, 3, 4], [10, 10, 10])
        [1024, 59049, 1048576]
    """
    check_callable("func", func)
    inputs = [check_iterable("iterable", one) for one in (iterable, *iterables)]
    fresh = _Fresh(
        f"spawn_each({describe(func)})",
        func,
        limit=check_count("limit", limit),
        timeout=check_seconds("timeout", timeout),
        item_timeout=check_seconds("item_timeout", item_timeout),
        on_error=check_choice("on_error", on_error, ("raise", "return")),
        process_name=check_name("name", name) or USUAL,
        start_method=check_start_method("start_method", start_method),
    )
    intake = Intake(inputs, star=False, strict=check_flag("strict", strict), packing=False)
    return fresh.run(intake, star=len(inputs) > 1)


for _public in (run_in_process, spawn_each):
    _public.__module__ = "parmap"


class _One(ProcessDrive):
    """A call of a process of the usual kind: while it is at work, the next one is started."""

    def hurry(self) -> None:
        """See `Drive`."""
        self.settle()  # first, so that it is at work
        if self.verdict is None:
            _standby.lay_in(self)


class _Fresh:
    """A call whose every item gets a process of its own."""

    def __init__(
        self,
        call_name: str,
        func: Callable[..., Any],
        *,
        limit: int | None = None,
        timeout: float | None,
        item_timeout: float | None = None,
        on_error: str = "raise",
        process_name: str,
        numbered: bool = True,
        start_method: StartMethod | None,
    ) -> None:
        self._call_name = call_name
        self._func = func
        self._limit = limit
        self._timeout = timeout
        self._item_timeout = item_timeout
        self._raises = on_error == "raise"
        self._process_name = process_name
        self._numbered = numbered
        self._start_method = start_method
        self._usual = not numbered and process_name == USUAL and start_method is None

    def run(self, raw: Intake, *, star: bool) -> list[Any]:
        """Run all items and answer their results."""
        stop_at = INFINITY if self._timeout is None else time.monotonic() + self._timeout
        _globals.begin_call()
        items = self._items(raw)
        arguments = [item if star else (item,) for item in items]
        stocks: list[_stock.Stock] = []  # the one that it uses, once there is one
        try:
            self._find_workers(arguments, stocks)
            (stock,) = stocks
            if stock.kind.launch is None:
                stock.warm_up(self._func)
                task = self._task(self._func, star=star)
                intake = Intake([items], star=False, strict=False, packing=True)
            else:
                task = self._task(_errands.run_carried, star=False)
                intake = Intake([range(len(items))], star=False, strict=False, packing=True)
            return self._drive(stock, task, intake, stop_at)
        finally:
            for stock in stocks:
                stock.close(for_good=True)

    def _items(self, raw: Intake) -> list[Any]:
        most = max(64, 8 * available_cpus())
        items: list[Any] = []
        ended = False
        while not ended and (self._limit is not None or len(items) <= most):
            count, ended = raw.read(most + 1)
            items += raw.values(len(items), len(items) + count) if count else ()
            if raw.error is not None:
                raise raw.error
        if self._limit is None and len(items) > most:
            msg = (
                f"limit must be given for more than {most} items: without it, each gets a process "
                "at once"
            )
            raise ValueError(msg)
        return items

    def _task(self, func: Callable[..., Any], *, star: bool) -> Task:
        parts = _codec.pack(func, copy=False, what="function").parts
        timed = self._item_timeout is not None
        return Task(parts, halts=False, star=star, timed=timed, share=True)

    def _find_workers(self, arguments: Sequence[Any], stocks: list[_stock.Stock]) -> None:
        launch = _process.launcher(self._start_method, (self._func, arguments))
        if self._usual and launch is None and _standby.KIND.served:
            _standby.take(stocks)
            return
        kind = _stock.Kind(
            start_method=self._start_method,
            idle_timeout=None,
            tasks=1,
            name=self._process_name,
            item_name=self._process_name + ("-{}" if self._numbered else ""),
            nested=self._numbered,
            launch=launch,
        )
        stocks.append(_stock.Stock(kind))

    def _drive(self, stock: _stock.Stock, task: Task, intake: Intake, stop_at: float) -> list[Any]:
        total = intake.total or 0
        rules = Rules(
            workers=max(1, self._limit or total),
            chunksize=1,
            stop_at_failure=self._raises,
            first_in_time=self._raises,
            stop_at_time=stop_at,
            item_timeout=self._item_timeout,
            tasks_per_worker=1,
            together=self._limit is None,
        )
        drive = (_One if stock.kind.ahead else ProcessDrive)(
            stock, task, rules, intake, name=self._call_name, retry_on=(), numbered=self._numbered
        )
        drive.seconds_allowed = self._timeout or 0.0
        try:
            drive.run()
            return drive.answer(keep=not self._raises)
        finally:
            del drive  # an error's traceback would keep it
