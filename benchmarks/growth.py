"""How costs grow: with the number of items, with their size, and with the number of workers."""

from __future__ import annotations

from random import Random
from time import perf_counter
from typing import TYPE_CHECKING

from .workloads.tools import check, count, median, seconds, square
from .workloads.work import beside_serial

if TYPE_CHECKING:
    from .peers import Peer
    from .workloads.tools import Numbers

#: A size is not tried if it would take longer than that, going by the one before.
PATIENCE = 20.0


def items(peer: type[Peer], *, quick: bool) -> Numbers:
    """Squares: the time of a warm call, for each of its items."""
    found = {}
    with peer() as library:
        library.map(square, [2, 3])
        for exponent in range(2, 7 if quick else 8):
            many = list(range(10**exponent))
            turns = 5 if exponent < 5 else 1
            took = median(seconds(library.map, square, many) for _ in range(turns))
            found[str(len(many))] = took / len(many)
            if took * 10 > PATIENCE:
                break
    return {"time an item": found}


def sizes(peer: type[Peer], *, quick: bool) -> Numbers:
    """Bytes there, their number back: the time of a warm call, for each of its items."""
    found = {}
    with peer() as library:
        library.map(len, [b"a", b"b"])
        for exponent in range(9 if quick else 10):
            size = 10**exponent
            if 10 * size > _available():
                break
            many = [bytes(size) for _ in range(max(2, min(1_000, 200_000_000 // size)))]
            took, results = _fastest(library, many)
            check(results, [size] * len(many))
            found[str(size)] = took / len(many)
            if took * 10 > PATIENCE and size >= 10_000_000:
                break
    return {"time an item": found}


def _fastest(library: Peer, many: list[bytes]) -> tuple[float, list[int]]:
    times, results = [], []
    while len(times) < 3 and sum(times) < 2:
        began = perf_counter()
        results = library.map(len, many)
        times.append(perf_counter() - began)
    return min(times), results


def work(peer: type[Peer], *, quick: bool) -> Numbers:
    """A loop in each of many items, a tenth of a second in all: how many times faster than serial code.

    Where that is 1 it begins to pay.
    """
    speed_ups, alone = {}, {}
    with peer() as library:
        library.map(count, [1, 1])
        for turns in (1, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000):
            cost = seconds(lambda turns=turns: list(map(count, [turns] * 2_000))) / 2_000
            many = [turns] * int((0.1 if quick else 0.3) / cost)
            ratios = [beside_serial(library, many, None)[0] for _ in range(3 if quick else 9)]
            speed_ups[str(turns)] = 1 / median(ratios)
            alone[str(turns)] = cost
    return {"speed-up": speed_ups, "serial time an item": alone}


def _available() -> int:
    """Bytes of memory to be had."""
    from .memory import fields

    return fields("/proc/meminfo").get("MemAvailable", 8_000_000_000)


def _heavy_tailed(many: int) -> list[float]:
    random = Random(1)
    return [min(0.0005 / (1 - random.random()) ** 0.7, 0.5) for _ in range(many)]


#: Costs of so many items in seconds, by name.
SIMULATED = {
    "items of 10 ms": lambda many: [0.010] * many,
    "heavy-tailed, in random order": _heavy_tailed,
    "heavy-tailed, longest last": lambda many: sorted(_heavy_tailed(many)),
}


def workers(costs: str, *, quick: bool) -> Numbers:
    """The plan alone, in virtual time, with up to 10,000 workers and 20 items for each.

    How much longer a call takes than the longest item, or all of them over the workers; and how
    long the plan takes to decide, for each item. The simulator is that of the plan's tests.
    """
    from tests.plan.simulator import simulate

    over, deciding = {}, {}
    for many in (1, 10, 100, 1_000) if quick else (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000):
        tasks = SIMULATED[costs](max(1_000, 20 * many))
        began = perf_counter()
        over[str(many)] = simulate(tasks, many, expected=len(tasks)).ratio
        deciding[str(many)] = (perf_counter() - began) / len(tasks)
    return {"time over the least possible": over, "deciding, an item": deciding}
