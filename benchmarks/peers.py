"""The libraries: how each opens its workers, and how a script uses it. A few lines each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

#: `map(func, items, chunksize)`; a chunksize of None is the library's default.
Map = Callable[[Callable[[Any], Any], Sequence[Any], "int | None"], list[Any]]


@dataclass(frozen=True)
class Peer:
    """A library, at one start method."""

    name: str
    module: str  # what must be installed
    opened: Callable[[], AbstractContextManager[Map]]
    imports: str = ""  # the first line of a script that uses it
    uses: str = ""  # and its last, in which `square` is mapped over two items
    fresh: bool = False  # its workers are fresh interpreters
    an_item_a_message: bool = False  # by default; a million of them take minutes
    another_start: bool = False  # like another peer, but for how workers start

    @property
    def label(self) -> str:
        """The name, with its dagger."""
        return f"{self.name} †" if self.fresh else self.name

    @property
    def installed(self) -> bool:
        """Whether it is there."""
        return find_spec(self.module) is not None


@contextmanager
def serial() -> Iterator[Map]:
    yield lambda func, items, _: list(map(func, items))


@contextmanager
def bare_processes() -> Iterator[Map]:
    """A fork a core, which runs its part of the items and says nothing: what the machine gives."""

    def split(func: Callable[[Any], Any], items: Sequence[Any], _: int | None) -> list[Any]:
        pids = []
        for at in range(CORES):
            pid = os.fork()
            if not pid:
                for item in items[at::CORES]:
                    func(item)
                os._exit(0)
            pids.append(pid)
        for pid in pids:
            os.waitpid(pid, 0)
        return []

    yield split


@contextmanager
def parmap() -> Iterator[Map]:
    from parmap import parallel_map

    yield lambda func, items, chunksize: parallel_map(func, items, chunksize=chunksize)


@contextmanager
def multiprocessing_pool() -> Iterator[Map]:
    from multiprocessing import get_context

    with get_context("fork").Pool(CORES) as pool:
        yield pool.map


def process_pool_executor(method: str) -> Callable[[], AbstractContextManager[Map]]:
    @contextmanager
    def opened() -> Iterator[Map]:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        with ProcessPoolExecutor(CORES, mp_context=get_context(method)) as pool:
            yield lambda func, items, chunksize: list(
                pool.map(func, items, chunksize=chunksize or 1)
            )

    return opened


@contextmanager
def joblib() -> Iterator[Map]:
    from joblib import Parallel, delayed  # type: ignore[import-untyped]

    yield lambda func, items, chunksize: Parallel(CORES, batch_size=chunksize or "auto")(
        delayed(func)(item) for item in items
    )


@contextmanager
def loky() -> Iterator[Map]:
    from loky import get_reusable_executor  # type: ignore[import-untyped]

    with get_reusable_executor(CORES) as pool:
        yield lambda func, items, chunksize: list(pool.map(func, items, chunksize=chunksize or 1))


@contextmanager
def mpire() -> Iterator[Map]:
    from mpire import WorkerPool  # type: ignore[attr-defined]

    with WorkerPool(CORES, start_method="fork", keep_alive=True) as pool:
        yield lambda func, items, chunksize: pool.map(func, items, chunk_size=chunksize)


@contextmanager
def pebble() -> Iterator[Map]:
    from multiprocessing import get_context

    from pebble import ProcessPool

    with ProcessPool(CORES, context=get_context("fork")) as pool:
        yield lambda func, items, chunksize: list(
            pool.map(func, items, chunksize=chunksize or 1).result()
        )


def _executor_script(method: str) -> tuple[str, str]:
    imports = "from multiprocessing import get_context"
    opened = f"ProcessPoolExecutor({CORES}, mp_context=get_context({method!r}))"
    return (
        f"from concurrent.futures import ProcessPoolExecutor; {imports}",
        f"with {opened} as pool: print(list(pool.map(square, [2, 3])))",
    )


PEERS = [
    Peer("serial", "builtins", serial, "", "print(list(map(square, [2, 3])))"),
    Peer("bare processes", "builtins", bare_processes),
    Peer(
        "parmap",
        "parmap",
        parmap,
        "import parmap",
        "print(parmap.parallel_map(square, [2, 3]))",
        fresh=True,
    ),
    Peer(
        "multiprocessing.Pool",
        "multiprocessing",
        multiprocessing_pool,
        "import multiprocessing",
        f"with multiprocessing.get_context('fork').Pool({CORES}) as pool: "
        "print(pool.map(square, [2, 3]))",
    ),
    Peer(
        "ProcessPoolExecutor, fork",
        "concurrent.futures",
        process_pool_executor("fork"),
        *_executor_script("fork"),
        an_item_a_message=True,
    ),
    Peer(
        "ProcessPoolExecutor, forkserver",
        "concurrent.futures",
        process_pool_executor("forkserver"),
        *_executor_script("forkserver"),
        fresh=True,
        an_item_a_message=True,
        another_start=True,
    ),
    Peer(
        "ProcessPoolExecutor, spawn",
        "concurrent.futures",
        process_pool_executor("spawn"),
        *_executor_script("spawn"),
        fresh=True,
        an_item_a_message=True,
        another_start=True,
    ),
    Peer(
        "joblib",
        "joblib",
        joblib,
        "from joblib import Parallel, delayed",
        f"print(Parallel({CORES})(delayed(square)(x) for x in [2, 3]))",
        fresh=True,
    ),
    Peer(
        "loky",
        "loky",
        loky,
        "from loky import get_reusable_executor",
        f"print(list(get_reusable_executor({CORES}).map(square, [2, 3])))",
        fresh=True,
        an_item_a_message=True,
    ),
    Peer(
        "mpire",
        "mpire",
        mpire,
        "from mpire import WorkerPool",
        f"with WorkerPool({CORES}, start_method='fork') as pool: print(pool.map(square, [2, 3]))",
    ),
    Peer(
        "pebble",
        "pebble",
        pebble,
        "from multiprocessing import get_context; from pebble import ProcessPool",
        f"with ProcessPool({CORES}, context=get_context('fork')) as pool: "
        "print(list(pool.map(square, [2, 3]).result()))",
        an_item_a_message=True,
    ),
]
BY_NAME = {peer.name: peer for peer in PEERS}
