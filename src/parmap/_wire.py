"""Bytes to frames and back. Knows neither pickle nor sockets.

A frame is a kind and some parts, each a run of bytes:

    magic (1 byte) · kind (1) · reserved (2) · number of parts (4) · a length for each part (8 each) · parts

A length with `ELSEWHERE` set belongs to a part that does not follow in the stream: it travels beside
it, in memory whose descriptor comes along (`_channel`). Any split of the stream gives the same frames.
"""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Kinds. A value that a user returns is never one of these: it is always inside a part.
HELLO = 1  # to a worker: who it is, what it is to set up
READY = 2  # from a worker: set up; its pid
SETUP_FAILED = 3  # from a worker: what failed before its first item, and what was raised
CALL = 4  # to a worker: a function and what the call brings along
CALL_FAILED = 5  # from a worker: the function cannot be loaded there
ITEMS = 6  # to a worker: items of that call
RESULTS = 7  # from a worker: results, in order
FAILED = 8  # from a worker: an item's exception
DROPPED = 9  # from a worker: items that it will not run
OUTPUT = 10  # from a worker: text for a standard stream
LEAVING = 11  # from a worker: it ends of its own accord; nothing follows
END = 12  # to a worker: no more calls
FORK = 13  # to the clean server: a worker, please; descriptors come along
KILL = 14  # to the clean server: signal a worker's process group
EXITED = 15  # from the clean server: a worker's exit status
FREED = 16  # from a receiver of segments: their numbers, eight bytes each, for their sender
PRELOADS = 17  # from the clean server: the module that it imports now, if any, or why it cannot
AREA = 18  # to a worker: memory for its results; a descriptor comes along
SHARE = 19  # to the clean server: modules of the standard library that its next workers will need
TRACKER = 20  # to a worker: the way to the caller's resource tracker; a descriptor comes along
TRACKED = 21  # from a worker: something to be tracked, or no longer
DEFINE = 22  # to a worker: classes that items refer to by their numbers
KINDS = frozenset(range(HELLO, DEFINE + 1))

MAGIC = 0xA7
ELSEWHERE = 1 << 63

_HEAD = Struct("<BBxxI")
#: Nearly all frames have few parts: to make a `Struct` takes longer than to use it.
_FEW = 10
_HEADS = tuple(Struct(f"<BBxxI{count}Q") for count in range(_FEW))
_LENGTHS = tuple(Struct(f"<{count}Q") for count in range(_FEW))
_MOST_PARTS = 1 << 24
_LONGEST = 1 << 46  # more than any machine has: such a length is no length of ours

#: Bytes asked of the system at once: first so many, then, after so many have come, more. Fresh memory is
#: dear, and most connections of a short process never carry much.
_LITTLE = 1 << 12
#: Bodies longer than this are received in place, uncopied.
SCRATCH = 1 << 16


class WireError(Exception):
    """The stream holds something that is not a frame."""


class Frame:
    """A kind and its parts; `beside` are the lengths of those that travel beside the stream."""

    __slots__ = ("beside", "kind", "parts")

    def __init__(self, kind: int, parts: Sequence[memoryview | None], beside: list[int]) -> None:
        self.kind = kind
        self.parts = parts  # None: to be filled in from beside the stream, in order
        self.beside = beside


def head(kind: int, lengths: Sequence[int]) -> bytes:
    """What precedes the parts of a frame; lengths may carry `ELSEWHERE`."""
    count = len(lengths)
    form = _HEADS[count] if count < _FEW else Struct(f"<BBxxI{count}Q")
    return form.pack(MAGIC, kind, count, *lengths)


class Decoder:
    """Puts frames together. Write received bytes into `space()`, then say how many with `put()`."""

    __slots__ = ("_body", "_filled", "_kind", "_lengths", "_pending", "_scratch", "_size")

    def __init__(self) -> None:
        self._scratch = memoryview(bytearray(_LITTLE))
        self._pending = b""  # received, but not a whole frame yet
        self._body: memoryview | None = None  # a large body, received in place
        self._filled = 0
        self._kind = 0
        self._lengths: tuple[int, ...] = ()
        self._size = 0  # of all parts that are in the stream

    def space(self) -> memoryview:
        """Where the next bytes are to be put."""
        return self._scratch if self._body is None else self._body[self._filled :]

    @property
    def midway(self) -> bool:
        """Whether the stream stands inside a frame."""
        return bool(self._pending) or self._body is not None

    def put(self, count: int) -> list[Frame]:
        """Take in `count` bytes that stand in `space()`; answer the frames that are now whole."""
        if self._body is not None:
            self._filled += count
            if self._filled < len(self._body):
                return []
            body, self._body = self._body, None
            return [_cut(self._kind, self._lengths, body)]
        data = bytes(self._scratch[:count])
        if count == _LITTLE == len(self._scratch):
            self._scratch = memoryview(bytearray(SCRATCH))
        if self._pending:
            data = self._pending + data
        view = memoryview(data)
        frames: list[Frame] = []
        at = 0
        while len(data) - at >= _HEAD.size:
            after = self._parse_head(data, at)
            if after is None:
                break
            end = after + self._size
            if end > len(data):
                if self._size > SCRATCH:
                    self._body = memoryview(bytearray(self._size))
                    self._filled = len(data) - after
                    self._body[: self._filled] = view[after:]
                    at = len(data)
                break
            at = end
            frames.append(_cut(self._kind, self._lengths, view[after:end]))
        self._pending = data[at:]
        return frames

    def _parse_head(self, data: bytes, at: int) -> int | None:
        """Read a frame's head into the state; answer where its body begins, None if it is cut."""
        count: int
        magic, kind, count = _HEAD.unpack_from(data, at)
        if magic != MAGIC or kind not in KINDS or count > _MOST_PARTS:
            msg = f"not a frame: {data[at : at + _HEAD.size].hex()}"
            raise WireError(msg)
        at += _HEAD.size
        if len(data) - at < 8 * count:
            return None
        form = _LENGTHS[count] if count < _FEW else Struct(f"<{count}Q")
        self._kind = kind
        self._lengths = form.unpack_from(data, at)
        self._size = sum(self._lengths)
        if self._size > _LONGEST:
            self._size = _size_in_stream(self._lengths)
        return at + 8 * count


def _size_in_stream(lengths: Sequence[int]) -> int:
    """The size of those parts that do not travel beside the stream."""
    size = sum(length for length in lengths if length < ELSEWHERE)
    if size > _LONGEST or any(length & ~ELSEWHERE > _LONGEST for length in lengths):
        msg = f"not a frame: parts of {size} bytes and more"
        raise WireError(msg)
    return size


def _cut(kind: int, lengths: Sequence[int], body: memoryview) -> Frame:
    if len(lengths) == 1 and len(body) == lengths[0]:
        return Frame(kind, [body], [])
    parts: list[memoryview | None] = []
    beside: list[int] = []
    at = 0
    for length in lengths:
        if length & ELSEWHERE:
            parts.append(None)
            beside.append(length & ~ELSEWHERE)
        else:
            parts.append(body[at : at + length])
            at += length
    return Frame(kind, parts, beside)
