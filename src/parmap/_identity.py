"""Who a worker is in the eyes of `multiprocessing`: its name, its parent, the key of its managers.

`multiprocessing` takes 25 ms to import and most workers never need it, so this waits until somebody does.
"""

from __future__ import annotations

import sys

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
        sys.meta_path.insert(0, _Finder())


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


class _Finder:
    """Steps in when `multiprocessing.process` is imported, once."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The ordinary spec, whose loader then also tells the module who it is in."""
        if name != _PROCESS:
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                _extend(spec.loader)
                return spec
        return None


def _extend(loader: Any) -> None:
    ordinary = loader.exec_module

    def exec_module(module: Any) -> None:
        ordinary(module)
        _apply(module)

    loader.exec_module = exec_module
