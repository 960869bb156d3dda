"""What a call brings along to its workers, so that the function finds there what it would find here.

Directory, `sys.path` and what it does not lead to, `sys.argv`, environment, warning filters, recursion and
integer-digit limits, decimal context, where `__main__` came from, how its streams encode text, and who the
caller is in the eyes of `multiprocessing`.
"""

from __future__ import annotations

import _thread
import os
import sys
import time
import warnings
from _pickle import loads

from . import _globals, _strays
from ._environ import as_kept, change, variables
from ._filters import Filters, here
from ._handlers import let_pass
from ._imports import when_imported
from ._output import voices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: Whether this process is a worker, in which calls are serial by default.
nested = False

#: Libraries with thread pools of their own, and where they read how many threads to start.
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
)


def gather() -> dict[str, Any]:
    """The surroundings now, as built-in types and warning filters."""
    return {
        "directory": _directory(),
        "modules": len(sys.modules),  # with which there may be other strays
        "strays": _strays.gather(),
        "path": [entry for entry in _path() if isinstance(entry, str)],
        "argv": [*sys.argv],
        "environment": dict(variables()),
        "filters": list(warnings.filters),
        "recursion": sys.getrecursionlimit(),
        "digits": sys.get_int_max_str_digits(),
        "decimal": _decimal(),
        "main": _main(),
        "process": _process(),
        "voices": voices(),
    }


def is_same(found: Mapping[str, Any]) -> bool:
    """Whether the surroundings still are those: to look takes half as long as to gather them."""
    return (
        sys.getrecursionlimit() == found["recursion"]
        and sys.get_int_max_str_digits() == found["digits"]
        and warnings.filters == found["filters"]
        and _path() == found["path"]
        and sys.argv == found["argv"]
        and variables() == found["environment"]
        and _directory() == found["directory"]
        and _decimal() == found["decimal"]
        and len(sys.modules) == found["modules"]
        and _main() == found["main"]
        and voices() == found["voices"]
        and bool(_process() == found["process"])
    )


def _directory() -> str | None:
    try:
        return os.getcwd()
    except OSError as error:
        let_pass(error)
        return None  # it has been deleted: the workers stay where they are


def _path() -> list[Any]:
    return sys.path  # with whatever somebody has put there


def _decimal() -> tuple[Any, ...] | None:
    decimal = sys.modules.get("decimal")
    # `__reduce__` holds everything that a context is made of, in built-in types.
    return None if decimal is None else decimal.getcontext().__reduce__()[1]


def _main() -> tuple[str | None, str | None, str | None]:
    """Package, file and full name of `__main__`: what a relative import starts from."""
    if _caller:
        known: tuple[str | None, str | None, str | None] = _caller["main"]
        return known  # this is a worker, whose functions are of its caller's `__main__`
    held = _globals.of_main()
    package, file, spec = held.get("__package__"), held.get("__file__"), held.get("__spec__")
    name = spec and getattr(spec, "name", None)
    return (
        package if type(package) is str else None,
        file if type(file) is str else None,
        name if type(name) is str else None,
    )


def _process() -> tuple[str, int, bytes | None]:
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return "MainProcess", os.getpid(), None
    current = process.current_process()
    return current.name, os.getpid(), bytes(current.authkey)


def thread_caps(share: int) -> dict[str, str]:
    """Environment variables that give each worker its share of the cores, unless the user set any."""
    if any(name in os.environ for name in _THREADS):
        return {}
    return dict.fromkeys(_THREADS, str(max(share, 1)))


# --- in the worker --------------------------------------------------------------------------------


_caller: dict[str, Any] = {}  # the caller's surroundings when they last came
#: What they are to be here: the caller's, and what an initializer has set.
_wanted: dict[str, Any] = {"decimal": None}
_thread_of_items = 0  # a context of `decimal` is one thread's


