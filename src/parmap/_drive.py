"""Performs a plan's commands and tells it what happened: what every way of running items shares.

The subclasses add how a worker is had, told and heard: processes (`_loop`), executors and this very
thread (`_executors`). All of the user's code that runs here (input, callbacks, unpickling) runs in the
caller's thread, and no lock is held meanwhile.
"""

from __future__ import annotations

import _thread
import sys
import time

from . import _failure
from ._codec import Broken
from ._errors import CallTimeout
from ._options import env_debug
from ._plan._call import Plan
from ._plan._vocabulary import (
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
    ReleaseWorker,
    Running,
    Send,
    StartWorker,
    Taken,
    Tick,
)
from ._serialization import SerializationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _weakref import ref
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeVar

    from ._intake import Intake
    from ._plan._call import Rules
    from ._plan._vocabulary import Command, Event, Turn
    from ._progress import Progress

    T = TypeVar("T")

#: Places of delivered results that are let go of together.
_KEPT = 4096


class Spent:
    """What a call has cost so far, for PARMAP_DEBUG."""

    __slots__ = ("chunks", "computing", "pickling", "received", "sent", "since", "waiting")

    def __init__(self) -> None:
        self.since = time.perf_counter()
        self.chunks = 0
        self.sent = 0  # bytes
        self.received = 0
        self.computing = 0.0  # seconds, in all workers together
        self.pickling = 0.0
        self.waiting = 0.0


