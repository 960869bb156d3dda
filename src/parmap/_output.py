"""What workers print, written to the caller's streams as if it had been printed here.

So a worker encodes text as the caller's stream would: what cannot be encoded fails where it is printed, as
it does in serial code. Bytes that are no text go past the stream's own encoding.
"""

from __future__ import annotations

import io
import sys

from ._handlers import let_pass
from ._wire import OUTPUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ._link import News

    Voice = tuple[str, str]

#: The encoding, and what to do about errors, of what goes to a stream that only takes text.
PLAIN: Voice = ("utf-8", "backslashreplace")

_write: Any = getattr(io.TextIOWrapper, "write")  # noqa: B009 -- for type checkers


def voices() -> tuple[Voice, Voice]:
    """How standard output and standard error are to be encoded by workers."""
    return _voice(sys.stdout), _voice(sys.stderr)


def _voice(stream: Any) -> Voice:
    # One that writes in a way of its own, to two files, say, is to be given text; and so is one whose
    # encoding begins with a mark, of which there must not be another.
    kind: Any = type(stream)
    if not isinstance(stream, io.TextIOWrapper) or kind.write is not _write:
        return PLAIN
    if "write" in vars(stream):  # somebody has put his own in its place
        return PLAIN
    try:
        encoding, errors = stream.encoding, stream.errors
        return PLAIN if not errors or "".encode(encoding) else (encoding, errors)
    except (ValueError, LookupError):
        return PLAIN  # it has been detached


def show(number: int, encoding: str, data: bytes) -> None:
    """Write what a worker has written to where it belongs here."""
    stream = sys.stdout if number == 1 else sys.stderr
    if stream is None:
        return
    voice = _voice(stream)
    text = _as_text(data, encoding)
    if text is None and voice is not PLAIN and voice[0] == encoding:
        stream.flush()
        stream.buffer.write(data)
    else:  # which writes lines' ends as the stream does
        stream.write(data.decode(encoding, "replace") if text is None else text)
    stream.flush()


def _as_text(data: bytes, encoding: str) -> str | None:
    """What a stream of this encoding writes as these bytes, if there is such a thing."""
    try:
        text = data.decode(encoding)
        return text if text.encode(encoding) == data else None
    except ValueError:
        return None


def show_all(news: Sequence[News]) -> None:
    """Write what workers have written, and ignore all else that they say.

    They are being ended, which must go on though nobody may read any more.
    """
    for item in news:
        if item.kind == OUTPUT:
            try:
                show(*item.payload)
            except (OSError, ValueError) as error:
                let_pass(error)
