"""One measurement, in a process of its own.

`python -m benchmarks.measure WORKLOAD PARTICIPANT [--quick]` prints the numbers as JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import TYPE_CHECKING

from .memory import tree
from .peers import CORES
from .suite import ALL, Growth, Workload

if TYPE_CHECKING:
    from .workloads.tools import Numbers

#: Seconds after which a measurement has failed: peers may hang.
PATIENCE = 240
QUICK_PATIENCE = 60

#: The share of the machine that others may take before a measurement is repeated, and how often it
#: is made then, unless it has to be quick.
DISTURBED = 0.04
ATTEMPTS = 2

#: Seconds that a library's processes may live on after the one that used it.
GRACE = 3.0


@dataclass(frozen=True)
class Measured:
    """What came of a measurement."""

    numbers: Numbers | None
    failure: str = ""
    others: float = 0.0  # the share of the machine that other programs took
    left: int = 0  # processes that were still there, and had to be killed


def measure(entry: Workload | Growth, participant: str, *, quick: bool) -> Measured:
    """Measure; again, if others took much of the machine. The least disturbed attempt counts."""
    attempts: list[Measured] = []
    most = 1 if quick or isinstance(entry, Growth) else ATTEMPTS
    while len(attempts) < most and all(attempt.others > DISTURBED for attempt in attempts):
        sleep(0.05 + 0.5 * len(attempts))  # what went before settles
        attempts.append(_start(entry, participant, quick=quick))
        if attempts[-1].failure:
            break
    return min(attempts, key=lambda attempt: attempt.others)


def _start(entry: Workload | Growth, participant: str, *, quick: bool) -> Measured:
    _adopt_orphans()
    command = [sys.executable, "-m", __name__, entry.name, participant, *["--quick"] * quick]
    unset = "PYTHONDONTWRITEBYTECODE"  # or whatever starts an interpreter would time the compiler
    environment = {name: value for name, value in os.environ.items() if name != unset}
    began, used = perf_counter(), _others()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env=environment,
        start_new_session=True,
    )
    patience = QUICK_PATIENCE if quick else PATIENCE
    said, failure = "", ""
    try:
        said, complained = process.communicate(timeout=patience)
        if process.returncode:
            failure = _last_line(complained) or f"exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        failure = f"no answer in {patience} s"
    finally:  # also at Ctrl-C: it has a session of its own, and heard nothing
        if process.returncode is None:
            _kill(process.pid)
            process.communicate()
        left = _end_what_is_left()
    others = (_others() - used) / (perf_counter() - began) / CORES
    numbers = None if failure else json.loads(said.splitlines()[-1])
    return Measured(numbers, failure, max(others, 0.0), left)


def _last_line(text: str) -> str:
    """What an exception says of itself; some libraries say more afterwards."""
    lines = [line for line in text.splitlines() if line and not line[0].isspace()]
    errors = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception"))]
    return ([*lines[-1:], *errors[-1:]] or [""])[-1][:200]


# --- nothing is left running ----------------------------------------------------------------------


def _adopt_orphans() -> None:
    """What a library leaves behind becomes a child of this process (on Linux)."""
    if sys.platform == "linux":
        set_child_subreaper = 36
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def _end_what_is_left() -> int:
    """Wait for all descendants; kill those that stay: how many?"""
    if sys.platform != "linux":
        return 0
    until = monotonic() + GRACE
    while _reap() and monotonic() < until:
        sleep(0.02)
    left = 0
    while _reap():
        left += _kill(os.getpid())
        sleep(0.02)
    return left


def _reap() -> bool:
    """Take the exit codes of the dead; whether somebody lives."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    except ChildProcessError:
        return False


def _kill(root: int) -> int:
    """Kill a process and all its descendants; if it is this one, these alone."""
    pids = tree(root) if sys.platform == "linux" else [root]
    pids = [pid for pid in pids if pid != os.getpid()]
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has just ended
    return len(pids)


def _others() -> float:
    """Seconds of processor time that have gone to others than this process and its descendants.

    Where the system does not say (only Linux does), nobody took anything.
    """
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = map(int, first)
    all_ticks = user + nice + system + interrupts + soft_interrupts + stolen
    return all_ticks / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def main() -> None:
    """Be that process."""
    entry, participant, *options = sys.argv[1:]
    numbers = ALL[entry].run(participant, quick="--quick" in options)
    print("\n" + json.dumps(numbers))


if __name__ == "__main__":
    main()
