"""No library at all, and the standard library's."""

from __future__ import annotations

import os
from functools import partial
from multiprocessing import get_context

from benchmarks import in_worker

from .base import CORES, Futures, Peer


class Serial(Peer):
    name = "serial"
    module = "builtins"
    uses = "print(list(map(square, [2, 3])))"
    no_library = True

    def map(self, func, items, chunksize=None):
        return list(map(func, items))

    def lazy(self, func, iterable, chunksize=None):
        return map(func, iterable)


class BareProcesses(Peer):
    """A fork a core, which runs its part of the items and says nothing: what the machine gives."""

    name = "bare processes"
    everywhere = False
    module = "builtins"
    no_library = True

    def map(self, func, items, chunksize=None):
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


class Pool(Peer):
    name = "multiprocessing.Pool"
    module = "multiprocessing"
    method = "fork"
    hands_over_at_start = True
    imports = "import multiprocessing"
    uses = (
        f"with multiprocessing.get_context('fork').Pool({CORES}) as pool: "
        "print(pool.map(square, [2, 3]))"
    )

    def open(self):
        self.pool = self.enter(get_context(self.method).Pool(CORES, **self.start))

    def map(self, func, items, chunksize=None):
        return self.pool.map(func, items, chunksize)

    def lazy(self, func, iterable, chunksize=None):
        return self.pool.imap(func, iterable, chunksize or 1)

    def submit(self, func, item):
        return self.pool.apply_async(func, (item,)).get

    def carried(self, func, items):
        return self.pool.map(partial(in_worker.use, func), items)


class PoolForkserver(Pool):
    name = "multiprocessing.Pool, forkserver"
    method = "forkserver"
    fresh = True
    everywhere = False
    uses = Pool.uses.replace("'fork'", "'forkserver'")


class Executor(Futures):
    """`concurrent.futures`; the name says how it starts workers."""

    name = "ProcessPoolExecutor, fork"
    module = "concurrent.futures"
    method = "fork"
    imports = (
        "from concurrent.futures import ProcessPoolExecutor; "
        "from multiprocessing import get_context"
    )
    uses = (
        f"with ProcessPoolExecutor({CORES}, mp_context=get_context('fork')) as pool: "
        "print(list(pool.map(square, [2, 3])))"
    )

    def open(self):
        from concurrent.futures import ProcessPoolExecutor

        context = get_context(self.method)
        self.pool = self.enter(ProcessPoolExecutor(CORES, mp_context=context, **self.start))


class ExecutorForkserver(Executor):
    name = "ProcessPoolExecutor, forkserver"
    method = "forkserver"
    fresh = True
    everywhere = False
    uses = Executor.uses.replace("'fork'", "'forkserver'")

    def each_process(self, func, items):
        from concurrent.futures import ProcessPoolExecutor

        context = get_context(self.method)
        # An item a process, and as many side by side as there are items.
        with ProcessPoolExecutor(len(items), mp_context=context, max_tasks_per_child=1) as pool:
            return list(pool.map(func, items))

    def one_process(self, func, item):
        return self.each_process(func, [item])[0]


class ExecutorSpawn(ExecutorForkserver):
    name = "ProcessPoolExecutor, spawn"
    method = "spawn"
    uses = Executor.uses.replace("'fork'", "'spawn'")


class Process(Peer):
    """`multiprocessing.Process` as it is: nothing is returned."""

    name = "multiprocessing.Process, fork"
    module = "multiprocessing"
    method = "fork"

    def each_process(self, func, items):
        context = get_context(self.method)
        processes = [context.Process(target=func, args=(item,)) for item in items]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return []

    def one_process(self, func, item):
        self.each_process(func, [item])


class ProcessForkserver(Process):
    name = "multiprocessing.Process, forkserver"
    method = "forkserver"
    fresh = True


class ProcessSpawn(Process):
    name = "multiprocessing.Process, spawn"
    method = "spawn"
    fresh = True
