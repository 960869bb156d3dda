"""Plain functions of `__main__` by value, without cloudpickle.

Importing cloudpickle takes longer than starting a worker, on both sides, and most functions of a script
are simple: code, defaults, a closure, and globals that are modules, values or more such functions.
Those travel here, reduced to what `pickle` and `marshal` carry. Anything else raises `NotSimple`, and
cloudpickle gets it: this module never has to be complete, only right about what it accepts.
"""

from __future__ import annotations

import marshal
import sys
from _pickle import Pickler
from io import BytesIO
from types import CellType, CodeType, FunctionType, ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: How a function's own `__name__` of "__main__" travels, so that any other mention of it stands out.
_NAME_MARK = b"parmap:__main__"

#: A function that brings along more than this takes the accurate way: `co_names` holds attribute names
#: too, so that a large global may have come along by its name alone.
_LARGEST = 1 << 16


class NotSimple(Exception):
    """Not for this module."""


def dumps(obj: object, buffer_callback: Callable[[Any], object] | None) -> bytes:
    """Pickle `obj`, with the functions in it by value where they cannot be imported.

    Raises:
        NotSimple: It holds something that only cloudpickle can carry, or nothing can.
    """
    file = BytesIO()
    pickler = _Pickler(file, 5, buffer_callback=buffer_callback)
    try:
        pickler.dump(obj)
    except Exception as error:
        raise NotSimple from error
    data = file.getvalue()
    if len(data) > _LARGEST or b"__main__" in data.replace(_NAME_MARK, b""):
        raise NotSimple
    return data


class _Pickler(Pickler):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._spaces: dict[int, dict[str, Any]] = {}  # one new namespace for each original
        self._kept: list[object] = []

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is FunctionType:
            return NotImplemented if _importable(obj) else self._reduce_function(obj)
        if kind is ModuleType:
            name = obj.__name__
            if name == "__main__" or sys.modules.get(name) is not obj:
                raise NotSimple
            return _import, (name,)
        if kind is CellType or (isinstance(obj, type) and obj.__module__ == "__main__"):
            raise NotSimple
        if kind.__module__ == "__main__":
            raise NotSimple
        return NotImplemented

    def _reduce_function(self, func: FunctionType) -> Any:
        if getattr(func, "__annotate__", None) is not None:
            raise NotSimple  # Python 3.14's deferred annotations: cloudpickle knows how
        code = func.__code__
        names = _names(code)
        space = self._spaces.get(id(func.__globals__))
        if space is None:
            space = self._spaces[id(func.__globals__)] = {}
            self._kept.append(func.__globals__)
        found = {name: func.__globals__[name] for name in names if name in func.__globals__}
        found |= _submodules(found, names)
        cells = [cell.cell_contents for cell in func.__closure__ or ()]
        bare = (
            marshal.dumps(code),
            func.__name__,
            func.__qualname__,
            _NAME_MARK if func.__module__ == "__main__" else func.__module__,
            len(cells),
            space,
        )
        state = (
            found,
            cells,
            func.__defaults__,
            func.__kwdefaults__,
            dict(func.__dict__),
            dict(func.__annotations__),
            func.__doc__,
        )
        # The state comes after the function, so that it may hold the function itself.
        return _make, bare, state, None, None, _set_state


def _importable(func: FunctionType) -> bool:
    module = sys.modules.get(func.__module__)
    if module is None or func.__module__ == "__main__":
        return False
    found: object = module
    for name in func.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is func


def _names(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
    return names


def _submodules(found: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Loaded submodules that `package.module` expressions need, though no global names them."""
    packages = [
        value.__name__ + "."
        for value in found.values()
        if isinstance(value, ModuleType) and hasattr(value, "__path__")
    ]
    if not packages:
        return {}
    return {
        f" {name}": module
        for name, module in list(sys.modules.items())
        for package in packages
        if name.startswith(package) and names.issuperset(name[len(package) :].split("."))
    }


# --- in the worker --------------------------------------------------------------------------------


def _import(name: str) -> ModuleType:
    __import__(name)
    return sys.modules[name]


def _make(
    code: bytes, name: str, qualname: str, module: Any, cells: int, space: dict[str, Any]
) -> FunctionType:
    module = "__main__" if module == _NAME_MARK else module
    space.setdefault("__name__", module)
    space.setdefault("__builtins__", __builtins__)
    made = marshal.loads(code)  # noqa: S302 -- as safe as the pickle that it stands in
    func = FunctionType(made, space, name, None, tuple(CellType() for _ in range(cells)) or None)
    func.__qualname__ = qualname
    func.__module__ = module
    return func


def _set_state(func: FunctionType, state: Any) -> None:
    found, cells, defaults, kwdefaults, attributes, annotations, doc = state
    func.__globals__.update(found)
    for cell, value in zip(func.__closure__ or (), cells, strict=True):
        cell.cell_contents = value
    func.__defaults__ = defaults
    func.__kwdefaults__ = kwdefaults
    func.__dict__.update(attributes)
    func.__annotations__ = annotations
    func.__doc__ = doc
