"""What is submitted to a `Pool`: one endless call, whose items are the tasks, driven by a thread.

`submit` must return at once, so a daemon thread that starts with the first task drives the call. It
outlives a pool that is dropped, until all that was submitted is finished; the exit waits for that, too.
"""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import threading
import time

from . import _codec, _errands, _future, _launch, _nesting
from ._direct import Direct
from ._errors import ParmapError
from ._intake import Intake
from ._link import Task
from ._lock import careful
from ._loop import Wake
from ._plan._call import Rules
from ._plan._vocabulary import InputRead, Keep, Lack, Stop
from ._small import LIGHT, AheadDrive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from typing import Any

    from ._link import Link
    from ._stock import Stock

#: Seconds between two looks at what nothing tells of.
_NAP = 0.002

#: While so many tasks come between two turns of the thread, it lets those that submit them get on for so
#: many seconds: to hand the interpreter to and fro between two threads takes longer than to submit a task.
_BURST = 16
_LULL = 0.002

#: Seconds for the same, when a second task comes before anybody waits for the first: there may be many. And
#: between two looks at a task that somebody else has in hand.
_MOMENT = 0.0002


#: Seconds between two looks of the sleeping thread at a task that its submitter has sent: one that is there
#: at two of them is adopted. After so many looks without any it sleeps until it is woken.
_LOOK = 0.002
_LOOKS = 25

#: Seconds for which the thread waits until who has such a task in hand is through with it. It takes
#: microseconds, unless the system runs others or a signal handler does more meanwhile.
_PATIENCE = 1.0


class Submitted:
    """A task: its future, what is to be run, and its caller's surroundings."""

    __slots__ = ("ambience", "future", "packed")

    def __init__(
        self, future: Future[Any], packed: _codec.Packed, ambience: tuple[int, bytes]
    ) -> None:
        self.future = future
        self.packed = packed
        self.ambience = ambience

    def begin(self) -> bool:
        """Whether it is to be run: nobody has cancelled it, or can any more."""
        return bool(_future.tell(self.future, self.future.set_running_or_notify_cancel))

    def cancel(self) -> None:
        """Let it be cancelled, and tell who waits for it."""
        _future.tell(self.future, self.future.cancel)
        self.begin()

    @property
    def awaited(self) -> bool:
        """Whether anybody has looked at its future in a way that takes its lock."""
        return _future.is_watched(self.future)

    @property
    def answered(self) -> bool:
        """Whether its future is settled."""
        return _future.is_settled(self.future)

    def attach(self, taker: Direct | None) -> None:
        """Let who waits for its result ask this one first."""
        _future.attach(self.future, taker)

    def succeed(self, result: Any) -> None:
        """Answer the result."""
        _future.tell(self.future, self.future.set_result, result)

    def succeed_unseen(self, result: Any) -> bool:
        """The same, if nobody waits for it; whether that is so."""
        return _future.end_unseen(self.future, result)

    def fail(self, error: BaseException) -> None:
        """Answer an error."""
        _future.tell(self.future, self.future.set_exception, error)


