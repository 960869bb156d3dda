"""Anonymous memory: for large buffers, which travel beside the socket, and for the cells of workers.

It has no name, so nothing is left behind by a process that is killed, and the size of `/dev/shm` does
not matter. Space is reserved, or written by a system call, before it is used as memory: a full system
is an `OSError` here, not a SIGBUS later.
"""

from __future__ import annotations

import mmap
import os
import sys

from ._handlers import let_pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: Parts at least this large travel beside the socket. Below it a socket whose receiver reuses its
#: buffer is faster than fresh memory (measured: they meet at about one megabyte).
BESIDE = 1 << 20

#: The share of its descriptors that a process may spend on mappings, where each takes one.
_SHARE = 8

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
    if sys.platform == "linux" and hasattr(os, "memfd_create"):
        fd = os.memfd_create("parmap", os.MFD_CLOEXEC)
    else:
        import tempfile

        fd, path = tempfile.mkstemp(prefix="parmap-")
        os.unlink(path)
    try:
        reserve(fd, size)
    except BaseException:
        os.close(fd)
        raise
    return fd


def reserve(fd: int, size: int) -> None:
    """Let an anonymous file have this size.

    Raises:
        OSError: There is no room.
    """
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    else:
        os.ftruncate(fd, size)


def write(fd: int, buffers: Sequence[memoryview]) -> int:
    """Write buffers into an anonymous file, which grows as it must, and answer their size together.

    Raises:
        OSError: There is no room.
    """
    offsets, size = layout([buffer.nbytes for buffer in buffers])
    for offset, buffer in zip(offsets, buffers, strict=True):
        written = 0
        while written < buffer.nbytes:
            written += os.pwrite(fd, buffer[written:], offset + written)
    if size > offsets[-1] + buffers[-1].nbytes:
        os.pwrite(fd, b"\0", size - 1)  # so that all of it can be mapped
    return size


def load(fd: int, size: int) -> mmap.mmap | bytearray:
    """What an anonymous file holds, writable and private to this process; closes the descriptor.

    A `bytearray` is a copy; a mapping is one only as far as it is written to.

    Raises:
        OSError: The memory cannot be had.
    """
    try:
        try:
            if sys.version_info >= (3, 13):
                # The mapping keeps no descriptor: ten thousand live arrays cost none.
                return mmap.mmap(fd, size, access=mmap.ACCESS_COPY, trackfd=False)
            if fd < os.sysconf("SC_OPEN_MAX") // _SHARE:
                return mmap.mmap(fd, size, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:
            let_pass(error)  # else there are too many, or the file is too short: the copy will tell
        return _copied(fd, size)
    finally:
        os.close(fd)


def _copied(fd: int, size: int) -> bytearray:
    whole = bytearray(size)
    view = memoryview(whole)
    filled = 0
    while filled < size:
        got = os.preadv(fd, [view[filled:]], filled)
        if got == 0:
            msg = "a memory segment is shorter than was said"
            raise OSError(msg)
        filled += got
    return whole


def cut(whole: memoryview, lengths: Sequence[int]) -> list[memoryview]:
    """The buffers of these lengths in a segment."""
    offsets, _ = layout(lengths)
    return [
        whole[offset : offset + length] for offset, length in zip(offsets, lengths, strict=True)
    ]


def shared(fd: int, size: int) -> mmap.mmap:
    """Map `size` bytes that all processes with this descriptor see alike."""
    return mmap.mmap(fd, size)


def readable(fd: int, size: int) -> mmap.mmap:
    """Map `size` bytes to be read only."""
    return mmap.mmap(fd, size, access=mmap.ACCESS_READ)


def resident(pid: int | str = "self") -> int:
    """The resident memory of a process in bytes; 0 where it cannot be known."""
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError) as error:
        let_pass(error)
        return 0
