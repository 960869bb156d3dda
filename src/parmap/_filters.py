"""Warning filters on their way to workers, which may not have imported what the filters' categories are.

To import a library only because it has set a filter for its own warnings would cost each worker more than
its start, while most functions never need that library. So such a category travels by its name, and until
it is imported there, a class of that name stands for it, which nothing is a subclass of.
"""

from __future__ import annotations

import copyreg
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MESSAGE, _CATEGORY = 1, 2  # places in a filter, whose first is the action

_ModuleType = type(sys)


def named(filters: list[Any]) -> list[Any]:
    """Filters to be sent, with the names of categories in place of those that need not be imported."""
    return [
        _with_category(one, _name(one[_CATEGORY], filters[:place], filters[place + 1 :]))
        for place, one in enumerate(filters)
    ]


def _with_category(one: Any, category: Any) -> Any:
    return (*one[:_CATEGORY], category, *one[_CATEGORY + 1 :])


def _name(category: Any, before: list[Any], after: list[Any]) -> Any:
    """The name of a category, unless it matters when it is imported.

    With its import its library sets filters, before all others. So there must be none before it but that
    library's, and no second one for the same warnings, which may be the user's. And an import may warn,
    which must be no error.
    """
    if type(category) is _Absent:
        return category.names
    if not isinstance(category, type) or category.__module__ == "builtins":
        return category
    names = category.__module__, category.__qualname__
    package = category.__module__.partition(".")[0]
    errors = [one for one in after if one[0] == "error"]
    if (
        _find(names) is not category
        or not all(_is_by(package, one) for one in before + errors)
        or any(_overlap(category, one) for one in before + after if one[_MESSAGE] is None)
    ):
        return category
    return names


def _overlap(category: type, one: Any) -> bool:
    """Whether a filter's category may match the same warnings, and is no built-in one."""
    other = one[_CATEGORY]
    if not isinstance(other, type) or other.__module__ == "builtins" or type(other) is _Absent:
        return False
    return issubclass(category, other) or issubclass(other, category)


def _is_by(package: str, one: Any) -> bool:
    """Whether a filter concerns that package only, as far as can be seen."""
    category, message = one[_CATEGORY], one[_MESSAGE]
    module = category.names[0] if type(category) is _Absent else getattr(category, "__module__", "")
    return module.partition(".")[0] == package or (
        message is not None and getattr(message, "pattern", message).startswith(package)
    )


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
