"""What libraries for parallel maps do when a worker dies, each in a process of its own.

`python docs/examples/peers.py` runs all that are installed; name some to run only these. Linux.
"""

import json
import os
import platform
import select
import signal
import subprocess
import sys
import time
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import parmap

LIMIT = 15  # seconds without an answer that count as hanging
LARGE = 200_000_000


# --- what goes wrong: item 7 of 20 ---------------------------------------------------------------


class Odd:
    """Can be pickled, but not unpickled."""

    def __reduce__(self):
        return int, ("this is no number",)


class Large:
    """Bytes whose process is killed while it sends them."""

    def __reduce__(self):
        before = bytes_read()
        if os.fork() == 0:  # an onlooker, whom no lock of the interpreter can hold up
            os.closerange(0, 1024)
            worker = os.getppid()
            while os.getppid() == worker:
                if bytes_read() > before + LARGE // 8 or has_large_memory(worker):
                    os.kill(worker, signal.SIGKILL)
                    break
                time.sleep(0.0005)
            os._exit(0)
        return bytes, (bytes(LARGE),)


def bytes_read():
    """How much the process that makes the call has read so far, from pipes and sockets."""
    counters = Path(f"/proc/{os.environ['CALLER']}/io").read_text()
    return int(counters.split("rchar:")[1].split()[0])


def has_large_memory(pid):
    """Whether a process is about to hand over memory in place of bytes, as parmap does."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if "memfd:" in str(link.readlink()) and link.stat().st_size >= LARGE // 2:
                return True
        except OSError:
            pass  # closed meanwhile
    return False


def killed(x):
    if x == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def exits(x):
    if x == 7:
        os._exit(0)
    return x


def odd(x):
    return Odd() if x == 7 else x


def large(x):
    return Large() if x == 7 else x


CASES = {
    "an item kills its worker": killed,
    "`os._exit(0)` in an item": exits,
    "a result that cannot be unpickled": odd,
    "killed while sending 200 MB": large,
}

# --- each library's ordinary map, with four workers ----------------------------------------------


def by_multiprocessing(func, items):
    from multiprocessing import Pool

    with Pool(4) as pool:
        return pool.map(func, items)


def by_futures(func, items):
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(4) as executor:
        return list(executor.map(func, items))


def by_loky(func, items):
    from loky import get_reusable_executor

    return list(get_reusable_executor(max_workers=4).map(func, items))


def by_joblib(func, items):
    from joblib import Parallel, delayed

    return Parallel(n_jobs=4)(delayed(func)(item) for item in items)


def by_mpire(func, items):
    from mpire import WorkerPool

    with WorkerPool(4) as pool:
        return pool.map(func, items)


def by_pebble(func, items):
    from pebble import ProcessPool

    with ProcessPool(4) as pool:
        return list(pool.map(func, items).result())


def by_parmap(func, items):
    return parmap.parallel_map(func, items, max_workers=4)


LIBRARIES = {
    "multiprocessing": by_multiprocessing,
    "concurrent.futures": by_futures,
    "loky": by_loky,
    "joblib": by_joblib,
    "mpire": by_mpire,
    "pebble": by_pebble,
    "parmap": by_parmap,
}

# --- asking --------------------------------------------------------------------------------------


def answer(library, case):
    """Run one case here and print what came of it."""
    os.environ["CALLER"] = str(os.getpid())
    began = time.perf_counter()
    try:
        LIBRARIES[library](CASES[case], range(20))
        found = "no error"
    except BaseException as error:
        index = getattr(error, "index", None)
        if index is None:
            index = getattr(error, "parmap_index", None)
        found = type(error).__name__ + (", no item" if index is None else f", item {index}")
    print(json.dumps([found, time.perf_counter() - began]), flush=True)
    os._exit(0)  # some cannot end in order any more


def ask(library, case):
    """Run one case in a process of its own, with all that it starts."""
    command = [sys.executable, __file__, "--answer", library, case]
    asked = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        # Only the first line: workers that are left over may hold the pipe open.
        if not select.select([asked.stdout], [], [], LIMIT)[0]:
            return "hangs"
        found, seconds = json.loads(asked.stdout.readline())
    finally:
        try:
            os.killpg(asked.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        asked.wait()
        asked.stdout.close()
    return found if seconds < 1 else f"{found}, after {seconds:.0f} s"


def name_of(library):
    """The library with its version; None if it is not there."""
    if library in ("multiprocessing", "concurrent.futures"):
        return f"`{library}`"
    if library == "parmap":
        return f"parmap {parmap.__version__}"
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:
        return None


def main(wanted):
    print(
        f"CPython {platform.python_version()}, {platform.system()}, {datetime.now().astimezone():%Y-%m-%d}; ",
        end="",
    )
    print(f'20 short items, 4 workers; "hangs" is no answer in {LIMIT} s.\n')
    print("| | " + " | ".join(CASES) + " |")
    print("| --- |" + " --- |" * len(CASES))
    for library in wanted or LIBRARIES:
        name = name_of(library)
        if name is not None:
            row = [ask(library, case) for case in CASES]
            print(f"| {name} | " + " | ".join(row) + " |", flush=True)


# The only example with a main guard: not for parmap, but for the others.
if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer"]:
        answer(*sys.argv[2:])
    else:
        main(sys.argv[1:])
