"""Reads the input in the caller's thread, and keeps each item until it is done with.

Every item is serialised before the next is read, so an iterator that yields one buffer again and again
is safe, and what two items share does not depend on how they travel. Scalars are kept as they are, and
built-in containers, whose iteration runs nobody's code, are read in bulk.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from itertools import chain, islice, zip_longest

from . import _arrays, _fixed, _instances, _plain, _traceback
from ._codec import (
    FORMATS,
    Buffers,
    Numbers,
    Packed,
    Pickles,
    as_numbers,
    pickled,
    pickled_by_value,
    pickled_each,
)
from ._handlers import let_pass
from ._plain import SCALARS, SIZED
from ._plan._chunks import HEAVY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from typing import Any

    from ._classes import Definition
    from ._instances import Quick

#: Stands for an item that cannot be pickled. It may be sent before the plan has heard of that, and cannot
#: be unpickled, so that no function is ever called with it.
_NOTHING = Packed([b"."])

#: Items of a list that are looked at and packed at once: what a cache holds of the objects.
_PIECE = 4096

#: Bytes of strings an item, and bits of a number, that need no closer look.
_LIGHT = 1 << 10

#: Numbers and the like in a list or range that are read at once: fewer turns for small chunks.
_FREE = 1024
_LIGHT_KINDS = SCALARS - SIZED

#: Containers that can be read in bulk: to iterate over them has no side effects.
_CONTAINERS = frozenset({list, tuple, range, str, bytes, dict, set, frozenset})


class Intake:
    """The input of one call."""

    def __init__(
        self,
        iterables: Sequence[Iterable[Any]],
        *,
        star: bool,
        strict: bool,
        packing: bool,
        lazy: bool = False,
        defining: bool = False,
    ) -> None:
        self._iterables: Sequence[Iterable[Any]] = iterables
        self._several = len(iterables) > 1
        self._star = star and not self._several  # each item is itself an iterable of arguments
        self._strict = strict
        self._packing = packing  # else items stay as they are: nothing leaves this process
        self._lazy = lazy  # the caller goes on meanwhile, and may change what has been read
        self._bulk = not self._star and _CONTAINERS.issuperset(map(type, iterables))
        only: Any = None if self._several or self._star else iterables[0]
        sliced = type(only) in (list, range)
        self._array = packing and not sliced and _arrays.is_array(only)
        self._bulk |= self._array
        self._slices = only if sliced or self._array else None
        #: How many items may be read at once though fewer are wanted, as long as they weigh nothing.
        self.free = 0
        if sliced and (type(only) is range or _LIGHT_KINDS.issuperset(map(type, only[:_FREE]))):
            self.free = _FREE
        self._source: Iterator[Any] | None = None
        self._before: tuple[Any, ...] = ()  # the item that was weighed last, if it is arguments
        self._read = 0
        self._firsts: list[int] = []  # of the runs below
        self._runs: list[Sequence[Any]] = []  # what has been read and is not done with
        self._left: list[int] = []  # how much of each run is not
        self._buffers = Buffers()
        self._copier = _plain.Copier()
        self._defining = defining  # workers can be told of the program's classes
        #: For their instances, once there is one.
        self.quick: Quick | None = None
        self.kinds: set[type] = set()  # the types of what was read, as it is kept
        self.nbytes = 0  # of what was read last, as far as it is known
        self.came = 0, False  # how many items that were, and whether they were the last
        self.total = _length(iterables)
        self.error: BaseException | None = None  # what the input raised
        self.refused: list[tuple[int, Exception]] = []  # items that cannot be serialised

    @property
    def is_silent(self) -> bool:
        """Whether nobody's code runs as it is read."""
        return self._bulk

    def read(self, count: int) -> tuple[int, bool]:
        """Read up to `count` items: how many there were, and whether the input has ended.

        What the input raises is kept in `error`, what cannot be serialised in `refused`.
        """
        run: Any = []
        ended = True
        self.nbytes = 0
        try:
            if self._source is None:
                self._source = self._open()
            if self._slices is not None:
                run = self._read_slices(self._slices, self._read + count)
            elif self._bulk:
                try:
                    run.extend(islice(self._source, count))
                finally:  # where `strict` finds fault, what was read before that still counts
                    run = self._taken_in(run, self._read)
            else:
                count = self._read_singly(self._source, count, run)
                self.nbytes += _of_large_numbers(run)
                run = _bared(run)
            # A container is known to have ended without another look, but for `strict`, which takes one.
            known = self._bulk and not self._strict and self._read + len(run) == self.total
            ended = known or len(run) < count
        except Exception as error:
            self._note(error)
        self._file(run)
        return len(run), ended

    def read_in_turn(self, most: int, until: float) -> Generator[Any]:
        """Read up to `most` items until then, each as it is asked for; `came` tells how that went.

        For who uses them in this process, before the next is read. As `read` it notes what is raised.
        """
        run: list[Any] = []
        ended = False
        self.nbytes = 0
        try:
            if self._source is None:
                self._source = self._open()
            ended = yield from self._in_turn(islice(self._source, most), run, until)
            ended = ended and len(run) < most
        except Exception as error:
            self._note(error)
        finally:
            self._file(run)
            self.came = len(run), ended

    def _in_turn(
        self, source: Iterator[Any], run: list[Any], until: float
    ) -> Generator[Any, None, bool]:  # by itself: see `Drive.run`
        """Read a run; whether all of the source."""
        for item in source:
            run.append(tuple(item) if self._star else item)
            if type(item) in SIZED:
                self.nbytes += len(item)
            yield run[-1]
            if self.nbytes > HEAVY or time.perf_counter() > until:
                return False
        return True

    def _note(self, error: Exception) -> None:
        """Keep what the input has raised."""
        let_pass(error)
        # Without our own frames, which would keep what was read for as long as the error is kept.
        self.error = error.with_traceback(_traceback.below_ours(error.__traceback__))

    def _file(self, run: Any) -> None:
        """Keep what has been read."""
        if len(run):
            self._firsts.append(self._read)
            self._runs.append(run)
            self._left.append(len(run))
            self._read += len(run)

    def _open(self) -> Iterator[Any]:
        if self._several:
            return zip(*self._iterables, strict=self._strict)
        return iter(self._iterables[0])

    def _read_slices(self, source: Any, upto: int) -> Any:
        if type(source) is range:
            return self._taken_in(source[self._read : upto], self._read)
        if self._array:
            run = _arrays.read(source, self._read, upto, copy=self._lazy)
            self.kinds.add(type(run))
            self.nbytes += run.nbytes
            return run
        upto = min(upto, len(source))
        if upto - self._read <= _PIECE:
            return self._taken_in(source[self._read : upto], self._read)
        places = range(self._read, upto, _PIECE)
        return _joined([self._taken_in(source[at : min(at + _PIECE, upto)], at) for at in places])

    def _taken_in(self, run: Any, first: int) -> Any:
        """See what a run holds, and pack it if need be: the run as it is kept, from index `first` on."""
        if type(run) is range:
            self.kinds.add(int)
            return run
        if not (run and self._packing):
            return run
        kinds = _types(run)
        if not SCALARS.issuperset(kinds):
            together = self._together(run, *kinds) if len(kinds) == 1 else None
            if together is None and SCALARS.isdisjoint(kinds):
                return self._packed_each(run, first)
            if together is None:
                packed = enumerate(run, first)
                return [self._packed(item, at, copy=self._lazy) for at, item in packed]
            self.kinds |= kinds
            return together
        self.kinds |= kinds
        if SIZED.issuperset(kinds):
            self.nbytes += sum(map(len, run))
        kind, *others = kinds
        numbers = as_numbers(run, kind) if kind in FORMATS and not others else None
        if numbers is None:
            self.nbytes += _of_large_numbers(run)
        return run if numbers is None else numbers

    def _packed_each(self, run: list[Any], first: int) -> Any:
        """Items that are no scalars, each pickled by itself."""
        self.kinds.add(Packed)
        if self.quick is None:
            made = pickled_each(run, self._buffers, copy=self._lazy)
        else:
            made = self.quick.pickled_each(run, copy=self._lazy)
        if set(map(type, made)) == {bytes}:
            self.nbytes += sum(map(len, made))
            return Pickles(made)
        return [
            self._packed_from(one, item, at, copy=self._lazy)
            for at, (one, item) in enumerate(zip(made, run, strict=True), first)
        ]

    def _together(self, run: list[Any], kind: type) -> Any:
        """What stands for items of one type, which are no scalars; None: each goes by itself."""
        if _arrays.is_number(kind):
            return run
        if _fixed.all_fixed(run, kind):
            size: Any = kind.__sizeof__
            self.nbytes += sum(map(size, run))
            return run
        if _arrays.of_array(kind):
            return self._arrays_together(run)
        plain = _plain.all_copied(run, kind)
        if plain is None:
            return None
        self._weigh(run, plain[1])
        return plain[0]

    def _arrays_together(self, run: list[Any]) -> Any:
        """One array of many, or copies of all; None: they are not all small."""
        array = _arrays.stacked(run)
        if array is not None:
            self.nbytes += array.nbytes
            return array
        copies = _plain.each_copied(run, _arrays.copied)
        if copies is None:
            return None
        self.nbytes += copies[1]
        return copies[0]

    def _read_singly(self, source: Iterator[Any], count: int, run: list[Any]) -> int:
        """Read up to `count` items, fewer if they are large, and answer how many were wanted."""
        append = run.append
        usual: type | None = None  # what needs no further look
        for item in islice(source, count):
            kind = type(item)
            if kind is usual:
                append(item)
                continue
            if kind in SCALARS and not self._star:
                append(item)
                self.kinds.add(kind)
                if kind not in SIZED:
                    usual = kind
                    continue
                self.nbytes += len(item)
            else:
                if self._star:
                    item = tuple(item)  # noqa: PLW2901 -- as itertools.starmap does
                index = self._read + len(run)
                append(self._packed(item, index, copy=True) if self._packing else item)
            if self.nbytes > HEAVY:
                return len(run)
        return count

    def _packed(self, item: Any, index: int, *, copy: bool) -> Any:
        """An item as it travels."""
        plain = self._copier.copied(item)
        if plain is not None:
            self.kinds.add(type(item))
            self._weigh([item], plain[1])
            return plain[0]
        self.kinds.add(Packed)
        quick = self.quick
        data = quick.pickled(item) if quick else pickled(item, self._buffers, home=False)
        return self._packed_from(data, item, index, copy=copy)

    def _packed_from(
        self, made: bytes | Packed | None, item: Any, index: int, *, copy: bool
    ) -> Packed:
        """An item of which this was made (None: it has to go by value), as it travels."""
        try:
            data = self._by_value(item) if made is None else made
        except Exception as error:
            let_pass(error)
            self.refused.append((index, error))
            return _NOTHING
        packed = self._buffers.beside(data, copy=copy) if isinstance(data, bytes) else data
        self.nbytes += packed.nbytes
        return packed

    def _by_value(self, item: Any) -> bytes:
        met: dict[type, Definition] = {}
        buffers = self._buffers
        data = pickled_by_value(item, buffers, home=False, what="item", met=met)
        if met and self._defining:
            self.quick = self.quick or _instances.Quick(buffers)
            self.quick.learn(met)
        return data

    def _weigh(self, items: Sequence[Any], nbytes: int) -> None:
        """Count what is large in plain items; of arguments, only what was not in the item before, too.

        What many share travels once in a message.
        """
        before = self._before
        if self._several or self._star:
            self._before = items[-1]
            if nbytes > _LIGHT * len(items):
                nbytes = sum(map(_news, items, chain([before], items)))
        self.nbytes += nbytes

    def abandon(self) -> None:
        """Let go of all: whoever keeps this keeps nothing."""
        self._iterables, self._slices, self._source, self.error = (), None, None, None
        self._firsts, self._runs, self._left = [], [], []

    def values(self, first: int, stop: int) -> Sequence[Any]:
        """The items from `first` to `stop`: scalars as they are, all else packed."""
        at = bisect_right(self._firsts, first) - 1
        begin = self._firsts[at]
        run = self._runs[at]
        if stop <= begin + len(run):
            return run if stop - first == len(run) else run[first - begin : stop - begin]
        found: list[Any] = []
        while first < stop:
            begin, run = self._firsts[at], self._runs[at]
            found.append(run[first - begin : stop - begin])
            first = begin + len(run)
            at += 1
        joined: Sequence[Any] = _joined(found)
        return joined

    def forget(self, first: int, stop: int) -> None:
        """Let go of items that are done with."""
        while first < stop:
            at = bisect_right(self._firsts, first) - 1
            end = min(stop, self._firsts[at] + len(self._runs[at]))
            self._left[at] -= end - first
            if self._left[at] == 0:
                del self._firsts[at], self._runs[at], self._left[at]
            first = end


