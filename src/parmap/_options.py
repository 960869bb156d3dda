"""Checks arguments; every message names the argument, what it takes, and what it got.

A wrong type is a `TypeError`, a wrong value a `ValueError`. A check returns the value in the form
that the rest of the package uses. Nothing here reads an input or calls a function of the caller's.
"""

from __future__ import annotations

import os

# Not `collections.abc`, which is the same and imports `collections`.
from _collections_abc import Mapping, Sequence
from _operator import index

from ._environ import variable
from ._errors import WorkerDied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Literal, NoReturn, TypeAlias

    StartMethod: TypeAlias = Literal["forkserver", "spawn", "fork"]
    ProgressOption: TypeAlias = bool | str | Mapping[str, Any] | Callable[[int, int | None], object]

EXECUTORS = ("process", "thread", "interpreter", "serial")
START_METHODS = ("forkserver", "spawn", "fork")

#: What is retried where nothing else is said.
RETRY_ON: tuple[type[BaseException], ...] = (WorkerDied,)

RAISE = "raise"  # what `on_error` is unless it is said otherwise

#: How much of a value a message shows: enough to recognise it, and the message stays on a line.
SHOWN = 60


class MapOptions:
    """The options of one map call, checked."""

    __slots__ = (
        "buffersize",
        "chunksize",
        "executor",
        "item_timeout",
        "max_workers",
        "on_error",
        "ordered",
        "progress",
        "retries",
        "retry_on",
        "strict",
        "timeout",
    )

    max_workers: int | None
    chunksize: int | None
    buffersize: int | None
    timeout: float | None
    item_timeout: float | None
    retries: int
    retry_on: tuple[type[BaseException], ...]
    on_error: Literal["raise", "return"]
    strict: bool
    ordered: bool
    progress: ProgressOption
    executor: Any

    @classmethod
    def check(
        cls,
        *,
        max_workers: object = None,
        chunksize: object = None,
        buffersize: object = None,
        timeout: object = None,
        item_timeout: object = None,
        retries: object = 0,
        retry_on: object = RETRY_ON,
        on_error: object = RAISE,
        strict: object = False,
        ordered: object = True,
        progress: object = False,
        executor: object = None,
    ) -> MapOptions:
        """The options as they were given, all checked but `executor`."""
        # Most options are left alone in most calls, and to check all of them takes as long as to plan one.
        self = cls()
        self.max_workers = None if max_workers is None else check_count("max_workers", max_workers)
        self.chunksize = None if chunksize is None else check_count("chunksize", chunksize)
        self.buffersize = None if buffersize is None else check_count("buffersize", buffersize)
        self.timeout = None if timeout is None else check_seconds("timeout", timeout)
        self.item_timeout = (
            None if item_timeout is None else check_seconds("item_timeout", item_timeout)
        )
        self.retries = check_count("retries", retries, least=0, optional=False) or 0
        self.retry_on = (
            RETRY_ON if retry_on is RETRY_ON else check_exception_types("retry_on", retry_on)
        )
        returned = (
            on_error is not RAISE
            and check_choice("on_error", on_error, (RAISE, "return")) == "return"
        )
        self.on_error = "return" if returned else "raise"
        self.strict = strict is not False and check_flag("strict", strict)
        self.ordered = ordered is True or check_flag("ordered", ordered)
        self.progress = False if progress is False else check_progress(progress)
        self.executor = executor
        return self


def check_callable(name: str, value: Any) -> Callable[..., Any]:
    """Anything that can be called."""
    if not callable(value):
        _wrong_type(name, "callable", value)
    function: Callable[..., Any] = value
    return function


def check_iterable(name: str, value: Any) -> Iterable[Any]:
    """Anything that `iter` takes, as far as its type tells: `iter` itself may begin to read."""
    if type(value) not in (list, range) and not _has_method(value, "__iter__", "__getitem__"):
        _wrong_type(name, "iterable", value)
    iterable: Iterable[Any] = value
    return iterable


def check_count(name: str, value: Any, *, least: int = 1, optional: bool = True) -> int | None:
    """A whole number of at least `least`, NumPy's too; None where it is `optional`."""
    if (value is None and optional) or (type(value) is int and value >= least):
        return value
    takes = f"a whole number of at least {least}" + (" or None" if optional else "")
    if value is None or _is_bool(value):
        _wrong_type(name, takes, value)
    try:
        count = index(value)
    except TypeError:
        _wrong_type(name, takes, value)
    if count < least:
        _wrong_value(name, takes, count)
    return count


def check_seconds(name: str, value: Any) -> float | None:
    """A finite number above 0, or None."""
    if value is None:
        return None
    takes = "a finite number of seconds above 0 or None"
    if _is_bool(value) or _is(value, complex):
        _wrong_type(name, takes, value)
    if not _has_method(value, "__float__"):  # above, a complex: NumPy's have it too
        _wrong_type(name, takes, value)
    try:
        seconds = float(value)
    except TypeError:  # an array of several numbers
        _wrong_type(name, takes, value)
    except (
        ValueError,
        OverflowError,
    ):  # a signalling NaN of `decimal`; an int too large for a float
        _wrong_value(name, takes, value)
    # Written so that NaN, which compares false with everything, is refused too.
    if not 0 < seconds < float("inf"):
        _wrong_value(name, takes, value)
    return seconds


def check_flag(name: str, value: Any) -> bool:
    """True or False themselves: what merely counts as true (such as "no") is likely a mistake."""
    if value is not True and value is not False:
        _wrong_type(name, "True or False", value)
    return value is True


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """One of `choices`."""
    takes = _alternatives(choices)
    if not isinstance(value, str):
        _wrong_type(name, takes, value)
    if value not in choices:
        _wrong_value(name, takes, value)
    return value


