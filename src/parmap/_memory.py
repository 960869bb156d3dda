"""Anonymous memory: for large buffers, which travel beside the socket, and for the cells of workers.

It has no name, so nothing is left behind by a process that is killed, and the size of `/dev/shm` does
not matter. Space is reserved before it is used: a full system is an `OSError` here, not a SIGBUS later.
"""

from __future__ import annotations

import mmap
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: Parts at least this large travel beside the socket. Below it a socket whose receiver reuses its
#: buffer is faster than fresh memory (measured: they meet at about one megabyte).
BESIDE = 1 << 20

#: Where each buffer starts in a segment: a cache line, which is what NumPy and Arrow like.
ALIGN = 64


def layout(lengths: Sequence[int]) -> tuple[list[int], int]:
    """Where buffers of these lengths stand in one segment, and the size of it."""
    offsets: list[int] = []
    at = 0
    for length in lengths:
        offsets.append(at)
        at += -(-length // ALIGN) * ALIGN
    return offsets, at


def anonymous_file(size: int) -> int:
    """A descriptor of `size` reserved bytes without a name.

    Raises:
        OSError: There is no room, or no descriptor left.
    """
    if sys.platform == "linux":
        fd = os.memfd_create("parmap", os.MFD_CLOEXEC)
    else:
        import tempfile

        fd, path = tempfile.mkstemp(prefix="parmap-")
        os.unlink(path)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, size)
        else:
            os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        raise
    return fd


def store(buffers: Sequence[memoryview]) -> int:
    """Write buffers into a new segment and answer its descriptor.

    Raises:
        OSError: There is no room, or no descriptor left.
    """
    offsets, size = layout([buffer.nbytes for buffer in buffers])
    fd = anonymous_file(size)
    try:
        for offset, buffer in zip(offsets, buffers, strict=True):
            written = 0
            while written < buffer.nbytes:
                written += os.pwrite(fd, buffer[written:], offset + written)
    except BaseException:
        os.close(fd)
        raise
    return fd


def load(fd: int, lengths: Sequence[int]) -> list[memoryview]:
    """The buffers in a segment, writable and private to this process; closes the descriptor.

    Raises:
        OSError: The memory cannot be had.
    """
    offsets, size = layout(lengths)
    try:
        if sys.version_info >= (3, 13):
            # Copy-on-write, and the mapping keeps no descriptor: ten thousand live arrays cost none.
            whole = memoryview(mmap.mmap(fd, size, access=mmap.ACCESS_COPY, trackfd=False))
        else:
            whole = memoryview(bytearray(size))
            filled = 0
            while filled < size:
                got = os.preadv(fd, [whole[filled:]], filled)
                if got == 0:
                    msg = "a memory segment is shorter than was said"
                    raise OSError(msg)
                filled += got
    finally:
        os.close(fd)
    return [
        whole[offset : offset + length] for offset, length in zip(offsets, lengths, strict=True)
    ]


def shared(fd: int, size: int) -> mmap.mmap:
    """Map `size` bytes that all processes with this descriptor see alike."""
    return mmap.mmap(fd, size)


def resident(pid: int | str = "self") -> int:
    """The resident memory of a process in bytes; 0 where it cannot be known."""
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
