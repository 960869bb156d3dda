"""Memory: workers that grow are replaced between items; who was killed for memory is named so."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path

import pytest

import parmap
from parmap import (
    ItemTimeout,
    Pool,
    WorkerDied,
    WorkerStartError,
    _loop,
    _memory,
    _oom,
    parallel_imap,
    parallel_map,
    run_in_process,
    spawn_each,
)

from . import deaths
from .harness import Program, until

MEGABYTE = 1 << 20

#: What a worker may grow by.
ROOM = 60 * MEGABYTE

_held: list[bytearray] = []  # in a worker


def hold(megabytes: int) -> None:
    _held.append(bytearray(b"x") * (megabytes * MEGABYTE))


# --- memory_limit within a chunk ------------------------------------------------------------------------


@pytest.fixture
def limit() -> int:
    """So many bytes that a worker can hold `ROOM` more than it has to."""
    (own,) = spawn_each(_resident, [0])
    return own + ROOM


def _resident(_x: int) -> int:
    return _memory.resident()


def grow(x: int, directory: str, fails: bool = False) -> tuple[int, int, int]:
    """Leave 4 MB behind; say that this item ran."""
    with open(f"{directory}/{x}", "ab") as file:
        file.write(b".")
    hold(4)
    time.sleep(0.003)
    if fails:
        raise LookupError(x, os.getpid(), _memory.resident())
    return x, os.getpid(), _memory.resident()


@pytest.mark.parametrize("fails", [False, True])
def test_a_worker_that_grows_within_a_chunk_is_replaced(
    fails: bool, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that the caller, which looks after 0.1 s otherwise, always sees it first, and must wait.
    monkeypatch.setattr(_loop, "_MEMORY_LOOK", 0.001)
    monkeypatch.setattr(_loop, "_MEMORY_AGAIN", 4.0)
    monkeypatch.setattr(_loop, "_MEMORY_MERCY", 8.0)
    func = partial(grow, directory=str(tmp_path), fails=fails)
    with Pool(1, memory_limit=limit) as pool:
        found = parallel_map(func, range(100), executor=pool, chunksize=100, on_error="return")
    said = [result.args if fails else result for result in found]
    assert [x for x, _, _ in said] == list(range(100))
    assert {file.read_bytes() for file in tmp_path.iterdir()} == {b"."}  # once each
    assert len(list(tmp_path.iterdir())) == 100
    # 400 MB in all, in workers of 60 MB each, and what comes in between two looks.
    assert len({pid for _, pid, _ in said}) >= 4
    assert max(resident for _, _, resident in said) < limit + ROOM


def test_who_is_too_large_from_the_first_gets_on(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker leaves after its first item, not before it: each of them would, for ever."""
    monkeypatch.setattr(_loop, "_MEMORY_AGAIN", 60.0)  # it may take its time to load the function
    monkeypatch.setattr(_loop, "_MEMORY_MERCY", 60.0)
    func = partial(_add_length, b"x" * 2 * ROOM)
    with Pool(1, memory_limit=limit) as pool:
        found = parallel_map(func, range(6), executor=pool, chunksize=3, timeout=20)
    assert found == [2 * ROOM + x for x in range(6)]


def _add_length(held: bytes, x: int) -> int:
    return len(held) + x


