"""Who a worker is in the eyes of `multiprocessing`: its name, its parent, the key of its managers.

`multiprocessing` takes 25 ms to import and most workers never need it, so this waits until somebody does.
"""

from __future__ import annotations

import sys

from ._imports import when_imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROCESS = "multiprocessing.process"

_name = ""
_parent: tuple[str, int, bytes | None] = "", 0, None


def adopt(name: str, parent: tuple[str, int, bytes | None] | None = None) -> None:
    """Let `multiprocessing` see this process as `name`, started by `parent` (name, pid, authkey)."""
    global _name, _parent
    first = not _name
    _name, _parent = name, parent or _parent
    if _PROCESS in sys.modules:
        _apply(sys.modules[_PROCESS])
    elif first:
        when_imported(_PROCESS, _apply)


def _apply(process: Any) -> None:
    name, parent = _name, _parent
    current = process.current_process()
    current.name = name
    if parent[2] is not None:
        current.authkey = parent[2]
    if process.parent_process() is None:
        # There is no public way to say so; where this one has gone, parent_process() stays None.
        made = getattr(process, "_ParentProcess", None)
        if made is not None:
            process._parent_process = made(parent[0], parent[1], None)
