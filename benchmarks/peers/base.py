"""What a library is to the benchmark."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

from benchmarks import in_worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Peer:
    """A library, at one start method; an instance is the library with its workers open.

    What it can do is told by the methods that it has. A workload names the one it needs:

    - `map(func, items, chunksize)`: a list; a chunksize of None is the library's own choice.
    - `lazy(func, iterable, chunksize)`: an iterator over results, in order.
    - `submit(func, item)`: a function that waits for the result.
    - `carried(func, items)`: a list of `func(self.carries, item)`, where what is carried is large,
      in the way that the library documents for it, unless that is `functools.partial`.
    - `retried(func, items)`: a list, although a worker is killed.
    - `each_process(func, items)` and `one_process(func, item)`: a process for each item.
    """

    name = ""
    module = ""  # what must be installed
    distribution = ""  # whose version is told; none if it is the standard library's
    imports = ""  # the first line of a script that uses it
    uses = ""  # and its last, in which `square` is mapped over two items
    fresh = False  # its workers are fresh interpreters
    ours = False  # parmap, at whatever settings
    no_library = False  # what the machine gives: shown, but no peer
    keeps_workers = True  # from call to call
    everywhere = True  # or only in the workloads that name it
    hands_over_at_start = False  # what it carries
    an_item_a_message = False  # by default; a million of them take minutes
    slow_to_open = False  # takes seconds: measured in one round only if it has to be quick

    def __init__(self, carries: Any = None) -> None:
        exec(self.imports)  # before anything is timed, but where that is what is timed
        self.carries = carries
        self._stack = ExitStack()

    def open(self) -> None:
        """Start what has to be started."""

    def enter(self, context: AbstractContextManager[Any]) -> Any:
        """Enter a context until the library is closed."""
        return self._stack.enter_context(context)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def start(self) -> dict[str, Any]:
        """Options by which workers are handed what is carried when they start, if anything is."""
        if self.carries is None:
            return {}
        return {"initializer": in_worker.put, "initargs": (self.carries,)}

    @classmethod
    def offers(cls, ability: str) -> bool:
        """Whether it can do that."""
        return bool(getattr(cls, ability, None))

    @classmethod
    def label(cls) -> str:
        """The name, with its dagger."""
        return f"{cls.name} †" if cls.fresh else cls.name

    @classmethod
    def installed(cls) -> bool:
        """Whether it is there."""
        return find_spec(cls.module) is not None


class Futures(Peer):
    """A library whose pool is an executor of `concurrent.futures`, or just like one."""

    an_item_a_message = hands_over_at_start = True

    def map(self, func: Callable[..., Any], items: Any, chunksize: int | None = None) -> list[Any]:
        return list(self.lazy(func, items, chunksize))

    def lazy(self, func: Callable[..., Any], iterable: Any, chunksize: int | None = None) -> Any:
        return self.pool.map(func, iterable, chunksize=chunksize or 1)

    def submit(self, func: Callable[..., Any], item: Any) -> Callable[[], Any]:
        return self.pool.submit(func, item).result

    def carried(self, func: Callable[..., Any], items: Any) -> list[Any]:
        return self.map(partial(in_worker.use, func), items)
