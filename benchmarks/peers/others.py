"""Other people's libraries, at the settings that their documentation advises."""

from __future__ import annotations

import os
import tempfile
from functools import partial
from types import FunctionType

from benchmarks import in_worker

from .base import CORES, Futures, Peer


class Joblib(Peer):
    name = "joblib"
    module = distribution = "joblib"
    imports = "from joblib import Parallel, delayed"
    uses = f"print(Parallel({CORES})(delayed(square)(x) for x in [2, 3]))"
    fresh = True

    def open(self):
        from joblib.externals.loky import get_reusable_executor

        # Its workers outlive each use: the next is to begin anew.
        self._stack.callback(lambda: get_reusable_executor().shutdown(wait=True))

    def map(self, func, items, chunksize=None):
        return self._run(func, items, chunksize, return_as="list")

    def lazy(self, func, iterable, chunksize=None):
        return self._run(func, iterable, chunksize, return_as="generator")

    def carried(self, func, items):
        import joblib

        folder = self.enter(tempfile.TemporaryDirectory())
        path = os.path.join(folder, "big")  # noqa: PTH118 - joblib takes names
        joblib.dump(self.carries, path)
        return self.map(partial(func, joblib.load(path, mmap_mode="r")), items)

    def _run(self, func, items, chunksize, **options):
        from joblib import Parallel, delayed

        parallel = Parallel(CORES, batch_size=chunksize or "auto", **options)
        return parallel(delayed(func)(item) for item in items)


class Loky(Futures):
    name = "loky"
    module = distribution = "loky"
    imports = "from loky import get_reusable_executor"
    uses = f"print(list(get_reusable_executor({CORES}).map(square, [2, 3])))"
    fresh = True

    def open(self):
        from loky import get_reusable_executor

        self.pool = self.enter(get_reusable_executor(CORES, **self.start))


class Mpire(Peer):
    name = "mpire"
    hands_over_at_start = True
    module = distribution = "mpire"
    imports = "from mpire import WorkerPool"
    uses = f"with WorkerPool({CORES}, start_method='fork') as pool: print(pool.map(square, [2, 3]))"

    def open(self):
        from mpire import WorkerPool

        options = {"start_method": "fork", "keep_alive": True, "shared_objects": self.carries}
        self.pool = self.enter(WorkerPool(CORES, **options))

    def map(self, func, items, chunksize=None):
        if isinstance(items[0], (list, dict)):
            items = [(item,) for item in items]  # or it takes them for arguments
        return self.pool.map(func, items, chunk_size=chunksize, concatenate_numpy_output=False)

    def lazy(self, func, iterable, chunksize=None):
        return self.pool.imap(func, iterable, chunk_size=chunksize or 1)

    def submit(self, func, item):
        return self.pool.apply_async(func, (item,)).get

    def carried(self, func, items):
        return self.map(func, items)  # shared objects come first


class Pebble(Futures):
    name = "pebble"
    module = distribution = "pebble"
    imports = "from multiprocessing import get_context; from pebble import ProcessPool"
    uses = (
        f"with ProcessPool({CORES}, context=get_context('fork')) as pool: "
        "print(list(pool.map(square, [2, 3]).result()))"
    )

    def open(self):
        from multiprocessing import get_context

        from pebble import ProcessPool

        self.pool = self.enter(ProcessPool(CORES, context=get_context("fork"), **self.start))

    def lazy(self, func, iterable, chunksize=None):
        return self.pool.map(func, iterable, chunksize=chunksize or 1).result()

    def submit(self, func, item):
        return self.pool.schedule(func, args=(item,)).result

    def retried(self, func, items):
        from pebble import ProcessExpired

        results = []
        futures = [self.pool.schedule(func, args=(item,)) for item in items]
        for item, future in zip(items, futures, strict=True):
            try:
                results.append(future.result())
            except ProcessExpired:
                results.append(self.submit(func, item)())
        return results


