"""An exception's journey between processes.

An exception should arrive as itself: its class, `args`, attributes, notes, causes, and a traceback that
shows where it was raised. `pickle` alone loses the last two, calls `__init__` with arguments that may
not fit, forgets what built-in classes keep in C, and fails as a whole where one attribute cannot be
carried.

So the worker makes a *draft* just as the caller will, by `pickle` or from the class and `args`, and
compares it with the exception: what the draft lacks is sent along, each thing by itself, and is set
without asking the class. The exception's name and text always go with it, for where nothing else does.
"""

from __future__ import annotations

import builtins
from types import BuiltinFunctionType, GetSetDescriptorType, MemberDescriptorType, TracebackType

from . import _codec
from ._byvalue import RAISED
from ._errors import RemoteError, WorkerDied
from ._handlers import let_pass
from ._plain import SCALARS
from ._traceback import below_ours, frames_of, traceback_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: Links of a chain of causes, or groups within groups, that are carried. The interpreter itself can hardly
#: show more.
_CHAIN = 50

#: Characters of what an exception says, where that is told by somebody else.
_MESSAGE = 100_000


#: Types of which two that are equal show the same.
_EXACT = SCALARS - {float, complex}


# --- in the worker --------------------------------------------------------------------------------


def as_raised(error: BaseException) -> BaseException:
    """What an item is to fail with: never StopIteration, which would end whoever iterates."""
    if not isinstance(error, StopIteration):
        return error
    made = RuntimeError("the function raised StopIteration")
    made.__cause__ = error
    return made.with_traceback(error.__traceback__)


def pack(error: BaseException) -> bytes:
    """Serialise an exception with its chain, without our own frames above those of the user's code."""
    return _codec.pack_plain(_describe(error, {}, 0))


def pack_in_place(error: BaseException) -> bytes:
    """The same to travel in the place of a result, where it is unpickled to `Broken`."""
    return _codec.pack_plain(_Failure(pack(error)))


class _Failure:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> Any:
        return _unpack_in_place, (self._data,)


def _describe(error: BaseException, seen: dict[int, int], depth: int) -> Any:
    """The exception as nested tuples of built-in types; an exception seen before as its number."""
    if id(error) in seen:
        return seen[id(error)]
    if depth >= _CHAIN:
        return None
    seen[id(error)] = len(seen)
    kind = type(error)
    name = f"{kind.__module__}.{kind.__qualname__}", _text(error, BaseException)
    if isinstance(error, BaseExceptionGroup) and depth + 1 < _CHAIN:
        body = _group(error, seen, depth)
    else:
        body = _simple(error) or _body(error)
    frames = frames_of(below_ours(error.__traceback__) if depth == 0 else error.__traceback__)
    cause, context = (
        None if one is None else _describe(one, seen, depth + 1)
        for one in (error.__cause__, error.__context__)
    )
    return name, body, frames, cause, context, error.__suppress_context__


def _simple(error: BaseException) -> tuple[str, Any, dict[str, bytes | None]] | None:
    """As `_body` does, for a built-in one that holds plain `args` alone: nothing of it can get lost."""
    kind = type(error)
    if getattr(builtins, kind.__name__, None) is not kind or error.__dict__:
        return None
    if kind not in _known:
        _known[kind] = _fields(kind).keys() == _fields(Exception).keys()
    if not _known[kind] or not SCALARS.issuperset(map(type, error.args)):
        return None
    return "simple", (kind.__name__, error.args), {}


def _body(error: BaseException) -> tuple[str, Any, dict[str, bytes | None]]:
    """How to make the exception, from what, and what to give it then.

    The first way that brings the `args` is taken, or else the last that works at all: `pickle` may call
    an `__init__` that takes something else, but some classes are made in no other way.
    """
    how, what = "pickle", None
    lacking = {key: value for key, value in error.__dict__.items() if key == _NOTES}
    for way, data in _ways(error):
        try:
            draft = _made(way, data)
            if type(draft).__qualname__ != type(error).__qualname__:
                continue
            how, what, lacking = way, data, _lacking(draft, error)
        except BaseException:  # noqa: S112 -- as in `_packed`
            continue
        if "args" not in lacking:
            break
    return how, what, {key: _packed(value) for key, value in lacking.items()}


