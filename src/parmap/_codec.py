"""Objects to bytes and back: each item, result and function by itself.

Plain `pickle` comes first; `_byvalue` and cloudpickle take over where it cannot, or where it would name
something of `__main__`, which workers never import. Scalars and what is plain (`_plain`) are the one
exception to "each by itself": nobody can tell, and it is ten times as fast.
"""

from __future__ import annotations

import gc
import struct
import sys
from _pickle import Unpickler, dumps, loads
from io import BytesIO
from itertools import accumulate
from types import FunctionType

from . import _arrays, _byvalue, _kept
from ._globals import PROGRAM
from ._handlers import let_pass
from ._memory import BESIDE
from ._plain import SCALARS
from ._serialization import SerializationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from typing import Any, TypeVar

    from ._classes import Definition

    T = TypeVar("T")
    Parts = list[bytes | memoryview]

# Kinds of parcels: how the parts of a frame hold values.
_BATCH = 0  # (kind, count): one part, the pickle of a list or range of scalars and plain values
_JOINED = 1  # (kind, [length, ...]): one part, pickles one after another
_SINGLE = 2  # (kind, parts): one value in several parts, its pickle and its large buffers
NUMBERS = 3  # (kind, format): one part, numbers of one type as in memory
PLACED = 4  # (kind, format, place): no part, results that are in an `_area`
_ARRAY = 5  # (kind, count), alone: an array of so many items, its pickle and perhaps its buffer
_BARE = (_BATCH, NUMBERS, _ARRAY)  # values that need no unpacking one by one

#: The format of numbers that are all of one type: half as dear as a pickle, on either side. And of truth
#: values, which take a byte each.
FORMATS = {int: "q", float: "d", bool: "?"}

#: What is done for so many values takes longer than it saves where they are fewer.
_MANY = 64


#: How pickles of this protocol begin what they say of a module's object: what `pickled_by_value` has to
#: carry, or refuse.
_OF_MAIN = b"\x8c\x08__main__"
_OF_ITS_OTHER_NAME = b"\x8c\x0b__mp_main__"
_OF_CONNECTIONS = _byvalue.CONNECTIONS.encode()

#: Where a pickle of `random.choice` or `numpy.random.normal`, or of a `partial` of one, tells what it is a
#: method of, whose state follows: see `_byvalue.singletons`.
_OF_RANDOM = b"\x8c\x06Random", b"__randomstate_ctor"
_BEGIN = 256
_LEAST_OF_RANDOM = 2_000

#: How pickles of this protocol refer to types.
_STACK_GLOBAL = b"\x93"


#: Pickles of functions that go by their names, and how many are kept.
_named: dict[tuple[str, str], Packed] = {}
_MOST_NAMED = 64


class Packed:
    """A value that has been serialised."""

    __slots__ = ("parts",)

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    @property
    def nbytes(self) -> int:
        """Its size."""
        return sum(map(len, self.parts))


class Pickles:
    """Values that have been serialised, each in one part: there is no object for each but its bytes."""

    __slots__ = ("data",)

    def __init__(self, data: list[Any]) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, span: slice) -> Pickles:
        return Pickles(self.data[span])

    def __iter__(self) -> Iterator[Packed]:
        return (Packed([one]) for one in self.data)


class Numbers:
    """Ints, floats or truth values, all of one type, as they are in memory: a slice of them costs nothing."""

    __slots__ = ("_width", "data", "form")

    def __init__(self, form: str, data: memoryview) -> None:
        self.form = form
        self.data = data
        self._width = struct.calcsize(form)

    def __len__(self) -> int:
        return len(self.data) // self._width

    def __getitem__(self, span: slice) -> Numbers:
        begin, end, _ = span.indices(len(self))
        return Numbers(self.form, self.data[self._width * begin : self._width * end])

    def __iter__(self) -> Iterator[Any]:
        return iter(self.data.cast(self.form))  # type: ignore[call-overload]


class Broken:
    """Stands for a value that is not there: it cannot be unpickled, or an error was `raised` instead."""

    __slots__ = ("error", "raised")

    def __init__(self, error: BaseException, *, raised: bool = False) -> None:
        self.error = error
        self.raised = raised


