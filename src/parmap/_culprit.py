"""Finds what in an object cannot travel, and says the way out."""

from __future__ import annotations

import functools
import types

from . import _cloud
from ._byvalue import RAISED
from ._globals import PROGRAM
from ._handlers import let_pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

#: How deep to look, and how many objects: an explanation must not take longer than the call.
_DEPTH = 8
_OBJECTS = 2_000

_OF_PROCESSES = (
    "pass it in a Pool's `initargs`, or as an argument of run_in_process or spawn_each; what items, "
    "functions and results of a map can carry is its like from a `multiprocessing.Manager()`"
)
_A_MODULE = "put the class into a module of its own, and import it from there"
_WAYS_OUT = {
    "_ctypes": _A_MODULE,
    "ctypes": _A_MODULE,
    "_thread": "locks belong to one process: use a `multiprocessing` one with run_in_process, "
    "spawn_each or `initargs`, or create it inside the function",
    "_io": "open it inside the function and pass its path instead",
    "sqlite3": "open it inside the function, or once for each worker in a Pool's `initializer`",
    "_socket": "open it inside the function, or once for each worker in a Pool's `initializer`",
    "socket": "open it inside the function, or once for each worker in a Pool's `initializer`",
    "generator": "pass a list of what it yields",
    "memoryview": "pass its `tobytes()`, or what it shows as an array",
    "_contextvars": "read it in the caller and pass its value",
}
_ELSE = "create it inside the function, or once for each worker in a Pool's `initializer`"

#: The same for what a function returns.
_WAYS_BACK = {
    "_ctypes": _A_MODULE,
    "ctypes": _A_MODULE,
    "_thread": "locks belong to one process: return what is beside it",
    "_io": "return its path, or what is in it",
    "sqlite3": "return what was read from it",
    "_socket": "return what was read from it",
    "socket": "return what was read from it",
    "generator": "return a list of what it yields",
    "memoryview": "return its `tobytes()`, or what it shows as an array",
    "async_generator": "the function is an `async def`: map one that calls it by `asyncio.run`",
    "coroutine": "the function is an `async def`: map one that calls it by `asyncio.run`",
    "_contextvars": "return its value",
}
_ELSE_BACK = "return what is in it, as data"


def explain(obj: object, error: BaseException, what: str, *, home: bool) -> str:
    """A sentence that names the culprit, the path to it and what to do instead.

    `what` the object is to the user, if that is known: a "task" is a function, its arguments and its
    keyword arguments. `home`: it was to go from a worker to the caller.
    """
    try:
        path, culprit = _find(obj, _parts_of_task if what == "task" else _parts)
    except RAISED as failure:
        let_pass(failure)
        path, culprit = "", obj
    kind = type(culprit)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    place = f" ({path})" if path else ""
    if what:
        place += f", the {what}," if culprit is obj else f" in the {what}"
    way_out = _way_out(culprit, home=home)
    said = f"{type(error).__name__}: {_said(error)}"
    return f"{name} object{place} cannot be sent to another process: {way_out} [{said}]"


def _way_out(culprit: object, *, home: bool) -> str:
    kind = type(culprit)
    if _cloud.belongs_to_processes(culprit):
        return _OF_PROCESSES
    if isinstance(culprit, type):
        return _A_MODULE
    ways, otherwise = (_WAYS_BACK, _ELSE_BACK) if home else (_WAYS_OUT, _ELSE)
    return ways.get(kind.__name__) or ways.get(kind.__module__.partition(".")[0], otherwise)


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except RAISED as failure:
        let_pass(failure)
        return "?"


def _find(
    obj: object, parts_of: Callable[[Any], Iterator[tuple[str, object]]]
) -> tuple[str, object]:
    """Follow the parts that cannot be pickled down to one whose own parts all can."""
    path = ""
    seen = {id(obj)}
    left = _OBJECTS
    for _ in range(_DEPTH):
        if _cloud.belongs_to_processes(obj):
            break  # what it is made of is not the reader's
        for step, part in parts_of(obj):
            left -= 1
            if left < 0:
                return path, obj
            if id(part) not in seen and not _travels(part):
                seen.add(id(part))
                path = f"{path}, {step}" if path else step
                obj, parts_of = part, _parts
                break
        else:
            break
    return path, obj


def _travels(obj: object) -> bool:
    try:
        _cloud.dumps(obj)
    except RAISED as failure:
        let_pass(failure)
        return False
    return True


def _parts_of_task(task: Any) -> Iterator[tuple[str, object]]:
    func, args, kwargs = task
    yield "the function", func
    for at, value in enumerate(args):
        yield f"argument {at}", value
    for key, value in kwargs.items():
        yield f"argument `{key}`", value


def _parts(obj: Any) -> Iterator[tuple[str, object]]:
    if isinstance(obj, dict):
        for key, value in obj.items():
            yield f"value of key {key!r}", value
            yield "a key", key
    elif isinstance(obj, (list, tuple, set, frozenset)):
        for at, value in enumerate(obj):
            yield f"element {at}", value
    elif isinstance(obj, functools.partial):
        yield "the function of a partial", obj.func
        for at, value in enumerate(obj.args):
            yield f"argument {at} of a partial", value
        for key, value in obj.keywords.items():
            yield f"argument `{key}` of a partial", value
    elif isinstance(obj, types.MethodType):
        yield f"the object of {obj.__name__}()", obj.__self__
    elif isinstance(obj, types.FunctionType):
        yield from _parts_of_function(obj)
    elif isinstance(obj, type):
        yield from _parts_of_class(obj)
    elif not isinstance(obj, types.ModuleType):
        yield from _parts_of_instance(obj)


def _parts_of_instance(obj: object) -> Iterator[tuple[str, object]]:
    cls = type(obj)
    for key, value in getattr(obj, "__dict__", {}).items():
        place = "the function" if key == "__wrapped__" else f"attribute `{key}`"
        yield f"{place} of {cls.__name__}", value
    if cls.__module__ in PROGRAM:
        yield f"the class {cls.__name__}", cls


def _parts_of_function(func: Any) -> Iterator[tuple[str, object]]:
    used = f"used by {func.__name__}()"
    for cls, implementation in getattr(func, "registry", {}).items():
        if implementation is not func:
            yield f"{func.__name__}() for {cls.__name__}", implementation
    for name, cell in zip(func.__code__.co_freevars, func.__closure__ or (), strict=True):
        try:
            yield f"variable `{name}` {used}", cell.cell_contents
        except ValueError:
            continue  # it has no value yet
    for name in sorted(_cloud.names(func.__code__)):
        if name in func.__globals__:
            yield f"global `{name}` {used}", func.__globals__[name]
    for value in (*(func.__defaults__ or ()), *(func.__kwdefaults__ or {}).values()):
        yield f"a default of {func.__name__}()", value
    for key, value in func.__dict__.items():
        yield f"attribute `{key}` of {func.__name__}()", value


def _parts_of_class(cls: type) -> Iterator[tuple[str, object]]:
    for key, value in vars(cls).items():
        if isinstance(value, (staticmethod, classmethod)):
            yield f"{key}() of {cls.__name__}", getattr(value, "__func__")  # noqa: B009 -- for type checkers
        elif isinstance(value, property):
            yield f"property `{key}` of {cls.__name__}", value.fget
        elif isinstance(value, types.FunctionType):
            yield f"{key}() of {cls.__name__}", value
        elif not key.startswith("__"):
            yield f"attribute `{key}` of {cls.__name__}", value
