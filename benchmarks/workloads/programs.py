"""Pieces of real programs; the first three are MPIRE's own benchmarks, which are Ray's."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from contextlib import ExitStack
from functools import cache, partial
from random import Random
from time import sleep

from .tools import affordable, check, count, seconds, settings, timed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy import ndarray

    from benchmarks.peers import Peer

    from .tools import Numbers


# --- numerical computation ------------------------------------------------------------------------


def image(peer: type[Peer], *, quick: bool) -> Numbers:
    """An image of 3000² points convolved with 12 filters (SciPy): a first call, and a second.

    The first begins with the start of the workers. The caller has imported SciPy, which forked
    workers inherit.
    """
    import numpy as np
    import scipy.signal  # noqa: F401 - this is what is inherited

    side = 1_000 if quick else 3_000
    random = np.random.default_rng(1)
    picture = random.random((side, side))
    filters = [random.normal(size=(4, 4)) for _ in range(12)]
    found: Numbers = {"first call": {}, "second call": {}}

    def measured(setting, library, run):
        with ExitStack() as stack:
            opening = seconds(stack.enter_context, library)
            found["first call"][setting] = opening + seconds(run)
            found["second call"][setting] = seconds(run)

    first = convolved(picture, filters[0]).tolist()

    def verified(results):
        check(results[0].tolist(), first)

    plain = peer()
    measured("default", plain, lambda: verified(plain.map(partial(convolved, picture), filters)))
    if peer.offers("carried"):
        own = peer(carries=picture)
        measured("its own way", own, lambda: verified(own.carried(convolved, filters)))
    return found


def convolved(picture: ndarray, kernel: ndarray) -> ndarray:
    """A part of the result, as in the original."""
    from scipy.signal import convolve2d

    return convolve2d(picture, kernel)[::5, ::5]


# --- stateful computation -------------------------------------------------------------------------


class Prefixes:
    """How often words begin in which way; what came more than three times is popular."""

    def __init__(self) -> None:
        self.counts: defaultdict[str, int] = defaultdict(int)
        self.popular: set[str] = set()

    def add(self, words: Iterable[str]) -> None:
        """Count one more document."""
        for word in words:
            for stop in range(1, len(word)):
                prefix = word[:stop]
                self.counts[prefix] += 1
                if self.counts[prefix] > 3:
                    self.popular.add(prefix)


@cache
def state() -> Prefixes:
    """What each worker keeps between items, and between calls."""
    return Prefixes()


def add_document(words: list[str]) -> int:
    """Add to the worker's state: how many popular prefixes it has now."""
    state().add(words)
    return len(state().popular)


def prefixes(peer: type[Peer], *, quick: bool) -> Numbers:
    """Prefixes counted over 2.4 million words in 240 documents; each worker keeps its counts.

    The time begins with the start of the workers.
    """
    random = Random(1)
    letters = "etaoinshrdlu"
    words = ["".join(random.choices(letters, k=random.randint(2, 14))) for _ in range(20_000)]
    documents = [random.choices(words, k=10_000) for _ in range(24 if quick else 240)]

    def run():
        with peer() as library:
            return library.map(add_document, documents)

    took, found = timed(run)
    check(len(found), len(documents))
    return {"time": {"default": took}}


# --- expensive initialization ---------------------------------------------------------------------


@cache
def model() -> list[int]:
    """Something that takes a second to load, once in each worker."""
    sleep(1)
    return [100, 200, 300]


def predict(x: int) -> int:
    """Use it."""
    return count(model()[x % 3])


def expensive_start(peer: type[Peer], *, quick: bool) -> Numbers:
    """A model that takes a second to load, and 40 calls over 10 items: from start to end."""

    def run():
        with peer() as library:
            for _ in range(20 if quick else 40):
                check(len(library.map(predict, range(10))), 10)

    return {"time": {"default": seconds(run)}}


# --- files and lines ------------------------------------------------------------------------------


def count_words(path: str) -> Counter[str]:
    """How often each word occurs in a file."""
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        return Counter(re.findall(r"\w+", file.read()))


def words(peer: type[Peer], *, quick: bool) -> Numbers:
    """Words counted in each source file of the standard library."""
    import sysconfig
    from pathlib import Path

    folder = Path(sysconfig.get_path("stdlib"))
    paths = sorted(str(path) for path in folder.rglob("*.py") if "site-packages" not in path.parts)
    paths = paths[:: 4 if quick else 1]
    times = {}
    with peer() as library:
        library.map(count_words, paths[:2])
        for setting, size in settings(peer, *((8,) if quick else (8, 32))).items():
            times[setting], found = timed(library.map, count_words, paths, size)
            check(len(found), len(paths))
    return {"time": times}


def json_lines(peer: type[Peer], *, quick: bool) -> Numbers:
    """`json.loads` over 200 MB of lines, dictionaries back: bytes of lines a second."""
    lines = make_lines(40_000 if quick else 400_000)
    speeds = {}
    with peer() as library:
        library.map(json.loads, lines[:2])
        for setting, size in settings(peer, *((1_000,) if quick else (100, 1_000))).items():
            some = lines[: affordable(peer, size, len(lines), len(lines) // 20)]
            took, found = timed(library.map, json.loads, some, size)
            check(found[-1]["id"], len(some) - 1)
            speeds[setting] = sum(map(len, some)) / took
            del found
    return {"speed": speeds}


def make_lines(many: int) -> list[str]:
    """Lines of about 500 bytes."""
    random = Random(1)
    names = ["".join(random.choices("abcdefghij", k=12)) for _ in range(1_000)]
    return [
        json.dumps({
            "id": number,
            "name": random.choice(names),
            "tags": random.choices(names, k=6),
            "values": [round(random.random(), 6) for _ in range(20)],
            "place": {"x": random.randrange(10_000), "y": random.randrange(10_000), "name": names[0]},
            "open": True,
            "note": names[number % 1_000] * 6,
        })
        for number in range(many)
    ]  # fmt: skip
