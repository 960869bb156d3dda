"""Callers and functions that make their surroundings difficult."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time

import pytest

from parmap import Pool, parallel_imap, parallel_map, run_in_process

from .harness import run

SQUARES = "print(parmap.parallel_map(lambda x: x * x, range(5), max_workers=2))"
SAID = "[0, 1, 4, 9, 16]\n"


def test_eight_threads_at_once() -> None:
    failures: list[BaseException] = []

    def calls(number: int) -> None:
        try:
            for _ in range(10):
                assert parallel_map(abs, range(-20, 0), max_workers=2) == [*range(20, 0, -1)]
                assert list(parallel_imap(abs, [number] * 5, max_workers=2)) == [number] * 5
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=calls, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_eight_threads_share_a_pool() -> None:
    failures: list[BaseException] = []

    def calls(number: int, pool: Pool) -> None:
        try:
            for _ in range(5):
                assert parallel_map(abs, range(-20, 0), executor=pool) == [*range(20, 0, -1)]
                assert pool.submit(abs, -number).result(30) == number
        except BaseException as error:
            failures.append(error)

    with Pool(2) as pool:
        threads = [threading.Thread(target=calls, args=(n, pool)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


# --- signals of the caller --------------------------------------------------------------------------------


def test_alarms() -> None:
    program = """
        import signal, time
        import parmap

        rings = 0
        def ring(*_):
            global rings
            rings += 1

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for _ in range(10):
            assert parmap.parallel_map(abs, range(-100, 0), max_workers=2) == [*range(100, 0, -1)]
            assert parmap.run_in_process(abs, -3) == 3
        assert len(parmap.parallel_map(bytes, [5_000_000] * 10)) == 10
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert rings > 10
        """
    run(program)


def test_alarm_that_raises() -> None:
    program = """
        import signal, time
        import parmap

        class Late(Exception):
            pass

        def ring(*_):
            raise Late

        signal.signal(signal.SIGALRM, ring)
        for pause in (0.001, 0.01, 0.05, 0.1, 0.2):
            signal.setitimer(signal.ITIMER_REAL, pause)
            try:
                parmap.parallel_map(lambda x: time.sleep(100), range(4), max_workers=2)
            except Late:
                print("late")
            assert parmap.parallel_map(abs, [-1, -2]) == [1, 2]
        """
    assert run(program) == "late\n" * 5


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_handler_that_reaps_everything(method: str) -> None:
    program = f"""
        import os, signal
        import parmap

        def reap(*_):
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                pass

        signal.signal(signal.SIGCHLD, reap)
        with parmap.Pool(2, start_method={method!r}) as pool:
            results = parmap.parallel_map(lambda x: os._exit(3) if x == 3 else x, range(8), executor=pool, on_error="return")
            print([type(r).__name__ if i == 3 else r for i, r in enumerate(results)])
        print(parmap.run_in_process(abs, -3, start_method={method!r}))
        """
    assert run(program) == "[0, 1, 2, 'WorkerDied', 4, 5, 6, 7]\n3\n"


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_sigchld_ignored(method: str) -> None:
    program = f"""
        import os, signal
        import parmap
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        with parmap.Pool(2, start_method={method!r}) as pool:
            results = parmap.parallel_map(lambda x: os._exit(3) if x == 3 else x, range(8), executor=pool, on_error="return")
            print([type(r).__name__ if i == 3 else r for i, r in enumerate(results)])
        """
    assert run(program) == "[0, 1, 2, 'WorkerDied', 4, 5, 6, 7]\n"


# --- descriptors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_closed_standard_streams(closed: tuple[int, ...], method: str) -> None:
    program = f"""
        import os, sys
        for fd in {closed!r}:
            os.close(fd)
        import parmap
        with parmap.Pool(2, start_method={method!r}) as pool:
            found = parmap.parallel_map(lambda x: x * x, range(5), executor=pool)
        open("found", "w").write(repr(found)) if 1 in {closed!r} else print(found)
        assert found == [0, 1, 4, 9, 16]
        os._exit(7)
        """
    run(program, code=7, quiet=False)


def test_started_without_standard_streams() -> None:
    """The interpreter itself starts without them, so `sys.stdout` is None."""

    def close() -> None:
        os.closerange(0, 3)

    program = """
        import os, sys
        import parmap
        assert parmap.parallel_map(lambda x: print("lost") or x * x, range(5), max_workers=2) == [0, 1, 4, 9, 16]
        assert parmap.run_in_process(abs, -3) == 3
        os._exit(7)
        """
    run(program, code=7, quiet=False, before=close)


def test_few_descriptors() -> None:
    """64 of them: enough for a few workers; for many, a clear error and no hang."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    program = """
        import parmap, time
        print(parmap.parallel_map(lambda x: x * x, range(5), max_workers=2))
        print([len(b) for b in parmap.parallel_map(bytes, [3_000_000] * 100, max_workers=2)] == [3_000_000] * 100)
        try:
            parmap.spawn_each(lambda x: time.sleep(0.1) or x, range(40))
        except (OSError, parmap.WorkerStartError) as error:
            print("refused")
        print(parmap.parallel_map(abs, [-1, -2]))
        """
    out = run(program, before=limit)
    assert out.startswith(SAID + "True\n")
    assert out.endswith("[1, 2]\n")


# --- no process, no directory, no space --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_no_process_can_be_started(method: str) -> None:
    program = f"""
        import errno, os
        import parmap

        def refuse(*_args, **_keywords):
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        fork, spawn = os.fork, os.posix_spawn
        os.fork = os.posix_spawn = refuse
        for call in (
            lambda: parmap.parallel_map(abs, [-1], executor=pool),
            lambda: list(parmap.parallel_imap(abs, [-1], executor=pool)),
            lambda: pool.submit(abs, -1).result(),
            lambda: parmap.run_in_process(abs, -1, start_method={method!r}),
            lambda: parmap.spawn_each(abs, [-1], start_method={method!r}),
        ):
            pool = parmap.Pool(2, start_method={method!r})
            try:
                print(call())
            except parmap.WorkerStartError as error:
                assert "temporarily unavailable" in str(error), error
            except BaseException as error:
                print("not a WorkerStartError:", repr(error))
            pool.shutdown()
        os.fork, os.posix_spawn = fork, spawn
        with parmap.Pool(2, start_method={method!r}) as pool:
            print(parmap.parallel_map(abs, [-1, -2], executor=pool))
        """
    assert run(program) == "[1, 2]\n"


def test_no_more_processes_for_this_user() -> None:
    """As nobody, with few processes allowed: the clean server's own fork fails."""
    if os.getuid() != 0:
        pytest.skip("only root can become nobody")
    nobody = 54_321  # a user that runs nothing else, so the limit counts this program alone

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NPROC, (4, 4))
        os.setgid(nobody)
        os.setuid(nobody)

    program = """
        import parmap, time
        try:
            print(parmap.spawn_each(lambda x: time.sleep(0.5) or x, range(20)))
        except parmap.WorkerStartError as error:
            assert "temporarily unavailable" in str(error), error
            print("refused")
        print(parmap.parallel_map(abs, [-1, -2], max_workers=1))
        """
    try:
        out = run(program, before=limit)
    except PermissionError:
        pytest.skip("nobody cannot read this checkout")
    assert out == "refused\n[1, 2]\n"


