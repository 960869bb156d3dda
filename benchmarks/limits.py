"""What the machine and the interpreter allow, measured in the same run as the libraries.

Each function answers one number, in the unit of the workload that it stands beside.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from mmap import mmap
from time import perf_counter

from .workloads.programs import make_lines
from .workloads.tools import median, seconds

BLOCK = 16_000_000


def round_trip(*, quick: bool) -> float:
    """One byte to a forked process and back, over a socket."""
    here, there = socket.socketpair()
    pid = os.fork()
    if not pid:
        here.close()
        while said := there.recv(1):
            there.send(said)
        os._exit(0)
    there.close()

    def turn():
        here.send(b"x")
        here.recv(1)

    found = median(seconds(turn) for _ in range(1_000))
    here.close()
    os.waitpid(pid, 0)
    return found


def fork(*, quick: bool) -> float:
    """A fork of this small process that ends at once, waited for."""
    return median(seconds(_fork) for _ in range(20))


def _fork():
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)


def interpreter(*, quick: bool) -> float:
    """A fresh interpreter that does nothing."""
    command = [sys.executable, "-c", ""]
    return median(seconds(subprocess.check_call, command) for _ in range(10))


def fresh_memory(*, quick: bool) -> float:
    """A block of 16 MB copied into new memory."""
    data = bytes(BLOCK)

    def copied():
        with mmap(-1, BLOCK) as memory:
            memory[:] = data

    return BLOCK / median(seconds(copied) for _ in range(20))


def used_memory(*, quick: bool) -> float:
    """A block of 16 MB copied into memory that is there already."""
    data = bytes(BLOCK)
    with mmap(-1, BLOCK) as memory:

        def copied():
            memory[:] = data

        copied()
        return BLOCK / median(seconds(copied) for _ in range(20))


def socket_stream(*, quick: bool) -> float:
    """Blocks of 16 MB through a socket, read into a buffer that is kept."""
    here, there = socket.socketpair()
    data, turns = bytes(BLOCK), 10
    pid = os.fork()
    if not pid:
        for _ in range(turns):
            there.sendall(data)
        os._exit(0)
    there.close()
    buffer = bytearray(BLOCK)
    began = perf_counter()
    while here.recv_into(buffer):
        pass
    took = perf_counter() - began
    os.waitpid(pid, 0)
    here.close()
    return turns * BLOCK / took


def pickled_numbers(*, quick: bool) -> float:
    """Numbers pickled and unpickled by the thousand, there and back, in one process."""
    thousand = list(range(1_000_000, 1_001_000))

    def there_and_back():
        for _ in range(2):
            pickle.loads(pickle.dumps(thousand, 5))

    return 1_000 / median(seconds(there_and_back) for _ in range(200))


def unpickled_dictionaries(*, quick: bool) -> float:
    """Only the unpickling of the results, in one process, as the caller has to."""
    import json

    lines = make_lines(4_000)
    answers = [pickle.dumps(json.loads(line), 5) for line in lines]
    kept = []  # as the caller keeps them, and so for the garbage collector to look at
    took = seconds(lambda: kept.extend(map(pickle.loads, answers)))
    return sum(map(len, lines)) / took
