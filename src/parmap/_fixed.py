"""Values of the standard library that never change, such as dates and paths.

Nobody can tell one from an equal one, so many may share a pickle.

None of these modules is imported here: there are no such values unless the program has done so.
"""

from __future__ import annotations

import copyreg
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")

#: Types by the names of their modules.
_NAMES = {
    "datetime": ("date", "time", "datetime", "timedelta"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,  # Python 3.13
    "uuid": ("UUID",),
}

#: What pickles of such values, or of NumPy's numbers, mention.
MENTIONED = (b"numpy", *(name.encode() for name in _NAMES))

_module_of = type.__dict__["__module__"].__get__  # which asks no metaclass

#: Those that have been met.
_known: set[type] = set()


def all_fixed(values: Sequence[Any], kind: type) -> bool:
    """Whether these are such values. All are of this type."""
    return is_fixed(kind) and (not has_zone(kind) or _have_plain_zones(values))


def is_fixed(kind: type) -> bool:
    """Whether this is the type of such values, apart from a zone that some have."""
    if kind not in _known:
        module: Any = _module_of(kind)
        if type(module) is not str or kind.__name__ not in _NAMES.get(module, ()):
            return False
        if getattr(sys.modules.get(module), kind.__name__, None) is not kind:
            return False
        _known.add(kind)
    return kind not in copyreg.dispatch_table


def has_zone(kind: type) -> bool:
    """Whether values of this fixed type may have a zone, which may be an object of any kind."""
    return hasattr(kind, "tzinfo")


def _have_plain_zones(times: Sequence[Any]) -> bool:
    zones = {type(time.tzinfo) for time in times}
    return zones <= {type(None), sys.modules["datetime"].timezone}
