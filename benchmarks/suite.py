"""All that is measured, in order, with what parmap has to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import growth, limits
from .peers import (
    CORES,
    OTHER_STARTS,
    PEER_BY_NAME,
    PEERS,
    BareProcesses,
    ParmapFork,
    ParmapPreload,
    Peer,
    PoolForkserver,
)
from .workloads import arrays, messages, programs, starts, work

if TYPE_CHECKING:
    from collections.abc import Callable

    from .workloads.tools import Numbers


@dataclass(frozen=True)
class Quantity:
    """Something that is measured."""

    name: str
    unit: str  # see `report.SHOWN`
    more_is_better: bool = False
    compared: bool = True  # or it only has to stay below a number: ratios say nothing


TIME_MS = Quantity("time", "ms")
TIME_US = Quantity("time", "us")
TIME_S = Quantity("time", "s")
ITEMS = Quantity("speed", "/s", more_is_better=True)
BYTES = Quantity("speed", "B/s", more_is_better=True)
MEMORY = Quantity("memory", "MB")


@dataclass(frozen=True)
class Bar:
    """What parmap has to reach: so many times what the best of some reach, or a number."""

    limit: float
    beside: str = "best peer"  # or "best forking peer", "best fresh peer", names; "": a number
    quantity: str = ""  # the first, if not named
    at: str = "any setting"  # of the peers; or "default", "chunk sizes", "its own way"
    ours: tuple[str, ...] = ("parmap",)  # the best of them counts, at its default setting
    without: tuple[str, ...] = ()  # peers that do not count

    def candidates(self, peers: list[type[Peer]]) -> list[type[Peer]]:
        """The peers to compare with."""
        if self.beside == "best peer":
            found = [peer for peer in peers if not peer.no_library]
        elif self.beside == "best forking peer":
            found = [peer for peer in peers if not (peer.fresh or peer.no_library)]
        elif self.beside == "best fresh peer":
            found = [peer for peer in peers if peer.fresh]
        else:
            found = [peer for peer in peers if peer.name == self.beside]
        return [peer for peer in found if peer.name not in self.without and not peer.ours]

    def counts(self, setting: str) -> bool:
        """Whether a peer's number at this setting is one to compare with."""
        if self.at == "chunk sizes":
            return setting not in {"default", "its own way"}
        return self.at in {"any setting", setting}


@dataclass(frozen=True)
class Limit:
    """A row beside the libraries: what the machine allows."""

    name: str
    measure: Callable[..., float]
    quantity: str

    def numbers(self, *, quick: bool) -> Numbers:
        """As a library's."""
        return {self.quantity: {"default": self.measure(quick=quick)}}


@dataclass(frozen=True)
class Workload:
    """A function to measure, how to read its numbers, and who takes part."""

    measure: Callable[..., Numbers]
    quantities: tuple[Quantity, ...]
    bars: tuple[Bar, ...]
    needs: tuple[str, ...] = ("map",)
    extra: tuple[type[Peer], ...] = ()  # who takes part only here and there
    limits: tuple[Limit, ...] = ()

    @property
    def name(self) -> str:
        """What `--only` takes."""
        return self.measure.__name__

    @property
    def title(self) -> str:
        """A sentence or two."""
        return " ".join((self.measure.__doc__ or "").split())

    def suits(self, peer: type[Peer]) -> bool:
        """Whether there is something to measure."""
        able = all(map(peer.offers, self.needs))
        return able and (peer.everywhere or peer in self.extra)

    def participants(self) -> list[str]:
        """Libraries that are installed, and limits."""
        peers = [peer.name for peer in PEERS if self.suits(peer) and peer.installed()]
        return peers + [limit.name for limit in self.limits]

    def run(self, participant: str, *, quick: bool) -> Numbers:
        """Measure one of them."""
        for limit in self.limits:
            if limit.name == participant:
                return limit.numbers(quick=quick)
        return self.measure(PEER_BY_NAME[participant], quick=quick)


@dataclass(frozen=True)
class Growth:
    """How a cost grows: measured once, by library and size."""

    measure: Callable[..., Numbers]
    names: tuple[str, ...]
    axis: str
    quantities: tuple[Quantity, ...]
    bytes_along: bool = False

    name = Workload.name
    title = Workload.title

    def participants(self) -> list[str]:
        """Libraries that are installed, or whatever else grows."""
        peers = PEER_BY_NAME
        return [name for name in self.names if name not in peers or peers[name].installed()]

    def run(self, participant: str, *, quick: bool) -> Numbers:
        """Measure one of them."""
        return self.measure(PEER_BY_NAME.get(participant, participant), quick=quick)


ROUND_TRIP = Limit("a socket's round trip", limits.round_trip, "time")
FRESH_MEMORY = Limit("copying into new memory", limits.fresh_memory, "speed")
USED_MEMORY = Limit("copying into used memory", limits.used_memory, "speed")
STREAM = Limit("a socket's stream", limits.socket_stream, "speed")
NUMBERS = Limit("pickle alone", limits.pickled_numbers, "speed")
MEMORY_LIMITS = (FRESH_MEMORY, USED_MEMORY, STREAM)
NO_PIPES = ("joblib", "Ray")  # they write arrays into memory that workers map
FRESH = (PoolForkserver,)
VARIANTS = (ParmapFork, ParmapPreload)

