"""What `pickle` cannot carry, by cloudpickle, and the few things that cloudpickle cannot either.

Imported only when it is needed.
"""

from __future__ import annotations

import _thread
import dis
import enum
import functools
import sys
import weakref
from _struct import Struct
from io import BytesIO, TextIOWrapper
from types import CodeType, FunctionType, GenericAlias, ModuleType, UnionType

import cloudpickle

from . import _byvalue, _classes, _globals, _kept, _named
from ._globals import PROGRAM
from ._handlers import let_pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def dumps(
    obj: object,
    buffer_callback: Callable[[Any], object] | None = None,
    buffers: list[Any] | None = None,
    *,
    home: bool = False,
    met: dict[type, _classes.Definition] | None = None,
) -> bytes:
    """Pickle `obj`, with what is defined in `__main__`, locally or in a lambda by value.

    `buffer_callback` puts large buffers into `buffers`. `home` says that it goes back to the caller, whose
    own classes then go by name; `met` that others of its class may follow in this call, and it gets how
    these travel.
    """
    make: Callable[..., _Pickler] = _HomePickler if home else _Pickler
    if met is not None:
        make = functools.partial(_ItemPickler, met)
    kept: list[Any] = [] if buffers is None else buffers
    return _globals.write(obj, make, buffer_callback, kept, _ALONE)


if "__mp_main__" in sys.modules:  # it takes it for a module that can be imported
    cloudpickle.register_pickle_by_value(sys.modules["__mp_main__"])

_numbered_here: set[Any] = set()


def number_of_another(cls: type) -> Any:
    """The number of a class that has come from elsewhere, and is known there by it; else None."""
    number = _classes.numbers.get(cls)
    return None if number in _numbered_here else number


def special() -> frozenset[type]:
    """The types that cloudpickle has its own ways with."""
    return frozenset(getattr(cloudpickle.Pickler, "_dispatch_table", ()))


def goes_by_value() -> bool:
    """Whether the program has asked for modules of its own to go by value."""
    untyped: Any = cloudpickle
    return not untyped.list_registry_pickle_by_value() <= PROGRAM


_CACHED = type(functools.lru_cache(lambda: None))


#: What cloudpickle does not carry, though it is made of what it does, or as something else; of what is each
#: thread's own, that of the thread that sends it.
_REDUCERS: dict[type, Callable[[Any], Any]] = {
    memoryview: _byvalue.reduce_view,
    Struct: lambda obj: (Struct, (obj.format,)),
    _thread._local: lambda obj: (_thread._local, (), dict(vars(obj))),
}
_THEIRS: Any = cloudpickle.Pickler.dispatch_table


class _Pickler(cloudpickle.Pickler):
    dispatch_table: Any = _THEIRS.new_child(_REDUCERS)
    home = False
    _keyed = True
    _tells = True  # classes bring along what tells whether they have changed

    def reducer_override(self, obj: Any) -> Any:  # noqa: PLR0911 -- one for each kind
        kind: Any = type(obj)  # what the object itself says about it may be a lie, or an error
        if issubclass(kind, type) and (
            obj.__module__ != "builtins" or obj.__flags__ & _classes.HEAP
        ):
            return self._reduce_class(obj)
        if issubclass(kind, _globals.Piece):
            return obj.reduce(self)
        _check_can_travel(obj)
        if kind is _CACHED and not _byvalue.importable(obj):
            return self._reduce_cached(obj)
        if kind is functools.cached_property:  # before Python 3.12 it holds a lock
            return _cached_property, (obj.func, obj.attrname, obj.__doc__)
        if (
            kind is functools.singledispatchmethod
        ):  # in Python 3.13 it holds what it was looked up on
            return _dispatching_method, (obj.func, obj.dispatcher)
        if kind is FunctionType and not _byvalue.importable(obj):
            return self._reduce_function(obj)
        if id(obj) in self._singletons:
            return _byvalue.singleton, self._singletons[id(obj)]
        is_member = issubclass(kind, enum.Enum)
        reduced = _classes.reduce_member(obj) if is_member else _named.reduce(obj, self._tell)
        return super().reducer_override(obj) if reduced is None else reduced

    def _reduce_function(self, func: FunctionType) -> Any:
        if func.__code__ is _DISPATCHER_CODE:
            registry = dict(func.registry)  # type: ignore[attr-defined]
            return _dispatcher, (registry.pop(object), registry)
        if (
            func.__code__ is _DISPATCH_CODE
        ):  # which a method that was looked up in Python 3.13 refers to
            cells = dict(zip(func.__code__.co_freevars, func.__closure__ or (), strict=True))
            registry = dict(cells["registry"].cell_contents)
            return _dispatch, (registry.pop(object), registry)
        if func.__module__ in PROGRAM or _is_annotated_in_vain(func):
            return _byvalue.reduce_function(func, names(func.__code__), self.globals)
        return super().reducer_override(func)

    def _reduce_cached(self, cached: Any) -> Any:
        """A function with its cache, which stays behind: each worker fills its own, once.

        By its key the worker knows it again when another function brings it along, too.
        """
        key = b""
        if self._keyed:
            buffers: list[Any] = []
            with BytesIO() as file:
                pickler = _Pickler(file, 5, buffer_callback=buffers.append)
                pickler._keyed = False  # it may mention itself
                pickler.dump(cached)
                key = _kept.digest([file.getvalue(), *(buffer.raw() for buffer in buffers)])
        parameters = cached.cache_parameters()
        return _cached, (parameters["maxsize"], parameters["typed"], cached.__wrapped__, key)

    def _reduce_class(self, cls: type) -> Any:
        """A class of the caller's goes back by its number: else its definition would be set anew.

        cloudpickle numbers a class by which it knows it again; one that had a number before it was
        first pickled here has come from the caller.
        """
        if cls.__module__ == "builtins":
            found = _classes.where_it_is(cls)
            if found is not None:
                return found
        number = _classes.numbers.get(cls)
        if self.home and number_of_another(cls) is not None:
            return _classes.class_of, (number,)
        reduced = super().reducer_override(cls)
        if number is None:
            _numbered_here.add(_classes.numbers.get(cls))
        return self._placed(cls, _classes.reduce(cls, reduced, self.globals, self._tell))

    def _tell(self, value: object) -> bytes:
        return _globals.alone(value, _ALONE) if self._tells else b""

    def _placed(self, cls: type, reduced: Any) -> Any:
        """With a place in the worker's `__main__`, for a class that is found in the caller's.

        And with what its annotations mention, as far as they are text: who asks for them looks there.
        """
        if self.home or cls.__module__ != "__main__" or not _classes.is_definition(reduced):
            return reduced
        if _globals.of_main().get(cls.__qualname__) is not cls:
            return reduced
        make, arguments, state, _, _, set_state = reduced
        state = set_state, state, _mentioned_by(cls)
        return _place, (cls.__qualname__, make, arguments), state, None, None, _set_placed

    @functools.cached_property
    def _singletons(self) -> dict[int, tuple[str, str]]:
        return {} if self.home else _byvalue.singletons()

    @functools.cached_property
    def globals(self) -> _globals.Globals:
        """See `_globals.write`."""
        return _globals.Globals()


