"""Large buffers beside a channel, in memory that is used again.

To write into fresh memory takes three times as long as into memory that is there. So the sender keeps
a segment when the receiver has let go of everything in it, and fills it again. The receiver maps it
copy-on-write: what it changes is its own, and what it has not changed must not change under it. So a
segment that is kept alive, by a function that stores its array or by a process forked meanwhile, is
never reported as free, and never written to again.

A segment's number is its place among all that were sent over the channel, so it needs no mention.
"""

from __future__ import annotations

import os
from _weakref import ref
from itertools import count

from . import _launch, _memory
from ._owned import owned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Segments that a sender keeps for the next buffers, and those lent that it hopes to see again.
KEPT = 4

#: A segment this many times as large as what it is to hold is given up: one giant must not stay.
TOO_LARGE = 4


class Segment:
    """A descriptor of anonymous memory; closed when nobody refers to it any more."""

    __slots__ = ("_owner", "fd", "size")

    def __init__(self) -> None:
        self.fd = -1
        self.size = 0
        _launch.undisturbed(self._open)

    def _open(self) -> None:
        self.fd = _memory.anonymous_file(0)
        self._owner = owned(self.fd)

    def fill(self, buffers: Sequence[memoryview]) -> None:
        """Write buffers into it.

        Raises:
            OSError: There is no room.
        """
        self.size = max(self.size, _memory.write(self.fd, buffers))


class Lender:
    """The sender's side."""

    __slots__ = ("_free", "_lent", "_next")

    def __init__(self) -> None:
        self._free: list[Segment] = []
        self._lent: dict[int, Segment] = {}
        self._next = 0

    @property
    def keeps(self) -> bool:
        """Whether it holds memory, to use it again."""
        return bool(self._free or self._lent)

    def lend(self, buffers: Sequence[memoryview]) -> Segment:
        """A segment that holds these, to be sent now or later, after all others.

        Raises:
            OSError: There is no room, or no descriptor left.
        """
        wanted = sum(buffer.nbytes for buffer in buffers)
        segment = self._free.pop() if self._free else None
        if segment is None or segment.size > TOO_LARGE * max(wanted, _memory.BESIDE):
            segment = Segment()
        segment.fill(buffers)
        if len(self._lent) >= KEPT:
            del self._lent[next(iter(self._lent))]  # somebody keeps what is in it
        self._lent[self._next] = segment
        self._next += 1
        return segment

    def pass_on(self) -> None:
        """Count a segment that others have, too, and that does not come back."""
        self._next += 1

    def take_back(self, numbers: Iterable[int]) -> None:
        """Hear that the receiver has let go of these."""
        for number in numbers:
            segment = self._lent.pop(number, None)
            if segment is not None and len(self._free) < KEPT:
                self._free.append(segment)

    def rest(self) -> None:
        """Let go of all: what is not in use, and what is lent, which ends with the receiver's mapping."""
        self._free.clear()
        self._lent.clear()


class Borrower:
    """The receiver's side."""

    __slots__ = ("__weakref__", "_copied", "_gone", "_next", "_watched")

    def __init__(self) -> None:
        self._copied: list[int] = []
        # The segments of what is mapped, by the identity of the reference that waits for its end; and
        # those references whose mappings have ended.
        self._watched: dict[int, tuple[ref[object], int]] = {}
        self._gone: list[ref[object]] = []
        self._next = 0

    def load(self, fd: int, lengths: Sequence[int]) -> list[memoryview]:
        """The buffers of the next segment, writable and private; closes the descriptor.

        Raises:
            OSError: The memory cannot be had.
        """
        number = self._next
        self._next += 1
        forks = _forks
        whole = _memory.load(fd, _memory.layout(lengths)[1])
        if isinstance(whole, bytearray):
            self._copied.append(number)
        else:
            self._watch(whole, number, forks)
        return _memory.cut(memoryview(whole), lengths)

    def freed(self) -> list[int]:
        """The segments of which nothing is left here since the last time."""
        numbers, self._copied = self._copied, []
        while self._gone:
            reference = self._gone.pop()
            _, number = self._watched.pop(id(reference), (None, None))
            if number is not None:
                numbers.append(number)
        return numbers

    def _watch(self, whole: object, number: int, forks: int) -> None:
        # The end of a mapping takes its time, so Ctrl-C may well come in it: a function of Python's that
        # is called back then would be where it comes up, and is lost.
        reference = ref(whole, self._gone.append)
        self._watched[id(reference)] = reference, number
        if not any(self is other() for other in _borrowers):
            _borrowers[:] = [other for other in _borrowers if other() is not None]
            _borrowers.append(ref(self))
        if forks != _forks:  # another thread has forked since it was mapped
            self._watched.pop(id(reference), None)

    def forget_all(self) -> None:
        """Hear of the end of none that is mapped now."""
        self._watched.clear()


_borrowers: list[ref[Borrower]] = []  # those that watch something
_forks = 0  # how often this process was about to fork


def _forget_all() -> None:
    """A forked process has the same mappings, and nobody hears when it lets go of them."""
    global _forks  # noqa: PLW0603 -- counted for the whole process
    _forks += 1
    for reference in _borrowers[:]:  # other threads may come here, too
        borrower = reference()
        if borrower is not None:
            borrower.forget_all()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forget_all)


# --- one copy for all receivers -------------------------------------------------------------------

#: Bytes compared at once: what a cache holds twice.
_PIECE = 1 << 18


class Shared(Segment):
    """The large parts of something that several receivers get, once for all of them.

    It lives as long as somebody refers to it, and is found again by what it holds.
    """

    __slots__ = ("__weakref__", "key", "parts")

    def __init__(self, parts: Sequence[bytes | memoryview]) -> None:
        super().__init__()
        large = [memoryview(part) for part in parts if len(part) >= _memory.BESIDE]
        self.fill(large)
        whole = memoryview(_memory.readable(self.fd, self.size))
        held = iter(_memory.cut(whole, [len(part) for part in large]))
        self.parts = [next(held) if len(part) >= _memory.BESIDE else part for part in parts]
        small = b"".join(part for part in parts if len(part) < _memory.BESIDE)
        self.key = small + b"%d in shared memory" % next(_serial)

    def holds(self, parts: Sequence[bytes | memoryview]) -> bool:
        """Whether these are its parts."""
        if list(map(len, parts)) != list(map(len, self.parts)):
            return False
        pairs = sorted(zip(parts, self.parts, strict=True), key=lambda pair: len(pair[0]))
        return all(_equal(memoryview(one), memoryview(other)) for one, other in pairs)


_shared: list[ref[Shared]] = []
_serial = count()


def share(parts: Sequence[bytes | memoryview]) -> Shared:
    """Shared memory that holds these parts, an older one if it still does.

    Raises:
        OSError: There is no room, or no descriptor left.
    """
    known = [shared for reference in _shared if (shared := reference()) is not None]
    for shared in known:
        if shared.holds(parts):
            return shared
    made = Shared(parts)
    _shared[:] = map(ref, [*known, made])
    return made


def _equal(one: memoryview, other: memoryview) -> bool:
    # A view compares value by value; a bytearray compares memory, twenty times as fast.
    return all(
        bytearray(one[at : at + _PIECE]) == other[at : at + _PIECE]
        for at in range(0, len(one), _PIECE)
    )
