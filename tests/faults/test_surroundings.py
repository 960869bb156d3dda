"""Callers and functions that make their surroundings difficult."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time

import pytest

from parmap import Pool, WorkerDied, parallel_imap, parallel_map, run_in_process, spawn_each

from .harness import Program, most_telling, run, until

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


@pytest.mark.parametrize("how", ["main", "group", "item"])
def test_one_of_eight_threads_is_interrupted(how: str) -> None:
    """By Ctrl-C, which the main thread gets, or by an item's KeyboardInterrupt: the others go on."""
    program = f"""
        import os, signal, threading, time
        import parmap

        def slow(x):
            open("begun", "w").close()
            time.sleep(1e6)

        def interrupted(x):
            raise KeyboardInterrupt

        found = []
        def calls(number):
            for n in range(6):
                found.append(parmap.parallel_map(lambda x: time.sleep(0.01) or x, range(n, n + 8), max_workers=2) == [*range(n, n + 8)])

        threads = [threading.Thread(target=calls, args=(n,)) for n in range(7)]
        for thread in threads:
            thread.start()
        def interrupt():
            while not os.path.exists("begun"):
                time.sleep(0.01)
            (os.kill if {how == "main"} else os.killpg)(os.getpid(), signal.SIGINT)
        if {how != "item"}:
            threading.Thread(target=interrupt).start()
        try:
            parmap.parallel_map({"interrupted" if how == "item" else "slow"}, range(2), max_workers=2)
        except KeyboardInterrupt:
            print("interrupted")
        for thread in threads:
            thread.join()
        print(found == [True] * 42, parmap.parallel_map(abs, [-1]))
        """
    assert run(program) == "interrupted\nTrue [1]\n"


# --- threads and locks of the caller ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_busy_threads_that_hold_locks(method: str) -> None:
    """Whatever they hold at the moment of a fork, nobody in a worker waits for it."""
    program = f"""
        import json, logging, os, random, sys, tempfile, threading, warnings
        import parmap

        warnings.simplefilter("ignore")  # of Python's own about forks beside threads
        logging.basicConfig(stream=open(os.devnull, "w"))
        held = threading.Lock()
        stop = threading.Event()

        def busy(what):
            while not stop.is_set():
                if what == "log":
                    logging.warning("busy")
                elif what == "print":
                    print("busy" * 100, file=sys.__stderr__)
                elif what == "hold":
                    with held:
                        stop.wait(0.001)
                elif what == "import":
                    sys.modules.pop("this_one", None)
                    import this_one
                elif what == "memory":
                    json.dumps([{{}}] * 1000)
                elif what == "random":
                    random.random(), tempfile.mktemp()

        open("this_one.py", "w").write("x = 1\\n" * 100)
        sys.path.insert(0, ".")
        kinds = ("log", "print", "hold", "import", "memory", "random")
        for what in kinds:
            threading.Thread(target=busy, args=(what,)).start()

        def work(x):
            if {method != "fork"}:  # there, a lock that a function needs may be held by nobody
                logging.warning("here")
                import this_one, tempfile
                tempfile.mktemp()
            print("here")
            return x * x

        sys.stdout = open(os.devnull, "w")
        try:
            for _ in range(4):
                with parmap.Pool(2, start_method={method!r}) as pool:
                    assert parmap.parallel_map(work, range(20), executor=pool, timeout=30) == [x * x for x in range(20)]
                assert parmap.run_in_process(work, 3, start_method={method!r}, timeout=30) == 9
                assert parmap.parallel_map(abs, [-1, -2], max_workers=2, timeout=30) == [1, 2]
        finally:
            stop.set()
        sys.stdout = sys.__stdout__
        print("fine")
        """
    with open(os.devnull, "w") as nowhere:
        assert run(program, quiet=False, stderr=nowhere) == "fine\n"


# --- asyncio --------------------------------------------------------------------------------------------------


def test_threads_of_asyncio_that_are_cancelled() -> None:
    """The thread goes on to the end of its call, as `to_thread` says; all others are as ever."""
    program = """
        import asyncio, os, time
        import parmap

        def slow(x):
            open(f"begun-{x}", "w").close()
            time.sleep(0.3)
            return x

        async def call(number):
            numbers = range(number, number + 50)
            found = await asyncio.to_thread(parmap.parallel_map, abs, numbers, max_workers=2)
            return found == [*numbers]

        async def main():
            task = asyncio.create_task(asyncio.to_thread(parmap.parallel_map, slow, range(4), max_workers=2))
            late = asyncio.to_thread(parmap.parallel_map, time.sleep, [1e6], timeout=1.0)
            others = [asyncio.create_task(call(number)) for number in range(8)]
            while not os.path.exists("begun-0"):
                await asyncio.sleep(0.01)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                print("cancelled")
            try:
                await asyncio.wait_for(late, 0.2)
            except TimeoutError:
                print("late")
            print(all(await asyncio.gather(*others)), await call(3))

        asyncio.run(main())
        print(os.path.exists("begun-3"), parmap.parallel_map(abs, [-1]))
        """
    assert run(program) == "cancelled\nlate\nTrue True\nTrue [1]\n"


