"""A worker, or the clean server, dies: when and how, under each start method."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from functools import partial
from random import Random

import pytest

import parmap
from parmap import (
    Pool,
    WorkerDied,
    WorkerStartError,
    _process,
    parallel_imap,
    parallel_map,
    run_in_process,
    spawn_each,
)
from parmap._plan import _call

from . import deaths
from .harness import most_telling, until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

METHODS = ("forkserver", "spawn", "fork")
WAYS = most_telling(["SIGKILL", "exit 0", "SIGSEGV", "exit 3"], 2)

every_method = pytest.mark.parametrize("method", METHODS)
every_way = pytest.mark.parametrize("how", WAYS)


def pids_of(pool: Pool | None = None, count: int = 2) -> set[int]:
    """The pids of all workers: items that wait for each other, so that no worker takes two."""
    found = parallel_map(
        _pid_slowly, range(4 * count), executor=pool, max_workers=count, chunksize=1
    )
    return set(found)


def _pid_slowly(_x: int) -> int:
    time.sleep(0.03)
    return os.getpid()


def kill_and_wait(pid: int, number: int = signal.SIGKILL) -> None:
    os.kill(pid, number)
    assert until(lambda: is_gone(pid))


def is_gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def end_clean_server(pids: set[int], number: int = signal.SIGKILL) -> None:
    (server,) = {parent_of(pid) for pid in pids}
    assert deaths.kill_clean_server(server, number)
    assert until(lambda: is_gone(server))


# --- idle between calls ---------------------------------------------------------------------------------


@every_method
def test_idle_worker_killed(method: str) -> None:
    with Pool(2, start_method=method) as pool:
        for _ in range(3):
            pids = pids_of(pool)
            for pid in pids:
                kill_and_wait(pid)
            assert parallel_map(abs, range(-5, 5), executor=pool) == [*map(abs, range(-5, 5))]
            assert pool.submit(abs, -3).result(20) == 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_warm_workers_killed_between_calls(number: int) -> None:
    for _ in range(3):
        for pid in pids_of():
            kill_and_wait(pid, number)
        assert parallel_map(abs, range(-5, 5)) == [*map(abs, range(-5, 5))]
        assert list(parallel_imap(abs, range(-5, 5))) == [*map(abs, range(-5, 5))]


def test_last_worker_killed_at_the_very_moment_of_a_call() -> None:
    """No wait between the kill and the call: the call finds out by itself, and nobody is charged."""
    for _ in range(10):
        for pid in pids_of():
            os.kill(pid, signal.SIGKILL)
        assert parallel_map(abs, range(-5, 5)) == [*map(abs, range(-5, 5))]


def test_stopped_worker_killed_between_calls() -> None:
    for pid in pids_of():
        os.kill(pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
    assert parallel_map(abs, range(-5, 5)) == [*map(abs, range(-5, 5))]


def test_pool_whose_worker_dies_while_it_waits_for_tasks() -> None:
    with Pool(1) as pool:
        for _ in range(5):
            pid = pool.submit(os.getpid).result(20)
            os.kill(pid, signal.SIGKILL)
            assert pool.submit(os.getpid).result(20) != pid


# --- the clean server -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_clean_server_killed_between_calls(number: int) -> None:
    for _ in range(3):
        parmap.shutdown()  # so that no worker of an earlier server is among them
        pids = pids_of()
        end_clean_server(pids, number)
        assert parallel_map(abs, range(-5, 5)) == [*map(abs, range(-5, 5))]
        assert run_in_process(abs, -3) == 3
        assert spawn_each(abs, [-3, -4]) == [3, 4]


def test_clean_server_and_workers_killed_between_calls() -> None:
    parmap.shutdown()
    pids = pids_of()
    end_clean_server(pids)
    for pid in pids:
        kill_and_wait(pid)
    assert parallel_map(abs, range(-5, 5)) == [*map(abs, range(-5, 5))]
    assert run_in_process(abs, -3) == 3


def test_clean_server_killed_during_a_call(tmp_path) -> None:
    parmap.shutdown()
    func = partial(_kill_parent_once, file=str(tmp_path / "done"))
    results = parallel_map(func, range(20), max_workers=2, on_error="return", retries=2)
    assert results == list(range(20))
    assert pids_of()


def _kill_parent_once(x: int, file: str) -> int:
    if x == 5 and deaths.first_time(file):
        assert deaths.kill_clean_server(os.getppid())
    time.sleep(0.02)
    return x


def test_clean_server_and_worker_killed_during_a_call(tmp_path) -> None:
    parmap.shutdown()
    func = partial(_kill_parent_and_self, file=str(tmp_path / "done"))
    assert parallel_map(func, range(20), max_workers=2, retries=2) == list(range(20))
    parmap.shutdown()
    results = parallel_map(
        partial(_kill_parent_and_self, file=str(tmp_path / "again")),
        range(20),
        max_workers=2,
        on_error="return",
    )
    assert isinstance(results[5], WorkerDied)
    assert [r for i, r in enumerate(results) if i != 5] == [i for i in range(20) if i != 5]


def _kill_parent_and_self(x: int, file: str) -> int:
    if x == 5 and deaths.first_time(file):
        assert deaths.kill_clean_server(os.getppid())
        deaths.by_kill()
    return x


# --- starting and setting up ------------------------------------------------------------------------------


@every_method
@every_way
def test_initializer_dies(method: str, how: str) -> None:
    with Pool(2, start_method=method, initializer=deaths.die, initargs=(how,)) as pool:
        with pytest.raises(WorkerStartError):
            parallel_map(abs, range(4), executor=pool)
        with pytest.raises(WorkerStartError):
            pool.submit(abs, -1).result(20)


@every_method
def test_initializer_raises(method: str) -> None:
    with Pool(2, start_method=method, initializer=_raises) as pool:
        with pytest.raises(WorkerStartError, match="no database"):
            parallel_map(abs, range(4), executor=pool)
        with pytest.raises(WorkerStartError, match="no database"):
            list(parallel_imap(abs, range(4), executor=pool))
        with pytest.raises(WorkerStartError, match="no database"):
            pool.submit(abs, -1).result(20)
        with pytest.raises(WorkerStartError, match="no database"):
            pool.submit(abs, -1).result(20)


def _raises() -> None:
    raise LookupError("no database")


def _until_told(said: pytest.WarningsRecorder) -> Iterator[int]:
    """As many items as it takes until others have been tried in vain, on a busy machine."""
    for n in range(4000):
        if n > 40 and len(said):
            return
        yield n


@pytest.fixture
def soon(monkeypatch) -> None:
    """Let a call soon try again to start workers."""
    monkeypatch.setattr(_call, "RETRY", 0.1)


@pytest.mark.usefixtures("soon")
def test_a_call_goes_on_with_the_worker_that_could_be_set_up(tmp_path) -> None:
    with Pool(3, initializer=_take_licence, initargs=(str(tmp_path / "taken"),)) as pool:
        with pytest.warns(RuntimeWarning, match="goes on with fewer workers: .*no licence") as said:
            results = parallel_map(_slowly, _until_told(said), executor=pool, chunksize=1)
        assert results == [*range(len(results))]
        assert len(said) == 1
        # Here warnings are errors; but nobody is there to be told.
        tasks = [pool.submit(_slowly, x) for x in range(10)]
        assert [task.result(20) for task in tasks] == [*range(10)]


@pytest.mark.usefixtures("soon")
def test_a_call_goes_on_with_the_worker_for_which_there_was_room(monkeypatch) -> None:
    fork, left = _process.Server.fork, [1]

    def fork_one(*arguments):
        if not left:
            raise OSError(errno.EAGAIN, "no room")
        child = fork(*arguments)
        left.clear()  # not before: the clean server may have ended in another test, and another is asked
        return child

    monkeypatch.setattr(_process.Server, "fork", fork_one)
    with (
        Pool(3) as pool,
        pytest.warns(RuntimeWarning, match="goes on with fewer workers: .*no room") as said,
    ):
        results = parallel_map(_slowly, _until_told(said), executor=pool, chunksize=1)
    assert results == [*range(len(results))]


def _take_licence(file: str) -> None:
    if not deaths.first_time(file):
        raise LookupError("no licence")


def _slowly(x: int) -> int:
    time.sleep(0.03)
    return x


def test_initializer_dies_once(tmp_path) -> None:
    with Pool(2, initializer=_die_first, initargs=(str(tmp_path / "died"),)) as pool:
        assert parallel_map(abs, range(-5, 5), executor=pool) == [*map(abs, range(-5, 5))]


def _die_first(file: str) -> None:
    if deaths.first_time(file):
        deaths.by_kill()


@every_method
def test_killed_while_starting(method: str, tmp_path) -> None:
    """From outside, while the initializer runs: others take its place, and nobody is charged."""
    file = tmp_path / "pid"

    def kill() -> None:
        assert until(lambda: file.exists() and file.read_text())
        os.kill(int(file.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with Pool(2, start_method=method, initializer=_say_pid, initargs=(str(file),)) as pool:
        results = parallel_map(abs, range(-5, 5), executor=pool)
    killer.join()
    assert results == [*map(abs, range(-5, 5))]


def _say_pid(file: str) -> None:
    if deaths.first_time(file):
        with open(file, "w") as out:
            out.write(str(os.getpid()))
        time.sleep(30)


def test_killed_before_it_has_begun_anything(tmp_path) -> None:
    """While it unpickles the function, with its first items sent: no item has begun, none is charged."""
    file = tmp_path / "pid"

    def kill() -> None:
        assert until(lambda: file.exists() and file.read_text())
        os.kill(int(file.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with Pool(1) as pool:
            func = partial(_second, SlowlyUnpickled(str(file)))
            assert parallel_map(func, range(3), executor=pool) == [0, 1, 2]
    finally:
        killer.join()


def test_who_never_comes_to_begin_anything_names_the_item() -> None:
    """Worker after worker dies of the function: item after item fails for it, each by its number."""
    func = partial(_second, deaths.DiesWhenUnpickled("SIGKILL"))
    with Pool(1) as pool:
        results = parallel_map(func, range(3), executor=pool, on_error="return")
        assert [type(result) for result in results] == [WorkerDied] * 3
        assert [result.index for result in results] == [0, 1, 2]
        with pytest.raises(WorkerDied) as caught:
            parallel_map(func, range(3), executor=pool)
    assert caught.value.index == 0


def _second(_x: object, y: int) -> int:
    return y


class SlowlyUnpickled:
    """For the first time it takes long, anywhere but here."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.pid = os.getpid()

    def __reduce__(self):
        return _unpickle_slowly, (self.file, self.pid)