class Drive:
    """One call, from its first event to its end."""

    def __init__(
        self,
        rules: Rules,
        intake: Intake,
        *,
        name: str,
        retry_on: tuple[type[BaseException], ...],
        progress: Progress | None = None,
        numbered: bool = True,
    ) -> None:
        self.plan = Plan(rules)
        self.intake = intake
        self.name = name  # of the call, for notes: "parallel_map(square)"
        self.results: list[Any] = []  # by index, from `_base` on
        self._base = 0  # what is below has been delivered and let go of
        self.delivered: list[Any] = []  # in the order of their delivery; the consumer empties it
        self.verdict: Finish | None = None
        self.spent = Spent()
        self.suspended = False  # a consumer has taken over, and may never come back
        self.thread = _thread.get_ident()  # that it runs in
        self.blocking = True  # else an event loop runs it
        self.awaiting = False  # that loop goes on meanwhile
        self.outside = 0.0  # since when it is in its input or its callback; 0: it is not
        self.owner: ref[object] | None = None  # who is to end it, if not `run`
        self._numbered = numbered  # else there is one item, which is the call itself
        self._retry_on = retry_on
        self._progress = progress
        self._events: list[Event] = []

    # --- to be provided ---------------------------------------------------------------------------

    def start_worker(self, worker: int) -> None:
        """Get a worker; feed `WorkerReady` or `WorkerGone` now or later."""
        raise NotImplementedError

    def release_worker(self, worker: int) -> None:
        """Let a worker go that holds nothing."""
        raise NotImplementedError

    def kill_worker(self, worker: int, overdue: int | None) -> None:
        """End a worker by force; feed `WorkerGone` when it has ended."""
        raise NotImplementedError

    def send(self, worker: int, first: int, stop: int) -> None:
        """Send items to a worker."""
        raise NotImplementedError

    def take_back(self, worker: int, *, leave_one: bool) -> list[tuple[int, int]]:
        """What a worker had not begun and will not run; `leave_one`: let it keep its first item."""
        raise NotImplementedError

    def running(self, worker: int) -> tuple[int | None, float]:
        """The item that a worker is at, and since when."""
        raise NotImplementedError

    def wait(self, until: float) -> None:
        """Wait for something to happen, no longer than until then, and feed what has."""
        raise NotImplementedError

    def close(self, *, abrupt: bool) -> None:
        """Give up all workers; `abrupt`: at once, whatever they run."""
        raise NotImplementedError

    # --- running ----------------------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        """Put an event at the end of those that the plan is to be told."""
        self._events.append(event)

    def nudge(self) -> None:
        """End a wait; called in any thread."""

    def descriptors(self) -> list[tuple[int, bool]] | None:
        """What `wait` waits for: descriptors, and whether for writing, too; None: it has to `notify`."""
        return None

    def notify(self, listener: Callable[[], None] | None) -> None:
        """Call this, in whatever thread, as soon as there is something to `wait` for."""
        raise NotImplementedError

    def suspend(self) -> None:
        """Let the consumer work; `advance` comes when it wants more."""
        self.suspended = True

    @property
    def orphaned(self) -> bool:
        """Whether who was to end it is gone: Ctrl-C may hit a `__del__` before it has begun."""
        return self.owner is not None and self.owner() is None

    def resume(self) -> None:
        """Go on, in this thread."""
        self.suspended = self.awaiting = False
        self.thread = _thread.get_ident()

    @property
    def due(self) -> float:
        """Until when one may wait at most."""
        return self.plan.deadline

    @property
    def entangled(self) -> bool:
        """Whether to close it now might wait for this very thread: see `ParallelIterator.__del__`."""
        return False

    def hurry(self) -> None:
        """Do what can be done before the plan is asked."""

    def advance(self) -> None:
        """Wait for the next thing to happen and deal with it."""
        self.resume()
        self.settle()
        if self.verdict is None:
            self.wait(self.due)
            self.settle()

    def settle(self) -> None:
        """Feed the plan and perform what it answers, until there is nothing more to do now."""
        plan, events = self.plan, self._events
        if not plan.begun:
            self._perform(plan.begin())
        while True:
            while events:
                self._perform(plan.handle(events.pop(0)))
            if self.verdict is not None or time.monotonic() < plan.deadline:
                break
            events.append(Tick(time.monotonic()))
        if plan.rules.delivery != "whole":  # now that all that is settled has been delivered
            self._forget_delivered()
        if self._progress is not None:
            progress = self._progress
            self._go_outside(lambda: progress.update(self.plan.done))

    def _go_outside(self, act: Callable[[], T]) -> T:
        """Call what runs code of the program's, so that others can see it if that takes long."""
        self.outside = time.monotonic()
        try:
            return act()
        finally:
            self.outside = 0.0

    def _perform(self, commands: Sequence[Command]) -> None:
        for command in commands:
            getattr(self, PERFORM[type(command)])(command)

    def run(self) -> None:
        """Do all of it."""
        try:
            self._go_on()
            self.close(abrupt=False)
        except BaseException:
            self.close(abrupt=True)
            raise

    def _go_on(self) -> None:
        # By itself: what Ctrl-C raises as a loop begins its next turn passes by the handlers around it in
        # the same function, where CPython 3.12 and 3.13 have compiled that.
        self.hurry()
        while self.verdict is None:
            self.advance()

    def abandon(self, *, abrupt: bool) -> None:
        """Give up a call that may be running: its input or its progress may be what ends it."""
        self.verdict = self.verdict or Finish()
        self.close(abrupt=abrupt)

    def end_progress(self) -> None:
        """Let go of the progress bar."""
        if self._progress is not None:
            self._progress.close()

    def debug(self) -> None:
        """Write the line that PARMAP_DEBUG=1 asks for."""
        if not env_debug():
            return
        spent = self.spent
        line = (
            f"parmap: {self.name}: {self.plan.done} items in {spent.chunks} chunks,"
            f" {time.perf_counter() - spent.since:.3f} s"
            f" (computing {spent.computing:.3f} s in all workers, pickling {spent.pickling:.3f} s,"
            f" waiting {spent.waiting:.3f} s), {spent.sent:,} bytes sent, {spent.received:,} received"
        )
        print(line, file=sys.stderr)  # noqa: T201 -- what was asked for

    def conclude(self) -> None:
        """Raise what the call ends with, if it is not a success."""
        verdict = self.verdict
        assert verdict is not None
        error = self.lateness() if verdict.late else verdict.error
        if error is None:
            return
        assert isinstance(error, BaseException)
        if error is verdict.error and error is not self.intake.error and self._numbered:
            _failure.annotate(error, verdict.index, self.name)
        # Its traceback keeps this very call, in some versions of Python even if only a generator raised it:
        # so the call must not keep the error, nor these frames the call.
        self.verdict, self.results = Finish(), []
        self.intake.abandon()
        self.plan.forget_errors()
        try:
            raise error
        finally:
            del error, verdict, self

    def answer(self, *, keep: bool) -> list[Any]:
        """The results of a call that is over; `keep`: failures stand among them, lateness too."""
        assert self.verdict is not None
        if not (self.verdict.late and keep):
            try:
                self.conclude()
                results, self.results = self.results, []  # an error among them may keep this call
                return results
            finally:
                del self  # as above
        late = self.lateness()
        total = self.intake.total
        results = [late] * (len(self.results) if total is None else total)
        for first, stop in self.plan.settled:
            results[first:stop] = self.results[first:stop]
        return results

    def lateness(self) -> CallTimeout:
        """What a call that ran out of time ends with."""
        seconds = self.seconds_allowed
        of = "" if self.intake.total is None else f" of {self.intake.total}"
        done = {index: self.results[index] for span in self.plan.settled for index in range(*span)}
        return CallTimeout(
            f"{self.name} did not end within {seconds:g} s; {len(done)}{of} items were done",
            seconds=seconds,
            done=len(done),
            total=self.intake.total,
            results=done,
        )

    #: The `timeout` of the call.
    seconds_allowed: float = 0.0

    # --- what subclasses report -------------------------------------------------------------------

    def took(
        self, worker: int, first: int, values: Sequence[Any], seconds: float, *, broken: bool
    ) -> None:
        """A worker has sent results; `broken`: instead of some of them it says why there are none."""
        self.spent.computing += seconds
        failures: list[tuple[int, BaseException, bool]] = []
        begun = 0
        for at, value in enumerate(values) if broken else ():
            if type(value) is Broken:
                self.keep(first + begun, values[begun:at])
                error = value.error if value.raised else _unreadable(value.error)
                failures.append((first + at, error, self.may_retry(error)))
                begun = at + 1
        self.keep(first + begun, values[begun:] if begun else values)
        now, stop = time.monotonic(), first + len(values)
        self.feed(ItemsDone(now, worker, first, stop, seconds, failures))

    def keep(self, first: int, values: Sequence[Any]) -> None:
        """Keep results, and let go of their items."""
        if values:
            self._store(first, values)
            self.intake.forget(first, first + len(values))

    def _store(self, first: int, values: Sequence[Any]) -> None:
        """Put results where they belong: mostly at the end, sometimes before or beyond it."""
        results, place = self.results, first - self._base
        if place > len(results):
            results += [None] * (place - len(results))
        results[place : place + len(values)] = values

    def failed(
        self, worker: int | None, index: int, error: BaseException, *, fatal: bool = False
    ) -> None:
        """An item has failed."""
        again = self.may_retry(error)
        now = time.monotonic()
        self.feed(ItemFailed(now, worker, index, error, again=again, fatal=fatal))

    def may_retry(self, error: BaseException) -> bool:
        """Whether an item that failed like this may run again."""
        return isinstance(error, self._retry_on)

    def taken(self, count: int) -> None:
        """The consumer has had so many results."""
        self.feed(Taken(time.monotonic(), count))

    # --- commands ---------------------------------------------------------------------------------

    def _on_start(self, command: StartWorker) -> None:
        self.start_worker(command.worker)

    def _on_release(self, command: ReleaseWorker) -> None:
        self.release_worker(command.worker)

    def _on_kill(self, command: KillWorker) -> None:
        self.kill_worker(command.worker, command.overdue)

    def _on_lack(self, command: Lack) -> None:
        import warnings

        assert isinstance(command.error, BaseException)
        what = f"{self.name} goes on with fewer workers: {_failure.said(command.error)}"
        warnings.warn(what, RuntimeWarning, stacklevel=1)

    def _on_send(self, command: Send) -> None:
        self.send(command.worker, command.first, command.stop)

    def _on_ask_back(self, command: AskBack) -> None:
        spans = self.take_back(command.worker, leave_one=command.leave_one)
        self.feed(GaveBack(time.monotonic(), command.worker, spans))

    def _on_look(self, command: Look) -> None:
        index, since = self.running(command.worker)
        self.feed(Running(time.monotonic(), command.worker, index, since))

    def _on_read(self, command: Read) -> None:
        self.read(command.count)

    def read(self, most: int) -> None:
        """Read up to `most` items of the input, and tell the plan."""
        if self.intake.error is None:  # else the plan is about to hear of it
            self.tell_read(*self.read_untold(most))

    def read_untold(self, most: int) -> tuple[int, bool]:
        """Read up to `most` items: how many there were, and whether that is all of a sound input."""
        began = time.perf_counter()
        count, ended = self._go_outside(lambda: self.intake.read(most))
        self.spent.pickling += time.perf_counter() - began
        return count, ended and self.intake.error is None

    def tell_read(self, count: int, ended: bool) -> None:  # noqa: FBT001 -- as it was answered
        """Tell the plan what was read."""
        now = time.monotonic()
        failed = self.intake.error
        self.feed(InputRead(now, count, ended=ended, nbytes=self.intake.nbytes))
        for index, error in self.intake.refused:
            self.failed(None, index, error)
        self.intake.refused.clear()
        if failed is not None:
            self.feed(InputRaised(now, failed))

    def _on_keep(self, command: Keep) -> None:
        error = command.error
        assert isinstance(error, BaseException)
        self._store(command.index, [_failure.annotate(error, command.index, self.name)])

    def _on_deliver(self, command: Deliver) -> None:
        span = slice(command.first - self._base, command.stop - self._base)
        self.delivered += self.results[span]
        self.results[span] = [None] * (command.stop - command.first)

    def _forget_delivered(self) -> None:
        done = self.plan.settled.head - self._base
        if done > _KEPT:
            del self.results[:done]
            self._base += done

    def _on_finish(self, command: Finish) -> None:
        self.verdict = command


#: The method that performs a command; by name, so that a subclass may have its own.
PERFORM: Mapping[type[Turn], str] = {
    StartWorker: "_on_start",
    ReleaseWorker: "_on_release",
    KillWorker: "_on_kill",
    Lack: "_on_lack",
    Send: "_on_send",
    AskBack: "_on_ask_back",
    Look: "_on_look",
    Read: "_on_read",
    Keep: "_on_keep",
    Deliver: "_on_deliver",
    Finish: "_on_finish",
}


def _unreadable(error: BaseException) -> SerializationError:
    made = SerializationError(
        f"the result cannot be unpickled in the caller: {_failure.said(error)}"
    )
    made.__cause__ = error
    return made
