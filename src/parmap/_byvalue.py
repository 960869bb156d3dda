"""Plain functions of `__main__` by value, without cloudpickle.

Importing cloudpickle takes longer than starting a worker, on both sides, and most functions of a script
are simple: code, defaults, a closure, and globals that are modules, values or more such functions.
Those travel here, reduced to what `pickle` and `marshal` carry. Anything else raises `NotSimple`, and
cloudpickle gets it: this module never has to be complete, only right about what it accepts.
"""

from __future__ import annotations

import copyreg
import marshal
import struct
import sys
import types
from _frozen_importlib import ModuleSpec
from _operator import is_
from _pickle import PickleBuffer, Pickler, Unpickler
from io import BytesIO
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType

from . import _globals, _kept
from ._globals import PROGRAM
from ._handlers import let_pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

#: How a function's own `__name__` of "__main__" travels, so that any other mention of it stands out.
_NAME_MARK = b"parmap:main"

#: Where objects live that `pickle` would carry as if a descriptor were the same in another process.
CONNECTIONS = "multiprocessing.connection"

_NOT_BY_NAME = PROGRAM | {CONNECTIONS}

#: A function that brings along more than this takes the accurate way: `co_names` holds attribute names
#: too, so that a large global may have come along by its name alone.
_LARGEST = 1 << 16


#: What a reducer may raise that is no more than a failure to carry one value. KeyboardInterrupt may be
#: the user's own.
RAISED = (Exception, SystemExit, GeneratorExit)


class NotSimple(Exception):
    """Not for this module."""


def dumps(
    obj: object,
    buffer_callback: Callable[[Any], object] | None = None,
    buffers: list[Any] | None = None,
    *,
    home: bool = False,
) -> bytes:
    """Pickle `obj`, with the functions in it by value where they cannot be imported.

    `buffer_callback` puts large buffers into `buffers`. `home` says that it goes back to the caller.

    Raises:
        NotSimple: It holds something that only cloudpickle can carry, or nothing can.
    """
    traits = _traits(obj) if type(obj) is FunctionType else None
    if traits is not None:
        known, data = _newest.get(id(traits[0]), ((), b""))
        if len(known) == len(traits) and all(map(is_, known, traits)):
            return data
    make = _HomePickler if home else SimplePickler
    try:
        kept: list[Any] = [] if buffers is None else buffers
        data = _globals.write(obj, make, buffer_callback, kept, most=_LARGEST)
    except RAISED as error:
        let_pass(error)
        raise NotSimple from error
    if len(data) > _LARGEST or _globals.names_program(data):
        raise NotSimple
    if traits is not None:
        _kept.make_room(_newest, _NEWEST)
        _newest[id(traits[0])] = traits, data
    return data


#: Bytes of a pickle that is read to find out what it refers to: beyond, cloudpickle is no dearer.
_LONGEST_READ = 1 << 20


