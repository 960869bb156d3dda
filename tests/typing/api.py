"""What type checkers make of right uses: checked by mypy and basedpyright, never run.

Wrong uses are in `wrong.py`; `test_typing.py` runs the checkers over both.
"""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import aclosing, closing
from dataclasses import dataclass
from functools import partial
from itertools import count, product
from typing import Any, Literal, TypeVar, assert_type

import parmap
from parmap import (
    CallTimeout,
    ItemTimeout,
    ParmapError,
    Pool,
    RemoteError,
    SerializationError,
    WorkerDied,
    WorkerStartError,
    available_cpus,
    parallel_imap,
    parallel_map,
    parallel_starmap,
    run_in_process,
    shutdown,
    spawn_each,
    using,
)

T = TypeVar("T")


def half(x: float) -> float:
    return x / 2


def label(number: int, text: str = "") -> bytes:
    return f"{number}{text}".encode()


def three(a: int, b: str, c: bytes) -> tuple[int, str, bytes]:
    return a, b, c


def four(a: int, b: str, c: bytes, d: float) -> dict[str, float]:
    return {f"{a}{b}{c!r}": d}


def five(a: int, b: str, c: bytes, d: float, e: bool) -> set[int]:
    return {a, len(b), len(c), int(d), e}


def six(a: int, b: str, c: bytes, d: float, e: bool, f: complex) -> complex:
    return a + len(b) + len(c) + d + e + f


def nothing() -> None:
    pass


def same(x: T) -> T:
    return x


@dataclass
class Scale:
    factor: float

    def apply(self, x: float) -> float:
        return self.factor * x

    def __call__(self, x: int, y: int) -> str:
        return str(self.factor * x * y)

    @classmethod
    def parse(cls, text: str) -> Scale:
        return cls(float(text))

    @staticmethod
    def name(number: int) -> str:
        return str(number)


NUMBERS: list[int] = [1, 2]
TEXTS: tuple[str, ...] = ("a", "b")
BLOBS: Iterable[bytes] = [b"a"]
REALS: set[float] = {1.5}
FLAGS: dict[bool, str] = {True: "yes"}


def one_to_five_iterables() -> None:
    assert_type(parallel_map(half, REALS), list[float])
    assert_type(parallel_map(half, NUMBERS), list[float])  # an int will do for a float
    assert_type(parallel_map(label, NUMBERS), list[bytes])  # the second argument has a default
    assert_type(parallel_map(label, NUMBERS, TEXTS), list[bytes])
    assert_type(parallel_map(three, NUMBERS, TEXTS, BLOBS), list[tuple[int, str, bytes]])
    assert_type(parallel_map(four, NUMBERS, TEXTS, BLOBS, REALS), list[dict[str, float]])
    assert_type(parallel_map(five, NUMBERS, TEXTS, BLOBS, REALS, FLAGS), list[set[int]])
    assert_type(parallel_map(six, NUMBERS, TEXTS, BLOBS, REALS, FLAGS, [1j]), list[complex])
    assert_type(parallel_map(six, *[BLOBS] * 9), list[complex])  # so many are not checked


def kinds_of_inputs(lines: Iterator[str], anything: Any) -> None:
    assert_type(parallel_map(label, range(3)), list[bytes])
    assert_type(parallel_map(label, (n * n for n in range(3))), list[bytes])
    assert_type(parallel_map(str.upper, lines), list[str])
    assert_type(parallel_map(ord, "text"), list[int])
    assert_type(parallel_map(label, FLAGS), list[bytes])  # its keys; a bool is an int
    assert_type(parallel_map(label, NUMBERS, FLAGS.values()), list[bytes])
    assert_type(parallel_map(half, anything), list[float])


