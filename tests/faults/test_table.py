"""The table of what today's pools do when a worker dies: each of its columns, for each function."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec

import pytest

from parmap import (
    ItemTimeout,
    Pool,
    SerializationError,
    WorkerDied,
    parallel_imap,
    parallel_map,
    run_in_process,
    spawn_each,
)

from . import deaths
from .deaths import DEATHS
from .harness import FULL, most_telling, run

METHODS = ("forkserver", "spawn", "fork")

every_death = pytest.mark.parametrize("how", DEATHS)

#: With each start method: one end by a signal, one that looks like success; all where all is tried.
two_deaths = pytest.mark.parametrize("how", [*DEATHS] if FULL else ["SIGSEGV", "exit 0"])


def check_death(error: object, how: str, index: int | None) -> None:
    _, signal, exitcode, reason = DEATHS[how]
    assert type(error) is WorkerDied, repr(error)
    assert (error.signal, error.exitcode, error.reason) == (signal, exitcode, reason)
    assert error.index == index
    assert isinstance(error.pid, int)
    assert index is None or f"item {index}" in str(error)
    assert str(error.pid) in str(error)


def squares_but(results: list[object], at: int, count: int = 20) -> object:
    """Check that all results but one are right, and answer that one."""
    assert len(results) == count
    assert [r for i, r in enumerate(results) if i != at] == [i * i for i in range(count) if i != at]
    return results[at]


# --- an item kills its worker -------------------------------------------------------------------------


@every_death
def test_map_raises(how: str) -> None:
    with pytest.raises(WorkerDied) as caught:
        parallel_map(partial(deaths.square_or_die, how=how), range(20), max_workers=2)
    check_death(caught.value, how, 7)


@every_death
@pytest.mark.parametrize("chunksize", most_telling([None, 100, 1], 2))
def test_map_returns_all_others(how: str, chunksize: int | None) -> None:
    func = partial(deaths.square_or_die, how=how)
    results = parallel_map(func, range(20), max_workers=2, on_error="return", chunksize=chunksize)
    check_death(squares_but(results, 7), how, 7)


@every_death
def test_map_retries(how: str, tmp_path) -> None:
    func = partial(deaths.square_or_die_once, how=how, file=str(tmp_path / "died"))
    assert parallel_map(func, range(20), max_workers=2, retries=1) == [i * i for i in range(20)]


@every_death
def test_retries_run_out(how: str) -> None:
    func = partial(deaths.square_or_die, how=how)
    results = parallel_map(func, range(20), max_workers=2, retries=2, on_error="return")
    check_death(squares_but(results, 7), how, 7)


@every_death
@pytest.mark.parametrize("ordered", [True, False])
def test_imap(how: str, ordered: bool) -> None:
    func = partial(deaths.square_or_die, how=how)
    results = list(
        parallel_imap(func, range(20), max_workers=2, on_error="return", ordered=ordered)
    )
    if not ordered:
        died = [result for result in results if isinstance(result, WorkerDied)]
        numbers = sorted(r for r in results if isinstance(r, int))
        assert len(died) == 1
        results = [*numbers[:7], died[0], *numbers[7:]]
    check_death(squares_but(results, 7), how, 7)


@every_death
def test_imap_raises_in_its_place(how: str) -> None:
    func = partial(deaths.square_or_die, how=how)
    lazy = parallel_imap(func, range(20), max_workers=2)
    assert [next(lazy) for _ in range(7)] == [i * i for i in range(7)]
    with pytest.raises(WorkerDied) as caught:
        next(lazy)
    check_death(caught.value, how, 7)
    with pytest.raises(StopIteration):
        next(lazy)


@two_deaths
@pytest.mark.parametrize("method", METHODS)
def test_spawn_each(how: str, method: str) -> None:
    func = partial(deaths.square_or_die, how=how, at=1)
    results = spawn_each(func, range(3), on_error="return", start_method=method)
    check_death(squares_but(results, 1, count=3), how, 1)
    with pytest.raises(WorkerDied) as caught:
        spawn_each(func, range(3), start_method=method)
    check_death(caught.value, how, 1)


@two_deaths
@pytest.mark.parametrize("method", METHODS)
def test_run_in_process(how: str, method: str) -> None:
    with pytest.raises(WorkerDied) as caught:
        run_in_process(deaths.die, how, start_method=method)
    check_death(caught.value, how, None)


@every_death
def test_run_in_process_with_multiprocessing_objects(how: str) -> None:
    import multiprocessing

    with pytest.raises(WorkerDied) as caught:
        run_in_process(_die_with, how, multiprocessing.Event())
    check_death(caught.value, how, None)


def _die_with(how: str, event) -> None:
    event.set()
    deaths.die(how)


@two_deaths
@pytest.mark.parametrize("method", METHODS)
def test_pool(how: str, method: str) -> None:
    with Pool(2, start_method=method) as pool:
        futures = [pool.submit(deaths.square_or_die, i, how) for i in range(20)]
        results = [future.exception() or future.result() for future in futures]
        check_death(squares_but(results, 7), how, None)
        func = partial(deaths.square_or_die, how=how)
        results = parallel_map(func, range(20), executor=pool, on_error="return")
        check_death(squares_but(results, 7), how, 7)
        assert list(pool.map(abs, range(5))) == list(range(5))


def test_every_item_dies() -> None:
    results = parallel_map(_die_always, range(12), max_workers=3, on_error="return")
    for index, result in enumerate(results):
        check_death(result, "SIGKILL", index)


def _die_always(_x: int) -> None:
    deaths.by_kill()


def test_many_ways_at_once() -> None:
    ways = [*DEATHS] * 3
    results = parallel_map(_die_or_not, ways, range(len(ways)), max_workers=4, on_error="return")
    for index, (way, result) in enumerate(zip(ways, results, strict=True)):
        if index % 2:
            assert result == index
        else:
            check_death(result, way, index)


def _die_or_not(how: str, x: int) -> int:
    if x % 2 == 0:
        deaths.die(how)
    return x


# --- results and items that are hard to carry -----------------------------------------------------------


CARRIED = ["raises when pickled", "raises when unpickled"]


@pytest.mark.parametrize("kind", CARRIED)
@pytest.mark.parametrize("chunksize", [None, 1, 50])
def test_result(kind: str, chunksize: int | None) -> None:
    func = partial(deaths.give, kind=kind)
    results = parallel_map(func, range(8), max_workers=2, on_error="return", chunksize=chunksize)
    assert [r for i, r in enumerate(results) if i != 3] == [0, 1, 2, 4, 5, 6, 7]
    assert isinstance(results[3], SerializationError)
    assert results[3].parmap_index == 3
    with pytest.raises(SerializationError):
        parallel_map(func, range(8), max_workers=2)
    with pytest.raises(SerializationError):
        list(parallel_imap(func, range(8), max_workers=2))
    with pytest.raises(SerializationError):
        run_in_process(func, 3)
    with pytest.raises(SerializationError):
        spawn_each(func, range(4))


@pytest.mark.parametrize("kind", CARRIED)
def test_result_of_a_task(kind: str) -> None:
    with Pool(2) as pool:
        futures = [pool.submit(deaths.give, i, kind) for i in range(8)]
        errors = [future.exception(20) for future in futures]
    assert isinstance(errors.pop(3), SerializationError)
    assert errors == [None] * 7


@pytest.mark.parametrize("kind", ["dies when pickled", "exits when pickled"])
def test_result_that_kills_its_worker(kind: str) -> None:
    func = partial(deaths.give, kind=kind)
    how = "SIGKILL" if kind.startswith("dies") else "exit 0"
    results = parallel_map(func, range(8), max_workers=2, on_error="return")
    assert [r for i, r in enumerate(results) if i != 3] == [0, 1, 2, 4, 5, 6, 7]
    check_death(results[3], how, 3)
    with pytest.raises(WorkerDied) as caught:
        run_in_process(func, 3)
    check_death(caught.value, how, None)


@pytest.mark.parametrize("how", ["SIGKILL", "exit 0", "SIGSEGV"])
def test_item_that_kills_its_worker(how: str) -> None:
    items = [0, 1, 2, deaths.DiesWhenUnpickled(how), 4, 5]
    results = parallel_map(deaths.same, items, max_workers=2, on_error="return")
    check_death(results.pop(3), how, 3)
    assert results == [0, 1, 2, 4, 5]
    results = spawn_each(deaths.same, items, on_error="return")
    check_death(results[3], how, 3)
    with Pool(2) as pool:
        with pytest.raises(WorkerDied) as caught:
            pool.submit(deaths.same, items[3]).result(20)
        check_death(caught.value, how, None)


@pytest.mark.parametrize("how", ["SIGKILL", "exit 0"])
def test_function_that_kills_every_worker(how: str) -> None:
    func = partial(deaths.give, deaths.DiesWhenUnpickled(how))
    with pytest.raises(WorkerDied):
        parallel_map(func, range(8), max_workers=2)


def test_item_that_cannot_be_unpickled() -> None:
    items = [0, deaths.RaisesWhenUnpickled(), 2]
    results = parallel_map(deaths.same, items, on_error="return")
    assert isinstance(results[1], SerializationError)
    assert [results[0], results[2]] == [0, 2]


# --- killed while sending much --------------------------------------------------------------------------

SIZE = 400_000_000


delays = pytest.mark.parametrize("delay", most_telling([0.005, 0.03, 0.0, 0.1], 2))


def killed_while_sending(kind: str, delay: float) -> None:
    func = partial(deaths.send_much_and_die, kind=kind, size=SIZE, delay=delay)
    results = parallel_map(func, range(8), max_workers=2, on_error="return", chunksize=1)
    assert [r for i, r in enumerate(results) if i != 3] == [0, 1, 2, 4, 5, 6, 7]
    if isinstance(results[3], Exception):  # else it was quicker than the killer
        check_death(results[3], "SIGKILL", 3)


@delays
@pytest.mark.parametrize("kind", ["bytes", "list"])
def test_killed_while_sending(kind: str, delay: float) -> None:
    killed_while_sending(kind, delay)


@delays
def test_killed_while_sending_an_array(delay: float) -> None:
    """In a program of its own: the threads of NumPy's BLAS would stay in this process."""
    if find_spec("numpy") is None:
        pytest.skip("NumPy is not there")
    run(
        "from tests.faults.test_table import killed_while_sending\n"
        f"killed_while_sending('array', {delay})\n"
    )


