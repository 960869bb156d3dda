"""Descriptors that are closed when nobody refers to them any more.

By objects of C, which Ctrl-C cannot hit: it may hit a `__del__` of Python's before it has begun, and then
both are lost, the descriptor and the interrupt; and it may come between a call and the assignment of what
that answers. So `(own,) = map(owned, map(os.memfd_create, ["name"]))` has no gap, where `own` is opened
and closed.
"""

from __future__ import annotations

import select
from _io import FileIO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Owned(Protocol):
        """Holds a descriptor."""

        def fileno(self) -> int:
            """It."""
            ...


def _kind() -> Callable[[int], Owned]:
    # These take any descriptor and, other than a file, close it without a warning.
    for name in ("epoll", "kqueue"):
        kind = getattr(select, name, None)
        if kind is not None:
            return kind.fromfd  # type: ignore[no-any-return]
    return FileIO


#: What owns a descriptor.
owned = _kind()
