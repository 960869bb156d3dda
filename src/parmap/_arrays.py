"""NumPy's numbers and small arrays, of which many travel as one; and arrays as inputs.

NumPy is never imported here: there is none of this unless the program has.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

#: Bytes of an array up to which a copy costs less than a pickle of its own.
_SMALL = 1 << 15

#: Of so many it pays to make one array.
_MANY = 8

#: Types that were asked about, and whether they are of NumPy's numbers. (No program makes many of these.)
_known: dict[type, bool] = {}


def is_number(kind: type) -> bool:
    """Whether this is a type of NumPy's numbers, which nobody can tell from equal ones."""
    if kind.__module__ != "numpy":
        return False
    found = _known.get(kind)
    if found is None:
        numpy: Any = sys.modules.get("numpy")
        found = (
            numpy is not None
            and issubclass(kind, (numpy.number, numpy.bool_))
            and not issubclass(kind, numpy.timedelta64)  # whose units an array would make alike
        )
        _known[kind] = found
    return found


def of_array(kind: type) -> bool:
    """Whether this is the type of arrays itself."""
    return kind.__name__ == "ndarray" and kind.__module__ == "numpy"


def is_array(value: Any) -> bool:
    """Whether this is an array whose items are as good as its slices."""
    return of_array(type(value)) and value.ndim > 0 and _is_simple(value.dtype)


def _is_simple(dtype: Any) -> bool:
    return not dtype.hasobject and dtype.kind != "V"


def copied(value: Any) -> Any:
    """A small array as it is now; None: it is another one, or not an ordinary one."""
    if not of_array(type(value)) or value.nbytes > _SMALL:
        return None
    return value.copy() if _is_simple(value.dtype) and value.flags.carray else None


def as_one(values: Sequence[Any], kind: type) -> Any:
    """An array whose items are these values, which are of one type; None: it takes one pickle for all."""
    if is_number(kind):
        array = sys.modules["numpy"].array(values, kind)
        return array if array.dtype.type is kind and array.ndim == 1 else None
    return stacked(values) if of_array(kind) else None


def stacked(values: Sequence[Any]) -> Any:
    """An array of small arrays that are alike; None: they are not, or too few."""
    first = values[0]
    dtype, shape = first.dtype, first.shape
    if len(values) < _MANY or not shape or first.nbytes > _SMALL:
        return None
    if not _is_simple(dtype) or not dtype.isnative:
        return None
    for value in values:
        if value.shape != shape or value.dtype != dtype or not value.flags.carray:
            return None
    return sys.modules["numpy"].concatenate(values).reshape((len(values), *shape))


def joined(arrays: Sequence[Any]) -> Any:
    """One array with the items of several; None: these are not alike."""
    first, *others = arrays
    if any(array.shape[1:] != first.shape[1:] or array.dtype != first.dtype for array in others):
        return None
    return sys.modules["numpy"].concatenate(arrays)
