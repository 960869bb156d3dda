"""Large data: what is measured is how it travels, and how often it is copied."""

from __future__ import annotations

from functools import partial

from .tools import check, count, median, seconds, turns_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy import ndarray

    from benchmarks.peers import Peer

    from .tools import Numbers

MB = 1_000_000


def arrays_in(peer: type[Peer], *, quick: bool) -> Numbers:
    """64 arrays of 16 MB in, their sums out: bytes a second, and memory of all processes."""
    import numpy as np

    arrays = [np.full(2 * MB, float(n)) for n in range(24 if quick else 64)]
    return _travel(peer, total, arrays, [2.0 * MB * n for n in range(len(arrays))])


def total(array: ndarray) -> float:
    """A number, from all of them."""
    return float(array.sum())


def arrays_out(peer: type[Peer], *, quick: bool) -> Numbers:
    """64 numbers in, arrays of 16 MB out: bytes a second, and memory of all processes."""
    return _travel(peer, filled, list(range(24 if quick else 64)), None)


def filled(number: int) -> ndarray:
    """An array, from one number."""
    import numpy as np

    return np.full(2 * MB, float(number))


def _travel(peer: type[Peer], func, items, expected) -> Numbers:
    from benchmarks.memory import peak_of

    def run():
        results = library.map(func, items)
        if expected is None:
            check([(len(r), r[-1]) for r in results], [(2 * MB, float(n)) for n in items])
        else:
            check(results, expected)

    with peer() as library:
        library.map(func, items[:4])
        speed = 16 * MB * len(items) / median(seconds(run) for _ in range(2))
        peak = peak_of(run)  # apart, since looking takes time
    found: Numbers = {"speed": {"default": speed}}
    return found if peak is None else {**found, "memory": {"default": peak}}


def constant(peer: type[Peer], *, quick: bool) -> Numbers:
    """`partial(f, <400 MB array>)` over 500 items of 1 ms: time an item, and memory of all.

    (Fewer items where each takes the array along anew.) Where a library documents a way of its own
    to hand a constant over, this is tried as well, with the start of the workers if they get it
    then.
    """
    import numpy as np

    from benchmarks.memory import peak_of

    big = np.full((10 if quick else 50) * MB, 1.0)
    turns = turns_in(0.001)
    items = [turns] * (100 if quick else 500)
    few = items[: 4 if quick else 10] if peer.an_item_a_message else items
    found: Numbers = {"time": {}, "memory": {}}

    def measured(setting, run, results):
        found["time"][setting] = seconds(run) / results
        peak = peak_of(run)
        if peak is not None:
            found["memory"][setting] = peak

    with peer() as library:
        library.map(count, [1, 1])
        measured("default", partial(library.map, partial(with_constant, big), few), len(few))
    if peer.offers("carried"):

        def whole():
            with peer(carries=big) as library:
                library.carried(with_constant, items)

        if peer.hands_over_at_start:
            measured("its own way", whole, len(items))
            return found
        with peer(carries=big) as library:
            library.map(count, [1, 1])
            measured("its own way", partial(library.carried, with_constant, items), len(items))
    return found


def with_constant(big: ndarray, turns: int) -> float:
    """Look at the constant here and there, and work for a while."""
    count(turns)
    return float(big[:: MB // 10].sum())