# --- calls within calls -----------------------------------------------------------------------------------------


def _tree(path: tuple[int, ...], depth: int, way: str) -> list:
    """What each of two workers' two workers' … say: where they are, and in which process."""
    here = [(path, os.getpid())]
    if depth:
        paths, depths, ways = [(*path, n) for n in range(2)], [depth - 1] * 2, [way] * 2
        if way == "map":
            below = parallel_map(_tree, paths, depths, ways, max_workers=2, chunksize=1)
        elif way == "each":
            below = spawn_each(_tree, paths, depths, ways)
        elif way == "process":
            below = [run_in_process(_tree, *row) for row in zip(paths, depths, ways, strict=True)]
        else:
            with Pool(2) as pool:
                futures = [
                    pool.submit(_tree, *row) for row in zip(paths, depths, ways, strict=True)
                ]
                below = [future.result() for future in futures]
        here += [one for some in below for one in some]
    return here


@pytest.mark.parametrize("way", most_telling(["map", "submit", "each", "process"], 2))
def test_nested_two_levels_deep(way: str) -> None:
    found = run_in_process(_tree, (), 3, way)
    assert [path for path, _ in found] == [
        (), (0,), (0, 0), (0, 0, 0), (0, 0, 1), (0, 1), (0, 1, 0), (0, 1, 1),
        (1,), (1, 0), (1, 0, 0), (1, 0, 1), (1, 1), (1, 1, 0), (1, 1, 1),
    ]  # fmt: skip
    pids = dict(found)
    for path, pid in found:
        assert pid not in [pids[path[:n]] for n in range(len(path))]


def _fail_below(depth: int, how: str) -> None:
    if depth:
        parallel_map(_fail_below, [depth - 1], [how], max_workers=1)
    elif how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        raise LookupError("below")


@pytest.mark.parametrize("how", ["dies", "raises"])
def test_failures_two_levels_deep(how: str) -> None:
    with (
        Pool(2) as pool,  # whose end is that of its workers' own workers
        pytest.raises(WorkerDied if how == "dies" else LookupError) as caught,
    ):
        parallel_map(_fail_below, [2, 2], [how] * 2, executor=pool)
    assert caught.value.parmap_index == 0
    assert len(caught.value.__notes__) == 3
    if how == "dies":
        assert caught.value.signal == "SIGKILL"


def test_killed_while_two_levels_are_busy() -> None:
    program = """
        import os, time
        import parmap

        def work(depth):
            if depth:
                parmap.parallel_map(work, [depth - 1] * 2, max_workers=2)
            open(f"begun-{os.getpid()}", "w").close()
            time.sleep(1e6)

        parmap.parallel_map(work, [2, 2], max_workers=2)
        """
    with Program(program) as running:
        assert until(lambda: len(list(running.directory.glob("begun-*"))) == 8, 30), running.err
        running.signal(signal.SIGKILL)
        running.ends(5)
        assert not running.left(), running.left()


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