class _Anything:
    """Stands for whatever a pickle refers to, and takes whatever is done to it."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, *_: object, **__: object) -> _Anything:
        return self

    append = extend = add = __setitem__ = __setstate__ = __call__


class _NamesMain(Exception):
    pass


class _Reader(Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ARG002 -- of pickle
        if module in _NOT_BY_NAME:
            raise _NamesMain
        return _Anything


def may_name_main(data: bytes, buffers: Iterable[Any]) -> bool:
    """Whether a pickle may refer to something of `__main__`, or to a connection, not only mention it.

    To find out, it is read, without importing or calling anything that it refers to.
    """
    # What `copyreg.add_extension` has registered would be called.
    if len(data) > _LONGEST_READ or getattr(copyreg, "_inverted_registry", True):
        return True
    try:
        _Reader(BytesIO(data), buffers=buffers).load()
    except RAISED as error:
        let_pass(error)
        return True
    return False


# --- functions that were pickled before -----------------------------------------------------------

#: What a function may hold and still be known by what it holds: nothing that changes within.
_FIXED = frozenset(
    {type, type(None), bool, int, float, complex, str, bytes, ModuleType, BuiltinFunctionType}
)

#: The newest functions' traits and pickles, by the code that the traits begin with and keep alive.
_newest: dict[int, tuple[list[Any], bytes]] = {}
_NEWEST = 64


def _traits(func: FunctionType) -> list[Any] | None:
    """All that a function's pickle is made of: as long as these are the same objects, so is it.

    None if something among them can change and be the same object.
    """
    traits: list[Any] = [func.__code__]
    to_see, seen = [func], {id(func)}
    while to_see:
        func = to_see.pop()
        if func.__kwdefaults__ or func.__dict__:
            return None
        space = func.__globals__
        held: list[Any] = []
        names = names_in(func.__code__)
        for name in names:
            if name in space:
                held += name, space[name]
        held += _globals.gone(names, space)
        held += func.__defaults__ or ()
        for cell in func.__closure__ or ():
            held += content(cell)
        annotate, annotations = annotations_of(func)
        held.append(annotate)
        for name, annotation in annotations.items():
            held += name, annotation
        for value in held:
            if type(value) is FunctionType:
                by_name = importable(value)
                traits.append(by_name)
                if not by_name and id(value) not in seen:
                    seen.add(id(value))
                    to_see.append(value)
            elif type(value) not in _FIXED or not _is_free(value):
                return None
            elif type(value) is ModuleType and hasattr(value, "__path__"):
                # Which submodules come along depends on what is loaded. Interned: one object a number.
                traits.append(sys.intern(str(len(sys.modules))))
        traits += held
        traits += func.__code__, space, func.__name__, func.__qualname__, func.__module__
        traits += func.__doc__, space.get(func.__qualname__)
    return traits


def _is_free(value: Any) -> bool:
    """Whether a built-in function is no method of an object, which may change."""
    if type(value) is not BuiltinFunctionType:
        return True
    return value.__self__ is None or type(value.__self__) is ModuleType


class SimplePickler(Pickler):
    """Carries what is simple, and raises `NotSimple` or any other error where something is not."""

    home = False
    _known: dict[int, tuple[str, str]] | None = None  # `singletons`, once one is asked for

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.globals = _globals.Globals()

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is FunctionType:
            if importable(obj):
                return NotImplemented
            return reduce_function(obj, names_in(obj.__code__), self.globals)
        if issubclass(kind, _globals.Piece):
            return obj.reduce(self)
        if kind is memoryview:
            return reduce_view(obj)
        if kind is ModuleType:
            name = obj.__name__
            if name in PROGRAM or sys.modules.get(name) is not obj:
                raise NotSimple
            return _import, (name,)
        if kind is CellType or (issubclass(kind, type) and obj.__module__ in PROGRAM):
            raise NotSimple
        if kind.__module__ in _NOT_BY_NAME:
            raise NotSimple
        if self._known is None:
            self._known = {} if self.home else singletons()
        return (singleton, self._known[id(obj)]) if id(obj) in self._known else NotImplemented


class _HomePickler(SimplePickler):
    home = True


def reduce_function(func: FunctionType, names: set[str], known: _globals.Globals) -> Any:
    """A function's code and what it refers to by `names`, for a pickler's `reducer_override`.

    Functions of one module share one namespace, also between the functions of one pickle.
    """
    space, _ = known.spaces.setdefault(
        id(func.__globals__), (_for_imports(func.__globals__), func.__globals__)
    )
    found = {name: func.__globals__[name] for name in names if name in func.__globals__}
    if _LAZY is not None:
        found = _imported(found)
    found |= _submodules(found, names_in(func.__code__))
    found |= _named_among(found)
    is_main = func.__module__ in PROGRAM
    if is_main and func.__globals__.get(func.__qualname__) is func:
        found[func.__qualname__] = func  # for who looks for it by its name
    annotate, annotations = annotations_of(func)
    bare = (
        _marshalled(func.__code__),
        func.__name__,
        func.__qualname__,
        _NAME_MARK if is_main else func.__module__,
        len(func.__closure__ or ()),
        None if is_main else space,
    )
    if is_main:
        gone = dict.fromkeys(_globals.gone(names, func.__globals__), _globals.GONE)
        found = known.to_send(found, func.__globals__) | gone
    state = (
        found,
        [content(cell) for cell in func.__closure__ or ()],
        func.__defaults__,
        func.__kwdefaults__,
        dict(func.__dict__),
        annotate,
        annotations,
        func.__doc__,
    )
    # The state comes after the function, so that it may hold the function itself.
    return _make, bare, state, None, None, _set_state


def _marshalled(code: CodeType) -> bytes:
    """Code, in a version of the format that does not tell how often its constants are referred to."""
    try:
        return marshal.dumps(code, 2)
    except ValueError:  # there are slices among them, from Python 3.14 on
        return marshal.dumps(code)


def reduce_view(view: memoryview) -> Any:
    """A memoryview, with a copy of what it shows. As cloudpickle has it, it would arrive as bytes."""
    if view.shape == (0,):
        shown: Any = b"" if view.readonly else bytearray()
    elif view.c_contiguous:
        shown = PickleBuffer(view.cast("B"))
    else:
        shown = view.tobytes() if view.readonly else bytearray(view.tobytes())
    arguments = shown, view.format, view.shape
    view_of(*arguments).release()  # else it would be a worker, or the caller, that cannot make it
    return view_of, arguments


#: What each process has one of: a copy would have nothing to do with it. Methods of the last two are
#: functions to most (`from random import choice`), and copies would draw the same numbers in each worker.
_SINGLETONS = (
    ("os", "environ"),
    ("os", "environb"),
    ("sys", "stderr"),
    ("sys", "stdout"),
    ("random", "_inst"),
    ("numpy.random.mtrand", "_rand"),
)


def singletons() -> dict[int, tuple[str, str]]:
    """Module and name of what travels by name, by its `id`."""
    return _places(_SINGLETONS)


def _places(table: Iterable[tuple[str, str]]) -> dict[int, tuple[str, str]]:
    found = {id(getattr(sys.modules.get(place[0]), place[1], None)): place for place in table}
    found.pop(id(None), None)
    return found


class _Named:
    """Stands for a singleton of a type for which no pickler asks a reducer."""

    def __init__(self, module: str, name: str) -> None:
        self._place = module, name

    def __reduce__(self) -> Any:
        return singleton, self._place


_CONTAINERS = {
    place: _Named(*place)
    for place in (("sys", "argv"), ("sys", "modules"), ("sys", "path"), ("warnings", "filters"))
}


def _named_among(found: dict[str, Any]) -> dict[str, _Named]:
    containers = {name: value for name, value in found.items() if type(value) in (dict, list)}
    if not containers:
        return {}
    known = _places(_CONTAINERS)
    return {
        name: _CONTAINERS[known[id(one)]] for name, one in containers.items() if id(one) in known
    }


def _for_imports(space: dict[str, Any]) -> dict[str, Any]:
    """What a relative import in a function of this namespace starts from."""
    return {"__package__": space["__package__"]} if space.get("__package__") else {}


def annotations_of(func: Any) -> tuple[Any, dict[str, Any]]:
    """A function's annotations: the function that makes them, from Python 3.14 on, or they themselves.

    What they mention may not exist: classes that only type checkers see, or that are defined later.
    """
    annotate = getattr(func, "__annotate__", None)
    if annotate is None:
        return None, dict(func.__annotations__)
    if "__classdict__" not in getattr(getattr(annotate, "__code__", None), "co_freevars", ()):
        return annotate, {}
    return None, evaluated_annotations(func)  # that of a method holds all of the class


def evaluated_annotations(annotated: Any) -> dict[str, Any]:
    """The annotations of a function or class; as text if what they mention does not exist."""
    try:
        return dict(annotated.__annotations__)
    except Exception as error:
        let_pass(error)
        annotationlib: Any = __import__("annotationlib")  # which type checkers may not know yet
        found: dict[str, Any] = annotationlib.get_annotations(
            annotated, format=annotationlib.Format.STRING
        )
        return found


def content(cell: CellType) -> tuple[Any, ...]:
    """What a cell holds, if anything."""
    try:
        return (cell.cell_contents,)
    except ValueError:  # a variable that has no value yet
        return ()


def importable(obj: Any) -> bool:
    """Whether a function or its like is found by its name, in a module that a worker can import."""
    found: Any = sys.modules.get(obj.__module__)
    if found is None or obj.__module__ in PROGRAM:
        return False
    for name in obj.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is obj


def names_in(code: CodeType) -> set[str]:
    """The globals and attributes that a function's code mentions, and those of the functions in it."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= names_in(constant)
    return names


