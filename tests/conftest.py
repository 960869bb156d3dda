"""What holds for every test: nothing is left behind.

After each test there are no more processes, zombies, descriptors, threads and segments in `/dev/shm`
than before it, but for idle warm workers and their clean server, which `parmap.shutdown()` ends after
each module; then nothing at all may be left. Workers of a pool that a wider fixture made before the
test began are there already, so they do not count. A test that failed is not checked: its traceback
may keep things alive.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time

import hypothesis
import pytest

#: Seconds that something may take to vanish before it counts as left behind: generous, for a busy machine.
PATIENCE = 8.0

#: Seconds that a program run by a test may take.
PROGRAM = 40.0

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile(
    "ci", deadline=None, max_examples=25, derandomize=True, print_blob=True
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")

#: Every process started by this test run has this in its environment, and keeps it when its parent
#: has gone and it belongs to nobody.
MARK = f"PARMAP_TESTS_OF={os.getpid()}"
os.environ.update([MARK.split("=")])

#: Processes that the standard library starts once and ends at exit.
_ITS_OWN = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")


# --- what there is -----------------------------------------------------------------------------------


def _processes() -> dict[int, str]:
    """All processes that this one has started, and those of them that others have adopted."""
    parents: dict[int, tuple[int, str]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    head, _, rest = file.read().rpartition(b")")
            except OSError:
                continue  # it has just ended
            fields = rest.split()
            parents[int(name)] = int(fields[1]), f"{head.decode()}) {fields[0].decode()}"
    found: dict[int, str] = {}
    for pid, (parent, what) in parents.items():
        above = parent
        while above in parents and above != os.getpid():
            above = parents[above][0]
        if pid != os.getpid() and (above == os.getpid() or _is_marked(pid)):
            command = _read(f"/proc/{pid}/cmdline")
            if not any(own in command for own in _ITS_OWN):
                found[pid] = _described(what, parent, command)
    return found


def _described(what: str, parent: int, command: bytes) -> str:
    line = command.replace(b"\0", b" ").decode(errors="replace")[-100:]
    return f"{what}, child of {parent}: {line}"


def _is_marked(pid: int) -> bool:
    return MARK.encode() in _read(f"/proc/{pid}/environ").split(b"\0")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # that of the listing itself
    return found


def _threads() -> dict[int, str]:
    names = {}
    if "threading" in sys.modules:
        names = {thread.native_id: thread.name for thread in sys.modules["threading"].enumerate()}
    return {int(tid): names.get(int(tid), "?") for tid in os.listdir("/proc/self/task")}


def _segments() -> dict[str, str]:
    # Other programs on this machine use it, too: what multiprocessing and we would leave there.
    ours = ("parmap", "psm_", "sem.mp-", "pym-")
    names = os.listdir("/dev/shm") if os.path.isdir("/dev/shm") else ()
    return {name: "" for name in names if name.startswith(ours)}


class Snapshot:
    """Everything of this process that must not be left behind."""

    def __init__(self) -> None:
        self.processes = _processes()
        self.descriptors = _descriptors()
        self.threads = _threads()
        self.segments = _segments()

    def added_since(self, before: Snapshot, *, warm: bool) -> list[str]:
        """What is new; `warm`: idle workers and clean servers are not counted."""
        pids, allowed, starting = _warm() if warm else (set(), {}, 0)
        fds = _of_the_standard_library()
        left = []
        for pid, what in self.processes.items():
            if pid in before.processes or pid in pids:
                continue
            if "parmap._server" in what and starting > 0:
                starting -= 1
            else:
                left.append(f"process {pid}: {what}")
        for fd, what in self.descriptors.items():
            # pytest redirects the first three; libffi keeps its own file open for `ctypes`.
            if before.descriptors.get(fd) == what or fd in fds or fd <= 2 or "/libffi." in what:
                continue
            kind = what.partition(":")[0]
            if allowed.get(kind, 0) > 0:
                allowed[kind] -= 1
            else:
                left.append(f"descriptor {fd}: {what}")
        left += [f"thread {t}: {w}" for t, w in self.threads.items() if t not in before.threads]
        new = self.segments.keys() - before.segments.keys()
        left += [f"/dev/shm/{name}" for name in new if not self._is_foreign(name)]
        return left

    def _is_foreign(self, segment: str) -> bool:
        """Whether a living process that is none of ours maps it: another test run, say."""
        holders = holders_of(segment)
        return bool(holders) and not holders & {os.getpid(), *self.processes}


def holders_of(segment: str) -> set[int]:
    """Who maps a file of /dev/shm, whose name may be another than that by which it was made."""
    try:
        number = b"%d" % os.stat(f"/dev/shm/{segment}").st_ino
    except FileNotFoundError:
        return set()
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and _maps(name, number)}


def _maps(pid: str, number: bytes) -> bool:
    lines = _read(f"/proc/{pid}/maps").splitlines()
    return any(line.split()[4] == number for line in lines if b"/dev/shm/" in line)


def _warm() -> tuple[set[int], dict[str, int], int]:
    """Idle workers and clean servers: pids, how many descriptors of each kind, workers without pid.

    A worker that became idle before it was ready has not told its pid yet.
    """
    module = sys.modules.get("parmap._registry")
    if module is None:
        return set(), {}, 0
    registry = module.registry
    links = [link for one in registry._stocks for link in one._idle]
    workers = [link.child.pid for link in links]
    servers = [server.pid for server in registry._servers.values()]
    # A socket to each; each worker's cell is mapped, which takes a descriptor; one pipe, which tells
    # them when this process has ended.
    # Large parts of the functions that workers keep are in shared memory, mapped here, too.
    shared = {id(held) for link in links for _, held in link._functions.values() if held}
    areas = sum(link._area is not None for link in links)
    memory = len(workers) + areas + 2 * len(shared)
    allowed = {"socket": len(workers) + len(servers), "/memfd": memory, "pipe": 2}
    return {*workers, *servers}, allowed, workers.count(None)


def _of_the_standard_library() -> set[int]:
    fds = set()
    for module, instance, names in (
        ("multiprocessing.resource_tracker", "_resource_tracker", ("_fd",)),
        ("multiprocessing.forkserver", "_forkserver", ("_forkserver_alive_fd",)),
    ):
        made = getattr(sys.modules.get(module), instance, None)
        fds |= {getattr(made, name, None) for name in names}
    return {fd for fd in fds if isinstance(fd, int)}


def wait_until_gone(before: Snapshot, *, warm: bool) -> list[str]:
    """Wait until nothing new is left; what is, after all."""
    until = time.monotonic() + PATIENCE
    collected = False
    while left := Snapshot().added_since(before, warm=warm):
        if not collected:
            gc.collect()
            collected = True
        if time.monotonic() > until:
            break
        time.sleep(0.01)
    return left


# --- the checks --------------------------------------------------------------------------------------

_FAILED = pytest.StashKey[bool]()
_COUNTED = os.path.isdir("/proc/self/fd")


def pytest_configure() -> None:
    """Signals work in the programs that tests start, also where this runs in a shell's background.

    There Ctrl-C is ignored, and with `nohup` the end of the terminal; whoever is started inherits that.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser):
    parser.addoption(
        "--part",
        default="1/1",
        metavar="K/N",
        help="only the tests of each N-th file, from the K-th: N runs side by side do them all",
    )