@pytest.mark.parametrize("error", most_telling(["ENOMEM", "EAGAIN"], 1))
@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_no_process_can_be_started(method: str, error: str) -> None:
    program = f"""
        import errno, os
        import parmap

        def refuse(*_args, **_keywords):
            raise OSError(errno.{error}, os.strerror(errno.{error}))

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
                assert os.strerror(errno.{error}) in str(error), error
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


# --- file systems: in a mount namespace of the program's own ------------------------------------------------


def mounted(*mounts: tuple[str, str]):
    """What to do before a program starts: mount memory with these options at these places."""

    def mount() -> None:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        new_namespace, private_all = 0x20000, 0x4000 | 0x40000
        assert libc.unshare(new_namespace) == 0
        assert libc.mount(b"none", b"/", None, private_all, None) == 0
        for place, options in mounts:
            if options == "none":
                _without_shm(libc)
                continue
            read_only = options == "ro"
            data = None if read_only else options.encode()
            assert libc.mount(b"none", place.encode(), b"tmpfs", int(read_only), data) == 0

    return mount


def _without_shm(libc) -> None:
    """A /dev with the devices that anybody needs, and no /dev/shm."""
    place = "/mnt"
    assert libc.mount(b"none", place.encode(), b"tmpfs", 0, None) == 0
    for name in ("null", "zero", "full", "random", "urandom"):
        open(f"{place}/{name}", "w").close()
        bind = 0x1000
        assert (
            libc.mount(f"/dev/{name}".encode(), f"{place}/{name}".encode(), None, bind, None) == 0
        )
    os.symlink("/proc/self/fd", f"{place}/fd")
    move = 0x2000
    assert libc.mount(place.encode(), b"/dev", None, move, None) == 0


@pytest.fixture(scope="module")
def can_mount():
    import subprocess

    command = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare")
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")


#: Large items, results and functions, with and without memory that needs no file system.
LARGE = """
        import os, sys, tempfile
        if {bare}:
            del os.memfd_create
            open("sitecustomize.py", "w").write("import os; del os.memfd_create")
            os.environ["PYTHONPATH"] += os.pathsep + os.getcwd()
        import numpy
        import parmap
        from functools import partial

        {before}
        def first(x, a):
            return int(a[x]), hasattr(os, "memfd_create")

        array = numpy.arange(50_000_000 // 8)
        print(parmap.parallel_map(partial(first, a=array), [5, 6], max_workers=2))
        for n, a in enumerate(parmap.parallel_map(lambda a: a + 1, [array, array], max_workers=2)):
            assert a[-1] == array[-1] + 1, n
        for a in parmap.parallel_imap(lambda n: numpy.full(50_000_000 // 8, n), range(3), max_workers=2):
            assert a.nbytes == 50_000_000
        print(len(parmap.run_in_process(bytes, 50_000_000)))
        """


def check_large(mount, bare: bool, before: str = "pass", **how) -> None:
    program = LARGE.format(bare=bare, before=before)
    environment = {"OPENBLAS_NUM_THREADS": "1", **how}
    out = run(program, before=mount, environment=environment)
    assert out == f"[(5, {not bare}), (6, {not bare})]\n50000000\n"


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("options", most_telling(["size=1m", "none", "ro"], 2))
def test_small_or_no_shared_memory(np, can_mount, options: str, bare: bool) -> None:
    so = {
        "size=1m": "os.statvfs('/dev/shm').f_blocks * os.statvfs('/dev/shm').f_frsize == 1 << 20",
        "ro": "not os.access('/dev/shm', os.W_OK)",
        "none": "not os.path.exists('/dev/shm')",
    }
    check_large(mounted(("/dev/shm", options)), bare, f"assert {so[options]}")


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("state", most_telling(["ro", "small", "full"], 2))
def test_full_disk(np, can_mount, state: str, bare: bool) -> None:
    """There is no room for temporary files, or no leave to make any; and no other memory, perhaps."""
    options = "ro" if state == "ro" else "size=1m"
    fill = (
        "with open('/mnt/filler', 'wb', 0) as file:"
        "\n            while True:"
        "\n                try: file.write(bytes(4096))"
        "\n                except OSError: break"
    )
    before = fill if state == "full" else f"assert os.access('/mnt', os.W_OK) == {state != 'ro'}"
    check_large(mounted(("/mnt", options), ("/dev/shm", options)), bare, before, TMPDIR="/mnt")


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
        elif how == "umask":
            os.umask(0o777)
        elif how == "replace":
            os.close(1)
            assert os.open(os.devnull, os.O_WRONLY) == 1
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
    "streams", "no streams", "environment", "path", "group", "session", "wakeup", "print forever", "umask", "replace",
]  # fmt: skip


@pytest.mark.parametrize("how", HOMELY)
def test_later_calls_are_not_affected(how: str) -> None:
    from functools import partial

    squares = [x * x for x in range(12)]
    with Pool(1) as pool:
        wanted = [parallel_map(state, [0], executor=pool) for _ in "12"][1]  # once it is imported
        for _ in range(2):
            assert parallel_map(partial(misbehave, how=how), range(12), executor=pool) == squares
            assert parallel_map(state, range(2), executor=pool) == wanted * 2
            assert pool.submit(abs, -3).result(20) == 3


def state(_x: int) -> dict[str, object]:
    """What an item finds."""
    import sys
    import warnings

    handlers = {number: signal.getsignal(number) for number in range(1, 32)}
    return {
        "directory": os.getcwd(),
        "recursion": sys.getrecursionlimit(),
        "filters": len(warnings.filters),
        "path": sys.path[:],
        "environment": dict(os.environ),
        "ignored": [number for number, how in handlers.items() if how == signal.SIG_IGN],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "umask": [os.umask(0o022), os.umask(0o022)][0],
        "open": [os.path.exists(f"/proc/self/fd/{fd}") for fd in range(3)],
        "streams": [type(stream).__name__ for stream in (sys.stdout, sys.stderr)],
    }


@pytest.mark.parametrize("how", [how for how in HOMELY if how not in ("environment", "path")])
def test_later_items_are_not_affected(how: str) -> None:
    from functools import partial

    with Pool(1) as pool:
        wanted = [parallel_map(state, [0], executor=pool) for _ in "12"][1][0]
        for _ in range(2):
            func = partial(find_and_misbehave, how=how)
            found = parallel_map(func, range(12), executor=pool, chunksize=12)
            assert found == [wanted] * 12


def find_and_misbehave(x: int, how: str) -> dict[str, object]:
    time.sleep(0.001)  # items that are shorter are looked after a few at a time
    found = state(x)
    misbehave(x, how)
    return found


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


def test_first_calls_of_many_threads_start_one_clean_server() -> None:
    program = """
        import os, threading, parmap

        together = threading.Barrier(6)

        def call():
            together.wait()
            assert parmap.parallel_map(abs, range(-3, 0), max_workers=1) == [3, 2, 1]

        threads = [threading.Thread(target=call) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        servers = 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as stat, open(f"/proc/{pid}/cmdline") as line:
                    parent = int(stat.read().rpartition(")")[2].split()[1])
                    servers += parent == os.getpid() and "parmap._server" in line.read()
            except OSError:
                continue  # it has just ended
        print(servers)
        """
    assert run(program) == "1\n"