def _ways(error: BaseException) -> Iterator[tuple[str, Any]]:
    yield "pickle", _packed(error)
    yield "parts", (_packed(type(error)), _packed(_read(_ARGS, error)))


def _group(
    error: BaseExceptionGroup[Any], seen: dict[int, int], depth: int
) -> tuple[str, Any, dict[str, bytes | None]]:
    """A group with its members, each as carefully as if it stood alone."""
    members = [_describe(member, seen, depth + 1) for member in error.exceptions]
    lacking = _lacking(BaseExceptionGroup("any", [error]), error)
    what = _packed(type(error)), (error.message, members)
    return "group", what, {key: _packed(value) for key, value in lacking.items()}


def _lacking(draft: BaseException, error: BaseException) -> dict[str, Any]:
    """What the exception has, and the draft has not, or not so."""
    had = draft.__dict__
    lacking = {key: value for key, value in error.__dict__.items() if key not in had}
    for name, field in _fields(type(error)).items():
        value = _read(field, error)
        if value is not _NOTHING and not _same(value, _read(field, draft)):
            lacking[name] = value
    return lacking


def _read(field: Any, error: BaseException) -> Any:
    try:
        return field.__get__(error)
    except Exception:  # as an empty slot does
        return _NOTHING


def _same(one: Any, other: Any) -> bool:
    """Whether two values show the same; what is large is not shown for that, where it need not be."""
    kind = type(one)
    if one is other:
        return True
    if kind is type(other) and kind in _EXACT:
        return bool(one == other)
    if kind is type(other) is tuple and len(one) == len(other):
        return all(map(_same, one, other))
    try:
        return repr(one) == repr(other)
    except BaseException:  # a `__repr__` is the user's
        return False


def _packed(value: object) -> bytes | None:
    try:
        return _codec.pack_whole(value, home=True)
    except (
        BaseException
    ):  # a `__reduce__` may raise SystemExit, which is not what the function raised
        return None


def _text(error: BaseException, expected: Any = RAISED) -> str:
    try:
        return str(error)[:_MESSAGE]
    except expected as failure:
        return f"<its __str__ raised {type(failure).__name__}>"


def said(error: BaseException) -> str:
    """`KeyError: 'k'`, whatever its `__str__` does."""
    return f"{type(error).__name__}: {_text(error)}"


# --- on both sides --------------------------------------------------------------------------------


def _made(how: str, what: Any) -> BaseException:
    """An exception, made by `pickle`, or from class and `args` without a line of the class's own.

    A "simple" one has a built-in class, which has no such lines.
    """
    if how == "simple":
        error = getattr(builtins, what[0])(*what[1])
    elif how == "pickle":
        error = _unpacked(what)
    else:
        cls = _unpacked(what[0])
        args = what[1] if how == "group" else _unpacked(what[1])
        error = _bare(cls, args)
    if not isinstance(error, BaseException):
        msg = f"{type(error).__name__} is not an exception"
        raise TypeError(msg)
    return error


def _bare(cls: type, args: Any) -> Any:
    """An instance by a `__new__` of the built-in classes', which takes any `args`, as one in Python may not.

    It refuses classes that have, from another base, more in C than it would fill in.
    """
    news = [base.__dict__.get("__new__") for base in cls.__mro__]
    usable = [new for new in news if isinstance(new, BuiltinFunctionType)]
    for new in usable:
        try:
            return new(cls, *args)
        except TypeError as error:
            let_pass(error)
    return usable[0](cls, *args)  # which says why it cannot


def _unpacked(data: bytes | None) -> Any:
    if data is None:
        msg = "it cannot be pickled, or not unpickled"
        raise TypeError(msg)
    return _codec.unpack([memoryview(data)])