#: From Python 3.15 on: the type of what stands for an import that has not been needed yet (PEP 810).
_LAZY: Any = getattr(types, "LazyImportType", None)


def _imported(found: dict[str, Any]) -> dict[str, Any]:
    """Globals with what was imported in place of what was to be; without what cannot be."""
    values: dict[str, Any] = {}
    for name, value in found.items():
        try:
            values[name] = value.resolve() if type(value) is _LAZY else value
        except ImportError:
            pass  # if the function needs it, it will say so
    return values


def _submodules(found: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Loaded submodules that `package.module` expressions need, though no global names them."""
    packages = [
        value.__name__ + "."
        for value in found.values()
        if issubclass(type(value), ModuleType) and hasattr(value, "__path__")
    ]
    if not packages:
        return {}
    submodules: dict[str, Any] = {}
    for name in [*sys.modules, *getattr(sys, "lazy_modules", ())]:
        for package in packages:
            if name.startswith(package) and names.issuperset(name[len(package) :].split(".")):
                try:
                    submodules[f" {name}"] = _import(name)
                except ImportError:
                    pass  # a lazy import may be of what is no module
    return submodules


# --- in the worker --------------------------------------------------------------------------------


def _import(name: str) -> ModuleType:
    __import__(name)
    return sys.modules[name]


def singleton(module: str, name: str) -> Any:
    """That of this process."""
    return getattr(_import(module), name)


def view_of(shown: Any, form: Any, shape: Any) -> memoryview:
    """A memoryview of numbers of this format and in this shape."""
    if shape == (0,):  # which cannot be cast
        return memoryview(type(shown)(struct.calcsize(form))).cast(form)[:0]
    return memoryview(shown).cast("B").cast(form, shape)


def _make(
    code: bytes, name: str, qualname: str, module: Any, cells: int, space: dict[str, Any] | None
) -> FunctionType:
    if space is None:
        space, module = _globals.main, "__main__"
    else:
        space.setdefault("__name__", module)
        space.setdefault("__builtins__", __builtins__)
        if "__package__" in space:  # see `_globals.place_main`
            space.setdefault("__spec__", ModuleSpec(space["__package__"], None, is_package=True))
    made = marshal.loads(code)  # noqa: S302 -- as safe as the pickle that it stands in
    func = FunctionType(made, space, name, None, tuple(CellType() for _ in range(cells)) or None)
    func.__qualname__ = qualname
    func.__module__ = module
    return func


def _set_state(func: FunctionType, state: Any) -> None:
    found, cells, defaults, kwdefaults, attributes, annotate, annotations, doc = state
    if func.__globals__ is _globals.main:
        _globals.arrive(found)
    else:
        func.__globals__.update(found)
    for cell, content in zip(func.__closure__ or (), cells, strict=True):
        if content:
            (cell.cell_contents,) = content
    func.__defaults__ = defaults
    func.__kwdefaults__ = kwdefaults
    func.__dict__.update(attributes)
    if annotate is None:
        func.__annotations__ = annotations
    else:
        func.__annotate__ = annotate  # type: ignore[attr-defined]  # in no stub yet
    func.__doc__ = doc
