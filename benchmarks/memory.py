"""Memory of processes, where the system tells (Linux); else there are no numbers.

`python -m benchmarks.memory PID` watches a process and its descendants until its own standard input
ends, and prints their largest sum in bytes.
"""

from __future__ import annotations

import select
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two looks.
INTERVAL = 0.03


def resident(pid: int | None = None) -> int:
    """Bytes of a process that are in memory, of this one by default; 0 if it has ended."""
    import os

    try:
        with open(f"/proc/{pid or 'self'}/statm", "rb") as file:  # noqa: PTH123 - pathlib takes memory
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        if pid is not None:
            return 0
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def peak_of(act: Callable[[], object]) -> float | None:
    """The most memory that this process and its descendants had meanwhile.

    Shared pages count once: each process is charged its share (PSS), and shared memory that nobody
    maps at the moment, but somebody holds, is counted as well.
    """
    import os

    if not os.path.exists("/proc/self/smaps_rollup"):  # noqa: PTH110
        return None
    watcher = subprocess.Popen(
        [sys.executable, "-m", __name__, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert watcher.stdin
    assert watcher.stdout
    watcher.stdout.readline()  # it is there
    act()
    said, _ = watcher.communicate()
    return float(said)


def tree(root: int) -> list[int]:
    """A process and its descendants."""
    import os

    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue  # it has just ended
            children.setdefault(parent, []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])  # the list grows while we walk along it
    return found


def fields(path: str) -> dict[str, int]:
    """Bytes, from lines like `Pss: 1234 kB`."""
    found = {}
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            for line in file:
                name, _, rest = line.decode().partition(":")
                if rest.rstrip().endswith("kB"):
                    found[name] = int(rest.split()[0]) * 1024
    except OSError:
        pass  # it has just ended, or is none of ours
    return found


def _shared() -> int:
    return fields("/proc/meminfo")["Shmem"]


def main() -> None:
    """Watch."""
    import os

    root, me = int(sys.argv[1]), os.getpid()
    before: int | None = None
    peak = 0
    while True:
        own = shared = 0
        for pid in tree(root):
            if pid != me:
                found = fields(f"/proc/{pid}/smaps_rollup")
                mapped = found.get("Pss_Shmem", 0)
                own += found.get("Pss", 0) - mapped
                shared += mapped
        if before is None:
            before = _shared() - shared  # other people's
            print("here", flush=True)
        peak = max(peak, own + max(shared, _shared() - before))
        if select.select([0], [], [], INTERVAL)[0]:
            break
    print(peak)


if __name__ == "__main__":
    main()
