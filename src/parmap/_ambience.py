"""What a call brings along to its workers, so that the function finds there what it would find here.

Directory, `sys.path`, environment, warning filters, recursion and integer-digit limits, decimal
context, and who the caller is in the eyes of `multiprocessing`.
"""

from __future__ import annotations

import os
import sys
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
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
    """The caller's surroundings now, as built-in types and warning filters."""
    try:
        directory = os.getcwd()
    except OSError:  # it has been deleted: the workers stay where they are
        directory = None
    entries: list[Any] = sys.path  # whatever somebody has put there
    found: dict[str, Any] = {
        "directory": directory,
        "path": [entry for entry in entries if isinstance(entry, str)],
        "environment": _environment(),
        "filters": list(warnings.filters),
        "recursion": sys.getrecursionlimit(),
        "digits": sys.get_int_max_str_digits(),
    }
    if "decimal" in sys.modules:
        # `__reduce__` holds everything that a context is made of, in built-in types.
        found["decimal"] = sys.modules["decimal"].getcontext().__reduce__()[1]
    if "multiprocessing.process" in sys.modules:
        process = sys.modules["multiprocessing.process"].current_process()
        found["process"] = process.name, os.getpid(), bytes(process.authkey)
    else:
        found["process"] = "MainProcess", os.getpid(), None
    return found


def _environment() -> dict[Any, Any]:
    # What lies under `os.environ`, if it is there: to decode all variables takes 90 µs, a third of a call.
    raw: dict[Any, Any] | None = getattr(os.environ, "_data", None)
    return dict(raw) if isinstance(raw, dict) else dict(os.environ)


def thread_caps(share: int) -> dict[str, str]:
    """Environment variables that give each worker its share of the cores, unless the user set any."""
    if any(name in os.environ for name in _THREADS):
        return {}
    return dict.fromkeys(_THREADS, str(max(share, 1)))


# --- in the worker --------------------------------------------------------------------------------


_adopted: dict[str, Any] = {}  # what the caller's surroundings were when they last were adopted


def adopt(found: dict[str, Any], own: dict[str, str]) -> None:
    """Make this process like the caller's; `own` are variables that stay this worker's.

    Only what has changed there is changed here, so that what an initializer has set here stays set.
    """
    before = _adopted
    _adopt_environment(before.get("environment", {}), found["environment"], own)
    changed = {key for key, value in found.items() if key not in before or before[key] != value}
    _adopted.update(found)
    if "directory" in changed and found["directory"] is not None:
        try:
            os.chdir(found["directory"])
        except OSError:
            pass  # deleted since, or not ours to enter: the function will see for itself
    if "path" in changed:
        sys.path[:] = found["path"]
    if "filters" in changed and warnings.filters != found["filters"]:
        warnings.resetwarnings()
        warnings.filters[:] = found["filters"]  # type: ignore[index]  # a list, whatever its stub says
    if "recursion" in changed:
        sys.setrecursionlimit(found["recursion"])
    if "digits" in changed:
        sys.set_int_max_str_digits(found["digits"])
    if "decimal" in changed:
        import decimal

        decimal.setcontext(decimal.Context(*found["decimal"]))


def _adopt_environment(before: dict[Any, Any], found: dict[Any, Any], own: dict[str, str]) -> None:
    if not before:
        # The first time, whatever the server was started with goes.
        kept = {*map(os.fsdecode, found), *own}
        for name in os.environ.keys() - kept:
            del os.environ[name]
        os.environ.update(own)
    for name in before.keys() - found.keys():
        os.environ.pop(os.fsdecode(name), None)
    for name, value in found.items():
        if before.get(name) != value and os.fsdecode(name) != "PARMAP_WORKER":
            os.environ[os.fsdecode(name)] = os.fsdecode(value)
