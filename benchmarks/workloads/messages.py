"""Items that cost nothing: what is measured is the library."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from .tools import affordable, check, median, seconds, settings, square, timed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from benchmarks.peers import Peer

    from .tools import Numbers


def warm(peer: type[Peer], *, quick: bool) -> Numbers:
    """A call over two trivial items when the workers are there: the median of many, after a hundred."""
    with peer() as library:
        for _ in range(100):  # the interpreter and the scheduler of the system settle, too
            library.map(square, [2, 3])
        calls = 100 if quick else 300
        return {
            "time": {"default": median(seconds(library.map, square, [2, 3]) for _ in range(calls))}
        }


def submit(peer: type[Peer], *, quick: bool) -> Numbers:
    """`submit(f, x).result()` one at a time: the median of many."""
    with peer() as library:
        for x in range(20):
            check(library.submit(square, x)(), x * x)
        calls = 200 if quick else 1_000

        def one() -> int:
            return library.submit(square, 3)()

        return {"time": {"default": median(seconds(one) for _ in range(calls))}}


def outstanding(peer: type[Peer], *, quick: bool) -> Numbers:
    """10,000 submits, and then their results: items a second."""
    many = 3_000 if quick else 10_000
    with peer() as library:
        library.submit(square, 2)()
        took, results = timed(_submit_all, library, many)
        check(results, [x * x for x in range(many)])
        return {"speed": {"default": many / took}}


def _submit_all(library: Peer, many: int) -> list[int]:
    waits = [library.submit(square, x) for x in range(many)]
    return [wait() for wait in waits]


def tiny(peer: type[Peer], *, quick: bool) -> Numbers:
    """A million squares: items a second.

    (20,000, where the default is an item a message; 100,000 in chunks, where a million take minutes.)
    """
    speeds = {}
    sizes = (10_000,) if quick else (1_000, 10_000, 100_000)
    few = 2_000 if quick else 20_000
    many = 100_000 if peer.slow_to_open else 1_000_000
    with peer() as library:
        library.map(square, [2, 3])
        for setting, size in settings(peer, *sizes).items():
            items = list(range(affordable(peer, size, many, few)))
            took, results = timed(library.map, square, items, size)
            check(results[-1], items[-1] ** 2)
            check(len(results), len(items))
            speeds[setting] = len(items) / took
    return {"speed": speeds}


def priced(record: dict[str, float]) -> dict[str, float]:
    """A little work on a record."""
    return {"id": record["id"], "total": record["price"] * record["count"]}


def record(number: int) -> dict[str, float]:
    """One of them."""
    return {"id": number, "price": number / 4, "count": 3}


def records(peer: type[Peer], *, quick: bool) -> Numbers:
    """200,000 small dictionaries in, and as many out: items a second."""
    return _there_and_back(peer, priced, record, 200_000, quick=quick)


@dataclass
class Order:
    """What programs pass around: an object with a few things in it."""

    number: int
    day: date
    lines: list[tuple[str, int]]


def order(number: int) -> Order:
    """One of them."""
    return Order(number, date(2000, 1, 1) + timedelta(number % 5_000), [("a", 2), ("b", number)])


def delayed(given: Order) -> Order:
    """The same a day later."""
    return Order(given.number, given.day + timedelta(1), given.lines)


def objects(peer: type[Peer], *, quick: bool) -> Numbers:
    """50,000 objects, each with a date and a list in it, in, and as many out: items a second."""
    return _there_and_back(peer, delayed, order, 50_000, quick=quick)


def _there_and_back(
    peer: type[Peer],
    func: Callable[[Any], Any],
    make: Callable[[int], Any],
    many: int,
    *,
    quick: bool,
) -> Numbers:
    speeds = {}
    few = 2_000 if quick else 20_000
    many = 20_000 if peer.slow_to_open else many
    with peer() as library:
        library.map(func, [make(1), make(2)])
        for setting, size in settings(peer, *((2_000,) if quick else (500, 5_000))).items():
            items = [make(at) for at in range(affordable(peer, size, many, few))]
            took, results = timed(library.map, func, items, size)
            check(results[-1], func(items[-1]))
            check(len(results), len(items))
            speeds[setting] = len(items) / took
    return {"speed": speeds}


def nothing(_: int) -> None:
    """Less than that cannot be done."""


def no_ops(peer: type[Peer], *, quick: bool) -> Numbers:
    """20,000 calls that do nothing, at `chunksize=1`: items a second."""
    many = 5_000 if quick else 20_000
    if peer.slow_to_open:
        many //= 5
    with peer() as library:
        library.map(nothing, [2, 3], 1)
        return {"speed": {"default": many / seconds(library.map, nothing, range(many), 1)}}


def lazy(peer: type[Peer], *, quick: bool) -> Numbers:
    """A lazy map over a generator of 2 million numbers: items a second.

    Also by how much the parent's resident memory grew, and by how many items the input was ahead of
    the output at most.
    """
    found: Numbers = {"speed": {}, "growth": {}, "ahead": {}}
    many, few = (1_000_000, 5_000) if quick else (2_000_000, 20_000)
    with peer() as library:
        list(library.lazy(square, iter(range(100)), None))
        for setting, size in settings(peer, *((1_000,) if quick else (1_000, 10_000))).items():
            items = affordable(peer, size, many, few)
            if setting == "default" and peer.name in {"multiprocessing.Pool", "mpire"}:
                items = few  # an item a message here, too, though not in their `map`
            speed, growth, ahead = _run_lazily(library, items, size)
            found["speed"][setting] = speed
            if items == many:
                found["growth"][setting] = growth
                found["ahead"][setting] = ahead
    return found


def _run_lazily(library: Peer, many: int, size: int | None) -> tuple[float, float, float]:
    from benchmarks.memory import resident

    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        while taken < many:
            taken += 1
            yield taken

    def run() -> tuple[int, int, int]:
        total = ahead = 0
        most = resident()
        for given, result in enumerate(library.lazy(square, source(), size)):
            total += result
            if not given % 1_000:
                ahead = max(ahead, taken - given)
            if not given % 50_000:
                most = max(most, resident())
        return total, most, ahead

    before = resident()
    took, (total, most, ahead) = timed(run)
    check(total, many * (many + 1) * (2 * many + 1) // 6)
    return many / took, most - before, ahead
