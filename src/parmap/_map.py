"""`parallel_map`, `parallel_starmap`, `parallel_imap` and `using`."""

from __future__ import annotations

from . import _calls
from ._choice import Call, check_executor, defaults
from ._lazy import ParallelIterator
from ._options import RETRY_ON, MapOptions, check_callable, check_count, check_iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any, Literal, Unpack, overload

    from ._options import ProgressOption
    from ._signatures import (
        A,
        B,
        C,
        D,
        E,
        ExecutorOption,
        ImapRaising,
        ImapReturning,
        MapRaising,
        MapReturning,
        R,
        SixOrMore,
    )

# Type checkers see the overloads: items typed one by one, options as typed dicts. At run time there
# are none, and the signatures that `help()` shows have every option.


# fmt: off
if TYPE_CHECKING:
    @overload
    def parallel_map(func: Callable[[A], R], a: Iterable[A], /,
                     **options: Unpack[MapRaising]) -> list[R]: ...
    @overload
    def parallel_map(func: Callable[[A], R], a: Iterable[A], /,
                     **options: Unpack[MapReturning]) -> list[R | Exception]: ...
    @overload
    def parallel_map(func: Callable[[A, B], R], a: Iterable[A], b: Iterable[B], /,
                     **options: Unpack[MapRaising]) -> list[R]: ...
    @overload
    def parallel_map(func: Callable[[A, B], R], a: Iterable[A], b: Iterable[B], /,
                     **options: Unpack[MapReturning]) -> list[R | Exception]: ...
    @overload
    def parallel_map(func: Callable[[A, B, C], R], a: Iterable[A], b: Iterable[B], c: Iterable[C],
                     /, **options: Unpack[MapRaising]) -> list[R]: ...
    @overload
    def parallel_map(func: Callable[[A, B, C], R], a: Iterable[A], b: Iterable[B], c: Iterable[C],
                     /, **options: Unpack[MapReturning]) -> list[R | Exception]: ...
    @overload
    def parallel_map(func: Callable[[A, B, C, D], R], a: Iterable[A], b: Iterable[B],
                     c: Iterable[C], d: Iterable[D], /,
                     **options: Unpack[MapRaising]) -> list[R]: ...
    @overload
    def parallel_map(func: Callable[[A, B, C, D], R], a: Iterable[A], b: Iterable[B],
                     c: Iterable[C], d: Iterable[D], /,
                     **options: Unpack[MapReturning]) -> list[R | Exception]: ...
    @overload
    def parallel_map(func: Callable[[A, B, C, D, E], R], a: Iterable[A], b: Iterable[B],
                     c: Iterable[C], d: Iterable[D], e: Iterable[E], /,
                     **options: Unpack[MapRaising]) -> list[R]: ...
    @overload
    def parallel_map(func: Callable[[A, B, C, D, E], R], a: Iterable[A], b: Iterable[B],
                     c: Iterable[C], d: Iterable[D], e: Iterable[E], /,
                     **options: Unpack[MapReturning]) -> list[R | Exception]: ...
    @overload
    def parallel_map(func: Callable[..., R], a: Iterable[Any], b: Iterable[Any], c: Iterable[Any],
                     d: Iterable[Any], e: Iterable[Any], f: Iterable[Any], /, *more: Iterable[Any],
                     **options: Unpack[MapRaising]) -> list[R]: ...
    @overload
    def parallel_map(func: Callable[..., R], a: Iterable[Any], b: Iterable[Any], c: Iterable[Any],
                     d: Iterable[Any], e: Iterable[Any], f: Iterable[Any], /, *more: Iterable[Any],
                     **options: Unpack[MapReturning]) -> list[R | Exception]: ...
