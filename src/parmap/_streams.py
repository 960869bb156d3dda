"""A worker's standard streams: what the function prints is sent to the caller."""

from __future__ import annotations

import codecs
import io
import os

from . import _handlers
from ._channel import Closed
from ._output import PLAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._output import Voice


def known(voices: tuple[Voice, Voice]) -> tuple[Voice, Voice]:
    """The same, plain where there is no such thing here: the program may have registered it by itself."""
    out, err = voices
    return _known(out), _known(err)


def _known(voice: Voice) -> Voice:
    try:
        codecs.lookup(voice[0])
        codecs.lookup_error(voice[1])
    except LookupError as error:
        _handlers.let_pass(error)
        return PLAIN
    return voice


def open_stream(
    number: int, voice: Voice, forward: Callable[[int, bytes], None]
) -> io.TextIOWrapper:
    """The stream that stands for descriptor 1 or 2; whole lines are forwarded at once."""
    encoding, errors = voice
    return _Stream(
        _Buffer(_Forwarder(forward, number)),
        encoding=encoding,
        errors=errors,
        line_buffering=True,
    )


# A function cannot close these for those that come after it, nor can another stream that it puts over them,
# when that is dropped.


class _Stream(io.TextIOWrapper):
    def close(self) -> None:
        self.flush()

    def detach(self) -> Any:
        self.flush()
        return self.buffer


class _Buffer(io.BufferedWriter):
    def close(self) -> None:
        self.flush()


class _Forwarder(io.RawIOBase):
    """Forwards what is written."""

    def __init__(self, forward: Callable[[int, bytes], None], number: int) -> None:
        self._forward = forward
        self._number = number
        self._pid = os.getpid()
        # What is forwarded and will be offered again, since a signal handler has raised something.
        self._kept = b""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def write(self, data: Any) -> int:
        if os.getpid() != self._pid:  # a process that an item has forked: it speaks for itself
            return os.write(self._number, data)
        whole = bytes(data)
        count = len(whole)  # here, since after a call a handler may be called
        _handlers.put_off(lambda: self._write(whole))
        self._kept = b""
        return count

    def _write(self, whole: bytes) -> None:
        try:
            self._forward(self._number, whole.removeprefix(self._kept))
        except Closed:
            pass  # nobody listens any more
        # What is larger than the buffer comes past it, and is not offered again.
        self._kept = whole if len(whole) <= io.DEFAULT_BUFFER_SIZE else b""
