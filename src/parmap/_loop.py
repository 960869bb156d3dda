"""Runs a call on worker processes: moves frames between its plan and their sockets.

    plan ──commands──► this ──frames──► a worker's socket
      ▲                  │ ▲
      └────events────────┘ └──frames── a worker's socket        (one `poll` over all of them)

The calling thread does all of it. Nothing here blocks but `poll`, which waits no longer than the plan's
deadline: sockets are non-blocking, each worker has a buffer for what it is to be sent and one for what
it has said so far. Half a frame followed by end-of-file is "this worker is gone".
"""

from __future__ import annotations

import _thread
import os
import select
import time
from io import FileIO

from . import _codec, _failure, _launch, _memory, _wire
from ._caller import ambience
from ._channel import SPIN, Closed, look_again
from ._cpus import available_cpus
from ._drive import Drive
from ._early import LOOK, Watch
from ._errors import ItemTimeout, WorkerStartError
from ._link import understand
from ._lock import careful
from ._output import show, show_all
from ._plan._crew import INFINITY
from ._plan._vocabulary import GaveBack, Recall, Stop, WorkerGone, WorkerReady
from ._serialization import SerializationError
from ._stock import NoWorker
from ._wire import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ._link import Link, News, Task
    from ._stock import Stock

#: Seconds that workers get to end an item whose result nobody wants, before they are killed. Most items
#: are shorter, and a warm worker (its imports, its caches) is worth that much.
MERCY = 0.05

#: Seconds that one `poll` may wait: what it takes is an `int` of milliseconds.
_LONGEST_WAIT = 86_400.0

#: Seconds after which a call that waits for a worker looks for itself whether there is a place.
_PLACE_LOOK = 0.05

#: Seconds between two looks at the memory of busy workers, where there is a limit.
_MEMORY_LOOK = 0.1

#: Seconds after which it is looked at again where it is too large: longer than a worker takes to find
#: that out by itself, at the end of an item. And how long one may go from item to item all the same.
_MEMORY_AGAIN = 0.04
_MEMORY_MERCY = 1.0


class Wake:
    """Lets another thread end this one's wait."""

    def __init__(self) -> None:
        self._lock = careful(
            _thread.RLock()  # a signal handler may come while it is held
        )  # so that nobody writes to a descriptor that is closed
        _launch.undisturbed(self._make)

    def _make(self) -> None:
        reading, writing = os.pipe()
        self._read, self._write = FileIO(reading), FileIO(writing, "w")
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)

    def fileno(self) -> int:
        return self._read.fileno()

    def set(self) -> None:
        with self._lock:
            if not self._write.closed:
                self._write.write(b"\0")  # if it is full, it will wake all the same

    def clear(self) -> None:
        self._read.read(4096)

    def close(self) -> None:
        with self._lock:
            self._read.close()
            self._write.close()


