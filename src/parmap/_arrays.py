"""NumPy's numbers and small arrays, of which many travel as one; and arrays as inputs.

NumPy is never imported here: there is none of this unless the program has.
"""

from __future__ import annotations

import copyreg
import sys

from ._memory import BESIDE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

#: Bytes of an array up to which a copy costs less than a pickle of its own.
_SMALL = 1 << 15

#: Of so many it pays to make one array.
_MANY = 8

#: Dimensions of an array of arrays that every version of NumPy allows, less its own. (And where there is
#: nothing in them, their shapes may be too large for one array.)
_DIMENSIONS = 31

module_of = type.__dict__["__module__"].__get__  # which asks no metaclass

#: Types that were asked about, and whether they are of NumPy's numbers. (No program makes many of these.)
_known: dict[type, bool] = {}


def concerns(kind: type) -> bool:
    """Whether a type is NumPy's: nothing else is of any interest here."""
    return bool(module_of(kind) == "numpy")


def is_number(kind: type) -> bool:
    """Whether this is a type of NumPy's numbers, which nobody can tell from equal ones."""
    found = _known.get(kind)
    if found is None:
        if not concerns(kind):
            return False
        numpy: Any = sys.modules.get("numpy")
        found = _known[kind] = (
            numpy is not None
            and issubclass(kind, (numpy.number, numpy.bool_))
            and not issubclass(kind, numpy.timedelta64)  # whose units an array would make alike
        )
    return found and kind not in copyreg.dispatch_table


def of_array(kind: type) -> bool:
    """Whether this is the type of arrays itself, and nobody has another way to pickle them."""
    if not concerns(kind) or kind.__name__ != "ndarray":
        return False
    return kind not in copyreg.dispatch_table


def is_array(value: Any) -> bool:
    """Whether this is an array whose items are as good as its slices.

    Rows have to lie there as a copy of them does; numbers are the same wherever they come from.
    """
    if not of_array(type(value)) or not _is_simple(value.dtype):
        return False
    return bool(value.ndim == 1 or (value.ndim > 1 and value.flags.carray))


def _is_simple(dtype: Any) -> bool:
    # `concatenate` would change the order of bytes, and forget what else somebody has noted.
    return not dtype.hasobject and dtype.kind != "V" and dtype.isnative and dtype.metadata is None


def copied(value: Any) -> tuple[Any, int] | None:
    """A small array as it is now, and its bytes; None: it is another one, or not an ordinary one."""
    if not of_array(type(value)) or value.nbytes > _SMALL:
        return None
    if not (_is_simple(value.dtype) and value.flags.carray):
        return None
    return value.copy(), value.nbytes


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
    if len(shape) > _DIMENSIONS or not first.nbytes:
        return None
    if not _is_simple(dtype):
        return None
    for value in values:
        if value.shape != shape or value.dtype != dtype or not value.flags.carray:
            return None
        if value.dtype.metadata is not None:
            return None
    return sys.modules["numpy"].concatenate(values).reshape((len(values), *shape))


def items_of(array: Any) -> list[Any]:
    """What an array holds: small rows by themselves, since one may be kept when all others are gone."""
    if array.ndim > 1 and len(array) and array[0].nbytes < BESIDE:
        return [row.copy() for row in array]
    return list(array)


def read(source: Any, first: int, upto: int, *, copy: bool) -> Any:
    """A slice of an array as input; a `copy` anyway, if its items are small."""
    run = source[first:upto]
    return run.copy() if copy or (len(run) and run[0].nbytes < BESIDE) else run


def joined(arrays: Sequence[Any]) -> Any:
    """One array with the items of several; None: these are not alike."""
    first, *others = arrays
    if any(array.shape[1:] != first.shape[1:] or array.dtype != first.dtype for array in others):
        return None
    return sys.modules["numpy"].concatenate(arrays)