class _HomePickler(_Pickler):
    home = True
    _tells = False  # a class that the caller has never seen is set once


class _ItemPickler(_Pickler):
    def __init__(self, met: dict[type, _classes.Definition], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._met = met

    def _reduce_class(self, cls: type) -> Any:
        """A class as it was pickled for the first item: that takes a hundred times as long as an item."""
        known = _definitions.get(cls)
        if known is None or known.call != _globals.calls:
            reduced = super()._reduce_class(cls)
            if not _classes.is_definition(reduced) or not _globals.alone(cls, (_Pickler,)):
                return reduced  # it goes by name, or is large, perhaps
            number = _classes.numbers[cls]
            held = {key[1]: value for _, key, _, value in self.globals.others if key[0] == number}
            self.globals.others.clear()
            data = _globals.write(cls, _Pickler, None, [], _ALONE)
            known = _classes.Definition(_globals.calls, number, data, held)
            _definitions[cls] = known
        self._met[cls] = known
        return known.reduced


#: Classes as they were pickled for items.
_definitions: weakref.WeakKeyDictionary[type, _classes.Definition] = weakref.WeakKeyDictionary()


class _AlonePickler(_Pickler):
    _tells = False  # what a class holds may mention the class

    def _reduce_class(self, cls: type) -> Any:
        """By its number: where it has changed, it says so itself."""
        reduced = super()._reduce_class(cls)
        number = _classes.numbers.get(cls)
        if number is None or not _classes.is_definition(reduced):
            return reduced
        return _classes.class_of, (number,)


#: For pickles that are only compared: the simpler one first, so that they are the same whichever way the
#: function goes.
_ALONE = (_byvalue.SimplePickler, _AlonePickler)


def _check_can_travel(obj: object) -> None:
    """Raise TypeError for what would arrive as something else."""
    if belongs_to_processes(obj):
        # Most refuse by themselves; a connection would arrive as the number of a descriptor.
        msg = "it can be handed over only while a process is being started"
        raise TypeError(msg)
    if type(obj) is TextIOWrapper and obj not in (sys.stdout, sys.stderr):
        msg = (
            "cannot pickle '_io.TextIOWrapper' object"  # cloudpickle would carry a copy of the text
        )
        raise TypeError(msg)


def _mentioned_by(cls: type) -> dict[str, Any]:
    """The types that a class's annotations mention as globals, as far as they are text."""
    main = _globals.of_main()
    annotations = vars(cls).get("__annotations__", {}).values()
    texts = [one for one in annotations if type(one) is str]
    found = {name: main[name] for text in texts for name in _names_in_text(text) if name in main}
    return {name: value for name, value in found.items() if _is_of_types(value)}


def _is_of_types(value: object) -> bool:
    """Whether a value is a type, or what types are made of in annotations."""
    if isinstance(value, (type, ModuleType, GenericAlias, UnionType)):
        return True
    return type(value).__module__ == "typing"


@functools.lru_cache(maxsize=1024)
def _names_in_text(text: str) -> tuple[str, ...]:
    try:
        return compile(text, "", "eval").co_names
    except (SyntaxError, ValueError):
        return ()  # who asks for it will hear of that


def _place(name: str, make: Callable[..., type], arguments: tuple[Any, ...]) -> type:
    cls = make(*arguments)
    _globals.arrive({name: cls})
    return cls


def _set_placed(cls: type, given: tuple[Callable[..., None], Any, dict[str, Any]]) -> None:
    set_state, state, mentioned = given
    set_state(cls, state)
    _globals.arrive(mentioned)


def names(code: CodeType) -> set[str]:
    """The globals that a function's code mentions, and those of the functions in it."""
    found = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if "GLOBAL" in instruction.opname or instruction.opname == "LOAD_NAME"  # in a class's body
    }
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= names(constant)
    return found