class Submissions:
    """The tasks of one pool, and the thread that runs them."""

    def __init__(self, stock: Stock, size: int) -> None:
        self._stock = stock
        self._size = size
        self._pid = os.getpid()
        self._lock = careful(threading.Lock())
        self._waiting: list[Submitted] = []
        self.count = 0  # of all tasks for the thread so far
        #: The drive of the thread, while that has nothing to do and may be passed by.
        self._asleep: _SubmitDrive | None = None
        #: The task that has been sent past it.
        self.direct: Direct | None = None
        #: Looks at such tasks that the sleeping thread still takes; 0: it sleeps until it is woken.
        self._looks_left = 0
        # The latest thread and its wake, as long as it takes tasks. Ctrl-C may hit this thread while it
        # starts another, or waits for its end, after which `is_alive` is no longer to be trusted.
        self._wake: Wake | None = None
        self._thread: threading.Thread | None = None
        # The wake of the latest, until it has answered for all it had.
        self._busy: Wake | None = None
        self.closed = False  # no more tasks are taken
        self.cancelling = False  # and the thread, which Ctrl-C cannot hit, cancels those that wait
        self.ended = False  # and there are no more workers
        self.killed = False  # no worker is started any more
        atexit.register(self._at_exit)

    def put(self, task: Submitted) -> None:
        """Add a task.

        Raises:
            RuntimeError: It is too late, or there are no more threads to be had.
        """
        self._own()
        drive = self._asleep
        if drive is None or not self._may_pass(task):
            self._put(task)
            return
        direct = Direct(self, self._stock, drive.thread, task)
        try:
            if not (self._engage(direct, drive) and direct.send(drive.task)):
                self._put(task, direct)
        except BaseException:
            direct.spoil()
            raise

    def _put(self, task: Submitted, direct: Direct | None = None) -> None:
        """Leave a task to the thread; `direct`: it was to be sent past it, and there was no worker."""
        with self._lock:
            if self.closed:
                msg = "cannot schedule new futures after shutdown"
                raise RuntimeError(msg)
            if self._wake is None or not self._has_thread():
                self._start()
            if not self._waiting:
                self.call_thread()  # before: who is interrupted in between must not leave it asleep
            self._asleep = None
            if direct is not None:
                self.let_go_of(direct)  # before: the thread would mend what it is to run
            self._waiting.append(task)
            self.count += 1

    def _may_pass(self, task: Submitted) -> bool:
        """Whether a task may be sent past the thread, while that sleeps."""
        # Busy: perhaps with whom a signal handler has interrupted that submits this.
        return self.direct is None and task.packed.nbytes <= LIGHT and not self._stock.busy

    def _engage(self, direct: Direct, drive: _SubmitDrive) -> bool:
        """Let this be the task that is sent past the thread, if that still sleeps."""
        with self._lock:
            if self._asleep is not drive or self.direct is not None:
                return False
            if not self._looks_left:
                self.call_thread()
            self._looks_left = _LOOKS
            self.direct = direct
            return True

    def let_go_of(self, direct: Direct) -> None:
        """Forget a task that has been sent past the thread."""
        if self.direct is direct:
            self.direct = None

    def call_thread(self) -> None:
        """Wake the thread, so that it looks around."""
        wake = self._wake
        if wake is not None:
            wake.set()

    def sleep(self, drive: _SubmitDrive) -> bool:
        """Let the thread be passed by while it waits; whether it is to look around in a moment."""
        with self._lock:
            if not (self._waiting or self.closed):
                self._asleep = drive
            if self.direct is None:
                self._looks_left = max(0, self._looks_left - 1)
            return self._looks_left > 0

    def rise(self) -> None:
        """Let the thread no longer be passed by."""
        with self._lock:
            self._asleep = None

    @property
    def must_see_to_direct(self) -> bool:
        """Whether a task that was sent past the thread has to come first, if anything is to be done."""
        direct = self.direct
        if direct is None or direct.suspended:  # that one comes when the thread is idle
            return False
        return bool(self._waiting or self.closed or direct.wanted or direct.broken)

    @property
    def waits(self) -> bool:
        """Whether there are tasks that nobody has taken."""
        return bool(self._waiting)

    def _own(self) -> None:
        """In a forked child: the thread is the parent's, and whoever held the lock is not here."""
        if self._pid != os.getpid():
            self._lock, self._waiting, self._pid = careful(threading.Lock()), [], os.getpid()
            self._wake = self._thread = self._busy = self._asleep = self.direct = None
            self._looks_left = 0

    def _start(self) -> None:
        wake = Wake()
        thread = threading.Thread(
            target=self._run, args=(wake, _nesting.lineage()), name="parmap-submit", daemon=True
        )

        self._wake = self._busy = wake
        self._thread = thread
        try:
            _launch.undisturbed(thread.start)  # it then leaves signals to others, too
        except RuntimeError:
            self._wake = self._busy = None
            wake.close()
            raise

    def _has_thread(self) -> bool:
        return self._thread is not None and self._thread.ident is not None

    def end(self, *, wait: bool = True, cancel: bool = False) -> None:
        """Take no more tasks, finish or `cancel` those that are there, and end the workers."""
        self._own()
        with self._lock:
            self.closed = True
            self._asleep = None
            self.cancelling |= cancel
            self.call_thread()
            thread = self._thread if self._busy and self._has_thread() else None
        if thread is not None:
            if not wait:
                return  # the thread ends the workers when it is through, which the exit waits for
            if thread.ident == threading.get_ident():
                return  # called back by it: it ends the workers when it is through
            thread.join()
            while self._busy:
                time.sleep(_NAP)  # it only seems to have ended
        self._let_go()

    def kill(self) -> None:
        """End the workers at once; what waits is cancelled."""
        self.killed = True
        self.end(wait=False, cancel=True)
        self._stock.kill_all()
        self.end()

    def _at_exit(self) -> None:
        if issubclass(getattr(sys, "last_type", None) or Exception, KeyboardInterrupt):
            self.kill()
        else:
            self.end()

    def _let_go(self) -> None:
        self._stock.close(for_good=True)
        atexit.unregister(self._at_exit)
        self.ended = True

    # --- in the thread ----------------------------------------------------------------------------

    def _run(self, wake: Wake, ancestors: Any) -> None:
        with self._lock:
            if self._wake is not wake:
                wake.close()
                return  # another thread has been started in its place
        _nesting.of_thread[threading.get_ident()] = ancestors
        begun: dict[int, Submitted] = {}
        try:
            while True:
                drive = _SubmitDrive(self, begun, self._stock, self._size, wake)
                drive.run()
                error: Any = drive.verdict.error if drive.verdict is not None else None
                direct = self.direct  # it may have been in somebody's hand until now
                if error is not None or self.killed or direct is None or not direct.free:
                    break
                direct.suspended = False  # so that another drive sees to it first
        except BaseException as failure:
            error = failure
        del _nesting.of_thread[threading.get_ident()]
        with self._lock:
            left, self._waiting = self._waiting, []
            direct, self.direct = self.direct, None
            self._wake = self._asleep = None
            self._looks_left = 0
        wake.close()
        error = error or ParmapError("the pool has ended")
        if direct is not None:
            direct.give_up()
        for task in begun.values():
            task.fail(error)
        for task in left:
            if self.cancelling:
                task.cancel()
            elif task.begin():
                task.fail(error)
        with self._lock:
            if self._busy is not wake:
                return  # another thread runs what came later
            last, self._busy = self.closed, None
        if last:
            self._let_go()

    def take(self, most: int) -> tuple[list[Submitted], bool]:
        """Up to so many tasks that nobody has cancelled, and whether there are no more to come.

        Neither as long as the thread has to see to one that was sent past it.
        """
        if self.cancelling:
            with self._lock:
                left, self._waiting = self._waiting, []
            for task in left:
                task.cancel()
        taken: list[Submitted] = []
        while True:
            some = most - len(taken)
            with self._lock:
                if self.must_see_to_direct:
                    self.call_thread()  # it was woken before there was a reason
                    return taken, False
                tasks, self._waiting = self._waiting[:some], self._waiting[some:]
                ended = self.closed and not self._waiting
            taken += [task for task in tasks if task.begin()]
            if len(taken) == most or len(tasks) < some:
                return taken, ended