class Buffers:
    """A pickler's `buffer_callback`: keeps large buffers out of pickles, to be parts of their own."""

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept: list[memoryview] = []

    def __call__(self, buffer: Any) -> bool:
        """See `pickle`: a true answer means that it goes into the pickle."""
        raw = buffer.raw()
        if raw.nbytes < BESIDE:
            return True
        self.kept.append(raw)
        return False

    def beside(self, data: bytes, *, copy: bool) -> Packed:
        """A pickle with the buffers that it has kept out, or with copies of them."""
        kept, self.kept = self.kept, []
        return Packed([data, *map(_copied, kept)] if copy else [data, *kept])


def pack(obj: object, *, copy: bool, home: bool = False, what: str = "") -> Packed:
    """Serialise one value, with its large buffers as parts of their own.

    Args:
        obj: The value.
        copy: Whether its large buffers are copied; without, the value must not change until it is sent.
        home: Whether it goes from a worker back to the caller, who has his own classes.
        what: What it is to the user, such as an "item", for the message of an error.

    Raises:
        SerializationError: It cannot be.
    """
    buffers = Buffers()
    return buffers.beside(_pickled_somehow(obj, buffers, home=home, what=what), copy=copy)


def pack_whole(obj: object, *, home: bool = False, what: str = "") -> bytes:
    """The same in one piece."""
    return _pickled_somehow(obj, None, home=home, what=what)


def _pickled_somehow(obj: object, buffers: Buffers | None, *, home: bool, what: str) -> bytes:
    data = pickled(obj, buffers, home=home)
    return pickled_by_value(obj, buffers, home=home, what=what) if data is None else data


def pickled(obj: object, buffers: Buffers | None, *, home: bool) -> bytes | None:
    """The pickle of one value, if plain `pickle` will do; else None.

    What `buffers` still keeps, of a pickle that was interrupted, is let go of.
    """
    if buffers is not None and buffers.kept:
        buffers.kept = []
    try:
        data = dumps(obj, 5, buffer_callback=buffers)
    except _byvalue.RAISED as error:
        let_pass(error)
        return None
    kept = () if buffers is None else buffers.kept
    return data if may_go(data, kept, home=home) else None


def may_go(data: bytes, kept: Sequence[Any], *, home: bool) -> bool:
    """Whether a pickle by plain `pickle`, with buffers that were `kept` out of it, arrives as it should."""
    if _mentions_main(data) and _byvalue.may_name_main(data, kept):
        return False
    return home or not _is_of_random(data)


def pickled_each(values: Sequence[object], buffers: Buffers, *, copy: bool) -> list[Any]:
    """The pickles of items, each by itself: `Packed` with large buffers, None where plain `pickle` won't do.

    Each is pickled once, since to pickle something may change it.
    """
    made: list[Any] = []
    buffers.kept = []
    for value in values:
        try:
            data = dumps(value, 5, buffer_callback=buffers)
        except _byvalue.RAISED as error:
            let_pass(error)
            made.append(None)
            buffers.kept = []
        else:
            made.append(buffers.beside(data, copy=copy) if buffers.kept else data)
    bare = [one for one in made if type(one) is bytes]
    usual = len(bare) == len(made) and max(map(len, bare)) <= _LEAST_OF_RANDOM
    if usual and not _mentions_main(b"".join(bare)):
        return made  # to look at each takes as long as to pickle it
    for at, one in enumerate(made):
        parts: Any = one.parts if type(one) is Packed else (one,)
        first, *kept = parts
        if first is not None and not may_go(first, kept, home=False):
            made[at] = None
    return made


def pack_function(func: Callable[..., Any], *, copy: bool) -> Packed:
    """Serialise the function of a call; `copy` as in `pack`.

    What goes by its name is pickled once: that takes longer than to see that it still is found by it.

    Raises:
        SerializationError: It cannot be.
    """
    is_function = type(func) is FunctionType
    try:
        by_name = is_function and _byvalue.importable(func)
        by_value = is_function and func.__module__ in PROGRAM
    except _byvalue.RAISED as error:
        let_pass(error)
        by_name = by_value = False  # to pickle it will say why
    if by_value:  # then `pickle` need not be asked
        buffers = Buffers()
        data = pickled_by_value(func, buffers, home=False, what="function")
        return buffers.beside(data, copy=copy)
    if not by_name:
        return pack(func, copy=copy, what="function")
    name = func.__module__, func.__qualname__
    packed = _named.get(name)
    if packed is None:
        _kept.make_room(_named, _MOST_NAMED)
        packed = _named[name] = pack(func, copy=copy, what="function")
    return packed