def _is_annotated_in_vain(func: Any) -> bool:
    """Whether what its annotations mention does not exist: cloudpickle would look at them."""
    if getattr(func, "__annotate__", None) is None:
        return False
    try:
        return func.__annotations__ is None
    except Exception as error:
        let_pass(error)
        return True


_a_dispatcher: Any = functools.singledispatch(_byvalue.importable)  # of whatever function
_DISPATCHER_CODE = _a_dispatcher.__code__
_DISPATCH_CODE = _a_dispatcher.dispatch.__code__


#: The functions with caches that are here, by their keys, as long as something refers to them.
_caches: weakref.WeakValueDictionary[bytes, Any] = weakref.WeakValueDictionary()


def _cached(maxsize: int | None, typed: bool, func: Any, key: bytes) -> Any:  # noqa: FBT001
    if not key:
        return functools.lru_cache(maxsize, typed)(func)
    known = _caches.get(key)
    if known is None:
        known = _caches[key] = functools.lru_cache(maxsize, typed)(func)
    return known


def _cached_property(func: Any, name: str | None, doc: str | None) -> Any:
    made = functools.cached_property(func)
    made.__doc__ = doc
    if name is not None:
        made.__set_name__(object, name)
    return made


def _dispatcher(default: Any, registry: dict[type, Any]) -> Any:
    func = functools.singledispatch(default)
    for cls, implementation in registry.items():
        func.register(cls, implementation)
    return func


def _dispatch(default: Any, registry: dict[type, Any]) -> Any:
    return _dispatcher(default, registry).dispatch


def _dispatching_method(func: Any, dispatcher: Any) -> Any:
    made = functools.singledispatchmethod(func)
    made.dispatcher = dispatcher
    return made


# --- multiprocessing's objects --------------------------------------------------------------------

#: Where classes live whose instances travel only while a process is being started.
_OF_PROCESSES = frozenset(
    f"multiprocessing.{name}"
    for name in ("synchronize", "connection", "queues", "sharedctypes", "heap")
)


def belongs_to_processes(obj: object) -> bool:
    """Whether it is a lock, a queue, a pipe or a shared value of `multiprocessing`."""
    kind = type(obj)
    if type(kind).__module__ == "_ctypes":  # a value without a lock: its memory may be shared
        return type(getattr(obj, "_wrapper", None)).__module__ in _OF_PROCESSES
    return kind.__module__ in _OF_PROCESSES


class _Found(Exception):
    pass


class _Detector(_Pickler):
    _keyed = False

    def reducer_override(self, obj: Any) -> Any:
        if belongs_to_processes(obj):
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
    except Exception as error:
        let_pass(error)
        return False
    return False


def dumps_for_process(obj: object) -> bytes:
    """Pickle `obj` while a process of `multiprocessing` is being started."""
    with BytesIO() as file:
        _ProcessPickler(file, 5).dump(obj)
        return file.getvalue()


class _ProcessPickler(_Pickler):
    """Carries what multiprocessing knows to hand over (pipes, sockets), and the rest as ever."""

    _keyed = False  # to find a key, all would have to be carried twice

    def reducer_override(self, obj: Any) -> Any:
        reduce = self._handed_over.get(type(obj))
        if belongs_to_processes(obj):
            return NotImplemented if reduce is None else reduce(obj)  # else it has its own way
        if reduce is None or type(type(obj)).__module__ == "_ctypes":  # in nobody's shared memory
            return super().reducer_override(obj)
        return reduce(obj)

    def __init__(self, *args: Any) -> None:
        from multiprocessing.reduction import ForkingPickler

        super().__init__(*args)
        known: Any = ForkingPickler(BytesIO()).dispatch_table
        self._handed_over = {
            kind: reduce for kind, reduce in known.items() if kind.__module__ not in _ORDINARY
        }


#: Where the types live that multiprocessing's pickler has its own way with, and cloudpickle a better.
_ORDINARY = frozenset({"builtins", "functools"})
