"""What goes wrong is named: an exception, a killed worker, a time limit."""

import os
import signal
import time

from parmap import ItemTimeout, WorkerDied, parallel_map


def invert(x):
    return 1 / x


def crash(x):
    if x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def hang(x):
    if x == 3:
        time.sleep(3600)
    return x


try:
    parallel_map(invert, [4, 2, 0, 1])
except ZeroDivisionError as error:
    print(f"item {error.parmap_index}: {error}")

try:
    parallel_map(crash, range(5))
except WorkerDied as error:
    print(f"item {error.index}: its worker was ended by {error.signal}")

try:
    parallel_map(hang, range(5), item_timeout=0.5)
except ItemTimeout as error:
    print(f"item {error.index}: longer than {error.seconds} s")

# With on_error="return" everything runs, and a failure stands where its result would.
for result in parallel_map(invert, [4, 2, 0, 1], on_error="return"):
    print(repr(result))
