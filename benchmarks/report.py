"""From numbers to tables and verdicts."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from .peers import CORES, PEERS, Peer
from .workloads import PARMAP, Numbers, Workload

if TYPE_CHECKING:
    from collections.abc import Callable

#: By library: its numbers in each round, or what went wrong in the last of its rounds.
Results = dict[Peer, "list[Numbers | None]"]

SHOWN: dict[str, Callable[[float], str]] = {
    "x": lambda value: f"{value:.2f} ×",
    "us": lambda value: f"{value * 1e6:,.0f} µs",
    "ms": lambda value: f"{value * 1e3:.1f} ms",
    "/s": lambda value: f"{value / 1e6:.2f} M/s" if value >= 1e5 else f"{value:,.0f} /s",
}


def values(rounds: list[Numbers | None], setting: str) -> list[float]:
    """What was measured in the rounds that succeeded."""
    return [numbers[setting] for numbers in rounds if numbers]


def ratio(results: Results, one: tuple[Peer, str], other: tuple[Peer, str]) -> float | None:
    """The median, over the rounds in which both succeeded, of one's number over the other's."""
    pairs = zip(results.get(one[0], []), results.get(other[0], []), strict=False)
    ratios = [a[one[1]] / b[other[1]] for a, b in pairs if a and b]
    return median(ratios) if ratios else None


def verdict(workload: Workload, results: Results) -> str:
    """The bar, what was reached, and whether that is enough."""
    bar = workload.bar
    beside = next((peer for peer in PEERS if peer.name == bar.beside), None)
    reached: float | None
    if beside is not None:
        reached = ratio(results, (PARMAP, "default"), (beside, "default"))
        shown = "" if reached is None else f"{reached:.2f} of it"
    else:
        ours = values(results.get(PARMAP, []), "default")
        reached = median(ours) if ours else None
        shown = "" if reached is None else SHOWN[workload.unit](reached)
    if reached is None:
        return f"Bar: {bar.text}. Not measured."
    met = reached >= bar.limit if workload.more_is_better else reached <= bar.limit
    return f"Bar: {bar.text}. Reached: {shown}. **{'Met' if met else 'NOT MET'}.**"


def table(
    workload: Workload, results: Results, failures: dict[Peer, str], disturbed: list[float]
) -> str:
    """One workload as Markdown."""
    show = SHOWN[workload.unit]
    rows = [["library", "chunk size", "median", "range", "parmap is … as fast"]]
    for peer, rounds in results.items():
        settings = next((list(numbers) for numbers in rounds if numbers), [])
        if not settings:
            rows.append([peer.label, "", "failed", failures.get(peer, ""), ""])
            continue
        for setting in ["default", *_best(workload, rounds, settings)]:
            found = values(rounds, setting)
            times = ratio(results, (PARMAP, "default"), (peer, setting))
            if times is not None and not workload.more_is_better:
                times = 1 / times
            spread = f"{show(min(found))} – {show(max(found))}"
            faster = "" if times is None or peer is PARMAP else f"{times:.2f} ×"
            rows.append([peer.label, setting, show(median(found)), spread, faster])
    rows.insert(1, ["---"] * 2 + ["---:"] * 3)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines += ["", f"Others took {median(disturbed):.0%} of the machine at the median,"]
    lines += [f"{max(disturbed):.0%} at the worst."]
    head = [f"## {workload.name}", "", f"{workload.title}.", "", verdict(workload, results), ""]
    return "\n".join(head + lines)


def _best(workload: Workload, rounds: list[Numbers | None], settings: list[str]) -> list[str]:
    """The best of the chunk sizes that were tried, if any were."""
    tried = [setting for setting in settings if setting != "default"]
    choose = max if workload.more_is_better else min
    return [choose(tried, key=lambda setting: median(values(rounds, setting)))] if tried else []


# --- where and when -------------------------------------------------------------------------------


def machine(command: str, rounds: int) -> str:
    """What the numbers depend on, as a Markdown list."""
    found = []
    for name in ("parmap", "joblib", "loky", "mpire", "pebble"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} is not installed")
    load = f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, `{command}`, {rounds} rounds",
        f"{CORES} cores, {_processor()}; load when the run ended: {load}",
        f"{platform.system()} {platform.release()}",
        f"{platform.python_implementation()} {platform.python_version()}; {', '.join(found)}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # no such file: not Linux
    return platform.processor() or platform.machine()


HEAD = """\
# parmap beside other libraries

Made by `python -m benchmarks --write`; what is measured, and how, is told in
`benchmarks/__init__.py`. A dagger (†) marks fresh interpreters as workers, the others fork the
caller. Medians over the rounds, with their range; the last column is the median of the rounds' own
ratios, above 1 where parmap, at its default settings, is faster. "Others" are other programs, and
the host of a virtual machine.
"""


def write(tables: list[str], facts: str) -> Path:
    """Write all of it to `results.md`."""
    path = Path(__file__).with_name("results.md")
    path.write_text("\n".join([HEAD, facts, "", "\n\n".join(tables), ""]), encoding="utf-8")
    return path


def note(message: str) -> None:
    """Tell how far it is, apart from the results."""
    print(message, file=sys.stderr, flush=True)
