"""Functions of our own that workers run, each of which runs one of the user's."""

from __future__ import annotations

import sys

from . import _codec, _globals, _kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Functions of submitted tasks that are kept.
_KNOWN = 16

_known: dict[bytes, _globals.Loaded] = {}  # by their pickles, newest last


def apply_task(
    function: bytes | Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> Any:
    """Run a submitted task. An unchanged function is the same object every time, with its caches."""
    if not isinstance(function, bytes):
        return function(*arguments, **keywords)
    loaded = _known.pop(function, None)
    if loaded is None:
        loaded = _globals.Loaded(lambda: _codec.unpack([memoryview(function)]))
        _kept.make_room(_known, _KNOWN)
    _known[function] = loaded
    return loaded.get()(*arguments, **keywords)


def find_modules(path: list[str]) -> None:
    """Let modules be found where the caller finds them."""
    sys.path[:] = path


carried: Any = None  # what a process was started with, where it could not be sent afterwards


def run_carried(index: int) -> Any:
    """Run the function that this process carries, with the arguments at a place."""
    func, items = carried
    return func(*items[index])


def set_up_carried() -> Any:
    """Run the initializer that this process carries."""
    func, arguments = carried
    return func(*arguments)
