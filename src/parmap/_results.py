"""What a worker has done and not yet sent."""

from __future__ import annotations

import time

from . import _area, _arrays, _codec, _plain, _wire
from ._plain import SCALARS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Seconds of work after which results are sent.
SLICE = 0.02

#: Bytes of results after which they are sent anyway.
ENOUGH = 1 << 18


class Results:
    """Results of items one after another: plain as they are, all else packed; or numbers in an area."""

    def __init__(self, send: Callable[[int, list[bytes | memoryview]], None]) -> None:
        self._send = send
        self.first = 0  # the ordinal of the first
        self.values: list[Any] = []
        self.kinds: set[type] = set()  # the types of the values, as they are here
        self._nbytes = 0
        self.seconds = 0.0  # that it took, and that were not told yet
        self._sent_at = 0.0
        # Where results that are numbers are placed.
        self.area: _area.Area | None = None
        self.number: type | None = None  # what the newest were, if they all were of one type
        self.placed = 0  # how many there are; then there are no others
        self.shift = 0  # from an ordinal to its place
        self._half = 0
        self._ends = [0, 0]  # the ordinals after the last result in each half of the area

    def begin(self, ordinal: int) -> None:
        """Expect the results of a message of items."""
        self.first = ordinal
        self._sent_at = time.perf_counter()

    def find_place(self, ordinal: int, count: int) -> bool:
        """Find room in the area for the results of a message of items, if they are numbers."""
        if self.area is None:
            return False
        half = self._half = 1 - self._half
        if count > _area.ROOM or self.area.words[_area.TAKEN] < self._ends[half]:
            return False  # too many, or the caller has not taken what is there
        self.shift = half * _area.ROOM - ordinal
        return True

    def add(self, result: object) -> None:
        """Take in one more."""
        if type(result) in SCALARS:
            self.kinds.add(type(result))
            self.values.append(result)
        else:
            self.pack(result)

    def pack(self, result: object) -> type | None:
        """Take in one more, which is no scalar; send it now if it is large.

        Answers its type if another one of that needs no look.
        """
        kept = _plain.copied(result)
        if kept is None and type(result) not in _plain.KINDS:
            if _arrays.is_number(type(result)):
                self.kinds.add(type(result))
                self.values.append(result)
                return type(result)
            array = _arrays.copied(result)
            kept = None if array is None else (array, array.nbytes)
        beside = False
        if kept is None:
            packed = _codec.pack(result, copy=False, home=True, what="result")
            kept = packed, packed.nbytes
            beside = len(packed.parts) > 1
        made, nbytes = kept
        self.values.append(made)
        self.kinds.add(type(made))
        self._nbytes += nbytes
        if self._nbytes >= ENOUGH or beside:
            self.report()  # large buffers are not copied: nothing may run before they are sent
        return None

    def is_time(self, now: float) -> bool:
        """Whether they should be sent, since they are many or old."""
        return self._nbytes >= ENOUGH or now - self._sent_at >= SLICE

    def report(self) -> None:
        """Send those that are there."""
        count = len(self.values) or self.placed
        if count:
            parts: list[bytes | memoryview] = []
            if self.placed:
                assert self.number is not None
                form = _codec.FORMATS[self.number]
                parcels: list[Any] = [(_codec.PLACED, form, self.first + self.shift)]
                self._ends[self._half] = self.first + count
            else:
                parcels, parts = _codec.bundle(self.values, self.kinds)
            head = _codec.pack_plain((self.first, count, self.seconds, parcels))
            self._send(_wire.RESULTS, [head, *parts])
            self.values.clear()
            self.first += count
            self._nbytes = self.placed = 0
            self.kinds.clear()
            self.seconds = 0.0
        self._sent_at = time.perf_counter()
