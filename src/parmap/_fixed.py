"""Values of the standard library that never change: dates, times, differences of these, decimals.

Nobody can tell one from an equal one, so many may share a pickle. They are made in C, hold nothing but
numbers, and run nobody's code as they are pickled and unpickled. (UUIDs, fractions and paths are written in
Python, and may hold anything.) None of these modules is imported here: there are no such values unless the
program has done so.
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

#: What pickles of such values, or of NumPy's numbers, mention.
MENTIONED = (b"numpy", *(name.encode() for name in _PLACES))

#: Those that have been met.
_known: set[type] = set()


def is_fixed(kind: type) -> bool:
    """Whether this is the type of such values, apart from a zone that some have."""
    if kind not in _known:
        name: Any = module_of(kind)
        if type(name) is not str or name not in _PLACES:
            return False
        place, names = _PLACES[name]
        module = sys.modules.get(place)
        if not any(getattr(module, each, None) is kind for each in names):
            return False
        _known.add(kind)
    return kind not in copyreg.dispatch_table


def all_fixed(values: Iterable[Any], kind: type) -> bool:
    """Whether these are such values. All are of this type."""
    return is_fixed(kind) and (not has_zone(kind) or _have_plain_zones(values))


def has_zone(kind: type) -> bool:
    """Whether values of this fixed type may have a zone, which may be an object of any kind."""
    return hasattr(kind, "tzinfo")


def are_alike(kind: type) -> bool:
    """Whether one value of this fixed type is like any other: it has no zone, and is as small."""
    return kind.__name__ in ("date", "timedelta")


def _have_plain_zones(times: Iterable[Any]) -> bool:
    utc = sys.modules["_datetime"].timezone.utc
    return all(zone is None or zone is utc for zone in [time.tzinfo for time in times])
