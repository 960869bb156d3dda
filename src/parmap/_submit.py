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
from ._errors import ParmapError
from ._intake import Intake
from ._link import Task
from ._lock import careful
from ._loop import Wake
from ._plan._call import Rules
from ._plan._vocabulary import InputRead, ItemsDone, Keep, Stop
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

#: Seconds for the same, when a second task comes before anybody waits for the first: there may be many.
_MOMENT = 0.0002


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
        """Whether anybody waits for its answer already."""
        return _future.is_watched(self.future)

    def succeed(self, result: Any) -> None:
        """Answer the result."""
        _future.tell(self.future, self.future.set_result, result)

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
        self.count = 0  # of all tasks so far
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
        with self._lock:
            if self.closed:
                msg = "cannot schedule new futures after shutdown"
                raise RuntimeError(msg)
            if self._wake is None or not self._has_thread():
                self._start()
            if not self._waiting:
                assert self._wake is not None
                self._wake.set()  # before: who is interrupted in between must not leave it asleep
            self._waiting.append(task)
            self.count += 1

    @property
    def waits(self) -> bool:
        """Whether there are tasks that nobody has taken."""
        return bool(self._waiting)

    def _own(self) -> None:
        """In a forked child: the thread is the parent's, and whoever held the lock is not here."""
        if self._pid != os.getpid():
            self._lock, self._waiting, self._pid = careful(threading.Lock()), [], os.getpid()
            self._wake = self._thread = self._busy = None

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
            self.cancelling |= cancel
            if self._wake is not None:
                self._wake.set()
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
            drive = _SubmitDrive(self, begun, self._stock, self._size, wake)
            drive.run()
            error: Any = drive.verdict.error if drive.verdict is not None else None
        except BaseException as failure:
            error = failure
        del _nesting.of_thread[threading.get_ident()]
        with self._lock:
            left, self._waiting = self._waiting, []
            self._wake = None
        wake.close()
        error = error or ParmapError("the pool has ended")
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
        """Up to so many tasks that nobody has cancelled, and whether there are no more to come."""
        if self.cancelling:
            with self._lock:
                left, self._waiting = self._waiting, []
            for task in left:
                task.cancel()
            return [], True
        taken: list[Submitted] = []
        while True:
            some = most - len(taken)
            with self._lock:
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
        self._submissions = submissions
        self._asked = 0  # for so many tasks, once there are some
        self._counted = 0  # tasks submitted when it was last waited
        self._begun = begun  # by index: what is not answered
        intake.kinds.add(_codec.Packed)
        self.wake_by(wake)

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
        super().wait(until)

    def woken(self) -> None:
        """See `ProcessDrive`: a task has come, or a worker."""
        super().woken()
        if not (self._asked or self._submissions.cancelling):
            return
        taken, ended = self._submissions.take(self._asked)
        if len(taken) != 1 or ended or not self._run_alone(*taken):
            self._answer(taken, ended)

    def _run_alone(self, task: Submitted) -> bool:
        """Run a task before the plan is asked, if there is no other: whether it is answered, or planned."""
        submissions = self._submissions
        if self._begun or submissions.waits or submissions.killed or not self._may_go_ahead:
            return False
        first = self.plan.read
        self._begun[first] = task
        link = self._lease_warm() if task.packed.nbytes <= LIGHT else None
        if link is None:
            return False
        self._go_ahead(link, first + 1)
        link.begin(self.task, task.ambience)
        link.send(first, [task.packed], self.intake.kinds)
        link.flush()
        heard = self._listen(link)
        results = self._results(heard, first, 1)
        if results is None:
            if not (heard or task.awaited):
                time.sleep(_MOMENT)
            self._answer([task], ended=False)
            self._ask_plan(heard)
            return True
        self._ahead, self._sent_to = None, 0
        self._poller.unregister(link.channel.fileno())
        self._stock.give_back(link)
        self._begun.pop(first).succeed(*results)
        return True

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

    def _took_run(
        self, now: float, worker: int, first: int, stop: int, values: Sequence[Any], seconds: float
    ) -> None:
        if first < stop:
            for index, value in enumerate(values, first):
                self._begun.pop(index).succeed(value)
            self.feed(ItemsDone(now, worker, first, stop, seconds))

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

    def _on_keep(self, command: Keep) -> None:
        assert isinstance(command.error, BaseException)
        self._begun.pop(command.index).fail(command.error)
