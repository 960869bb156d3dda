"""What of the standard library the clean server imports once for all its workers.

A function's module begins with imports. Most are of the standard library, take some tens of milliseconds
together, and would be made anew in each worker; forked from a server that has made them, a worker finds
them. Only such modules are shared as do nothing but define things when they are imported: they start no
thread, open no file, draw no random numbers, and read nothing that differs between the two. And only
those that the worker will need: what is at hand in the function's module.
"""

from __future__ import annotations

import os
import sys
import warnings
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

from ._byvalue import names_in
from ._globals import PROGRAM
from ._modules import LIBRARY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

HARMLESS = frozenset({
    "abc", "argparse", "array", "ast", "base64", "bisect", "cmath", "collections", "contextlib",
    "contextvars", "copy", "csv", "dataclasses", "datetime", "difflib", "dis", "enum", "fnmatch",
    "functools", "glob", "graphlib", "heapq", "html", "inspect", "itertools", "json", "keyword",
    "linecache", "math", "numbers", "operator", "pathlib", "pprint", "re", "reprlib",
    "shlex", "string", "struct", "textwrap", "time", "token", "tokenize", "traceback", "types",
    "typing", "unicodedata", "urllib.parse", "weakref", "zlib",
})  # fmt: skip

#: What takes most of the time of an import that is not harmless, though it is. `logging` notes when it was
#: imported, and `threading` in which thread.
_PARTS = {"logging": {"re", "string", "traceback", "weakref"}}

#: Modules that are looked through at most for one: each takes some twenty microseconds.
_MOST = 32

_module_of_class: Any = type.__dict__["__module__"]  # which no metaclass can have replaced

#: What is not looked through: workers never import `__main__`.
_NOT_SEEN = sys.stdlib_module_names | PROGRAM | {""}

#: What was found for each module; what it has got since then is not worth another look.
_found: dict[str, frozenset[str]] = {}


def wanted(func: Any) -> set[str]:
    """The harmless modules that a worker imports for this function, as far as is easily seen."""
    if not _is_original():
        return set()
    found = {name for value in _at_hand(func) for name in _used_by(_module_name(value))}
    if any(one[1] is not None for one in warnings.filters):
        found.add("re")  # which patterns of filters bring along
    return found


def _used_by(module: str) -> frozenset[str]:
    """The harmless modules that are imported with this one."""
    if module not in _found:
        found: set[str] = set()
        to_see = [module]
        for name in to_see:
            above = name.partition(".")[0]
            seen = sys.modules.get(name)
            if name in HARMLESS or above in HARMLESS:
                found.add(name if name in HARMLESS else above)
            elif above in _PARTS:
                found |= _PARTS[above]
            elif above not in _NOT_SEEN and type(seen) is ModuleType and len(to_see) < _MOST:
                held = list(_held(seen).values())
                for other in dict.fromkeys(map(_module_name, held)):  # in the order of the imports
                    if other not in to_see:
                        to_see.append(other)
        _found[module] = frozenset(found)
    return _found[module]


def _at_hand(func: Any) -> list[Any]:
    """What tells where a function comes from, and, if it goes by value, what it mentions."""
    partial = getattr(sys.modules.get("functools"), "partial", None)
    while type(func) is partial:
        func = func.func
    if type(func) is MethodType:
        func = func.__func__
    return [func, type(func), *(_mentioned(func) if type(func) is FunctionType else ())]


def _mentioned(func: FunctionType) -> list[Any]:
    """The globals that a function uses, with those that functions of `__main__` among them use."""
    found: list[Any] = []
    to_see = [func]
    for one in to_see:
        values = [one.__globals__.get(name) for name in names_in(one.__code__)]
        found += values
        if one.__module__ in PROGRAM:
            to_see += [
                value for value in values if type(value) is FunctionType and value not in to_see
            ]
    return found


def _held(module: Any) -> dict[str, Any]:
    held: dict[str, Any] = module.__dict__
    return held


def _module_name(value: Any) -> str:
    """The module that a value is, or comes from; nothing of the user's is run to find out."""
    name: Any = None
    if type(value) is ModuleType:
        name = _held(value).get("__name__")
    elif issubclass(type(value), type):
        try:
            name = _module_of_class.__get__(value)
        except AttributeError:
            pass  # one that has none
    elif type(value) in (FunctionType, BuiltinFunctionType):
        name = value.__module__
    return name if isinstance(name, str) else ""


def _is_original() -> bool:
    """Whether all that the caller has imported by names of the standard library is the standard library's.

    Otherwise a module of his may come in place of one that a harmless module imports.
    """
    names = sys.stdlib_module_names.intersection(list(sys.modules)) - _REPLACED
    return all(_is_of_library(sys.modules.get(name)) for name in names)


#: Other libraries replace this one, in good faith.
_REPLACED = {"distutils"}


def _is_of_library(module: Any) -> bool:
    if type(module) is not ModuleType:
        return False
    origin = getattr(_held(module).get("__spec__"), "origin", "")
    return origin in ("built-in", "frozen") or (isinstance(origin, str) and _is_in_library(origin))


def _is_in_library(path: str) -> bool:
    return path.startswith(LIBRARY) and "-packages" not in path


# --- in the clean server --------------------------------------------------------------------------


def share(names: Iterable[str]) -> None:
    """Import modules, as far as they can be, from nowhere but the standard library."""
    usual = sys.path[:]
    sys.path[:] = [entry for entry in usual if _is_in_library(entry + os.sep)]
    for name in names:
        if name in HARMLESS:
            try:
                __import__(name)
            except Exception:  # noqa: S110 -- the worker that needs it will find out
                pass
    sys.path[:] = usual
