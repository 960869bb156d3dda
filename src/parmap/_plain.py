"""Small tuples, lists, dictionaries and sets that hold values alone that nobody can tell from equal ones.

Those are scalars, NumPy's too, and fixed values such as dates: as records often do. And small arrays, each
of which is copied, too.

A copy of one shares nothing that anybody could change with any other, so many of them go in one pickle,
which takes a tenth of what a pickle for each does.
"""

from __future__ import annotations

from itertools import chain

from . import _arrays, _fixed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: The types whose values may be batched: nobody can tell them from equal ones.
SCALARS = frozenset({int, float, complex, bool, str, bytes, type(None)})

#: Scalars whose size is their length, more or less.
SIZED = frozenset({str, bytes})

#: What may be plain.
KINDS = (tuple, list, dict, set, frozenset)

#: Which of these need no copy.
_NEVER_CHANGE = (tuple, frozenset)

_values: Any = dict.values  # pyright: ignore[reportUnknownMemberType]

#: What one holds at most, or many on average: to look at more takes longer than to pickle each by itself.
_LONGEST = 32

#: How many arrays one holds at most: one pickle for many more of them takes longer than a pickle for each.
#: And bytes that an array has beside what is in it.
_MOST_ARRAYS = 2
_HEAD = 100

#: How many of a kind that is not plain are passed over at most before one is looked at again.
_PASSED_OVER = 32

#: Numbers below this need not be weighed; and bytes that an object has, as far as Python tells, without
#: being large.
_USUAL = 1 << 64
_WORDS = max(map(object.__sizeof__, (-1, 0, 1, 1.5, 1j, "", b"", None)))


def are_alike(kind: type) -> bool:
    """Whether all of this type are like one that needed no copy: they need none, and weigh as little."""
    return kind not in KINDS and (_arrays.is_number(kind) or _fixed.are_alike(kind))


def copied(value: Any) -> tuple[Any, int] | None:
    """The container as it is now, and bytes of what is large in it; None: it is not plain, or not small."""
    kind = type(value)
    if kind not in KINDS or len(value) > _LONGEST:
        return None
    # Before it is looked at: another thread may be changing it.
    value = value if kind in _NEVER_CHANGE else value.copy()
    nbytes = 0
    arrays: dict[int, Any] = {}
    leaves = value
    if kind is dict:
        leaves = value.values()
        for key in value:
            if type(key) is str:
                nbytes += len(key)
            else:
                leaves = (*leaves, key)
    for leaf in leaves:
        of = type(leaf)
        if of is float:
            continue
        if of is int:
            if not -_USUAL < leaf < _USUAL:
                nbytes += leaf.bit_length() >> 3
        elif of is str or of is bytes:
            nbytes += len(leaf)
        elif of not in SCALARS and not _arrays.is_number(of):
            weight = _weight(leaf, of, arrays)
            if weight is None:
                return None
            nbytes += weight
    return (_with(value, arrays) if arrays else value), nbytes


def _single(value: Any, kind: type) -> tuple[Any, int] | None:
    """The same of what holds no others."""
    if _arrays.concerns(kind):
        return (value, 0) if _arrays.is_number(kind) else _arrays.copied(value)
    if _fixed.all_fixed([value], kind):
        return value, value.__sizeof__()
    return (value, 0) if kind in SCALARS else None


def _weight(leaf: Any, kind: type, arrays: dict[int, Any]) -> int | None:
    """Bytes of what is no scalar: a fixed value, or a small array, whose copy is noted; None: neither."""
    if _arrays.of_array(kind):
        if id(leaf) in arrays:
            return 0
        made = _arrays.copied(leaf) if len(arrays) < _MOST_ARRAYS else None
        if made is None:
            return None
        arrays[id(leaf)] = made[0]
        return made[1] + _HEAD
    return leaf.__sizeof__() if _fixed.all_fixed([leaf], kind) else None


def _with(value: Any, others: dict[int, Any]) -> Any:
    """The same, with these in place of what it holds of their identities: twice if it holds one twice."""
    if type(value) is dict:
        return {key: others.get(id(leaf), leaf) for key, leaf in value.items()}
    return type(value)([others.get(id(leaf), leaf) for leaf in value])


class Copier:
    """Copies values one after another; looks at fewer and fewer containers while they are not plain.

    Then each is to be pickled by itself, which is always right, and to find out takes half as long as that.
    """

    __slots__ = ("_left", "_pause")

    def __init__(self) -> None:
        self._pause = 0  # how many are passed over after one that is not plain
        self._left = 0  # how many of them are still to come

    def copied(self, value: Any) -> tuple[Any, int] | None:
        """A value as it is now, and bytes of what is large in it; None: it has to be pickled by itself."""
        kind = type(value)
        if kind not in KINDS:
            return _single(value, kind)
        if self._left:
            self._left -= 1
            return None
        made = copied(value)
        if made is None:
            self._left = self._pause = min(2 * self._pause + 1, _PASSED_OVER)
        elif self._pause:
            self._pause = 0
        return made


def all_copied(values: list[Any], kind: type) -> tuple[list[Any], int] | None:
    """The same for many of one kind, which are small on average."""
    if kind not in KINDS or sum(map(len, values)) > _LONGEST * len(values):
        return None
    if len(values[0]) <= _LONGEST and copied(values[0]) is None:
        return None  # nor are the others, probably
    made = values if kind in _NEVER_CHANGE else [*map(kind, values)]
    nbytes = 0
    for inside in (made, map(_values, made)) if kind is dict else (made,):
        leaves = [*chain.from_iterable(inside)]
        kinds = set(map(type, leaves))
        for other in kinds - SCALARS:
            if _arrays.of_array(other):
                return each_copied(values, copied)
            if not _arrays.is_number(other):
                others: list[Any] = [leaf for leaf in leaves if type(leaf) is other]
                if not _fixed.all_fixed(others, other):
                    return None
                nbytes += sum([leaf.__sizeof__() for leaf in others])
        nbytes += _heavy(leaves, kinds)
    return made, nbytes


def each_copied(
    values: list[Any], copy: Callable[[Any], tuple[Any, int] | None]
) -> tuple[list[Any], int] | None:
    """What `copy` makes of each, and their bytes; None: it makes nothing of one."""
    made: list[Any] = []
    nbytes = 0
    for value in values:
        one = copy(value)
        if one is None:
            return None
        made.append(one[0])
        nbytes += one[1]
    return made, nbytes


def _heavy(leaves: list[Any], kinds: set[type]) -> int:
    """Bytes of strings and large numbers among scalars of these kinds."""
    if kinds <= SIZED:
        return sum(map(len, leaves))
    nbytes = 0
    if int in kinds:
        # All at once: to pick out the numbers takes longer. (From Python 3.12 on it is more than they have.)
        nbytes = max(0, sum(map(object.__sizeof__, leaves)) - _WORDS * len(leaves))
    if not SIZED.isdisjoint(kinds):
        nbytes += sum([len(leaf) for leaf in leaves if type(leaf) in SIZED])
    return nbytes
