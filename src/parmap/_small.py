"""Calls of a few cheap items, and single tasks: sent to a warm worker before anything is planned.

The plan would decide the same, and to ask it takes as long as the rest of such a call. It is asked when
anything else happens than that the worker answers everything: then it decides, and finds it done.
"""

from __future__ import annotations

import select

from . import _wire
from ._channel import Closed, look_again
from ._loop import ProcessDrive
from ._plan._chunks import SLICE
from ._plan._crew import INFINITY
from ._plan._vocabulary import Finish
from ._wire import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ._link import Link, News

#: Bytes of items up to which a call is small: a socket takes them at once.
LIGHT = 1 << 14


class AheadDrive(ProcessDrive):
    """Can send a worker what the plan, which has no other yet, would have it send first."""

    _ahead: Link | None = None  # the worker that it was sent to
    _sent_to = 0  # up to this index, of what the plan lets send first

    @property
    def _may_go_ahead(self) -> bool:
        """Whether the plan goes on and has no worker, and no limit has to be watched."""
        rules, kind = self.plan.rules, self._stock.kind
        return (
            not (self.plan.over or self.plan.crew.members)
            and rules.item_timeout is None
            and rules.stop_at_time == INFINITY
            and kind.tasks is None
            and kind.memory_limit is None
        )

    def _lease_warm(self) -> Link | None:
        """A worker that is ready, if there is one."""
        link = self._stock.lease_idle(self)
        if link is None or link.ready:
            return link
        self._stock.give_back(link)  # a call that has ended did not wait for its start
        return None

    def _go_ahead(self, link: Link, stop: int) -> None:
        """Take this worker for the one; what is to be sent ahead, up to index `stop`, comes next."""
        self._ahead, self._sent_to = link, stop

    def _listen(self, link: Link, seconds: float = SLICE) -> list[News]:
        """What the worker answers within so many seconds, if nothing else happens before."""
        poller, fd = self._poller, link.channel.fileno()
        poller.register(fd, select.POLLIN)
        try:
            happened = look_again(poller, self._spin)[0] or poller.poll(seconds * 1000)
            if [one for one, _ in happened] == [fd]:
                return self.hear(link)
        except Closed:
            pass  # whoever listens next will find out
        except WireError:
            link.kill("connection")
        return []

    def _results(self, heard: list[News], first: int, count: int) -> Sequence[Any] | None:
        """The results of all that was sent ahead; None: that is not what a worker says, or not all of it."""
        if len(heard) != 1:
            return None
        news = heard[0]
        if (news.kind, news.first, news.stop) != (_wire.RESULTS, first, first + count):
            return None
        try:
            values, broken = self.unpickled(news)
        except WireError:
            return None  # as it is found to be again
        return None if broken else values

    def _ask_plan(self, heard: list[News]) -> None:
        """Have the plan, which has been told of the items, decide what has been done by now."""
        self.settle()
        self.take_in(next(iter(self._links)), lambda: heard)

    def lease(self) -> Link | None:
        """See `ProcessDrive`: there may be one that has been sent everything."""
        return self._ahead or super().lease()

    def begin(self, link: Link) -> None:
        """See `ProcessDrive`: one has begun."""
        if link is self._ahead:
            self._ahead = None
        else:
            super().begin(link)

    def send(self, worker: int, first: int, stop: int) -> None:
        """See `Drive`: what has been sent is not sent again."""
        if not self._sent_to:
            super().send(worker, first, stop)
            return
        first, self._sent_to = self._sent_to, 0
        if first < stop:  # more items have come meanwhile
            super().send(worker, first, stop)
        else:
            self._sent(self._links[worker])  # what did not fit goes on when it can


class MapDrive(AheadDrive):
    """A map on leased worker processes."""

    def hurry(self) -> None:
        """See `Drive`: all of a small call, if nothing unusual happens."""
        if self._may_be_small():
            self._run_at_once()

    def _may_be_small(self) -> bool:
        """Whether all items would be sent to one worker in one message, as far as can be known."""
        plan, total = self.plan, self.intake.total
        return (
            bool(total)
            and plan.pace.learned is not None
            and plan.pace.size(total, plan.rules.workers) >= (total or 0)
            and plan.rules.chunksize is None
            and self._progress is None
            and self._may_go_ahead
        )

    def _run_at_once(self) -> None:
        count = self.intake.total or 0
        read = self.read_untold(count)
        sound = read == (count, True) and not self.intake.refused
        link = self._lease_warm() if sound and self.intake.nbytes <= LIGHT else None
        if link is not None:
            self.begin(link)
            self._go_ahead(link, count)
            self.queue(link, 0, count)
            link.flush()
        self.plan.begin()  # while the worker is at it
        self.tell_read(*read)
        if link is None:
            return
        heard = self._listen(link, self.plan.pace.patience(count, 1))
        values = self._results(heard, 0, count)
        if values is None:
            self._ask_plan(heard)
            return
        self.results += values
        self.spent.computing += heard[0].seconds
        self.plan.pace.learn(count, heard[0].seconds)
        self.plan.settled.add(0, count)
        self.verdict = Finish()