# fmt: on
def parallel_map(
    func: Callable[..., Any],
    iterable: Iterable[Any],
    /,
    *iterables: Iterable[Any],
    max_workers: int | None = None,
    chunksize: int | None = None,
    timeout: float | None = None,
    item_timeout: float | None = None,
    retries: int = 0,
    retry_on: tuple[type[BaseException], ...] = RETRY_ON,
    on_error: Literal["raise", "return"] = "raise",
    strict: bool = False,
    progress: ProgressOption = False,
    executor: ExecutorOption | None = None,
) -> list[Any]:
    """Apply a function to every item, on all cores: `list(map(func, iterable, *iterables))`.

    The results, their order and the exception are those of that line. Workers are processes that stay
    warm between calls; functions of `__main__`, lambdas and closures will do, and no
    `if __name__ == "__main__":` is needed.

    Args:
        func: The function. Constants are bound with `functools.partial`.
        iterable: Its arguments.
        *iterables: Its second, third, … arguments; the shortest ends the call.
        max_workers: Most workers at once; None: `available_cpus()`.
        chunksize: Items whose results are sent together; None: adaptive, from measured run times.
        timeout: Seconds for the whole call; None: no limit. What then runs is killed.
        item_timeout: Seconds for one item, from the call of `func`; None: no limit. Its worker is killed.
        retries: Further attempts of one item that failed with one of `retry_on`. It runs again alone,
            after the others.
        retry_on: Exceptions that are worth another attempt; by default that its worker died.
        on_error: "raise": the lowest failure is raised, what comes after it is cancelled. "return": all
            run, and a failure stands in the list as its exception.
        strict: Whether iterables of unequal lengths are an error, as with `zip`.
        progress: True draws a tqdm bar, a string is its description, a mapping its keyword arguments;
            a callable is called as `progress(done, total_or_None)` in this thread.
        executor: "process" (the default), "thread", "serial", "interpreter" (Python 3.14), a `Pool`, any
            `concurrent.futures.Executor` or a `multiprocessing.Pool`; None: what `using` or the
            variable PARMAP_EXECUTOR says.

    Returns:
        The results, in the order of the items.

    Raises:
        TypeError: An argument is of the wrong type; nothing has been started.
        ValueError: An argument has a wrong value, or the executor cannot do what an option asks; or
            `strict` and the lengths differ.
        WorkerDied: An item's worker was killed, or crashed.
        ItemTimeout: An item ran longer than `item_timeout`.
        CallTimeout: The call ran longer than `timeout`.
        WorkerStartError: Workers cannot be started.
        SerializationError: The function, an item or a result cannot be pickled.
        RemoteError: An item raised what cannot be pickled.
        BaseException: Whatever `func` or the input raises, as itself.

    Example:
        >>> from parmap import parallel_map
        >>> parallel_map(lambda x: x * x, [1, 2, 3, 4, 5], max_workers=4)
        [1, 4, 9, 16, 25]
        >>> parallel_map(pow, [2, 3], [5, 2])
        [32, 9]
    """
    options = MapOptions.check(
        max_workers=max_workers,
        chunksize=chunksize,
        timeout=timeout,
        item_timeout=item_timeout,
        retries=retries,
        retry_on=retry_on,
        on_error=on_error,
        strict=strict,
        progress=progress,
        executor=executor,
    )
    inputs = _checked(func, (iterable, *iterables))
    return _calls.run(Call("parallel_map", func, inputs, options, star=len(inputs) > 1))


# fmt: off
if TYPE_CHECKING:
    @overload
    def parallel_starmap(func: Callable[[A], R], iterable: Iterable[tuple[A]], /,
                         **options: Unpack[MapRaising]) -> list[R]: ...
    @overload
    def parallel_starmap(func: Callable[[A], R], iterable: Iterable[tuple[A]], /,
                         **options: Unpack[MapReturning]) -> list[R | Exception]: ...
    @overload
    def parallel_starmap(func: Callable[[A, B], R], iterable: Iterable[tuple[A, B]], /,
                         **options: Unpack[MapRaising]) -> list[R]: ...
    @overload
    def parallel_starmap(func: Callable[[A, B], R], iterable: Iterable[tuple[A, B]], /,
                         **options: Unpack[MapReturning]) -> list[R | Exception]: ...
    @overload
    def parallel_starmap(func: Callable[[A, B, C], R], iterable: Iterable[tuple[A, B, C]], /,
                         **options: Unpack[MapRaising]) -> list[R]: ...
    @overload
    def parallel_starmap(func: Callable[[A, B, C], R], iterable: Iterable[tuple[A, B, C]], /,
                         **options: Unpack[MapReturning]) -> list[R | Exception]: ...
    @overload
    def parallel_starmap(func: Callable[[A, B, C, D], R], iterable: Iterable[tuple[A, B, C, D]], /,
                         **options: Unpack[MapRaising]) -> list[R]: ...
    @overload
    def parallel_starmap(func: Callable[[A, B, C, D], R], iterable: Iterable[tuple[A, B, C, D]], /,
                         **options: Unpack[MapReturning]) -> list[R | Exception]: ...
    @overload
    def parallel_starmap(func: Callable[[A, B, C, D, E], R],
                         iterable: Iterable[tuple[A, B, C, D, E]], /,
                         **options: Unpack[MapRaising]) -> list[R]: ...
    @overload
    def parallel_starmap(func: Callable[[A, B, C, D, E], R],
                         iterable: Iterable[tuple[A, B, C, D, E]], /,
                         **options: Unpack[MapReturning]) -> list[R | Exception]: ...
    @overload
    def parallel_starmap(func: Callable[[], R], iterable: Iterable[tuple[()]], /,
                         **options: Unpack[MapRaising]) -> list[R]: ...
    @overload
    def parallel_starmap(func: Callable[[], R], iterable: Iterable[tuple[()]], /,
                         **options: Unpack[MapReturning]) -> list[R | Exception]: ...
    @overload
    def parallel_starmap(func: Callable[..., R], iterable: Iterable[SixOrMore | list[Any]], /,
                         **options: Unpack[MapRaising]) -> list[R]: ...
    @overload
    def parallel_starmap(func: Callable[..., R], iterable: Iterable[SixOrMore | list[Any]], /,
                         **options: Unpack[MapReturning]) -> list[R | Exception]: ...
