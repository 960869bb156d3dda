"""The futures of submitted tasks are those of the standard library, only cheaper."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import gc
import pickle
import sys
import threading
import time
import weakref
from concurrent.futures import FIRST_EXCEPTION, CancelledError, as_completed, wait

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parmap import _future

from ..held import HeldUp

pytestmark = pytest.mark.skipif(
    _future.new is concurrent.futures.Future, reason="the standard library's own are in use"
)


class Refused(Exception):
    pass


STEPS = {
    "begin": lambda future, _: future.set_running_or_notify_cancel(),
    "succeed": lambda future, _: future.set_result(7),
    "fail": lambda future, _: future.set_exception(Refused()),
    "cancel": lambda future, _: future.cancel(),
    "cancelled": lambda future, _: future.cancelled(),
    "running": lambda future, _: future.running(),
    "done": lambda future, _: future.done(),
    "result": lambda future, _: future.result(timeout=0),
    "exception": lambda future, _: type(future.exception(timeout=0)),
    "call back": lambda future, heard: future.add_done_callback(lambda it: heard.append(it.done())),
    "show": lambda future, _: repr(future).replace(f"{id(future):#x}", ""),
}


def play(future, steps):
    """What each step answers or raises, and what the callbacks heard by then."""
    heard, story = [], []
    for step in steps:
        try:
            story.append((STEPS[step](future, heard), list(heard)))
        except (
            Refused,
            RuntimeError,
            CancelledError,
            TimeoutError,
            concurrent.futures.InvalidStateError,
        ) as error:
            story.append((type(error), list(heard)))
    return story


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=10))
def test_it_does_what_the_standard_one_does(steps):
    assert play(_future.new(), steps) == play(concurrent.futures.Future(), steps)


# --- two threads, one of which is held up at each place -------------------------------------------------


def held_up(first, second, at):
    """See `HeldUp`: at a line of the futures."""
    modules = {"parmap._future", "concurrent.futures._base", "threading"}
    return HeldUp(first, second, at, modules=modules, patience=0.01, raised=type, seconds=10)


def at_each_line(make):
    """The future and the answers of two threads, for each line at which the first is held up."""
    at = 1
    while True:
        future, first, second = make()
        both = held_up(first, second, at)
        if not both.where:
            assert at > 3, "nothing was held up"
            return
        yield future, both.results["first"], both.results["second"]
        at += 1


def running():
    future = _future.new()
    assert future.set_running_or_notify_cancel()
    return future


LOOKS = {
    "result": lambda future: future.result(timeout=5),
    "exception": lambda future: future.exception(timeout=5),
    "wait": lambda future: len(wait([future], timeout=5).done),
    "as_completed": lambda future: [it.result() for it in as_completed([future], timeout=5)],
    "first exception": lambda future: len(wait([future], 5, FIRST_EXCEPTION).done),
}


def finished(look, error):
    """What a look at a future that is finished answers."""
    future = running()
    future.set_exception(error) if error else future.set_result(7)
    try:
        return LOOKS[look](future)
    except Refused:
        return Refused


@pytest.mark.parametrize("error", [None, Refused()])
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("finisher_first", [True, False])
def test_who_waits_hears_of_the_end(look, error, finisher_first):
    expected = finished(look, error)

    def make():
        future = running()
        end = (lambda: future.set_exception(error)) if error else (lambda: future.set_result(7))
        acts = [end, lambda: LOOKS[look](future)]
        return future, *(acts if finisher_first else acts[::-1])

    for _, first, second in at_each_line(make):
        assert (second if finisher_first else first) == expected


@pytest.mark.parametrize("finisher_first", [True, False])
def test_what_is_to_be_called_back_is_called_once(finisher_first):
    def make():
        future = running()
        future.heard = []
        acts = [
            lambda: future.set_result(7),
            lambda: future.add_done_callback(lambda it: it.heard.append(it.result())),
        ]
        return future, *(acts if finisher_first else acts[::-1])

    for future, _, _ in at_each_line(make):
        assert future.heard == [7]


@pytest.mark.parametrize("canceller_first", [True, False])
def test_it_is_cancelled_or_run(canceller_first):
    def make():
        future = _future.new()
        acts = [future.cancel, future.set_running_or_notify_cancel]
        return future, *(acts if canceller_first else acts[::-1])

    for future, first, second in at_each_line(make):
        cancelled, begun = (first, second) if canceller_first else (second, first)
        assert cancelled is not begun
        assert future.cancelled() is cancelled
        assert future.running() is begun


def test_of_two_who_cancel_both_have_done_it():
    def make():
        future = _future.new()
        return future, future.cancel, future.cancel

    for future, first, second in at_each_line(make):
        assert first is second is future.cancelled() is True
        assert not future.set_running_or_notify_cancel()


# --- two threads, each of which is held up once ---------------------------------------------------------


class Interleaved:
    """Runs `first` up to a line, `second` up to another, the rest of the first, `then`, and the rest."""

    def __init__(self, first, first_at, second, second_at, then):
        self.first_reached = self.second_reached = False
        self.result = None
        self._there, self._over = threading.Event(), threading.Event()

        def hold_first():
            self.first_reached = True
            looker.start()
            self._there.wait(0.02)

        def hold_second():
            self.second_reached = True
            self._there.set()
            self._over.wait(0.02)

        def run_second():
            self._traced(second, second_at, hold_second)
            self._there.set()

        finisher = threading.Thread(
            target=self._traced, args=(first, first_at, hold_first), daemon=True
        )
        looker = threading.Thread(target=run_second, daemon=True)
        finisher.start()
        finisher.join(10)
        self._over.set()
        if self.first_reached:
            then()
            looker.join(10)
            assert not looker.is_alive(), f"{first_at} and {second_at}: the second hangs"
        assert not finisher.is_alive(), f"{first_at} and {second_at}: the first hangs"

    def _traced(self, act, at, hold):
        left = [at]

        def trace(frame, event, _):
            if frame.f_globals["__name__"] not in ("parmap._future", "concurrent.futures._base"):
                return None
            if event == "line":
                left[0] -= 1
                if left[0] == 0:
                    hold()
            return trace

        sys.settrace(trace)
        try:
            self.result = act()
        finally:
            sys.settrace(None)


@pytest.mark.parametrize("look", [
    lambda both: len(wait(both, timeout=5).done),
    lambda both: len(list(as_completed(both, timeout=5))),
])  # fmt: skip
def test_who_waits_for_two_hears_of_both_ends(look):
    first_at = second_at = 1
    while True:
        ends, runs = running(), running()
        both = Interleaved(
            lambda: ends.set_result(1),  # noqa: B023 -- it is over before the next turn
            first_at,
            lambda: look([ends, runs]),  # noqa: B023
            second_at,
            lambda: runs.set_result(2),  # noqa: B023
        )
        if not both.first_reached:
            break
        assert both.result == 2, (first_at, second_at)
        second_at += 1
        if not both.second_reached:
            first_at, second_at = first_at + 1, 1
    assert first_at > 3


def test_many_at_once():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    futures = [running() for _ in range(3_000)]
    answers = []
    threads = [
        threading.Thread(
            target=lambda: [future.set_result(at) for at, future in enumerate(futures)]
        ),
        *(
            threading.Thread(
                target=lambda: answers.append([future.result(20) for future in futures])
            )
            for _ in range(3)
        ),
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(interval)
    assert answers == [list(range(3_000))] * 3


# --- what else a standard one is ------------------------------------------------------------------------


def test_it_can_be_awaited():
    async def main():
        future = running()
        threading.Timer(0.01, future.set_result, [7]).start()
        return await asyncio.wrap_future(future)

    assert asyncio.run(main()) == 7


def test_it_travels_nowhere():
    for carry in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle 'Future' object"):
            carry(_future.new())


def test_unknown_attributes_are_told():
    with pytest.raises(AttributeError, match="'Future' object has no attribute 'other'"):
        _future.new().other


def test_an_error_does_not_keep_its_future():
    future = running()
    future.set_exception(Refused())
    gone = weakref.ref(future)
    gc.disable()
    try:
        with pytest.raises(Refused):
            future.result()
        del future
        assert gone() is None
    finally:
        gc.enable()


def test_it_runs_as_soon_as_it_cannot_be_cancelled():
    future = _future.new()
    assert future._is("RUNNING")
    assert not future.cancel()
    assert future.running()


@pytest.mark.parametrize("then", ["end", "wait", "wait for another"])
def test_a_lock_that_is_never_given_back_is_given_up(monkeypatch, then):
    monkeypatch.setattr(_future, "_PATIENCE", 0.001)
    future, other, over = running(), running(), threading.Event()

    def take():
        future._condition.acquire()
        if then == "wait":
            over.wait(10)
        elif then == "wait for another":
            other.result(10)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        assert _future.tell(future, future.set_result, 7) is None
        assert future.running()
    finally:
        over.set()
        other.set_result(1)
        thread.join(10)


def test_who_goes_through_very_many_is_waited_for(monkeypatch):
    """All their locks are held meanwhile."""
    monkeypatch.setattr(_future, "_PATIENCE", 0.0001)
    futures = [running() for _ in range(30_000)]
    first = min(futures, key=id)  # the lock that is taken first
    thread = threading.Thread(target=wait, args=(futures,), daemon=True)
    thread.start()
    while not _future.is_watched(first):
        time.sleep(0.0001)
    for future in futures:
        _future.tell(future, future.set_result, 7)
    thread.join(20)
    assert not thread.is_alive()
    assert all(future.done() for future in futures)