def pytest_collection_modifyitems(config, items):
    part, parts = map(int, config.getoption("part").split("/"))
    if not 1 <= part <= parts:
        msg = f"--part must be K/N with K from 1 to N, got {part}/{parts}"
        raise pytest.UsageError(msg)
    mine = {*sorted({item.path for item in items})[part - 1 :: parts]}
    items[:] = [item for item in items if item.path in mine]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and report.when != "teardown":
        item.stash[_FAILED] = True
        item.session.stash[_FAILED] = True
    return report


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_by_module(request):
    """End the warm workers after each module; then nothing may be left of it."""
    request.session.stash[_FAILED] = False
    before = Snapshot() if _COUNTED else None
    yield
    if "parmap._registry" in sys.modules:
        sys.modules["parmap"].shutdown()
    if before is not None and not request.session.stash[_FAILED]:
        left = wait_until_gone(before, warm=False)
        assert not left, "left behind by this module:\n" + "\n".join(left)


@pytest.fixture(autouse=True)
def _nothing_left(request, _nothing_left_by_module):
    """After each test, no more may be there than before it, but warm workers."""
    before = Snapshot() if _COUNTED else None
    yield
    if before is not None and not request.node.stash.get(_FAILED, False):
        left = wait_until_gone(before, warm=True)
        assert not left, "left behind by this test:\n" + "\n".join(left)


# --- tools -------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def np():
    """NumPy, imported so that its linear algebra starts no threads in this process."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setenv(name, "1")
        return pytest.importorskip("numpy")


class Program:
    """Runs programs in interpreters of their own, whose warnings are errors."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def run(
        self, source, *, how="script", flags=("-W", "error"), fails=False, env=None, timeout=PROGRAM
    ):
        """Run a program as "script", "-c", "-m" or "stdin"; answers what it printed."""
        source = textwrap.dedent(source)
        given = None
        if how == "-c":
            arguments = ["-c", source]
        elif how == "stdin":
            arguments, given = ["-"], source
        else:
            (self.folder / "program.py").write_text(source, encoding="utf-8")
            arguments = ["-m", "program"] if how == "-m" else [str(self.folder / "program.py")]
        return self._run(arguments, given, flags, fails, env, timeout)

    def run_module(self, name, *, flags=("-W", "error"), fails=False):
        """Run a module that is there already, by `python -m`."""
        return self._run(["-m", name], None, flags, fails, None, PROGRAM)

    def _run(self, arguments, given, flags, fails, env, timeout):
        done = subprocess.run(
            [sys.executable, *flags, *arguments],
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            cwd=self.folder,
            timeout=timeout,
            env={**os.environ, **(env or {})},
            check=False,
        )
        self.stdout, self.stderr, self.returncode = done.stdout, done.stderr, done.returncode
        if not fails:
            assert done.returncode == 0, (
                f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
            assert done.stderr == "", done.stderr
        return done.stdout


@pytest.fixture
def program(tmp_path):
    """Runs programs without a main guard."""
    return Program(tmp_path)
