"""A task that its submitter's own thread sends to a worker, and whose answer `result()` takes in itself.

So no other thread has to be woken, and wait for the interpreter, on the way there and back: that is half of
what `submit(...).result()` takes. There is at most one such task in a pool, while its thread sleeps, and
it goes past the plan. Whatever else is to be done about it, the pool's thread does.

Two races are decided by who is first to `dict.setdefault` in `_winners`, so there is no lock that a signal
handler could find taken:

    "sending"   who submits it: it is sent            the thread, as it ends: who submits ends the worker
    "answer"    who waits in `result()`: taken        the thread: adopted

`broken` is a flag beside them: whoever won was interrupted, and the thread mends what he has left. It adopts
a task as soon as another one comes, the pool is to end, somebody looks at its future in any other way than by
`result()`, or nobody has taken it for a moment.

What comes from the worker is looked at while it stays in the socket (`MSG_PEEK`), and the result is made
before it is taken: an exception until then changes nothing, and after it the result is known, so that the
thread can complete it. Only what is plain is taken here, since the thread may make it again: an object that
can be made once only is the thread's.
"""

from __future__ import annotations

import _thread
import os
import select
import sys
import time
from concurrent.futures import InvalidStateError

from . import _codec
from ._channel import SPIN
from ._errors import ParmapError
from ._handlers import let_pass
from ._wire import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from ._link import Link, Task
    from ._stock import Stock
    from ._submit import Submissions, Submitted


_KINDS = frozenset({_codec.Packed})


class Direct:
    """Such a task; it is the tenant of its worker."""

    __slots__ = (
        "_link",
        "_pid",
        "_stock",
        "_submissions",
        "_winners",
        "broken",
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
    outside = 0.0

    def __init__(
        self, submissions: Submissions, stock: Stock, thread: int, task: Submitted
    ) -> None:
        self.task = task
        self.thread = thread  # the pool's, which can always go on with it
        self.suspended = False  # who has it in hand takes long, and is not waited for
        self.broken = False  # the thread is to mend it
        self.wanted = False  # by somebody who will not take it in
        self._submissions = submissions
        self._stock = stock
        self._pid = os.getpid()
        self._link: Link | None = None
        self._winners: dict[str, object] = {}

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
        """Send it to a warm worker, unless there is none; `call`: what all tasks of the pool belong to."""
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
        if not self._winners.setdefault("sending", True):
            self.mend()
            msg = "cannot schedule new futures after shutdown"  # which came meanwhile
            raise RuntimeError(msg)
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
        except WireError:
            return  # as the thread will find
        # What others wait for comes from the thread, in which they are called back. And a signal handler must
        # not wait for a lock that is held by whom it has interrupted.
        if foretold is None or self.task.awaited or self._stock.busy:
            return
        answer = foretold[:1]
        try:
            if self._wins("answer", answer):
                told = self.task.succeed_unseen(*answer)  # first: a signal handler may wait for it
                self._give_back(link, foretold[1])
                if told:
                    self.task.attach(None)
                    self._submissions.let_go_of(self)
                else:
                    self.spoil()  # somebody has begun to wait
        except BaseException:
            if self._winners.get("answer") is answer:
                self.spoil()
            raise

    def _speaks(self, link: Link, seconds: float) -> bool:
        """Whether the worker says something soon; no, if the thread adopts it or another takes it before."""
        poller = select.poll()  # the link's own is for whoever has leased it
        try:
            poller.register(link.channel.fileno(), select.POLLIN)
        except ValueError:
            return False  # it is closed
        until = time.perf_counter() + seconds
        while "answer" not in self._winners:
            if poller.poll(0):
                return True
            if time.perf_counter() >= until:
                break
            os.sched_yield()
        return False

    def _give_back(self, link: Link, size: int) -> None:
        try:
            link.strike_off(size)
        except (OSError, WireError) as error:
            link.kill("connection")
            link.bury()
            self._stock.discard(link)
            let_pass(error)
        else:
            self._stock.give_back(link)

    def spoil(self) -> None:
        """Have the thread mend what an exception has left."""
        self.broken = True
        if self._submissions.direct is self:
            self._submissions.call_thread()
        elif not self._winners.get("sending", True) or self._answer:
            self.mend()  # the thread has ended

    # --- in any thread ----------------------------------------------------------------------------

    @property
    def _answer(self) -> tuple[Any, ...]:
        """The result, once somebody has taken it."""
        taken = self._winners.get("answer")
        return taken if isinstance(taken, tuple) else ()

    def _wins(self, race: str, who: object) -> bool:
        return self._winners.setdefault(race, who) is who

    def hand_over(self) -> None:
        """Have the thread take it over now."""
        if not self.wanted and os.getpid() == self._pid:
            self.wanted = True
            self._submissions.call_thread()

    # --- in the pool's thread ---------------------------------------------------------------------

    @property
    def free(self) -> bool:
        """Whether the thread can go on with it."""
        return self.broken or ("sending" in self._winners and "answer" not in self._winners)

    @property
    def left_alone(self) -> bool:
        """Whether whoever had it in hand has left it to itself, by a second exception."""
        before = len(self._winners)  # there may only be more
        if self.free or self._in_hand:
            return False
        return self._submissions.direct is self and len(self._winners) == before

    @property
    def _in_hand(self) -> bool:
        frames = sys._current_frames()
        del frames[_thread.get_ident()]
        return any(self._is_known_in(frame) for frame in frames.values())

    def _is_known_in(self, frame: FrameType | None) -> bool:
        while frame is not None:
            if frame.f_globals.get("__package__") == __package__:
                # Not as `taker`: so `Future.result` still calls it when it has gone on to wait for others.
                held = frame.f_locals
                if held.get("self") is self or held.get("direct") is self:
                    return True
            frame = frame.f_back
        return False

    def adopted(self) -> Link | None:
        """The worker that it has been sent to, if nobody takes its result; then nobody can any more."""
        if "sending" in self._winners and self._wins("answer", object()):
            self.task.attach(None)
            return self._link
        return None

    def give_up(self) -> None:
        """Let nobody wait for it any more, since the thread ends."""
        given_up = not self._winners.setdefault("sending", False)
        if self.broken or not (given_up or self.adopted() is None):
            self.mend()

    def mend(self) -> None:
        """End its worker, whose state nobody knows, and answer what is known."""
        if not self._wins("mending", object()):
            return
        for link in self._stock.leave(self):
            link.kill("cancelled")
            link.bury()
            self._stock.discard(link)
        self.task.attach(None)
        if not (self.tell() or self.task.answered):
            self.task.fail(ParmapError("the pool has ended"))

    def tell(self) -> bool:
        """Answer what is known, if anything is and nobody has; whether anything is."""
        answer = self._answer
        if answer and not self.task.answered:
            try:
                self.task.succeed(*answer)
            except InvalidStateError:
                pass  # whoever has taken it has just done so himself
        return bool(answer)
