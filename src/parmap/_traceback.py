"""A traceback's journey between processes: its frames, as files, names and lines, and frames like them."""

from __future__ import annotations

import os
from types import FunctionType, TracebackType

from . import _kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

_PACKAGE = os.path.dirname(__file__) + os.sep

#: Frames of a traceback that are carried: the outermost and the innermost hundred.
_FRAMES = 200


def below_ours(traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins with the user's code."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        traceback = traceback.tb_next
    return traceback


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


# fmt: off
def _stub() -> Iterator[None]: yield  # so that all of it is one line
# fmt: on


def _line_table(units: int) -> bytes:
    """A location table that says: all on the first line, in columns nobody knows.

    The format is in CPython's `InternalDocs/code_objects.md`: entries of kind 13 for up to eight code
    units each, and no change of line. Without it, marks would be printed below the wrong words.
    """
    entries = [0x80 | 13 << 3 | min(8, units - at) - 1 for at in range(0, units, 8)]
    return b"".join(bytes((entry, 0)) for entry in entries)


#: Frames that were made, by what they show: they can all be used again.
_frames: dict[tuple[str, str, int], FrameType] = {}
_MOST_FRAMES = 500

_LINE_TABLE = _line_table(len(_stub.__code__.co_code) // 2)


def traceback_of(frames: Sequence[tuple[str, str, int]]) -> TracebackType | None:
    """A traceback that shows frames of another process."""
    traceback = None
    for where in reversed(frames):
        frame = _frames.get(where)
        if frame is None:
            _kept.make_room(_frames, _MOST_FRAMES)
            frame = _frames[where] = _frame_of(*where)
        traceback = TracebackType(traceback, frame, frame.f_lasti, max(where[2], 1))
    return traceback


def _frame_of(filename: str, qualname: str, line: int) -> FrameType:
    """The frame of a function that does nothing, under the name and file of the original.

    jinja2 and tblib do likewise. But this is a generator that never begins: the frame of a function that
    was called would keep all those that led to the call, with all that these hold.
    """
    code = _stub.__code__.replace(
        co_filename=filename,
        co_name=qualname.rpartition(".")[2],
        co_qualname=qualname,
        co_firstlineno=max(line, 1),
        co_linetable=_LINE_TABLE,
    )
    frame: FrameType = FunctionType(code, {"__name__": "parmap.remote"})().gi_frame
    return frame