def _mentions_main(data: bytes) -> bool:
    # To ask for the place takes two thirds of what `in` does, which tries a byte's number first.
    return (
        data.find(_OF_MAIN) >= 0
        or (_byvalue.CONNECTIONS in sys.modules and data.find(_OF_CONNECTIONS) >= 0)
        or ("__mp_main__" in sys.modules and data.find(_OF_ITS_OTHER_NAME) >= 0)
    )


def _is_of_random(data: bytes) -> bool:
    if len(data) <= _LEAST_OF_RANDOM:
        return False
    return any(data.find(name, 0, _BEGIN) >= 0 for name in _OF_RANDOM)


def pickled_by_value(
    obj: object,
    buffers: Buffers | None,
    *,
    home: bool,
    what: str,
    met: dict[type, Definition] | None = None,
) -> bytes:
    """The pickle of what plain `pickle` will not do for; `met` gets how the program's classes travel.

    Raises:
        SerializationError: There is none.
    """
    keep = Buffers() if buffers is None else buffers
    keep.kept = []
    try:
        data = _byvalue.dumps(obj, buffers, keep.kept, home=home)
    except _byvalue.NotSimple:
        pass
    else:
        if not keep.kept:
            return data  # else a large global may have come along for nothing: cloudpickle looks closer
    from . import _cloud

    keep.kept = []
    try:
        return _cloud.dumps(obj, buffers, keep.kept, home=home, met=met)
    except _byvalue.RAISED as error:
        let_pass(error)
        from . import _culprit

        raise SerializationError(_culprit.explain(obj, error, what, home=home)) from error


def _copied(buffer: memoryview) -> memoryview:
    return memoryview(as_bytes(buffer))


def as_bytes(part: bytes | memoryview) -> bytes | bytearray:
    """A part by itself: in a bytearray if it can be written, which it must be where it arrives, too."""
    return bytearray(part) if isinstance(part, memoryview) and not part.readonly else bytes(part)


def unpack(parts: Sequence[memoryview]) -> Any:
    """The value again. Raises whatever its reducers raise."""
    if len(parts) == 1:
        return loads(parts[0])
    return loads(parts[0], buffers=parts[1:])


def pack_plain(obj: object) -> bytes:
    """Serialise something of our own, of built-in types only."""
    return dumps(obj, 5)


# --- many values ----------------------------------------------------------------------------------


def bundle(values: Any, kinds: Collection[type] | None = None) -> tuple[list[Any], Parts]:
    """Values, plain as they are and all else `Packed`, or `Numbers`, as a description and parts.

    `kinds` are the types that may be among them, where the reader is of this machine, too.
    """
    bundled = None if type(values) is list else _as_it_is(values)
    if bundled is not None:
        return bundled
    if kinds is None:
        kinds = set(map(type, values))
    elif type(values) is list and len(kinds) == 1 and FORMATS.keys() >= set(kinds):
        numbers = as_numbers(values, *kinds)
        if numbers is not None:
            return [(NUMBERS, numbers.form)], [numbers.data]
    if len(kinds) == 1 and SCALARS.isdisjoint(kinds) and len(values):
        array = _arrays.as_one(values, *kinds)
        if array is not None:
            return _as_array(array)
    return _batched(values) if Packed not in kinds else _parcelled(values)


def _batched(values: Any) -> tuple[list[Any], Parts]:
    try:
        return [(_BATCH, len(values))], [dumps(values, 5)]
    except _byvalue.RAISED as error:
        let_pass(error)
        if SCALARS.issuperset(map(type, values)):
            raise  # there is no memory
        # A class can no longer be pickled, since somebody has put another one in its place.
        return _parcelled([*map(_by_itself, values)])


def _by_itself(value: Any) -> Any:
    """A value that cannot be pickled together with others as it is to travel; perhaps to say why."""
    if type(value) in SCALARS:
        return value
    try:
        return Packed([dumps(value, 5)])
    except _byvalue.RAISED as error:
        let_pass(error)
        return _unreadable(error, 1)[0]


def _as_it_is(values: Any) -> tuple[list[Any], Parts] | None:
    if type(values) is Numbers:
        return [(NUMBERS, values.form)], [values.data]
    if type(values) is Pickles:
        return _as_joined(values.data)
    return _as_array(values) if _arrays.is_array(values) else None


