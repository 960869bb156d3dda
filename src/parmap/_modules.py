"""Whether the program has loaded one of its own modules anew, so that workers may hold an older copy.

`importlib.reload` keeps the module and gives it another `__spec__`; importing it again after it was deleted
from `sys.modules` makes another module. To look at both takes 50 ns a module, so only those are looked at
that are neither the standard library's nor installed: those that somebody edits.

Where IPython's `autoreload` is at work, neither changes: it patches modules in place when their files have
been edited. So there we look at the files, too, which takes a microsecond each.
"""

from __future__ import annotations

import _thread
import os
import sys

from ._handlers import let_pass
from ._lock import careful

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_generation = 0
_own: list[tuple[str, Any, Any]] = []  # name, module and spec of the program's own modules
_gone: set[str] = set()  # names of such that have been deleted from `sys.modules`
_files: dict[str, Any] = {}  # by name, how the module's file was when it was last looked at
_seen = {"__main__"}  # the names that were looked at; and `__main__`, which workers never import
_searched = (0, "")  # length and last name of `sys.modules` when it was last searched
_lock = careful(_thread.allocate_lock())  # held to change these


def own() -> list[tuple[str, Any, Any]]:
    """Name, module and spec of the program's own modules."""
    _look()
    return _own


def generation() -> int:
    """A number that grows when a module that workers may have loaded has been loaded anew here."""
    _look()
    modules: dict[str, Any] = sys.modules
    for name, module, spec in _own:
        now = modules.get(name)
        if now is not module or getattr(now, "__spec__", None) is not spec:
            with _lock:
                _look_again()
            break
    if _PATCHER in modules:
        with _lock:
            _look_at_files()
    return _generation


def _look() -> None:
    modules: dict[str, Any] = sys.modules
    if (len(modules), next(reversed(modules))) != _searched:  # new names are last
        with _lock:
            _look_for_more()


def _look_for_more() -> None:
    global _generation, _searched  # noqa: PLW0603 -- of the one `sys.modules` that there is
    names = list(sys.modules)
    _searched = len(names), names[-1]
    for name in names:
        if name not in _seen:
            _seen.add(name)
            module = sys.modules.get(name)
            spec = module.__dict__.get("__spec__") if type(module) is type(sys) else None
            if spec is None or name.startswith(_OURS):
                continue
            if not _is_installed(getattr(spec, "origin", None)):
                _own.append((name, module, spec))
                _generation += name in _gone
                if _NOTEBOOK in sys.modules:
                    _files[name] = _state_of(spec)


def _look_again() -> None:
    global _generation, _own  # noqa: PLW0603
    found: list[tuple[str, Any, Any]] = []
    for name, module, spec in _own:
        now = sys.modules.get(name)
        if now is None:  # it may come back
            _gone.add(name)
            _seen.discard(name)
        else:
            found.append((name, now, getattr(now, "__spec__", None)))
            _generation += found[-1][1] is not module or found[-1][2] is not spec
    _own = found


def _look_at_files() -> None:
    global _generation  # noqa: PLW0603
    for name, _, spec in _own:
        state = _state_of(spec)
        before = _files.setdefault(name, state)
        if state is not None:  # else it is just being written, perhaps
            _generation += before != state  # first: Ctrl-C may come before the other
            _files[name] = state


def _state_of(spec: Any) -> tuple[int, int] | None:
    """What tells whether a module's file has been edited; None: it is not there."""
    try:
        found = os.stat(spec.origin)
    except (OSError, ValueError, TypeError, AttributeError) as error:  # or it never had one
        let_pass(error)
        return None
    return found.st_mtime_ns, found.st_size


def abandon() -> None:
    """In a forked child of the caller: nobody else holds the lock."""
    global _lock  # noqa: PLW0603
    _lock = careful(_thread.allocate_lock())


_NOTEBOOK, _PATCHER = "IPython", "IPython.extensions.autoreload"

_OURS = f"{__package__}."  # reloading these is nobody's business but ours

#: The standard library's directory, in which packages are installed in most layouts.
LIBRARY = os.path.dirname(os.__file__) + os.sep


def _is_installed(origin: object) -> bool:
    """Whether a module comes from where nobody edits it; or from no file at all."""
    return not isinstance(origin, str) or (
        origin in ("built-in", "frozen")
        or origin.startswith(LIBRARY)
        or f"{os.sep}site-packages{os.sep}" in origin
        or f"{os.sep}dist-packages{os.sep}" in origin
    )
