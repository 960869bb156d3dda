"""Instances of the program's own classes, of which there are many in a call.

By value, as `_cloud` has it, one takes a hundred times as long as plain `pickle` does. So it has only the
first of each class, and finds out how the class travels. To the workers that goes ahead of the items, once a
call; the instances themselves are then pickled in C, and their classes by the numbers that both sides know.
Whatever is not as simple as that is left to `_cloud`.
"""

from __future__ import annotations

import sys
from _pickle import Pickler
from io import BytesIO
from types import FunctionType, MethodType

from . import _byvalue, _codec, _kept
from ._globals import PROGRAM
from ._handlers import let_pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ._classes import Definition

#: Classes that are known at once: an endless call may bring ever new ones.
_MOST = 64


def are_met() -> bool:
    """Whether there has been anything yet for the accurate way."""
    return "parmap._cloud" in sys.modules


class _Pickler(Pickler):
    """Raises `NotSimple` where a class is not known, or something is to travel in a way of its own."""

    def __init__(self, file: BytesIO, buffers: _codec.Buffers, *, home: bool) -> None:
        from . import _classes, _cloud  # there by now: see `are_met`

        super().__init__(file, 5, buffer_callback=buffers)
        self._classes, self._cloud = _classes, _cloud
        self.known: dict[type, Any] = {}  # how classes are told
        self._apart = {} if home else _byvalue.singletons()
        self._home = home
        # Types that cloudpickle has its own ways with, and methods, which are told by a name alone here.
        self._special = {MethodType, *_cloud.special()}

    def reducer_override(self, obj: Any) -> Any:
        kind: Any = type(obj)
        if issubclass(kind, type):
            return self.known.get(obj) or self._reduce_class(obj)
        if id(obj) in self._apart or obj is sys.stdout or obj is sys.stderr:
            raise _byvalue.NotSimple
        if kind.__module__ in PROGRAM:
            return self._classes.reduce_member(obj) or NotImplemented
        if kind in self._special or kind.__module__.startswith("multiprocessing"):
            raise _byvalue.NotSimple
        if kind is FunctionType and not _byvalue.importable(obj):
            raise _byvalue.NotSimple
        return NotImplemented

    def _reduce_class(self, cls: Any) -> Any:
        number = self._cloud.number_of_another(cls) if self._home else None
        if number is not None:
            self.learn(cls, number)
            return self.known[cls]
        if cls.__module__ in PROGRAM:
            raise _byvalue.NotSimple
        return NotImplemented  # it is pickled by its name, or cannot be

    def learn(self, cls: type, number: Any) -> None:
        """Tell a class by its number from now on."""
        _kept.make_room(self.known, _MOST)
        self.known[cls] = self._classes.class_of, (number,)


class Quick:
    """Pickles what goes to workers in one call, or, in a worker, `home` to the caller."""

    def __init__(self, buffers: _codec.Buffers, *, home: bool = False) -> None:
        self._file = BytesIO()
        self._buffers = buffers
        self._pickler = _Pickler(self._file, buffers, home=home)
        self._home = home
        self.definitions: list[Definition] = []  # of the classes that a worker has to know
        self._held: set[int] = set()  # the ids of what these hold, and will hold there

    def pickled(self, obj: object) -> bytes | None:
        """The pickle of one value; None: it has to go by value."""
        data = self._pickled(obj)
        return _codec.pickled(obj, self._buffers, home=self._home) if data is None else data

    def _pickled(self, obj: object) -> bytes | None:
        pickler = self._pickler
        try:
            self._buffers.kept = []
            self._empty()  # whatever an interrupt has left here must not come before it
            pickler.dump(obj)
            if self._held and not self._held.isdisjoint(pickler.memo.copy()):
                return None  # it has to be what the class holds there, too
            data = self._file.getvalue()
        except _byvalue.RAISED as error:
            let_pass(error)
            return None
        finally:  # nothing may stay here
            self._empty()
        return data if _codec.may_go(data, self._buffers.kept, home=self._home) else None

    def _empty(self) -> None:
        self._pickler.clear_memo()
        self._file.seek(0)
        self._file.truncate()

    def pickled_each(self, values: Sequence[object], *, copy: bool) -> list[Any]:
        """As `_codec.pickled_each`."""
        buffers = self._buffers
        made: list[Any] = []
        for value in values:
            data = self.pickled(value)
            made.append(buffers.beside(data, copy=copy) if data and buffers.kept else data)
        return made

    def learn(self, met: Mapping[type, Definition]) -> None:
        """Take in how classes travel that an item has been pickled with, unless there are too many."""
        from . import _cloud

        if _cloud.goes_by_value():
            return  # what belongs to such a module goes one way or the other
        for cls, definition in met.items():
            is_new = cls not in self._pickler.known and len(self.definitions) < _MOST
            if is_new and not _byvalue.importable(cls):
                self._pickler.learn(cls, definition.number)
                self._held.update(map(id, definition.held))
                self.definitions.append(definition)