def check_exception_types(name: str, value: Any) -> tuple[type[BaseException], ...]:
    """A tuple of exception classes."""
    takes = "a tuple of exception classes"
    if _is_exception_type(value):
        _wrong_type(name, f"{takes}, such as ({value.__name__},)", value)
    if not _is(value, tuple):
        _wrong_type(name, takes, value)
    types: tuple[Any, ...] = value
    for one in types:
        if not _is_exception_type(one):
            _wrong_type(name, takes, one, "in it ")
    return types


def check_name(name: str, value: Any) -> str | None:
    """A string that is not empty, or None."""
    if value is None:
        return None
    takes = "a string that is not empty or None"
    if not isinstance(value, str):
        _wrong_type(name, takes, value)
    if not value:
        _wrong_value(name, takes, value)
    return value


def check_progress(value: Any) -> ProgressOption:
    """What `progress` takes: a flag, a description, tqdm's keyword arguments, or a function."""
    takes = "True, False, a description (str), a mapping of tqdm's keyword arguments, or callable"
    if _is(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                _wrong_type("progress", takes, key, "the key ")
    elif not _is(value, (bool, str)) and not callable(value):
        _wrong_type("progress", takes, value)
    option: ProgressOption = value
    return option


def check_names(name: str, value: Any) -> tuple[str, ...]:
    """A sequence of modules' full names."""
    takes = "a sequence of module names"
    if _is(value, str):
        _wrong_type(name, f"{takes}, such as [{_short(value)}]", value)
    if _is(value, (bytes, bytearray)) or not _is(value, Sequence):
        _wrong_type(name, takes, value)
    names: tuple[Any, ...] = tuple(value)
    for one in names:
        if not isinstance(one, str):
            _wrong_type(name, takes, one, "in it ")
        if not all(one.split(".")):  # "" and relative names, which mean nothing without a package
            _wrong_value(name, takes, one, "in it ")
    return names


def check_start_method(name: str, value: Any) -> StartMethod | None:
    """A way to start processes that this system has; None for the default."""
    if value is None:
        return None
    takes = _alternatives(START_METHODS) + ", or None"
    if not isinstance(value, str):
        _wrong_type(name, takes, value)
    if value not in START_METHODS:
        _wrong_value(name, takes, value)
    if value != "spawn" and not hasattr(os, "fork"):
        _wrong_value(name, "'spawn' or None on this system, which cannot fork", value)
    return "spawn" if value == "spawn" else "fork" if value == "fork" else "forkserver"


def check_arguments_tuple(name: str, value: Any) -> tuple[Any, ...]:
    """A call's arguments, from any iterable but a string, which likely lacks a comma: `(x,)`."""
    takes = "a tuple of arguments"
    if _is(value, (str, bytes)):
        _wrong_type(name, f"{takes}, such as ({_short(value)},)", value)
    return tuple(check_iterable(name, value))


def env_max_workers() -> int | None:
    """What `PARMAP_MAX_WORKERS` says; None where it is unset or empty."""
    text = variable("PARMAP_MAX_WORKERS")
    if not text:
        return None
    takes = "a whole number of at least 1"
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        _wrong_value("the environment variable PARMAP_MAX_WORKERS", takes, text)
    return count


def env_executor() -> str | None:
    """What `PARMAP_EXECUTOR` says; None where it is unset or empty."""
    text = variable("PARMAP_EXECUTOR")
    return (
        check_choice("the environment variable PARMAP_EXECUTOR", text, EXECUTORS) if text else None
    )


def env_debug() -> bool:
    """Whether `PARMAP_DEBUG` is 1."""
    return variable("PARMAP_DEBUG") == "1"


def _wrong_type(name: str, takes: str, value: object, where: str = "") -> NoReturn:
    kind = type(value).__name__
    # The repr of an unexpected object may be long, slow or broken: only plain values are shown.
    if value is None:
        got = "None"
    elif isinstance(value, type):
        got = f"the class {value.__name__}"
    elif type(value) in (bool, int, float, complex, str, bytes):
        got = f"{_short(value)} ({kind})"
    else:
        got = f"an object of type {kind}"
    msg = f"{name} must be {takes}, got {where}{got}"
    raise TypeError(msg) from None


def _wrong_value(name: str, takes: str, value: object, where: str = "") -> NoReturn:
    msg = f"{name} must be {takes}, got {where}{_short(value)}"
    raise ValueError(msg) from None


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # an int of too many digits, or somebody's class: the message matters more
        return f"an object of type {type(value).__name__}"
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def _alternatives(choices: tuple[str, ...]) -> str:
    *most, last = [repr(choice) for choice in choices]
    return ", ".join(most) + (" or " if most else "") + last


def _is(value: object, kind: type | tuple[type, ...]) -> bool:
    # As `isinstance`, but a type checker learns nothing: `Mapping[Unknown, Unknown]` helps nobody.
    return isinstance(value, kind)


def _is_bool(value: object) -> bool:
    # NumPy's is no subclass of `bool`, and `float` would take it. Before NumPy 2 it is `bool_`.
    return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")


def _is_exception_type(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _has_method(value: object, *names: str) -> bool:
    """Whether the type of `value` has one of `names`; None in place of a method forbids it."""
    # Looked up as the interpreter does: `getattr` of the type would find its metaclass's too.
    for name in names:
        for base in type(value).__mro__:
            if name in vars(base):
                return vars(base)[name] is not None
    return False