def _as_array(array: Any) -> tuple[list[Any], Parts]:
    parts = pack(array, copy=False, what="item").parts
    return [(_ARRAY, len(array))], parts


def _as_joined(pickles: list[Any]) -> tuple[list[Any], Parts]:
    whole = pickles[0] if len(pickles) == 1 else b"".join(pickles)
    return [(_JOINED, [*map(len, pickles)])], [whole]


def _parcelled(values: Sequence[Any]) -> tuple[list[Any], Parts]:
    parcels: list[Any] = []
    parts: Parts = []
    at = 0
    while at < len(values):
        end = at
        if type(values[at]) is not Packed:
            while end < len(values) and type(values[end]) is not Packed:
                end += 1
            batched = _batched(values[at:end])
            parcels += batched[0]
            parts += batched[1]
        elif len(values[at].parts) > 1:
            end += 1
            parcels.append((_SINGLE, len(values[at].parts)))
            parts += values[at].parts
        else:
            while end < len(values) and type(values[end]) is Packed and len(values[end].parts) == 1:
                end += 1
            joined = _as_joined([value.parts[0] for value in values[at:end]])
            parcels += joined[0]
            parts += joined[1]
        at = end
    return parcels, parts


def as_numbers(values: list[Any], kind: type) -> Numbers | None:
    """Values of a type that has a format as they are in memory; None if they are better pickled.

    As they are where one has more than eight bytes, or where they are few.
    """
    if len(values) < _MANY:
        return None
    form = FORMATS[kind]
    try:
        return Numbers(form, memoryview(struct.pack(f"{len(values)}{form}", *values)))
    except struct.error:
        return None


def holds_packed(parcels: Sequence[Any]) -> bool:
    """Whether `unbundle` of these answers values that are still to be unpacked."""
    if len(parcels) == 1:  # as nearly always
        return parcels[0][0] not in _BARE
    return any(parcel[0] not in _BARE for parcel in parcels)


def unbundle(parcels: Sequence[Any], parts: Sequence[memoryview]) -> Any:
    """The values again: plain as they are and all else `Packed`, still to be unpacked."""
    if len(parcels) == 1:
        kind, detail = parcels[0]
        if kind == NUMBERS:
            part: Any = parts[0]
            numbers: list[Any] = part.cast(detail).tolist()
            return numbers
        if kind == _BATCH:
            return _load_batch(parts[0], detail)
        if kind == _ARRAY:
            return _load_array(parts, detail)
        if kind == _JOINED:
            return Pickles(_cut(parts[0], detail))
    values: list[Any] = []
    for kind, detail, own in _each(parcels, parts):
        if kind == _BATCH:
            values += _load_batch(own[0], detail)
        elif kind == _SINGLE:
            values.append(Packed(list(own)))
        else:
            values += Pickles(_cut(own[0], detail))
    return values


def _cut(data: memoryview, lengths: Sequence[int]) -> list[memoryview]:
    ends = [*accumulate(lengths)]
    return [data[begin:end] for begin, end in zip([0, *ends], ends)]  # noqa: B905 -- is quicker


def _load_batch(data: memoryview, count: int) -> Sequence[Any]:
    try:
        batch: Sequence[Any] = loads(data) if count < _MANY else uncollected(lambda: loads(data))
    except _byvalue.RAISED as error:
        let_pass(error)
        if _STACK_GLOBAL not in bytes(data):
            raise  # this is no batch of ours: what has no types can be read
        return _load_singly(data, error, count)
    return batch


class _Lacking:
    """Stands for a member that an enum here does not have."""