class ProcessDrive(Drive):
    """A call on leased worker processes."""

    def __init__(self, stock: Stock, task: Task, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.side_by_side = self.plan.rules.workers
        self._stock = stock
        self.task = task
        self._ambience = ambience()
        self._links: dict[int, Link] = {}  # by the plan's number
        self._workers: dict[int, int] = {}  # the plan's number by descriptor
        self._wanted: list[int] = []  # asked for, and not leased yet
        self._places: list[None] = []  # one for each worker that may be leased now; as above
        self._offered: list[Link] = []  # came free meanwhile; appended by other threads
        self._wake: Wake | None = None
        self._owns_wake = False
        self._poller = select.poll()
        self._spin = SPIN
        self._writing: set[int] = set()  # descriptors that are polled for writing, too
        if self.plan.rules.delivery != "whole":  # another thread may end it
            self._owns_wake = True
            self.wake_by(Wake())
        self._look_for_place = INFINITY  # when to look for oneself, while workers are wanted
        self._watch = Watch()
        self._watch_at = INFINITY  # when it is to look; only while several items are on their way
        #: Whether anybody hears of results before all are there, and may do something about it.
        self.is_heard = self.plan.rules.delivery != "whole" or self._progress is not None
        self._look_at_memory = INFINITY if stock.kind.memory_limit is None else 0.0
        # Those whose memory is too large: the item that they were at when it was seen first, and until
        # when they are spared.
        self._large: dict[Link, tuple[int | None, float]] = {}

    # --- workers ----------------------------------------------------------------------------------

    def start_worker(self, worker: int) -> None:
        """See `Drive`."""
        if self._wake is None and self._stock.limit is not None:
            self._owns_wake = True
            self.wake_by(Wake())
        try:
            link = self.lease()
        except NoWorker as error:
            failure = WorkerStartError(f"no worker process can be started: {error.__cause__}")
            failure.__cause__ = error.__cause__
            self.feed(WorkerGone(time.monotonic(), worker, None, failure))
            return
        if link is None:
            self._wanted.append(worker)
            self._look_for_place = min(self._look_for_place, time.monotonic() + _PLACE_LOOK)
        else:
            self._adopt(worker, link)

    def lease(self) -> Link | None:
        """A worker, if there is one now; else one is offered later."""
        return self._stock.lease(self)

    def begin(self, link: Link) -> None:
        """Let what a worker is sent from now on be of this call; it may owe an earlier one some news."""
        before = link.channel.queued
        link.begin(self.task, self._ambience)
        self.spent.sent += link.channel.queued - before

    def wake_by(self, wake: Wake) -> None:
        """Let other threads end this one's wait."""
        self._wake = wake
        self._poller.register(wake.fileno(), select.POLLIN)

    def offer(self, link: Link) -> None:
        """Take a worker that has come free; called in any thread."""
        self._offered.append(link)
        self.nudge()

    def find_place(self) -> None:
        """Lease again what was waited for; called in any thread."""
        self._places.append(None)
        self.nudge()

    def nudge(self) -> None:
        """See `Drive`; it then looks whether a worker can be spared, too."""
        wake = self._wake  # the owner may let go of it meanwhile
        if wake is not None:
            wake.set()

    def _adopt(self, worker: int, link: Link) -> None:
        self._links[worker] = link
        self._workers[link.channel.fileno()] = worker
        self._poller.register(link.channel.fileno(), select.POLLIN)
        self.begin(link)
        if link.ready:
            self.feed(WorkerReady(time.monotonic(), worker, link.tasks_left))
        else:
            self._sent(link)

    def _forget(self, worker: int) -> Link:
        link = self._links.pop(worker)
        fd = link.channel.fileno()
        self._poller.unregister(fd)
        self._writing.discard(fd)
        del self._workers[fd]
        return link

    def release_worker(self, worker: int) -> None:
        """See `Drive`."""
        if worker in self._links:
            self._stock.give_back(self._forget(worker))

    def kill_worker(self, worker: int, overdue: int | None) -> None:
        """See `Drive`."""
        link = self._links.get(worker)
        if link is None:
            return
        link.overdue = overdue
        link.kill("timeout" if overdue is not None else "unwanted")

    # --- items ------------------------------------------------------------------------------------

    def send(self, worker: int, first: int, stop: int) -> None:
        """See `Drive`."""
        link = self._links.get(worker)
        if link is None:
            return  # it has ended, and the plan is about to hear so
        self.queue(link, first, stop)
        self._sent(link)

    def queue(self, link: Link, first: int, stop: int) -> None:
        """Put up items for sending, and count what that takes."""
        began = time.perf_counter()
        before = link.channel.queued
        self.put_up(link, first, stop)
        self.spent.chunks += 1
        self.spent.sent += link.channel.queued - before
        self.spent.pickling += time.perf_counter() - began
        if self.is_heard and self._watch_at == INFINITY and link.owes_several:
            self._watch_at = time.monotonic() + LOOK

    def put_up(self, link: Link, first: int, stop: int) -> None:
        """Put up the items from `first` to `stop` for sending."""
        if self.intake.quick is not None:
            link.define(self.intake.quick.definitions)
        link.send(first, self.intake.values(first, stop), self.intake.kinds)

    def _sent(self, link: Link) -> None:
        """Flush, and ask to be told when more can be sent, if there is more."""
        link.flush()
        fd = link.channel.fileno()
        if link.channel.sending != (fd in self._writing):
            self._poller.register(
                fd, select.POLLIN | (select.POLLOUT if link.channel.sending else 0)
            )
            self._writing ^= {fd}

    def take_back(self, worker: int, *, leave_one: bool) -> list[tuple[int, int]]:
        """See `Drive`."""
        link = self._links.get(worker)
        return [] if link is None else link.take_back(leave_one=leave_one)

    def running(self, worker: int) -> tuple[int | None, float]:
        """See `Drive`."""
        link = self._links.get(worker)
        index, since = (None, 0.0) if link is None else link.running()
        return (index if since else None), since

    # --- waiting ----------------------------------------------------------------------------------

    def wait(self, until: float) -> None:
        """See `Drive`."""
        milliseconds = None
        if until < INFINITY:
            left = min(until - time.monotonic(), _LONGEST_WAIT)
            milliseconds = max(0, int(left * 1000) + 1)
        began = time.perf_counter()
        spin = 0.0 if milliseconds == 0 or self._in_the_way else self._spin
        happened, _ = look_again(self._poller, spin)
        happened = happened or self._poller.poll(milliseconds)
        waited = time.perf_counter() - began
        self.spent.waiting += waited
        self._spin = SPIN if waited < 2 * SPIN else 0.0  # as long as answers come quickly
        for fd, event in happened:
            worker = self._workers.get(fd)
            if worker is None:
                self.woken()
            elif event & ~select.POLLOUT:
                self._hear(worker)
            else:
                self._sent(self._links[worker])
        short = self._stock.wanted and (self.plan.crew.idle or not self._wanted)
        if short or self._stock.is_crowded(self):
            self.feed(Recall(time.monotonic()))
        now = time.monotonic()
        if now >= self._look_at_memory:
            self._check_memory()
        if now >= self._watch_at:
            self._urge()
        if now >= self._look_for_place:
            self._look_for_place = now + _PLACE_LOOK if self._wanted else INFINITY
            if self._wanted and self._stock.is_place(self):
                self.start_worker(self._wanted.pop(0))

    @property
    def _in_the_way(self) -> bool:
        """Whether to look again would keep a worker from its core, while all have enough to do."""
        plan = self.plan
        return plan.until_news > 2 * SPIN and plan.crew.at_work >= available_cpus()

    @property
    def due(self) -> float:
        """See `Drive`."""
        return min(self.plan.deadline, self._look_at_memory, self._watch_at, self._look_for_place)

    def descriptors(self) -> list[tuple[int, bool]]:
        """See `Drive`."""
        fds = [(fd, fd in self._writing) for fd in self._workers]
        return fds if self._wake is None else [*fds, (self._wake.fileno(), False)]

    def woken(self) -> None:
        """Take in the workers that came free."""
        assert self._wake is not None
        self._wake.clear()
        while self._offered and self._wanted:
            self._adopt(self._wanted.pop(0), self._offered.pop(0))
        while self._offered:
            self._stock.give_back(self._offered.pop(0))
        while self._places:
            self._places.pop()
            if self._wanted:
                self.start_worker(self._wanted.pop(0))
            else:
                self._stock.pass_on()

    def _hear(self, worker: int) -> None:
        link = self._links[worker]
        self.take_in(worker, lambda: self.hear(link))

    def hear(self, link: Link) -> list[News]:
        """What a worker has to say now, counted; raises as `Link.hear` does."""
        before = link.channel.received
        try:
            return link.hear()
        finally:
            self.spent.received += link.channel.received - before

    def _take_in_all(self, worker: int, heard: list[News]) -> None:  # by itself: see `Drive.run`
        for news in heard:
            if news.kind in HEARD:
                HEARD[news.kind](self, worker, news)

    def take_in(self, worker: int, hear: Callable[[], list[News]]) -> None:
        """Deal with what a worker says, or with its end."""
        link = self._links[worker]
        try:
            self._take_in_all(worker, hear())
        except Closed:
            self._lost(worker)
        except WireError:
            link.kill("connection")  # it may be well, and not about to end
            self._lost(worker)

    def _lost(self, worker: int) -> None:
        """A worker has ended, or can no longer be understood."""
        link = self._forget(worker)
        running, orderly, error = link.obituary(None if self._numbered else self.name)
        if link.overdue is not None and running == link.overdue:
            seconds = self.plan.rules.item_timeout or 0.0
            error = ItemTimeout(
                f"item {running} ran longer than {seconds:g} s and was stopped",
                index=link.overdue,
                seconds=seconds,
            )
        self._stock.discard(link)
        again = self.may_retry(error)
        now = time.monotonic()
        self.feed(WorkerGone(now, worker, running, error, again=again, orderly=orderly))

    # --- what workers say -------------------------------------------------------------------------

    def _heard_ready(self, worker: int, _news: News) -> None:
        self.feed(WorkerReady(time.monotonic(), worker, self._links[worker].tasks_left))

    def _heard_results(self, worker: int, news: News) -> None:
        values, broken = self.unpickled(news)
        self.took(worker, news.first, values, news.seconds, broken=broken)

    def unpickled(self, news: News) -> tuple[Sequence[Any], bool]:
        """The results that a worker has sent, and whether some of them are `Broken`: made once.

        Raises:
            WireError: They are not as many as it says.
        """
        if news.values is not None:
            return news.values
        values: Sequence[Any] = []
        broken = False
        for parcels, parts in news.payload:
            some, some_broken = understand(_codec.load, parcels, parts)
            values = [*values, *some] if values else some
            broken |= some_broken
        if len(values) != news.stop - news.first:
            msg = "a worker has reported what it did not hold"
            raise WireError(msg)
        news.values = values, broken
        return news.values

    def _heard_failure(self, worker: int, news: News) -> None:
        data, fatal = news.payload
        self.failed(worker, news.first, understand(_failure.unpack, data), fatal=fatal)

    def _heard_drop(self, worker: int, news: News) -> None:
        self.feed(GaveBack(time.monotonic(), worker, [(news.first, news.stop)]))

    def _heard_call_failed(self, _worker: int, news: News) -> None:
        error = understand(_failure.unpack, news.payload)
        made = SerializationError(
            f"the function of {self.name} cannot be loaded in a worker: {_failure.said(error)}"
        )
        made.__cause__ = error
        self.feed(Stop(time.monotonic(), made))

    def _heard_output(self, _worker: int, news: News) -> None:
        show(*news.payload)

    def _urge(self) -> None:
        """Urge workers that hold results back, and look again as long as one may."""
        links = self._links.values()
        self._watch.look(links)
        is_needed = any(link.owes_several for link in links)
        self._watch_at = time.monotonic() + LOOK if is_needed else INFINITY

    # --- memory -----------------------------------------------------------------------------------

    def _check_memory(self) -> None:
        """Kill workers that hold more than they may, and stay at one item.

        Between items they look themselves, and leave: whoever is at another one by now is about to.
        """
        limit = self._stock.kind.memory_limit
        assert limit is not None
        now = time.monotonic()
        seen, self._large = self._large, {}
        for link in self._links.values():
            pid = link.child.pid
            if pid is None or link.idle or _memory.resident(pid) <= limit:
                continue
            running, _ = link.running()
            was_at, until = seen.get(link, (None, now + _MEMORY_MERCY))
            if link in seen and (now > until or (running == was_at and not link.left)):
                link.kill("memory")
            else:
                self._large[link] = running, until
        self._look_at_memory = now + (_MEMORY_AGAIN if self._large else _MEMORY_LOOK)

    # --- the end ----------------------------------------------------------------------------------

    def close(self, *, abrupt: bool) -> None:
        """See `Drive`."""
        # The user may press Ctrl-C at any point of this. What a worker was just saying then is lost, so it
        # cannot be used again.
        try:
            if not abrupt:
                abrupt = True
                self._calm_down()
                abrupt = False
        finally:
            try:
                self._give_all_back(abrupt=abrupt)
            except BaseException:
                self._give_all_back(abrupt=True)
                raise
            finally:
                self._let_go()

    def _let_go(self) -> None:
        self._links.clear()
        self._workers.clear()
        self._wanted.clear()
        self._offered.clear()
        while self._places:
            self._places.pop()
            self._stock.pass_on()
        wake, self._wake = self._wake, None
        if wake is not None and self._owns_wake:
            wake.close()

    def _give_all_back(self, *, abrupt: bool) -> None:
        doomed: list[Link] = []
        for link in self._stock.leave(self):
            if abrupt or not link.idle:
                link.kill("cancelled")
                doomed.append(link)
            else:
                self._stock.give_back(link)
        try:
            for link in doomed:
                link.child.wait(2.0)
        finally:
            for link in doomed:
                self._stock.discard(link)

    def suspend(self) -> None:
        """See `Drive`."""
        self._stock.suspend(self)

    @property
    def entangled(self) -> bool:
        """See `Drive`."""
        return self._stock.busy

    def _calm_down(self) -> None:
        """Take back what has not begun, and give what runs a moment to end."""
        busy = [link for link in self._links.values() if not link.idle]
        for link in busy:
            link.flush()  # a worker that was sent no item may not even have been sent the call
            link.take_back(leave_one=False)
        until = time.monotonic() + MERCY
        while busy and any(not link.idle for link in self._links.values()):
            left = until - time.monotonic()
            if left <= 0:
                return
            for fd, _ in self._poller.poll(int(left * 1000) + 1):
                worker = self._workers.get(fd)
                if worker is None:
                    self.woken()
                    continue
                link = self._links[worker]
                try:
                    show_all(link.hear())
                    link.flush()
                except (Closed, WireError):
                    self._forget(worker)
                    link.child.wait(2.0)
                    self._stock.discard(link)


HEARD = {
    _wire.READY: ProcessDrive._heard_ready,
    _wire.RESULTS: ProcessDrive._heard_results,
    _wire.FAILED: ProcessDrive._heard_failure,
    _wire.DROPPED: ProcessDrive._heard_drop,
    _wire.CALL_FAILED: ProcessDrive._heard_call_failed,
    _wire.OUTPUT: ProcessDrive._heard_output,
}
