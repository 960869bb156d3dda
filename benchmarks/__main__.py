"""`python -m benchmarks`: see the package's own docstring."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import monotonic
from typing import Any

from . import plots, report
from .measure import Measured, measure
from .peers import PEER_BY_NAME
from .suite import ALL, Growth, Workload


def main() -> None:
    """Measure, print, perhaps write."""
    options = parse()
    chosen = [ALL[name] for name in options.only] if options.only else list(ALL.values())
    rounds = options.rounds or (3 if options.quick else 5)
    for name in report.left_out():
        report.note(f"{name} is not installed, and left out")
    run: dict[str, Any] = {"entries": {}}
    for entry in chosen:
        began = monotonic()
        found = measured(entry, rounds, quick=options.quick)
        found["made"] = report.made(rounds, quick=options.quick)
        found["minutes"] = (monotonic() - began) / 60
        run["entries"][entry.name] = found
        print(report.section(entry, found), end="\n\n", flush=True)
        run["facts"] = report.machine()
        if options.json:  # after each, so that an interrupted run is not lost
            options.json.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    print("\n".join(f"- {fact}" for fact in run["facts"]))
    if options.write:
        run = report.merged(run)
        report.RAW.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
        for path in [report.RAW, *plots.write(run), report.write(run)]:
            print(f"written: {path}")


def measured(entry: Workload | Growth, rounds: int, *, quick: bool) -> dict[str, Any]:
    """All rounds of one workload: as JSON keeps it."""
    names = entry.participants()
    if isinstance(entry, Growth):
        rounds = 1
    results: dict[str, list[Any]] = {name: [None] * rounds for name in names}
    failures: dict[str, str] = {}
    left: dict[str, int] = {}
    disturbed: list[float] = []
    for turn in range(rounds):
        report.note(f"{entry.name}: round {turn + 1} of {rounds}")
        start = turn * len(names) // rounds
        for name in names[start:] + names[:start]:  # another one begins each time
            if name in failures or (quick and turn and is_slow(name)):
                continue
            found: Measured = measure(entry, name, quick=quick)
            disturbed.append(found.others)
            results[name][turn] = found.numbers
            if found.failure:
                failures[name] = found.failure
                report.note(f"  {name}: {found.failure}")
            if found.left:
                left[name] = left.get(name, 0) + found.left
                report.note(f"  {name}: {found.left} processes were left, and killed")
    return {"results": results, "failures": failures, "left": left, "disturbed": disturbed}


def is_slow(name: str) -> bool:
    """Whether it takes seconds to open."""
    return name in PEER_BY_NAME and PEER_BY_NAME[name].slow_to_open


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="see benchmarks/__init__"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller measurements")
    parser.add_argument(
        "--only", action="append", choices=ALL, metavar="NAME", help=f"of {', '.join(ALL)}"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each is measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the raw numbers there")
    parser.add_argument(
        "--write", action="store_true", help="renew results.md, results.json and the plots"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