def kinds_of_functions(unknown: Callable[..., Any], any_text: Callable[..., str]) -> None:
    scale = Scale(2)
    assert_type(parallel_map(scale.apply, NUMBERS), list[float])
    assert_type(parallel_map(scale, NUMBERS, NUMBERS), list[str])
    assert_type(parallel_map(Scale.parse, TEXTS), list[Scale])
    assert_type(parallel_map(Scale.name, NUMBERS), list[str])
    assert_type(parallel_map(Scale, REALS), list[Scale])
    assert_type(parallel_map(partial(label, text="a"), NUMBERS), list[bytes])
    assert_type(parallel_map(partial(three, 1), TEXTS, BLOBS), list[tuple[int, str, bytes]])
    assert_type(parallel_map(lambda n: n * 2, NUMBERS), list[int])
    assert_type(parallel_map(lambda n, text: (text, n), NUMBERS, TEXTS), list[tuple[str, int]])
    assert_type(parallel_map(len, TEXTS), list[int])
    assert_type(parallel_map(abs, NUMBERS), list[int])
    assert_type(parallel_map(int, TEXTS), list[int])
    assert_type(parallel_map(str.split, TEXTS), list[list[str]])
    assert_type(parallel_map(max, NUMBERS, NUMBERS), list[int])
    assert_type(parallel_map(divmod, NUMBERS, NUMBERS), list[tuple[int, int]])
    assert_type(parallel_map(pow, [2, 3], [5, 2]), list[Any])  # as the stubs of `pow` have it
    assert_type(parallel_map(same, NUMBERS), list[int])
    assert_type(parallel_map(print, NUMBERS), list[None])
    assert_type(parallel_map(unknown, NUMBERS, TEXTS), list[Any])
    assert_type(parallel_map(any_text, NUMBERS, TEXTS), list[str])


def options(mode: Literal["raise", "return"], *, keep: bool) -> None:
    assert_type(
        parallel_map(
            half,
            NUMBERS,
            max_workers=2,
            chunksize=3,
            timeout=1,
            item_timeout=0.5,
            retries=2,
            retry_on=(WorkerDied, OSError),
            on_error="raise",
            strict=True,
            progress=True,
            executor="process",
        ),
        list[float],
    )
    assert_type(
        parallel_map(
            half,
            NUMBERS,
            max_workers=None,
            chunksize=None,
            timeout=None,
            item_timeout=None,
            executor=None,
        ),
        list[float],
    )
    assert_type(parallel_map(half, NUMBERS, on_error="return"), list[float | Exception])
    assert_type(
        parallel_map(label, NUMBERS, TEXTS, on_error="return", strict=True),
        list[bytes | Exception],
    )
    either = parallel_map(half, NUMBERS, on_error=mode)
    assert_type(either[0], float | Exception)
    assert_type(
        parallel_map(half, NUMBERS, on_error="return" if keep else "raise")[0], float | Exception
    )
    for result in parallel_map(label, NUMBERS, on_error="return"):
        if isinstance(result, Exception):
            assert_type(result, Exception)
        else:
            assert_type(result, bytes)


def progress(bar: Callable[[int, int | None], None]) -> None:
    parallel_map(half, NUMBERS, progress="halving")
    parallel_map(half, NUMBERS, progress={"desc": "halving", "leave": False})
    parallel_map(half, NUMBERS, progress=bar)
    parallel_map(half, NUMBERS, progress=print)
    parallel_map(half, NUMBERS, progress=lambda done, total: print(done + 1, total or "?"))


def executors(given: Executor, *, threads: bool) -> None:
    parallel_map(half, NUMBERS, executor="thread")
    parallel_map(half, NUMBERS, executor="interpreter")
    parallel_map(half, NUMBERS, executor="thread" if threads else "serial")
    parallel_map(half, NUMBERS, executor=given)
    parallel_map(half, NUMBERS, executor=ThreadPoolExecutor())
    parallel_map(half, NUMBERS, executor=Pool(2))
    parallel_map(half, NUMBERS, executor=multiprocessing.Pool(2))
    with multiprocessing.get_context("spawn").Pool() as theirs:
        parallel_map(half, NUMBERS, executor=theirs)


