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
        self._spaces: dict[int, Any] = {}  # see `reduce_function`

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
        return reduce_function(func, _names(func.__code__), self._spaces)


def reduce_function(func: FunctionType, names: set[str], spaces: dict[int, Any]) -> Any:
    """A function's code and what it refers to by `names`, for a pickler's `reducer_override`.

    Functions of one module share one namespace; `spaces` keeps it between the functions of one pickle.
    """
    space, _ = spaces.setdefault(id(func.__globals__), ({}, func.__globals__))
    found = {name: func.__globals__[name] for name in names if name in func.__globals__}
    found |= _submodules(found, names)
    is_main = func.__module__ == "__main__"
    bare = (
        marshal.dumps(func.__code__),
        func.__name__,
        func.__qualname__,
        _NAME_MARK if is_main else func.__module__,
        len(func.__closure__ or ()),
        None if is_main else space,
    )
    state = (
        found,
        [_content(cell) for cell in func.__closure__ or ()],
        func.__defaults__,
        func.__kwdefaults__,
        dict(func.__dict__),
        dict(func.__annotations__),
        func.__doc__,
    )
    # The state comes after the function, so that it may hold the function itself.
    return _make, bare, state, None, None, _set_state


def _content(cell: CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # a variable that has no value yet
        return ()


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


_main: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
_received: dict[str, bytes] = {}  # what the caller's globals were when they last arrived


def _make(
    code: bytes, name: str, qualname: str, module: Any, cells: int, space: dict[str, Any] | None
) -> FunctionType:
    if space is None:
        # What stands for the caller's `__main__` here. It outlives a call, so that what an initializer
        # has set is there for the functions of later calls, as in a forked process.
        space, module = _main, "__main__"
    else:
        space.setdefault("__name__", module)
        space.setdefault("__builtins__", __builtins__)
    made = marshal.loads(code)  # noqa: S302 -- as safe as the pickle that it stands in
    func = FunctionType(made, space, name, None, tuple(CellType() for _ in range(cells)) or None)
    func.__qualname__ = qualname
    func.__module__ = module
    return func


def _set_state(func: FunctionType, state: Any) -> None:
    found, cells, defaults, kwdefaults, attributes, annotations, doc = state
    if func.__globals__ is _main:
        found = {name: value for name, value in found.items() if _is_news(name, value)}
    func.__globals__.update(found)
    for cell, content in zip(func.__closure__ or (), cells, strict=True):
        if content:
            (cell.cell_contents,) = content
    func.__defaults__ = defaults
    func.__kwdefaults__ = kwdefaults
    func.__dict__.update(attributes)
    func.__annotations__ = annotations
    func.__doc__ = doc


def _is_news(name: str, value: object) -> bool:
    """Whether the caller's global is another than when it last arrived.

    If it is not, what has become of it here since is kept.
    """
    if isinstance(value, (FunctionType, type, ModuleType)):
        return True
    try:
        data = dumps(value, None)
    except NotSimple:
        return True
    same = name in _main and _received.get(name) == data
    _received[name] = data
    return not same