def _fields(cls: type) -> dict[str, Any]:
    """Where a class keeps what is not in `__dict__`: `args`, the like of `errno`, `__slots__`."""
    fields: dict[str, Any] = {}
    for base in cls.__mro__:
        if base is BaseExceptionGroup:
            break  # its members travel by themselves
        for name, field in base.__dict__.items():
            if type(field) in _FIELDS and field is not _OWNER and not name.startswith("__"):
                fields.setdefault(name, field)
    return fields


#: Built-in exceptions, and whether they keep no more than any other.
_known: dict[type, bool] = {}

_FIELDS = (MemberDescriptorType, GetSetDescriptorType)
_ARGS = BaseException.__dict__["args"]
_OWNER = AttributeError.__dict__["obj"]  # may be anything, however large
_NOTHING = object()
_NOTES = "__notes__"


# --- in the caller --------------------------------------------------------------------------------


def unpack(data: memoryview | bytes) -> BaseException:
    """The exception again."""
    return _rebuild(_codec.unpack([memoryview(data)]), [])


def _unpack_in_place(data: bytes) -> _codec.Broken:
    return _codec.Broken(unpack(data), raised=True)


def _rebuild(described: Any, known: list[BaseException]) -> BaseException:
    if isinstance(described, int):
        return known[described]
    name, (how, what, lacking), frames, cause, context, suppress = described
    at = len(known)
    known.append(RemoteError("", "", ""))  # its number is taken before those of a group's members
    if how == "group":
        cls, (message, members) = what
        what = cls, (message, [_rebuild(member, known) for member in members])
    traceback = traceback_of(frames)
    error = _revived(how, what, lacking, name, traceback)
    known[at] = error
    # In the order of `_describe`, so that the numbers fit.
    if cause is not None:
        error.__cause__ = _rebuild(cause, known)
    if context is not None:
        error.__context__ = _rebuild(context, known)
    error.__suppress_context__ = suppress
    return error.with_traceback(traceback)


def _revived(
    how: str,
    what: Any,
    lacking: dict[str, bytes | None],
    name: tuple[str, str],
    traceback: TracebackType | None,
) -> BaseException:
    try:
        error = _made(how, what)
    except RAISED as failure:
        let_pass(failure)
        if how == "group":
            error = BaseExceptionGroup(*what[1])
        else:
            error = RemoteError(*name, _shown(name, traceback))
            lacking = {key: data for key, data in lacking.items() if key == _NOTES}
        _complete(error, lacking)
        _note(error, f"parmap: {name[0]} cannot be carried: {said(failure)}")
        return error
    if not _complete(error, lacking) and _text(error) != name[1]:
        _note(error, f"parmap: where it was raised, it said: {name[1]}")
    return error


def _shown(name: tuple[str, str], traceback: TracebackType | None) -> str:
    from traceback import format_tb

    frames = "".join(format_tb(traceback))
    return f"Traceback (most recent call last):\n{frames}{': '.join(filter(None, name))}\n"


def _complete(error: BaseException, lacking: dict[str, bytes | None]) -> bool:
    """Give it what its draft lacked; whether it has got all of it."""
    fields = _fields(type(error)) if lacking else {}
    complete = True
    for key, data in lacking.items():
        try:
            value = _unpacked(data)
            if key in fields:
                fields[key].__set__(error, value)
            else:
                error.__dict__[key] = value
        except RAISED as failure:
            let_pass(failure)
            complete = False  # the exception matters more
    return complete


def _note(error: BaseException, note: str) -> None:
    try:
        error.add_note(note)
    except Exception:  # noqa: S110
        pass  # a class may refuse attributes; the error matters more


def annotate(error: BaseException, index: int | None, call: str) -> BaseException:
    """Let an exception say which item of which call it belongs to."""
    if index is None:
        return error
    if isinstance(error, WorkerDied) and error.index is None:
        error.index = index  # it was not running yet, but it is the one that must fail for it
    try:
        error.parmap_index = index  # type: ignore[attr-defined]
    except Exception:  # noqa: S110
        pass  # a class may refuse attributes; the error matters more
    _note(error, f"parmap: item {index} of {call}")
    return error
