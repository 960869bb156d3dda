"""From a call to the drive that runs it: which workers, how many, which rules."""

from __future__ import annotations

import sys
import time

from . import _codec, _errands, _globals, _kept, _stock
from ._choice import is_pool, stock_of
from ._cpus import available_cpus
from ._intake import Intake
from ._link import Task
from ._plan._call import Rules
from ._plan._crew import INFINITY
from ._small import MapDrive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._choice import Call
    from ._drive import Drive


#: What an item of the newest functions costs, by their pickles, and how many are kept.
_costs: dict[bytes, tuple[float, int]] = {}
_COSTS = 64

#: Items that a former call may vouch for: the same function may be dear with other items, so the first
#: chunks of a call stay small.
_TRUSTED = 128


def make_drive(call: Call) -> Drive:
    """Everything ready to run; nothing has been read or started but the clean server."""
    _globals.begin_call()
    executor, options = call.options.executor, call.options
    stock = _stock.default() if executor == "process" else stock_of(executor)
    packing = executor not in ("thread", "serial") and not is_threads(executor)
    lazy = call.delivery != "whole"
    intake = Intake(
        call.iterables,
        star=call.star,
        strict=options.strict,
        packing=packing,
        lazy=lazy,
        defining=stock is not None,
    )
    halts = options.on_error == "raise" and options.retries == 0
    common: dict[str, Any] = {"name": call.name, "retry_on": options.retry_on}
    if options.progress is not False:
        from ._progress import make_progress

        common["progress"] = make_progress(options.progress, intake.total, call.name)
    task = None
    try:
        if stock is not None:
            stock.admit()
            stock.warm_up(call.func)  # so that it starts while the function is being pickled
        if packing:
            timed = options.item_timeout is not None
            share = stock is not None  # what is shared is as good as a copy
            function = _codec.pack_function(call.func, copy=not share)
            task = Task(
                function.parts,
                halts=halts,
                star=call.star,
                timed=timed,
                chunksize=options.chunksize,
                share=share,
            )
    except BaseException:
        if "progress" in common:
            common["progress"].close()
        raise
    drive: Drive
    if stock is not None:
        assert task is not None
        most = stock.limit or options.max_workers or available_cpus()
        rules = _rules(call, min(options.max_workers or most, most), intake)
        rules.known = _costs.get(task.key)
        drive = MapDrive(stock, task, rules, intake, **common)
    else:
        from . import _executors, _serial

        manner: dict[str, Any] = {"star": call.star, "halts": halts, **common}
        if executor == "serial":
            drive = _serial.SerialDrive(call.func, _rules(call, 1, intake), intake, **manner)
        else:
            runner, workers, context = _runner(call)
            rules = _rules(call, workers, intake)
            drive = _executors.FutureDrive(
                runner, task, call.func, rules, intake, context=context, **manner
            )
    drive.seconds_allowed = options.timeout or 0.0
    return drive


def _remember(drive: Drive) -> None:
    """Keep what an item of this function costs, for the next call."""
    learned = drive.plan.pace.learned
    if learned is None or not isinstance(drive, MapDrive):
        return
    key = drive.task.key
    _costs.pop(key, None)
    _kept.make_room(_costs, _COSTS)
    _costs[key] = learned[0], min(learned[1], _TRUSTED)


def _runner(call: Call) -> tuple[Any, int, Any]:
    """What runs chunks, how many side by side, and the context for each item."""
    from . import _executors

    executor, workers = call.options.executor, call.options.max_workers
    if executor == "thread":
        from concurrent.futures import ThreadPoolExecutor
        from contextvars import copy_context

        workers = workers or available_cpus()
        made: Any = ThreadPoolExecutor(workers, thread_name_prefix="parmap")
        return _executors.Submitting(made, owned=True), workers, copy_context()
    if executor == "interpreter":
        import concurrent.futures

        workers = workers or available_cpus()
        make: Any = concurrent.futures.InterpreterPoolExecutor  # type: ignore[attr-defined]
        made = make(workers, initializer=_errands.find_modules, initargs=(_path(),))
        return _executors.Submitting(made, owned=True), workers, None
    if is_pool(executor):
        return _executors.Applying(executor), _executors.width(executor), None
    context = None
    if is_threads(executor):
        from contextvars import copy_context

        context = copy_context()
    return _executors.Submitting(executor, owned=False), _executors.width(executor), context


def _path() -> list[str]:
    places: list[Any] = sys.path  # with whatever somebody has put there
    return [place for place in places if isinstance(place, str)]


def is_threads(executor: Any) -> bool:
    """Whether an executor runs in this process, so that nothing has to be pickled."""
    module = sys.modules.get("concurrent.futures.thread")
    if module is None or not isinstance(executor, module.ThreadPoolExecutor):
        return False
    # Python 3.14's InterpreterPoolExecutor derives from it, and shares nothing.
    return type(executor).__name__ != "InterpreterPoolExecutor"


def _rules(call: Call, workers: int, intake: Intake) -> Rules:
    options = call.options
    chunksize, window = options.chunksize, options.buffersize
    whole = call.delivery == "whole"
    if not whole and options.executor == "serial":
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
        expected=intake.total if whole else None,
        free=intake.free if whole else 0,
    )


# --- a whole call ---------------------------------------------------------------------------------


def run(call: Call) -> list[Any]:
    """Run a call to its end and answer its results."""
    drive = make_drive(call)
    try:
        try:
            drive.run()
        finally:
            drive.end_progress()
            drive.debug()
        _remember(drive)
        return drive.answer(keep=call.options.on_error == "return")
    finally:
        del drive  # an error's traceback would keep it, with all results and the error itself
