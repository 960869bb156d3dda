"""Reads the input in the caller's thread, and keeps each item until it is done with.

Every item is serialised before the next is read, so an iterator that yields one buffer again and again
is safe, and what two items share does not depend on how they travel. Scalars are kept as they are, and
built-in containers, whose iteration runs nobody's code, are read in bulk.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice

from ._codec import SCALARS, pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

#: Containers that can be read in bulk: to iterate over them has no side effects.
_CONTAINERS = frozenset({list, tuple, range, str, bytes, dict, set, frozenset})


class Intake:
    """The input of one call."""

    def __init__(
        self, iterables: Sequence[Iterable[Any]], *, star: bool, strict: bool, packing: bool
    ) -> None:
        self._iterables = iterables
        self._several = len(iterables) > 1
        self._star = star and not self._several  # each item is itself an iterable of arguments
        self._strict = strict
        self._packing = packing  # else items stay as they are: nothing leaves this process
        self._bulk = not self._star and all(type(one) in _CONTAINERS for one in iterables)
        self._source: Iterator[Any] | None = None
        self._read = 0
        self._firsts: list[int] = []  # of the runs below
        self._runs: list[Sequence[Any]] = []  # what has been read and is not done with
        self._left: list[int] = []  # how much of each run is not
        self.plain = packing  # as long as all items that were read are scalars
        self.total = _length(iterables)
        self.error: BaseException | None = None  # what the input raised
        self.refused: list[tuple[int, Exception]] = []  # items that cannot be serialised

    def read(self, count: int) -> tuple[int, bool]:
        """Read up to `count` items: how many there were, and whether the input has ended.

        What the input raises is kept in `error`, what cannot be serialised in `refused`.
        """
        run: Any = []
        ended = True
        try:
            if self._source is None:
                self._source = self._open()
            if self._bulk and not self._several and type(self._iterables[0]) is range:
                run = self._iterables[0][self._read : self._read + count]
            elif self._bulk:
                self._read_bulk(self._source, count, run)
            else:
                self._read_singly(self._source, count, run)
            # A container is known to have ended without another look, but for `strict`, which takes one.
            known = self._bulk and not self._strict and self._read + len(run) == self.total
            ended = known or len(run) < count
        except Exception as error:
            self.error = error
        if len(run):
            self._firsts.append(self._read)
            self._runs.append(run)
            self._left.append(len(run))
            self._read += len(run)
        return len(run), ended

    def _open(self) -> Iterator[Any]:
        if self._several:
            return zip(*self._iterables, strict=self._strict)
        return iter(self._iterables[0])

    def _read_bulk(self, source: Iterator[Any], count: int, run: list[Any]) -> None:
        batch: list[Any] = []
        try:
            batch.extend(islice(source, count))
        finally:  # where `strict` finds fault, what was read before that still counts
            if not self._packing or SCALARS.issuperset(map(type, batch)):
                run.extend(batch)
            else:
                run.extend(
                    self._packed(item, self._read + at, copy=False) for at, item in enumerate(batch)
                )

    def _read_singly(self, source: Iterator[Any], count: int, run: list[Any]) -> None:
        append = run.append
        for item in islice(source, count):
            if self._star:
                item = tuple(item)  # noqa: PLW2901 -- as itertools.starmap does
            if type(item) in SCALARS or not self._packing:
                append(item)
            else:
                append(self._packed(item, self._read + len(run), copy=True))

    def _packed(self, item: Any, index: int, *, copy: bool) -> Any:
        if type(item) is tuple and (self._several or self._star):
            if SCALARS.issuperset(map(type, item)):
                return item
        elif type(item) in SCALARS:
            return item
        self.plain = False
        try:
            return pack(item, copy=copy)
        except Exception as error:
            self.refused.append((index, error))
            return None

    def values(self, first: int, stop: int) -> Sequence[Any]:
        """The items from `first` to `stop`: scalars as they are, all else packed."""
        at = bisect_right(self._firsts, first) - 1
        begin = self._firsts[at]
        if stop <= begin + len(self._runs[at]):
            return self._runs[at][first - begin : stop - begin]
        values: list[Any] = []
        while first < stop:
            begin, run = self._firsts[at], self._runs[at]
            values += run[first - begin : stop - begin]
            first = begin + len(run)
            at += 1
        return values

    def forget(self, first: int, stop: int) -> None:
        """Let go of items that are done with."""
        while first < stop:
            at = bisect_right(self._firsts, first) - 1
            end = min(stop, self._firsts[at] + len(self._runs[at]))
            self._left[at] -= end - first
            if self._left[at] == 0:
                del self._firsts[at], self._runs[at], self._left[at]
            first = end


def _length(iterables: Sequence[Iterable[Any]]) -> int | None:
    """How many items there will be, where all inputs say."""
    try:
        return min(len(one) for one in iterables)  # type: ignore[arg-type]
    except Exception:
        return None
