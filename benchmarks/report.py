"""From numbers to tables and verdicts.

python -m benchmarks.report [FILE]      results.md, once more, from kept numbers
"""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from .peers import CORES, PEER_BY_NAME, PEERS, Peer
from .suite import ALL, Bar, Growth, Quantity, Workload

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
RAW = HERE / "results.json"
PLOTS = HERE / "plots"

#: By participant: its numbers in each round.
Results = dict[str, "list[dict[str, dict[str, float]] | None]"]


def count(value: float) -> str:
    """A large number, with three digits that count."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e5, " k")):
        if value >= size:
            return f"{value / (1e3 if letter == ' k' else size):,.3g}{letter}"
    return f"{value:,.0f}"


SHOWN: dict[str, Callable[[float], str]] = {
    "": lambda value: f"{value:,.0f}",
    "x": lambda value: f"{value:.2f} ×",
    "us": lambda value: f"{value * 1e6:,.3g} µs" if value < 1e-5 else f"{value * 1e6:,.0f} µs",
    "ms": lambda value: f"{value * 1e3:,.1f} ms",
    "s": lambda value: f"{value:.2f} s",
    "/s": lambda value: f"{count(value)}/s" if value >= 1e5 else f"{count(value)} /s",
    "B/s": lambda value: f"{value / 1e9:.2f} GB/s" if value >= 1e9 else f"{value / 1e6:.0f} MB/s",
    "MB": lambda value: f"{value / 1e6:,.0f} MB",
}


# --- ratios and bars ------------------------------------------------------------------------------


def values(results: Results, name: str, quantity: str, setting: str) -> list[float]:
    """What was measured in the rounds that succeeded."""
    found = (numbers and numbers.get(quantity, {}).get(setting) for numbers in results[name])
    return [value for value in found if value is not None]


def ratio(
    results: Results, quantity: str, one: tuple[str, str], other: tuple[str, str]
) -> float | None:
    """The median, over the rounds in which both succeeded, of one's number over the other's."""
    ratios = []
    for a, b in zip(results.get(one[0], []), results.get(other[0], []), strict=False):
        numbers = (a or {}).get(quantity, {}), (b or {}).get(quantity, {})
        if one[1] in numbers[0] and numbers[1].get(other[1]):
            ratios.append(numbers[0][one[1]] / numbers[1][other[1]])
    return median(ratios) if ratios else None


def settings(results: Results, name: str, quantity: str) -> list[str]:
    """At which a participant was measured."""
    return list(next((n[quantity] for n in results[name] if n and quantity in n), {}))


def reached(bar: Bar, quantity: Quantity, results: Results) -> tuple[float, str] | None:
    """Parmap's number, or its ratio to the best of those that count; and who this is."""
    worse = min if quantity.more_is_better else max
    better = max if quantity.more_is_better else min
    found: list[tuple[float, str]] = []
    for ours in bar.ours:
        if not bar.beside:
            numbers = values(results, ours, quantity.name, "default") if ours in results else []
            if numbers:
                found.append((median(numbers), ""))
            continue
        ratios = []
        for peer in bar.candidates([PEER_BY_NAME[name] for name in results if is_peer(name)]):
            for setting in settings(results, peer.name, quantity.name):
                if bar.counts(setting):
                    pair = (ours, "default"), (peer.name, setting)
                    times = ratio(results, quantity.name, *pair)
                    if times is not None:
                        at = "" if setting == "default" else f" ({shown_setting(setting)})"
                        ratios.append((times, peer.name + at))
        if ratios:
            found.append(worse(ratios))
    return better(found) if found else None


def is_peer(name: str) -> bool:
    """Whether it is a library, not a limit."""
    return name in PEER_BY_NAME


def shown_setting(setting: str) -> str:
    """A chunk size, or a name."""
    return f"chunk size {int(setting):,}" if setting.isdigit() else setting


