"""What `pickle` cannot carry, by cloudpickle, and the few things that cloudpickle cannot either.

Imported only when it is needed.
"""

from __future__ import annotations

import dis
import functools
import sys
from io import BytesIO
from types import CodeType, FunctionType

import cloudpickle

from . import _byvalue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def dumps(
    obj: object, buffer_callback: Callable[[Any], object] | None, *, home: bool = False
) -> bytes:
    """Pickle `obj`, with what is defined in `__main__`, locally or in a lambda by value.

    `home` says that it goes back to the caller, whose own classes then go by name.
    """
    with BytesIO() as file:
        pickler = _Pickler(file, 5, buffer_callback=buffer_callback)
        pickler.home = home
        pickler.dump(obj)
        return file.getvalue()


_inside: Any = sys.modules["cloudpickle.cloudpickle"]
# Not public; without them, classes travel as cloudpickle has it, definition and all.
_numbers: Any = getattr(_inside, "_DYNAMIC_CLASS_TRACKER_BY_CLASS", {})
_classes: Any = getattr(_inside, "_DYNAMIC_CLASS_TRACKER_BY_ID", {})
_numbered_here: set[Any] = set()


def _class_of(number: Any) -> type:
    cls: type = _classes[number]
    return cls


def _with_slots(cls: type, reduced: Any) -> Any:
    """Cloudpickle forgets `__slots__`, so that instances get a dictionary, which those here have not."""
    slots = cls.__dict__.get("__slots__")
    if not slots or not isinstance(reduced, tuple):
        return reduced  # empty ones, as a NamedTuple has, make no difference to what is pickled
    make, arguments, *rest = reduced
    if getattr(make, "__name__", "") != "_make_skeleton_class" or "__slots__" in arguments[3]:
        return reduced
    given = {**arguments[3], "__slots__": slots}
    return make, (*arguments[:3], given, *arguments[4:]), *rest


_CACHED = type(functools.lru_cache(lambda: None))


class _Pickler(cloudpickle.Pickler):
    home = False

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type) and obj.__module__ != "builtins":
            return self._reduce_class(obj)
        if type(obj) is _CACHED and _not_importable(obj):
            # The cache itself stays behind: each worker fills its own.
            cached: Any = obj
            parameters = cached.cache_parameters()
            return _cached, (parameters["maxsize"], parameters["typed"], cached.__wrapped__)
        if type(obj) is FunctionType and obj.__code__ is _DISPATCHER_CODE and _not_importable(obj):
            registry = dict(obj.registry)  # type: ignore[attr-defined]
            return _dispatcher, (registry.pop(object), registry)
        if (
            type(obj) is FunctionType
            and obj.__module__ == "__main__"
            and getattr(obj, "__annotate__", None) is None
        ):
            return _byvalue.reduce_function(obj, _names(obj.__code__), self._spaces)
        return super().reducer_override(obj)

    def _reduce_class(self, cls: type) -> Any:
        """A class of the caller's goes back by its number: else its definition would be set anew.

        cloudpickle numbers a class by which it knows it again; one that had a number before it was
        first pickled here has come from the caller.
        """
        number = _numbers.get(cls)
        if self.home and number is not None and number not in _numbered_here:
            return _class_of, (number,)
        reduced = super().reducer_override(cls)
        if number is None:
            _numbered_here.add(_numbers.get(cls))
        return _with_slots(cls, reduced)

    @functools.cached_property
    def _spaces(self) -> dict[int, Any]:
        return {}


def _names(code: CodeType) -> set[str]:
    """The globals that a function's code mentions, and those of the functions in it."""
    names = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if "GLOBAL" in instruction.opname
    }
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
    return names


def _not_importable(obj: Any) -> bool:
    found: Any = sys.modules.get(obj.__module__)
    if found is None or obj.__module__ == "__main__":
        return True
    for name in obj.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is not obj


_a_dispatcher: Any = functools.singledispatch(_not_importable)  # of whatever function
_DISPATCHER_CODE = _a_dispatcher.__code__


def _cached(maxsize: int | None, typed: bool, func: Any) -> Any:  # noqa: FBT001
    return functools.lru_cache(maxsize, typed)(func)


def _dispatcher(default: Any, registry: dict[type, Any]) -> Any:
    func = functools.singledispatch(default)
    for cls, implementation in registry.items():
        func.register(cls, implementation)
    return func


# --- multiprocessing's objects --------------------------------------------------------------------

#: Where classes live whose instances travel only while a process is being started.
_OF_PROCESSES = frozenset(
    f"multiprocessing.{name}"
    for name in ("synchronize", "connection", "queues", "sharedctypes", "heap")
)


class _Found(Exception):
    pass


class _Detector(_Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if type(obj).__module__ in _OF_PROCESSES:
            raise _Found
        return super().reducer_override(obj)


def holds_process_objects(obj: object) -> bool:
    """Whether locks, queues, pipes or shared values of `multiprocessing` are in it."""
    if not any(name in sys.modules for name in _OF_PROCESSES):
        return False
    try:
        _Detector(BytesIO(), 5).dump(obj)
    except _Found:
        return True
    except Exception:
        return False
    return False


def dumps_for_process(obj: object) -> bytes:
    """Pickle `obj` while a process of `multiprocessing` is being started."""
    with BytesIO() as file:
        _ProcessPickler(file, 5).dump(obj)
        return file.getvalue()


class _ProcessPickler(_Pickler):
    """Carries what multiprocessing knows to hand over (pipes, sockets), and the rest as ever."""

    def reducer_override(self, obj: Any) -> Any:
        reduce = self._handed_over.get(type(obj))
        return super().reducer_override(obj) if reduce is None else reduce(obj)

    def __init__(self, *args: Any) -> None:
        from multiprocessing.reduction import ForkingPickler

        super().__init__(*args)
        known: Any = ForkingPickler(BytesIO()).dispatch_table
        self._handed_over = {
            kind: reduce for kind, reduce in known.items() if kind.__module__ not in _ORDINARY
        }


#: Where the types live that multiprocessing's pickler has its own way with, and cloudpickle a better.
_ORDINARY = frozenset({"builtins", "functools"})
