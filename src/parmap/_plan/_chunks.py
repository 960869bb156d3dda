"""How many items travel together.

A message costs about a tenth of a millisecond over both sides, so a chunk should hold some tens of
milliseconds of work: messages then cost about one part in a hundred. What an item costs is not
known before the first has run, and may change on the way; so the first chunks hold one item, and
each later one at most `GROWTH` times what has been seen to work. Guided self-scheduling
(Polychronopoulos and Kuck, 1987) bounds chunks by the share of what is left, where that is known.
"""

from __future__ import annotations

#: Seconds of work in a chunk. Ten to fifty measure the same within noise on two cores.
SLICE = 0.02

#: How much larger than the last chunk that came back the next may be: a million tiny items reach
#: full-sized chunks in six round trips, and a sudden slow stretch holds up at most eight times
#: more.
GROWTH = 8

#: Items in a chunk at most: bounds what a lazy call holds in memory, and costs nothing measurable.
LARGEST = 16_384

#: Bytes of items in a chunk at most, if it holds more than one: bounds what is in flight, and more bytes
#: a message do not travel faster.
HEAVY = 1 << 22

#: Parts of what is left that each worker gets at most, so that the last chunks are small.
SHARES = 2

#: But not smaller than one part in so many of a worker's share of the whole call, up to so many seconds of
#: work: the last messages of a short call would cost more than to wait for a larger one at its end.
LAST = 8
LONGEST_LAST = 0.0005

#: Where each worker's share of a whole call is less work than so many seconds, and no more than so many
#: items, it gets that at once: to wake it a second time costs more than to wait for another that has had
#: the dearer items. (Many items may be what a former call has told the wrong cost of.)
SHORT = 0.0015
FEW = 32

#: Seconds that a message costs over both sides, waking the worker included: less work than that is not
#: worth one of its own.
MESSAGE = 0.0001

#: Seconds that news may be late on a busy machine, beyond twice what the items should take and a message
#: of each other worker, which may be dealt with before.
DELAY = 0.002

#: Times as much work makes it a small part of what is done.
WORTHY = 4


class Pace:
    """What an item costs, as measured so far, and the chunk size that follows.

    `fixed` is the caller's chunk size, `known` what a former call has learned of the same function, and
    `window` the most items that may be read and not yet taken.
    """

    __slots__ = (
        "_few",
        "_fixed",
        "_last",
        "_least",
        "_most",
        "_seen",
        "_short",
        "_weight",
        "_window",
        "cheap",
        "cost",
    )

    def __init__(
        self,
        fixed: int | None,
        known: tuple[float, int] | None = None,
        window: int | None = None,
    ) -> None:
        self._fixed = fixed
        self._window = window
        self._weight = 0.0  # bytes an item
        #: Seconds an item, and the largest number of items that came back together.
        self.cost: float | None = None
        self._seen = 0
        self._most = 1  # items in a chunk
        self._least = 1  # of which there should be so many though little is left
        self._last = 1  # and in a long call so many
        self._short = 0  # a worker's share of a call that is short
        self._few = 0  # for which a message is cheap
        #: Whether waiting for the next message would cost more than the work of an item.
        self.cheap = False
        if known is not None:
            self._take_in(*known)

    @property
    def learned(self) -> tuple[float, int] | None:
        """What a later call of the same function may want to know."""
        return None if self.cost is None else (self.cost, self._seen)

    def learn(self, count: int, seconds: float) -> None:
        """Take in that `count` items ran in `seconds`."""
        cost = seconds / count
        # The newest measurement counts for half: costs drift, and old news misleads.
        self._take_in(cost if self.cost is None else (self.cost + cost) / 2, max(self._seen, count))

    def _take_in(self, cost: float, seen: int) -> None:
        self.cost, self._seen = cost, seen
        self.cheap = cost < SLICE
        cost = max(cost, 1e-9)
        self._most = min(int(SLICE / cost), seen * GROWTH, LARGEST)
        self._least = int(MESSAGE / cost)
        self._last = int(LONGEST_LAST / cost)
        self._few = int(WORTHY * MESSAGE / cost)
        self._short = min(int(SHORT / cost), FEW)

    @property
    def weightless(self) -> bool:
        """Whether all items so far had no bytes worth counting."""
        return not self._weight

    def weigh(self, count: int, nbytes: int) -> None:
        """Take in that `count` items have so many bytes; the newest count for half."""
        if count and (nbytes or self._weight):
            self._weight = (self._weight + nbytes / count) / 2 if self._weight else nbytes / count

    def size(self, left: int | None, workers: int, whole: int = 0, *, divided: bool = False) -> int:
        """Items that a worker is sent at once, with `left` items to go (None: nobody knows) for `workers`.

        `whole` is how many there were; `divided`: the caller's chunks have been taken apart.
        """
        size = self._most
        if left is not None:
            share = -(-whole // workers)
            last = share if share <= self._short else min(whole // (LAST * workers), self._last)
            least = max(self._least, last)
            size = min(size, max(-(-left // (SHARES * workers)), least))
        if self._window is not None:
            # Not all of it to one worker, but enough to be worth a message.
            few = min(self._few, -(-self._window // SHARES))
            size = min(size, max(-(-self._window // (SHARES * workers)), few))
        if self._weight:
            size = min(size, int(HEAVY / self._weight))
        if self._fixed is not None and not divided:  # as many of the caller's chunks
            return max(size // self._fixed, 1) * self._fixed
        return max(size, 1)

    def worth_sending(self, count: int) -> bool:
        """Whether to run `count` items elsewhere is worth the message, as far as is known."""
        return count > 0 and (self.cost is None or count * self.cost >= MESSAGE)

    def worth_moving(self, count: int) -> bool:
        """Whether `count` items hold clearly more work than a message to another worker costs."""
        return self.cost is None or count * self.cost > SLICE / 20

    def patience(self, count: int, workers: int) -> float:
        """Seconds until one of `workers` has been silent for too long with `count` items: at most a slice."""
        if self.cost is None:
            return SLICE
        return min(SLICE, DELAY + workers * MESSAGE + 2 * count * self.cost)
