"""What is measured: a workload is a function that takes a library and answers numbers by setting.

"default" is the library's own chunk size; the others are chunk sizes, of which the report shows the
best. To add a workload: write the function, and a line in `WORKLOADS`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, TypeVar

from .peers import BY_NAME, Peer

if TYPE_CHECKING:
    from collections.abc import Callable

Numbers = dict[str, float]
R = TypeVar("R")


def square(x: int) -> int:
    """As little work as there can be."""
    return x * x


# --- CPU-bound items ------------------------------------------------------------------------------


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


def cpu(peer: Peer, *, quick: bool) -> Numbers:
    """2,000 items of 1 ms: how many times faster than serial code in the same process."""
    items = [turns_in(0.001)] * 2000
    half = len(items) // 2
    speeds = {}
    with peer.opened() as mapped:
        mapped(count, [1, 1], None)
        for setting in _settings(peer, () if quick else (8, 32, 125)):
            times = [_seconds(lambda: list(map(count, items[:half])))]
            size = _size(setting)
            parallel = _seconds(partial(mapped, count, items, size))
            times += [_seconds(lambda: list(map(count, items[half:])))]
            speeds[setting] = sum(times) / parallel
    return speeds


# --- latency --------------------------------------------------------------------------------------


def warm(peer: Peer, *, quick: bool) -> Numbers:
    """A call over two trivial items when the workers are there: the median of many, in seconds."""
    with peer.opened() as mapped:
        for _ in range(20):
            mapped(square, [2, 3], None)
        calls = 100 if quick else 300
        return {
            "default": median(_seconds(lambda: mapped(square, [2, 3], None)) for _ in range(calls))
        }


def imports(peer: Peer, *, quick: bool) -> Numbers:
    """A fresh interpreter that only imports, over one that does nothing: seconds."""
    bare, full = [sys.executable, "-c", ""], [sys.executable, "-c", peer.imports]
    run(full)  # writes the byte-code caches
    more = [run(full) - run(bare) for _ in range(10 if quick else 25)]
    return {"default": median(more)}


SCRIPT = """\
{imports}

def square(x):
    return x * x

if __name__ == "__main__":
    {uses}
"""


def cold(peer: Peer, *, quick: bool) -> Numbers:
    """A script that maps a function of its own over two items: the whole process, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "script.py")
        path.write_text(SCRIPT.format(imports=peer.imports, uses=peer.uses), encoding="utf-8")
        script = [sys.executable, str(path)]
        said = subprocess.run(script, capture_output=True, check=True, timeout=60).stdout
        if said.split() != [b"[4,", b"9]"]:
            raise ValueError(said)
        return {"default": median(run(script) for _ in range(5 if quick else 11))}


# --- throughput -----------------------------------------------------------------------------------


def tiny(peer: Peer, *, quick: bool) -> Numbers:
    """A million squares: items a second (20,000, where the default is an item a message)."""
    items = list(range(1_000_000))
    speeds = {}
    with peer.opened() as mapped:
        mapped(square, [2, 3], None)
        for setting in _settings(peer, () if quick else (1_000, 10_000, 100_000)):
            size = _size(setting)
            few = items[:20_000] if peer.an_item_a_message and size is None else items
            seconds, results = _timed(partial(mapped, square, few, size))
            if results and (len(results) != len(few) or results[-1] != few[-1] ** 2):
                raise ValueError(results[-1])
            speeds[setting] = len(few) / seconds
    return speeds


# --- helpers --------------------------------------------------------------------------------------


def _settings(peer: Peer, sizes: tuple[int, ...]) -> list[str]:
    return ["default"] if peer.module == "builtins" else ["default", *map(str, sizes)]


def _size(setting: str) -> int | None:
    return None if setting == "default" else int(setting)


def _timed(act: Callable[[], R]) -> tuple[float, R]:
    began = perf_counter()
    result = act()
    return perf_counter() - began, result


def _seconds(act: Callable[[], object]) -> float:
    return _timed(act)[0]


def run(command: list[str]) -> float:
    """Run a program to its end: seconds."""
    began = perf_counter()
    # Not `run`, which would wait for whoever else holds the other end of a pipe.
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ) as process:
        code = process.wait()
    if code:
        raise subprocess.CalledProcessError(code, command)
    return perf_counter() - began


# --- all of them ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """What parmap has to reach: a number, or a multiple of what a peer reaches."""

    text: str
    limit: float
    beside: str = ""  # the peer; without one, the limit is absolute


@dataclass(frozen=True)
class Workload:
    """A function to measure, and how to read its numbers."""

    measure: Callable[..., Numbers]
    unit: str  # "x", "us", "ms" or "/s"
    bar: Bar
    more_is_better: bool = False
    about_starts: bool = False  # how workers start matters

    @property
    def name(self) -> str:
        """What `--only` takes."""
        return self.measure.__name__

    @property
    def title(self) -> str:
        """A sentence."""
        return (self.measure.__doc__ or "").rstrip(".")

    def suits(self, peer: Peer) -> bool:
        """Whether there is something to measure."""
        if self.about_starts:
            return bool(peer.imports or (peer.uses and self.measure is cold))
        only_splits = not peer.uses
        return not peer.another_start and not (only_splits and self.measure is not cpu)


WORKLOADS = [
    Workload(cpu, "x", Bar("at least 1.85 times faster than serial", 1.85), more_is_better=True),
    Workload(warm, "us", Bar("under 300 µs", 300e-6)),
    Workload(imports, "ms", Bar("no more than 12 ms", 12e-3), about_starts=True),
    Workload(
        cold,
        "ms",
        Bar("no slower than ProcessPoolExecutor under fork", 1.0, "ProcessPoolExecutor, fork"),
        about_starts=True,
    ),
    Workload(
        tiny,
        "/s",
        Bar("no slower than multiprocessing.Pool at its default", 1.0, "multiprocessing.Pool"),
        more_is_better=True,
    ),
]
WORKLOAD_BY_NAME = {workload.name: workload for workload in WORKLOADS}
PARMAP = BY_NAME["parmap"]