class _SubmitDrive(AheadDrive):
    """A call without an end, whose items are submitted tasks."""

    def __init__(
        self,
        submissions: Submissions,
        begun: dict[int, Submitted],
        stock: Stock,
        size: int,
        wake: Wake,
    ) -> None:
        rules = Rules(workers=size, stop_at_failure=False, keep_idle=False)
        function = _codec.pack(_errands.apply_task, copy=True)
        task = Task(function.parts, halts=False, star=True, timed=False)
        intake = Intake([()], star=False, strict=False, packing=True)
        super().__init__(stock, task, rules, intake, name="submit", retry_on=(), numbered=False)
        self.is_heard = True
        self._submissions = submissions
        self._asked = 0  # for so many tasks, once there are some
        self._counted = 0  # tasks submitted when it was last waited
        self._begun = begun  # by index: what is not answered
        intake.kinds.add(_codec.Packed)
        self.wake_by(wake)
        # The task sent past it when it last looked, and since when: one that is still there is adopted.
        self._seen: Direct | None = None
        self._seen_since = 0.0

    def read(self, most: int) -> None:
        """See `Drive`: the answer waits until there is something to read."""
        self._asked = most
        self._answer(*self._submissions.take(most))

    def _answer(self, taken: list[Submitted], ended: bool) -> None:  # noqa: FBT001 -- as `take` has it
        if not self._asked or not (taken or ended):
            return
        self._asked = 0
        first = self.plan.read
        self._begun.update(enumerate(taken, first))
        self.feed(InputRead(time.monotonic(), len(taken), ended=ended))

    def wait(self, until: float) -> None:
        """See `Drive`."""
        if self._submissions.count - self._counted >= _BURST:
            time.sleep(_LULL)
        self._counted = self._submissions.count
        if self._is_idle and _future.new is _future.Future:
            self._doze(until)
        else:
            super().wait(until)

    @property
    def _is_idle(self) -> bool:
        return bool(self._asked and not self._begun and self._may_go_ahead)

    def _doze(self, until: float) -> None:
        """Wait, while those who submit a task may send it themselves."""
        submissions = self._submissions
        direct = submissions.direct
        if direct is not None and direct.suspended and self._look_after(direct, self._seen_since):
            return
        if submissions.sleep(self):
            until = min(until, time.monotonic() + _LOOK)
        super().wait(until)
        direct = submissions.direct
        if direct is not self._seen:
            self._seen, self._seen_since = direct, time.monotonic()
        elif direct is not None and self._is_idle:
            self._look_after(direct, self._seen_since)

    def _await_direct(self) -> None:
        """See to the task that was sent past the thread before others are begun."""
        submissions = self._submissions
        since = time.monotonic()
        while (direct := submissions.direct) is not None and not direct.suspended:
            if self._look_after(direct, since):
                continue
            if time.monotonic() > since + _PATIENCE:
                self._stock.suspend(direct)
            time.sleep(_MOMENT)

    def _look_after(self, direct: Direct, since: float) -> bool:
        """Go on with it, unless somebody else has it in hand, or may have, since then."""
        if time.monotonic() > since + _PATIENCE and not direct.free:
            direct.tell()  # a signal handler may wait for that
            direct.broken = direct.broken or direct.left_alone
        if direct.broken:
            direct.mend()
            self._submissions.let_go_of(direct)
            return True
        link = direct.adopted()
        if link is None:
            return False
        self._submissions.rise()
        self._submissions.let_go_of(direct)
        self._stock.hand_on(link, self)
        link.rename(self.plan.read)
        self._see_through(direct.task, link)
        return True

    def woken(self) -> None:
        """See `ProcessDrive`: a task has come, or a worker."""
        super().woken()
        submissions = self._submissions
        if submissions.must_see_to_direct and self._is_idle:
            self._await_direct()
        if not (self._asked or submissions.cancelling):
            return
        taken, ended = submissions.take(self._asked)
        if len(taken) != 1 or ended or not self._run_alone(*taken):
            self._answer(taken, ended)

    def _run_alone(self, task: Submitted) -> bool:
        """Run a task before the plan is asked, if there is no other: whether it is answered, or planned."""
        submissions = self._submissions
        if submissions.waits or submissions.killed or not self._is_idle:
            return False
        link = self._lease_warm() if task.packed.nbytes <= LIGHT else None
        if link is None:
            return False
        link.begin(self.task, task.ambience)
        link.send(self.plan.read, [task.packed], self.intake.kinds)
        link.flush()
        self._see_through(task, link)
        return True

    def _see_through(self, task: Submitted, link: Link) -> None:
        """Answer a task that a worker has been sent, or have the plan go on with it."""
        first = self.plan.read
        self._begun[first] = task
        self._go_ahead(link, first + 1)
        heard = self._listen(link)
        results = self._results(heard, first, 1)
        if results is None:
            if not (heard or task.awaited):
                time.sleep(_MOMENT)
            self._answer([task], ended=False)
            self._ask_plan(heard)
            return
        self._ahead, self._sent_to = None, 0
        self._poller.unregister(link.channel.fileno())
        self._stock.give_back(link)
        self._begun.pop(first).succeed(*results)

    def start_worker(self, worker: int) -> None:
        """See `Drive`."""
        if self._ahead is not None or not self._submissions.killed:
            super().start_worker(worker)
            # Killed meanwhile? Nobody else may have seen what was just started.
            if self._submissions.killed:
                for link in list(self._links.values()):
                    link.kill("shutdown")
        elif not self._links:
            self._give_up()

    def _lost(self, worker: int) -> None:
        super()._lost(worker)
        if self._submissions.killed and not self._links:
            self._give_up()

    def _give_up(self) -> None:
        """After the last worker was killed: what it had not begun will not run."""
        self.feed(
            Stop(time.monotonic(), ParmapError("the workers of the pool have been terminated"))
        )

    def put_up(self, link: Link, first: int, stop: int) -> None:
        """See `ProcessDrive`: each task runs in its own caller's surroundings."""
        tasks = [self._begun[index] for index in range(first, stop)]
        for _, group in itertools.groupby(tasks, lambda task: task.ambience[0]):
            alike = list(group)
            if link.ambience != alike[0].ambience[0]:
                link.begin(self.task, alike[0].ambience)
            link.send(first, [task.packed for task in alike], self.intake.kinds)
            first += len(alike)

    def keep(self, first: int, values: Sequence[Any]) -> None:
        """See `Drive`: each is its future's."""
        for index, value in enumerate(values, first):
            self._begun.pop(index).succeed(value)

    def failed(
        self,
        worker: int | None,
        index: int,
        error: BaseException,
        *,
        fatal: bool = False,  # noqa: ARG002 -- no task ends the pool
    ) -> None:
        """See `Drive`: whatever a task raises is its future's."""
        super().failed(worker, index, error, fatal=False)

    def _on_lack(self, command: Lack) -> None:
        try:
            super()._on_lack(command)
        except RuntimeWarning:  # warnings are errors, but nobody called this
            pass

    def _on_keep(self, command: Keep) -> None:
        assert isinstance(command.error, BaseException)
        self._begun.pop(command.index).fail(command.error)