def starmap(
    rows: Iterable[list[str]], long: list[tuple[int, int, int, int, int, int, int]]
) -> None:
    assert_type(parallel_starmap(nothing, [()] * 3), list[None])
    assert_type(parallel_starmap(half, [(1,), (2.5,)]), list[float])
    assert_type(parallel_starmap(label, [(1,)]), list[bytes])
    assert_type(parallel_starmap(label, [(1, "a")]), list[bytes])
    assert_type(parallel_starmap(label, enumerate(TEXTS)), list[bytes])
    assert_type(parallel_starmap(label, zip(NUMBERS, TEXTS, strict=True)), list[bytes])
    assert_type(parallel_starmap(label, product(NUMBERS, TEXTS)), list[bytes])
    assert_type(parallel_starmap(three, [(1, "a", b"b")]), list[tuple[int, str, bytes]])
    assert_type(parallel_starmap(four, [(1, "a", b"b", 2.0)]), list[dict[str, float]])
    assert_type(parallel_starmap(five, [(1, "a", b"b", 2.0, True)]), list[set[int]])
    assert_type(parallel_starmap(six, [(1, "a", b"b", 2.0, True, 1j)]), list[complex])
    assert_type(parallel_starmap(max, long), list[Any])
    assert_type(parallel_starmap(lambda n, t: (t, n), enumerate(TEXTS)), list[tuple[str, int]])
    assert_type(parallel_starmap(partial(three, 1), [("a", b"b")]), list[tuple[int, str, bytes]])
    assert_type(parallel_starmap(Scale(1), [(1, 2)]), list[str])
    assert_type(parallel_starmap(sorted, [(NUMBERS,)]), list[list[int]])
    assert_type(parallel_starmap(label, rows), list[bytes])  # not of tuples: unchecked
    assert_type(
        parallel_starmap(label, ((n, "a") for n in NUMBERS), on_error="return", timeout=3),
        list[bytes | Exception],
    )


def imap(mode: Literal["raise", "return"]) -> None:
    for result in parallel_imap(label, count()):
        assert_type(result, bytes)
    results = parallel_imap(label, NUMBERS, TEXTS, ordered=False, buffersize=10, max_workers=2)
    assert_type(next(results), bytes)
    assert_type(next(results, None), bytes | None)
    assert_type(list(results), list[bytes])
    assert_type(results.close(), None)
    iterator: Iterator[bytes] = results
    wider: Iterator[bytes | None] = results
    label(len(list(iterator)) + len(list(wider)))
    with parallel_imap(half, NUMBERS) as halves:
        assert_type(next(halves), float)
    with closing(parallel_imap(half, NUMBERS)) as halves:
        assert_type(list(halves), list[float])
    kept = parallel_imap(three, NUMBERS, TEXTS, BLOBS, on_error="return")
    assert_type(next(kept), tuple[int, str, bytes] | Exception)
    assert_type(next(parallel_imap(half, NUMBERS, on_error=mode)), float | Exception)
    assert_type(next(parallel_imap(lambda n: str(n + 1), NUMBERS)), str)
    four_of = parallel_imap(four, NUMBERS, TEXTS, BLOBS, REALS, chunksize=1)
    assert_type(next(four_of), dict[str, float])
    assert_type(next(parallel_imap(five, NUMBERS, TEXTS, BLOBS, REALS, FLAGS)), set[int])
    assert_type(next(parallel_imap(six, NUMBERS, TEXTS, BLOBS, REALS, FLAGS, [1j])), complex)


async def imap_asynchronously() -> None:
    async for result in parallel_imap(label, NUMBERS):
        assert_type(result, bytes)
    iterator: AsyncIterator[bytes] = parallel_imap(label, NUMBERS)
    assert_type([result async for result in iterator], list[bytes])
    async with aclosing(parallel_imap(half, NUMBERS, on_error="return")) as halves:
        assert_type(await anext(halves), float | Exception)
    await parallel_imap(half, NUMBERS).aclose()


