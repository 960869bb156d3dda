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
LIMIT = 3  # ordinals below this and not claimed have been taken back,
KEPT_LOW = 4  # but for those from this
KEPT_HIGH = 5  # to before this: read before KEPT_LOW, and written after it
HEEDS = 6  # 1 if the worker tells what is done when it is urged (`_early`)

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

    def take_back(self, kept: tuple[int, int], limit: int) -> int:
        """Take back what is below `limit` and has not begun, but for what is `kept`.

        Answers where that begins. What was taken back before stays so, though the worker may not have
        come to it yet; therefore what is kept has a lower end, too, and is never seen half written.
        """
        self.words[KEPT_HIGH] = 0
        self.words[KEPT_LOW], self.words[KEPT_HIGH] = kept
        self.words[LIMIT] = limit
        time.sleep(VISIBLE)
        return max(kept[1], self.words[CLAIMED])

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