# fmt: on
def parallel_starmap(
    func: Callable[..., Any],
    iterable: Iterable[Iterable[Any]],
    /,
    *,
    max_workers: int | None = None,
    chunksize: int | None = None,
    timeout: float | None = None,
    item_timeout: float | None = None,
    retries: int = 0,
    retry_on: tuple[type[BaseException], ...] = RETRY_ON,
    on_error: Literal["raise", "return"] = "raise",
    strict: bool = False,
    progress: ProgressOption = False,
    executor: ExecutorOption | None = None,
) -> list[Any]:
    """Apply a function to every tuple of arguments: `list(itertools.starmap(func, iterable))`.

    Args:
        func: The function.
        iterable: Tuples of its arguments.
        max_workers: See `parallel_map`, as for all that follow.
        chunksize: See there.
        timeout: See there.
        item_timeout: See there.
        retries: See there.
        retry_on: See there.
        on_error: See there.
        strict: There is one input only, so this changes nothing.
        progress: See there.
        executor: See there.

    Returns:
        The results, in the order of the items.

    Raises:
        BaseException: What `parallel_map` raises, in the same cases.

    Example:
        >>> from parmap import parallel_starmap
        >>> parallel_starmap(pow, [(2, 5), (3, 2)])
        [32, 9]
    """
    options = MapOptions.check(
        max_workers=max_workers,
        chunksize=chunksize,
        timeout=timeout,
        item_timeout=item_timeout,
        retries=retries,
        retry_on=retry_on,
        on_error=on_error,
        strict=strict,
        progress=progress,
        executor=executor,
    )
    inputs = _checked(func, (iterable,))
    return _calls.run(Call("parallel_starmap", func, inputs, options, star=True))


# fmt: off
if TYPE_CHECKING:
    @overload
    def parallel_imap(func: Callable[[A], R], a: Iterable[A], /,
                      **options: Unpack[ImapRaising]) -> ParallelIterator[R]: ...
    @overload
    def parallel_imap(func: Callable[[A], R], a: Iterable[A], /,
                      **options: Unpack[ImapReturning]) -> ParallelIterator[R | Exception]: ...
    @overload
    def parallel_imap(func: Callable[[A, B], R], a: Iterable[A], b: Iterable[B], /,
                      **options: Unpack[ImapRaising]) -> ParallelIterator[R]: ...
    @overload
    def parallel_imap(func: Callable[[A, B], R], a: Iterable[A], b: Iterable[B], /,
                      **options: Unpack[ImapReturning]) -> ParallelIterator[R | Exception]: ...
    @overload
    def parallel_imap(func: Callable[[A, B, C], R], a: Iterable[A], b: Iterable[B], c: Iterable[C],
                      /, **options: Unpack[ImapRaising]) -> ParallelIterator[R]: ...
    @overload
    def parallel_imap(func: Callable[[A, B, C], R], a: Iterable[A], b: Iterable[B], c: Iterable[C],
                      /, **options: Unpack[ImapReturning]) -> ParallelIterator[R | Exception]: ...
    @overload
    def parallel_imap(func: Callable[[A, B, C, D], R], a: Iterable[A], b: Iterable[B],
                      c: Iterable[C], d: Iterable[D], /,
                      **options: Unpack[ImapRaising]) -> ParallelIterator[R]: ...
    @overload
    def parallel_imap(func: Callable[[A, B, C, D], R], a: Iterable[A], b: Iterable[B],
                      c: Iterable[C], d: Iterable[D], /,
                      **options: Unpack[ImapReturning]) -> ParallelIterator[R | Exception]: ...
    @overload
    def parallel_imap(func: Callable[[A, B, C, D, E], R], a: Iterable[A], b: Iterable[B],
                      c: Iterable[C], d: Iterable[D], e: Iterable[E], /,
                      **options: Unpack[ImapRaising]) -> ParallelIterator[R]: ...
    @overload
    def parallel_imap(func: Callable[[A, B, C, D, E], R], a: Iterable[A], b: Iterable[B],
                      c: Iterable[C], d: Iterable[D], e: Iterable[E], /,
                      **options: Unpack[ImapReturning]) -> ParallelIterator[R | Exception]: ...
    @overload
    def parallel_imap(func: Callable[..., R], a: Iterable[Any], b: Iterable[Any], c: Iterable[Any],
                      d: Iterable[Any], e: Iterable[Any], f: Iterable[Any], /, *more: Iterable[Any],
                      **options: Unpack[ImapRaising]) -> ParallelIterator[R]: ...
    @overload
    def parallel_imap(func: Callable[..., R], a: Iterable[Any], b: Iterable[Any], c: Iterable[Any],
                      d: Iterable[Any], e: Iterable[Any], f: Iterable[Any], /, *more: Iterable[Any],
                      **options: Unpack[ImapReturning]) -> ParallelIterator[R | Exception]: ...
