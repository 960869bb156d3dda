"""A traceback's journey between processes: its frames, as files, names and lines, and frames like them."""

from __future__ import annotations

import sys
from types import FunctionType, TracebackType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: Frames of a traceback that are carried: the outermost and the innermost hundred.
_FRAMES = 200


def frames_of(traceback: TracebackType | None) -> list[tuple[str, str, int]]:
    """File, qualified name and line of each frame, from the outermost to where it was raised."""
    frames: list[tuple[str, str, int]] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append((code.co_filename, code.co_qualname, traceback.tb_lineno))
        traceback = traceback.tb_next
    if len(frames) > _FRAMES:
        frames[_FRAMES // 2 : -_FRAMES // 2] = []
    return frames


_stub = lambda: sys._getframe()  # noqa: E731, PLW0108 -- on one line, so that all of it is that line


def _line_table(units: int) -> bytes:
    """A location table that says: all on the first line, in columns nobody knows.

    The format is in CPython's `InternalDocs/code_objects.md`: entries of kind 13 for up to eight code
    units each, and no change of line. Without it, marks would be printed below the wrong words.
    """
    entries = [0x80 | 13 << 3 | min(8, units - at) - 1 for at in range(0, units, 8)]
    return b"".join(bytes((entry, 0)) for entry in entries)


_LINE_TABLE = _line_table(len(_stub.__code__.co_code) // 2)


def traceback_of(frames: Sequence[tuple[str, str, int]]) -> TracebackType | None:
    """A traceback that shows frames of another process.

    Each frame is that of a function which does nothing but hand it out, under the name and file of the
    original; jinja2 and tblib do likewise.
    """
    traceback = None
    for filename, qualname, line in reversed(frames):
        code = _stub.__code__.replace(
            co_filename=filename,
            co_name=qualname.rpartition(".")[2],
            co_qualname=qualname,
            co_firstlineno=max(line, 1),
            co_linetable=_LINE_TABLE,
        )
        frame = FunctionType(code, {"sys": sys, "__name__": "parmap.remote"})()
        traceback = TracebackType(traceback, frame, frame.f_lasti, max(line, 1))
    return traceback
