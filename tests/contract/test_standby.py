"""A process that waits for the next `run_in_process` is as fresh as any, and nobody's loss."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

import parmap
from parmap import _cpus, _standby, _stdlib, run_in_process
from parmap._link import Link
from parmap._registry import registry
from parmap._stock import NoWorker, Stock

STATE: list[int] = []


def pid_and_state(addition):
    """Changes what a process that ran something else before would find changed."""
    STATE.append(addition)
    return os.getpid(), list(STATE)


def surroundings(name):
    return os.getpid(), os.getcwd(), os.environ.get(name), sys.path[-1], sys.getrecursionlimit()


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def empty():
    """Let nobody wait, and this be a program that has called nothing."""
    while _standby._waiting:
        _standby._waiting.pop().close(for_good=True)
    _standby._called = -_standby.IDLE


@pytest.fixture(autouse=True)
def _nobody_waits():
    empty()
    yield
    empty()


def waits():
    """The worker that waits, once it is there."""
    (stock,) = _standby._waiting
    (link,) = stock._idle
    while not link.ready:
        link.hear()
    return link


def _idle():
    return [link for stock in _standby._waiting for link in stock._idle]


def call_twice(func=os.getpid, *args):
    for _ in range(2):
        run_in_process(func, *args)


def test_who_has_called_once_has_nobody_wait():
    run_in_process(os.getpid)
    assert not _standby._waiting


def test_the_third_call_finds_one():
    call_twice()
    pid = waits().child.pid
    assert run_in_process(os.getpid) == pid
    assert waits().child.pid != pid


def test_who_calls_seldom_has_nobody_wait(monkeypatch):
    run_in_process(os.getpid)
    monkeypatch.setattr(_standby, "_called", time.monotonic() - _standby.IDLE - 1)
    run_in_process(os.getpid)
    assert not _standby._waiting


def test_each_call_has_a_process_of_its_own():
    told = [run_in_process(pid_and_state, number) for number in range(8)]
    assert [state for _, state in told] == [[number] for number in range(8)]
    assert len({pid for pid, _ in told}) == 8
    assert not any(is_alive(pid) for pid, _ in told)


def test_it_adopts_what_has_changed_meanwhile(tmp_path, monkeypatch):
    call_twice(surroundings, "PARMAP_TEST_STANDBY")
    pid = waits().child.pid
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARMAP_TEST_STANDBY", "yes")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 123)
    try:
        told, *rest = run_in_process(surroundings, "PARMAP_TEST_STANDBY")
    finally:
        sys.setrecursionlimit(limit)
    assert told == pid
    assert rest == [os.path.realpath(tmp_path), "yes", str(tmp_path), limit + 123]


def test_one_that_was_killed_is_not_used():
    call_twice()
    pid = waits().child.pid
    os.kill(pid, signal.SIGKILL)
    while is_alive(pid):
        time.sleep(0.01)
    assert run_in_process(os.getpid) != pid
    assert run_in_process(os.getpid) != pid


def test_one_that_nobody_comes_for_ends(monkeypatch):
    monkeypatch.setattr(_standby.KIND, "idle_timeout", 0.1)
    call_twice()
    (stock,) = _standby._waiting
    (link,) = stock._idle
    assert link._poller.poll(20_000)
    while not link.left:
        link.hear()
    while is_alive(link.child.pid):
        time.sleep(0.01)
    assert run_in_process(os.getpid) != link.child.pid


def test_it_is_not_used_where_the_number_of_processors_has_changed(monkeypatch):
    call_twice()
    pid = waits().child.pid
    monkeypatch.setattr(_cpus, "available_cpus", lambda: 77)
    assert run_in_process(os.getpid) != pid
    assert not is_alive(pid)


def test_it_is_not_used_by_who_wants_another_kind():
    call_twice()
    pid = waits().child.pid
    assert run_in_process(os.getpid, name="mine") != pid
    assert run_in_process(os.getpid, start_method="spawn") != pid
    assert parmap.spawn_each(os.kill, [0], [0]) == [None]
    assert is_alive(pid)
    assert run_in_process(os.getpid) == pid


def test_it_ends_where_the_next_function_needs_what_it_has_not_imported(monkeypatch):
    parmap.shutdown()  # the clean server may have imported it for another test
    call_twice()
    pid = waits().child.pid
    monkeypatch.setattr(_stdlib, "wanted", lambda _: {"graphlib"})
    assert run_in_process(lambda: "graphlib" in sys.modules and os.getpid()) not in (False, pid)
    assert not is_alive(pid)


def test_shutdown_ends_it():
    call_twice()
    pid = waits().child.pid
    parmap.shutdown()
    assert not is_alive(pid)
    assert run_in_process(os.getpid) != pid


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_leaves_it_to_its_parent():
    call_twice()
    pid = waits().child.pid
    child = os.fork()
    if not child:
        code = 1
        try:
            code = int(pid in [run_in_process(os.getpid) for _ in range(3)])
        finally:
            parmap.shutdown()
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert is_alive(pid)
    assert run_in_process(os.getpid) == pid


def test_threads_do_not_share_one():
    pids: list[int] = []

    def call():
        for _ in range(10):
            pids.append(run_in_process(os.getpid))

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == len(set(pids)) == 60


def test_it_is_not_used_where_a_limit_on_threads_was_set(monkeypatch):
    call_twice(os.environ.get, "OPENBLAS_NUM_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert run_in_process(os.environ.get, "OPENBLAS_NUM_THREADS") is None


def test_it_is_not_used_where_the_server_that_it_came_from_has_ended():
    call_twice(os.getppid)
    server = waits() and _standby._waiting[0]._server
    os.kill(server.pid, signal.SIGKILL)
    os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
    assert run_in_process(os.getppid) not in (server.pid, 1)
    with pytest.raises(parmap.WorkerDied) as caught:
        run_in_process(os._exit, 3)
    assert caught.value.exitcode == 3


def test_nobody_waits_who_would_have_to_import_something(program):
    """A category that is to be imported since warnings are errors, when a function may have changed it."""
    (program.folder / "mine.py").write_text("class Category(Warning): pass\nstate = 1\n", "utf-8")
    program.run(
        """
        import pathlib, warnings
        import mine
        import parmap
        from parmap import _standby

        def state(_):
            import mine
            return mine.state

        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=mine.Category)
        for _ in range(3):
            assert parmap.run_in_process(state, 0) == 1
        assert not _standby._waiting
        """,
        flags=(),
    )


def test_surroundings_that_do_not_fit_into_a_socket(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program", *(f"{n:04}" * 20 for n in range(10_000))])
    for _ in range(6):
        assert run_in_process(abs, -1) == 1
        # Nobody would send it the rest, and it would not hear that it is to end.
        assert not any(link.channel.sending for link in _idle())


def stocks():
    return [stock for stock in registry._stocks if stock.kind is _standby.KIND]


def test_where_none_can_be_started_the_call_is_no_worse_for_it(monkeypatch):
    begin = Stock._begin
    begun: list[None] = []

    def begins(self, number, tenant):
        begun.append(None)
        if len(begun) > 1 and len(begun) % 2:  # from the second call on, which is second and third
            raise NoWorker
        return begin(self, number, tenant)

    monkeypatch.setattr(Stock, "_begin", begins)
    for _ in range(5):
        assert run_in_process(abs, -3) == 3
    assert len(begun) == 9
    assert not _standby._waiting
    assert not stocks()


@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError, MemoryError])
@pytest.mark.parametrize("what", ["_begin", "hello"])
def test_who_is_interrupted_while_it_is_started_leaves_nothing(monkeypatch, error, what):
    owner = Stock if what == "_begin" else Link
    act = getattr(owner, what)
    acted: list[None] = []

    def interrupted(self, *args):
        answer = act(self, *args)
        acted.append(None)
        if len(acted) == 3:  # the second call's own was the second
            raise error
        return answer

    monkeypatch.setattr(owner, what, interrupted)
    run_in_process(abs, -1)
    with pytest.raises(error):
        run_in_process(abs, -2)
    assert not stocks()
    assert run_in_process(abs, -3) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError])
def test_who_is_interrupted_as_he_takes_it_leaves_nothing(monkeypatch, error):
    call_twice()
    pid = waits().child.pid

    def interrupted(*_):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Stock, "warm_up", interrupted)
        with pytest.raises(error):
            run_in_process(abs, -3)
    assert not stocks()
    assert not is_alive(pid)
    assert run_in_process(abs, -3) == 3
