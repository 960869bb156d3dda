"""Pictures of what was measured, as SVG files in `benchmarks/plots`, by matplotlib if installed.

python -m benchmarks.plots [FILE]       once more, from kept numbers
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import report
from .peers import PEER_BY_NAME
from .suite import ALL, Bar, Growth, Workload

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Each library has the same colour everywhere.
COLOURS = {
    "parmap": "#d62728",
    "serial": "#7f7f7f",
    "multiprocessing.Pool": "#1f77b4",
    "joblib": "#2ca02c",
    "mpire": "#9467bd",
    "Ray": "#ff7f0e",
}
MARKS = {"best forking peer": ("o", "#1f77b4"), "best fresh peer": ("^", "#ff7f0e")}


def write(run: dict[str, Any]) -> list[Path]:
    """Draw all of it."""
    if find_spec("matplotlib") is None:
        report.note("matplotlib is not installed: no plots")
        return []
    report.PLOTS.mkdir(exist_ok=True)
    written = [_save(overview(run), "overview")]
    for name, found in run["entries"].items():
        entry = ALL[name]
        if isinstance(entry, Growth):
            written.append(_save(growth(entry, found["results"]), name))
    return written


def overview(run: dict[str, Any]) -> Figure:
    """How many times better than the best peers parmap is, workload by workload."""
    rows = []
    for name, found in run["entries"].items():
        entry = ALL[name]
        if isinstance(entry, Workload):
            for quantity in (each for each in entry.quantities if each.compared):
                for beside in MARKS:
                    got = report.reached(Bar(1, beside), quantity, found["results"])
                    if got and got[0] > 0:
                        times = got[0] if quantity.more_is_better else 1 / got[0]
                        rows.append((f"{name}: {quantity.name}", beside, times))
    labels = list(dict.fromkeys(label for label, *_ in rows))[::-1]
    figure, axes = _figure(8, 1.2 + 0.28 * len(labels))
    for beside, (mark, colour) in MARKS.items():
        points = [(times, labels.index(label)) for label, which, times in rows if which == beside]
        if points:
            x, y = zip(*points, strict=True)
            axes.scatter(x, y, marker=mark, color=colour, label=f"beside the {beside}", zorder=3)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("parmap is … times as good, at its defaults; the peers at their best settings")
    axes.legend(loc="lower right")
    return figure


def growth(entry: Growth, results: report.Results) -> Figure:
    """Costs by size, both on logarithmic axes."""
    figure, *all_axes = _figure(8 if len(entry.quantities) == 1 else 11, 4.5, len(entry.quantities))
    for axes, quantity in zip(all_axes, entry.quantities, strict=True):
        scale = {"us": 1e6, "ms": 1e3}.get(quantity.unit, 1)
        for name in results:
            sizes = report.settings(results, name, quantity.name)
            if not sizes:
                continue
            costs = [report.values(results, name, quantity.name, size)[0] * scale for size in sizes]
            label = PEER_BY_NAME[name].label() if report.is_peer(name) else name
            axes.plot(list(map(int, sizes)), costs, "o-", color=COLOURS.get(name), label=label)
        axes.set_xscale("log")
        if quantity.unit != "x":
            axes.set_yscale("log")
        axes.set_xlabel(entry.axis)
        axes.set_ylabel(quantity.name + {"us": ", µs", "x": ", ratio"}.get(quantity.unit, ""))
        axes.legend()
    return figure


def _figure(width: float, height: float, many: int = 1) -> tuple[Any, ...]:
    """A figure and so many axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    found = [figure.add_subplot(1, many, at + 1) for at in range(many)]
    for axes in found:
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, *found


def _save(figure: Figure, name: str) -> Path:
    import matplotlib as mpl

    mpl.rcParams["svg.hashsalt"] = name  # the same numbers give the same file
    path = report.PLOTS / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    return path


if __name__ == "__main__":
    kept = Path(sys.argv[1]) if sys.argv[1:] else report.RAW
    for written in write(json.loads(kept.read_text(encoding="utf-8"))):
        print(f"written: {written}")