WORKLOADS = [
    Workload(
        starts.cold,
        (TIME_MS,),
        (Bar(1.1, "best forking peer"), Bar(0.55, "best fresh peer")),
        needs=("uses",),
        extra=OTHER_STARTS,
        limits=(Limit("a bare interpreter", limits.interpreter, "time"),),
    ),
    Workload(
        starts.imports,
        (TIME_MS, Quantity("modules", "")),
        (
            Bar(0.7, "multiprocessing.Pool"),
            Bar(0.75, "multiprocessing.Pool", "modules"),
        ),
        needs=("imports",),
    ),
    Workload(messages.warm, (TIME_US,), (Bar(0.4),), limits=(ROUND_TRIP,)),
    Workload(work.short, (TIME_US,), ()),
    Workload(
        messages.tiny,
        (ITEMS,),
        (Bar(1.8, at="default"), Bar(1.5, at="chunk sizes")),
        limits=(NUMBERS,),
    ),
    Workload(messages.records, (ITEMS,), ()),
    Workload(messages.objects, (ITEMS,), ()),
    Workload(messages.no_ops, (ITEMS,), (Bar(1.1),)),
    Workload(
        work.cpu,
        (Quantity("speed-up", "x", more_is_better=True),),
        (Bar(1.0), Bar(0.95 * CORES, "")),
        extra=(BareProcesses,),
    ),
    Workload(
        work.heavy,
        (Quantity("random order", "x"), Quantity("longest last", "x")),
        (
            Bar(1.0),
            Bar(1.05, ""),
            Bar(1.0, quantity="longest last"),
            Bar(1.05, "", "longest last"),
        ),
        extra=(BareProcesses,),
    ),
    Workload(
        arrays.arrays_in,
        (BYTES, MEMORY),
        (
            Bar(2.0),
            Bar(4.0, without=NO_PIPES),
            Bar(1.1, quantity="memory"),
        ),
        limits=MEMORY_LIMITS,
    ),
    Workload(
        arrays.arrays_out,
        (BYTES, MEMORY),
        (Bar(2.0), Bar(1.1, quantity="memory")),
        limits=MEMORY_LIMITS,
    ),
    Workload(
        arrays.constant,
        (TIME_MS, MEMORY),
        (
            Bar(1.0, "joblib", at="its own way"),
            Bar(0.1, at="default", without=("joblib",)),
            Bar(1.1, "joblib", "memory", at="its own way"),
        ),
    ),
    Workload(
        messages.lazy,
        (ITEMS, Quantity("growth", "MB", compared=False), Quantity("ahead", "", compared=False)),
        (Bar(1.3), Bar(20e6, "", "growth"), Bar(200_000, "", "ahead")),
        needs=("lazy",),
        limits=(NUMBERS,),
    ),
    Workload(messages.submit, (TIME_US,), (Bar(0.5),), needs=("submit",), limits=(ROUND_TRIP,)),
    Workload(messages.outstanding, (ITEMS,), (Bar(2.0),), needs=("submit",)),
    Workload(
        programs.image,
        (Quantity("first call", "s"), Quantity("second call", "s")),
        (
            Bar(1.0, "best fresh peer"),
            Bar(1.05, "best forking peer", ours=tuple(peer.name for peer in VARIANTS)),
            Bar(1.05, quantity="second call"),
        ),
        extra=(*FRESH, *VARIANTS),
    ),
    Workload(programs.prefixes, (TIME_S,), (Bar(1.0, "best fresh peer"),), extra=FRESH),
    Workload(
        programs.expensive_start,
        (TIME_S,),
        (Bar(1.0, "best fresh peer"),),
        needs=("map", "keeps_workers"),
        extra=FRESH,
    ),
    Workload(programs.words, (TIME_S,), (Bar(0.9), Bar(1.0, "serial"))),
    Workload(
        programs.json_lines,
        (BYTES,),
        (Bar(1.0),),
        limits=(Limit("unpickling alone", limits.unpickled_dictionaries, "speed"),),
    ),
    Workload(
        work.killed,
        (Quantity("more", "ms", compared=False),),
        (Bar(0.040, ""),),
        needs=("retried",),
    ),
    Workload(
        starts.processes,
        (Quantity("32 processes", "ms"), Quantity("one process", "ms")),
        (
            Bar(0.5, "best fresh peer"),
            Bar(1.5, "multiprocessing.Process, fork"),
            Bar(0.5, "best fresh peer", "one process"),
            Bar(1.5, "multiprocessing.Process, fork", "one process"),
        ),
        needs=("one_process",),
        extra=OTHER_STARTS,
        limits=(
            Limit("a bare fork", limits.fork, "one process"),
            Limit("a bare interpreter", limits.interpreter, "one process"),
        ),
    ),
]
BESIDE = ("serial", "parmap", "multiprocessing.Pool", "joblib", "mpire")
GROWTHS = [
    Growth(growth.items, BESIDE, "items in the call", (Quantity("time an item", "us"),)),
    Growth(
        growth.work,
        ("parmap", "multiprocessing.Pool", "joblib", "mpire"),
        "turns of a loop in each item",
        (Quantity("speed-up", "x", more_is_better=True), Quantity("serial time an item", "us")),
    ),
    Growth(
        growth.sizes,
        ("parmap", "multiprocessing.Pool", "joblib", "mpire", "Ray"),
        "bytes an item",
        (Quantity("time an item", "us"),),
        bytes_along=True,
    ),
    Growth(
        growth.workers,
        tuple(growth.SIMULATED),
        "workers, simulated",
        (Quantity("time over the least possible", "x"), Quantity("deciding, an item", "us")),
    ),
]
ALL = {entry.name: entry for entry in [*WORKLOADS, *GROWTHS]}
