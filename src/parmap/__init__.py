"""A parallel map for Python: `list(map(f, xs))` on all cores.

`parallel_map` runs a function over iterables in a pool of warm workers, `run_in_process` runs one
function in one fresh process, `spawn_each` one fresh process for each item, all side by side.

Nothing is imported before it is used: `import parmap` takes a millisecond.
"""

from __future__ import annotations

__version__ = "2.0.0"

__all__ = [
    "CallTimeout",
    "ItemTimeout",
    "ParmapError",
    "Pool",
    "RemoteError",
    "SerializationError",
    "WorkerDied",
    "WorkerStartError",
    "available_cpus",
    "parallel_imap",
    "parallel_map",
    "parallel_starmap",
    "run_in_process",
    "shutdown",
    "spawn_each",
    "using",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._cpus import available_cpus
    from ._errors import (
        CallTimeout,
        ItemTimeout,
        ParmapError,
        RemoteError,
        WorkerDied,
        WorkerStartError,
    )
    from ._map import parallel_imap, parallel_map, parallel_starmap, using
    from ._pool import Pool
    from ._registry import shutdown
    from ._serialization import SerializationError
    from ._spawn import run_in_process, spawn_each

_HOMES = {
    "_cpus": ("available_cpus",),
    "_errors": (
        "CallTimeout",
        "ItemTimeout",
        "ParmapError",
        "RemoteError",
        "WorkerDied",
        "WorkerStartError",
    ),
    "_map": ("parallel_imap", "parallel_map", "parallel_starmap", "using"),
    "_pool": ("Pool",),
    "_serialization": ("SerializationError",),
    "_spawn": ("run_in_process", "spawn_each"),
    "_registry": ("shutdown",),
}

#: What the older distributions of this name offered, and the line to write instead.
_OLD = {
    "map": "parmap.parallel_map(f, xs)",
    "starmap": "parmap.parallel_starmap(f, tuples)",
    "map_async": "parmap.Pool().map(f, xs), or .submit(f, x)",
    "starmap_async": "parmap.Pool().submit(f, *arguments)",
    "parmap": "parmap.parallel_map(f, xs)",
}


if not TYPE_CHECKING:  # else every name would be one, for type checkers

    def __getattr__(name: str) -> object:
        for home, names in _HOMES.items():
            if name in names:
                module = __import__(f"{__name__}.{home}", fromlist=(name,))
                value = getattr(module, name)
                globals()[name] = value
                return value
        if name in _OLD:
            msg = f"parmap.{name} is of another distribution of this name; here it is {_OLD[name]}"
            raise AttributeError(msg)
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _notice_strangers() -> None:
    """Say so if files of another distribution named parmap lie among ours: each would break the other."""
    import os

    if os.path.exists(os.path.join(os.path.dirname(__file__), "parmap.py")):
        import warnings

        warnings.warn(
            "another distribution has installed files into the package `parmap`: uninstall both "
            "(`pip uninstall parmap` until nothing is left), then install the one that you want",
            stacklevel=3,
        )


_notice_strangers()
