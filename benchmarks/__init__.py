"""parmap beside other libraries, in one run, on this machine.

    python -m benchmarks                  all workloads, five rounds: some three hours
    python -m benchmarks --quick          three rounds of smaller ones: twenty minutes
    python -m benchmarks --only warm      one workload (names: see `--help`)
    python -m benchmarks --rounds 11      more rounds, for a noisy machine
    python -m benchmarks --json FILE      also keep the raw numbers
    python -m benchmarks --write          also renew what was measured in results.md, results.json and
                                          the plots, all here
    python -m benchmarks.report           write results.md once more, from results.json
    python -m benchmarks.plots            draw the plots once more (with matplotlib), from the same

Benchmarks are hard, and these are ours: read them, repeat them, and doubt them. What is done
against self-deception:

- Each measurement has a process of its own, started for it, so that nothing is warm by accident.
- Each round measures all libraries, beginning with another one each time; so a slow minute of the
  machine hits all of them. A measurement during which other programs (or, on a virtual machine, its
  host) took more than a little of the machine is repeated, unless the run is to be quick; what they
  took in the end is printed.
- Tables show medians over the rounds, with the range beside them. Compare ratios, not times: a
  ratio is the median of the rounds' own ratios, and carries over to other machines better.
- The speed-up is taken within one process, against serial code that runs right before and after
  it. The row "bare processes" is what the machine itself gives: a fork a core, no messages.
- Byte-code caches are written and used in what starts an interpreter, for all libraries alike.
- Who dies, dies alone: each measurement has a time limit, a failure is told and the rest go on, and
  processes that a library leaves behind are killed, counted and told.
- Beside the libraries stand serial code and what the machine allows, measured in the same run: a
  socket's round trip, memory's bandwidth, pickle's own cost, a fork (rows in italics).
- Memory is that of all processes (PSS: shared pages count once), in a pass of its own.

A dagger (†) marks fresh interpreters as workers; the others fork the caller, which is faster to
start and hands down its locks, threads and random state. Libraries that are not installed are named
and left out; those that take seconds to open (Dask, Ray) are measured once in a quick run.

A workload is a function in `workloads`, with its bars in `suite`; a library is a class of a few lines
in `peers`, whose methods say what it can do. `growth` measures how costs grow.
"""