def _unpickle_slowly(file: str, pid: int) -> None:
    if os.getpid() != pid:
        _say_pid(file)


# --- before, during and after an item ---------------------------------------------------------------------


@every_method
def test_killed_from_outside_while_running(method: str, tmp_path) -> None:
    def kill() -> None:
        assert until(lambda: (tmp_path / "4").exists() and (tmp_path / "4").read_text())
        os.kill(int((tmp_path / "4").read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with Pool(2, start_method=method) as pool:
        results = parallel_map(
            partial(_hang_at_4, directory=str(tmp_path)),
            range(10),
            executor=pool,
            on_error="return",
        )
    killer.join()
    died = results.pop(4)
    assert isinstance(died, WorkerDied)
    assert (died.index, died.signal) == (4, "SIGKILL")
    assert results == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def _hang_at_4(x: int, directory: str) -> int:
    if x == 4:
        with open(f"{directory}/{x}", "w") as out:
            out.write(str(os.getpid()))
        time.sleep(1e6)
    return x


def test_dies_between_items() -> None:
    """A thread that an item leaves behind kills the worker later: whoever is charged, all is answered."""
    results = parallel_map(_die_later, range(60), max_workers=2, on_error="return")
    assert len(results) == 60
    for index, result in enumerate(results):
        if isinstance(result, Exception):
            assert isinstance(result, WorkerDied)
            assert result.index == index
        else:
            assert result == index
    results = parallel_map(_die_later, range(60), max_workers=2, retries=30)
    assert results == list(range(60))


def _die_later(x: int) -> int:
    if x % 20 == 3:
        threading.Timer(0.02, deaths.by_kill).start()
    time.sleep(0.005)
    return x


def test_dies_after_the_last_item() -> None:
    for _ in range(3):
        assert parallel_map(_die_soon, range(4), max_workers=2) == list(range(4))
        time.sleep(0.4)


def _die_soon(x: int) -> int:
    if x == 3:
        threading.Timer(0.3, deaths.by_exit_0).start()
    return x


@every_method
def test_dies_at_its_exit(method: str) -> None:
    with Pool(2, start_method=method) as pool:
        assert parallel_map(_register_death, range(4), executor=pool) == list(range(4))
    assert run_in_process(_register_death, 3, start_method=method) == 3
    assert spawn_each(_register_death, [3, 4], start_method=method) == [3, 4]


def _register_death(x: int) -> int:
    import atexit

    atexit.register(deaths.by_kill)
    return x


def test_never_ends_at_its_exit() -> None:
    """A grace, then SIGTERM, then SIGKILL."""
    pool = Pool(1)
    assert pool.submit(_register_sleep).result(20) == 1
    pool.shutdown()


def _register_sleep() -> int:
    import atexit

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    atexit.register(time.sleep, 1e6)
    return 1


def test_leaves_its_connection_and_lives_on() -> None:
    results = parallel_map(_close_all, range(6), max_workers=2, on_error="return")
    died = results.pop(2)
    assert isinstance(died, WorkerDied), repr(died)
    assert died.index == 2
    assert results == [0, 1, 3, 4, 5]


def _close_all(x: int) -> int:
    if x == 2:
        os.closerange(3, 1000)
        time.sleep(0.2)
    return x


def test_several_at_once() -> None:
    for _ in range(3):
        pids = pids_of(count=4)
        results = parallel_map(
            partial(_kill_others, pids=pids), range(40), max_workers=4, retries=10
        )
        assert results == list(range(40))


def _kill_others(x: int, pids: set[int]) -> int:
    if x == 5:
        for pid in pids - {os.getpid()}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    return x


def test_worker_that_is_stopped_does_not_block_shutdown() -> None:
    with Pool(1) as pool:
        pid = pool.submit(os.getpid).result(20)
        os.kill(pid, signal.SIGSTOP)
    assert is_gone(pid)


def test_max_tasks_per_child_and_deaths(tmp_path) -> None:
    func = partial(_die_often, directory=str(tmp_path))
    with Pool(2, max_tasks_per_child=3) as pool:
        found = parallel_map(func, range(60), executor=pool, retries=3)
        assert [x for x, _ in found] == list(range(60))
        # Those that died ran others before, and what they had finished is not forgotten.
        assert max(Counter(pid for _, pid in found).values()) <= 3
        futures = [pool.submit(func, x) for x in range(20)]
        assert [future.result(20)[0] for future in futures] == list(range(20))
        assert max(Counter(future.result()[1] for future in futures).values()) <= 3


def _die_often(x: int, directory: str) -> tuple[int, int]:
    if x % 7 == 0 and deaths.first_time(f"{directory}/{x}"):
        deaths.by_kill()
    return x, os.getpid()


def test_idle_workers_end() -> None:
    with Pool(2, idle_timeout=0.05) as pool:
        pids = pids_of(pool)
        assert until(lambda: all(is_gone(pid) for pid in pids), 5)
        assert not pids & pids_of(pool)  # others take their place


def test_workers_that_end_when_idle_while_calls_go_on() -> None:
    """Calls come when workers are about to go, are going, or have just gone."""
    idle, random, pids = 0.01, Random(1), set[int]()
    with Pool(2, idle_timeout=idle) as pool:
        over = time.monotonic() + 20
        while len(pids) < 30:
            assert time.monotonic() < over, f"only {len(pids)} workers in 20 s"
            assert parallel_map(abs, range(-5, 5), executor=pool) == [*map(abs, range(-5, 5))]
            time.sleep(random.uniform(0.9, 1.2) * idle)
            pids.add(pool.submit(os.getpid).result(20))
            time.sleep(random.uniform(0.9, 1.2) * idle)


def test_memory_limit_names_the_reason() -> None:
    with Pool(1, memory_limit=200_000_000) as pool:
        results = parallel_map(_eat, [1, 600, 1], executor=pool, on_error="return")
    assert [results[0], results[2]] == [1, 1]
    assert isinstance(results[1], WorkerDied)
    assert results[1].reason == "memory"
    assert results[1].index == 1


def _eat(megabytes: int) -> int:
    held = bytearray(b"x") * (megabytes * 1_000_000)
    time.sleep(0 if megabytes < 100 else 30)
    return len(held) // 1_000_000


def test_a_clean_server_that_another_thread_has_closed() -> None:
    """Which is what a thread finds that was just about to ask it for a worker."""
    server = _process.Server(())
    sock = server._channel.sock
    server.close(wait=True)
    with pytest.raises(OSError, match="Bad file descriptor"):
        _process._write_when_possible(sock)


def test_an_orphan_of_a_dead_item_is_gone(tmp_path) -> None:
    """What an item has started dies with its worker."""
    file = tmp_path / "pid"
    with pytest.raises(WorkerDied):
        parallel_map(partial(_start_and_die, file=str(file)), [1])
    pid = int(file.read_text())
    assert until(lambda: is_gone(pid))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_orphan_of_a_process_of_multiprocessing_is_gone(tmp_path, method) -> None:
    file = tmp_path / "pid"
    lock = multiprocessing.get_context(method).Lock()  # by which it becomes one
    with pytest.raises(WorkerDied):
        run_in_process(partial(_start_and_die, file=str(file)), lock, start_method=method)
    pid = int(file.read_text())
    assert until(lambda: is_gone(pid))


def _start_and_die(_x: object, file: str) -> None:
    import subprocess

    child = subprocess.Popen(["sleep", "1000"])
    with open(file, "w") as out:
        out.write(str(child.pid))
    deaths.by_kill()


@pytest.fixture(autouse=True, scope="module")
def _end_warm_workers():
    yield
    parmap.shutdown()
