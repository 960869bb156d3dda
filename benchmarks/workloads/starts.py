"""What it costs to begin: imports, scripts, processes."""

from __future__ import annotations

import os
import subprocess
import sys
from time import perf_counter

from .tools import check, median, seconds, square

TYPE_CHECKING = False
if TYPE_CHECKING:
    from benchmarks.peers import Peer

    from .tools import Numbers


def imports(peer: type[Peer], *, quick: bool) -> Numbers:
    """A fresh interpreter that only imports, over one that does nothing."""
    bare, full = [sys.executable, "-c", ""], [sys.executable, "-c", peer.imports]
    run(full)  # writes the byte-code caches
    turns = 3 if peer.slow_to_open else 5 if quick else 25
    more = [run(full) - run(bare) for _ in range(turns)]
    modules = _modules(peer.imports) - _modules("")
    return {"time": {"default": median(more)}, "modules": {"default": modules}}


SCRIPT = """\
{imports}

def square(x):
    return x * x

if __name__ == "__main__":
    {uses}
"""


def cold(peer: type[Peer], *, quick: bool) -> Numbers:
    """A script that maps a function of its own over two items: the whole process."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder, "script.py")
        path.write_text(SCRIPT.format(imports=peer.imports, uses=peer.uses), encoding="utf-8")
        script = [sys.executable, str(path)]
        said = subprocess.run(script, stdout=subprocess.PIPE, check=True, timeout=60).stdout
        check(said.split(), [b"[4,", b"9]"])
        turns = 1 if peer.slow_to_open else 3 if quick else 11
        return {"time": {"default": median(run(script) for _ in range(turns))}}


def processes(peer: type[Peer], *, quick: bool) -> Numbers:
    """32 trivial items, a process for each, side by side; and one item in one process."""
    items = list(range(32))
    with peer() as library:
        library.one_process(square, 2)  # whatever serves starts first
        one = median(seconds(library.one_process, square, 2) for _ in range(5 if quick else 15))
        many = median(
            seconds(library.each_process, square, items) for _ in range(1 if quick else 3)
        )
    return {"32 processes": {"default": many}, "one process": {"default": one}}


def run(command: list[str]) -> float:
    """Run a program to its end: seconds."""
    began = perf_counter()
    # Not `run`, which would wait for whoever else holds the other end of a pipe.
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ) as process:
        code = process.wait()
    if code:
        raise subprocess.CalledProcessError(code, command)
    return perf_counter() - began


def _modules(statement: str) -> int:
    counted = f"{statement}\nimport sys; print(len(sys.modules))"
    return int(subprocess.check_output([sys.executable, "-c", counted]).split()[-1])
