"""Does something as soon as a module has been imported, for modules that most workers never need."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def when_imported(name: str, then: Callable[[Any], None]) -> None:
    """Call `then` with a module when it is imported next, before anybody else can use it."""
    sys.meta_path.insert(0, _Finder(name, then))


class _Finder:
    """Steps in when that module is imported, until it has been."""

    def __init__(self, name: str, then: Callable[[Any], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The ordinary spec, whose loader then also does what is to be done."""
        if name != self._name:
            return None
        for finder in sys.meta_path:
            if finder is self:
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                self._extend(spec.loader)
                return spec
        return None

    def _extend(self, loader: Any) -> None:
        ordinary = loader.exec_module

        def exec_module(module: Any) -> None:
            ordinary(module)
            # A loader may serve other modules, too; and to be looked for is not to be imported.
            if module.__name__ == self._name and self in sys.meta_path:
                sys.meta_path.remove(self)
                self._then(module)

        loader.exec_module = exec_module
