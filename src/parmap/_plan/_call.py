"""The decisions of one call. Pure: no I/O, clock, thread or pickle; time is an argument.

How to drive it. Perform what `Plan.begin` answers. Then feed one event after the other to `Plan.handle`
and perform the commands it answers, in order, before the next event; feed a `Tick` whenever `deadline` is
reached. `Finish` comes exactly once and last; what is fed after it is ignored.

The life of an item: read -> held by a worker -> settled (done, or failed for good). When its worker
goes, or gives it back, it is read again. A *suspect* (its worker died on it, or it failed in a way
that may be retried) waits apart and runs alone, after the others.

The rules:

1. An index is in exactly one place: waiting, among the suspects, held by one worker, or settled.
2. Items are handed out lowest first and none behind a higher one, which may never end, so the lowest
   failure is the one that serial code would raise.
3. Once an item has failed for good (`doom`), nothing above it is sent; the call ends when all below
   it is settled.
4. An item is charged only with what happened while it ran. Deaths that no item can be charged with
   are counted, so that they cannot go on for ever.
5. Somebody can always still answer: `check` asserts it.
6. Late events are harmless: what a worker says of an item that it does not hold is ignored.
"""

from __future__ import annotations

from heapq import heappop, heappush

from ._chunks import Pace
from ._crew import INFINITY, Crew, Member
from ._spans import Spans
from ._vocabulary import (
    AskBack,
    Deliver,
    Finish,
    GaveBack,
    InputRaised,
    InputRead,
    ItemFailed,
    ItemsDone,
    Keep,
    KillWorker,
    Lack,
    Look,
    Read,
    Recall,
    ReleaseWorker,
    Running,
    Send,
    StartWorker,
    Stop,
    Taken,
    Tick,
    WorkerGone,
    WorkerReady,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from ._vocabulary import Command, Event, Turn

#: A worker that cannot be started, or one that dies with nobody to blame, is replaced; after this
#: many in a row without any progress the call gives up rather than starting processes for ever.
FUTILE = 3

#: Seconds after which it is tried again, where none can be started but others are at work.
RETRY = 1.0

#: Seconds after which a worker that was asked for is not waited for: it may be another call's for long.
LATE = 0.005

#: Seconds that a suspect waits for the others to be through. An endless input is never through.
PATIENCE = 1.0

#: Chunks that a lazy call without a `window` reads ahead for each worker: two that it has, and two so
#: that one slow item does not make the others wait.
AHEAD = 4


class Rules:
    """What a call may do. The defaults are those of a plain map."""

    __slots__ = (
        "chunksize",
        "delivery",
        "expected",
        "first_in_time",
        "free",
        "item_timeout",
        "keep_idle",
        "known",
        "retries",
        "stop_at_failure",
        "stop_at_time",
        "tasks_per_worker",
        "together",
        "window",
        "workers",
    )

    def __init__(
        self,
        *,
        workers: int,
        chunksize: int | None = None,
        window: int | None = None,
        retries: int = 0,
        stop_at_failure: bool = True,
        first_in_time: bool = False,
        stop_at_time: float = INFINITY,
        item_timeout: float | None = None,
        tasks_per_worker: int | None = None,
        delivery: str = "whole",
        keep_idle: bool = True,
        known: tuple[float, int] | None = None,
        expected: int | None = None,
        free: int = 0,
        together: bool = False,
    ) -> None:
        self.workers = workers  # most at once
        self.chunksize = chunksize  # items a message; None: adaptive
        self.window = window  # most items read and not yet taken; None: as suits
        self.retries = retries  # further attempts of one item
        self.stop_at_failure = stop_at_failure  # else a failure stands as a result
        self.first_in_time = first_in_time  # the first failure ends the call, not the lowest
        self.stop_at_time = stop_at_time  # when the whole call is late
        self.item_timeout = item_timeout  # seconds that one item may run
        self.tasks_per_worker = tasks_per_worker  # items before a worker is replaced
        self.delivery = delivery  # "whole", "ordered" or "unordered"
        self.known = known  # what an item cost in a former call: see `Pace`
        self.expected = expected  # items in all, as far as anybody can tell before they are read
        self.free = free  # items to read at once though fewer are wanted: it costs next to nothing
        self.together = together  # all workers have to be there: they may wait for each other
        self.keep_idle = keep_idle  # else a worker with nothing to do is let go at once


class Plan:
    """One call: events in, commands out."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.begun = False
        self.crew = Crew(rules.workers)
        self.pace = Pace(rules.chunksize, rules.known, rules.window)
        self.waiting = Spans()  # read, and nobody has it
        self._returned = False  # a worker gave it back: it is shared out, however large chunks are
        self.settled = Spans()  # done, or failed for good
        self.suspects: list[int] = []  # heap: to be run alone
        self._suspect_since = INFINITY  # when the oldest suspect became one
        self._attempts: dict[int, int] = {}  # failures so far of items that were given another go
        self.read = 0  # items read: indices are 0 to read - 1
        self.total: int | None = None  # how many there are, once known
        self.taken = 0  # results that the consumer has had
        self._delivered = 0  # results delivered: with ordered delivery, all below this index
        self._reading = False  # a Read is to be answered
        self._doom: tuple[int, object] | None = None  # the lowest final failure
        self._futile_starts = 0
        self._start_from = 0.0  # none is started before
        self._lacks = False  # it has been said that there are fewer than there might be
        self._futile_deaths = 0
        self._futile_at = 0.0  # when the last of them was
        self.over = False
        self._now = 0.0  # of the newest event
        self._out: list[Command] = []

    # --- the door ---------------------------------------------------------------------------------

    def begin(self) -> list[Command]:
        """What is to be done first."""
        self.begun = True
        self._out = []
        self._ask_to_read()
        return self._out

    def handle(self, event: Event) -> list[Command]:
        """Take one event in and answer what is to be done."""
        if self.over:
            return []
        self._now = event.now
        out: list[Command] = []
        self._out = out
        HANDLERS[type(event)](self, event)
        if not self.over:
            self._advance(event.now)
        self._out = []  # nothing of it is kept: an error may hold much
        return out

    @property
    def deadline(self) -> float:
        """When a `Tick` is due (infinity: only another event can help)."""
        due = self.rules.stop_at_time
        if self.rules.item_timeout is not None:
            for member in self.crew:
                due = min(due, member.look_at)
        if self.suspects and not self._impatient(self._now):
            due = min(due, self._suspect_since + PATIENCE)
        fullest = self._to_relieve()
        if fullest is not None:
            due = min(due, self._silent_at(fullest))
        if self._now < self._start_from:
            due = min(due, self._start_from)
        return due

    @property
    def until_news(self) -> float:
        """Seconds that a worker takes until it answers, on average and as far as is known."""
        held = self.read - self.waiting.count - self.settled.count
        most = self.rules.chunksize or held
        return min(most, held / (self.crew.at_work or 1)) * (self.pace.cost or 0.0)

    def forget_errors(self) -> None:
        """Keep nothing of what it was told of; for when it is over."""
        self._doom = None

    @property
    def done(self) -> int:
        """How many items are settled."""
        return self.settled.count

    # --- events -----------------------------------------------------------------------------------

    def _on_ready(self, event: WorkerReady) -> None:
        member = self.crew.members.get(event.worker)
        if member is not None:
            member.ready = True
            member.ready_at = event.now
            if event.budget is not None:
                member.budget = event.budget
            self.crew.file(member)
            self._futile_starts = 0

    def _on_gone(self, event: WorkerGone) -> None:
        member = self.crew.dismiss(event.worker)
        if member is None:
            return
        lost = member.held
        if event.running is not None and lost.remove(event.running, event.running + 1):
            self._failed(event.now, event.running, event.error, again=event.again)
        elif not ((event.orderly and member.ready) or member.doomed):
            self._died_in_vain(event, member)
        self._put_back(event.now, member, lost)

    def _died_in_vain(self, event: WorkerGone, member: Member) -> None:
        """Count a death that no item can be charged with; too many in a row end the call."""
        if not member.ready:
            self._futile_starts += 1
            if self._futile_starts >= FUTILE:
                self._do_without(event)
        elif member.held.count and member.ready_at >= self._futile_at:
            # Workers that die together, by whatever kills them all, count as one.
            self._futile_at = event.now
            self._futile_deaths += 1
            if self._futile_deaths >= FUTILE:
                index, _ = member.held.take(1)
                self._failed(event.now, index, event.error, again=event.again)

    def _do_without(self, event: WorkerGone) -> None:
        """Go on with the workers that are there or coming, for now; end the call if there is none."""
        others = [member for member in self.crew if not member.doomed]
        if self.rules.together or not others:
            self._finish(None, event.error)
            return
        self._start_from = event.now + RETRY
        if not self._lacks and any(member.ready for member in others):
            self._lacks = True
            self._out.append(Lack(event.error))

    def _on_read(self, event: InputRead) -> None:
        self._reading = False
        self.pace.weigh(event.count, event.nbytes)
        self._wait(self.read, self.read + event.count)
        self._returned &= not event.count
        self.read += event.count
        if event.ended:
            self.total = self.read

    def _on_input_raised(self, event: InputRaised) -> None:
        # An input that fails is a failure where its next item would have been.
        self._reading = False
        self.total = self.read
        self._condemn(self.read, event.error)

    def _on_done(self, event: ItemsDone) -> None:
        member = self.crew.members.get(event.worker)
        done = [] if member is None else member.held.remove(event.first, event.stop)
        if member is None or not done:
            return
        self._heard(member, event.now)
        self._futile_deaths = 0
        self.pace.learn(event.stop - event.first, event.seconds)
        for first, stop in done:
            begun = first
            for index, error, again in event.failures:
                if begun <= index < stop:
                    self._settle(begun, index)
                    self._failed(event.now, index, error, again=again)
                    begun = index + 1
            self._settle(begun, stop)

    def _on_failed(self, event: ItemFailed) -> None:
        if event.worker is None:  # it was just to be sent, or still waits
            member = next((member for member in self.crew if event.index in member.held), None)
            place = self.waiting if member is None else member.held
        else:
            member = self.crew.members.get(event.worker)
            place = Spans() if member is None else member.held
        if not place.remove(event.index, event.index + 1):
            return
        if member is not None:
            self._heard(member, event.now)
        self._futile_deaths = 0
        self._failed(event.now, event.index, event.error, again=event.again, fatal=event.fatal)

    def _on_gave_back(self, event: GaveBack) -> None:
        member = self.crew.members.get(event.worker)
        if member is None:
            return
        returned = [run for span in event.spans for run in member.held.remove(*span)]
        member.bare = not returned
        self._returned |= bool(returned)
        self._put_back(event.now, member, returned)
        if member.budget is not None:
            member.budget += sum(stop - first for first, stop in returned)
        self.crew.file(member)

    def _on_running(self, event: Running) -> None:
        member = self.crew.members.get(event.worker)
        limit = self.rules.item_timeout
        if member is None or member.doomed or limit is None:
            return
        if event.index is None or event.index not in member.held:
            member.look_at = event.now + limit if member.held.count else INFINITY
        elif event.since + limit <= event.now:
            self._kill(member, event.index)
        else:
            member.look_at = event.since + limit

    def _on_taken(self, event: Taken) -> None:
        self.taken += event.count

    def _on_recall(self, event: Recall) -> None:  # noqa: ARG002 -- every handler takes its event
        members = [member for member in self.crew if member.ready and not member.doomed]
        if members and not any(member.leaving for member in members):
            leaving = min(members, key=lambda member: member.held.count)
            leaving.leaving = True
            self.crew.file(leaving)

    def _on_tick(self, event: Tick) -> None:
        if event.now >= self.rules.stop_at_time:
            self._finish(None, None, late=True)
        elif self.rules.item_timeout is not None:
            for member in self.crew:
                if member.look_at <= event.now:
                    member.look_at = INFINITY  # until the answer comes
                    self._out.append(Look(member.number))

    def _on_stop(self, event: Stop) -> None:
        self._finish(None, event.error)

    # --- what becomes of an item ------------------------------------------------------------------

    def _wait(self, first: int, stop: int) -> None:
        """Let items wait to be sent, or drop those that a failure has cancelled."""
        if self._doom is not None:
            cancelled = max(first, min(stop, self._doom[0]))
            self.settled.add(cancelled, stop)
            stop = cancelled
        self.waiting.add(first, stop)

    def _suspect(self, now: float, index: int) -> None:
        if not self.suspects:
            self._suspect_since = now
        heappush(self.suspects, index)

    def _put_back(self, now: float, member: Member, spans: Iterable[tuple[int, int]]) -> None:
        """Take back what a worker will not run: what was a suspect is one again."""
        for first, stop in spans:
            if member.alone and self._is_wanted(first):
                self._suspect(now, first)
            else:
                self._wait(first, stop)

    def _settle(self, first: int, stop: int) -> None:
        if first == stop:
            return
        self.settled.add(first, stop)
        if self.rules.delivery == "unordered":
            self._delivered += stop - first
            self._out.append(Deliver(first, stop))

    def _failed(
        self, now: float, index: int, error: object, *, again: bool, fatal: bool = False
    ) -> None:
        tried = self._attempts.get(index, 0)
        if again and not fatal and self._is_wanted(index) and tried < self.rules.retries:
            self._attempts[index] = tried + 1
            self._suspect(now, index)
        elif fatal or self.rules.stop_at_failure:
            self.settled.add(index, index + 1)
            self._condemn(index, error)
        else:
            self._out.append(Keep(index, error))
            self._settle(index, index + 1)

    def _is_wanted(self, index: int) -> bool:
        return self._doom is None or index < self._doom[0]

    def _condemn(self, index: int, error: object) -> None:
        """Let the call fail with this, unless something lower fails; cancel what is above."""
        if not self._is_wanted(index):
            return
        self._doom = index, error
        if self.rules.first_in_time:
            self._finish(index, error)
            return
        for first, stop in self.waiting.remove(index, self.read):
            self.settled.add(first, stop)
        for suspect in self.suspects:
            if suspect > index:
                self.settled.add(suspect, suspect + 1)
        self.suspects = sorted(suspect for suspect in self.suspects if suspect < index)
        for member in self.crew:
            if member.held.count > 1 and member.held.highest > index and not member.doomed:
                self._out.append(AskBack(member.number, leave_one=False))

    # --- what to do next --------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        if self.rules.delivery == "ordered":
            self._deliver_in_order()
        if self._is_over():
            self._finish(*(self._doom or (None, None)))
            return
        if self.crew.through or not self.rules.keep_idle:
            self._let_go()
        while self._feed_one(now):
            pass
        self._balance(now)
        if self._doom is not None:
            self._make_room()

    def _deliver_in_order(self) -> None:
        head = self.settled.head if self._doom is None else min(self.settled.head, self._doom[0])
        if head > self._delivered:
            self._out.append(Deliver(self._delivered, head))
            self._delivered = head

    def _is_over(self) -> bool:
        if self._doom is not None:
            return self.settled.head >= self._doom[0]
        return self.total is not None and self.settled.count == self.total

    def _let_go(self) -> None:
        crew = self.crew
        unneeded = list(crew.through.values())
        # While others are still to come, or cannot, who is there may be needed sooner than they are.
        busy = crew.coming or self.waiting.count or self.suspects or self._now < self._start_from
        if not (self.rules.keep_idle or busy or self._to_relieve()):
            unneeded += crew.idle.values()
        for member in unneeded:
            crew.dismiss(member.number)
            self._out.append(ReleaseWorker(member.number))
        if unneeded and not crew.members:
            self._start_from = self._now  # there is room again

    def _feed_one(self, now: float) -> bool:
        """Do the next thing that gives a worker something to do; False when there is nothing."""
        crew, waiting = self.crew, self.waiting.count
        member = crew.hungry(ahead=False)
        if member is None and self._may_start and self._is_enough_for_another:
            self._start_worker()
            return True
        # A worker must be idle for a suspect that has waited long enough.
        if member is None and self.pace.cheap and not self._impatient(now):
            member = self._hungry_ahead(now)
        if member is not None:
            return self._feed(member, now)
        if not self._may_start:
            if self._reads_ahead and waiting < self.pace.size(None, self.rules.workers):
                self._ask_to_read()  # while all are at work, not when one of them waits for it
            return False
        if len(self.suspects) > len(crew.coming) or self._unclaimed > 0:
            self._start_worker()
            return True
        self._ask_to_read()
        return False

    @property
    def _unclaimed(self) -> int:
        """How many items wait beyond what the workers that are coming will take."""
        coming = len(self.crew.coming)
        return self.waiting.count - (coming * self._chunk() if coming else 0)

    @property
    def _is_enough_for_another(self) -> bool:
        """Whether to start a worker is better than to send what waits to one that is at work.

        Not where one could not be started; and who lets go of idle workers would soon start it again.
        """
        unclaimed = 0 if self._futile_starts else self._unclaimed
        if self.rules.keep_idle:
            return self.pace.worth_sending(unclaimed)
        return unclaimed > 0 and self.pace.worth_moving(unclaimed)

    def _hungry_ahead(self, now: float) -> Member | None:
        """A worker that may be sent something though it still runs what it has."""
        waiting, coming = self.waiting.count, self.crew.coming.values()
        if not (waiting or self._can_read):
            return None
        # Left to those that are coming, but not for long; nor where a consumer takes results one by one,
        # who may never come back to hear that they are there.
        is_heard = self.rules.delivery == "whole" or not self.rules.keep_idle
        if waiting and self._unclaimed <= 0 and is_heard and now < next(iter(coming)).news + LATE:
            return None
        member = self.crew.hungry(ahead=True)
        if member is not None and waiting and member.held.highest > self.waiting.lowest:
            return None  # rule 2
        return member

    @property
    def _may_start(self) -> bool:
        """Whether a worker may be started now."""
        return not self.crew.full and self._now >= self._start_from

    def _start_worker(self) -> None:
        member = self.crew.enlist(self.rules.tasks_per_worker)
        member.news = self._now
        self._out.append(StartWorker(member.number))

    def _chunk(self) -> int:
        """How many items the next message to a worker with its life ahead takes."""
        whole = self.rules.expected if self.total is None else self.total
        left = None if whole is None else self.waiting.count + max(whole - self.read, 0)
        if self._returned:
            left = self.waiting.count
        size = self.pace.size(left, self.rules.workers, whole or 0, divided=self._returned)
        return min(size, self.rules.tasks_per_worker or size)

    def _feed(self, member: Member, now: float) -> bool:
        waiting = self.waiting.count
        if self.suspects and member.held.count == 0 and self._is_suspects_turn(now):
            index = heappop(self.suspects)
            self._suspect_since = now
            self._send(member, index, index + 1, now, alone=True)
            return True
        if waiting:
            size = self._chunk()
            if member.budget is not None:
                size = min(size, member.budget)
            self._send(member, *self.waiting.take(size), now)
            return True
        self._ask_to_read()
        return False

    def _is_suspects_turn(self, now: float) -> bool:
        return not (self.waiting.count or self._can_read) or self._impatient(now)

    def _send(
        self, member: Member, first: int, stop: int, now: float, *, alone: bool = False
    ) -> None:
        was_idle = member.held.count == 0
        member.held.add(first, stop)
        member.last_sent = stop - first
        member.alone = alone
        member.bare = False
        if member.budget is not None:
            member.budget -= stop - first
        if was_idle:
            self._heard(member, now)
        else:
            self.crew.file(member)
        self._out.append(Send(member.number, first, stop))

    def _impatient(self, now: float) -> bool:
        """Whether a suspect has waited for the others long enough."""
        return bool(self.suspects) and now >= self._suspect_since + PATIENCE

    @property
    def _can_read(self) -> bool:
        if self.total is not None or self._doom is not None:
            return False
        return self.read - self.taken < self._window

    @property
    def _window(self) -> float:
        """How many items may have been read and not yet taken."""
        if self.rules.window is not None:
            return self.rules.window
        if self.rules.delivery == "whole":
            return INFINITY
        return AHEAD * self.rules.workers * self.pace.size(None, self.rules.workers)

    @property
    def _free(self) -> int:
        """How many items it costs next to nothing to read, as far as is known."""
        return self.rules.free if self.pace.weightless else 0

    @property
    def _reads_ahead(self) -> bool:
        """Whether to read what nobody has room for: it costs nothing, or dear items are all there."""
        return self._free > 0 or (self.rules.expected is not None and not self.pace.cheap)

    def _ask_to_read(self) -> None:
        if self._can_read and not self._reading:
            size = max(self.pace.size(None, self.rules.workers), self._free)
            self._reading = True
            self._out.append(Read(int(min(size, self._window - (self.read - self.taken)))))

    def _to_relieve(self) -> Member | None:
        """When there is nothing to read now and somebody is or could be idle: who holds most.

        Who does not keep idle workers expects an input that comes when it likes, if ever.
        """
        if (self._can_read and self.rules.keep_idle) or self.waiting.count or self.suspects:
            return None
        if self.crew.idle or (self._may_start and not self.crew.coming and self._doom is None):
            return self.crew.fullest()
        return None

    def _balance(self, now: float) -> None:
        fullest = self._to_relieve()
        if fullest is None:
            return
        silent = now >= self._silent_at(fullest)
        much = self.pace.worth_moving(fullest.held.count - 1)
        if not self.crew.idle:
            # What was cheap in a former call is dear in this one; or it was all given to one worker.
            if silent or (much and self.pace.cost is not None and not self._futile_starts):
                self._start_worker()
        elif silent or much:
            fullest.bare = True  # until it answers: nobody is asked twice at once
            self._out.append(AskBack(fullest.number))

    def _silent_at(self, member: Member) -> float:
        """When a worker that says nothing until then is taken to be at work for longer than was thought."""
        return member.news + self.pace.patience(member.held.count, len(self.crew.members))

    def _make_room(self) -> None:
        """Kill a worker that runs what nobody wants, if what is wanted waits for a worker."""
        wanted = self.waiting.count or self.suspects
        if self._doom is None or not wanted or self.crew.coming or self.crew.idle:
            return
        if any(member.doomed for member in self.crew):
            return  # room is being made
        for member in self.crew:
            if member.held.count and member.held.lowest > self._doom[0] and not member.doomed:
                self._kill(member, None)
                return

    def _kill(self, member: Member, overdue: int | None) -> None:
        member.doomed = True
        member.look_at = INFINITY
        self.crew.file(member)
        self._out.append(KillWorker(member.number, overdue))

    def _heard(self, member: Member, now: float) -> None:
        """Note that a worker has got something to do, or has said something."""
        member.news = now
        if self.rules.item_timeout is not None and not member.doomed:
            member.look_at = now + self.rules.item_timeout if member.held.count else INFINITY
        self.crew.file(member)

    def _finish(self, index: int | None, error: object, *, late: bool = False) -> None:
        self.over = True
        self._out.append(Finish(index, error, late=late))

    # --- what must be true between events ---------------------------------------------------------

    def check(self) -> None:
        """Assert every invariant; tests call this after each event."""
        if self.over:
            return
        held = sum(member.held.count for member in self.crew)
        places = self.waiting.count, len(self.suspects), held, self.settled.count
        assert sum(places) == self.read, f"an item is lost or doubled: {places} of {self.read}"
        seen = Spans()
        for spans in (self.waiting, self.settled, *(member.held for member in self.crew)):
            for first, stop in spans:
                assert not seen.remove(first, stop), f"{first}-{stop - 1} is in two places"
                seen.add(first, stop)
        assert not any(suspect in seen for suspect in self.suspects)
        assert all(tried <= self.rules.retries for tried in self._attempts.values())
        if self.rules.window is not None:
            assert self.read - self.taken <= self.rules.window, "the window is overrun"
        if self._doom is not None:
            above = [index for index in self.suspects if index > self._doom[0]]
            assert not above, "a cancelled item waits"
            assert not self.waiting.count or self.waiting.highest < self._doom[0]
        assert len(self.crew.members) <= self.rules.workers
        for member in self.crew:
            assert member.budget is None or member.budget >= 0
            assert not member.alone or member.held.count <= 1, "a suspect is not alone"
        assert self._answerable(), "nobody can answer any more"

    def _answerable(self) -> bool:
        full = self.read - self.taken >= self._window
        return (
            self._reading
            or (full and self._delivered > self.taken)  # the consumer
            or any(not member.ready or member.doomed or member.held.count for member in self.crew)
            or self.deadline < INFINITY
        )


HANDLERS: Mapping[type[Turn], Callable[[Plan, Any], None]] = {
    WorkerReady: Plan._on_ready,
    WorkerGone: Plan._on_gone,
    InputRead: Plan._on_read,
    InputRaised: Plan._on_input_raised,
    ItemsDone: Plan._on_done,
    ItemFailed: Plan._on_failed,
    GaveBack: Plan._on_gave_back,
    Running: Plan._on_running,
    Taken: Plan._on_taken,
    Recall: Plan._on_recall,
    Tick: Plan._on_tick,
    Stop: Plan._on_stop,
}
