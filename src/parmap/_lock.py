"""Locks for `with` that Ctrl-C cannot leave taken.

Up to Python 3.13 nothing can be raised between the taking of a lock and the beginning of what `with`
guards. In 3.14, and in the first of 3.15, a signal may be handled just there (python/cpython#148874), and
what its handler raises passes by `__exit__`: the lock would stay taken, and the next call wait for ever.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    L = TypeVar("L")

_ONCE = (True,)


class Careful:
    """What takes and gives back a lock for `with`, whatever a signal handler raises meanwhile.

    Unless it is handled in a function that traces or profiles ours, just as `__enter__` returns.
    """

    __slots__ = ("__exit__", "_acquire", "_release", "locked")

    def __init__(self, lock: Any) -> None:
        self._acquire = lock.acquire
        self._release = lock.release
        self.locked = getattr(lock, "locked", None)
        # The lock's own, in C: a function of ours could be interrupted before it has begun.
        self.__exit__ = lock.__exit__

    def __enter__(self) -> None:
        taken: list[bool] = []
        try:
            taken.extend(
                map(self._acquire, _ONCE)
            )  # in C, too, so that it is known if it was taken
        except BaseException:
            if taken:
                self._release()
            raise


def careful(lock: L) -> L:
    """This lock, or what takes care of it, for use with `with`."""
    return Careful(lock) if sys.version_info >= (3, 14) else lock  # type: ignore[return-value]
