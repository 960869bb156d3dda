"""Who a worker is in the eyes of `multiprocessing`: its name, its parent, the key of its managers.

And what it hands over to processes that a function starts: what is of `__main__` goes by value.

`multiprocessing` takes 25 ms to import and most workers never need it, so this waits until somebody does.
"""

from __future__ import annotations

import sys
from types import FunctionType

from . import _codec
from ._globals import PROGRAM
from ._imports import when_imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROCESS = "multiprocessing.process"
_REDUCTION = "multiprocessing.reduction"

_name = ""
_parent: tuple[str, int, bytes | None] = "", 0, None
_key: bytes | None = None  # that `multiprocessing` was last seen to have here


def adopt(name: str, parent: tuple[str, int, bytes | None] | None = None) -> None:
    """Let `multiprocessing` see this process as `name`, started by `parent` (name, pid, authkey)."""
    global _name, _parent
    first = not _name
    _name, _parent = name, parent or _parent
    if _PROCESS in sys.modules:
        _apply(sys.modules[_PROCESS])
    elif first:
        when_imported(_PROCESS, _apply)
    if first and _REDUCTION in sys.modules:
        _send_by_value(sys.modules[_REDUCTION])
    elif first:
        when_imported(_REDUCTION, _send_by_value)


def follow(parent: tuple[str, int, bytes | None]) -> None:
    """Have the key of `parent`, as `adopt` knows it, who may have got one since."""
    global _parent  # noqa: PLW0603 -- of this process
    _parent = parent
    process = sys.modules.get(_PROCESS)
    if process is not None and process.current_process().authkey == _key:
        _set_key(process)  # else an initializer has set one, which stays


def _set_key(process: Any) -> None:
    global _key  # noqa: PLW0603 -- of this process
    current = process.current_process()
    if _parent[2] is not None:
        current.authkey = _parent[2]
    _key = current.authkey


def _apply(process: Any) -> None:
    parent = _parent
    process.current_process().name = _name
    _set_key(process)
    if process.parent_process() is None:
        # There is no public way to say so; where this one has gone, parent_process() stays None.
        made = getattr(process, "_ParentProcess", None)
        if made is not None:
            process._parent_process = made(parent[0], parent[1], None)


def _send_by_value(reduction: Any) -> None:
    reduction.ForkingPickler.reducer_override = _reduce


def _reduce(_pickler: Any, obj: Any) -> Any:
    """Let what is of `__main__` go by value.

    By name it would not be found in a fresh interpreter, and a `multiprocessing.Pool` wait for ever.
    """
    if isinstance(obj, (FunctionType, type)) and obj.__module__ in PROGRAM:
        return _unpack, (_codec.pack_whole(obj),)
    return NotImplemented


def _unpack(data: bytes) -> Any:
    return _codec.unpack([memoryview(data)])
