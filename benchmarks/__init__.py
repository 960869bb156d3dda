"""parmap beside other libraries, in one run, on this machine.

    python -m benchmarks                  all workloads, five rounds: half an hour
    python -m benchmarks --quick          three rounds of smaller ones: six minutes
    python -m benchmarks --only warm      one workload (names: see `workloads`)
    python -m benchmarks --rounds 11      more rounds, for a noisy machine
    python -m benchmarks --write          also write the tables to benchmarks/results.md

Benchmarks are hard, and these are ours: read them, repeat them, and doubt them. What is done
against self-deception:

- Each measurement has a process of its own, started for it, so that nothing is warm by accident.
- Each round measures all libraries, beginning with another one each time; so a slow minute of the
  machine hits all of them. A measurement during which other programs (or, on a virtual machine, its
  host) took more than a little of the machine is repeated; what they took in the end is printed.
- Tables show medians over the rounds, with the range beside them. Compare ratios, not times: a
  ratio is the median of the rounds' own ratios, and carries over to other machines better.
- The speed-up is taken within one process, against serial code that runs right before and after
  it. The row "bare processes" is what the machine itself gives: a fork a core, no messages.
- Byte-code caches are written and used in what starts an interpreter, for all libraries alike.

A dagger (†) marks fresh interpreters as workers; the others fork the caller, which is faster to
start and hands down its locks, threads and random state. Libraries that are not installed are named
and left out. A workload is a function in `workloads`, a library a few lines in `peers`.
"""