def _of_large_numbers(run: Sequence[Any]) -> int:
    """Bytes of whole numbers, where the last of a run is large."""
    if not (run and type(run[-1]) is int and run[-1].bit_length() > _LIGHT):
        return 0
    return sum(item.bit_length() >> 3 for item in run if type(item) is int)


def _bared(run: list[Any]) -> Any:
    """A run without an object for each item, if all of it was pickled."""
    if not (run and type(run[0]) is Packed):
        return run
    held = [one.parts for one in run if type(one) is Packed]
    if len(held) < len(run) or max(map(len, held)) > 1:
        return run
    return Pickles([part for (part,) in held])


def _news(item: tuple[Any, ...], before: tuple[Any, ...]) -> int:
    """Bytes of what is large in an item and was not in the one before, in the same place.

    Of an array each has a copy.
    """
    pairs = zip_longest(item, before)
    new = [leaf for leaf, old in pairs if leaf is not old or _arrays.of_array(type(leaf))]
    plain = _plain.copied(tuple(new))
    return 0 if plain is None else plain[1]


def _types(values: list[Any]) -> set[type]:
    """The types of values."""
    kind = type(values[0])
    # To count one type takes half the time that telling them apart does.
    if [*map(type, values)].count(kind) == len(values):
        return {kind}
    return set(map(type, values))


def _joined(runs: Sequence[Any]) -> Any:
    if len(runs) == 1:
        return runs[0]
    if all(map(_arrays.is_array, runs)):
        array = _arrays.joined(runs)
        if array is not None:
            return array
    if all(type(run) is Numbers and run.form == runs[0].form for run in runs):
        return Numbers(runs[0].form, memoryview(b"".join(run.data for run in runs)))
    if all(type(run) is Pickles for run in runs):
        return Pickles([*chain.from_iterable(run.data for run in runs)])
    return list(chain.from_iterable(runs))


def _length(iterables: Sequence[Iterable[Any]]) -> int | None:
    """How many items there will be, where all inputs say."""
    try:
        return min(map(len, iterables))  # type: ignore[arg-type]
    except Exception as error:
        let_pass(error)
        return None
