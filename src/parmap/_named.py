"""Objects that pickle by their own names, though workers have no module of the program.

`typing.NewType`, a type alias, a sentinel or a singleton of the user's own says to `pickle` that it is the
object of some name in its module. Those of the program travel by value instead: each is made once in a
worker, and known by its name there, so that it is one object in all that arrives; to the caller they go
back by name.
"""

from __future__ import annotations

import builtins
import copyreg
import sys
import typing
from operator import attrgetter

from ._globals import PROGRAM, main, of_main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Known = tuple[str, str, int]  # module, name, and the id that it has there


def reduce(obj: Any) -> Any:
    """How an object travels, as a pickler's `reducer_override` says it; None: as any other."""
    kind = type(obj)
    if kind in _MAKERS:
        name = getattr(obj, "__qualname__", obj.__name__)
        if obj.__module__ not in PROGRAM and _is_found(obj, obj.__module__, name):
            return None
        make, arguments = _MAKERS[kind]
        return _named, (_known(obj, name), _of, (obj.__module__, make, *arguments(obj)), None)
    if kind.__name__ == "ForwardRef" and kind.__module__ == "annotationlib":
        return _forward_reference(obj)
    own: Any = kind.__reduce__
    if kind.__module__ not in PROGRAM or own is object.__reduce__:
        return None
    reduced = obj.__reduce_ex__(5)
    if not isinstance(reduced, str):
        return reduced
    return _named, (_known(obj, reduced), copyreg.__newobj__, (kind,), obj.__getstate__())  # type: ignore[attr-defined]


def _known(obj: Any, name: str) -> Known | None:
    """By what an object is known in other processes: the name alone may come to be another's."""
    if id(obj) in _names:
        return _names[id(obj)]
    module = obj.__module__
    return (module, name, id(obj)) if _is_found(obj, module, name) else None


def _is_found(obj: object, module: str | None, name: str) -> bool:
    """Whether an object has this name in a module here, and in workers, too, if that is not the program's."""
    if module is None:
        return False
    try:
        found = attrgetter(name)(sys.modules[module])
    except (KeyError, AttributeError):
        return False
    return found is obj


def _name(obj: Any) -> tuple[Any, ...]:
    return (obj.__name__,)


def _new_type(obj: Any) -> tuple[Any, ...]:
    return obj.__name__, obj.__supertype__


def _alias(obj: Any) -> tuple[Any, ...]:
    try:
        return obj.__name__, obj.__value__
    except Exception:  # what it mentions may not exist
        return obj.__name__, None


def _of(module: str, make: Callable[..., Any], *arguments: Any) -> Any:
    """What `make` makes, as if that module had."""
    made = make(*arguments)
    try:
        made.__module__ = module
    except (AttributeError, TypeError):
        pass  # it says nothing about it, or cannot be told
    return made


def _sentinel(name: str, text: str) -> Any:
    make: Any = vars(builtins)["sentinel"]  # which type checkers may not know yet
    return make(name, repr=text)


#: By their types: what makes such objects, and of what.
_MAKERS: dict[Any, tuple[Callable[..., Any], Callable[[Any], tuple[Any, ...]]]] = {
    typing.NewType: (typing.NewType, _new_type),
    typing.ParamSpec: (typing.ParamSpec, _name),
    typing.TypeVarTuple: (typing.TypeVarTuple, _name),
}
if sys.version_info >= (3, 12):
    _MAKERS[typing.TypeAliasType] = typing.TypeAliasType, _alias
if "sentinel" in vars(builtins):  # from Python 3.15 on
    _MAKERS[vars(builtins)["sentinel"]] = _sentinel, lambda obj: (obj.__name__, repr(obj))


def _forward_reference(obj: Any) -> Any:
    """Without what it could be evaluated with, which is all of the module that it stands in."""
    manner = obj.__forward_module__, obj.__forward_is_argument__, obj.__forward_is_class__
    return _forward, (obj.__forward_arg__, *manner)


def _forward(text: str, module: Any, is_argument: bool, is_class: bool) -> Any:  # noqa: FBT001
    annotationlib: Any = __import__("annotationlib")  # which type checkers may not know yet
    return annotationlib.ForwardRef(text, module=module, is_argument=is_argument, is_class=is_class)


# --- in the worker --------------------------------------------------------------------------------

_things: dict[Known, Any] = {}  # that were made here
_names: dict[int, Known] = {}  # the same, by their ids


def _named(
    known: Known | None, make: Callable[..., Any], arguments: tuple[Any, ...], state: Any
) -> Any:
    if known in _things:
        return _things[known]
    if known is not None and known[0] in sys.modules and of_main() is not main:
        try:
            return attrgetter(known[1])(sys.modules[known[0]])  # in the caller, it is there
        except AttributeError:
            pass
    made = make(*arguments)
    if known is not None:
        _things[known] = made
        _names[id(made)] = known
    if state is not None:
        _set_state(made, state)
    return made


def _set_state(made: Any, state: Any) -> None:
    """As `pickle` does it."""
    if hasattr(made, "__setstate__"):
        made.__setstate__(state)
        return
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    for name, value in {**(attributes or {}), **(slots or {})}.items():
        object.__setattr__(made, name, value)
