"""Warning filters on their way to workers, which may not have imported what the filters' categories are.

To import a library only because it has set a filter for its own warnings would cost each worker more than
its start, while most functions never need that library. So such a category travels by its name, and until
it is imported there, a class of that name stands for it, which nothing is a subclass of.
"""

from __future__ import annotations

import copyreg
import sys

from ._globals import PROGRAM
from ._nesting import within_an_import

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _List = list[Any]
else:
    _List = list  # `Any` is in a module that takes long to import

_CATEGORY = 2  # the place in a filter

_ModuleType = type(sys)
_NOT_NAMED = PROGRAM | {"builtins"}


def named(filters: list[Any]) -> list[Any]:
    """Filters to be sent, with the names of categories in place of those that need not be imported.

    A category is imported where warnings may be errors: an import may warn, and did so here before they
    were.
    """
    strict = any(one[0] == "error" and _is_general(one[_CATEGORY]) for one in filters)
    return [_with_category(one, _name(one[_CATEGORY], strict=strict)) for one in filters]


def bring_modules(filters: list[Any]) -> bool:
    """Whether who is sent these filters has to import modules for their categories."""
    categories = [one[_CATEGORY] for one in named(filters)]
    return any(isinstance(one, type) and one.__module__ not in _NOT_NAMED for one in categories)


def _is_general(category: Any) -> bool:
    return getattr(category, "__module__", "builtins") == "builtins"


def _with_category(one: Any, category: Any) -> Any:
    return (*one[:_CATEGORY], category, *one[_CATEGORY + 1 :])


def _name(category: Any, *, strict: bool) -> Any:
    if type(category) is _Absent:
        return category.names
    if strict or not isinstance(category, type) or category.__module__ in _NOT_NAMED:
        return category
    names = category.__module__, category.__qualname__
    return names if _find(names) is category else category


# --- in the worker --------------------------------------------------------------------------------


class _Absent(type):
    """The type of classes that stand for categories by their names, imported or not."""

    names: tuple[str, str]

    def __subclasscheck__(cls, subclass: type) -> bool:
        real = _find(cls.names)
        return real is not None and issubclass(subclass, real)


_absent: dict[tuple[str, str], _Absent] = {}  # by name: what was put in place of them


class Filters(_List):
    """The list of warning filters, in which an import puts none before what the caller has set since.

    What sets filters for its own warnings puts them before all others as it is imported. If the caller
    has a filter like that, or another for the same category, he has imported it before.
    """

    __slots__ = ("_callers",)

    def __init__(self, filters: list[Any], callers: list[Any]) -> None:
        super().__init__(filters)
        self._callers = callers

    def __getitem__(self, place: Any) -> Any:
        """The same kind of list if it is a slice, as `catch_warnings` takes it."""
        found = super().__getitem__(place)
        return Filters(found, self._callers) if type(place) is slice else found

    def remove(self, one: Any) -> None:
        """`warnings` does this with its like before it puts a filter first."""
        if not self._is_settled(one):
            super().remove(one)

    def insert(self, place: Any, one: Any) -> None:
        """`warnings` does this to put a filter first."""
        if not self._is_settled(one):
            super().insert(place, one)

    def append(self, one: Any) -> None:
        """`warnings` does this to put a filter last, if it does not see it."""
        if not self._is_settled(one):
            super().append(one)

    def _is_settled(self, one: Any) -> bool:
        return within_an_import() and any(
            theirs == one
            or (theirs[_CATEGORY] is one[_CATEGORY] and not _is_general(one[_CATEGORY]))
            for theirs in here(self._callers)
        )


def here(filters: list[Any]) -> list[Any]:
    """Filters as they are to be here, whether they have come or were here before."""
    return [_with_category(one, _category(one[_CATEGORY])) for one in filters]


def _category(category: Any) -> Any:
    names = category.names if type(category) is _Absent else category
    if type(names) is not tuple or not isinstance(names[0], str):
        return category
    return _find(names) or _stand_in(names)


def _find(names: tuple[str, str]) -> type | None:
    """The class of that name, if it is there; nothing is run to find it."""
    module, path = names
    found: Any = sys.modules.get(module)
    if type(found) is not _ModuleType:
        return None
    for name in path.split("."):
        held: dict[str, Any] = found.__dict__
        found = held.get(name)
        if not issubclass(type(found), type):
            return None
    kind: type = found
    return kind


def _stand_in(names: tuple[str, str]) -> _Absent:
    if names not in _absent:
        made = _Absent(names[1].rpartition(".")[2], (Warning,), {"__module__": names[0]})
        made.names = names
        _absent[names] = made
    return _absent[names]


def _real(module: str, path: str) -> Any:
    """The category itself, for whoever unpickles what stands for it."""
    __import__(module)
    found: Any = sys.modules[module]
    for name in path.split("."):
        found = getattr(found, name)
    return found


copyreg.pickle(_Absent, lambda category: (_real, category.names))
