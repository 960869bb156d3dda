"""An exception's journey between processes.

An exception should arrive as itself: its class, `args`, attributes, notes, causes, and a traceback that
shows where it was raised. `pickle` alone loses the last two, calls `__init__` with arguments that may
not fit, and fails as a whole where one attribute cannot be carried.
"""

from __future__ import annotations

import os
import sys
from types import FunctionType, TracebackType

from . import _codec
from ._byvalue import RAISED
from ._errors import RemoteError, WorkerDied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_PACKAGE = os.path.dirname(__file__) + os.sep

#: Links of a chain of causes, or groups within groups, that are carried. The interpreter itself can hardly
#: show more.
_CHAIN = 50

#: Frames of a traceback that are carried: the outermost and the innermost hundred.
_FRAMES = 200

#: Characters of a message in a `RemoteError`.
_MESSAGE = 100_000


# --- in the worker --------------------------------------------------------------------------------


def pack(error: BaseException) -> bytes:
    """Serialise an exception with its chain, without our own frames above those of the user's code."""
    return _codec.pack_plain(_describe(error, {}, 0))


def _describe(error: BaseException, seen: dict[int, int], depth: int) -> Any:
    """The exception as nested tuples of built-in types; an exception seen before as its number."""
    if id(error) in seen:
        return seen[id(error)]
    if depth >= _CHAIN:
        return None
    seen[id(error)] = len(seen)
    body = _group(error, seen, depth) if isinstance(error, BaseExceptionGroup) else _body(error)
    traceback = error.__traceback__
    while depth == 0 and traceback is not None and _is_ours(traceback):
        traceback = traceback.tb_next
    frames = _frames(traceback)
    cause, context = (
        None if one is None else _describe(one, seen, depth + 1)
        for one in (error.__cause__, error.__context__)
    )
    return body, frames, cause, context, error.__suppress_context__


def _body(error: BaseException) -> tuple[str, Any]:
    by_pickle = _packed(error)
    if by_pickle is not None and _survives(by_pickle, error):
        return "pickle", by_pickle
    cls, args = _packed(type(error)), _packed(error.args)
    if cls is not None and args is not None:
        state = {key: _packed(value) for key, value in error.__dict__.items()}
        return "parts", (cls, args, {key: value for key, value in state.items() if value})
    kind = type(error)
    message = _text(error)[:_MESSAGE]
    return "text", (f"{kind.__module__}.{kind.__qualname__}", message, _trace(error))


def _group(error: BaseExceptionGroup[Any], seen: dict[int, int], depth: int) -> tuple[str, Any]:
    """A group with its members, each as carefully as if it stood alone."""
    cls = _packed(type(error))
    if cls is None or depth + 1 >= _CHAIN:
        return _body(error)  # no member must have been described: it would have got a number
    members = [_describe(member, seen, depth + 1) for member in error.exceptions]
    state = {key: _packed(value) for key, value in error.__dict__.items()}
    kept = {key: value for key, value in state.items() if value}
    return "group", (cls, error.message, members, kept)


def _packed(value: object) -> bytes | None:
    try:
        return b"".join(_codec.pack(value, copy=False, beside=False, home=True).parts)
    except (
        BaseException
    ):  # a `__reduce__` may raise SystemExit, which is not what the function raised
        return None


def _survives(data: bytes, error: BaseException) -> bool:
    """Whether what arrives is the same: `__init__` may not take `args`, or may change them."""
    try:
        again = _codec.unpack([memoryview(data)])
        if type(again).__qualname__ != type(error).__qualname__:
            return False
        return repr(again.args) == repr(error.args) and set(again.__dict__) == set(error.__dict__)
    except BaseException:
        return False


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except RAISED as failure:
        return f"<its __str__ raised {type(failure).__name__}>"


def said(error: BaseException) -> str:
    """`KeyError: 'k'`, whatever its `__str__` does."""
    return f"{type(error).__name__}: {_text(error)}"