def test_who_never_looks_is_killed_after_a_while(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiny items come in long runs, which nothing interrupts; when they turn out large, the caller does."""
    monkeypatch.setattr(_loop, "_MEMORY_LOOK", 0.01)
    monkeypatch.setattr(_loop, "_MEMORY_MERCY", 0.1)
    with Pool(1, memory_limit=limit) as pool:
        found = parallel_map(
            _turn_large, range(3000), executor=pool, chunksize=3000, on_error="return"
        )
    died = [result for result in found if isinstance(result, WorkerDied)]
    assert died
    assert {error.reason for error in died} == {"memory"}
    assert [x for x in found if x not in died] == [
        x for x, result in enumerate(found) if result not in died
    ]


def _turn_large(x: int) -> int:
    if 2000 <= x < 2150:
        hold(1)
        time.sleep(0.005)
    return x


# --- killed by the system: with a count of our own -----------------------------------------------------


@pytest.fixture
def count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file that counts kills as a control group's does."""
    file = tmp_path / "memory.events"
    file.write_text("oom 0\noom_kill 0\n")
    monkeypatch.setattr(_oom, "_file", str(file))
    monkeypatch.setattr(_oom, "_explained", 0)
    parmap.shutdown()  # warm workers were counted elsewhere when they were started
    return str(file)


def fall(x: int, file: str = "", how: str = "SIGKILL", at: int = 2) -> int:
    """Item `at` dies; if there is a file, it says that the system has killed somebody."""
    if x == at:
        if file:
            kills = int(Path(file).read_text().split()[-1])
            Path(file).write_text(f"oom 0\noom_kill {kills + 1}\n")
        deaths.die(how)
    return x


def check_named(error: object, index: int | None) -> None:
    assert isinstance(error, WorkerDied)
    assert (error.index, error.reason, error.signal) == (index, "memory", "SIGKILL")
    assert str(error).endswith(": memory had run out (fewer workers or smaller items need less)")


def test_killed_by_the_system(count: str) -> None:
    func = partial(fall, file=count)
    for _ in range(2):
        found = parallel_map(func, range(5), max_workers=2, on_error="return")
        check_named(found[2], 2)
        with pytest.raises(WorkerDied) as caught:
            list(parallel_imap(func, range(5), max_workers=2))
        check_named(caught.value, 2)
    with pytest.raises(WorkerDied) as caught:
        run_in_process(func, 2)
    check_named(caught.value, None)
    found = spawn_each(func, range(3), on_error="return")
    check_named(found[2], 2)
    with Pool(1) as pool:
        check_named(pool.submit(func, 2).exception(20), None)


def test_killed_by_somebody_else(count: str) -> None:
    found = parallel_map(partial(fall, file=count), range(5), max_workers=2, on_error="return")
    check_named(found[2], 2)
    for _ in range(2):  # and that one death does not explain another
        found = parallel_map(fall, range(5), max_workers=2, on_error="return")
        assert found[2].reason == "signal"
        assert "memory" not in str(found[2])


@pytest.mark.parametrize("how", ["SIGSEGV", "exit 3"])
def test_other_ends_are_not_the_systems(count: str, how: str) -> None:
    func = partial(fall, file=count, how=how)
    found = parallel_map(func, range(5), max_workers=2, on_error="return")
    assert found[2].reason == deaths.DEATHS[how][3]


def test_what_we_kill_is_not_the_systems(count: str) -> None:
    func = partial(_count_and_hang, file=count)
    found = parallel_map(func, range(2), max_workers=2, item_timeout=0.2, on_error="return")
    assert [type(error) for error in found] == [ItemTimeout, ItemTimeout]


def _count_and_hang(_x: int, file: str) -> None:
    Path(file).write_text("oom 0\noom_kill 9\n")
    time.sleep(1e6)


def test_killed_while_starting(count: str) -> None:
    with (
        Pool(1, initializer=fall, initargs=(2, count)) as pool,
        pytest.raises(WorkerStartError, match=r"SIGKILL while it was starting: memory had run out"),
    ):
        parallel_map(abs, range(4), executor=pool)


# --- killed by the system indeed ------------------------------------------------------------------------


@pytest.fixture
def group():
    """A control group of our own below ours that may hold 200 MB; it is left as soon as it is empty."""
    made = _make_group(200 * MEGABYTE)
    yield made
    assert until(lambda: not (made / "cgroup.procs").read_text())
    made.rmdir()


def _make_group(limit: int) -> Path:
    if sys.platform != "linux":
        pytest.skip("control groups are Linux's")
    where = Path(_oom.find())
    name = {"memory.events": "memory.max", "memory.oom_control": "memory.limit_in_bytes"}
    if where.name not in name:
        pytest.skip("this process is in no control group that counts memory")
    made = where.parent / f"parmap-tests-{os.getpid()}"
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    try:
        (made / name[where.name]).write_text(str(limit))
        for swap in ("memory.swap.max", "memory.swappiness"):
            if (made / swap).exists():
                (made / swap).write_text("0")
    except OSError as error:  # v2: the groups above do not hand the controller down
        made.rmdir()
        pytest.skip(f"a control group's memory cannot be limited: {error}")
    return made


def test_killed_by_the_system_indeed(group: Path) -> None:
    source = """
        import parmap

        def take(x):
            return len(bytearray(b"x") * 600_000_000) if x == 2 else x

        for _ in range(2):
            found = parmap.parallel_map(take, range(5), max_workers=2, on_error="return")
            assert [x for i, x in enumerate(found) if i != 2] == [0, 1, 3, 4], found
            error = found[2]
            assert (error.index, error.reason, error.signal) == (2, "memory", "SIGKILL"), repr(error)
            assert "memory had run out" in str(error), error
        print("named")
        """

    def enter() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))

    with Program(source, before=enter) as program:
        assert program.ended_well() == "named\n"
