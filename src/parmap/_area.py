"""Memory that a worker and the caller share, for results that are numbers of one type.

The worker stores each result there as it comes, and that is all that it does about it: nothing is kept in
a list, packed or sent. And it needs no other mark of how far it is. Before it begins a run of items it
fills their places with a *blank*, eight random bytes; after its death, the first place that still is blank
belongs to the item that was running. (A result may happen to be the blank itself, once in 2^64 times: then
the item before the culprit is blamed, and no result is the worse for it.)

There is room for two messages of items, used in turn: the worker fills the one while the caller reads the
other, and says that it has.
"""

from __future__ import annotations

import os
import sys

from . import _memory
from ._plan._chunks import LARGEST
from ._segments import Segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from typing import Any

#: Places for the results of a message of items.
ROOM = LARGEST

#: Numbers in one message of results from which on an area is worth its memory.
WORTH = 1024

# Words of the head.
TAKEN = 0  # results of ordinals below this have been taken by the caller
RUN = 1  # the place of the first item of the run at hand, -1 between runs
BLANK = 2

_HEAD = 64  # bytes: a cache line
_LOWEST = 0 if sys.byteorder == "little" else 7  # where the lowest byte of a whole number is
SIZE = _HEAD + 2 * ROOM * 8


class Area:
    """Either side's view."""

    __slots__ = ("_map", "_raw", "numbers", "words")

    def __init__(self, fd: int) -> None:
        self._map: mmap.mmap = _memory.shared(fd, SIZE)
        self._raw = memoryview(self._map)
        self.words = self._raw[:_HEAD].cast("q")
        whole = self._raw[_HEAD:].cast("q")
        #: The places by the format of what is there; a truth value is placed as a whole number.
        self.numbers: dict[str, Any] = {"q": whole, "d": self._raw[_HEAD:].cast("d"), "?": whole}

    def keep_from_forks(self) -> None:
        """Let no process that the function forks, and that comes back from it, write here."""
        import mmap

        if hasattr(mmap, "MADV_DONTFORK"):
            self._map.madvise(mmap.MADV_DONTFORK)

    def blank(self, place: int, count: int) -> None:
        """Fill places with the blank."""
        begin = _HEAD + place * 8
        self._raw[begin : begin + count * 8] = (
            self._raw[8 * BLANK : 8 * BLANK + 8].tobytes() * count
        )

    def filled(self, count: int) -> int:
        """How many of the `count` items of the run at hand have left their results."""
        begin = self.words[RUN]
        if begin < 0:
            return 0
        places = self.numbers["q"][begin : begin + count].tolist()
        blank = self.words[BLANK]
        return places.index(blank) if blank in places else count

    def take(self, place: int, count: int, upto: int, form: str) -> bytes:
        """A copy of results of this format, the last of which belongs to the ordinal before `upto`.

        Raises:
            ValueError: There are no such places.
        """
        begin = _HEAD + place * 8
        if place < 0 or begin + count * 8 > SIZE:
            msg = f"there are no {count} places from {place} on"
            raise ValueError(msg)
        some = self._raw[begin : begin + count * 8]
        copy = (some[_LOWEST::8] if form == "?" else some).tobytes()
        self.words[TAKEN] = upto
        return copy


def make() -> tuple[Segment, Area]:
    """The memory, to be handed over, and the caller's view of it.

    Raises:
        OSError: There is no room, or no descriptor left.
    """
    segment = Segment()
    _memory.reserve(segment.fd, SIZE)
    area = Area(segment.fd)
    area.words[RUN] = -1
    area.words[BLANK] = int.from_bytes(os.urandom(8), "little", signed=True)
    return segment, area
