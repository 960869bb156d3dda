"""What workloads share."""

from __future__ import annotations

from time import perf_counter, process_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.peers import Peer

#: By quantity: numbers by setting.
Numbers = dict[str, dict[str, float]]


def square(x: int) -> int:
    """As little work as there can be."""
    return x * x


def count(turns: int) -> int:
    """Keep a core busy for so many turns of a loop."""
    total = 0
    for turn in range(turns):
        total += turn
    return total


def turns_in(seconds: float) -> int:
    """How many turns take that much CPU time here and now."""
    turns = 200_000
    times = []
    for _ in range(5):
        began = process_time()
        count(turns)
        times.append(process_time() - began)
    return int(turns * seconds / median(times))


def median(values: Iterable[float]) -> float:
    """The median (`statistics` would be imported by each fresh worker)."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def timed(act: Callable[..., object], *arguments: object) -> tuple[float, object]:
    """Seconds, and what came of it."""
    began = perf_counter()
    result = act(*arguments)
    return perf_counter() - began, result


def seconds(act: Callable[..., object], *arguments: object) -> float:
    """Seconds."""
    return timed(act, *arguments)[0]


def settings(peer: Peer, *sizes: int) -> dict[str, int | None]:
    """Chunk sizes to try, by name; without a library there are none."""
    found: dict[str, int | None] = {"default": None}
    return found if peer.no_library else found | {str(size): size for size in sizes}


def affordable(peer: Peer, size: int | None, many: int, few: int) -> int:
    """How many items: few, where each is a message and a future."""
    return few if peer.an_item_a_message and size in {None, 1} else many


def check(found: object, expected: object) -> None:
    """A fast answer has to be the right one, too."""
    if found != expected:
        text = f"wrong answer: {str(found)[:60]}, not {str(expected)[:60]}"
        raise ValueError(text)