@pytest.mark.parametrize("call", ["run_in_process", "spawn_each", "submit", "imap"])
def test_killed_while_sending_elsewhere(call: str) -> None:
    func = partial(deaths.send_much_and_die, kind="list", size=SIZE, delay=0.01)
    index: int | None = 3
    with pytest.raises(WorkerDied) as caught:
        if call == "run_in_process":
            index = None
            run_in_process(func, 3)
        elif call == "spawn_each":
            spawn_each(func, range(4))
        elif call == "submit":
            index = None
            with Pool(1) as pool:
                pool.submit(func, 3).result()
        else:
            list(parallel_imap(func, range(8), max_workers=2))
    check_death(caught.value, "SIGKILL", index)


@pytest.mark.parametrize("method", METHODS)
def test_killed_in_the_middle_of_a_frame(method: str) -> None:
    """Half a frame, then the end: the socket is written to behind the worker's back."""
    with Pool(2, start_method=method) as pool:
        results = parallel_map(
            _half_a_frame, range(6), executor=pool, on_error="return", chunksize=1
        )
    check_death(results.pop(2), "SIGKILL", 2)
    assert results == [0, 1, 3, 4, 5]


def _half_a_frame(x: int) -> int:
    if x == 2:
        import os
        import stat

        for fd in map(int, os.listdir("/proc/self/fd")):
            try:
                if stat.S_ISSOCK(os.fstat(fd).st_mode):
                    os.write(fd, b"\x02\x00\x00")
            except OSError:
                continue
        deaths.by_kill()
    return x


def test_timeout_is_not_a_death() -> None:
    with pytest.raises(ItemTimeout) as caught:
        parallel_map(_forever, [1], item_timeout=0.2)
    assert caught.value.index == 0


def _forever(_x: int) -> None:
    while True:
        pass
