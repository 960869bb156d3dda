"""`python -m benchmarks`: see the package's own docstring."""

from __future__ import annotations

import argparse
import sys

from . import report
from .measure import measure
from .peers import PEERS, Peer
from .workloads import WORKLOAD_BY_NAME, WORKLOADS, Workload


def main() -> None:
    """Measure, print, perhaps write."""
    options = parse()
    chosen = [WORKLOAD_BY_NAME[name] for name in options.only] if options.only else WORKLOADS
    rounds = options.rounds or (3 if options.quick else 5)
    for peer in PEERS:
        if not peer.installed:
            report.note(f"{peer.name} is not installed, and left out")
    tables = []
    for workload in chosen:
        tables.append(measured(workload, rounds, quick=options.quick))
        print(tables[-1], end="\n\n", flush=True)
    facts = report.machine(" ".join(["python -m benchmarks", *sys.argv[1:]]), rounds)
    print(facts)
    if options.write:
        print(f"written to {report.write(tables, facts)}")


def measured(workload: Workload, rounds: int, *, quick: bool) -> str:
    """All rounds of one workload, as a table."""
    peers = [peer for peer in PEERS if peer.installed and workload.suits(peer)]
    results: report.Results = {peer: [None] * rounds for peer in peers}
    failures: dict[Peer, str] = {}
    disturbed: list[float] = []
    for turn in range(rounds):
        report.note(f"{workload.name}: round {turn + 1} of {rounds}")
        start = turn * len(peers) // rounds
        for peer in peers[start:] + peers[:start]:  # another one begins each time
            numbers, others = measure(workload, peer, quick=quick)
            disturbed.append(others)
            if isinstance(numbers, str):
                failures[peer] = numbers
                report.note(f"  {peer.name}: {numbers}")
            else:
                results[peer][turn] = numbers
    return report.table(workload, results, failures, disturbed)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="see benchmarks/__init__"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller measurements")
    parser.add_argument(
        "--only", action="append", choices=WORKLOAD_BY_NAME, metavar="NAME", help="a workload"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each is measured")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