def _trace(error: BaseException) -> str:
    import traceback

    try:
        return "".join(traceback.format_exception(error))
    except Exception:
        return "".join(traceback.format_tb(error.__traceback__))


def _is_ours(traceback: TracebackType) -> bool:
    return traceback.tb_frame.f_code.co_filename.startswith(_PACKAGE)


def _frames(traceback: TracebackType | None) -> list[tuple[str, str, int]]:
    frames: list[tuple[str, str, int]] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append((code.co_filename, code.co_qualname, traceback.tb_lineno))
        traceback = traceback.tb_next
    if len(frames) > _FRAMES:
        frames[_FRAMES // 2 : -_FRAMES // 2] = []
    return frames


# --- in the caller --------------------------------------------------------------------------------


def unpack(data: memoryview | bytes) -> BaseException:
    """The exception again."""
    return _rebuild(_codec.unpack([memoryview(data)]), [])


def _rebuild(described: Any, known: list[BaseException]) -> BaseException:
    if isinstance(described, int):
        return known[described]
    body, frames, cause, context, suppress = described
    at = len(known)
    known.append(RemoteError("", "", ""))  # its number is taken before those of a group's members
    if body[0] == "group":
        cls, message, members, state = body[1]
        error = _revived_group(cls, message, [_rebuild(member, known) for member in members], state)
    else:
        error = _revive(*body)
    known[at] = error
    # In the order of `_describe`, so that the numbers fit.
    if cause is not None:
        error.__cause__ = _rebuild(cause, known)
    if context is not None:
        error.__context__ = _rebuild(context, known)
    error.__suppress_context__ = suppress
    return error.with_traceback(_traceback(frames))


def _revive(how: str, what: Any) -> BaseException:
    if how == "text":
        return RemoteError(*what)
    try:
        if how == "pickle":
            return _checked(_codec.unpack([memoryview(what)]))
        cls, args = (_codec.unpack([memoryview(part)]) for part in what[:2])
        error = cls.__new__(cls, *args)
        error.args = args
        for key, value in what[2].items():
            error.__dict__[key] = _codec.unpack([memoryview(value)])
        return _checked(error)
    except RAISED as failure:
        return RemoteError("an exception that cannot be unpickled here", said(failure), "")


def _revived_group(
    cls: bytes, message: str, members: list[BaseException], state: dict[str, bytes]
) -> BaseException:
    try:
        kind = _codec.unpack([memoryview(cls)])
        error: BaseException = kind.__new__(kind, message, members)
        for key, value in state.items():
            error.__dict__[key] = _codec.unpack([memoryview(value)])
    except RAISED:
        return BaseExceptionGroup(message, members)
    return error


def _checked(error: Any) -> BaseException:
    if not isinstance(error, BaseException):
        msg = f"{type(error).__name__} is not an exception"
        raise TypeError(msg)
    return error


_stub = lambda: sys._getframe()  # noqa: E731, PLW0108 -- on one line, so that all of it is that line


def _line_table(units: int) -> bytes:
    """A location table that says: all on the first line, in columns nobody knows.

    The format is in CPython's `InternalDocs/code_objects.md`: entries of kind 13 for up to eight code
    units each, and no change of line. Without it, marks would be printed below the wrong words.
    """
    entries = [0x80 | 13 << 3 | min(8, units - at) - 1 for at in range(0, units, 8)]
    return b"".join(bytes((entry, 0)) for entry in entries)


_LINE_TABLE = _line_table(len(_stub.__code__.co_code) // 2)


def _traceback(frames: Sequence[tuple[str, str, int]]) -> TracebackType | None:
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


def annotate(error: BaseException, index: int | None, call: str) -> BaseException:
    """Let an exception say which item of which call it belongs to."""
    if index is None:
        return error
    if isinstance(error, WorkerDied) and error.index is None:
        error.index = index  # it was not running yet, but it is the one that must fail for it
    try:
        error.parmap_index = index  # type: ignore[attr-defined]
        error.add_note(f"parmap: item {index} of {call}")
    except Exception:  # noqa: S110
        pass  # a class may refuse attributes; the error matters more
    return error