# fmt: on
def parallel_imap(
    func: Callable[..., Any],
    iterable: Iterable[Any],
    /,
    *iterables: Iterable[Any],
    ordered: bool = True,
    buffersize: int | None = None,
    max_workers: int | None = None,
    chunksize: int | None = None,
    item_timeout: float | None = None,
    retries: int = 0,
    retry_on: tuple[type[BaseException], ...] = RETRY_ON,
    on_error: Literal["raise", "return"] = "raise",
    strict: bool = False,
    progress: ProgressOption = False,
    executor: ExecutorOption | None = None,
) -> ParallelIterator[Any]:
    """Apply a function lazily: `map(func, iterable, *iterables)`, on all cores.

    Nothing is read or started before the first `next`, and the input is read only inside `next`, in the
    consumer's thread; so endless inputs are fine, and a slow consumer slows the rest down. To leave the
    loop, `close` or dropping the iterator ends what still runs. It serves `async for` as well.

    What the caller does to an item between two `next` may or may not be seen by a worker: an item is
    serialised when it is read, which is ahead of its result.

    Args:
        func: See `parallel_map`, as for all that are not named here.
        iterable: See there.
        *iterables: See there.
        ordered: Whether results come in the order of the items, or as they are finished.
        buffersize: Most items taken from the input and not yet handed out; None: about as many as keep
            all workers busy for a tenth of a second.
        max_workers: See there.
        chunksize: See there.
        item_timeout: See there.
        retries: See there.
        retry_on: See there.
        on_error: See there.
        strict: See there.
        progress: See there.
        executor: See there.

    Returns:
        An iterator over the results.

    Raises:
        BaseException: At the call: TypeError or ValueError for arguments. While iterating: what
            `parallel_map` raises, where the item concerned would have come.

    Example:
        >>> from itertools import count
        >>> from parmap import parallel_imap
        >>> squares = parallel_imap(lambda x: x * x, count())
        >>> [next(squares) for _ in range(4)]
        [0, 1, 4, 9]
        >>> squares.close()
    """
    options = MapOptions.check(
        max_workers=max_workers,
        chunksize=chunksize,
        buffersize=check_count("buffersize", buffersize),
        item_timeout=item_timeout,
        retries=retries,
        retry_on=retry_on,
        on_error=on_error,
        strict=strict,
        ordered=ordered,
        progress=progress,
        executor=executor,
    )
    inputs = _checked(func, (iterable, *iterables))
    delivery = "ordered" if options.ordered else "unordered"
    star = len(inputs) > 1
    return ParallelIterator(
        Call("parallel_imap", func, inputs, options, star=star, delivery=delivery)
    )


def _checked(func: object, inputs: tuple[Any, ...]) -> tuple[Iterable[Any], ...]:
    check_callable("func", func)
    if len(inputs) == 1:
        return (check_iterable("iterable", inputs[0]),)
    return tuple(check_iterable(f"iterable {at}", one) for at, one in enumerate(inputs, 1))


class using:  # noqa: N801 -- used like a function
    """Defaults for the calls inside that leave these options open.

    Args:
        executor: See `parallel_map`.
        max_workers: See there.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument has a wrong value.

    Example:
        >>> from parmap import parallel_map, using
        >>> with using(executor="serial"):
        ...     parallel_map(abs, [-1, 2])
        [1, 2]
    """

    __module__ = "parmap"

    def __init__(
        self, *, executor: ExecutorOption | None = None, max_workers: int | None = None
    ) -> None:
        if executor is not None:
            check_executor(executor)
        workers = check_count("max_workers", max_workers)
        self._wanted: tuple[Any, int | None] = (executor, workers)

    def __enter__(self) -> None:
        outer = defaults.get()
        executor, workers = self._wanted
        executor = outer[0] if executor is None else executor
        workers = outer[1] if workers is None else workers
        defaults.set((executor, workers, outer))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        *_, outer = defaults.get()
        if outer is not None:  # else this is another context than it was entered in
            defaults.set(outer)


for _public in (parallel_map, parallel_starmap, parallel_imap):
    _public.__module__ = "parmap"