def one_process(queue: multiprocessing.Queue[int]) -> None:
    assert_type(run_in_process(nothing), None)
    assert_type(run_in_process(half, 1), float)
    assert_type(run_in_process(label, 1), bytes)
    assert_type(run_in_process(label, 1, "a", timeout=3, name="labeller"), bytes)
    assert_type(run_in_process(three, 1, "a", b"b"), tuple[int, str, bytes])
    assert_type(run_in_process(six, 1, "a", b"b", 2.0, True, 1j), complex)
    assert_type(run_in_process(partial(label, text="a"), 1, start_method="spawn"), bytes)
    assert_type(run_in_process(Scale(2).apply, 1), float)
    assert_type(run_in_process(lambda: 1.5), float)
    assert_type(run_in_process(queue.put, 1), None)
    assert_type(run_in_process(len, "abc", timeout=None), int)


def each_a_process(mode: Literal["raise", "return"]) -> None:
    assert_type(spawn_each(half, NUMBERS), list[float])
    assert_type(spawn_each(label, NUMBERS, TEXTS), list[bytes])
    assert_type(spawn_each(three, NUMBERS, TEXTS, BLOBS), list[tuple[int, str, bytes]])
    assert_type(spawn_each(four, NUMBERS, TEXTS, BLOBS, REALS), list[dict[str, float]])
    assert_type(spawn_each(five, NUMBERS, TEXTS, BLOBS, REALS, FLAGS), list[set[int]])
    assert_type(spawn_each(six, NUMBERS, TEXTS, BLOBS, REALS, FLAGS, [1j]), list[complex])
    assert_type(spawn_each(print, NUMBERS, limit=4, name="job", strict=True), list[None])
    assert_type(
        spawn_each(half, NUMBERS, on_error="return", timeout=9, start_method="fork"),
        list[float | Exception],
    )
    assert_type(spawn_each(label, NUMBERS, on_error=mode)[0], bytes | Exception)


def pool(given: Sequence[str]) -> None:
    with Pool(4) as one:
        assert_type(one, Pool)
        assert_type(one.submit(label, 1, text="a"), Future[bytes])
        assert_type(one.submit(label, 1).result(timeout=2), bytes)
        assert_type(one.map(label, NUMBERS, TEXTS, timeout=3, chunksize=2), Iterator[bytes])
        assert_type(one.size, int)
    executor: Executor = Pool(
        max_workers=2,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=print,
        initargs=("hello",),
        max_tasks_per_child=10,
        start_method="spawn",
        preload=given,
        memory_limit=1 << 30,
        idle_timeout=2.5,
    )
    assert_type(executor.shutdown(wait=False, cancel_futures=True), None)
    Pool().terminate_workers()
    Pool().kill_workers()


def the_rest() -> None:
    assert_type(available_cpus(), int)
    assert_type(shutdown(), None)
    with using(executor="thread", max_workers=3):
        pass
    with using(executor=Pool()), using(max_workers=None), using():
        pass
    assert_type(parmap.__version__, str)
    assert_type(parmap.parallel_map(half, NUMBERS), list[float])


def died(error: WorkerDied) -> None:
    assert_type(error.index, int | None)
    assert_type(error.exitcode, int | None)
    assert_type(error.signal, str | None)
    assert_type(error.pid, int | None)
    assert_type(error.reason, str)
    assert_type(error.parmap_index, int | None)


def timed_out(item: ItemTimeout, call: CallTimeout) -> None:
    error: TimeoutError = item
    error = call
    print(error)
    assert_type(item.index, int)
    assert_type(item.seconds, float)
    assert_type(call.seconds, float)
    assert_type(call.done, int)
    assert_type(call.total, int | None)
    assert_type(call.results, dict[int, Any])


def remote(error: RemoteError, unpicklable: SerializationError, start: WorkerStartError) -> None:
    assert_type(error.type_name, str)
    assert_type(error.message, str)
    assert_type(error.traceback, str)
    as_pickle_has_it: pickle.PicklingError = unpicklable
    base: ParmapError = start
    print(as_pickle_has_it, base)
