"""A plan driven in virtual time: how long would a call take, and with how many messages?

Each event takes `MESSAGE` seconds of the driver, which handles one at a time; an answer to a worker
is there another `MESSAGE` later. A worker runs the items it has in order, tells what it has done
every `SLICE` seconds and whenever it has run out, and gives back at once what it has not begun.

Print a table of workloads::

    python -m tests.plan.simulator
"""

from __future__ import annotations

import sys
from collections import deque
from heapq import heappop, heappush, heapreplace
from random import Random
from time import perf_counter

from parmap._plan._call import Plan, Rules
from parmap._plan._chunks import SLICE
from parmap._plan._vocabulary import (
    AskBack,
    Finish,
    GaveBack,
    InputRead,
    ItemsDone,
    Read,
    ReleaseWorker,
    Send,
    StartWorker,
    Tick,
    WorkerReady,
)

#: Seconds from one side to the other.
MESSAGE = 0.0001


class SimWorker:
    """Items in order, in runs; it wakes when there is something to tell."""

    def __init__(self):
        self.queue = deque()  # [first, stop) runs, not begun
        self.first = self.stop = 0  # what it has not told of in the run it is at
        self.since = 0.0  # when it began that
        self.busy = False
        self.turn = 0  # which wake-up counts


class Simulator:
    """One call in virtual time; `makespan`, `messages` and `events` are what came of it.

    And `carried`, how many items were sent, some of them again.
    """

    def __init__(self, costs, rules):
        self.costs, self.rules = costs, rules
        self.plan = Plan(rules)
        self.now = 0.0
        self.heap = []
        self.workers = {}
        self.events = self.messages = self.carried = self.done = self.read = 0
        self.makespan = None
        self._count = 0

    def run(self):
        """Live to the end, and be handed back."""
        for command in self.plan.begin():
            self.perform(command)
        while self.makespan is None:
            due = self.plan.deadline
            if due <= (self.heap[0][0] if self.heap else float("inf")):
                assert due < float("inf"), "nobody can answer any more"
                self.now = max(self.now, due)
                self.feed(Tick(self.now))
                continue
            self.now, _, act, arguments = heappop(self.heap)
            act(*arguments)
        assert self.done == len(self.costs)
        return self

    def later(self, at, act, *arguments):
        self._count += 1
        heappush(self.heap, (at, self._count, act, arguments))

    def feed(self, event):
        self.events += 1
        for command in self.plan.handle(event):
            self.perform(command)

    def perform(self, command):
        kind = type(command)
        if kind is Send:
            self.messages += 1
            self.carried += command.stop - command.first
            self.later(
                self.now + MESSAGE, self.receive, command.worker, command.first, command.stop
            )
        elif kind is Read:
            self._count += 1  # at once, before all else
            heappush(self.heap, (self.now, -self._count, self.answer_read, (command.count,)))
        elif kind is AskBack:
            self.messages += 1
            self.later(self.now + MESSAGE, self.asked, command.worker)
        elif kind is StartWorker:
            self.workers[command.worker] = SimWorker()
            self.later(self.now + 10 * MESSAGE, self.arrive, command.worker)
        elif kind is Finish:
            assert (command.error, command.late) == (None, False)
            self.makespan = self.now
        else:
            assert kind is ReleaseWorker, command

    def answer_read(self, count):
        count = min(count, len(self.costs) - self.read)
        self.read += count
        self.feed(InputRead(self.now, count, ended=self.read == len(self.costs)))

    def arrive(self, number):
        self.feed(WorkerReady(self.now, number))

    # --- a worker -------------------------------------------------------------------------------

    def receive(self, number, first, stop):
        worker = self.workers[number]
        worker.queue.append((first, stop))
        if not worker.busy:
            self.begin(number, worker)

    def begin(self, number, worker):
        worker.first, worker.stop = worker.queue.popleft()
        worker.since = self.now
        worker.busy = True
        self.go_on(number, worker)

    def go_on(self, number, worker):
        """Run on until there is something to tell."""
        worker.turn += 1
        index, stop, costs = worker.first, worker.stop, self.costs
        at, latest = worker.since, worker.since + SLICE
        while index < stop:
            at += costs[index]
            index += 1
            if at >= latest:
                break
        self.later(at, self.tell, number, worker.turn, index)

    def tell(self, number, turn, done):
        worker = self.workers[number]
        if turn != worker.turn:
            return  # it has given something back in between
        first, since = worker.first, worker.since
        self.messages += 1
        event = ItemsDone(self.now + MESSAGE, number, first, done, self.now - since)
        self.done += done - first
        self.later(self.now + MESSAGE, self.arrived, event)
        worker.first = done
        worker.since = self.now
        if done < worker.stop:
            self.go_on(number, worker)
        elif worker.queue:
            self.begin(number, worker)
        else:
            worker.busy = False
            worker.turn += 1

    def arrived(self, event):
        event.now = self.now
        self.feed(event)

    def asked(self, number):
        worker = self.workers[number]
        spans = list(worker.queue)
        worker.queue.clear()
        if worker.busy:
            # Where is it? What it has begun is its own.
            index, at = worker.first, worker.since
            while index < worker.stop and at <= self.now:
                at += self.costs[index]
                index += 1
            if index < worker.stop:
                spans.insert(0, (index, worker.stop))
                worker.stop = index
                self.go_on(number, worker)
        self.messages += 1
        self.later(self.now + MESSAGE, self.gave_back, number, spans)

    def gave_back(self, number, spans):
        self.feed(GaveBack(self.now, number, spans))


def simulate(costs, workers, **rules):
    """Run a workload; `ratio` is its makespan over what nobody could better."""
    simulator = Simulator(costs, Rules(workers=workers, **rules)).run()
    simulator.ratio = simulator.makespan / max(sum(costs) / workers, *costs)
    return simulator


def in_order(costs, workers):
    """The makespan when each item goes to the first free worker, and messages cost nothing.

    What comes last cannot be known beforehand: where a long item comes late, this is the measure.
    """
    free = [0.0] * workers
    for cost in costs:
        heapreplace(free, free[0] + cost)
    return max(free)


def workloads():
    """The standard ones: each is a list of costs."""
    random = Random(1)
    tail = [min(0.0005 / (1 - random.random()) ** 0.7, 0.5) for _ in range(2_000)]
    return {
        "uniform 1 ms": [0.001] * 2_000,
        "uniform 10 µs": [0.00001] * 200_000,
        "uniform 50 ms": [0.05] * 400,
        "heavy-tailed, in random order": tail,
        "heavy-tailed, longest last": sorted(tail),
        "heavy-tailed, longest first": sorted(tail, reverse=True),
        "cheap, then dear": [0.00001] * 20_000 + [0.02] * 200,
        "dear, then cheap": [0.02] * 200 + [0.00001] * 20_000,
        "one giant first": [1.0] + [0.001] * 4_000,
        "one giant in the middle": [0.001] * 2_000 + [0.5] + [0.001] * 2_000,
    }


def main():
    print(f"{'workload':32}{'workers':>8}{'ratio':>8}{'messages':>10}{'events':>9}{'seconds':>9}")
    for name, costs in workloads().items():
        for workers in (1, 2, 8):
            start = perf_counter()
            result = simulate(costs, workers)
            took = perf_counter() - start
            print(
                f"{name:32}{workers:8}{result.ratio:8.3f}{result.messages:10}{result.events:9}{took:9.2f}"
            )


if __name__ == "__main__":
    sys.exit(main())
