"""Items that keep a core busy, evenly or not; and a worker that dies."""

from __future__ import annotations

import os
from random import Random
from time import sleep

from .tools import check, count, median, seconds, settings, turns_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from benchmarks.peers import Peer

    from .tools import Numbers


def short(peer: type[Peer], *, quick: bool) -> Numbers:
    """A warm call over 8 items of 0.2 ms, which two cores need 0.8 ms for: the median of many."""
    items = [turns_in(0.0002)] * 8
    calls = 50 if quick else 300
    with peer() as library:
        for _ in range(20):
            library.map(count, items)
        return {
            "time": {
                setting: median(seconds(library.map, count, items, size) for _ in range(calls))
                for setting, size in settings(peer, 1, 4).items()
                if not (size == 1 and peer.an_item_a_message)  # it is the default
            }
        }


def cpu(peer: type[Peer], *, quick: bool) -> Numbers:
    """2,000 items of 1 ms: how many times faster than serial code in the same process."""
    items = [turns_in(0.001)] * (1_000 if quick else 2_000)
    with peer() as library:
        library.map(count, [1, 1])
        speeds = {
            setting: 1 / beside_serial(library, items, size)[0]
            for setting, size in settings(peer, *((32,) if quick else (8, 32, 125))).items()
        }
    return {"speed-up": speeds}


def heavy(peer: type[Peer], *, quick: bool) -> Numbers:
    """1,000 items, most of half a millisecond and few of very much more.

    The time, over what nobody could better: the longest item, or all of them over the cores. Once
    in random order, and once with the longest last.
    """
    from benchmarks.peers import CORES

    items = _heavy_tailed(turns_in(0.001), 150 if quick else 1_000)
    least = max(1 / CORES, max(items) / sum(items))
    found: Numbers = {}
    with peer() as library:
        library.map(count, [1, 1])
        for order, costs in {"random order": items, "longest last": sorted(items)}.items():
            found[order] = {
                setting: beside_serial(library, costs, size)[0] / least
                for setting, size in settings(peer, *((1,) if quick else (1, 4, 16))).items()
                if not (size == 1 and peer.an_item_a_message)  # it is the default
            }
    return found


def _heavy_tailed(turns_a_millisecond: int, many: int) -> list[int]:
    random = Random(1)  # the same for all
    costs = (min(0.5 / (1 - random.random()) ** 0.7, 100) for _ in range(many))
    return [int(turns_a_millisecond * milliseconds) for milliseconds in costs]


def beside_serial(library: Peer, items: list[int], size: int | None) -> tuple[float, float]:
    """Time over that of serial code, half of which runs right before and half right after."""
    serial = seconds(lambda: list(map(count, items[::2])))
    parallel = seconds(library.map, count, items, size)
    serial += seconds(lambda: list(map(count, items[1::2])))
    return parallel / serial, parallel


def killed(peer: type[Peer], *, quick: bool) -> Numbers:
    """1,000 items of 2 ms, of which one kills its worker at its first attempt.

    The time, less that without the kill.
    """
    from tempfile import TemporaryDirectory

    numbers = range(1_000)
    with peer() as library, TemporaryDirectory() as folder:
        library.map(nap, [("", 0)] * 2)
        plain, broken = [], []
        for turn in range(1 if quick else 3):
            for times, fatal in ((plain, -1), (broken, 500)):
                marker = f"{folder}/{turn}"
                items = [(marker if x == fatal else "", x) for x in numbers]
                times.append(seconds(lambda items=items: _check_order(library, items)))
            check(os.path.exists(marker), True)  # noqa: PTH110
    return {"more": {"default": median(broken) - median(plain)}}


def nap(item: tuple[str, int]) -> int:
    """Sleep, which no neighbour disturbs; or die, where no marker tells that one has."""
    marker, number = item
    if marker and not os.path.exists(marker):  # noqa: PTH110
        from signal import SIGKILL

        open(marker, "w").close()  # noqa: PTH123
        os.kill(os.getpid(), SIGKILL)
    sleep(0.002)
    return number


def _check_order(library: Peer, items: list[tuple[str, int]]) -> None:
    check(library.retried(nap, items), [number for _, number in items])
