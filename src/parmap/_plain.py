"""Small tuples, lists and dictionaries that hold scalars alone, NumPy's too, as records often do.

A copy of one shares nothing that anybody could change with any other, so many of them go in one pickle,
which takes a tenth of what a pickle for each does.
"""

from __future__ import annotations

from itertools import chain

from . import _arrays

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any

#: The types whose values may be batched: nobody can tell them from equal ones.
SCALARS = frozenset({int, float, complex, bool, str, bytes, type(None)})

#: Scalars whose size is their length, more or less.
SIZED = frozenset({str, bytes})

_values: Any = dict.values  # pyright: ignore[reportUnknownMemberType]

#: What one holds at most, or many on average: to look at more takes longer than to pickle each by itself.
_LONGEST = 32


def copied(value: Any) -> tuple[Any, int] | None:
    """The value as it is now, and bytes of the strings in it; None: it is not plain, or not small."""
    kind = type(value)
    if kind not in (tuple, list, dict) or len(value) > _LONGEST:
        return None
    made = value if kind is tuple else value.copy()
    leaves = made.values() if kind is dict else made
    kinds = [*map(type, leaves)]
    if not _are_scalars(kinds):
        return None
    if kind is dict and not SCALARS.issuperset(map(type, made)):
        return None
    return made, 0 if SIZED.isdisjoint(kinds) else _lengths(leaves)


def all_copied(values: list[Any], kind: type) -> tuple[list[Any], int] | None:
    """The same for many of one kind, which are small on average."""
    if kind not in (tuple, list, dict) or sum(map(len, values)) > _LONGEST * len(values):
        return None
    made = values if kind is tuple else [*map(kind, values)]
    leaves: Iterable[Any] = chain.from_iterable(made)
    if kind is dict:
        if not SCALARS.issuperset(map(type, leaves)):
            return None
        leaves = chain.from_iterable(map(_values, made))
    found = [*leaves]
    kinds = set(map(type, found))
    if not _are_scalars(kinds):
        return None
    return made, 0 if SIZED.isdisjoint(kinds) else _lengths(found)


def _are_scalars(kinds: Collection[type]) -> bool:
    """Whether all are, or numbers of NumPy's."""
    return SCALARS.issuperset(kinds) or all(
        kind in SCALARS or _arrays.is_number(kind) for kind in kinds
    )


def _lengths(leaves: Iterable[Any]) -> int:
    return sum([len(leaf) for leaf in leaves if type(leaf) in SIZED])