def adopt(found: dict[str, Any], own: dict[str, str]) -> None:
    """Make this process like the caller's; `own` are variables that stay this worker's.

    Only what has changed there is changed here, so that what an initializer has set here stays set.
    """
    global _thread_of_items  # noqa: PLW0603 -- this one
    if not _thread_of_items:
        when_imported("decimal", _set_decimal)
    _thread_of_items = _thread.get_ident()  # anew: a worker may be forked from another one's thread
    ours = {as_kept(name): as_kept(value) for name, value in own.items()}
    number = as_kept("PARMAP_WORKER")
    theirs = found["environment"]
    if type(number) not in map(type, theirs):  # the caller's `os.environ` is no ordinary one
        theirs = {as_kept(os.fsdecode(key)): as_kept(os.fsdecode(theirs[key])) for key in theirs}
    theirs = {**theirs, number: ours[number]}
    found = {**found, "environment": theirs}
    before = _caller.get("environment", ours)
    environment: dict[Any, Any] = _wanted.get("environment", ours) | {
        name: value for name, value in theirs.items() if before.get(name) != value
    }
    for name in before.keys() - theirs.keys() - ours.keys():
        environment.pop(name, None)
    _wanted.update({key: value for key, value in found.items() if _caller.get(key) != value})
    _wanted["environment"] = environment
    _caller.update(found)
    _globals.place_main(*found["main"])
    _calm.clear()
    enforce()


def keep() -> None:
    """Take what an initializer has changed for what is wanted."""
    current = _current()
    if current["decimal"] is None:
        del current["decimal"]  # what is wanted still waits
    _wanted.update(current)
    _calm.clear()


def _current() -> dict[str, Any]:
    found = gather()
    for what in ("main", "modules", "process", "strays", "voices"):
        del found[what]
    return found


#: How things were when they last were as wanted; empty if that is not known.
_calm: dict[str, Any] = {}


def is_disturbed(*, lastingly: bool = False) -> bool:
    """Whether an item has changed what those after it should find; to look takes a microsecond.

    What it has changed `lastingly` (the environment and `sys.path`) stays for the rest of a call, since
    modules do so as they are imported.
    """
    calm = _calm
    if lastingly:
        return not calm or sys.path != calm["path"] or variables() != calm["environment"]
    return bool(calm) and (
        sys.getrecursionlimit() != calm["recursion"]
        or sys.get_int_max_str_digits() != calm["digits"]
        or warnings.filters != calm["filters"]
        or _directory() != calm["directory"]
        or _decimal() != calm["decimal"]
    )


def enforce() -> None:
    """Undo what functions have changed since."""
    global _calm  # noqa: PLW0603 -- one process, one surroundings
    if _calm and is_same(_calm):
        return
    now = _current()
    if now["decimal"] is not None:
        _unpack_decimal()
    _find_categories()
    changed = {key for key, value in _wanted.items() if key in now and now[key] != value}
    done = True
    if "directory" in changed and _wanted["directory"] is not None:
        try:
            os.chdir(_wanted["directory"])
        except OSError as error:
            let_pass(error)
            done = False  # deleted since, or not ours to enter: the function will see for itself
    if "path" in changed:
        sys.path[:] = _wanted["path"]
    if "argv" in changed:
        sys.argv[:] = _wanted["argv"]
    if "filters" in changed:
        _set_filters()
    if "recursion" in changed:
        sys.setrecursionlimit(_wanted["recursion"])
    if "digits" in changed:
        sys.set_int_max_str_digits(_wanted["digits"])
    if "decimal" in changed and now["decimal"]:
        _set_decimal(sys.modules["decimal"])
    if "environment" in changed:
        _set_environment(now["environment"])
    _calm = gather() if done else {}


def _set_environment(now: Mapping[Any, Any]) -> None:
    wanted, zone = _wanted["environment"], as_kept("TZ")
    change(now, wanted)
    if now.get(zone) != wanted.get(zone) and hasattr(time, "tzset"):
        time.tzset()  # by itself the C library does not look again


def _set_filters() -> None:
    warnings.resetwarnings()
    warnings.filters = Filters(_wanted["filters"], _caller.get("filters", []))


def _find_categories() -> None:
    if "filters" in _wanted:
        _wanted["filters"] = here(_wanted["filters"])


def after_imports() -> None:
    """Let the filters be the caller's again, who has imported the same, and may have set some since."""
    _find_categories()
    if warnings.filters != _wanted.get("filters", warnings.filters):
        _set_filters()
    if _calm:
        _calm["filters"] = list(warnings.filters)


def _unpack_decimal() -> None:
    if isinstance(_wanted["decimal"], bytes):
        _wanted["decimal"] = loads(_wanted["decimal"])


def _set_decimal(decimal: Any) -> None:
    """Set the context of this thread, if it is that of the items: others have one each."""
    if _wanted["decimal"] and _thread.get_ident() == _thread_of_items:
        _unpack_decimal()
        decimal.setcontext(decimal.Context(*_wanted["decimal"]))
        if _calm:
            _calm["decimal"] = _decimal()
