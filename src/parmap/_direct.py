"""A task that its submitter's own thread sends to a worker, and whose answer `result()` takes in itself.

So no other thread has to be woken, and wait for the interpreter, on the way there and back: that is half of
what `submit(...).result()` takes. There is at most one such task in a pool, while its thread sleeps, and
it goes past the plan. Whatever else is to be done about it, its thread does:

    being sent ──► sent ──► taken, by whoever waits in `result()`
       │            │          └──► broken, by an exception in the middle (Ctrl-C)
       └──► broken  └──► adopted by the pool's thread

Each transition is one step for the interpreter (`dict.setdefault`), so there is no lock that a signal
handler could find taken. The thread adopts a task as soon as another one comes, the pool is to end, somebody
looks at its future in any other way than by `result()`, or nobody has taken it for a moment. What comes from
the worker is looked at while it stays in the socket (`MSG_PEEK`), and unpickled before it is taken: an
exception until then changes nothing, and after it the result is known, so that the thread can complete it.
"""

from __future__ import annotations

import os
import select
import time

from . import _codec, _failure, _wire
from ._channel import SPIN
from ._errors import ParmapError
from ._link import understand
from ._wire import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._link import Link, Task
    from ._stock import Stock
    from ._submit import Submissions, Submitted


_KINDS = frozenset({_codec.Packed})


class Direct:
    """Such a task; it is the tenant of its worker."""

    __slots__ = (
        "_answer",
        "_keeper",
        "_link",
        "_pid",
        "_stages",
        "_stock",
        "broken",
        "stuck",
        "suspended",
        "task",
        "thread",
        "wanted",
    )

    # As a tenant.
    side_by_side = 1
    blocking = True
    awaiting = False
    orphaned = False

    def __init__(self, keeper: Submissions, stock: Stock, thread: int, task: Submitted) -> None:
        self.task = task
        self.thread = thread  # the pool's, which can always go on with it
        self.suspended = False
        self.broken = False  # the thread is to mend it
        self.stuck = False  # the thread has given up waiting for who has it in hand
        self.wanted = False  # by somebody who will not take it in
        self._keeper = keeper
        self._stock = stock
        self._pid = os.getpid()
        self._link: Link | None = None
        self._answer: tuple[bool, Any] | None = None
        self._stages: dict[str, object] = {}

    # --- as a tenant ------------------------------------------------------------------------------

    def close(self, *, abrupt: bool) -> None:
        """See `Tenant`; it has no owner that could be gone."""

    def offer(self, link: Link) -> None:
        """See `Tenant`; it waits for none."""

    def find_place(self) -> None:
        """See `Tenant`; it waits for none."""

    def nudge(self) -> None:
        """See `Tenant`: the thread sees what can be done."""
        self.hand_over()

    # --- in the thread of who submits -------------------------------------------------------------

    def send(self, call: Task) -> bool:
        """Send it to a warm worker, unless there is none."""
        link = self._stock.lease_at_once(self)
        if link is None:
            return False
        task = self.task
        task.begin()
        task.attach(self)
        link.begin(call, task.ambience)
        link.send(0, [task.packed], _KINDS)
        link.flush()
        self._link = link
        if not self._passes("sent", self):
            self.mend()  # the pool has ended meanwhile
        return True

    # --- in the thread of who waits in `result()` -------------------------------------------------

    def take(self, timeout: float | None) -> float | None:
        """Wait a moment for the result and take it in: what is left of the timeout."""
        began = time.monotonic()
        if os.getpid() == self._pid and not self.wanted:
            self._take(SPIN if timeout is None else max(0.0, min(SPIN, timeout)))
        return None if timeout is None else max(0.0, timeout - (time.monotonic() - began))

    def _take(self, seconds: float) -> None:
        link = self._link
        if link is None or not self._speaks(link, seconds):
            return
        try:
            foretold = link.foretell()
            answer = None if foretold is None else _understood(*foretold[:2])
        except WireError:
            return  # as the thread will find
        # What others wait for comes from the thread, in which they are called back.
        if foretold is None or answer is None or self.task.awaited:
            return
        self._answer = answer
        mine = object()
        try:
            if self._passes("taken", mine):
                self._give_back(link, foretold[2])
                self._tell(*answer)
                self.task.attach(None)
                self._keeper.let_go_of(self)
        except BaseException:
            if self._stages.get("taken") is mine:
                self.spoil()
            raise

    def _speaks(self, link: Link, seconds: float) -> bool:
        """Whether the worker says something soon, and nobody else has taken it meanwhile."""
        poller = select.poll()  # the link's own is for whoever has leased it
        try:
            poller.register(link.channel.fileno(), select.POLLIN)
        except ValueError:
            return False  # it is closed
        until = time.perf_counter() + seconds
        while "taken" not in self._stages:
            if poller.poll(0):
                return True
            if time.perf_counter() >= until:
                break
            os.sched_yield()
        return False

    def _tell(self, succeeded: bool, answer: Any) -> None:  # noqa: FBT001 -- as it is kept
        if succeeded:
            self.task.succeed(answer)
        else:
            self.task.fail(answer)

    def _give_back(self, link: Link, size: int) -> None:
        try:
            link.strike_off(size)
        except (OSError, WireError):
            link.kill("connection")
            self._stock.discard(link)
        else:
            self._stock.give_back(link)

    def spoil(self) -> None:
        """Have the thread mend what an exception has left."""
        self.broken = True
        self._keeper.call_thread()

    # --- in any thread ----------------------------------------------------------------------------

    def _passes(self, stage: str, who: object) -> bool:
        return self._stages.setdefault(stage, who) is who

    def hand_over(self) -> None:
        """Have the thread take it over now."""
        if not self.wanted and os.getpid() == self._pid:
            self.wanted = True
            self._keeper.call_thread()

    # --- in the pool's thread ---------------------------------------------------------------------

    def adopted(self) -> Link | None:
        """The worker that it has been sent to, if nobody takes its result; then nobody can any more."""
        if "sent" in self._stages and self._passes("taken", object()):
            self.task.attach(None)
            return self._link
        return None

    def give_up(self) -> None:
        """Let nobody wait for it any more, since the thread ends."""
        if not self._passes("sent", None) and self.adopted() is not None:
            self.mend()

    def mend(self) -> None:
        """End its worker, whose state nobody knows, and answer what is known."""
        for link in self._stock.leave(self):
            link.kill("cancelled")
            link.child.wait(2.0)
            self._stock.discard(link)
        self.task.attach(None)
        if self.task.answered:
            return
        self._tell(*(self._answer or (False, ParmapError("the pool has ended"))))


def _understood(kind: int, payload: Any) -> tuple[bool, Any] | None:
    """Whether the task has succeeded, and its result or error; None: that is the thread's to tell."""
    if kind == _wire.FAILED:
        return False, understand(_failure.unpack, payload)
    values, broken = understand(_codec.load, *payload)
    return None if broken else (True, values[0])
