"""parmap: at its defaults, and at the settings that some workloads compare."""

from __future__ import annotations

from functools import cached_property

from .base import Peer


class Parmap(Peer):
    name = "parmap"
    module = "parmap"
    distribution = "parmap"
    imports = "import parmap"
    uses = "print(parmap.parallel_map(square, [2, 3]))"
    fresh = ours = True

    @cached_property
    def pool(self):
        import parmap

        return self.enter(parmap.Pool())

    def map(self, func, items, chunksize=None):
        from parmap import parallel_map

        return parallel_map(func, items, chunksize=chunksize)

    def lazy(self, func, iterable, chunksize=None):
        from parmap import parallel_imap

        return parallel_imap(func, iterable, chunksize=chunksize)

    def submit(self, func, item):
        return self.pool.submit(func, item).result

    def retried(self, func, items):
        from parmap import parallel_map

        return parallel_map(func, items, retries=1)

    def each_process(self, func, items):
        from parmap import spawn_each

        return spawn_each(func, items)

    def one_process(self, func, item):
        from parmap import run_in_process

        return run_in_process(func, item)


class ParmapFork(Peer):
    """Workers that inherit what the caller has imported."""

    name = "parmap, start_method='fork'"
    module = "parmap"
    ours = True
    everywhere = False
    options = {"start_method": "fork"}  # noqa: RUF012 - nobody changes it

    def open(self):
        import parmap

        self.pool = self.enter(parmap.Pool(**self.options))

    def map(self, func, items, chunksize=None):
        from parmap import parallel_map

        return parallel_map(func, items, chunksize=chunksize, executor=self.pool)


class ParmapPreload(ParmapFork):
    """Workers forked from a clean server that has imported what they need."""

    name = "parmap, preload"
    fresh = True
    options = {"preload": ["scipy.signal"]}  # noqa: RUF012
