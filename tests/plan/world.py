"""Seeded worlds: a virtual driver that puts a plan through everything that can happen to a call.

A world draws, from one number, the rules of a call, its input, what becomes of each item, and then
an order of events: workers that die at the worst moment, late answers, late news of workers that
are gone, time that stops just at a deadline. It performs the commands as `parmap._plan._call`
tells, and holds the plan against a model of its own, which knows sets and dictionaries only: what
serial code would have returned or raised is the measure.

Replay one world, with all its turns::

    python -m tests.plan.world 81652
    python -m pytest tests/plan -k world_ends --world 81652 -s

Look for a failing one among many::

    python -m tests.plan.world 0-100000
"""

from __future__ import annotations

import sys
from random import Random

from parmap._plan._call import AHEAD, FUTILE, PATIENCE, RETRY, Plan, Rules
from parmap._plan._chunks import LARGEST
from parmap._plan._crew import INFINITY
from parmap._plan._vocabulary import (
    GaveBack,
    InputRaised,
    InputRead,
    ItemFailed,
    ItemsDone,
    Recall,
    Running,
    Stop,
    Taken,
    Tick,
    WorkerGone,
    WorkerReady,
)


class WorldError(AssertionError):
    """The plan did what it must not, or did not what it must."""


def need(condition, complaint):
    if not condition:
        raise WorldError(complaint)


def spans_of(indices):
    """Sorted indices as half-open runs."""
    runs = []
    for index in sorted(indices):
        if runs and runs[-1][1] == index:
            runs[-1][1] = index + 1
        else:
            runs.append([index, index + 1])
    return [tuple(run) for run in runs]


class Item:
    """What becomes of an item when it runs: `kind` in its first `times` runs, "fine" later."""

    def __init__(self, cost=0.0, kind="fine", times=99, *, again=True):
        self.cost = cost
        self.kind = kind  # fine, fails, fatal, kills, endless, unsendable
        self.times = times
        self.again = again  # whether its error may be retried
        self.runs = 0

    def __repr__(self):
        return f"{self.kind}×{self.times}{'' if self.again else '!'} {self.cost:g} s"


class Worker:
    """The world's side of a worker."""

    def __init__(self, number):
        self.number = number
        self.stage = "starting"  # then up, and perhaps doomed; in the end released or gone
        self.up = False
        self.ready_at = 0.0
        self.leaving = False
        self.alone = False  # was sent a suspect
        self.held = set()  # sent, not answered for: what follows is about these
        self.queue = []  # not begun
        self.current = None
        self.since = self.end = 0.0
        self.unreported = []  # run
        self.failures = {}  # of these: error, and whether it may be retried
        self.unsendable = []
        self.asked = []  # for what it has not begun: each time, whether to leave it one item
        self.looked = 0
        self.overdue = None
        self.handled = 0  # sent and not given back
        self.news = 0.0  # when it was sent something while it had nothing, or last said something
        self.bare = False  # was asked for what it has not begun: no use to ask again

    @property
    def live(self):
        return self.stage in {"starting", "up", "doomed"}


