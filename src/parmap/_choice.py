"""What a call of a map function is: its arguments, checked, and which executor it gets."""

from __future__ import annotations

import sys
from _contextvars import ContextVar  # `contextvars` adds nothing but the time to import it

from . import _ambience
from ._handlers import let_pass
from ._options import EXECUTORS, MapOptions, env_executor, env_max_workers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any


#: What `using` says: (executor, max_workers), None where it leaves something open; and what it said before.
defaults: ContextVar[tuple[Any, int | None, Any]] = ContextVar("parmap", default=(None, None, None))


_TAKES = "one of " + ", ".join(map(repr, EXECUTORS)) + ", a Pool, an Executor or None"


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


def describe(func: Any) -> str:
    """A function's name, as far as it has one."""
    # Only a partial is asked: others may have any attribute that they are asked for, without end.
    while (type(func).__module__, type(func).__name__) == ("functools", "partial"):
        func = func.func
    try:
        name = getattr(func, "__name__", None)
    except Exception as error:  # of a `__getattr__` that looks it up in a dictionary, say
        let_pass(error)
        name = None
    return name if isinstance(name, str) else type(func).__name__


# --- which executor -------------------------------------------------------------------------------


def _resolve(options: MapOptions) -> tuple[Any, int | None]:
    """The executor and the number of workers that this call gets, checked against its options."""
    executor, workers = options.executor, options.max_workers
    default_executor, default_workers, _ = defaults.get()
    said = "executor"
    if executor is None:
        executor = default_executor
        said = "executor (from parmap.using)"
    if executor is None and _is_nested_default(options):
        executor = "serial"  # whatever the variable says, which workers have from their caller
    if executor is None:
        executor = env_executor() or "process"
        said = "executor (from PARMAP_EXECUTOR)"
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
    if isinstance(executor, str):
        if executor not in EXECUTORS:
            msg = f"executor must be {_TAKES}, got {executor!r}"
            raise ValueError(msg)
        if executor == "interpreter" and sys.version_info < (3, 14):
            msg = "executor='interpreter' needs Python 3.14 or newer"
            raise ValueError(msg)
    elif isinstance(executor, type) or not (
        callable(getattr(executor, "submit", None)) or is_pool(executor)
    ):
        msg = f"executor must be {_TAKES}, got {type(executor).__name__}"
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


def is_pool(executor: Any) -> bool:
    """Whether this is a `multiprocessing.Pool` (or its like, such as a `ThreadPool`)."""
    return hasattr(executor, "apply_async") and not hasattr(executor, "submit")
