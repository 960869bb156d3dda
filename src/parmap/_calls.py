"""From a call's arguments to the drive that runs it: which executor, how many workers, which rules."""

from __future__ import annotations

import sys
import time
from contextvars import ContextVar

from . import _ambience, _codec, _executors, _stock
from ._cpus import available_cpus
from ._intake import Intake
from ._link import Task
from ._loop import ProcessDrive
from ._options import EXECUTORS, MapOptions, env_debug, env_executor, env_max_workers
from ._plan._call import Rules
from ._plan._crew import INFINITY
from ._progress import make_progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from ._drive import Drive

#: What `using` says: (executor, max_workers), None where it leaves something open.
defaults: ContextVar[tuple[Any, int | None]] = ContextVar("parmap", default=(None, None))


class Call:
    """One call of a map function, with its options checked."""

    __slots__ = ("delivery", "func", "iterables", "name", "options", "star")

    def __init__(
        self,
        name: str,
        func: Callable[..., Any],
        iterables: Sequence[Iterable[Any]],
        options: MapOptions,
        *,
        star: bool,
        delivery: str = "whole",
    ) -> None:
        self.name = f"{name}({describe(func)})"
        self.func = func
        self.iterables = iterables
        self.options = options
        self.star = star  # an item is the tuple of a call's arguments
        self.delivery = delivery
        options.executor, options.max_workers = _resolve(options)


def describe(func: Callable[..., Any]) -> str:
    """A function's name, as far as it has one."""
    while hasattr(func, "func") and not hasattr(func, "__name__"):
        func = func.func  # a partial
    name = getattr(func, "__name__", None)
    return name if isinstance(name, str) else type(func).__name__


# --- which executor -----------------------------------------------------------------------------------


def _resolve(options: MapOptions) -> tuple[Any, int | None]:
    """The executor and the number of workers that this call gets, checked against its options."""
    executor, workers = options.executor, options.max_workers
    default_executor, default_workers = defaults.get()
    said = "executor"
    if executor is None:
        executor = default_executor
        said = "executor (from parmap.using)"
    if executor is None:
        executor = env_executor()
        said = "executor (from PARMAP_EXECUTOR)"
    if executor is None:
        executor = "serial" if _is_nested_default(options) else "process"
    check_executor(executor)
    _check_ability(executor, said, options)
    if workers is None and isinstance(executor, str):
        workers = default_workers if default_workers is not None else env_max_workers()
    return executor, workers


def _is_nested_default(options: MapOptions) -> bool:
    """Whether this is a call within a worker that asks for nothing that takes a process."""
    asked = options.max_workers, options.timeout, options.item_timeout
    return _ambience.nested and asked == (None, None, None)


def check_executor(executor: Any) -> None:
    """Refuse what cannot run anything."""
    takes = "one of " + ", ".join(map(repr, EXECUTORS)) + ", a Pool, an Executor or None"
    if isinstance(executor, str):
        if executor not in EXECUTORS:
            msg = f"executor must be {takes}, got {executor!r}"
            raise ValueError(msg)
        if executor == "interpreter" and sys.version_info < (3, 14):
            msg = "executor='interpreter' needs Python 3.14 or newer"
            raise ValueError(msg)
    elif isinstance(executor, type) or not (
        callable(getattr(executor, "submit", None)) or _executors.is_pool(executor)
    ):
        msg = f"executor must be {takes}, got {type(executor).__name__}"
        raise TypeError(msg)


def _check_ability(executor: Any, said: str, options: MapOptions) -> None:
    """Refuse options that this executor cannot honour."""
    if executor == "process" or stock_of(executor) is not None:
        return
    shown = repr(executor) if isinstance(executor, str) else type(executor).__name__
    refused = {"item_timeout": "nothing but a process can be stopped"}
    if executor == "serial":
        refused["timeout"] = "nothing can interrupt the caller's own thread"
    elif not isinstance(executor, str):
        refused["max_workers"] = "its size is its own"
    for option, reason in refused.items():
        if getattr(options, option) is not None:
            msg = f"{option} cannot be used with {said} {shown}: {reason}"
            raise ValueError(msg)


def stock_of(executor: Any) -> Any:
    """The workers of a parmap Pool; None for anything else."""
    return getattr(executor, "_parmap_stock", None)


