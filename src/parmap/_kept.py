"""What is kept for later, in dictionaries that hold the newest of it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def make_room(kept: dict[Any, Any], most: int) -> None:
    """Drop the oldest entries of a dictionary that keeps so many, until there is room for another."""
    if len(kept) >= most:
        # From a copy: other threads come here, too.
        for oldest in list(kept)[: len(kept) + 1 - most]:
            kept.pop(oldest, None)


def digest(parts: Iterable[Any]) -> bytes:
    """What stands for a large pickle where it is compared with others."""
    from hashlib import blake2b

    made = blake2b()
    for part in parts:
        made.update(part)
    return made.digest()