def test_deleted_directory() -> None:
    program = f"""
        import os
        import parmap
        parmap.parallel_map(abs, range(3))
        os.mkdir("here")
        os.chdir("here")
        os.rmdir("../here")
        {SQUARES}
        print(parmap.run_in_process(abs, -3))
        with parmap.Pool(2) as pool: print(pool.submit(abs, -3).result())
        """
    assert run(program) == SAID + "3\n3\n"


def test_deleted_directory_from_the_start() -> None:
    program = f"""
        import os
        os.mkdir("here")
        os.chdir("here")
        os.rmdir("../here")
        import parmap
        {SQUARES}
        """
    assert run(program) == SAID


@pytest.mark.parametrize("place", ["/nowhere/at/all", "/proc", "/dev/full"])
def test_no_temporary_directory(place: str) -> None:
    program = f"""
        import parmap
        {SQUARES}
        print(sum(map(len, parmap.parallel_map(bytes, [50_000_000] * 3))))
        """
    assert run(program, environment={"TMPDIR": place}) == SAID + "150000000\n"


def test_files_may_not_grow() -> None:
    """As on a full disk: what large buffers would go into cannot be had, so they go another way."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    program = """
        import parmap
        print(sum(map(len, parmap.parallel_map(bytes, [20_000_000] * 3, max_workers=2))))
        print(parmap.parallel_map(len, [bytes(20_000_000)] * 3, max_workers=2))
        """
    assert run(program, before=limit) == "60000000\n[20000000, 20000000, 20000000]\n"


# --- functions that make themselves at home ---------------------------------------------------------------------------


def misbehave(x: int, how: str) -> int:
    import sys
    import warnings

    if x == 3:
        if how == "close":
            os.closerange(0, 3)
        elif how == "threads":
            threading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()
        elif how == "endless thread":
            threading.Thread(target=time.sleep, args=(1e6,)).start()
        elif how == "signals":
            for number in range(1, 32):
                try:
                    signal.signal(number, signal.SIG_IGN)
                except (OSError, ValueError):
                    continue
        elif how == "block":
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
        elif how == "chdir":
            os.chdir("/")
        elif how == "limit":
            sys.setrecursionlimit(80)
        elif how == "filters":
            warnings.simplefilter("error")
        elif how == "streams":
            sys.stdout.close()
            sys.stderr.close()
        elif how == "no streams":
            sys.stdout = sys.stderr = None
        elif how == "environment":
            os.environ.clear()
        elif how == "path":
            sys.path.clear()
        elif how == "group":
            os.setpgid(0, 0)
        elif how == "session":
            try:
                os.setsid()
            except PermissionError:
                pass
        elif how == "wakeup":
            signal.set_wakeup_fd(-1)
        elif how == "print forever":
            threading.Thread(target=_chatter, daemon=True).start()
    return x * x


def _chatter() -> None:
    while True:
        print(end="")
        time.sleep(0.001)


HOMELY = [
    "close", "threads", "endless thread", "signals", "block", "chdir", "limit", "filters",
    "streams", "no streams", "environment", "path", "group", "session", "wakeup", "print forever",
]  # fmt: skip


@pytest.mark.parametrize("how", HOMELY)
def test_later_calls_are_not_affected(how: str) -> None:
    from functools import partial

    squares = [x * x for x in range(12)]
    with Pool(1) as pool:
        for _ in range(2):
            assert parallel_map(partial(misbehave, how=how), range(12), executor=pool) == squares
            assert parallel_map(state, range(2), executor=pool) == [state(0)] * 2
            assert pool.submit(abs, -3).result(20) == 3


def state(_x: int) -> tuple[str, int, int]:
    import sys
    import warnings

    return os.getcwd(), sys.getrecursionlimit(), len(warnings.filters), os.environ.get("PATH")


@pytest.mark.parametrize("end", ["exits", "comes back", "stays"])
def test_function_that_forks(end: str) -> None:
    """The forked child never speaks for the worker, and does not outlive it for long."""
    from functools import partial

    with Pool(2) as pool:
        results = parallel_map(partial(_fork, end=end), range(12), executor=pool, on_error="return")
        assert results == list(range(12))
        assert parallel_map(abs, range(5), executor=pool) == list(range(5))


def _fork(x: int, end: str) -> int:
    if x % 4 == 1:
        pid = os.fork()
        if pid == 0:
            if end == "exits":
                os._exit(0)
            if end == "stays":
                time.sleep(2)
                os._exit(0)
            return -1
        if end != "stays":
            os.waitpid(pid, 0)
    return x


def test_run_in_process_with_an_endless_daemon_thread() -> None:
    assert run_in_process(misbehave, 3, "threads") == 9
