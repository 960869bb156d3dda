"""What a worker has done and not yet sent."""

from __future__ import annotations

import time

from . import _area, _codec, _failure, _instances, _plain, _wire
from ._plain import SCALARS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._instances import Quick

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
        self._buffers = _codec.Buffers()
        self._copier = _plain.Copier()
        self._unlike: type | None = None  # of which each needs a look
        self._quick: Quick | None = None  # once instances of the program's classes have been met
        self._pickles: list[bytes] = []  # instead of values, as long as all have been pickled
        self._nbytes = 0
        self.seconds = 0.0  # that it took, and that were not told yet
        self._sent_at = 0.0
        # Where results that are numbers are placed.
        self.area: _area.Area | None = None
        self.number: type | None = None  # what the newest were, if they all were of one type
        self.placed = 0  # how many there are; then there are no others
        self.fit = True  # whether all that are numbers had room in their places so far
        self.shift = 0  # from an ordinal to its place
        self._half = 0
        self._ends = [0, 0]  # the ordinals after the last result in each half of the area

    def forget(self) -> None:
        """Let go of the classes of the calls before, and of what their results were like."""
        self._quick = None
        self._unlike = None
        self._copier = _plain.Copier()

    def begin(self, ordinal: int) -> None:
        """Expect the results of a message of items."""
        self.first = ordinal
        self.seconds = 0.0  # what failed may have left some
        self.kinds.clear()  # and `report_early`
        self._sent_at = time.perf_counter()

    def find_place(self, ordinal: int, count: int) -> bool:
        """Find room in the area for the results of a message of items, if they are numbers."""
        if self.area is None or not self.fit:
            return False
        half = self._half = 1 - self._half
        if count > _area.ROOM or self.area.words[_area.TAKEN] < self._ends[half]:
            return False  # too many, or the caller has not taken what is there
        self.shift = half * _area.ROOM - ordinal
        return True

    def add(self, result: object) -> None:
        """Take in one more."""
        if type(result) in SCALARS:
            self._keep(result, 0)
        else:
            self.pack(result)

    def _keep(self, value: object, nbytes: int) -> None:
        if self._pickles:
            made = [
                *_codec.Pickles(self._pickles)
            ]  # all of it first, or an interrupt would leave some
            self.kinds.add(_codec.Packed)
            self.values += made
            self._pickles.clear()
        self.kinds.add(type(value))  # first, or an interrupt would leave a value of an unknown kind
        self.values.append(value)
        self._nbytes += nbytes

    def pack(self, result: object) -> type | None:
        """Take in one more, which is no scalar; send it now if it is large.

        Answers its type if another one of that needs no look.
        """
        kept = self._copier.copied(result)
        if kept is None:
            self._pickle(result)
        else:
            self._keep(*kept)
        if self._nbytes >= ENOUGH:
            self.report()
            return None  # its type is to be noted with the next ones, too
        kind = type(result)
        if kept is None or kind is self._unlike:
            return None
        if _plain.are_alike(kind):
            return kind
        self._unlike = kind
        return None

    def _pickle(self, result: object) -> None:
        """Take in one more, pickled by itself."""
        buffers, quick = self._buffers, self._quick
        data = quick.pickled(result) if quick else _codec.pickled(result, buffers, home=True)
        if data is None:
            data = _codec.pickled_by_value(result, buffers, home=True, what="result")
            if quick is None and _instances.are_met():
                self._quick = _instances.Quick(buffers, home=True)
        if not (self.values or buffers.kept):
            self._pickles.append(data)
            self._nbytes += len(data)
            return
        packed = buffers.beside(data, copy=False)
        self._keep(packed, packed.nbytes)
        if len(packed.parts) > 1:
            self.report()  # large buffers are not copied: nothing may run before they are sent

    def fail(self, error: BaseException) -> None:
        """Take in that the next item has failed."""
        if self.placed:
            self.report()
        self.number = None
        data = _failure.pack_in_place(error)
        if self._pickles:
            self._pickles.append(data)
            self._nbytes += len(data)
        else:
            self._keep(_codec.Packed([data]), len(data))

    def place(self, count: int) -> None:
        """Take in that a run has placed so many.

        Those that were told of early are not here any more; perhaps one more than the run has counted.
        """
        self.placed = max(self.placed + count, 0)

    @property
    def count(self) -> int:
        """How many are here."""
        return len(self.values) or len(self._pickles) or self.placed

    @property
    def has_others(self) -> bool:
        """Whether some are here that are not in the area."""
        return bool(self.values or self._pickles)

    def is_time(self, now: float) -> bool:
        """Whether they should be sent, since they are many or old."""
        return self._nbytes >= ENOUGH or now - self._sent_at >= SLICE

    def report(self) -> None:
        """Send those that are there."""
        count = self.count
        if count:
            parts: list[bytes | memoryview] = []
            if self.placed:
                assert self.number is not None
                form = _codec.FORMATS[self.number]
                parcels: list[Any] = [(_codec.PLACED, form, self.first + self.shift)]
                self._ends[self._half] = self.first + count
            elif self._pickles:
                parcels, parts = _codec.bundle(_codec.Pickles(self._pickles))
            else:
                parcels, parts = _codec.bundle(self.values, self.kinds)
            head = _codec.pack_plain((self.first, count, self.seconds, parcels))
            self._send(_wire.RESULTS, [head, *parts])
            self.values.clear()
            self._pickles.clear()
            self.first += count
            self._nbytes = self.placed = 0
            self.kinds.clear()
            self.seconds = 0.0
        self._sent_at = time.perf_counter()

    def report_early(self, placed: int) -> None:
        """Send those that are there while an item runs, and the `placed` ones of the run at hand.

        That run goes on where it was: it counts these among its own at its end, and takes what comes to be
        like what it has seen.
        """
        kinds = {*self.kinds}
        self.placed += placed
        try:
            self.report()
        except BaseException:
            self.placed -= placed
            raise
        finally:
            self.kinds |= kinds
        self.placed = -placed
