"""Objects to bytes and back: each item, result and function by itself.

Plain `pickle` comes first; `_byvalue` and cloudpickle take over where it cannot, or where it would name
something of `__main__`, which workers never import. Runs of built-in immutable scalars are the one
exception to "each by itself": nobody can tell, and it is ten times as fast.
"""

from __future__ import annotations

from _pickle import dumps, loads

from . import _byvalue
from ._memory import BESIDE
from ._serialization import SerializationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Parts = list[bytes | memoryview]

#: The types whose values may be batched.
SCALARS = frozenset({int, float, complex, bool, str, bytes, type(None)})

# Kinds of parcels: how the parts of a frame hold values.
_BATCH = 0  # (kind, count): one part, the pickle of a list or range of scalars
_JOINED = 1  # (kind, [length, ...]): one part, pickles one after another
_SINGLE = 2  # (kind, parts): one value in several parts, its pickle and its large buffers


class Packed:
    """A value that has been serialised."""

    __slots__ = ("parts",)

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    @property
    def nbytes(self) -> int:
        """Its size."""
        return sum(len(part) for part in self.parts)


def pack(obj: object, *, copy: bool, beside: bool = True, home: bool = False) -> Packed:
    """Serialise one value.

    Args:
        obj: The value.
        copy: Whether its large buffers are copied; without, the value must not change until it is sent.
        beside: Whether large buffers may be parts of their own.
        home: Whether it goes from a worker back to the caller, who has his own classes.

    Raises:
        SerializationError: It cannot be.
    """
    buffers: list[Any] = []

    def keep_out(buffer: Any) -> bool:
        """Keep a large buffer out of the pickle (a true answer means: put it in)."""
        raw = buffer.raw()
        if raw.nbytes < BESIDE:
            return True
        buffers.append(raw)
        return False

    callback = keep_out if beside else None
    try:
        data = dumps(obj, 5, buffer_callback=callback)
    except Exception:
        data = b"__main__"
    if b"__main__" in data:
        buffers.clear()
        data = _pack_by_value(obj, callback, buffers, home=home)
    return Packed([data, *map(_copied, buffers)] if copy else [data, *buffers])


def _pack_by_value(obj: object, callback: Any, buffers: list[Any], *, home: bool) -> bytes:
    try:
        data = _byvalue.dumps(obj, callback)
    except _byvalue.NotSimple:
        pass
    else:
        if not buffers:
            return data
        buffers.clear()  # a large global may have come along for nothing: cloudpickle looks closer
    from . import _cloud

    try:
        return _cloud.dumps(obj, callback, home=home)
    except Exception as error:
        from . import _culprit

        raise SerializationError(_culprit.explain(obj, error)) from error


def _copied(buffer: memoryview) -> memoryview:
    # Into a bytearray, not bytes: what was writable must not become read-only on its way.
    return memoryview(bytes(buffer) if buffer.readonly else bytearray(buffer))


def unpack(parts: Sequence[memoryview]) -> Any:
    """The value again. Raises whatever its reducers raise."""
    if len(parts) == 1:
        return loads(parts[0])
    return loads(parts[0], buffers=parts[1:])


def pack_plain(obj: object) -> bytes:
    """Serialise something of our own, of built-in types only."""
    return dumps(obj, 5)


# --- many values ----------------------------------------------------------------------------------


def bundle(values: Sequence[Any], *, plain: bool = False) -> tuple[list[Any], Parts]:
    """Values, scalars as they are and all else `Packed`, as a description and parts.

    `plain` says that there are only scalars, so that nobody needs to look.
    """
    if plain or Packed not in set(map(type, values)):
        return [(_BATCH, len(values))], [dumps(values, 5)]
    parcels: list[Any] = []
    parts: Parts = []
    at = 0
    while at < len(values):
        end = at
        if type(values[at]) is not Packed:
            while end < len(values) and type(values[end]) is not Packed:
                end += 1
            parcels.append((_BATCH, end - at))
            parts.append(dumps(values[at:end], 5))
        elif len(values[at].parts) > 1:
            end += 1
            parcels.append((_SINGLE, len(values[at].parts)))
            parts += values[at].parts
        else:
            while end < len(values) and type(values[end]) is Packed and len(values[end].parts) == 1:
                end += 1
            pickles = [value.parts[0] for value in values[at:end]]
            parcels.append((_JOINED, [len(pickle) for pickle in pickles]))
            parts.append(pickles[0] if len(pickles) == 1 else b"".join(pickles))
        at = end
    return parcels, parts


def holds_packed(parcels: Sequence[Any]) -> bool:
    """Whether `unbundle` of these answers values that are still to be unpacked."""
    return any(parcel[0] != _BATCH for parcel in parcels)


def unbundle(parcels: Sequence[Any], parts: Sequence[memoryview]) -> Sequence[Any]:
    """The values again: scalars as they are and all else `Packed`, still to be unpacked."""
    values: list[Any] = []
    at = 0
    for kind, detail in parcels:
        if kind == _BATCH:
            batch: Sequence[Any] = loads(parts[at])
            if len(parcels) == 1:
                return batch
            values += batch
            at += 1
        elif kind == _SINGLE:
            values.append(Packed(list(parts[at : at + detail])))
            at += detail
        else:
            begin = 0
            for length in detail:
                values.append(Packed([parts[at][begin : begin + length]]))
                begin += length
            at += 1
    return values
