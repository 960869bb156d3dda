"""Warning filters on their way to workers, which may not have imported what the filters' categories are.

To import a library only because the caller has a filter for its warnings would cost each worker more than
its start, while most functions never need that library. So categories travel by name, and a filter takes
effect with the import of its category: until then there is nothing that it could match.
"""

from __future__ import annotations

import sys

from ._byvalue import importable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CATEGORY = 2  # its place in a filter


def named(filters: list[Any]) -> list[Any]:
    """Filters whose categories go by the names of module and class, where they can be found by these."""
    return [_with_category(one, _name(one[_CATEGORY])) for one in filters]


def _with_category(one: Any, category: Any) -> Any:
    return (*one[:_CATEGORY], category, *one[_CATEGORY + 1 :])


def _name(category: Any) -> Any:
    if isinstance(category, tuple) or category.__module__ == "builtins":
        return category
    return (category.__module__, category.__qualname__) if importable(category) else category


def known(filters: list[Any]) -> list[Any]:
    """Those of the filters whose categories exist here, with these in place of their names."""
    found = ((one, _find(one[_CATEGORY])) for one in filters)
    return [_with_category(one, category) for one, category in found if category is not None]


def _find(category: Any) -> Any:
    if not isinstance(category, tuple):
        return category
    module, path = category[0], str(category[1])
    found: Any = sys.modules.get(module)
    for name in path.split("."):
        found = getattr(found, name, None)
    return found if isinstance(found, type) else None


def awaited(filters: list[Any]) -> set[str]:
    """The modules with whose imports more of the filters may become known, or their order be disturbed."""
    modules = {one[_CATEGORY][0] for one in filters if isinstance(one[_CATEGORY], tuple)}
    paths = [module.split(".") for module in modules if module not in sys.modules]
    above = {".".join(path[:end]) for path in paths for end in range(1, len(path) + 1)}
    return above - sys.modules.keys()


def added(current: list[Any], filters: list[Any]) -> list[Any] | None:
    """What somebody has put before the known ones of `filters` since; None: it has done more than that."""
    ours = known(filters)
    count = len(current) - len(ours)
    return current[:count] if count >= 0 and current[count:] == ours else None


def kept(current: list[Any], filters: list[Any]) -> list[Any]:
    """The current filters, with those of `filters` that are not known yet in their places among them."""
    new = added(current, filters)
    return current if new is None else new + filters