class _Careful(Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found: Any = super().find_class(module, name)
        if type(found) is not getattr(sys.modules.get("enum"), "EnumType", None):
            return found

        def member(value: Any) -> Any:
            try:
                return found(value)
            except _byvalue.RAISED as error:
                let_pass(error)
                return _Lacking()

        return member


def _load_singly(data: memoryview, error: BaseException, count: int) -> Sequence[Any]:
    """Those of a batch that can be had, if all that the others lack is members of enums."""
    try:
        values: list[Any] = _Careful(BytesIO(data)).load()
    except _byvalue.RAISED as again:
        let_pass(again)
        return _unreadable(error, count)
    lacks = [*map(_lacks, values)]
    if not any(lacks):
        return _unreadable(error, count)
    (failed,) = _unreadable(error, 1)
    return [failed if lacking else _by_itself(value) for lacking, value in zip(lacks, values)]  # noqa: B905


def _lacks(value: Any) -> bool:
    if type(value) is dict:
        return any(map(_lacks, [*value, *value.values()]))
    if type(value) in (tuple, list, set, frozenset):
        return any(type(one) is _Lacking for one in value)
    return type(value) is _Lacking


class _Unreadable:
    """Is told, when it is unpickled, why what it stands for cannot be."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __reduce__(self) -> Any:
        return _fail, (self.why,)


def _fail(why: str) -> None:
    raise ImportError(why)


def _unreadable(error: BaseException, count: int) -> list[Any]:
    """What stands for so many values, none of which can be had here: each is to say so.

    To unpickle them again might succeed, and give all of them in place of each.
    """
    return [Packed([dumps(_Unreadable(f"{type(error).__name__}: {error}"), 5)])] * count


def _load_array(parts: Sequence[memoryview], count: int) -> list[Any]:
    try:
        values = _arrays.items_of(unpack(parts))
    except _byvalue.RAISED as error:
        let_pass(error)
        return _unreadable(error, count)
    if len(values) != count:
        return _unreadable(ValueError(f"{len(values)} values in place of {count}"), count)
    return values


def _each(
    parcels: Sequence[Any], parts: Sequence[memoryview]
) -> Iterator[tuple[int, Any, Sequence[memoryview]]]:
    """The parcels, each with the parts that hold its values."""
    at = 0
    for kind, detail in parcels:
        count = detail if kind == _SINGLE else 1
        yield kind, detail, parts[at : at + count]
        at += count


def load(parcels: Sequence[Any], parts: Sequence[memoryview]) -> tuple[Sequence[Any], bool]:
    """The values of a bundle, unpickled; and whether any of them is `Broken` instead."""
    if not holds_packed(parcels):
        values = unbundle(parcels, parts)
        if not (len(values) and type(values[0]) is Packed):
            return values, False
        loaded: list[Any] = []
        return loaded, _load_each(values, loaded)
    return uncollected(lambda: _load(parcels, parts))


def uncollected(make: Callable[[], T]) -> T:
    """What `make` makes, of which much stays, while the garbage collector waits.

    It would look at all that has been made so far again and again, which may take longer than to make it.
    What a module that is imported meanwhile says about the collector still counts.
    """
    thresholds = gc.get_threshold()
    if not thresholds[0]:  # it waits already, for another thread perhaps, which lets it go on
        return make()
    gc.set_threshold(0)
    try:
        return make()
    finally:
        if gc.get_threshold()[0] == 0:
            gc.set_threshold(*thresholds)


def _load(parcels: Sequence[Any], parts: Sequence[memoryview]) -> tuple[list[Any], bool]:
    values: list[Any] = []
    broken = False
    for kind, detail, own in _each(parcels, parts):
        if kind == _JOINED:
            broken |= _load_joined(bytes(own[0]), detail, values)
        elif kind == _SINGLE:
            broken |= _load_one(own, values)
        else:
            batch = _load_batch(own[0], detail)
            if type(batch[0]) is Packed:
                broken |= _load_each(batch, values)
            else:
                values += batch
    return values, broken


def _load_each(packed: Iterable[Packed], values: list[Any]) -> bool:
    broken = False
    for one in packed:
        broken |= _load_one(one.parts, values)
    return broken


def _load_one(parts: Sequence[Any], values: list[Any]) -> bool:
    """Append what this pickle holds; whether it is broken."""
    try:
        value = unpack(parts)
    except _byvalue.RAISED as error:
        let_pass(error)
        value = Broken(error)
    values.append(value)
    return type(value) is Broken


def _load_joined(data: bytes, lengths: Sequence[int], values: list[Any]) -> bool:
    """Append what pickles of these lengths, one after another, hold; whether any is broken."""
    broken = False
    begin = 0
    for length in lengths:
        end = begin + length
        try:
            value = loads(data[begin:end])
        except _byvalue.RAISED as error:
            let_pass(error)
            value = Broken(error)
        values.append(value)
        broken |= type(value) is Broken
        begin = end
    return broken
