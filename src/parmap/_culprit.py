"""Finds what in an object cannot travel, and says the way out."""

from __future__ import annotations

import functools
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: How deep to look, and how many objects: an explanation must not take longer than the call.
_DEPTH = 8
_OBJECTS = 2_000

_OF_PROCESSES = (
    "pass it as an argument of run_in_process or spawn_each, or in a Pool's `initargs`; items and "
    "functions of a map cannot carry it"
)
_WAYS_OUT = {
    "_thread": "locks belong to one process: use a `multiprocessing` one with run_in_process, "
    "spawn_each or `initargs`, or create it inside the function",
    "_io": "open it inside the function and pass its path instead",
    "sqlite3": "open it inside the function, or once for each worker in a Pool's `initializer`",
    "_socket": "open it inside the function, or once for each worker in a Pool's `initializer`",
    "socket": "open it inside the function, or once for each worker in a Pool's `initializer`",
    "generator": "pass a list of what it yields",
    "_contextvars": "read it in the caller and pass its value",
    "_multiprocessing": _OF_PROCESSES,
    "multiprocessing": _OF_PROCESSES,
}
_ELSE = "create it inside the function, or once for each worker in a Pool's `initializer`"


def explain(obj: object, error: BaseException) -> str:
    """A sentence that names the culprit, the path to it and what to do instead."""
    try:
        path, culprit = _find(obj)
    except Exception:
        path, culprit = "", obj
    kind = type(culprit)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    place = f" ({path})" if path else ""
    way_out = _WAYS_OUT.get(kind.__name__) or _WAYS_OUT.get(
        kind.__module__.partition(".")[0], _ELSE
    )
    said = f"{type(error).__name__}: {_said(error)}"
    return f"{name} object{place} cannot be sent to another process: {way_out} [{said}]"


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "?"


def _find(obj: object) -> tuple[str, object]:
    """Follow the parts that cannot be pickled down to one whose own parts all can."""
    path = ""
    seen = {id(obj)}
    left = _OBJECTS
    for _ in range(_DEPTH):
        for step, part in _parts(obj):
            left -= 1
            if left < 0:
                return path, obj
            if id(part) not in seen and not _travels(part):
                seen.add(id(part))
                path = f"{path}, {step}" if path else step
                obj = part
                break
        else:
            break
    return path, obj


def _travels(obj: object) -> bool:
    from . import _cloud

    try:
        _cloud.dumps(obj, None)
    except Exception:
        return False
    return True


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
    elif not isinstance(obj, (type, types.ModuleType)):
        for key, value in getattr(obj, "__dict__", {}).items():
            yield f"attribute `{key}` of {type(obj).__name__}", value


def _parts_of_function(func: types.FunctionType) -> Iterator[tuple[str, object]]:
    used = f"used by {func.__name__}()"
    for name, cell in zip(func.__code__.co_freevars, func.__closure__ or (), strict=True):
        yield f"variable `{name}` {used}", cell.cell_contents
    for name in func.__code__.co_names:
        if name in func.__globals__:
            yield f"global `{name}` {used}", func.__globals__[name]
    for value in func.__defaults__ or ():
        yield f"a default of {func.__name__}()", value
