"""The globals of the caller's program that functions sent by value use, and what stands for it in a worker.

What an initializer has set in a worker is there for the functions of later calls, as in a forked process.
So a global that the caller has not changed since it last arrived stays what has become of it here; and
whatever else of an arriving function refers to the same object (a default, a closure, a class) then has to
refer to what stayed. Therefore such a global's value stands at the head of the pickle, together with its
pickle alone, by which it is known again; and the memo of the pickler, by which it writes an object once and
then refers to it, is told that what stayed, or the new value, is that object.
"""

from __future__ import annotations

import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import SourceFileLoader
from _pickle import dumps, loads
from io import BytesIO
from types import FunctionType, ModuleType

from . import _kept
from ._handlers import let_pass
from ._plain import SCALARS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

#: What the module of a program is called; the second in a child that `multiprocessing` did not fork.
PROGRAM = frozenset({"__main__", "__mp_main__"})

_NAMES = [name.encode() for name in PROGRAM]

#: What each function that uses it brings along for itself.
_OF_EACH = (FunctionType, type, ModuleType)

#: Bytes of a global's pickle up to which it is compared: a larger one is taken as new.
COMPARED = 1 << 16

# --- in the caller --------------------------------------------------------------------------------


#: The names of the program's globals that were sent. One of them may have been deleted since.
_sent: set[str] = set()

calls: int = 0  # that were begun: what an item's class is, is settled then, as what the function is


def begin_call() -> None:
    """Let classes be looked at anew."""
    global calls  # noqa: PLW0603 -- of the one program that there is here
    calls += 1


class Globals:
    """What the functions of one pickle refer to."""

    def __init__(self) -> None:
        # By namespace: what stands for it, for functions of modules that are not the program itself.
        self.spaces: dict[int, Any] = {}
        self.held: dict[str, Any] = {}  # the program's globals that something else may refer to
        self.texts: set[int] = set()  # the ids of those that are strings: one may be a sentinel
        self.ahead: dict[str, Any] = {}  # those of them that stand at the head
        # What else something may refer to: how it is held, by what key, what tells it from others, value.
        self.others: list[tuple[Callable[..., Any], Any, bytes, Any]] = []

    def to_send(self, found: dict[str, Any], space: dict[str, Any]) -> dict[str, Any]:
        """What a function of the program's has to bring along of the globals that it uses."""
        if space is of_main():
            _sent.update(found)
        for name, value in found.items():
            if type(value) in (str, bytes):
                self.texts.add(id(value))
            elif type(value) not in SCALARS and not issubclass(type(value), _OF_EACH):
                self.held[name] = value
        ahead = self.ahead
        return {
            name: value
            for name, value in found.items()
            if name not in ahead or ahead[name] is not value
        }


class _Gone:
    def __reduce__(self) -> str:
        return "GONE"


#: Stands for a global that there is no more.
GONE = _Gone()


def gone(names: Iterable[str], space: dict[str, Any]) -> list[str]:
    """Those of a function's names that were globals of the program once.

    Of `__main__` itself: code that somebody runs in another namespace may call that so, too.
    """
    found = [name for name in names if name in _sent and name not in space]
    return found if found and space is of_main() else []


def names_program(data: bytes) -> bool:
    """Whether a pickle may refer by name to what is of the program."""
    return any(name in data for name in _NAMES)


class Piece:
    """A part of a pickle that is put there by us."""

    def reduce(self, pickler: Any) -> Any:
        """As a pickler's `reducer_override`."""
        raise NotImplementedError


class _Held(Piece):
    def __init__(
        self,
        hold: Callable[..., Any],
        key: Any,
        alone: bytes,
        value: Any,
        within: set[int],
        *,
        plain: bool = False,
    ) -> None:
        self.hold, self.key, self.alone, self.value = hold, key, alone, value
        self.within = within  # the ids of what else is held and may be in it
        self.plain = plain  # the pickle alone says it all

    def reduce(self, pickler: Any) -> Any:  # noqa: ARG002 -- as the other
        return self.hold, (self.key, self.alone, *(() if self.plain else (self.value,)))


