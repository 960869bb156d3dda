"""`parallel_imap`: lazy, bounded, and over when its consumer has had enough."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import parmap
from parmap import parallel_imap


def square(x):
    return x * x


def fail_at_three(x):
    if x == 3:
        raise ValueError(x)
    return x


def sleep_long(x):
    time.sleep(30)


def slow_after_two(x):
    if x > 2:
        time.sleep(30)
    return x


def wait_a_little(x):
    time.sleep(0.002 * (x % 3))
    return x


class Counted:
    """An iterator that counts what was taken, and knows by which thread."""

    def __init__(self, items):
        self.items = iter(items)
        self.taken = 0
        self.threads = set()

    def __iter__(self):
        return self

    def __next__(self):
        self.threads.add(threading.get_ident())
        item = next(self.items)
        self.taken += 1
        return item


executors = pytest.mark.parametrize("executor", ["process", "thread", "serial"])


@executors
def test_nothing_is_read_before_the_first_next(executor):
    items = Counted(range(10))
    squares = parallel_imap(square, items, executor=executor)
    assert iter(squares) is squares
    assert items.taken == 0
    assert next(squares) == 0
    assert items.taken >= 1
    assert list(squares) == [n * n for n in range(1, 10)]
    assert items.threads == {threading.get_ident()}


def test_iter_is_not_called_before_the_first_next():
    class Once:
        called = False

        def __iter__(self):
            self.called = True
            return iter([1])

    once = Once()
    squares = parallel_imap(square, once)
    assert not once.called
    squares.close()
    assert not once.called


@executors
@settings(max_examples=30)
@given(
    st.integers(0, 40),
    st.integers(1, 12),
    st.integers(1, 4),
    st.sampled_from([None, 1, 3, 100]),
    st.booleans(),
)
def test_read_ahead_is_bounded(executor, count, buffersize, workers, chunksize, ordered):
    items = Counted(range(count))
    options = {"max_workers": workers, "chunksize": chunksize, "executor": executor}
    got = []
    for result in parallel_imap(square, items, buffersize=buffersize, ordered=ordered, **options):
        # The result at hand has been handed out by now; while it was looked for, it had not.
        assert items.taken - len(got) <= buffersize
        got.append(result)
    assert items.taken == count
    assert (got if ordered else sorted(got)) == [n * n for n in range(count)]


@executors
@pytest.mark.parametrize("ordered", [True, False])
def test_endless_input(executor, ordered):
    with parallel_imap(square, itertools.count(), ordered=ordered, executor=executor) as squares:
        got = [next(squares) for _ in range(2000)]
    assert len(set(got)) == 2000
    if ordered:
        assert got == [n * n for n in range(2000)]
    assert list(squares) == []


@pytest.mark.parametrize("chunksize", [None, 1, 50])
def test_the_default_read_ahead_is_bounded(chunksize):
    items = Counted(itertools.count())
    with parallel_imap(wait_a_little, items, chunksize=chunksize) as results:
        for _ in range(20):
            next(results)
        time.sleep(0.2)
        before = items.taken
        next(results)
        assert items.taken < before + 2000
        assert items.taken < 5000


def test_unordered_comes_as_it_is_finished():
    assert (
        next(parallel_imap(sleepy_first, range(5), ordered=False, chunksize=1, max_workers=2)) != 0
    )


def sleepy_first(x):
    if x == 0:
        time.sleep(1.0)
    return x


@executors
@pytest.mark.parametrize("chunksize", [None, 1, 4])
def test_the_exception_comes_in_its_place(executor, chunksize):
    results = parallel_imap(fail_at_three, range(10), chunksize=chunksize, executor=executor)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3") as caught:
        next(results)
    assert caught.value.parmap_index == 3
    assert list(results) == []
    with pytest.raises(StopIteration):
        next(results)


class InputError(Exception):
    pass


def raising(error, after):
    yield from range(after)
    raise error


@executors
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    "error", [ValueError("v"), AttributeError("a"), InputError("i"), KeyError()]
)
@pytest.mark.parametrize("after", [0, 1, 7])
def test_what_the_input_raises(executor, ordered, error, after):
    results = parallel_imap(square, raising(error, after), ordered=ordered, executor=executor)
    got = []
    with pytest.raises(type(error)) as caught:
        for result in results:
            got.append(result)
    assert caught.value is error
    assert sorted(got) == [n * n for n in range(after)]
    assert not hasattr(error, "parmap_index")
    assert list(results) == []


@executors
def test_what_the_input_raises_in_a_whole_call(executor):
    error = AttributeError("a")
    with pytest.raises(AttributeError) as caught:
        parmap.parallel_map(square, raising(error, 50), executor=executor)
    assert caught.value is error


@executors
def test_stop_iteration_in_a_generator(executor):
    def items():
        yield 1
        raise StopIteration

    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        list(parallel_imap(square, items(), executor=executor))


def test_iter_that_raises():
    class Bad:
        def __iter__(self):
            raise InputError

    with pytest.raises(InputError):
        parmap.parallel_map(square, Bad())
    results = parallel_imap(square, Bad())
    with pytest.raises(InputError):
        next(results)


def test_interrupted_input():
    def items():
        yield from range(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(parallel_imap(square, items()))
    with pytest.raises(KeyboardInterrupt):
        parmap.parallel_map(square, items())
    assert parmap.parallel_map(square, [3]) == [9]


# --- the end ------------------------------------------------------------------------------------------


def test_break_ends_what_runs():
    began = time.monotonic()
    for result in parallel_imap(slow_after_two, itertools.count(), max_workers=2, chunksize=1):
        if result == 2:
            break
    del result
    gc.collect()
    assert time.monotonic() - began < 20


def test_close_ends_what_runs_and_may_be_repeated():
    results = parallel_imap(slow_after_two, itertools.count(), max_workers=2, chunksize=1)
    assert next(results) == 0
    results.close()
    results.close()
    assert list(results) == []


def test_dropping_it_ends_what_runs():
    results = parallel_imap(slow_after_two, itertools.count(), max_workers=2, chunksize=1)
    next(results)
    del results  # and no collection is needed


def test_the_generator_of_the_input_is_let_go():
    ended = []

    def items():
        try:
            yield from itertools.count()
        finally:
            ended.append(True)

    results = parallel_imap(square, items())
    next(results)
    results.close()
    del results
    assert ended == [True]


def test_close_before_the_first_next():
    items = Counted(range(3))
    with contextlib.closing(parallel_imap(square, items)):
        pass
    assert items.taken == 0


def test_after_an_error_inside_the_loop():
    with pytest.raises(InputError):
        for _ in parallel_imap(slow_after_two, itertools.count(), max_workers=2, chunksize=1):
            raise InputError


def test_exhausted_stays_exhausted():
    results = parallel_imap(square, range(3))
    assert list(results) == [0, 1, 4]
    assert list(results) == []
    assert next(results, "end") == "end"


def test_two_at_a_time():
    one, other = (parallel_imap(square, itertools.count(n), max_workers=1) for n in (0, 100))
    pairs = list(itertools.islice(zip(one, other, strict=True), 50))
    one.close()
    other.close()
    assert pairs == [(n * n, (100 + n) ** 2) for n in range(50)]


def test_another_call_inside_the_loop():
    got = []
    for result in parallel_imap(square, range(5), max_workers=2):
        got.append(parmap.parallel_map(square, [result, 1]))
    assert got == [[n**4, 1] for n in range(5)]


def test_it_may_be_handed_to_another_thread():
    results = parallel_imap(square, range(100))
    got = [next(results)]
    thread = threading.Thread(target=lambda: got.extend(results))
    thread.start()
    thread.join()
    assert got == [n * n for n in range(100)]


# --- several threads ----------------------------------------------------------------------------------


def in_threads(*functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


@executors
def test_several_threads_share_an_iterator(executor):
    results = parallel_imap(square, range(3000), chunksize=7, executor=executor)
    got = []
    in_threads(*[lambda: got.extend(results)] * 4)
    assert sorted(got) == [n * n for n in range(3000)]


@executors
def test_closed_by_another_thread(executor):
    """Whoever waits for a result then finds that there are no more."""
    results = parallel_imap(nap, itertools.count(), executor=executor)
    got = []
    in_threads(lambda: got.extend(results), lambda: (time.sleep(0.4), results.close()))
    assert got == [*range(len(got))]
    assert list(results) == []


def test_closed_by_another_thread_before_anything_is_there():
    results = parallel_imap(sleep_long, range(4), max_workers=2)
    got = []
    in_threads(lambda: got.extend(results), lambda: (time.sleep(0.3), results.close()))
    assert got == []


def test_asked_for_a_result_by_another_thread_after_an_error():
    results = parallel_imap(fail_at_three, range(9))
    got = []

    def take():
        try:
            got.extend(results)
        except ValueError as error:
            got.append(error)

    in_threads(take, take)
    assert sorted(one for one in got if isinstance(one, int)) == [0, 1, 2]
    assert len(got) == 4


def test_bad_arguments_at_the_call():
    with pytest.raises(TypeError, match="buffersize"):
        parallel_imap(square, [], buffersize="1")
    with pytest.raises(ValueError, match="buffersize"):
        parallel_imap(square, [], buffersize=0)
    with pytest.raises(TypeError, match="iterable"):
        parallel_imap(square, 3)


# --- async for ----------------------------------------------------------------------------------------


@executors
@pytest.mark.parametrize("ordered", [True, False])
def test_async_for(executor, ordered):
    async def collect():
        return [
            r async for r in parallel_imap(square, range(200), ordered=ordered, executor=executor)
        ]

    assert sorted(asyncio.run(collect())) == [n * n for n in range(200)]


@executors
def test_async_for_with_an_error(executor):
    async def collect():
        got = []
        try:
            async for result in parallel_imap(fail_at_three, range(9), executor=executor):
                got.append(result)
        except ValueError as error:
            return got, error.parmap_index
        return None

    assert asyncio.run(collect()) == ([0, 1, 2], 3)


def test_the_event_loop_goes_on():
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    async def main():
        task = asyncio.create_task(tick())
        results = [r async for r in parallel_imap(nap, range(4), max_workers=2, chunksize=1)]
        task.cancel()
        return results

    assert asyncio.run(main()) == [0, 1, 2, 3]
    assert ticks > 3


def nap(x):
    time.sleep(0.15)
    return x


def test_two_async_loops_side_by_side():
    async def collect(start):
        return [r async for r in parallel_imap(square, range(start, start + 50), max_workers=1)]

    async def main():
        return await asyncio.gather(collect(0), collect(100))

    assert asyncio.run(main()) == [[n * n for n in range(s, s + 50)] for s in (0, 100)]


@pytest.mark.parametrize("executor", ["serial", "thread", "process"])
def test_tasks_share_an_iterator(executor):
    async def main():
        shared = parallel_imap(square, range(40), executor=executor, chunksize=1)

        async def take():
            taken = []
            async for result in shared:
                taken.append(result)
                await asyncio.sleep(0.001)
            return taken

        return await asyncio.gather(take(), take(), take())

    taken = asyncio.run(asyncio.wait_for(main(), 30))
    assert sorted(sum(taken, [])) == [n * n for n in range(40)]  # noqa: RUF017
    assert all(one == sorted(one) for one in taken)


def test_a_task_that_comes_late_each_time():
    """Who takes its results without awaiting anything else is asked for nothing meanwhile."""

    async def main():
        shared = parallel_imap(square, range(1500), chunksize=1, executor="serial")

        async def take():
            return [one async for one in shared]

        return await asyncio.gather(take(), take())

    first, second = asyncio.run(asyncio.wait_for(main(), 60))
    assert sorted(first + second) == [n * n for n in range(1500)]


def test_one_of_tasks_that_share_an_iterator_is_cancelled():
    async def main():
        shared = parallel_imap(nap, range(4), chunksize=1, max_workers=1)
        first, second = (asyncio.create_task(anext(shared)) for _ in range(2))
        await asyncio.sleep(0.01)
        second.cancel()
        assert await first == 0
        assert [one async for one in shared] == [1, 2, 3]

    asyncio.run(asyncio.wait_for(main(), 30))


def test_asked_while_a_task_waits():
    async def main():
        shared = parallel_imap(nap, range(3), chunksize=1, max_workers=1)
        task = asyncio.create_task(anext(shared))
        await asyncio.sleep(0.01)
        with pytest.raises(ValueError, match="async for"):
            next(shared)
        assert await task == 0
        assert [one async for one in shared] == [1, 2]

    asyncio.run(asyncio.wait_for(main(), 30))


def test_asked_in_another_loop_while_a_task_waits_in_one_that_was_stopped():
    shared = parallel_imap(nap, range(3), chunksize=1, max_workers=1)
    loops = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        task = loops[0].create_task(anext(shared))
        loops[0].run_until_complete(asyncio.sleep(0.01))
        with pytest.raises(ValueError, match="another event loop"):
            loops[1].run_until_complete(asyncio.wait_for(anext(shared), 20))
        assert loops[0].run_until_complete(task) == 0
        shared.close()
    finally:
        for loop in loops:
            loop.close()


def raises_stop_async_iteration(x):
    if x == 2:
        raise StopAsyncIteration
    return x


@pytest.mark.parametrize("executor", ["serial", "process"])
def test_stop_async_iteration_does_not_end_the_loop_without_a_word(executor):
    async def main():
        return [
            one
            async for one in parallel_imap(
                raises_stop_async_iteration, range(4), executor=executor, chunksize=1
            )
        ]

    with pytest.raises(RuntimeError, match="StopAsyncIteration") as caught:
        asyncio.run(main())
    assert type(caught.value.__cause__) is StopAsyncIteration
    assert caught.value.__cause__.parmap_index == 2


def test_cancelling_ends_what_runs(tmp_path):
    def write_pid_and_sleep(x):
        (tmp_path / str(os.getpid())).touch()
        time.sleep(30)

    async def main():
        async def consume():
            async for _ in parallel_imap(write_pid_and_sleep, range(4), max_workers=2, chunksize=1):
                pass

        task = asyncio.create_task(consume())
        while len(list(tmp_path.iterdir())) < 2:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 20
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


def test_async_timeout():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                async for _ in parallel_imap(sleep_long, range(4), max_workers=2):
                    pass

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 20


def test_aclosing():
    async def main():
        async with contextlib.aclosing(parallel_imap(square, itertools.count())) as squares:
            async for result in squares:
                if result > 100:
                    return result
        return None

    assert asyncio.run(main()) == 121


@executors
def test_closed_by_another_task(executor):
    async def main():
        results = parallel_imap(nap, itertools.count(), executor=executor)

        async def consume():
            return [result async for result in results]

        task = asyncio.create_task(consume())
        await asyncio.sleep(0.4)
        await results.aclose()
        return await asyncio.wait_for(task, 20)

    got = asyncio.run(main())
    assert got == [*range(len(got))]


def test_async_for_over_an_executor_starts_no_thread_of_its_own():
    async def main():
        names = set()
        async for _ in parallel_imap(nap, range(3), executor="thread", max_workers=1):
            names |= {thread.name for thread in threading.enumerate()}
        return names

    assert not [name for name in asyncio.run(main()) if name.startswith("asyncio")]
