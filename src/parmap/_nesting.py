"""Keeps a call that a module makes while it is imported from being made again and again.

A worker that is sent something of that module imports it, and so makes the same call, whose workers would
import it, too. The first of these is needed, since only its worker can tell; the second is refused.
"""

from __future__ import annotations

import _thread
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FrameType

#: The modules during whose import the call at hand was made, in the caller or above it.
ancestors: tuple[str, ...] = ()

#: The same for threads of our own, which make calls in the name of others.
of_thread: dict[int, tuple[str, ...]] = {}

#: What a worker runs: in one that was forked, what is below it on the stack is its parent's.
bottom: CodeType | None = None

#: The locks of modules that are being imported, in whatever thread; None where there is no such table.
_imports = getattr(sys.modules["_frozen_importlib"], "_module_locks", None)

_finds = sys.modules["_frozen_importlib"]._find_and_load.__code__


def lineage() -> tuple[str, ...]:
    """The `ancestors` for a call that is made here and now.

    Raises:
        RuntimeError: It would be made again, and so on.
    """
    inherited = of_thread.get(_thread.get_ident(), ancestors)
    if not within_an_import():
        return inherited
    importing = {name for name, module in list(sys.modules.items()) if _is_being_imported(module)}
    again = sorted(importing.intersection(inherited))
    if again:
        msg = (
            f"the module {again[0]!r} starts processes while it is imported, and these import it: "
            "do so in a function that is called after the import"
        )
        raise RuntimeError(msg)
    return (*inherited, *sorted(importing))


def within_an_import() -> bool:
    """Whether this thread is importing a module, on behalf of what runs here."""
    if _imports is not None and not _imports:
        return False  # nobody is: a stack may be deep
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not bottom:
        if frame.f_code is _finds:
            return True
        frame = frame.f_back
    return False


def _is_being_imported(module: object) -> bool:
    try:
        # Not by `getattr`: a module that is imported when it is first used would be, by that.
        spec = object.__getattribute__(module, "__dict__").get("__spec__")
    except AttributeError:
        return False  # anything may be put there
    return getattr(spec, "_initializing", False) is True
