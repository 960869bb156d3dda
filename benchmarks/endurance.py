"""Long runs in one process: what is there at the start, in the middle and at the end of each.

    python -m benchmarks.endurance            the table, on standard output: some minutes
    python -m benchmarks.endurance --quick    a tenth of it
    python -m benchmarks.endurance --write    also write endurance.md, beside this file

Everything runs in this one process, one after the other, so that what one leaves behind is seen in what
follows. The start of each is after a few turns of it, with workers warm and modules imported.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import count
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import parmap

from . import report
from .memory import resident, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TABLE = Path(__file__).with_name("endurance.md")

HEAD = """\
# Long runs

Made by `python -m benchmarks.endurance --write`. Everything ran in one process, one after the other;
for each, what was there at its start (warm, after a few turns), in its middle and at its end. Processes
are the clean server and the workers, descriptors and threads those of the caller; memory is what is
resident (pages that processes share count in each).
"""

COLUMNS = "run", "done", "descriptors", "threads", "processes", "caller, MB", "workers, MB", "s"


@dataclass(frozen=True)
class Run:
    """One kind of work: `turn` does `each` of them, until there were `total`."""

    name: str
    turn: Callable[[], None]
    total: int
    each: int = 1


def call() -> None:
    """A warm call."""
    assert parmap.parallel_map(abs, range(-10, 0), max_workers=2) == list(range(10, 0, -1))


def call_of_its_own() -> None:
    """A call of a function that no worker has seen."""
    key = os.urandom(8)
    assert parmap.parallel_map(lambda x: (key, x), range(4), max_workers=2)[3] == (key, 3)


def pool() -> None:
    """A pool, opened, used and closed."""
    with parmap.Pool(2) as workers:
        assert workers.submit(abs, -3).result() == 3
        assert parmap.parallel_map(abs, range(4), executor=workers) == [0, 1, 2, 3]


def death() -> None:
    """A call whose worker is killed: its item is an error, the rest are results."""
    found = parmap.parallel_map(die_at_2, range(4), max_workers=2, on_error="return")
    assert isinstance(found.pop(2), parmap.WorkerDied)
    assert found == [0, 1, 3]


def die_at_2(x: int) -> int:
    """Its worker's end, for one item."""
    if x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def large() -> None:
    """Eight megabytes there and back."""
    assert len(parmap.parallel_map(bytes, [1 << 23] * 2, max_workers=2)[1]) == 1 << 23


def runs(share: int) -> Iterator[Run]:
    """All of them; `share` of the whole is done: one part in so many."""
    yield Run("warm calls", call, 2_000 // share)
    yield Run("calls of new functions", call_of_its_own, 2_000 // share)
    yield Run("pools opened and closed", pool, 200 // share)
    lazy = parmap.parallel_imap(pair, count(), max_workers=2)
    yield Run("items of one `parallel_imap`", lambda: drain(lazy, 1_000), 1_000_000 // share, 1_000)
    lazy.close()  # type: ignore[attr-defined]
    yield Run("workers killed", death, 200 // share)
    yield Run("large results", large, 1_000 // share)


def pair(x: int) -> tuple[int, str]:
    """Something that is pickled."""
    return x, str(x)


def drain(lazy: Iterator[tuple[int, str]], most: int) -> None:
    """Take so many results."""
    for _ in range(most):
        x, text = next(lazy)
        assert text == str(x)


def main() -> None:
    """Run, print, perhaps write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endurance")
    parser.add_argument("--quick", action="store_true", help="a tenth of it")
    parser.add_argument("--write", action="store_true", help=f"also write {TABLE.name}")
    options = parser.parse_args()
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|" + "---:|" * (len(COLUMNS) - 1)]
    print(*lines, sep="\n", flush=True)
    for run in runs(10 if options.quick else 1):
        for line in endure(run):
            lines.append(line)
            print(line, flush=True)
    facts = [
        f"- {datetime.now(UTC):%Y-%m-%d}, `{' '.join(['python -m benchmarks.endurance', *sys.argv[1:]])}`",
        *(f"- {fact}" for fact in report.machine("", 1)[1:3]),
        f"- {platform.python_implementation()} {platform.python_version()}, parmap {version('parmap')}",
    ]
    print("", *facts, sep="\n")
    if options.write:
        TABLE.write_text("\n".join([HEAD, *lines, "", *facts, ""]), encoding="utf-8")


def endure(run: Run) -> Iterator[str]:
    """Do it; a line of the table at the start, in the middle and at the end."""
    for _ in range(max(3, run.total // run.each // 20)):
        run.turn()
    began = monotonic()
    for done in range(0, run.total + 1, run.each):
        if done in (0, run.total // 2 // run.each * run.each, run.total):
            yield line(run, done, monotonic() - began)
        if done < run.total:
            run.turn()


def line(run: Run, done: int, seconds: float) -> str:
    """What is there now."""
    gc.collect()
    own, *others = tree(os.getpid())
    cells = [
        run.name,
        f"{done:,}",
        str(sum(1 for _ in Path("/proc/self/fd").iterdir())),
        str(sum(1 for _ in Path("/proc/self/task").iterdir())),
        str(len(others)),
        f"{resident(own) / 1e6:.1f}",
        f"{sum(map(resident, others)) / 1e6:.1f}",
        f"{seconds:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
