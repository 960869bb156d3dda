"""Does something as soon as a module has been imported, for modules that most workers never need."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    #: Called before a module's code runs; what it answers is called with the module afterwards.
    Around = Callable[[], Callable[[Any], None]]


def when_imported(name: str, around: Around) -> None:
    """Do something around the next import of a module, before anybody else can use it."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _finder.waiting.setdefault(name, []).append(around)


class _Finder:
    """Steps in when one of the modules is imported, until it has been."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Around]] = {}  # by the module's name

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The ordinary spec, whose loader then also does what is to be done."""
        if name not in self.waiting:
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
            # A loader may serve other modules, too; and to be looked for is not to be imported.
            after = [around() for around in self.waiting.get(module.__name__, ())]
            ordinary(module)
            self.waiting.pop(module.__name__, None)
            for then in after:
                then(module)

        loader.exec_module = exec_module


_finder = _Finder()
