"""Calls of a few cheap items: sent to one warm worker in one message, before anything is planned.

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
from ._plan._vocabulary import Finish, InputRead
from ._wire import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._link import Link, News

#: Bytes of items up to which a call is small.
_LIGHT = 1 << 14


class MapDrive(ProcessDrive):
    """A map on leased worker processes."""

    _ahead: Link | None = None  # the worker that all items were sent to before the plan was asked
    _sent_ahead = False  # so the first that the plan lets send has been sent: all of them

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
            and plan.rules.item_timeout is None
            and self._progress is None
            and self._stock.kind.tasks is None
            and self.due == INFINITY
        )

    def _run_at_once(self) -> None:
        count = self.intake.total or 0
        self.plan.begin()
        self.read(count)
        if not self._has_read_all(count) or self.intake.nbytes > _LIGHT:
            return
        link = self._stock.lease_idle(self)
        if link is None:
            return
        self.begin(link)
        self._ahead, self._sent_ahead = link, True
        self.queue(link, 0, count)
        link.flush()
        heard = self._listen(link)
        if not self._was_all(heard, count):
            self.settle()  # the plan decides what has been done by now
            self.take_in(next(iter(self._links)), lambda: heard)

    def _has_read_all(self, count: int) -> bool:
        """Whether all that the plan is to be told is that there are so many items and no more."""
        first, *others = self._events
        return type(first) is InputRead and first.ended and first.count == count and not others

    def _listen(self, link: Link) -> list[News]:
        poller = self._poller
        poller.register(link.channel.fileno(), select.POLLIN)
        try:
            if look_again(poller, self._spin) or poller.poll(SLICE * 1000):
                return self.hear(link)
        except Closed:
            pass  # whoever listens next will find out
        except WireError:
            link.kill("connection")
        return []

    def _was_all(self, heard: list[News], count: int) -> bool:
        """Take in the results of all items; False: that is not what a worker says, or not all of it."""
        if len(heard) != 1:
            return False
        news = heard[0]
        if (news.kind, news.first, news.stop) != (_wire.RESULTS, 0, count):
            return False
        try:
            values, broken = self.unpickled(news)
        except WireError:
            return False  # as it is found to be again
        if broken:
            return False
        self.results += values
        self.spent.computing += news.seconds
        self.plan.pace.learn(count, news.seconds)
        self.plan.settled.add(0, count)
        self.verdict = Finish()
        return True

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
        if self._sent_ahead:
            self._sent_ahead = False
            self._sent(self._links[worker])  # what did not fit goes on when it can
        else:
            super().send(worker, first, stop)
