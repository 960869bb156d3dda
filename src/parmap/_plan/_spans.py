"""Sets of whole numbers kept as sorted runs, since items travel in runs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Spans:
    """A set of indices as disjoint half-open runs `[first, stop)`, lowest first.

    Every method costs a binary search and one `list` splice, so a million items in a few runs cost
    no more than a few items.
    """

    __slots__ = ("_firsts", "_stops", "count")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._stops: list[int] = []
        self.count = 0  # indices, not runs

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._firsts, self._stops, strict=True)))

    def __contains__(self, index: int) -> bool:
        at = bisect_right(self._firsts, index) - 1
        return at >= 0 and index < self._stops[at]

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{first}-{stop - 1}" for first, stop in self) + "}"

    @property
    def lowest(self) -> int:
        """The lowest index; only for a set that is not empty."""
        return self._firsts[0]

    @property
    def highest(self) -> int:
        """The highest index; only for a set that is not empty."""
        return self._stops[-1] - 1

    @property
    def head(self) -> int:
        """Where the unbroken run from 0 stops."""
        return self._stops[0] if self._firsts and self._firsts[0] == 0 else 0

    def add(self, first: int, stop: int) -> None:
        """Put `[first, stop)` in; none of it may be there already."""
        if first >= stop:
            return
        if not self._firsts or first > self._stops[-1]:  # beyond all others, as most are
            self._firsts.append(first)
            self._stops.append(stop)
            self.count += stop - first
            return
        low = bisect_left(self._stops, first)  # the first run that touches or lies above
        high = bisect_right(self._firsts, stop)  # one past the last run that touches
        self.count += stop - first
        if low < high:
            first = min(first, self._firsts[low])
            stop = max(stop, self._stops[high - 1])
        self._firsts[low:high] = [first]
        self._stops[low:high] = [stop]

    def remove(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Take what is there of `[first, stop)` out, and answer it."""
        if self._firsts == [first] and self._stops == [stop]:  # all that there is
            self._firsts.clear()
            self._stops.clear()
            self.count = 0
            return [(first, stop)]
        low = bisect_right(self._stops, first)  # the first run that reaches above `first`
        high = bisect_left(self._firsts, stop)  # one past the last run that begins below `stop`
        if low >= high or first >= stop:
            return []
        runs = list(zip(self._firsts[low:high], self._stops[low:high], strict=True))
        removed = [(max(run[0], first), min(run[1], stop)) for run in runs]
        kept = [run for run in ((runs[0][0], first), (stop, runs[-1][1])) if run[0] < run[1]]
        self._firsts[low:high] = [run[0] for run in kept]
        self._stops[low:high] = [run[1] for run in kept]
        self.count -= sum(run[1] - run[0] for run in removed)
        return removed

    def take(self, most: int) -> tuple[int, int]:
        """Take out up to `most` indices from the lowest run."""
        first = self._firsts[0]
        stop = min(first + most, self._stops[0])
        self.count -= stop - first
        if stop == self._stops[0]:
            del self._firsts[0], self._stops[0]
        else:
            self._firsts[0] = stop
        return first, stop