class _Whole(Piece):
    def __init__(self, held: list[_Held], obj: object) -> None:
        self.held, self.obj = held, obj

    def reduce(self, pickler: Any) -> Any:  # noqa: ARG002 -- as the other
        parts: list[Piece] = []
        unwritten: list[_Held] = []  # of which what follows may not hold any
        for one in self.held:
            if not one.within.isdisjoint([id(other.value) for other in unwritten]):
                parts.append(_Written(unwritten))
                unwritten = []
            parts.append(one)
            unwritten.append(one)
        parts.append(_Written(unwritten))
        return last, (*parts, self.obj)


class _Written(Piece):
    """Where the pickler comes to this, what is held has been written, and is referred to from here on."""

    def __init__(self, held: list[_Held]) -> None:
        self.held = held

    def reduce(self, pickler: Any) -> Any:
        memo = pickler.memo.copy()
        for one in self.held:
            if id(one.value) in memo:
                memo[id(one.value)] = memo[id(one)][0], one.value
            elif one.plain:  # instead, since what is there is counted
                memo[id(one.value)] = memo.pop(id(one))[0], one.value
            # Else it is written anew each time, as `()` is.
        pickler.memo = memo
        return last, (None,)


#: The newest pickles that begin with globals, by those of the same that do not (by their digests, if they
#: are large): to make these takes less.
_newest: dict[bytes, bytes] = {}
_NEWEST = 16
_LARGEST = 1 << 20  # bytes of one that is kept


class _TooLarge(Exception):
    pass


