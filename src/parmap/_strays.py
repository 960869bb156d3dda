"""Modules of the caller's that a worker would not find by their names, and where they lie.

The directory that was current when the caller imported them is no longer, `sys.path` has changed, or they
were loaded from a file under a name of somebody's choice. To add their directories to `sys.path` would let
a worker find more than the caller has.
"""

from __future__ import annotations

import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import spec_from_file_location

from . import _modules
from ._handlers import let_pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: By a module's name: its file, or None, and where its submodules are, or None.
    Strays = dict[str, tuple[str | None, list[str] | None]]


_known: Strays | None = None  # in a worker: the caller's


def gather() -> Strays:
    """Those there are now."""
    if _known is not None:
        return _known
    directory = _directory()
    searched = {os.path.join(directory, entry) for entry in sys.path if type(entry) is str}
    if directory:
        searched |= {directory}  # for "", to which `join` adds a slash
    found: Strays = {}
    for name, spec in _specs().items():
        file = spec.origin if spec.has_location else None
        places = spec.submodule_search_locations and [*spec.submodule_search_locations]
        if not _is_found(name, file, places, searched) and (file is None or os.path.isfile(file)):
            found[name] = file, places
    return found


def _directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        let_pass(error)
        return ""  # it has been deleted


def _specs() -> dict[str, Any]:
    """Of the program's own modules, and of the packages that they are in."""
    found: dict[str, Any] = {}
    for name, _, spec in _modules.own():
        if spec is None:
            continue  # a test has put something else in its place
        found[name] = spec
        package = name.rpartition(".")[0]
        while package and package not in found:
            above = getattr(sys.modules.get(package), "__spec__", None)
            if above is not None:
                found[package] = above
            package = package.rpartition(".")[0]
    return found


def _is_found(name: str, file: str | None, places: list[str] | None, searched: set[str]) -> bool:
    """Whether who looks for this module by its name finds it where it is."""
    package, _, last = name.rpartition(".")
    if package:
        searched = {*getattr(sys.modules.get(package), "__path__", ())}
    ends = places if places is not None else [file] if file is not None else []
    for end in ends:
        directory, base = os.path.split(end)
        if directory not in searched or base.partition(".")[0] != last:
            return False
    return True


# --- in the worker --------------------------------------------------------------------------------


def adopt(strays: Strays) -> None:
    """Let these be found, by whoever looks for them and has not found them otherwise."""
    global _known  # noqa: PLW0603 -- this process is a worker
    if _known is None:
        sys.meta_path.append(_Finder)
    _known = strays


class _Finder:
    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:  # noqa: ARG004
        """See `importlib.abc.MetaPathFinder`."""
        file, places = (_known or {}).get(name, (None, None))
        if file is not None:
            return spec_from_file_location(name, file, submodule_search_locations=places)
        if places is None and not any(stray.startswith(name + ".") for stray in _known or ()):
            return None
        spec = ModuleSpec(name, None, is_package=True)  # of a package that is no more than a name
        spec.submodule_search_locations = places or []
        return spec
