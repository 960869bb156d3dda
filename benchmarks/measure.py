"""One measurement, in a process of its own.

`python -m benchmarks.measure WORKLOAD LIBRARY [--quick]` prints the numbers as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import perf_counter, sleep

from .peers import BY_NAME, CORES, Peer
from .workloads import WORKLOAD_BY_NAME, Numbers, Workload

#: Seconds after which a measurement has failed: peers may hang.
PATIENCE = 180

#: The share of the machine that others may take before a measurement is repeated, and how often.
DISTURBED = 0.04
ATTEMPTS = 2


def measure(workload: Workload, peer: Peer, *, quick: bool) -> tuple[Numbers | str, float]:
    """Measure: numbers by setting, or what went wrong; and the share that others took meanwhile.

    It is repeated while that share is large; the least disturbed attempt counts.
    """
    attempts: list[tuple[Numbers | str, float]] = []
    while len(attempts) < ATTEMPTS and all(others > DISTURBED for _, others in attempts):
        sleep(0.05 + 0.5 * len(attempts))  # what went before settles
        began, used = perf_counter(), _others()
        found = _start(workload, peer, quick=quick)
        others = (_others() - used) / (perf_counter() - began) / CORES
        attempts.append((found, others))
    return min(attempts, key=lambda attempt: attempt[1])


def _start(workload: Workload, peer: Peer, *, quick: bool) -> Numbers | str:
    command = [sys.executable, "-m", __name__, workload.name, peer.name, *["--quick"] * quick]
    unset = "PYTHONDONTWRITEBYTECODE"  # or whatever starts an interpreter would time the compiler
    environment = {name: value for name, value in os.environ.items() if name != unset}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env=environment,
        start_new_session=True,
    )
    try:
        said, complained = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"no answer in {PATIENCE} s"
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGKILL)  # it has a session of its own, and heard nothing
        raise
    if process.returncode:
        return complained.strip().rpartition("\n")[2] or f"exit code {process.returncode}"
    numbers: Numbers = json.loads(said.splitlines()[-1])
    return numbers


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
    workload, peer, *options = sys.argv[1:]
    numbers = WORKLOAD_BY_NAME[workload].measure(BY_NAME[peer], quick="--quick" in options)
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
