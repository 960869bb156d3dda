"""Runs items, saying in the shared cell which one it is at: the loops that a worker lives in."""

from __future__ import annotations

import time
from _pickle import loads

from . import _area, _byvalue, _cell, _codec, _failure
from ._codec import Packed, Pickles
from ._plain import SCALARS
from ._serialization import SerializationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._results import Results

#: Seconds that a run of items should take, and how fast runs may grow.
RUN = 0.0005
_GROWTH = 4

_LONGEST = 1 << 30  # no chunk is as long

_AT, _CLAIMED, _SINCE = _cell.AT, _cell.CLAIMED, _cell.SINCE
_STEP, _BLOCK, _COUNT = _cell.STEP, _cell.BLOCK, bytes(range(_cell.BLOCK))
_EACH = tuple(_COUNT)  # the places of a block: to count through them takes less than to enumerate


class Runner:
    """Runs a call's items, a run at a time."""

    def __init__(self, cell: _cell.Cell, results: Results) -> None:
        self._words = cell.words
        self._steps = cell.steps
        self._results = results
        self.call: Callable[[Any], Any] | None = None  # None: there is nothing that could be called
        self.timed = False  # whether to say since when it is at an item
        self.length = 1  # items in the next run
        self._longest = _LONGEST

    def begin(self) -> None:
        """Begin a call: its items may be others than those before."""
        self.length, self._longest = 1, _LONGEST

    def creep(self) -> None:
        """Run one item at a time for the rest of the call: what they do has to be undone after each."""
        self.length = self._longest = 1

    def way(
        self, values: Any, *, packed: bool, placed: bool
    ) -> tuple[Callable[[Any, int, int, int], None], Any]:
        """How to run the items of a message, that are `packed`, or whose results may be `placed`.

        And these items, as they are then expected.
        """
        if self.timed:
            return self._run_carefully, list(values)
        if type(values) is Pickles:
            return self._run_pickled, values.data
        if packed:
            return self._run_carefully, list(values)
        return (self._run_numbers if placed else self._run_fast), values

    def pace(self, seconds: float, count: int) -> None:
        """Choose the length of the next run after one that took so long."""
        wanted = int(count * RUN / max(seconds, 1e-9))
        self.length = max(1, min(wanted, self.length * _GROWTH, self._longest))

    @property
    def placed(self) -> int:
        """How many results the run at hand has placed; for who interrupts it."""
        area, at = self._results.area, self._words[_AT]
        return 0 if area is None or at < 0 else area.filled(self._words[_CLAIMED] - at)

    # Each of these runs the items from place `begin` to place `end` of a message; the first has that
    # ordinal.

    def _run_pickled(self, values: Any, begin: int, end: int, ordinal: int) -> None:
        """Run items that are to be unpickled first."""
        self._run_fast(values, begin, end, ordinal, self._unpickle_and_call)

    def _unpickle_and_call(self, data: memoryview) -> Any:
        try:
            value = loads(data)
        except _byvalue.RAISED as error:
            raise _unreadable(error) from error
        return self.call(value)  # type: ignore[misc]

    def _run_fast(
        self,
        values: Any,
        begin: int,
        end: int,
        ordinal: int,
        call: Callable[[Any], Any] | None = None,
    ) -> None:
        """Run items that are there as they are, by `call`, if it is not the function itself.

        To say which item it is at, it writes a word for each block and a byte for each item, which is
        half as dear; and local names are faster to look up than global ones.
        """
        results = self._results
        call = call or self.call
        append, scalars, usual = results.values.append, SCALARS, None
        words, steps, step = self._words, self._steps, _STEP
        for block in range(begin, end, _BLOCK):
            words[_AT] = -1  # so that no moment says a word of one block and a byte of another
            steps[step] = 0
            words[_AT] = ordinal + block - begin
            for steps[step], value in zip(_COUNT, values[block : min(block + _BLOCK, end)]):  # noqa: B905
                result = call(value)  # type: ignore[misc]
                kind = type(result)
                if kind is usual:
                    append(result)
                elif kind in scalars:
                    usual = kind
                    results.add(result)
                else:
                    # None: what was packed may have been sent, and its kinds forgotten.
                    usual = results.pack(result)

    def _run_carefully(self, values: Any, begin: int, end: int, ordinal: int) -> None:
        """Run items that are to be unpacked, each by itself, or timed."""
        words = self._words
        words[_AT] = -1
        self._steps[_STEP] = 0
        for at in range(begin, end):
            words[_SINCE] = 0
            words[_AT] = ordinal + at - begin
            value, values[at] = values[at], None
            if type(value) is Packed:
                value = unpack_item(value)
            if self.timed:
                words[_SINCE] = time.monotonic_ns()
            result = self.call(value)  # type: ignore[misc]
            words[_SINCE] = 0
            self._results.add(result)

    def _run_numbers(self, values: Any, begin: int, end: int, ordinal: int) -> None:
        """Run items whose results are numbers of one type, as far as is known, and place these."""
        results = self._results
        if results.number is None:
            self._run_fast(values, begin, end, ordinal)
            kinds = results.kinds
            if results.fit and len(kinds) == 1 and _codec.FORMATS.keys() >= kinds:
                (results.number,) = kinds
            return
        if results.has_others:
            results.report()
        done = self._place_numbers(values[begin:end], ordinal)
        if done < end - begin:
            self._run_numbers(values, begin + done, end, ordinal + done)

    def _place_numbers(self, values: Any, ordinal: int) -> int:
        """Run items and place their results until one is another: how many are dealt with.

        In blocks, since the interpreter has the whole numbers up to 256 at hand and makes all others.
        """
        results, words, call = self._results, self._words, self.call
        area, number = results.area, results.number
        assert area is not None
        assert number is not None
        places: Any = area.numbers[_codec.FORMATS[number]]
        first = ordinal + results.shift
        words[_AT] = -1  # so that no moment says a word of one run and a place of another
        self._steps[_STEP] = 0
        area.blank(first, len(values))
        area.words[_area.RUN] = first
        words[_AT] = ordinal
        block = at = 0
        try:
            for block in range(0, len(values), _BLOCK):
                some = places[first + block : first + block + _BLOCK]
                part = [*values[block : block + _BLOCK]]
                for at in _EACH[: len(part)]:
                    result = call(part[at])  # type: ignore[misc]
                    if type(result) is not number:
                        break
                    try:
                        some[at] = result
                    except ValueError:  # an int of more than eight bytes: more of them may come
                        results.fit = False
                        break
                else:
                    continue
                break
            else:
                block, at = len(values), 0
                return block
        finally:
            words[_AT] = -1
            area.words[_area.RUN] = -1
            results.place(block + at)  # there, since who interrupts this loop may change it
        results.report()
        results.number = None
        words[_AT] = ordinal + block + at
        results.add(result)
        return block + at + 1


def starred(func: Callable[..., Any]) -> Callable[[Any], Any]:
    """The function of one argument, which is a tuple of those of `func`."""

    def _call_with(arguments: Any) -> Any:
        return func(*arguments)

    return _call_with


def unpack_item(value: Packed) -> Any:
    """An item as the function is to get it.

    Raises:
        SerializationError: It cannot be unpickled.
    """
    try:
        return _codec.unpack([memoryview(part) for part in value.parts])
    except _byvalue.RAISED as error:
        raise _unreadable(error) from error


def _unreadable(error: BaseException) -> SerializationError:
    return SerializationError(f"the item cannot be unpickled in the worker: {_failure.said(error)}")
