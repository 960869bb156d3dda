"""Counted gates: what is imported, started and held. Counts do not depend on the machine's mood."""

from __future__ import annotations

import re
import sys

import pytest

LOADED = """
import sys
before = set(sys.modules)
{code}
print(" ".join(sorted(set(sys.modules) - before)))
"""

#: What costs time to import, and what nobody should pay for who does not use it.
DEAR = {
    "asyncio", "ast", "cloudpickle", "concurrent", "ctypes", "dataclasses", "hashlib", "inspect",
    "json", "logging", "multiprocessing", "numpy", "pickle", "pathlib", "queue", "random", "selectors",
    "shutil", "signal", "socket", "subprocess", "tempfile", "threading", "tokenize", "tqdm", "traceback",
    "typing", "typing_extensions", "uuid",
}  # fmt: skip


def loaded(program, code, flags=("-E",)):
    import parmap

    source = f"{parmap.__path__[0]!r}"
    head = f"import sys; sys.path.insert(0, {source}.rpartition('/')[0])\n"
    return set(program.run(head + LOADED.format(code=code), flags=flags).split())


def test_import(program):
    assert loaded(program, "import parmap") <= {"parmap", "__future__"}


def test_import_of_every_name(program):
    code = (
        "import parmap\nfor name in parmap.__all__:\n    if name != 'Pool': getattr(parmap, name)"
    )
    assert not {name.partition(".")[0] for name in loaded(program, code)} & (DEAR - {"typing"})


def test_a_first_call(program):
    code = "import parmap\ndef f(x): return x * x\nassert parmap.parallel_map(f, range(9)) == [x * x for x in range(9)]"
    got = {name.partition(".")[0] for name in loaded(program, code)}
    assert not got & DEAR


def test_what_a_worker_imports(program):
    source = """
        import parmap
        def modules(x):
            import sys
            return sorted(sys.modules)
        print(" ".join(parmap.parallel_map(modules, [1])[0]))
        """
    got = {name.partition(".")[0] for name in program.run(source).split()}
    assert not got & {
        "cloudpickle",
        "multiprocessing",
        "concurrent",
        "asyncio",
        "numpy",
        "tqdm",
        "socket",
    }


HELD = """
import os, parmap, threading
def count(done, total):
    seen.append((len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))))
def work(x):
    return x
{before}
seen = []
parmap.parallel_map(work, range(200), max_workers={workers}, chunksize=1, progress=count)
threads = max(t for t, _ in seen)
fds = max(f for _, f in seen)
print(threads, fds)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts in /proc")
def test_threads_and_descriptors(program):
    counts = {}
    for workers in (1, 3):
        threads, fds = map(int, program.run(HELD.format(workers=workers, before="")).split())
        assert threads == 1
        counts[workers] = fds
    assert counts[3] - counts[1] <= 2 * 2  # a socket and a cell for each worker


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /dev/shm and /proc")
def test_no_semaphores_and_no_names(program):
    source = """
        import os, parmap
        before = set(os.listdir("/dev/shm"))
        def maps():
            with open("/proc/self/maps") as file:
                return file.readlines()
        def look(x):
            return [n for n in os.listdir("/dev/shm") if n not in before and "parmap" in n], \\
                any("/dev/shm/" in line for line in maps())
        print(parmap.parallel_map(look, range(4)) == [([], False)] * 4)
        """
    assert program.run(source) == "True\n"


class Counts:
    pickled = 0

    def __reduce__(self):
        Counts.pickled += 1
        return Counts, ()

    def __call__(self, x):
        return x


@pytest.mark.parametrize("workers", [1, 3])
def test_the_function_is_pickled_once(workers):
    from parmap import parallel_map

    Counts.pickled = 0
    assert parallel_map(Counts(), range(50), max_workers=workers, chunksize=1) == list(range(50))
    assert Counts.pickled == 1


class Large:
    def __init__(self):
        self.data = bytes(500_000)

    def __call__(self, x):
        return len(self.data) + x


def test_the_function_travels_once_to_each_worker(monkeypatch, capsys):
    from parmap import Pool, parallel_map

    monkeypatch.setenv("PARMAP_DEBUG", "1")
    func = Large()
    with Pool(1) as pool:
        for _ in range(3):
            assert parallel_map(func, range(3), executor=pool)[0] == 500_000
    found = re.findall(r"([\d,]+) bytes sent", capsys.readouterr().err)
    first, *others = (int(nbytes.replace(",", "")) for nbytes in found)
    assert first > 500_000
    assert len(others) == 2
    assert max(others) < 5_000


def test_messages_for_tiny_items(monkeypatch, capsys):
    from parmap import parallel_map

    monkeypatch.setenv("PARMAP_DEBUG", "1")
    parallel_map(abs, range(10_000), max_workers=2)
    line = capsys.readouterr().err
    chunks = int(line.split(" items in ")[1].split(" chunks")[0])
    assert chunks < 500