def bar_text(bar: Bar, quantity: Quantity) -> str:
    """What has to be reached."""
    least = "at least" if quantity.more_is_better else "at most"
    if not bar.beside:
        return f"{quantity.name} {least} {SHOWN[quantity.unit](bar.limit)}"
    beside = bar.beside if is_peer(bar.beside) else f"the {bar.beside}"
    at = "" if bar.at == "any setting" else f", {bar.at}"
    without = f", {' and '.join(bar.without)} apart" if bar.without else ""
    ours = "" if bar.ours == ("parmap",) else f" (of {' or '.join(bar.ours)})"
    return f"{quantity.name}{ours} {least} {bar.limit:g} of {beside}{at}{without}"


def verdicts(workload: Workload, results: Results) -> list[tuple[str, str, str]]:
    """Each bar, what was reached, and whether that is enough."""
    found = []
    for bar in workload.bars:
        named = bar.quantity or workload.quantities[0].name
        quantity = next(q for q in workload.quantities if q.name == named)
        text, got = bar_text(bar, quantity), reached(bar, quantity, results)
        if got is None:
            found.append((text, "", "not measured"))
            continue
        number, who = got
        met = number >= bar.limit if quantity.more_is_better else number <= bar.limit
        shown = f"{number:.2f} of {who}" if bar.beside else SHOWN[quantity.unit](number)
        found.append((text, shown, "met" if met else "**not met**"))
    return found


# --- tables ---------------------------------------------------------------------------------------


def markdown(rows: list[list[str]], numbers_from: int) -> list[str]:
    """A table; columns from that one on are numbers."""
    line = ["---"] * numbers_from + ["---:"] * (len(rows[0]) - numbers_from)
    return ["| " + " | ".join(row) + " |" for row in [rows[0], line, *rows[1:]]]


def section(entry: Workload | Growth, found: dict[str, Any]) -> str:
    """One workload."""
    lines = [f"## {entry.name}", "", f"{entry.title} (Measured in {found['made']}.)", ""]
    if isinstance(entry, Growth):
        for quantity in entry.quantities:
            lines += [*_growth_table(entry, quantity, found["results"]), ""]
    else:
        rows = [["bar", "reached", ""], *map(list, verdicts(entry, found["results"]))]
        lines += [*markdown(rows, 3), ""]
        for quantity in entry.quantities:
            lines += [*_table(entry, quantity, found), ""]
    lines += [f"{name} failed: {why}\n" for name, why in found["failures"].items()]
    lines += [
        f"{name} left {many} processes behind, which were killed.\n"
        for name, many in found["left"].items()
    ]
    others = found["disturbed"]
    if others:
        lines.append(
            f"Others took {median(others):.0%} of the machine at the median, "
            f"{max(others):.0%} at the worst."
        )
    return "\n".join(lines)


def _table(workload: Workload, quantity: Quantity, found: dict[str, Any]) -> list[str]:
    show, results = SHOWN[quantity.unit], found["results"]
    rows = [["library", "setting", quantity.name, "range", "parmap is … as good"]]
    for name in results:
        label = PEER_BY_NAME[name].label() if is_peer(name) else f"*{name}*"
        for setting in _shown_settings(quantity, results, name):
            numbers = values(results, name, quantity.name, setting)
            times = ratio(results, quantity.name, ("parmap", "default"), (name, setting))
            if times and not quantity.more_is_better:
                times = 1 / times
            comparable = times and quantity.compared and name != "parmap"
            beside = f"{times:.2f} ×" if comparable else ""
            spread = f"{show(min(numbers))} – {show(max(numbers))}"
            at = shown_setting(setting) if is_peer(name) else ""
            rows.append([label, at, show(median(numbers)), spread, beside])
    return markdown(rows, 2)


def _shown_settings(quantity: Quantity, results: Results, name: str) -> list[str]:
    """The default, a library's own way, and the best of the chunk sizes that were tried."""
    tried = settings(results, name, quantity.name)
    sizes = [setting for setting in tried if setting.isdigit()]
    choose = max if quantity.more_is_better else min
    best = choose(
        sizes,
        key=lambda size: median(values(results, name, quantity.name, size)),
        default=None,
    )
    return [setting for setting in tried if setting not in sizes or setting == best]


