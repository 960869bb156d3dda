"""Classes of the program on their way to workers: by cloudpickle, and what it does not carry, or not quietly.

cloudpickle sends a class as an empty one and what is to be set in it. Here it is made without a word to the
program's own metaclasses and `__init_subclass__`, which have seen it in the caller and left in it what they
have to say. What is known here already is set again only where it has changed in the caller: what an
initializer or an item has set in a class stays, as with globals. And the members of an `Enum` get what their
own `__init__` or `__new__` has set.
"""

from __future__ import annotations

import enum
import sys
import types
import weakref
from _pickle import loads
from contextlib import contextmanager

import cloudpickle

from . import _byvalue, _globals, _kept
from ._globals import PROGRAM
from ._plain import SCALARS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

# Not public; without them, classes travel as cloudpickle has it.
_inside: Any = cloudpickle.cloudpickle
_remember: Any = getattr(_inside, "_lookup_class_or_track", None)
#: Classes by the numbers by which they are known again, and the numbers.
by_number: Any = getattr(_inside, "_DYNAMIC_CLASS_TRACKER_BY_ID", {})
numbers: Any = getattr(_inside, "_DYNAMIC_CLASS_TRACKER_BY_CLASS", {})

#: The flag of a class that is not part of the interpreter: CPython's `Py_TPFLAGS_HEAPTYPE`.
HEAP = 1 << 9

#: What a class holds of its code, which only its program changes.
_CODE = (types.FunctionType, classmethod, staticmethod, property, type, types.MemberDescriptorType)

#: What a class may hold for its instances, while to set it would set something of the class itself.
_UNSETTABLE = ("__name__", "__class__", "__bases__", "__mro__")

# --- in the caller --------------------------------------------------------------------------------


def where_it_is(cls: type) -> Any:
    """By its module a class that only says it is built in, as pytest's `Skipped`, to be shown shorter.

    By value it would be another class in the caller, which no `except` there would know.
    """
    for name, module in list(sys.modules.items()):
        if name not in PROGRAM and getattr(module, "__dict__", {}).get(cls.__name__) is cls:
            return getattr, (module, cls.__name__)
    return None


def reduce(
    cls: type, reduced: Any, known: _globals.Globals, tell: Callable[[object], bytes]
) -> Any:
    """How a class travels, given how cloudpickle would have it.

    `tell` answers what tells a value from others; `known` is told of what may be referred to elsewhere.
    """
    if not is_definition(reduced):
        return reduced
    parts: Any = reduced
    make, arguments, (attributes, slots), _, _, setter = parts
    attributes = _with_annotations(cls, attributes)
    members = None
    if isinstance(cls, enum.EnumMeta):
        members = _members(cls)
        arguments = tuple(_with_functions(_all_of(cls, argument)) for argument in arguments)
        attributes = {key: value for key, value in attributes.items() if key not in cls.__members__}
    elif _remember is not None and make is getattr(_inside, "_make_skeleton_class", None):
        make, arguments = _make, _with_more(cls, arguments)
        attributes = _without_unsettable(attributes, arguments[3])
        if _is_typed_dict(type(cls), cls.__bases__):
            arguments = (*arguments[:2], cls.__bases__, *arguments[3:])
    told = {
        name: b"" if issubclass(type(value), _CODE) or name.startswith("__") else tell(value)
        for name, value in attributes.items()
    }
    number = numbers.get(cls)
    known.others += [
        (_hold_attribute, (number, name), told[name], value)
        for name, value in attributes.items()
        if told[name] and type(value) not in SCALARS
    ]
    return make, arguments, (told, attributes, slots, setter, members), None, None, _set_state


class Definition:
    """A class as it was pickled for the first of a call's items."""

    def __init__(self, call: int, number: Any, data: bytes, held: dict[str, Any]) -> None:
        self.call, self.number, self.data = call, number, data
        self.held = [*held.values()]
        definition = _Call(defined, (number, data))
        self.reduced: Any = definition.reduce(None)
        if held:  # what an item refers to, too, has to be what the class holds
            pieces = [_Call(_attribute, (number, name)) for name in held]
            referred = _Referred(list(zip(pieces, held.values(), strict=True)))
            self.reduced = _globals.last, (definition, *pieces, referred, definition)


