"""Values that never change: dates, times, differences of these, decimals; and members of plain enums.

Nobody can tell one from an equal one, so many may share a pickle. They are made in C, hold nothing but
numbers, and run nobody's code as they are pickled and unpickled. (UUIDs, fractions and paths are written in
Python, and may hold anything.) None of these modules is imported here: there are no such values unless the
program has done so.

Of a member of an enum there is one in each process, and all that is pickled of it is its value.
"""

from __future__ import annotations

import copyreg
import sys

from ._arrays import module_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

#: Where these types are, by the module that they name; a program may have one of its own by such a name.
_PLACES = {
    "datetime": ("_datetime", ("date", "time", "datetime", "timedelta")),
    "decimal": ("_decimal", ("Decimal",)),
}

#: What values of enums may be: `nan` would not be found again.
_VALUES = frozenset({int, str, bytes, bool, type(None)})

#: Those that have been met.
_known: set[type] = set()


def is_fixed(kind: type) -> bool:
    """Whether this is the type of such values, apart from a zone that some have."""
    if kind not in _known:
        name: Any = module_of(kind)
        if type(name) is not str or not (_is_enum(kind, name) or _is_of_library(kind, name)):
            return False
        _known.add(kind)
    if kind in copyreg.dispatch_table:
        return False
    return type(kind) is type or _is_found(kind)  # its module may have been loaded anew since


def _is_of_library(kind: type, module: str) -> bool:
    place, names = _PLACES.get(module, ("", ()))
    return any(getattr(sys.modules.get(place), each, None) is kind for each in names)


def _is_enum(kind: Any, module: str) -> bool:
    """Whether this is an enum of a module, whose members are known by what they are worth."""
    metaclass: Any = type(kind)
    if metaclass is type or "enum" not in sys.modules:
        return False
    enum: Any = sys.modules["enum"]
    return (
        metaclass is enum.EnumType
        and not issubclass(kind, enum.Flag)  # of which there may be more than have names
        and kind.__reduce_ex__ is enum.Enum.__reduce_ex__
        and module not in ("__main__", "__mp_main__")
        and type(kind.__sizeof__) is type(object.__sizeof__)  # which runs nobody's code
        and all(type(member._value_) in _VALUES for member in kind.__members__.values())
        and _is_found(kind)
    )


def _is_found(kind: Any) -> bool:
    """Whether an enum is where its module keeps it."""
    space: dict[str, Any] = getattr(sys.modules.get(kind.__module__), "__dict__", {})
    return space.get(kind.__qualname__) is kind


def all_fixed(values: Iterable[Any], kind: type) -> bool:
    """Whether these are such values. All are of this type."""
    return is_fixed(kind) and (not has_zone(kind) or _have_plain_zones(values))


def has_zone(kind: type) -> bool:
    """Whether values of this fixed type may have a zone, which may be an object of any kind."""
    return type(kind) is type and hasattr(kind, "tzinfo")  # enums may have what they like


def are_alike(kind: type) -> bool:
    """Whether one value of this fixed type is like any other: it has no zone, and is as small."""
    if type(kind) is type:
        return kind.__name__ in ("date", "timedelta")
    return kind in _known  # an enum


def _have_plain_zones(times: Iterable[Any]) -> bool:
    utc = sys.modules["_datetime"].timezone.utc
    return all(zone is None or zone is utc for zone in [time.tzinfo for time in times])