class _Short:
    """A file for what is compared."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: Any) -> None:
        self.data += data
        if len(self.data) > COMPARED:
            raise _TooLarge


def _refuse_large(buffer: Any) -> bool:
    if buffer.raw().nbytes > COMPARED:
        raise _TooLarge
    return True


def write(
    obj: object,
    make: Callable[..., Any],
    callback: Any,
    buffers: list[Any],
    comparing: Sequence[Callable[..., Any]] = (),
    most: int = sys.maxsize,
) -> bytes:
    """Pickle `obj` by a pickler that `make` makes for a file, with a `globals`.

    `callback` puts large buffers into `buffers`, or is None. `comparing` make the picklers, of which the
    first that can is used, for pickles that are only compared. What has more than `most` bytes is of no
    use, and not finished.
    """
    file = BytesIO()
    pickler = make(file, 5, buffer_callback=callback)
    pickler.dump(obj)
    data = file.getvalue()
    if len(data) > most:
        return data
    if not (pickler.globals.held or pickler.globals.others):
        return data
    key = data if len(data) <= COMPARED else _kept.digest([data])
    known = None if buffers else _newest.get(key)
    if known is not None:
        return known
    held = _held(pickler.globals, comparing or [make])
    ahead = {name: one.value for one in held for name in one.key}
    # What is in another has to be known before it, and has less in it.
    held.sort(key=lambda one: (len(one.within), len(one.alone), one.key))
    others = pickler.globals.others
    # They may hold anything of what stands before them.
    within = {id(one.value) for one in held} | {id(value) for *_, value in others}
    held += [_Held(hold, key, told, value, within) for hold, key, told, value in others]
    if not held:
        return data
    buffers.clear()
    file = BytesIO()
    pickler = make(file, 5, buffer_callback=callback)
    pickler.globals.ahead = ahead
    pickler.dump(_Whole(held, obj))
    whole = file.getvalue()
    if not buffers and len(whole) <= _LARGEST:
        _kept.make_room(_newest, _NEWEST)
        _newest[key] = whole
    return whole


def _held(known: Globals, makers: Sequence[Callable[..., Any]]) -> list[_Held]:
    found = known.held
    named: dict[int, list[str]] = {}
    for name, value in found.items():
        named.setdefault(id(value), []).append(name)
    held: list[_Held] = []
    for names in named.values():
        within: set[int] = set()
        value = found[names[0]]
        plain = _is_plain(value, known.texts)
        alone_ = alone(value, makers, () if plain else named.keys(), within)
        if alone_:
            held.append(_Held(_hold, names, alone_, value, within, plain=plain))
    return held


def alone(
    value: object, makers: Sequence[Callable[..., Any]], sought: Any = (), within: Any = None
) -> bytes:
    """The pickle of a value alone, if that is short; `within` gets which of the `sought` may be in it."""
    for make in makers:
        file = _Short()
        try:
            pickler = make(file, 5, buffer_callback=_refuse_large)
            pickler.dump(value)
        except _TooLarge:
            return b""
        except Exception as error:
            let_pass(error)  # else it is not simple, or cannot be pickled by itself
        else:
            if make is not makers[-1] and names_program(file.data):
                continue  # by its name, which says nothing about it
            if within is not None:
                if make is makers[-1] and len(makers) > 1:
                    within.update(sought)  # its classes go by numbers, which say not what they hold
                elif len(sought) > 1:
                    within.update(sought & pickler.memo.copy().keys())
                within.discard(id(value))
            return file.data
    return b""


def _is_plain(value: Any, texts: set[int]) -> bool:
    """Whether this is a container of plain values, which share nothing with others, nor these `texts`."""
    inner: list[Any] = [value]
    if type(value) is dict:
        inner.append(value.values())
    elif type(value) not in (list, set):
        return False
    if not all(SCALARS.issuperset(map(type, some)) for some in inner):
        return False
    return not texts or all(texts.isdisjoint(map(id, some)) for some in inner)


def of_main() -> dict[str, Any]:
    """The globals of `__main__` here."""
    found: Any = sys.modules.get("__main__")
    if type(found) not in (ModuleType, _Main):  # it may be what `_process` puts there for a moment
        found = getattr(found, "_real", found)
    held: dict[str, Any] = getattr(found, "__dict__", {})
    return held


# --- in the worker --------------------------------------------------------------------------------


class _Main(ModuleType):
    """Stands for the caller's `__main__`, and is found by that name, as `pickle` and `typing` look for it.

    Who starts processes must not learn where it came from: they would run the whole program. In
    `multiprocessing` and its forks a function of one name asks for it.
    """

    def __getattribute__(self, name: str) -> Any:
        asked = name in ("__file__", "__spec__")
        if asked and sys._getframe(1).f_code.co_name == "get_preparation_data":
            return None
        return super().__getattribute__(name)


_module = _Main("__main__")
#: What stands for the caller's `__main__` here.
main: dict[str, Any] = vars(_module)
main["__builtins__"] = __builtins__
_replaced: list[ModuleType] = []  # a module that is dropped while it runs may lose its globals


def be_main(*, forked: bool) -> None:
    """In a worker, let `__main__` be what stands for the caller's; in a fork of the caller it is here."""
    found = sys.modules["__main__"]
    if not forked:
        _replaced.append(found)
        sys.modules["__main__"] = _module
    elif type(found) is ModuleType:
        found.__class__ = _Main


def place_main(package: str | None, file: str | None, name: str | None) -> None:
    """Let functions of the caller's `__main__` know where it came from, as `from . import` must.

    `name` is the full name of what was run by `python -m`, None for a script.
    """
    main.update({"__package__": package, "__spec__": None})
    if name is not None:  # from Python 3.15 on, relative imports may ask nothing else
        loader = SourceFileLoader(name, file or "")
        main["__spec__"] = ModuleSpec(name, loader, origin=file)
    if file is None:
        main.pop("__file__", None)
    else:
        main["__file__"] = file


#: The caller's globals as they last arrived: what tells them from later ones (None: nothing does), value.
_received: dict[str, tuple[bytes | None, Any]] = {}

#: The globals that come with what `Loaded` is loading: name, and the same.
_arriving: list[tuple[str, bytes | None, Any]] | None = None
_watched: list[Callable[[], bool]] | None = None  # whether what else came with it is as it came
_changes = 0  # how often a global of the caller's was set to what it was not