class Pqdm(Peer):
    """Opens a ProcessPoolExecutor for each call."""

    keeps_workers = False
    name = "pqdm"
    module = distribution = "pqdm"
    imports = "from pqdm.processes import pqdm"
    uses = f"print(pqdm([2, 3], square, n_jobs={CORES}, disable=True))"
    an_item_a_message = True

    def map(self, func, items, chunksize=None):
        from pqdm.processes import pqdm

        if chunksize in {None, 1}:
            return self._run(pqdm, func, items)
        # It has no chunks of its own: the items are put into lists by hand.
        chunks = [items[at : at + chunksize] for at in range(0, len(items), chunksize)]
        return [y for ys in self._run(pqdm, partial(in_worker.each, func), chunks) for y in ys]

    def carried(self, func, items):
        from pqdm.processes import pqdm

        return self._run(pqdm, partial(in_worker.use, func), items, **self.start)

    def _run(self, pqdm, func, items, **start):
        from multiprocessing import get_context

        options = {"disable": True, "mp_context": get_context("fork"), **start}
        return pqdm(items, func, n_jobs=CORES, exception_behaviour="immediate", **options)


class Dask(Peer):
    """`distributed`, a process with one thread for each core; chunks are lists, made by hand."""

    name = "Dask"
    module = distribution = "distributed"
    imports = "from distributed import Client"
    _options = f"n_workers={CORES}, threads_per_worker=1, dashboard_address=None"
    uses = f"with Client({_options}) as client: print(client.gather(client.map(square, [2, 3])))"
    fresh = True
    an_item_a_message = slow_to_open = True

    def open(self):
        from distributed import Client

        options = {"threads_per_worker": 1, "dashboard_address": None}
        self.client = self.enter(Client(n_workers=CORES, **options))

    def map(self, func, items, chunksize=None):
        if chunksize is None:
            return self.client.gather(self.client.map(func, items, pure=False))
        chunks = [items[at : at + chunksize] for at in range(0, len(items), chunksize)]
        there = self.client.scatter(chunks, hash=False)  # as arguments they were looked through
        found = self.client.map(partial(in_worker.each, func), there, pure=False)
        return [y for ys in self.client.gather(found) for y in ys]

    def submit(self, func, item):
        return self.client.submit(func, item, pure=False).result

    def carried(self, func, items):
        big = self.client.scatter(self.carries, broadcast=True, hash=False)
        constants = {"function": func, "big": big, "pure": False}
        return self.client.gather(self.client.map(in_worker.in_last_place, items, **constants))

    def retried(self, func, items):
        # A task whose worker died is scheduled again, up to three times, by default.
        return self.map(func, items)


class Ray(Peer):
    """A task an item; chunks by way of its own `Pool`, whose default is four chunks a worker."""

    name = "Ray"
    module = distribution = "ray"
    imports = "import os; os.environ['RAY_USAGE_STATS_ENABLED'] = '0'; import ray"
    _options = "include_dashboard=False, log_to_driver=False, logging_level='ERROR'"
    uses = (
        f"ray.init(num_cpus={CORES}, {_options}); "
        "print(ray.get([ray.remote(square).remote(x) for x in [2, 3]]))"
    )
    fresh = True
    an_item_a_message = slow_to_open = True

    def open(self):
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # or it warns
        import ray

        options = {"log_to_driver": False, "logging_level": "ERROR"}
        ray.init(num_cpus=CORES, include_dashboard=False, **options)
        self._stack.callback(ray.shutdown)
        self.ray = ray
        self.remotes = {}
        self.pool = None

    def map(self, func, items, chunksize=None):
        if chunksize is None:
            if not isinstance(func, FunctionType):  # which is all that it takes
                return self._with_constant(in_worker.call, func, items)
            remote = self._remote(func)
            return self.ray.get([remote.remote(item) for item in items])
        return self._pool().map(func, items, chunksize)

    def lazy(self, func, iterable, chunksize=None):
        return self._pool().imap(func, iterable, chunksize or 1)

    def submit(self, func, item):
        return partial(self.ray.get, self._remote(func).remote(item))

    def carried(self, func, items):
        return self._with_constant(func, self.carries, items)

    def retried(self, func, items):
        # A task whose worker died is repeated, up to three times, by default.
        return self.map(func, items)

    def _remote(self, func):
        if func not in self.remotes:
            self.remotes[func] = self.ray.remote(func)
        return self.remotes[func]

    def _with_constant(self, func, big, items):
        remote, kept = self._remote(func), self.ray.put(big)
        return self.ray.get([remote.remote(kept, item) for item in items])

    def _pool(self):
        if self.pool is None:
            from ray.util.multiprocessing import Pool

            self.pool = self.enter(Pool(CORES))
        return self.pool