# --- the drive ----------------------------------------------------------------------------------------


def make_drive(call: Call) -> Drive:
    """Everything ready to run; nothing has been read or started but the clean server."""
    executor, options = call.options.executor, call.options
    stock = _stock.default() if executor == "process" else stock_of(executor)
    packing = not (executor in ("thread", "serial") or _executors.is_threads(executor))
    intake = Intake(call.iterables, star=call.star, strict=options.strict, packing=packing)
    halts = options.on_error == "raise" and options.retries == 0
    if stock is not None:
        stock.warm_up()  # so that it starts while the function is being pickled
    task = None
    if packing:
        timed = options.item_timeout is not None
        function = _codec.pack(call.func, copy=True)
        task = Task(function.parts, halts=halts, star=call.star, timed=timed)
    common: dict[str, Any] = {
        "name": call.name,
        "retry_on": options.retry_on,
        "progress": make_progress(options.progress, intake.total, call.name),
    }
    drive: Drive
    if stock is not None:
        assert task is not None
        size = stock.limit or available_cpus()
        rules = _rules(call, min(options.max_workers or size, stock.limit or 1 << 30))
        drive = ProcessDrive(stock, task, rules, intake, **common)
    else:
        runner, workers, context = _runner(call)
        drive = _executors.FutureDrive(
            runner,
            task,
            call.func,
            _rules(call, workers),
            intake,
            star=call.star,
            halts=halts,
            context=context,
            **common,
        )
    drive.seconds_allowed = options.timeout or 0.0
    return drive


def _runner(call: Call) -> tuple[Any, int, Any]:
    """What runs chunks, how many side by side, and the context for each item."""
    executor, workers = call.options.executor, call.options.max_workers
    if executor == "serial":
        return _executors.Inline(), 1, None
    if executor == "thread":
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 -- dear
        from contextvars import copy_context  # noqa: PLC0415

        workers = workers or available_cpus()
        made: Any = ThreadPoolExecutor(workers, thread_name_prefix="parmap")
        return _executors.Submitting(made, owned=True), workers, copy_context()
    if executor == "interpreter":
        import concurrent.futures  # noqa: PLC0415

        workers = workers or available_cpus()
        made = concurrent.futures.InterpreterPoolExecutor(workers)  # type: ignore[attr-defined]
        return _executors.Submitting(made, owned=True), workers, None
    if _executors.is_pool(executor):
        return _executors.Applying(executor), _executors.width(executor), None
    context = None
    if _executors.is_threads(executor):
        from contextvars import copy_context  # noqa: PLC0415

        context = copy_context()
    return _executors.Submitting(executor, owned=False), _executors.width(executor), context


def _rules(call: Call, workers: int) -> Rules:
    options = call.options
    chunksize, window = options.chunksize, options.buffersize
    if call.delivery != "whole" and options.executor == "serial":
        chunksize = window = 1  # as lazy as `map`
    return Rules(
        workers=workers,
        chunksize=chunksize,
        window=window,
        retries=options.retries,
        stop_at_failure=options.on_error == "raise",
        stop_at_time=INFINITY if options.timeout is None else time.monotonic() + options.timeout,
        item_timeout=options.item_timeout,
        delivery=call.delivery,
    )


# --- a whole call -------------------------------------------------------------------------------------


def run(call: Call) -> list[Any]:
    """Run a call to its end and answer its results."""
    drive = make_drive(call)
    began = time.perf_counter()
    try:
        drive.run()
    finally:
        drive.end_progress()
        if env_debug():
            report(drive, time.perf_counter() - began)
    return drive.answer(keep=call.options.on_error == "return")


def report(drive: Drive, seconds: float) -> None:
    """Write the line that PARMAP_DEBUG=1 asks for."""
    spent = drive.spent
    line = (
        f"parmap: {drive.name}: {drive.plan.done} items in {spent.chunks} chunks, {seconds:.3f} s"
        f" (computing {spent.computing:.3f} s in all workers, pickling {spent.pickling:.3f} s,"
        f" waiting {spent.waiting:.3f} s), {spent.sent:,} bytes sent, {spent.received:,} received"
    )
    print(line, file=sys.stderr)
