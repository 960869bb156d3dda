"""Wrong uses, each of which both type checkers must report; never run.

The mark is mypy's, with its code, and pyright honours it: a mark that nothing needs is an error for
both. What is right is in `api.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import parmap
from parmap import (
    CallTimeout,
    Pool,
    WorkerDied,
    available_cpus,
    parallel_imap,
    parallel_map,
    parallel_starmap,
    run_in_process,
    spawn_each,
    using,
)

from .api import BLOBS, FLAGS, NUMBERS, REALS, TEXTS, five, four, half, label, six, three


def wrong_items() -> None:
    parallel_map(half, TEXTS)  # type: ignore[arg-type]
    parallel_map(label, TEXTS)  # type: ignore[arg-type]
    parallel_map(label, NUMBERS, NUMBERS)  # type: ignore[arg-type]
    parallel_map(label, TEXTS, NUMBERS)  # type: ignore[arg-type]
    parallel_map(three, NUMBERS, TEXTS, TEXTS)  # type: ignore[arg-type]
    parallel_map(four, NUMBERS, TEXTS, BLOBS, TEXTS)  # type: ignore[arg-type]
    parallel_map(five, NUMBERS, TEXTS, BLOBS, REALS, BLOBS)  # type: ignore[arg-type]
    parallel_map(len, NUMBERS)  # type: ignore[arg-type]
    parallel_map(str.upper, NUMBERS)  # type: ignore[arg-type]
    parallel_map(half, TEXTS, on_error="return")  # type: ignore[call-overload]
    parallel_imap(label, TEXTS)  # type: ignore[arg-type]
    parallel_imap(label, NUMBERS, BLOBS, on_error="return")  # type: ignore[call-overload]
    spawn_each(label, TEXTS)  # type: ignore[arg-type]
    spawn_each(label, NUMBERS, BLOBS)  # type: ignore[arg-type]


def wrong_tuples() -> None:
    parallel_starmap(half, [("a",)])  # type: ignore[arg-type]
    parallel_starmap(label, [("a", 1)])  # type: ignore[list-item]
    parallel_starmap(three, [(1, "a")])  # type: ignore[arg-type, list-item]
    parallel_starmap(half, [(1, 2)])  # type: ignore[list-item]
    parallel_starmap(half, NUMBERS)  # type: ignore[arg-type]
    parallel_starmap(label, zip(TEXTS, NUMBERS, strict=True))  # type: ignore[arg-type]
    parallel_starmap(label, [(1, "a")], [(2, "b")])  # type: ignore[call-overload]


def wrong_numbers_of_iterables() -> None:
    parallel_map(half)  # type: ignore[call-overload]
    parallel_map()  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, NUMBERS)  # type: ignore[arg-type]
    parallel_map(three, NUMBERS, TEXTS)  # type: ignore[arg-type]
    parallel_map(six, NUMBERS, TEXTS, BLOBS, REALS, FLAGS)  # type: ignore[arg-type]
    parallel_map(half, iterable=NUMBERS)  # type: ignore[call-overload]
    parallel_map(func=half, iterable=NUMBERS)  # type: ignore[call-overload]
    parallel_map(lambda: 1, NUMBERS)  # type: ignore[arg-type, misc]
    parallel_imap(half, NUMBERS, NUMBERS)  # type: ignore[arg-type]
    parallel_starmap(half)  # type: ignore[call-overload]
    spawn_each(half)  # type: ignore[call-overload]
    spawn_each(half, NUMBERS, NUMBERS)  # type: ignore[arg-type]


def not_callable_not_iterable() -> None:
    parallel_map(3, NUMBERS)  # type: ignore[call-overload]
    parallel_map(None, NUMBERS)  # type: ignore[call-overload]
    parallel_map("half", NUMBERS)  # type: ignore[call-overload]
    parallel_map(half, 3)  # type: ignore[call-overload]
    parallel_map(half, None)  # type: ignore[call-overload]
    parallel_map(NUMBERS, half)  # type: ignore[call-overload]
    parallel_imap(3, NUMBERS)  # type: ignore[call-overload]
    run_in_process(3)  # type: ignore[arg-type]
    spawn_each(3, NUMBERS)  # type: ignore[call-overload]


def wrong_options() -> None:
    parallel_map(half, NUMBERS, max_workers="2")  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, max_workers=2.5)  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, chunksize="auto")  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, timeout="3")  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, item_timeout=[1])  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, retries=None)  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, retry_on=WorkerDied)  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, retry_on=(3,))  # type: ignore[arg-type]
    parallel_map(half, NUMBERS, strict=None)  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, progress=3)  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, progress=lambda done: done)  # type: ignore[arg-type, misc]
    parallel_map(half, NUMBERS, executor="processes")  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, executor=Pool)  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, executor=4)  # type: ignore[call-overload]
    parallel_starmap(half, [(1,)], max_workers="2")  # type: ignore[call-overload]
    parallel_imap(half, NUMBERS, buffersize=1.5)  # type: ignore[call-overload]
    parallel_imap(half, NUMBERS, ordered="no")  # type: ignore[call-overload]
    spawn_each(half, NUMBERS, limit="all")  # type: ignore[call-overload]
    spawn_each(half, NUMBERS, start_method="forked")  # type: ignore[call-overload]


def unknown_options() -> None:
    parallel_map(half, NUMBERS, workers=2)  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, n_jobs=2)  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, ordered=False)  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, buffersize=3)  # type: ignore[call-overload]
    parallel_starmap(half, [(1,)], workers=2)  # type: ignore[call-overload]
    parallel_imap(half, NUMBERS, timeout=3)  # type: ignore[call-overload]
    spawn_each(half, NUMBERS, max_workers=2)  # type: ignore[call-overload]
    run_in_process(half, 1, item_timeout=2)  # type: ignore[call-arg]
    using(timeout=3)  # type: ignore[call-arg]
    using("thread")  # type: ignore[call-arg]
    using(executor="processes")  # type: ignore[arg-type]
    using(max_workers="2")  # type: ignore[arg-type]


def unknown_modes(mode: str) -> None:
    parallel_map(half, NUMBERS, on_error="ignore")  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, on_error=mode)  # type: ignore[call-overload]
    parallel_map(half, NUMBERS, on_error=None)  # type: ignore[call-overload]
    parallel_starmap(half, [(1,)], on_error="ignore")  # type: ignore[call-overload]
    parallel_imap(half, NUMBERS, on_error="ignore")  # type: ignore[call-overload]
    spawn_each(half, NUMBERS, on_error="ignore")  # type: ignore[call-overload]


def wrong_uses_of_results() -> None:
    texts: list[str] = parallel_map(half, NUMBERS)  # type: ignore[arg-type]
    reals: list[float] = parallel_map(half, NUMBERS, on_error="return")  # type: ignore[assignment]
    parallel_map(half, NUMBERS)[0].upper()  # type: ignore[attr-defined]
    parallel_map(half, NUMBERS, on_error="return")[0].hex()  # type: ignore[union-attr]
    blobs: Iterator[str] = parallel_imap(label, NUMBERS)  # type: ignore[arg-type]
    len(parallel_imap(label, NUMBERS))  # type: ignore[arg-type]
    parallel_imap(label, NUMBERS)[0]  # type: ignore[index]
    parallel_imap(label, NUMBERS).send(1)  # type: ignore[attr-defined]
    text: str = run_in_process(label, 1)  # type: ignore[assignment]
    available_cpus() + "1"  # type: ignore[operator]
    print(texts, reals, blobs, text)


def wrong_arguments_of_one_process() -> None:
    run_in_process(label, "a")  # type: ignore[arg-type]
    run_in_process(label, 1, 2)  # type: ignore[arg-type]
    run_in_process(three, 1, "a")  # type: ignore[arg-type]
    run_in_process(half)  # type: ignore[arg-type]
    run_in_process(half, x=1)  # type: ignore[call-arg, arg-type]
    run_in_process(half, 1, timeout="3")  # type: ignore[arg-type]
    run_in_process(half, 1, start_method="threads")  # type: ignore[arg-type]


def wrong_pools() -> None:
    Pool("4")  # type: ignore[arg-type]
    Pool(workers=4)  # type: ignore[call-arg]
    Pool(start_method="thread")  # type: ignore[arg-type]
    Pool(preload=[1])  # type: ignore[list-item]
    Pool(initializer=3)  # type: ignore[arg-type]
    with Pool() as pool:
        pool.submit(label, "a")  # type: ignore[arg-type]
        pool.submit(label)  # type: ignore[call-arg]
        pool.map(label, 3)  # type: ignore[arg-type]
        pool.imap(label, NUMBERS)  # type: ignore[attr-defined]


def names_that_are_not_there(error: WorkerDied, call: CallTimeout) -> None:
    parmap.map(half, NUMBERS)  # type: ignore[attr-defined]
    parmap.parallel_mapp(half, NUMBERS)  # type: ignore[attr-defined]
    print(error.exit_code, call.index)  # type: ignore[attr-defined]
