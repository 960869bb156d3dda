"""Warning filters on their way to workers, which may not have imported what the filters' categories are.

To import a library only because it has set a filter for its own warnings would cost each worker more than
its start, while most functions never need that library. So such a category travels by its name, and until
it is imported there, a class of that name stands for it, which nothing is a subclass of.
"""

from __future__ import annotations

import sys

from ._byvalue import importable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MESSAGE, _CATEGORY, _MODULE = 1, 2, 3  # places in a filter, whose first is the action


def named(filters: list[Any]) -> list[Any]:
    """Filters to be sent, with the names of categories in place of those that need not be imported."""
    errors = [one for one in filters if one[0] == "error"]
    sent: list[Any] = []
    for place, one in enumerate(filters):
        others = filters[:place] + [other for other in errors if other is not one]
        sent.append(_with_category(one, _name(one[_CATEGORY], others)))
    return sent


def _with_category(one: Any, category: Any) -> Any:
    return (*one[:_CATEGORY], category, *one[_CATEGORY + 1 :])


def _name(category: Any, others: list[Any]) -> Any:
    """The name of a category, unless it matters when it is imported.

    With its import its library sets filters, too: before all others where it happens in an item, while the
    caller may have set some since. And it may warn, which others may turn into an error.
    """
    if type(category) is _Absent:
        return category.names
    if not isinstance(category, type) or category.__module__ == "builtins":
        return category
    if not importable(category) or any(_overlaps(category, one) for one in others):
        return category
    return category.__module__, category.__qualname__


def _overlaps(category: type, one: Any) -> bool:
    """Whether a filter that asks for no text or module may match the same warnings."""
    other = one[_CATEGORY]
    if one[_MESSAGE] is not None or one[_MODULE] is not None or type(other) is _Absent:
        return False
    return not isinstance(other, type) or issubclass(category, other) or issubclass(other, category)


# --- in the worker --------------------------------------------------------------------------------


class _Absent(type):
    """The type of classes that stand for categories by their names, imported or not."""

    names: tuple[str, str]

    def __subclasscheck__(cls, subclass: type) -> bool:
        real = _find(cls.names)
        return real is not None and issubclass(subclass, real)


_absent: dict[tuple[str, str], _Absent] = {}  # by name: what was put in place of them


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
    found: Any = sys.modules.get(names[0])
    for name in names[1].split("."):
        found = getattr(found, "__dict__", {}).get(name)
    return found if isinstance(found, type) else None


def _stand_in(names: tuple[str, str]) -> _Absent:
    if names not in _absent:
        made = _Absent(names[1].rpartition(".")[2], (Warning,), {"__module__": names[0]})
        made.names = names
        _absent[names] = made
    return _absent[names]
