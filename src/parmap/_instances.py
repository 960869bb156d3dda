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
from types import FunctionType

from . import _byvalue, _codec, _globals, _kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ._classes import Definition


#: Classes that a worker knows how to tell.
_MOST = 64


class _Pickler(Pickler):
    """Raises `NotSimple` where a class is not known, or something is to travel in a way of its own."""

    def __init__(self, file: BytesIO, *, home: bool) -> None:
        super().__init__(file, 5, buffer_callback=_codec.keep_in)
        self.known: dict[type, Any] = {}  # how classes are told
        self._apart = {} if home else _byvalue.singletons()
        self._home = home

    def reducer_override(self, obj: Any) -> Any:
        kind: Any = type(obj)
        if issubclass(kind, type):
            return self.known.get(obj) or self._reduce_class(obj)
        if kind.__module__ in _globals.PROGRAM:
            return sys.modules["parmap._classes"].reduce_member(obj) or NotImplemented
        if id(obj) in self._apart or kind.__module__.startswith("multiprocessing"):
            raise _byvalue.NotSimple
        if kind is FunctionType and not _byvalue.importable(obj):
            raise _byvalue.NotSimple
        return NotImplemented

    def _reduce_class(self, cls: Any) -> Any:
        number = sys.modules["parmap._cloud"].number_of_another(cls) if self._home else None
        if number is not None:
            _kept.make_room(self.known, _MOST)  # a pool's tasks may bring ever new ones
            self.known[cls] = sys.modules["parmap._classes"].class_of, (number,)
            return self.known[cls]
        if cls.__module__ in _globals.PROGRAM:
            raise _byvalue.NotSimple
        return NotImplemented  # it is pickled by its name, or cannot be


def are_met() -> bool:
    """Whether there has been anything yet for the accurate way."""
    return "parmap._cloud" in sys.modules


class Quick:
    """Pickles what goes to workers in one call, or, in a worker, `home` to the caller."""

    def __init__(self, *, home: bool = False) -> None:
        self._file = BytesIO()
        self._pickler = _Pickler(self._file, home=home)
        self._home = home
        self.definitions: list[Definition] = []  # of the classes that a worker has to know
        self._held: set[int] = set()  # the ids of what these hold, and will hold there

    def pickled(self, obj: object) -> bytes | None:
        """The pickle of one value, if it is as simple as that; else None."""
        pickler = self._pickler
        try:
            pickler.dump(obj)
            if self._held and not self._held.isdisjoint(pickler.memo.copy()):
                return None  # it has to be what the class holds there, too
            data = self._file.getvalue()
        except _byvalue.RAISED:
            return None
        finally:  # nothing may stay here
            pickler.clear_memo()
            self._file.seek(0)
            self._file.truncate()
        return data if _codec.may_go(data, home=self._home) else None

    def pickled_each(self, values: Sequence[object]) -> _codec.Pickles | None:
        """The pickles of many; None: one of them is not as simple."""
        pickles: list[Any] = []
        for value in values:
            data = self.pickled(value)
            if data is None:
                return None
            pickles.append(data)
        return _codec.Pickles(pickles)

    def learn(self) -> None:
        """Take in how classes travel that have been met by now."""
        known = self._pickler.known
        for cls, definition in [*sys.modules["parmap._cloud"].definitions.items()]:
            if cls not in known and definition.call == _globals.calls:
                known[cls] = sys.modules["parmap._classes"].class_of, (definition.number,)
                self._held.update(map(id, definition.held))
                self.definitions.append(definition)
