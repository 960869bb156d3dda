"""The shared cell of a worker: a few words that it writes and the caller reads, or the other way round.

An *ordinal* numbers the items that a worker was ever sent, so that it always grows, which indices do not
(an item may come back). Writing a word costs some ten nanoseconds, so a worker can say at every item
which one it is at; and after its death, or at a deadline, the caller still can read it.

Taking back what has not begun needs no answer from the worker, which may be deep in a long item. The
worker writes `CLAIMED` before it begins, then reads `LIMIT`; the caller writes `LIMIT`, waits until that
must be visible, then reads `CLAIMED`. Whatever the order, either the worker sees the limit and says what
it drops, or the caller sees the claim: Dekker's handshake, with time in place of a fence on the side
that can afford it (Dice, Huang and Yang, "Asymmetric Dekker synchronization", 2001).
"""

from __future__ import annotations

import time

from . import _memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap

SIZE = 4096  # one page, the least that can be shared

AT = 0  # the ordinal that is running or was last, less STEP; -1 after all results have been sent
CLAIMED = 1  # ordinals below this have begun, or will
SINCE = 2  # when the running one began (monotonic nanoseconds), 0 between items; only if asked for
LIMIT = 3  # ordinals below this, from FLOOR on and not claimed, have been taken back
FLOOR = 4

#: A byte rather than a word: how far beyond `AT`, within a block of so many items.
STEP = 64
BLOCK = 256

#: Seconds in which a write to shared memory is seen by every core. Store buffers drain in well under
#: a microsecond; this is what the shortest sleep takes anyway.
VISIBLE = 20e-6


class Cell:
    """Both sides' view of the words."""

    __slots__ = ("_map", "steps", "words")

    def __init__(self, fd: int) -> None:
        self._map: mmap.mmap | None = _memory.shared(fd, SIZE)
        self.words = memoryview(self._map).cast("q")
        self.steps = memoryview(self._map)

    def take_back(self, floor: int, limit: int) -> int:
        """Take back what is from `floor` to `limit` and has not begun; answer where that begins."""
        self.words[FLOOR] = floor
        self.words[LIMIT] = limit
        time.sleep(VISIBLE)
        return max(floor, self.words[CLAIMED])

    def running(self) -> tuple[int, int]:
        """The ordinal that is running and since when; when is 0 between items."""
        while True:
            at, step, since = self.words[AT], self.steps[STEP], self.words[SINCE]
            if self.words[AT] == at:
                return (at if at < 0 else at + step), since

    def close(self) -> None:
        """Give the memory back."""
        self.words.release()
        self.steps.release()
        if self._map is not None:
            self._map.close()
            self._map = None