def _growth_table(entry: Growth, quantity: Quantity, results: Results) -> list[str]:
    sizes = sorted(
        {size for name in results for size in settings(results, name, quantity.name)}, key=int
    )
    rows = [[f"{quantity.name}; {entry.axis}", *(count(int(size)) for size in sizes)]]
    for name in results:
        label = PEER_BY_NAME[name].label() if is_peer(name) else name
        cells = [values(results, name, quantity.name, size) for size in sizes]
        rows.append([label, *(SHOWN[quantity.unit](cell[0]) if cell else "" for cell in cells)])
    return markdown(rows, 1)


def summary(run: dict[str, Any]) -> list[str]:
    """All bars in one table."""
    rows = [["workload", "bar", "reached", "", "measured in"]]
    for name, found in run["entries"].items():
        entry = ALL[name]
        if isinstance(entry, Workload):
            size = found["made"].partition(",")[0]
            rows += [[name, *verdict, size] for verdict in verdicts(entry, found["results"])]
    return markdown(rows, 5)


# --- where and when -------------------------------------------------------------------------------


def left_out() -> list[str]:
    """Libraries that are not installed."""
    return sorted({peer.distribution or peer.name for peer in PEERS if not peer.installed()})


def made(rounds: int, *, quick: bool) -> str:
    """When a workload was measured, and in which size."""
    size = "the quick form" if quick else "full size"
    return f"{size}, {rounds} rounds, {datetime.now(UTC):%Y-%m-%d}"


def machine() -> list[str]:
    """What the numbers depend on."""
    peers: list[type[Peer]] = [peer for peer in PEERS if peer.distribution and peer.installed()]
    names = dict.fromkeys([*(peer.distribution for peer in peers), "numpy", "scipy"])
    found = [f"{name} {version(name)}" for name in names]
    found += [f"{name} is not installed" for name in left_out()]
    load = f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"
    return [
        f"{CORES} cores, {_processor()}, {_memory()}; load when the run ended: {load}",
        f"{platform.system()} {platform.release()}",
        f"{platform.python_implementation()} {platform.python_version()}; {', '.join(found)}",
    ]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # no such file: not Linux
    return platform.processor() or platform.machine()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (AttributeError, ValueError):
        return "memory unknown"


HEAD = """\
# parmap beside other libraries

Made by `python -m benchmarks --write`; what is measured, and how, is told in
`benchmarks/__init__.py`. In full size each workload is as large as its title says; the quick form
(`--quick`) has a tenth to a half of that, where what a call costs once weighs more. A dagger (†)
marks fresh interpreters as workers, the others fork the caller. Medians over the rounds, with their
range; "parmap is … as good" is the median of the rounds' own ratios, above 1 where parmap, at its
default settings, is faster or leaner. Rows in *italics* are what the machine or the interpreter
allows. "Others" are other programs, and the host of a virtual machine.
"""


def merged(run: dict[str, Any]) -> dict[str, Any]:
    """With what was measured before of other workloads."""
    kept = json.loads(RAW.read_text(encoding="utf-8"))["entries"] if RAW.exists() else {}
    entries = {**kept, **run["entries"]}
    return {**run, "entries": {name: entries[name] for name in ALL if name in entries}}


def write(run: dict[str, Any]) -> Path:
    """Write all of it to `results.md`."""
    lines = [HEAD, *(f"- {fact}" for fact in run["facts"]), "", "## Bars", "", *summary(run), ""]
    lines += _picture("overview", "How many times better than the best peers parmap is")
    for name, found in run["entries"].items():
        lines += [section(ALL[name], found), ""]
        if isinstance(ALL[name], Growth):
            lines += _picture(name, ALL[name].title)
    path = HERE / "results.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _picture(name: str, text: str) -> list[str]:
    """A plot, if there is one."""
    drawn = (PLOTS / f"{name}.svg").exists()
    return [f"![{text}](plots/{name}.svg)", ""] if drawn else []


def note(message: str) -> None:
    """Tell how far it is, apart from the results."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    kept = Path(sys.argv[1]) if sys.argv[1:] else RAW
    print(f"written: {write(json.loads(kept.read_text(encoding='utf-8')))}")