class World:
    """The input, the workers and the consumer of one call, and a model of what must be true."""

    def __init__(self, rules, items, random, *, input_raises=False, input_mood="prompt"):
        self.rules, self.items, self.random = rules, items, random
        self.input_raises, self.input_mood = input_raises, input_mood
        self.plan = Plan(rules)
        self.now = 0.0
        self.log = []
        self.workers = {}
        self.crew = []  # the live ones
        # The input.
        self.asked_for = 0  # by a Read that is to be answered
        self.read = 0
        self.ended = False
        self.weight = 0  # bytes an item
        # Each index that was read is in one of these, or held by one worker.
        self.free = set()
        self.suspects = {}  # since when
        self.done = set()
        self.kept = {}  # failures that stand as results
        self.failed = {}  # failures for good
        self.dropped = set()  # cancelled by a failure
        self.charged = {}
        self.doom = None
        self.condemned = False  # whether this very event has cancelled something
        self.to_keep = []
        # The consumer.
        self.delivered = set()
        self.taken = 0
        self.futile_starts = self.futile_deaths = 0
        self.futile_at = 0.0
        self.start_from = 0.0  # no worker is to be started before
        self.said = False
        self.must_say = None  # why there are fewer workers than there might be
        self.leaver_holds = None  # while a Recall is handled
        self.must_end = None  # the fields of the Finish that has to follow
        self.finished = None

    # --- events: the model takes them in, the plan answers, the commands are performed ------------

    def feed(self, event):
        before = self.doom
        self.condemned = False
        getattr(self, "_see_" + type(event).__name__.lower(), lambda _: None)(event)
        if self.must_end is None and self.doom is not None and self.doom != before:
            self.condemned = True
            self.cancel()
        self.perform(event, self.plan.handle(event))

    def perform(self, event, commands):
        self.log.append((event, commands))
        if self.finished is not None:
            need(commands == [], "something follows Finish")
            return
        for command in commands:
            need(self.finished is None, "something follows Finish")
            getattr(self, "_do_" + type(command).__name__.lower())(command)
        self.plan.check()
        self.check()

    def _member(self, number):
        worker = self.workers.get(number)
        return worker if worker is not None and worker.live else None

    def _see_workerready(self, event):
        worker = self._member(event.worker)
        if worker is not None:
            self.futile_starts = 0
            worker.ready_at = event.now

    def _see_workergone(self, event):
        worker = self._member(event.worker)
        if worker is None:
            return
        doomed = worker.stage == "doomed"
        self.retire(worker, "gone")
        lost, worker.held = worker.held, set()
        if event.running is not None and event.running in lost:
            lost.discard(event.running)
            self.fail(event.running, event.error, again=event.again)
        elif not worker.up:
            self.futile_starts += 1
            if self.futile_starts >= FUTILE:
                others = {other.stage for other in self.crew} - {"doomed"}
                if self.rules.together or not others:
                    self.must_end = (None, event.error, False)
                else:
                    self.start_from = self.now + RETRY
                if "up" in others and not self.must_end and not self.said:
                    self.must_say, self.said = event.error, True
        elif lost and not (event.orderly or doomed) and worker.ready_at >= self.futile_at:
            self.futile_at = event.now
            self.futile_deaths += 1
            if self.futile_deaths >= FUTILE:
                index = min(lost)
                lost.discard(index)
                self.fail(index, event.error, again=event.again)
        self.put_back(lost, worker)

    def _see_inputread(self, event):
        self.asked_for = 0
        new = set(range(self.read, self.read + event.count))
        self.read += event.count
        self.ended = event.ended
        (self.free if self.doom is None else self.dropped).update(new)

    def _see_inputraised(self, event):
        self.asked_for = 0
        self.ended = True
        self.condemn(self.read, event.error)

    def _see_itemsdone(self, event):
        worker = self._member(event.worker)
        indices = worker.held & set(range(event.first, event.stop)) if worker else set()
        if indices:
            worker.held -= indices
            worker.news = self.now
            self.futile_deaths = 0
            bad = {index for index, _, _ in event.failures} & indices
            self.done |= indices - bad
            for index, error, again in event.failures:
                if index in bad:
                    self.fail(index, error, again=again)

    def _see_itemfailed(self, event):
        if event.worker is None:
            worker = next((w for w in self.crew if event.index in w.held), None)
            place = worker.held if worker else self.free
        else:
            worker = self._member(event.worker)
            place = worker.held if worker else set()
        if event.index in place:
            place.discard(event.index)
            if worker:
                worker.news = self.now
            self.futile_deaths = 0
            self.fail(event.index, event.error, again=event.again, fatal=event.fatal)

    def _see_gaveback(self, event):
        worker = self._member(event.worker)
        if worker is not None:
            back = {i for span in event.spans for i in range(*span)} & worker.held
            worker.held -= back
            worker.handled -= len(back)
            worker.bare = not back
            self.put_back(back, worker)

    def _see_taken(self, event):
        self.taken += event.count

    def _see_recall(self, event):
        members = [worker for worker in self.crew if worker.stage == "up"]
        if members and not any(worker.leaving for worker in members):
            # Which of those that hold fewest is the plan's affair: read off in `recall`.
            self.leaver_holds = min(len(worker.held) for worker in members)

    def _see_tick(self, event):
        if event.now >= self.rules.stop_at_time:
            self.must_end = (None, None, True)

    def _see_stop(self, event):
        self.must_end = (None, event.error, False)

    # --- the model --------------------------------------------------------------------------------

    def fail(self, index, error, *, again, fatal=False):
        wanted = self.doom is None or index < self.doom[0]
        if again and not fatal and wanted and self.charged.get(index, 0) < self.rules.retries:
            self.charged[index] = self.charged.get(index, 0) + 1
            self.suspects[index] = self.now
        elif fatal or self.rules.stop_at_failure:
            self.failed[index] = error
            self.condemn(index, error)
        else:
            self.kept[index] = error
            self.to_keep.append((index, error))

    def condemn(self, index, error):
        if self.doom is None or index < self.doom[0]:
            self.doom = index, error
            if self.rules.first_in_time:
                self.must_end = (index, error, False)

    def cancel(self):
        limit = self.doom[0]
        above = {i for i in (*self.free, *self.suspects) if i >= limit}
        self.free -= above
        for index in above:
            self.suspects.pop(index, None)
        self.dropped |= above

    def put_back(self, indices, worker):
        for index in indices:
            if self.doom is not None and index >= self.doom[0]:
                self.dropped.add(index)
            elif worker.alone:
                self.suspects[index] = self.now
            else:
                self.free.add(index)

    def retire(self, worker, stage):
        worker.stage = stage
        self.crew.remove(worker)

    @property
    def may_read(self):
        window = self.rules.window
        if window is None and self.rules.delivery != "whole":
            window = AHEAD * self.rules.workers * self.plan.pace.size(None, self.rules.workers)
        room = window is None or self.read - self.taken < window
        return room and not self.ended and self.doom is None

    def through(self):
        """Whether the call has an outcome, by the measure of serial code."""
        if self.doom is not None:
            settled = self.done | self.kept.keys() | self.failed.keys()
            return all(index in settled for index in range(self.doom[0]))
        return self.ended and len(self.done) + len(self.kept) == self.read

    # --- commands: performed as the driver would, and judged --------------------------------------

    def _do_startworker(self, command):
        need(command.worker not in self.workers, "a worker's number is used again")
        worker = self.workers[command.worker] = Worker(command.worker)
        self.crew.append(worker)
        need(len(self.crew) <= self.rules.workers, "too many workers")
        need(self.now >= self.start_from, "a worker is started too soon")

    def _do_lack(self, command):
        need(command.error == self.must_say, "says for nothing that workers are lacking")
        self.must_say = None

    def _do_releaseworker(self, command):
        worker = self._member(command.worker)
        need(worker is not None and worker.stage == "up", "no such worker to release")
        need(not worker.held, "a worker that holds items is released")
        spent = worker.handled == self.rules.tasks_per_worker
        leaves = worker.leaving or self.leaver_holds == 0
        need(spent or leaves or not self.rules.keep_idle, "released for nothing")
        self.retire(worker, "released")
        if not self.crew:
            self.start_from = self.now  # there is room again

    def _do_killworker(self, command):
        worker = self._member(command.worker)
        need(worker is not None and worker.stage == "up", "no such worker to kill")
        if command.overdue is None:
            need(self.doom is not None, "a worker is killed for nothing")
            need(min(worker.held) > self.doom[0], "a worker is killed that runs a wanted item")
        else:
            need(command.overdue in worker.held, "a worker is killed for what it has not")
            due = worker.since + self.rules.item_timeout
            need(worker.current != command.overdue or due <= self.now, "killed too early")
        worker.stage = "doomed"
        worker.overdue = command.overdue

    def _do_read(self, command):
        need(not self.asked_for, "two reads at once")
        need(command.count >= 1, "nothing is to be read")
        need(self.may_read, "must not read")
        window = self.rules.window
        need(window is None or self.read - self.taken + command.count <= window, "window overrun")
        self.asked_for = command.count

    def _do_send(self, command):
        worker = self._member(command.worker)
        need(worker is not None and worker.stage == "up", "sent to a worker that is not ready")
        need(not worker.leaving, "sent to a worker that leaves")
        indices = range(command.first, command.stop)
        need(len(indices), "nothing is sent")
        if indices[0] in self.suspects:
            need(len(indices) == 1 and not worker.held, "a suspect is not alone")
            oldest = min(self.suspects.values())
            need(
                not (self.free or self.may_read) or self.now >= oldest + PATIENCE, "a hasty suspect"
            )
            del self.suspects[indices[0]]
            worker.alone = True
        else:
            need(not (worker.alone and worker.held), "sent after a suspect")
            need(self.free.issuperset(indices), "sent what is not free")
            need(indices[0] == min(self.free), "not the lowest first")
            worker.alone = False
            self.free.difference_update(indices)
        need(self.doom is None or indices[-1] < self.doom[0], "a cancelled item is sent")
        fixed = self.rules.chunksize
        need(len(indices) <= max(fixed or 1, LARGEST), "too much is sent at once")
        worker.handled += len(indices)
        worker.news = worker.news if worker.held else self.now
        worker.bare = False
        most = self.rules.tasks_per_worker
        need(most is None or worker.handled <= most, "more than a worker may have")
        worker.held.update(indices)
        for index in indices:
            good = self.items[index].kind != "unsendable"
            (worker.queue if good else worker.unsendable).append(index)

    def _do_askback(self, command):
        worker = self._member(command.worker)
        need(worker is not None and worker.stage == "up", "the wrong worker is asked")
        need(len(worker.held) > 1, "asked for what it is at")
        need(command.leave_one or self.condemned, "what is taken to and fro may never begin")
        worker.asked.append(command.leave_one)
        worker.bare = True

    def _do_look(self, command):
        worker = self._member(command.worker)
        need(worker is not None and worker.stage == "up", "looks at the wrong worker")
        need(self.rules.item_timeout is not None, "looks for nothing")
        worker.looked += 1

    def _do_keep(self, command):
        need(self.to_keep and self.to_keep.pop(0) == (command.index, command.error), "wrong: keep")

    def _do_deliver(self, command):
        need(self.rules.delivery != "whole", "delivered, though nobody takes")
        need(command.first < command.stop, "nothing is delivered")
        span = set(range(command.first, command.stop))
        need(not span & self.delivered, "delivered twice")
        need(span <= self.done | self.kept.keys(), "delivered what is not there")
        if self.rules.delivery == "ordered":
            need(command.first == len(self.delivered), "out of order")
            need(self.doom is None or command.stop <= self.doom[0], "delivered past a failure")
        self.delivered |= span

    def _do_finish(self, command):
        got = command.index, command.error, command.late
        if self.must_end is not None:
            need(got == self.must_end, f"ends with {got}, not with {self.must_end}")
        elif self.doom is not None:
            need(got == (*self.doom, False), f"ends with {got}, not with {self.doom}")
            need(self.through(), "the end comes too early")
        else:
            need(got == (None, None, False), f"ends with {got}")
            need(self.through(), "the end comes too early")
        self.finished = got

    # --- what must be true after each event -------------------------------------------------------

    def check(self):
        need(not self.to_keep, "a failure that is to stand is not kept")
        self.check_delivery()
        if self.finished is not None:
            return
        need(self.must_end is None and not self.through(), "the call goes on after its end")
        need(self.must_say is None, "does not say that workers are lacking")
        need(self.now >= self.start_from or self.plan.deadline <= self.start_from, "tries no more")
        held = sum(len(worker.held) for worker in self.crew)
        known = self.free, self.suspects, self.done, self.kept, self.failed, self.dropped
        need(held + sum(map(len, known)) == self.read, "an item is lost or doubled")
        need(self.plan.done == len(self.done) + sum(map(len, known[3:])), "wrong: done")
        self.check_nothing_is_put_off()

    def check_nothing_is_put_off(self):
        idle = [
            worker
            for worker in self.crew
            if worker.stage == "up"
            and not (worker.held or worker.leaving)
            and worker.handled != self.rules.tasks_per_worker
        ]
        full = len(self.crew) >= self.rules.workers or self.now < self.start_from
        coming = sum(worker.stage == "starting" for worker in self.crew)
        if idle:
            need(not self.free, "a worker idles while items wait")
            need(not self.suspects or self.may_read, "a worker idles while a suspect waits")
        wanted = len(self.free) > coming * self.first_message() and not idle
        need(full or not wanted, "a worker should be started")
        # While somebody may be sent more ahead, and there is more to read, a suspect has to wait.
        ahead = any(w.stage == "up" and w.held and not (w.alone or w.leaving) for w in self.crew)
        ahead = ahead and self.may_read and self.plan.pace.cheap
        waits = len(self.suspects) > coming and not (idle or ahead)
        need(full or not waits, "a worker should be started for a suspect")
        need(
            not (idle or not full) or self.asked_for or not self.may_read or wanted or waits,
            "reads too little",
        )
        if self.doom is None and (idle or not (full or coming)):
            self.check_the_silent_are_helped()
        wanted = len(self.free) + len(self.suspects) > coming and not idle
        if self.doom is not None and full and not (idle or coming):
            useless = [w for w in self.crew if w.held and min(w.held) > self.doom[0]]
            doomed = any(worker.stage == "doomed" for worker in self.crew)
            need(not (wanted and useless) or doomed, "no room is made for what is wanted")
        for worker in self.crew:
            spent = worker.leaving or worker.handled == self.rules.tasks_per_worker
            need(not (worker.stage == "up" and spent and not worker.held), "an idle worker stays")

    def first_message(self):
        """How many items a worker that is started will take at once, as far as anybody knows."""
        left = len(self.free) if self.ended else None
        whole = self.read if self.ended else self.rules.expected or 0
        size = self.plan.pace.size(left, self.rules.workers, whole)
        return min(size, self.rules.tasks_per_worker or size)

    def check_the_silent_are_helped(self):
        """Who holds most and says nothing is asked, or somebody is started who can ask."""
        if self.free or self.suspects or self.may_read:
            return
        givers = [w for w in self.crew if w.stage == "up" and len(w.held) > 1 and not w.bare]
        most = max((len(worker.held) for worker in givers), default=0)
        fullest = [worker for worker in givers if len(worker.held) == most]
        patience = self.plan.pace.patience(most, len(self.crew))
        latest = max((worker.news + patience for worker in fullest), default=INFINITY)
        need(self.plan.deadline <= latest, "nobody helps a silent worker")

    def check_delivery(self):
        ready = self.done | self.kept.keys()
        if self.rules.delivery == "unordered":
            need(self.delivered == ready, "a result is held back")
        elif self.rules.delivery == "ordered":
            most = self.read if self.doom is None else self.doom[0]
            head = next((i for i in range(most) if i not in ready), most)
            need(len(self.delivered) == head, "a result is held back")

    # --- what may happen: each of these does one thing --------------------------------------------

    def answer_read(self):
        asked, left = self.asked_for, len(self.items) - self.read
        if self.input_mood != "prompt" and self.random.random() < 0.5:
            asked = self.random.randint(0, asked)
        elif self.rules.window is None and self.rules.delivery == "whole" and self.weight == 0:
            asked += self.random.choice([0, 0, 1, 30])  # more than was asked for
        if asked > left and self.input_raises:
            if left:
                self.feed(InputRead(self.now, left, ended=False))
            else:
                self.feed(InputRaised(self.now, "input"))
            return
        # That nothing is left is known at once, or only by the next read.
        known = asked == left and not self.input_raises and self.random.random() < 0.5
        ended = asked > left or known
        count = min(asked, left)
        self.feed(InputRead(self.now, count, ended=ended, nbytes=count * self.weight))

    def arrive(self, worker):
        worker.up = True
        if worker.stage == "starting":
            worker.stage = "up"
        self.feed(WorkerReady(self.now, worker.number))

    def begin(self, worker):
        worker.current = worker.queue.pop(0)
        item = self.items[worker.current]
        item.runs += 1
        worker.since = self.now
        endless = item.kind == "endless" and item.runs <= item.times
        worker.end = INFINITY if endless else self.now + item.cost

    def end(self, worker):
        index, item = worker.current, self.items[worker.current]
        kind = item.kind if item.runs <= item.times else "fine"
        if kind == "kills":
            self.die(worker, f"killed by {index}", again=item.again)
            return
        worker.current = None
        if kind == "fails" and self.random.random() < 0.5:  # is told of among results
            worker.unreported.append(index)
            worker.failures[index] = f"{kind} {index}", item.again
        elif kind in {"fails", "fatal"}:
            error, fatal = f"{kind} {index}", kind == "fatal"
            self.feed(
                ItemFailed(self.now, worker.number, index, error, again=item.again, fatal=fatal)
            )
        else:
            worker.unreported.append(index)

    def report(self, worker):
        first, stop = spans_of(worker.unreported)[0]
        stop = self.random.randint(first + 1, stop)
        worker.unreported = [i for i in worker.unreported if not first <= i < stop]
        cost = sum(self.items[i].cost for i in range(first, stop))
        failures = [
            (i, *worker.failures.pop(i)) for i in range(first, stop) if i in worker.failures
        ]
        self.feed(ItemsDone(self.now, worker.number, first, stop, cost, failures))

    def refuse(self, worker):
        """An item could not be serialised: found while it was being sent, or known before."""
        index = worker.unsendable.pop()
        number = worker.number if self.random.random() < 0.5 else None
        self.feed(ItemFailed(self.now, number, index, f"unsendable {index}"))

    def give_back(self, worker):
        leave_one = worker.asked.pop(0)
        share = self.random.choice([0, 1, 1, 1, 2, 99])
        back = worker.queue[1:] if leave_one and worker.current is None else worker.queue
        if share == 99:
            back = [index for index in back if self.random.random() < 0.5]
        elif share != 1:
            back = back[: len(back) * share // 2]
        worker.queue = [index for index in worker.queue if index not in back]
        self.feed(GaveBack(self.now, worker.number, spans_of(back)))

    def answer_look(self, worker):
        worker.looked -= 1
        self.feed(Running(self.now, worker.number, worker.current, worker.since))

    def die(self, worker, error, *, again=True, orderly=False, blame=True):
        running = worker.current if blame else None
        self.feed(WorkerGone(self.now, worker.number, running, error, again=again, orderly=orderly))

    def die_killed(self, worker):
        overdue = worker.overdue is not None and worker.overdue == worker.current
        self.die(worker, f"timeout {worker.overdue}" if overdue else "killed")

    def take(self):
        count = self.random.randint(1, len(self.delivered) - self.taken)
        self.feed(Taken(self.now, count))

    def recall(self):
        self.feed(Recall(self.now))
        if self.finished is None:
            members = self.plan.crew.members
            for worker in self.crew:
                if members[worker.number].leaving and not worker.leaving:
                    need(len(worker.held) == self.leaver_holds, "the wrong worker leaves")
                    worker.leaving = True
        self.leaver_holds = None

    def tick(self):
        before = self.plan.deadline
        self.feed(Tick(self.now))
        spins = self.finished is None and self.plan.deadline == before <= self.now
        need(not spins or self.log[-1][1], "a tick at the deadline neither does nor moves anything")

    def open_actions(self):
        """All that is bound to happen some time: what the plan may count on."""
        actions = []
        if self.asked_for:
            actions.append((self.answer_read,))
        for worker in self.crew:
            if worker.stage == "starting":
                actions.append((self.arrive, worker))
            elif worker.stage == "doomed":
                actions.append((self.die_killed, worker))
            if worker.unreported:
                actions.append((self.report, worker))
            if worker.unsendable:
                actions.append((self.refuse, worker))
            if worker.asked:
                actions.append((self.give_back, worker))
            if worker.looked:
                actions.append((self.answer_look, worker))
            if worker.current is not None:
                if worker.end <= self.now:
                    actions.append((self.end, worker))
            elif worker.queue:
                actions.append((self.begin, worker))
        if len(self.delivered) > self.taken:
            actions.append((self.take,))
        return actions

    def next_end(self):
        return min((w.end for w in self.crew if w.current is not None), default=INFINITY)

    def lapse(self, until):
        self.now = max(self.now, min(until, self.next_end()))


class Seeded(World):
    """A world that lives by chance."""

    def __init__(self, seed):
        random = Random(seed)
        self.seed = seed
        rules, items, ambient = draw(random)
        self.fuel = random.choice([0, 0, 3, 10]) if ambient else 0
        mood = random.choice(["prompt", "prompt", "short", "late"])
        raises = random.random() < 0.15
        super().__init__(rules, items, random, input_raises=raises, input_mood=mood)
        self.haste = random.choice([0.2, 0.5, 0.8])  # how often a thing happens before time passes
        self.ambient = random.choice([0.02, 0.1, 0.3])
        self.failing_starts = random.choice([0, 0, 3, 20]) if ambient else 0
        self.calm = ambient is False
        self.weight = random.choice([0, 0, 100, 1 << 21, 1 << 30])

    def live(self):
        """Go on to the end; complain when none is in sight."""
        self.perform("the beginning", self.plan.begin())
        steps = 400 + 60 * len(self.items) * (1 + self.rules.retries)
        for _ in range(steps):
            if self.finished is not None:
                break
            self.step()
        need(self.finished is not None, f"no end after {steps} steps")
        self.check_outcome()
        for worker in self.workers.values():
            self.feed(WorkerGone(self.now, worker.number, None, "after the end"))
        self.feed(Tick(self.now))

    def step(self):
        chance = self.random.random
        if self.fuel and chance() < self.ambient:
            self.fuel -= 1
            self.mischief()
            return
        deadline = self.plan.deadline
        if self.now >= deadline and chance() < 0.8:
            self.tick()
            return
        actions = self.open_actions()
        if actions and chance() < self.haste:
            if self.input_mood == "late" and self.asked_for and len(actions) > 1 and chance() < 0.8:
                del actions[0]
            do, *arguments = self.random.choice(actions)
            do(*arguments)
            return
        until = min(deadline, self.next_end())
        if until < INFINITY and (not actions or chance() < 0.3):
            if until == deadline and chance() < 0.1:
                until += 0.001  # late
            self.lapse(until)
        elif actions:
            self.lapse(min(until, self.now + self.random.expovariate(50)))
        else:
            raise WorldError("nobody can answer any more")

    def arrive(self, worker):
        if self.failing_starts and worker.number and self.random.random() < 0.8:
            self.failing_starts -= 1
            self.die(worker, "no start", blame=False)
        else:
            super().arrive(worker)

    def mischief(self):
        """Something that nobody asked for."""
        kinds = ["dies", "dies", "dies blameless", "leaves", "recall", "tick", "late"]
        what = self.random.choice(kinds)
        workers = [w for w in self.crew if w.stage != "doomed" or what != "leaves"]
        if what == "recall":
            self.recall()
        elif what == "tick":
            self.feed(Tick(self.now))
        elif what == "late":
            self.late_news()
        elif workers:
            worker = self.random.choice(workers)
            leaves = what == "leaves" and worker.up and worker.current is None
            blame = what == "dies"
            self.die(worker, f"death of worker {worker.number}", blame=blame, orderly=leaves)
        if self.finished is None and self.random.random() < 0.05:
            self.feed(Stop(self.now, "stopped"))

    def late_news(self):
        """What a worker that is gone or let go said before; and done items told twice."""
        gone = [worker for worker in self.workers.values() if not worker.live]
        if not gone or self.random.random() < 0.3:
            told = [event for event, _ in self.log if type(event) is ItemsDone]
            if told:
                old = self.random.choice(told)
                self.feed(ItemsDone(self.now, old.worker, old.first, old.stop, 0.0))
            return
        number = self.random.choice(gone).number
        index = self.random.randrange(len(self.items) + 1)
        event = self.random.choice(
            [
                WorkerReady(self.now, number),
                ItemsDone(self.now, number, index, index + 2, 0.0),
                ItemFailed(self.now, number, index, "late", again=True, fatal=True),
                GaveBack(self.now, number, [(index, index + 1)]),
                Running(self.now, number, index, 0.0),
                WorkerGone(self.now, number, index, "late"),
            ]
        )
        self.feed(event)

    def check_outcome(self):
        """Where nothing came from outside, the outcome is that of serial code."""
        rules = self.rules
        for index, item in enumerate(self.items):
            # A run that nobody could report is repeated: that is bounded by the deaths alone.
            most = 1 + rules.retries + len(self.workers)
            need(item.runs <= most, f"{index} ran {item.runs} times")
        if not self.calm or rules.first_in_time or self.finished[2]:
            return
        for index, item in enumerate(self.items):
            bad = item.kind not in {"fine", "endless"} and (
                item.times > rules.retries or not item.again or item.kind in {"unsendable", "fatal"}
            )
            if bad and (rules.stop_at_failure or item.kind == "fatal"):
                expected = index
                break
        else:
            expected = len(self.items) if self.input_raises else None
        got = self.finished
        need(got[0] == expected, f"ends with {got}; serial code fails at {expected}")


#: What a former call may have learned, right or wrong: nothing costs anything, tiny, cheap, dear.
KNOWN = [(0.0, 1), (0.0, 100), (1e-6, 1), (1e-6, 10_000), (1e-5, 10), (0.001, 20), (0.5, 1)]


def draw(random):
    """Rules and items; whether anything may come from outside too."""
    ambient = random.random() < 0.6
    length = random.randint(0, random.choice([3, 12, 12, 40]))
    delivery = random.choice(["whole", "whole", "ordered", "unordered"])
    lazy = delivery != "whole"
    timeout = random.choice([0.01, 0.1, 3.0]) if random.random() < 0.3 else None
    rules = Rules(
        workers=random.randint(1, 5),
        chunksize=random.choice([None, None, None, 1, 2, 5, 1000]),
        window=random.choice([None, 1, 2, 3, 10]) if lazy else None,
        retries=random.choice([0, 0, 1, 2, 3]),
        stop_at_failure=random.random() < 0.7,
        first_in_time=random.random() < 0.15,
        stop_at_time=random.choice([0.0, 0.01, 0.3, 3.0]) if random.random() < 0.15 else INFINITY,
        item_timeout=timeout,
        tasks_per_worker=random.choice([1, 2, 3, 7]) if random.random() < 0.25 else None,
        delivery=delivery,
        keep_idle=random.random() < 0.7,
        known=random.choice(KNOWN) if random.random() < 0.4 else None,
        expected=random.choice([0, length, length, 1_000]) if random.random() < 0.5 else None,
        free=0 if lazy else random.choice([0, 0, 1, 5]),
        together=random.random() < 0.2,
    )
    faults = random.choice([0.0, 0.02, 0.1, 0.4])
    costs = random.choice([(0.0,), (0.001,), (0.0001, 0.01), (0.001, 0.1, 3.0)])
    kinds = ["fails", "fails", "fails", "kills", "kills", "unsendable", "fatal"]
    if ambient and (timeout is not None or rules.stop_at_time < INFINITY):
        kinds.append("endless")
    if not ambient and timeout is not None:
        costs = (0.0, timeout / 4)
    items = []
    for _ in range(length):
        kind = random.choice(kinds) if random.random() < faults else "fine"
        times = random.choice([1, 1, 2, 99])
        item = Item(random.choice(costs), kind, times, again=random.random() < 0.7)
        items.append(item)
    first = next((i for i, item in enumerate(items) if item.kind in {"fails", "fatal"}), length)
    if rules.stop_at_failure and not ambient and rules.retries == 0 and random.random() < 0.3:
        # Serial code never comes to these. A chunk in order, one at a time: the failure is found.
        rules.chunksize = 1
        for item in items[first + 1 :]:
            if random.random() < 0.5:
                item.kind = "endless"
    return rules, items, ambient


def live(seed):
    """Let one world live; a failure tells its seed and its newest turns."""
    world = Seeded(seed)
    try:
        world.live()
    except AssertionError as error:
        raise AssertionError(f"world {seed}: {error}\n{describe(world)}") from error
    return world


def describe(world, newest=40):
    """The rules, the items and the newest turns, oldest first."""
    rules = ", ".join(f"{name}={getattr(world.rules, name)!r}" for name in Rules.__slots__)
    lines = [f"rules: {rules}", f"items: {world.items}", f"input raises: {world.input_raises}"]
    for event, commands in world.log[-newest:]:
        lines.append(f"  {event!r}")
        lines.extend(f"      → {command!r}" for command in commands)
    return "\n".join(lines)


def main(argument):
    """`N` replays one world in full, `M-N` lets many live and tells which fail."""
    if "-" not in argument:
        world = Seeded(int(argument))
        try:
            world.live()
        finally:
            print(describe(world, newest=1_000_000))
        print(f"world {argument} ends well: {world.finished}")
        return 0
    first, stop = map(int, argument.split("-"))
    failed = 0
    for seed in range(first, stop):
        try:
            Seeded(seed).live()
        except Exception as error:
            failed += 1
            print(f"world {seed}: {type(error).__name__}: {error}")
            if failed == 10:
                break
    print(f"{seed + 1 - first} worlds, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
