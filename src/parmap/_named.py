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

from . import _globals
from ._globals import PROGRAM
from ._handlers import let_pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Known = tuple[str, str, int]  # module, name, and the how-manieth of that name


def reduce(obj: Any, tell: Callable[[object], bytes]) -> Any:
    """How an object travels, as a pickler's `reducer_override` says it; None: as any other.

    `tell` answers what tells its state from others.
    """
    kind = type(obj)
    if kind in _MAKERS:
        name = getattr(obj, "__qualname__", obj.__name__)
        if obj.__module__ not in PROGRAM and _is_found(obj, obj.__module__, name):
            return None
        make, arguments = _MAKERS[kind]
        return _named, (_known(obj, name), _of, (obj.__module__, make, *arguments(obj)), None, b"")
    if kind.__name__ == "ForwardRef" and kind.__module__ == "annotationlib":
        return _forward_reference(obj)
    own: Any = kind.__reduce__
    is_usual = own is object.__reduce__ or kind in copyreg.dispatch_table
    if is_usual or kind.__module__ not in PROGRAM:
        return None
    reduced = obj.__reduce_ex__(5)
    if not isinstance(reduced, str):
        return reduced
    state = obj.__getstate__()
    told = b"" if state is None else tell(state)
    return _named, (_known(obj, reduced), copyreg.__newobj__, (kind,), state, told)  # type: ignore[attr-defined]


def _known(obj: Any, name: str) -> Known | None:
    """By what an object is known in other processes: the name alone may come to be another's."""
    if id(obj) in _names:
        return _names[id(obj)]
    module = obj.__module__
    if not _is_found(obj, module, name):
        return None
    count, newest = _counted.get((module, name), (0, None))
    if newest is not obj:
        count += 1
        _counted[module, name] = count, obj
    return module, name, count


#: The newest object of each name, and how many there were: an `id` may come to be another's.
_counted: dict[tuple[str, str], tuple[int, Any]] = {}


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
    except Exception as error:  # what it mentions may not exist
        let_pass(error)
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

#: The newest of each name that were made here, and what told their states from others.
_things: dict[tuple[str, str], tuple[int, Any, bytes]] = {}
_names: dict[int, Known] = {}  # the same, by their ids


def _named(
    known: Known | None,
    make: Callable[..., Any],
    arguments: tuple[Any, ...],
    state: Any,
    told: bytes,
) -> Any:
    if known is None:
        made = make(*arguments)
        _set_state(made, state)
        return made
    name, count = known[:2], known[2]
    if name in _counted and _counted[name][0] == count:
        return _counted[name][1]  # this is the caller
    held = _things.get(name)
    if held is not None and held[0] == count:
        made, is_same = held[1], told != b"" and told == held[2]
    else:
        if held is not None:
            _names.pop(id(held[1]), None)
        made, is_same = make(*arguments), False
        _names[id(made)] = known
    if held is None or not is_same:
        _set_state(made, state)
        held = _things[name] = count, made, told
    _globals.watch(lambda: _things.get(name) is held, changed=not is_same)
    return made


def _set_state(made: Any, state: Any) -> None:
    """As `pickle` does it."""
    if state is None:
        return
    if hasattr(made, "__setstate__"):
        made.__setstate__(state)
        return
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    for name, value in {**(attributes or {}), **(slots or {})}.items():
        object.__setattr__(made, name, value)
