"""Processes, threads and neither, on work that computes and on work that waits."""

import sys
import time

from parmap import available_cpus, parallel_map


def compute(n):
    total = 0
    for number in range(n):
        total += number * number
    return total


def wait(seconds):
    time.sleep(seconds)  # as one waits for a disk or a server
    return seconds


def measured(func, items, executor):
    workers = {} if executor == "serial" else {"max_workers": 4}
    parallel_map(func, items[:4], executor=executor, **workers)  # warm up
    start = time.perf_counter()
    parallel_map(func, items, executor=executor, **workers)
    return time.perf_counter() - start


kinds = {"CPU-bound": (compute, [500_000] * 24), "I/O-bound": (wait, [0.05] * 24)}

print(f"Python {sys.version.split()[0]}, {available_cpus()} CPUs, 24 items, 4 workers\n")
print(f"{'':<10}{'serial':>10}{'thread':>10}{'process':>10}")
for kind, (func, items) in kinds.items():
    times = [measured(func, items, executor) for executor in ("serial", "thread", "process")]
    print(f"{kind:<10}" + "".join(f"{seconds:>8.2f} s" for seconds in times))