def last(*parts: Any) -> Any:
    return parts[-1]


def _hold(names: list[str], alone: bytes, *values: Any) -> Any:
    """The value of globals: the object that came before, if it is what it was in the caller.

    Else it is the one that comes along, or what its pickle alone says, if nothing else does.
    (What the globals are here may be another one, which an initializer has put there.)
    """
    for name in names:
        told, before = _received.get(name, (None, None))
        if told == alone and not _has_arrived(before):
            value = before
            break
    else:
        value = values[0] if values else loads(alone)
    for name in names:
        _settle(name, alone, value)
    return value


def _has_arrived(value: Any) -> bool:
    """Whether this is the value of another global already, which is not the same one in the caller."""
    return any(value is other for _, _, other in _arriving or ())


def arrive(found: dict[str, Any]) -> None:
    """Let globals of the caller's be as they are there.

    Only plain values can be known again here; all others were, at the head of the pickle, or are new.
    """
    for name, value in found.items():
        _settle(name, _short(value), value)


def _short(value: Any) -> bytes | None:
    """The pickle of a plain value that is not large."""
    if type(value) not in SCALARS or (type(value) in (str, bytes) and len(value) > COMPARED):
        return None
    return dumps(value, 5)


def _settle(name: str, told: bytes | None, value: Any) -> None:
    """Let a global be what it is in the caller; but what it has become here stays if it is as it came."""
    global _changes  # noqa: PLW0603 -- of the one program that there is here
    if _arriving is not None:
        _arriving.append((name, told, value))
    if value is GONE:
        _remove(name)
        return
    if _is_as_it_came(name, told, value):
        return
    _received[name] = told, value
    if name not in main or main[name] is not value:
        _changes += 1
        main[name] = value


def _remove(name: str) -> None:
    """Delete a global of the caller's, unless something here has put another one in its place."""
    global _changes  # noqa: PLW0603 -- as above
    _, value = _received.pop(name, (None, GONE))
    if name in main and main[name] is value:
        _changes += 1
        del main[name]


def _is_as_it_came(name: str, told: bytes | None, value: Any) -> bool:
    before = _received.get(name)
    return (
        told is not None
        and before is not None
        and before[0] == told
        and (before[1] is value or type(value) in SCALARS)
    )


def watch(is_as_it_came: Callable[[], bool], *, changed: bool) -> None:
    """Let what is being loaded be loaded anew once something else that came with it is no more as it was.

    `changed` says that it is not what it was before, so that others have to look.
    """
    global _changes  # noqa: PLW0603 -- as above
    _changes += changed
    if _watched is not None:
        _watched.append(is_as_it_came)


class Loaded:
    """What was loaded here, and the globals that came with it.

    When the caller uses it again, they are there what they were then, or he would have sent it anew. Here
    another function may have brought others since: then it is loaded once more.
    """

    __slots__ = ("_changes", "_globals", "_load", "_value", "_watched")

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load_by(load)
        self._load = load if self._globals or self._watched else None  # which keeps the pickle

    def _load_by(self, load: Callable[[], Any]) -> None:
        global _arriving, _watched
        self._globals: list[tuple[str, bytes | None, Any]] = []
        self._watched: list[Callable[[], bool]] = []
        outer = _arriving, _watched
        _arriving, _watched = self._globals, self._watched
        try:
            self._value = load()
        finally:
            _arriving, _watched = outer
        self._changes = _changes

    def get(self) -> Any:
        """It, with its globals as they came."""
        if self._changes != _changes:
            if self._load is not None and not self._is_as_it_came():
                self._load_by(self._load)
            for name, told, value in self._globals:
                if told is None:  # a function, for instance, of which each that uses it has its own
                    _settle(name, None, value)
            self._changes = _changes
        return self._value

    def _is_as_it_came(self) -> bool:
        known = (one for one in self._globals if one[1] is not None)
        return all(_is_as_it_came(*one) for one in known) and all(
            is_as_it_came() for is_as_it_came in self._watched
        )