class _Call(_globals.Piece):
    def __init__(self, func: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.reduced = func, arguments

    def reduce(self, pickler: Any) -> Any:  # noqa: ARG002 -- as all pieces
        return self.reduced


class _Referred(_globals.Piece):
    """Where a pickler comes to this, values are what the pieces before it have brought."""

    def __init__(self, held: list[tuple[_Call, Any]]) -> None:
        self.held = held

    def reduce(self, pickler: Any) -> Any:
        memo = pickler.memo.copy()
        for piece, value in self.held:
            if id(value) not in memo:
                # It takes the piece's place: the memo's size numbers what follows.
                memo[id(value)] = memo.pop(id(piece))[0], value
        pickler.memo = memo
        return _globals.last, (None,)


def is_definition(reduced: Any) -> bool:
    """Whether a class goes with all that is in it."""
    return type(reduced) is tuple and len(reduced) == 6  # noqa: PLR2004 -- with a setter of its own


def _with_annotations(cls: type, attributes: dict[str, Any]) -> dict[str, Any]:
    """Cloudpickle leaves them behind from Python 3.14 on, unless somebody has asked for them before."""
    if cls.__dict__.get("__annotate_func__") is None:
        return attributes
    kept = {key: value for key, value in attributes.items() if key != "__annotations_cache__"}
    return {**kept, "__annotations__": _byvalue.evaluated_annotations(cls)}


def _is_typed_dict(metaclass: type, bases: tuple[type, ...]) -> bool:
    """Whether this makes a TypedDict."""
    return metaclass.__module__ == "typing" and dict in bases


def _with_more(cls: type, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Cloudpickle forgets a class's qualified name; and `__slots__`, so that instances get a dictionary."""
    given = {"__qualname__": cls.__qualname__, **arguments[3]}
    slots = cls.__dict__.get("__slots__")
    if slots:  # empty ones, as a NamedTuple has, make no difference to what is pickled
        given["__slots__"] = slots
    return (*arguments[:3], given, *arguments[4:])


def _without_unsettable(attributes: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Attributes without those that cannot be set, which are `given` as the class is made.

    A property is given as an empty one and filled later, since its functions may refer to the class.
    """
    fixed = {name: attributes[name] for name in _UNSETTABLE if name in attributes}
    given |= {
        name: property() if type(value) is property else value for name, value in fixed.items()
    }
    return {
        name: value
        for name, value in attributes.items()
        if name not in fixed or type(value) is property
    }


def _all_of(cls: Any, argument: Any) -> Any:
    """Of a flag, what is named besides its single bits, which cloudpickle leaves out."""
    if type(argument) is not dict or not issubclass(cls, enum.Flag):
        return argument
    return {name: member._value_ for name, member in cls.__members__.items()}


def _with_functions(argument: Any) -> Any:
    """A function is a member of an enum only if it is said to be."""
    if type(argument) is not dict:
        return argument
    members: dict[str, Any] = argument
    return {
        name: enum.member(value) if hasattr(value, "__get__") else value
        for name, value in members.items()
    }


def _members(cls: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """The names of an enum's members, aliases among them, and what is in these."""
    return [
        (
            name,
            member.name,
            {key: value for key, value in member.__dict__.items() if key not in _OF_ENUM},
        )
        for name, member in cls.__members__.items()
    ]


def reduce_member(member: enum.Enum) -> Any:
    """A member of an enum by its name, as a pickler's `reducer_override` says it: its value may be code."""
    kind: Any = type(member)
    if kind.__reduce_ex__ is not enum.Enum.__reduce_ex__ or kind.__module__ not in PROGRAM:
        return None
    found = kind._member_map_.get(member._name_) is member
    return (getattr, (kind, member._name_)) if found else None


_OF_ENUM = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})

# --- in the worker --------------------------------------------------------------------------------

#: Classes that the items of the call at hand refer to by their numbers, as pickles, those of them that have
#: been needed, and which call that is.
_offered: dict[Any, bytes] = {}
_needed: dict[Any, Any] = {}
_offered_in = 0


def offer(call: int, number: Any, data: bytes) -> None:
    """Let a class be had by its number in this call."""
    global _offered_in  # noqa: PLW0603 -- of the one call that a worker is at
    if call != _offered_in:
        _offered.clear()
        _needed.clear()
        _offered_in = call
    _offered[number] = data


def class_of(number: Any) -> Any:
    """A class by its number: that an item refers to, or, in the caller, its own.

    It is loaded for the first item that needs it, whose failure it is if it cannot be.
    """
    if number in _needed:
        return _needed[number]
    if number not in _offered:
        return by_number[number]
    _needed[number] = defined(number, _offered[number])
    return _needed[number]


#: What was set in a class when it last arrived: by name, what tells the value from others, and the value.
_received: weakref.WeakKeyDictionary[type, dict[str, tuple[bytes, Any]]] = (
    weakref.WeakKeyDictionary()
)


def _hold_attribute(key: tuple[Any, str], alone: bytes, value: Any) -> Any:
    """The value of a class's attribute: the object that came before, if it is what it was."""
    number, name = key
    cls = by_number.get(number)
    if cls is None:
        return value
    told, before = _received.get(cls, {}).get(name, (b"", None))
    return before if told == alone else value


def _attribute(number: Any, name: str) -> Any:
    """The same, where the class has come before."""
    return _received[by_number[number]][name][1]


def _trait(value: Any) -> object:
    """What tells a part of a class that is set each time from what was there; None if nothing does."""
    kind: Any = type(value)
    if issubclass(kind, type):
        return value
    if kind is property:
        return [_trait(part) for part in (value.fget, value.fset, value.fdel)]
    func: Any = value.__func__ if kind in (classmethod, staticmethod) else value
    code, held = None, func
    if type(func) is types.FunctionType:
        cells = [_byvalue.content(cell) for cell in func.__closure__ or ()]
        code, held = func.__code__, (func.__defaults__, func.__kwdefaults__, cells)
    told = _globals.alone(held, (_byvalue.SimplePickler,))
    return (code, told) if told or code else None


#: What the interpreter puts into classes, or is said in words.
_OF_CLASSES = frozenset(
    {"__doc__", "__module__", "__annotations__", "__slotnames__", "__dict__", "__weakref__"}
)

#: The newest definitions by number: their pickles, and what was loaded from them.
_defined: dict[Any, tuple[bytes, _globals.Loaded]] = {}  # classes, with what they came with
_DEFINED = 64


def defined(number: Any, data: bytes) -> Any:
    """A class of that number, as this pickle defines it."""
    known = _defined.pop(number, None)
    if known is None or known[0] != data:
        known = data, _globals.Loaded(lambda: loads(data))
        _kept.make_room(_defined, _DEFINED)
    _defined[number] = known
    return known[1].get()


def _make(
    metaclass: Any, name: str, bases: Any, namespace: dict[str, Any], number: Any, *_: Any
) -> Any:
    if number in by_number:
        return by_number[number]
    with _silenced(bases):
        if metaclass.__module__ in PROGRAM:
            usual = next(one for one in metaclass.__mro__ if one.__module__ not in PROGRAM)
            made = usual.__new__(metaclass, name, bases, dict(namespace))
        elif _is_typed_dict(
            metaclass, bases
        ):  # what its metaclass does has been done in the caller
            made = type.__new__(metaclass, name, bases, dict(namespace))
        else:
            made = types.new_class(
                name, bases, {"metaclass": metaclass}, lambda space: space.update(namespace)
            )
    return _remember(number, made)


@contextmanager
def _silenced(bases: Any) -> Generator[None]:
    """Without the `__init_subclass__` of the program's own classes."""
    owners = {
        owner: vars(owner)["__init_subclass__"]
        for base in bases
        for owner in getattr(base, "__mro__", ())
        if owner.__module__ in PROGRAM and "__init_subclass__" in vars(owner)
    }
    for owner in owners:
        type.__setattr__(owner, "__init_subclass__", classmethod(_say_nothing))
    try:
        yield
    finally:
        for owner, said in owners.items():
            type.__setattr__(owner, "__init_subclass__", said)


def _say_nothing(_cls: type, /, **_: object) -> None:
    pass


def _set_state(cls: Any, state: Any) -> None:
    told, attributes, slots, setter, members = state
    received = _received.setdefault(cls, {})
    own = cls.__dict__
    before = {name: its for name, (its, _) in received.items()}
    changed: dict[str, Any] = {
        name: value
        for name, value in attributes.items()
        if not told[name] or name not in own or before.get(name) != told[name]
    }
    is_new = before != told or any(
        _is_other(own.get(name), value)
        for name, value in changed.items()
        if not told[name] and name not in _OF_CLASSES
    )
    given = {name for name in changed if name in _UNSETTABLE and type(own.get(name)) is property}
    for name in given:
        value = changed[name]
        own[name].__init__(value.fget, value.fset, value.fdel, value.__doc__)
    setter(cls, ({name: changed[name] for name in changed if name not in given}, slots))
    for name in before.keys() - told.keys():
        if name in own:
            delattr(cls, name)
    now = received | {name: (told[name], value) for name, value in changed.items()}
    if is_new:
        _received[cls] = {name: now[name] for name in told}
    else:
        received.update(now)
    held_now = _received[cls]
    _globals.watch(lambda: _received.get(cls) is held_now, changed=is_new)
    for name, its_name, held in members or ():
        member = cls._member_map_[its_name]
        member.__dict__.update(held)
        if name not in cls._member_map_:
            cls._member_map_[name] = member
            type.__setattr__(cls, name, member)


def _is_other(before: Any, after: Any) -> bool:
    trait = _trait(after)
    return trait is None or _trait(before) != trait
