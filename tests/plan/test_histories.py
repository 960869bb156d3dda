"""Histories: an event in, exactly these commands out, for each rule and for each bug mended."""

from __future__ import annotations

import pytest

from parmap._plan._call import PATIENCE, RETRY, Plan, Rules
from parmap._plan._chunks import HEAVY, SLICE, Pace
from parmap._plan._crew import INFINITY
from parmap._plan._vocabulary import (
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


class History:
    """A plan, and what is expected of it, one event after another."""

    def __init__(self, **rules):
        self.plan = Plan(Rules(**rules))

    def then(self, event, *commands):
        """Feed an event; its commands must be these."""
        assert self.plan.handle(event) == list(commands), event
        self.plan.check()
        return self

    def first(self, *commands):
        """What is to be done first must be these."""
        assert self.plan.begin() == list(commands)
        self.plan.check()
        return self

    def begin(self, *chunks, ended=True):
        """Get the call going: one busy worker for each of these numbers of items."""
        self.first(Read(self.plan.rules.chunksize or 1))
        first = 0
        for worker, count in enumerate(chunks):
            self.plan.handle(InputRead(0.0, count, ended=ended and worker == len(chunks) - 1))
            answer = self.plan.handle(WorkerReady(0.0, worker))
            assert answer[0] == Send(worker, first, first + count), answer
            first += count
            self.plan.check()
        return self

    def lack(self, *, ended):
        """Let a second worker be wanted for one more item, while the first is busy, and none be had."""
        self.then(InputRead(0.1, 1, ended=ended), StartWorker(1))
        self.then(WorkerGone(0.1, 1, None, "no room"), StartWorker(2))
        self.then(WorkerGone(0.2, 2, None, "no room"), StartWorker(3))
        self.then(WorkerGone(0.3, 3, None, "no room"), Lack("no room"))


def test_two_items_on_two_workers():
    (
        History(workers=2)
        .first(Read(1))
        .then(InputRead(0.0, 1, ended=False), StartWorker(0), Read(1))
        .then(InputRead(0.0, 1, ended=True), StartWorker(1))
        .then(WorkerReady(0.0, 0), Send(0, 0, 1))
        .then(WorkerReady(0.0, 1), Send(1, 1, 2))
        .then(ItemsDone(0.1, 1, 1, 2, 0.1))
        .then(ItemsDone(0.1, 0, 0, 1, 0.1), Finish())
        .then(WorkerGone(0.1, 0, None, "late"))
    )


def test_an_empty_input_starts_no_worker():
    History(workers=2).first(Read(1)).then(InputRead(0.0, 0, ended=True), Finish())


def test_cheap_items_are_sent_ahead_in_growing_chunks():
    (
        History(workers=1)
        .first(Read(1))
        .then(InputRead(0.0, 1, ended=False), StartWorker(0))
        .then(WorkerReady(0.0, 0), Send(0, 0, 1))
        .then(ItemsDone(0.1, 0, 0, 1, 0.001), Read(8))
        .then(InputRead(0.1, 8, ended=False), Send(0, 1, 9), Read(8))
        .then(InputRead(0.1, 8, ended=True), Send(0, 9, 13))  # half of what is left
        .then(ItemsDone(0.2, 0, 1, 9, 0.008), Send(0, 13, 15))
    )


# --- failures -------------------------------------------------------------------------------------


def test_a_failure_cancels_what_is_above_and_awaits_what_is_below():
    (
        History(workers=2, chunksize=2)
        .begin(2, 2, ended=False)
        .then(ItemFailed(1.0, 1, 2, "two"))  # the worker is idle, but nothing more is read
        .then(WorkerGone(1.0, 1, 3, "died"))  # of what nobody wants any more
        .then(ItemsDone(1.0, 0, 0, 2, 1.0), Finish(2, "two"))
    )


def test_the_lowest_failure_wins():
    (
        History(workers=3)
        .begin(1, 1, 1)
        .then(ItemFailed(1.0, 2, 2, "two"))
        .then(ItemFailed(1.0, 1, 1, "one"))
        .then(ItemsDone(1.0, 0, 0, 1, 1.0), Finish(1, "one"))
    )


def test_the_first_failure_in_time_wins():
    (
        History(workers=3, first_in_time=True)
        .begin(1, 1, 1)
        .then(ItemFailed(1.0, 2, 2, "two"), Finish(2, "two"))
    )


def test_what_a_cancelled_worker_has_not_begun_is_asked_back():
    (
        History(workers=2, chunksize=3)
        .begin(1, 3, ended=False)
        .then(ItemFailed(1.0, 1, 2, "two"), AskBack(1, leave_one=False))
        .then(GaveBack(1.0, 1, [(3, 4)]))
        .then(ItemsDone(1.0, 1, 1, 2, 1.0))
        .then(ItemsDone(1.0, 0, 0, 1, 1.0), Finish(2, "two"))
    )


def test_what_a_failure_leaves_to_be_done_is_not_carried_to_and_fro():
    """Each of two idle workers took all from the other, before it could begin."""
    (
        History(workers=2, chunksize=4)
        .begin(4, 1)
        .then(ItemFailed(1.0, 1, 4, "four"), AskBack(0, leave_one=True))
        .then(GaveBack(1.0, 0, [(2, 4)]), Send(1, 2, 3))
    )


def test_a_worker_that_runs_what_nobody_wants_makes_room():
    (
        History(workers=2, chunksize=4)
        .begin(4, 4)
        .then(
            ItemFailed(0.1, None, 2, "two"),
            AskBack(0, leave_one=False),
            AskBack(1, leave_one=False),
        )
        .then(GaveBack(0.1, 0, [(1, 2), (3, 4)]), KillWorker(1, None))
        .then(WorkerGone(0.2, 1, 4, "killed"), StartWorker(2))
        .then(WorkerReady(0.2, 2), Send(2, 1, 2))
        .then(ItemsDone(0.3, 2, 1, 2, 0.1))
        .then(ItemsDone(0.3, 0, 0, 1, 0.1), Finish(2, "two"))
    )


def test_failures_stand_as_results_and_a_fatal_one_does_not():
    (
        History(workers=1, stop_at_failure=False)
        .first(Read(1))
        .then(InputRead(0.0, 2, ended=True), StartWorker(0))
        .then(WorkerReady(0.0, 0), Send(0, 0, 1))
        .then(ItemFailed(1.0, 0, 0, "no"), Keep(0, "no"), Send(0, 1, 2))
        .then(ItemFailed(1.0, 0, 1, "exit", fatal=True), Finish(1, "exit"))
    )


def test_an_input_that_raises_fails_where_its_next_item_would_have_been():
    (
        History(workers=2)
        .begin(1, ended=False)
        .then(InputRaised(0.5, "bad input"))
        .then(ItemsDone(1.0, 0, 0, 1, 1.0), Finish(1, "bad input"))
    )
    History(workers=2).first(Read(1)).then(InputRaised(0.0, "bad"), Finish(0, "bad"))
    (
        History(workers=2)
        .begin(1, ended=False)
        .then(InputRaised(0.5, "bad input"))
        .then(ItemFailed(1.0, 0, 0, "lower"), Finish(0, "lower"))
    )


def test_an_item_that_cannot_be_sent_fails_whether_or_not_its_worker_is_named():
    for named in (0, None):
        History(workers=1).begin(1).then(ItemFailed(0.0, named, 0, "pickle"), Finish(0, "pickle"))


def test_stop_ends_the_call():
    History(workers=1).begin(1).then(Stop(1.0, "cannot load"), Finish(None, "cannot load"))


# --- deaths, retries ------------------------------------------------------------------------------


def test_a_death_without_retries_is_that_items_failure():
    History(workers=1).begin(1).then(WorkerGone(1.0, 0, 0, "died"), Finish(0, "died"))


def test_after_a_death_the_item_is_tried_again_as_often_as_allowed():
    (
        History(workers=1, retries=1)
        .begin(1)
        .then(WorkerGone(1.0, 0, 0, "died"), StartWorker(1))
        .then(WorkerReady(1.0, 1), Send(1, 0, 1))
        .then(WorkerGone(2.0, 1, 0, "died again"), Finish(0, "died again"))
    )


def test_chunk_mates_of_the_dead_are_not_charged():
    (
        History(workers=1, chunksize=3)
        .begin(3)
        .then(WorkerGone(1.0, 0, 2, "died"), StartWorker(1))
        .then(WorkerReady(1.0, 1), Send(1, 0, 2))
        .then(ItemsDone(1.0, 1, 0, 2, 0.1), Finish(2, "died"))
    )


def test_a_suspect_runs_alone_and_last():
    (
        History(workers=1, retries=1)
        .begin(1, ended=False)
        .then(ItemFailed(0.1, 0, 0, "x", again=True), Read(1))
        .then(InputRead(0.1, 2, ended=True), Send(0, 1, 2))
        .then(ItemsDone(0.2, 0, 1, 2, 0.0), Send(0, 2, 3))
        .then(ItemsDone(0.3, 0, 2, 3, 0.0), Send(0, 0, 1))
        .then(ItemsDone(0.4, 0, 0, 1, 0.0), Finish())
    )


def test_a_suspect_waits_only_so_long_for_an_input_that_goes_on():
    history = History(workers=1, retries=1).begin(1, ended=False)
    history.then(ItemFailed(0.5, 0, 0, "x", again=True), Read(1))
    assert history.plan.deadline == 0.5 + PATIENCE
    history.then(Tick(0.5 + PATIENCE), Send(0, 0, 1))


def test_a_suspect_that_has_waited_asks_for_no_more_ticks_while_all_are_busy():
    history = History(workers=2, retries=1).begin(1, 1, ended=False)
    history.then(ItemFailed(0.5, 0, 0, "x", again=True), Read(1))
    history.then(InputRead(0.5, 1, ended=False), Send(0, 2, 3))
    history.then(Tick(0.5 + PATIENCE))
    assert history.plan.deadline == INFINITY
    history.then(ItemsDone(1.7, 1, 1, 2, 0.001), Send(1, 0, 1), Read(8))


def test_a_suspect_given_back_is_still_a_suspect():
    history = History(workers=1, retries=1).begin(1)
    history.then(ItemFailed(0.1, 0, 0, "x", again=True), Send(0, 0, 1))
    history.then(GaveBack(0.2, 0, [(0, 1)]), Send(0, 0, 1))
    history.then(WorkerGone(0.3, 0, None, "died"), StartWorker(1))
    assert history.plan.suspects == [0]


def test_three_futile_starts_end_the_call():
    (
        History(workers=1)
        .first(Read(1))
        .then(InputRead(0.0, 1, ended=True), StartWorker(0))
        .then(WorkerGone(0.0, 0, None, "no start"), StartWorker(1))
        .then(WorkerGone(0.0, 1, None, "no start", orderly=True), StartWorker(2))
        .then(WorkerGone(0.0, 2, None, "no start"), Finish(None, "no start"))
    )


def test_a_call_goes_on_with_the_workers_it_has_and_tries_again_later():
    history = History(workers=2).begin(1, ended=False)
    history.lack(ended=False)
    assert history.plan.deadline == 0.3 + RETRY
    history.then(Tick(0.3 + RETRY), StartWorker(4))
    history.then(WorkerGone(1.4, 4, None, "no room"))  # it has been said
    assert history.plan.deadline == 1.4 + RETRY
    history.then(ItemsDone(1.5, 0, 0, 1, 1.5), Send(0, 1, 2))


def test_who_is_there_is_not_let_go_while_no_other_can_be_started():
    history = History(workers=2, keep_idle=False).begin(1, ended=False)
    history.lack(ended=False)
    history.then(ItemsDone(0.4, 0, 0, 1, 0.4), Send(0, 1, 2))
    history.then(ItemsDone(0.5, 0, 1, 2, 0.1), Read(1))
    history.then(InputRead(0.6, 1, ended=False), Send(0, 2, 3))
    history.then(ItemsDone(1.4, 0, 2, 3, 0.1), ReleaseWorker(0), Read(1))


def test_a_worker_that_is_through_makes_room_for_another():
    history = History(workers=2, tasks_per_worker=1).begin(1, ended=False)
    history.lack(ended=True)
    history.then(ItemsDone(0.4, 0, 0, 1, 0.4), ReleaseWorker(0), StartWorker(4))


def test_a_worker_that_is_still_coming_is_waited_for_where_no_other_can_be_started():
    history = History(workers=2, chunksize=1, known=(1.0, 1)).first(Read(1))
    history.then(InputRead(0.0, 1, ended=False), StartWorker(0), Read(1))
    history.then(InputRead(0.0, 1, ended=True), StartWorker(1))
    history.then(WorkerGone(0.0, 1, None, "no room"), StartWorker(2))
    history.then(WorkerGone(0.0, 2, None, "no room"), StartWorker(3))
    history.then(WorkerGone(0.0, 3, None, "no room"))
    history.then(WorkerReady(0.1, 0), Send(0, 0, 1))
    history.then(ItemsDone(0.9, 0, 0, 1, 0.8), Send(0, 1, 2))
    history.then(ItemsDone(1.7, 0, 1, 2, 0.8), Finish())


def test_a_call_whose_last_worker_dies_tries_once_more_to_start_one():
    history = History(workers=2).begin(1, ended=False)
    history.lack(ended=True)
    history.then(WorkerGone(0.4, 0, None, "died"))
    history.then(Tick(0.3 + RETRY), StartWorker(4), StartWorker(5))
    history.then(WorkerGone(1.4, 4, None, "no room"))
    history.then(WorkerGone(1.4, 5, None, "no room"), Finish(None, "no room"))


def test_failures_among_what_is_done():
    history = History(workers=1, retries=1, stop_at_failure=False, chunksize=5).begin(5)
    failures = [(1, "once", True), (3, "for good", False)]
    history.then(ItemsDone(0.1, 0, 0, 5, 0.1, failures), Keep(3, "for good"), Send(0, 1, 2))
    assert history.plan.pace.learned == (0.02, 5)  # what failed has taken its time, too
    history.then(ItemsDone(0.2, 0, 1, 2, 0.1, [(1, "twice", True)]), Keep(1, "twice"), Finish())


def test_the_lowest_failure_among_what_is_done_is_that_of_the_call():
    history = History(workers=1, chunksize=5).begin(5)
    failures = [(2, "low", False), (3, "high", False)]
    history.then(ItemsDone(0.1, 0, 1, 5, 0.1, failures))
    history.then(ItemsDone(0.1, 0, 0, 1, 0.1), Finish(2, "low"))


def test_the_next_dear_item_of_a_list_is_read_while_all_are_at_work():
    """To pickle it may take milliseconds; but an input of unknown length may not come at once."""
    history = History(workers=1, expected=3).first(Read(1))
    history.then(InputRead(0.0, 1, ended=False), StartWorker(0))
    history.then(WorkerReady(0.1, 0), Send(0, 0, 1), Read(1))
    history.then(InputRead(0.1, 1, ended=False))
    history.then(ItemsDone(0.2, 0, 0, 1, 0.1), Send(0, 1, 2), Read(1))
    history.then(InputRead(0.2, 1, ended=True))
    history.then(ItemsDone(0.3, 0, 1, 2, 0.1), Send(0, 2, 3))
    history = History(workers=1).first(Read(1))
    history.then(InputRead(0.0, 1, ended=False), StartWorker(0))
    history.then(WorkerReady(0.1, 0), Send(0, 0, 1))


def test_who_is_there_is_not_let_go_while_another_is_still_coming():
    history = History(workers=2, keep_idle=False).first(Read(1))
    history.then(InputRead(0.0, 1, ended=False), StartWorker(0), Read(1))
    history.then(InputRead(0.0, 1, ended=False), StartWorker(1))
    history.then(WorkerReady(0.1, 0), Send(0, 0, 1))
    history.then(ItemsDone(0.2, 0, 0, 1, 0.1), Send(0, 1, 2))
    history.then(ItemsDone(0.3, 0, 1, 2, 0.1), Read(1))
    history.then(InputRead(0.4, 1, ended=False), Send(0, 2, 3))
    history.then(WorkerReady(0.5, 1), ReleaseWorker(1), Read(1))
    history.then(ItemsDone(0.6, 0, 2, 3, 0.1), ReleaseWorker(0))


def test_workers_that_may_wait_for_each_other_are_not_done_without():
    history = History(workers=2, together=True).begin(1, ended=False)
    history.then(InputRead(0.1, 1, ended=True), StartWorker(1))
    history.then(WorkerGone(0.1, 1, None, "no room"), StartWorker(2))
    history.then(WorkerGone(0.2, 2, None, "no room"), StartWorker(3))
    history.then(WorkerGone(0.3, 3, None, "no room"), Finish(None, "no room"))


def test_three_futile_deaths_are_charged_to_the_lowest_item():
    (
        History(workers=1)
        .begin(1)
        .then(WorkerGone(0.0, 0, None, "died"), StartWorker(1))
        .then(WorkerReady(0.0, 1), Send(1, 0, 1))
        .then(WorkerGone(0.0, 1, None, "died"), StartWorker(2))
        .then(WorkerReady(0.0, 2), Send(2, 0, 1))
        .then(WorkerGone(0.0, 2, None, "died"), Finish(0, "died"))
    )


def test_late_events_of_a_worker_that_is_gone_are_nothing():
    (
        History(workers=1, chunksize=2)
        .begin(2)
        .then(WorkerGone(1.0, 0, None, "died"), StartWorker(1))
        .then(ItemsDone(1.0, 0, 0, 2, 1.0))
        .then(ItemFailed(1.0, 0, 0, "late"))
        .then(GaveBack(1.0, 0, [(0, 2)]))
        .then(WorkerReady(1.0, 0))
        .then(WorkerGone(1.0, 0, 0, "twice"))
        .then(WorkerReady(1.0, 1), Send(1, 0, 2))
    )


# --- sharing out ----------------------------------------------------------------------------------


def test_the_idle_are_given_what_the_fullest_has_not_begun():
    (
        History(workers=2, chunksize=4)
        .begin(1, 4)
        .then(ItemsDone(0.1, 0, 0, 1, 0.1), AskBack(1))
        .then(GaveBack(0.1, 1, [(2, 5)]), Send(0, 2, 3))  # not all that is left: 1 is at work, too
        .then(ItemsDone(0.2, 1, 1, 2, 0.1), Send(1, 3, 4))
        .then(ItemsDone(0.3, 0, 2, 3, 0.1), Send(0, 4, 5))
        .then(ItemsDone(0.3, 1, 3, 4, 0.1))
        .then(ItemsDone(0.4, 0, 4, 5, 0.1), Finish())
    )


def test_what_was_given_back_is_shared_out_though_it_is_less_than_a_chunk():
    (
        History(workers=2, chunksize=40)
        .begin(1, 40)
        .then(ItemsDone(0.1, 0, 0, 1, 0.001), AskBack(1))
        .then(GaveBack(0.1, 1, [(2, 41)]), Send(0, 2, 10), Send(1, 10, 18), Send(0, 18, 24))
    )


def test_who_had_nothing_to_give_back_is_not_asked_again():
    history = History(workers=2, chunksize=4).begin(1, 4)
    history.then(ItemsDone(0.1, 0, 0, 1, 0.1), AskBack(1))
    history.then(GaveBack(0.1, 1, []))
    assert history.plan.deadline == INFINITY
    history.then(Tick(1.0))


@pytest.mark.parametrize(
    ("window", "cost", "most"),
    [(4, 1e-3, 1), (4, 1e-4, 2), (10, 1e-4, 4), (100, 1e-4, 25), (1_000, 1e-4, 200), (10, 1e-6, 5)],
)
def test_a_window_is_shared_out(window, cost, most):
    """All of it would go to one worker, since items are cheap and nobody knows how many there are."""
    history = History(workers=2, window=window, delivery="ordered", known=(cost, 100))
    history.plan.begin()
    history.plan.handle(InputRead(0.0, window, ended=False))
    (first, *_) = history.plan.handle(WorkerReady(0.0, 0))
    assert first == Send(0, 0, most)


def test_what_is_read_after_something_was_given_back_goes_in_whole_chunks():
    (
        History(workers=2, chunksize=4, window=8, delivery="ordered")
        .begin(4, 4, ended=False)
        .then(ItemsDone(0.1, 1, 4, 8, 0.1), AskBack(0))
        .then(GaveBack(0.1, 0, [(1, 4)]), Send(1, 1, 2))
        .then(ItemsDone(0.2, 1, 1, 2, 0.1), Send(1, 2, 3))
        .then(ItemsDone(0.3, 0, 0, 1, 0.1), Deliver(0, 2), Send(0, 3, 4))
        .then(Taken(0.3, 2))
        .then(ItemsDone(0.4, 1, 2, 3, 0.1), Deliver(2, 3), Read(2))
        .then(ItemsDone(0.4, 0, 3, 4, 0.1), Deliver(3, 8))
        .then(Taken(0.5, 6))
        .then(InputRead(0.5, 2, ended=False), Send(1, 8, 10), Read(4))
        .then(InputRead(0.5, 4, ended=False), Send(0, 10, 14))
    )


def test_a_silent_worker_is_asked_though_its_items_seem_cheap():
    history = History(workers=2, chunksize=2).begin(1, 2)
    history.then(ItemsDone(0.001, 0, 0, 1, 0.0))
    assert 0.002 < history.plan.deadline < 0.003
    history.then(Tick(0.003), AskBack(1))
    assert history.plan.deadline == INFINITY


def test_two_items_known_to_be_cheap_go_to_one_worker_in_one_message():
    (
        History(workers=2, known=(1e-6, 100))
        .first(Read(800))
        .then(InputRead(0.0, 2, ended=True), StartWorker(0))
        .then(WorkerReady(0.0, 0), Send(0, 0, 2))
        .then(ItemsDone(0.001, 0, 0, 2, 2e-6), Finish())
    )


def test_what_was_cheap_in_a_former_call_and_is_dear_now_is_soon_shared_out():
    """Three items of a microsecond should not take milliseconds: nobody waits for a slice."""
    history = History(workers=2, known=(1e-6, 100))
    history.first(Read(800))
    history.then(InputRead(0.0, 3, ended=True), StartWorker(0))
    history.then(WorkerReady(1.0, 0), Send(0, 0, 3))
    assert 1.002 < history.plan.deadline < 1.003
    history.then(Tick(1.003), StartWorker(1))
    assert history.plan.deadline == INFINITY
    history.then(WorkerReady(1.1, 1), AskBack(0))
    history.then(GaveBack(1.1, 0, [(1, 3)]), Send(1, 1, 3))


def test_a_worker_that_says_something_now_and_then_gets_no_second_one_early():
    history = History(workers=2, known=(1e-6, 100))
    history.first(Read(800))
    history.then(InputRead(0.0, 3, ended=True), StartWorker(0))
    history.then(WorkerReady(0.0, 0), Send(0, 0, 3))
    history.then(ItemsDone(0.002, 0, 0, 1, 1e-6))
    assert 0.004 < history.plan.deadline < 0.005
    history.then(Tick(0.005), StartWorker(1))


def test_one_of_many_workers_is_silent_only_when_all_others_can_have_been_heard():
    few, many = (Pace(None, (1e-6, 100)).patience(1, workers) for workers in (2, 100))
    assert few < 0.003
    assert many > 0.01
    assert Pace(None, (1e-6, 100)).patience(1, 1_000) == SLICE


def test_who_has_dear_items_is_waited_for_as_long_as_they_may_take():
    assert Pace(None, (0.001, 100)).patience(5, 2) > 0.01
    assert Pace(None, (0.001, 100)).patience(50, 2) == SLICE
    assert Pace(None).patience(1, 2) == SLICE


def test_a_worker_is_started_at_once_if_another_is_known_to_have_enough_for_two():
    history = History(workers=2, chunksize=1_000, known=(1e-5, 1_000))
    history.first(Read(1_000))
    history.then(InputRead(0.0, 1_000, ended=True), StartWorker(0))
    history.then(WorkerReady(0.0, 0), Send(0, 0, 1_000), StartWorker(1))
    history.then(WorkerReady(0.0, 1), AskBack(0))


def test_where_none_can_be_started_it_is_not_tried_again_at_once():
    """Three in a row, and the call would fail, though somebody is at work."""
    history = History(workers=2, chunksize=1_000, known=(1e-5, 1_000))
    history.first(Read(1_000))
    history.then(InputRead(0.0, 1_000, ended=True), StartWorker(0))
    history.then(WorkerReady(0.0, 0), Send(0, 0, 1_000), StartWorker(1))
    history.then(WorkerGone(0.0, 1, None, "no room"))
    history.then(Tick(SLICE), StartWorker(2))


def test_what_waits_is_left_to_a_worker_that_is_coming_but_not_for_long():
    history = History(workers=2, known=(2e-3, 10))
    history.first(Read(10))
    history.then(InputRead(0.0, 3, ended=True), StartWorker(0), StartWorker(1))
    history.then(WorkerReady(0.0, 0), Send(0, 0, 1), Send(0, 1, 2))
    history.then(ItemsDone(0.002, 0, 0, 1, 0.002))
    history.then(ItemsDone(0.006, 0, 1, 2, 0.002), Send(0, 2, 3))


def test_what_waits_is_not_left_to_a_worker_where_the_consumer_may_stay_away():
    history = History(workers=2, delivery="ordered").first(Read(1))
    history.then(InputRead(0.0, 1, ended=False), StartWorker(0), Read(1))
    history.then(WorkerReady(0.0, 0), Send(0, 0, 1))
    history.then(InputRead(0.0, 2, ended=True), StartWorker(1))
    history.then(ItemsDone(0.0, 0, 0, 1, 1e-6), Deliver(0, 1), Send(0, 1, 3))


def test_nobody_is_started_to_help_with_a_last_item():
    history = History(workers=2, known=(1e-6, 100))
    history.first(Read(800))
    history.then(InputRead(0.0, 1, ended=True), StartWorker(0))
    history.then(WorkerReady(0.0, 0), Send(0, 0, 1))
    assert history.plan.deadline == INFINITY


def test_what_costs_nothing_to_read_is_read_while_all_are_at_work():
    (
        History(workers=1, known=(1e-6, 1), free=10)
        .first(Read(10))
        .then(InputRead(0.0, 10, ended=False), StartWorker(0))
        .then(WorkerReady(0.0, 0), Send(0, 0, 8), Send(0, 8, 10), Read(10))
        .then(InputRead(0.0, 10, ended=False))
        .then(ItemsDone(0.001, 0, 0, 8, 8e-6), Send(0, 10, 20), Read(64))
    )


def test_what_turns_out_to_weigh_something_is_not_read_ahead():
    (
        History(workers=1, known=(1e-6, 1), free=10)
        .first(Read(10))
        .then(InputRead(0.0, 10, ended=False, nbytes=20 * HEAVY), StartWorker(0))
        .then(WorkerReady(0.0, 0), Send(0, 0, 1), Send(0, 1, 2))
        .then(ItemsDone(0.001, 0, 0, 1, 1e-6), Send(0, 2, 3))
    )


def test_what_costs_something_to_read_is_read_when_somebody_waits_for_it():
    (
        History(workers=1, known=(1e-6, 1))
        .first(Read(8))
        .then(InputRead(0.0, 8, ended=False), StartWorker(0))
        .then(WorkerReady(0.0, 0), Send(0, 0, 8), Read(8))
        .then(InputRead(0.0, 8, ended=False), Send(0, 8, 16))
    )


def test_chunks_go_by_what_is_left_though_not_all_of_it_has_been_read():
    """And the length that the input tells may be wrong."""
    for expected, size in ((1_000, 250), (None, 800), (0, 200)):
        history = History(workers=2, known=(1e-5, 100), expected=expected).first(Read(800))
        history.plan.handle(InputRead(0.0, 800, ended=False))
        assert history.plan.handle(WorkerReady(0.0, 0))[0] == Send(0, 0, size)


def test_a_long_call_does_not_end_in_many_small_messages():
    pace = Pace(None, known=(1e-6, 1_000))
    assert pace.size(600, 2) == 150
    assert pace.size(600, 2, 4_800) == 300
    assert pace.size(4_000, 2, 4_800) == 1_000
    assert pace.size(600, 2, 10**6) == 500  # half a millisecond of work is enough
    assert Pace(None, known=(0.1, 1_000)).size(600, 2, 4_800) == 1


def test_when_news_can_be_expected():
    history = History(workers=2, known=(0.001, 1), expected=16)
    plan = history.plan
    assert plan.until_news == 0
    history.first(Read(8))
    history.then(InputRead(0.0, 16, ended=True), StartWorker(0), StartWorker(1))
    history.then(WorkerReady(0.0, 0), Send(0, 0, 4), Send(0, 4, 7))
    assert plan.until_news == pytest.approx(0.007)
    history.then(WorkerReady(0.0, 1), Send(1, 7, 10), Send(1, 10, 12))
    assert plan.until_news == pytest.approx(0.006)
    plan.rules.chunksize = 2
    assert plan.until_news == pytest.approx(0.002)


def test_items_known_to_be_dear_go_one_by_one():
    (
        History(workers=2, known=(1.0, 100))
        .first(Read(1))
        .then(InputRead(0.0, 1, ended=False), StartWorker(0), Read(1))
        .then(InputRead(0.0, 1, ended=True), StartWorker(1))
    )


def test_a_call_tells_what_it_has_learned():
    assert Plan(Rules(workers=1)).pace.learned is None
    assert Plan(Rules(workers=1, known=(0.5, 3))).pace.learned == (0.5, 3)
    history = History(workers=1, chunksize=2).begin(2)
    history.then(ItemsDone(1.0, 0, 0, 2, 1.0), Finish())
    assert history.plan.pace.learned == (0.5, 2)


def test_an_explicit_chunksize_holds_from_the_first_message_on():
    (
        History(workers=2, chunksize=3)
        .first(Read(3))
        .then(InputRead(0.0, 3, ended=False), StartWorker(0), Read(3))
        .then(InputRead(0.0, 3, ended=False), StartWorker(1))
        .then(WorkerReady(0.0, 0), Send(0, 0, 3))
        .then(WorkerReady(0.0, 1), Send(1, 3, 6))
    )


def test_cheap_chunks_of_an_explicit_size_are_sent_by_the_dozen():
    (
        History(workers=1, chunksize=3)
        .first(Read(3))
        .then(InputRead(0.0, 1000, ended=True), StartWorker(0))
        .then(WorkerReady(0.0, 0), Send(0, 0, 3))
        .then(ItemsDone(0.1, 0, 0, 3, 3e-6), Send(0, 3, 27), Send(0, 27, 51))
        .then(ItemsDone(0.2, 0, 3, 27, 24e-6), Send(0, 51, 243))
        .then(ItemsDone(0.3, 0, 27, 51, 2.4))
        .then(ItemsDone(0.4, 0, 51, 243, 19.2), Send(0, 243, 246))
    )


def test_what_one_chunk_holds_starts_one_worker():
    (
        History(workers=4, chunksize=10)
        .first(Read(10))
        .then(InputRead(0.0, 7, ended=True), StartWorker(0))
        .then(WorkerReady(0.0, 0), Send(0, 0, 7))
    )


def test_workers_that_may_not_run_a_whole_chunk_are_started_all_at_once():
    (
        History(workers=3, chunksize=5, tasks_per_worker=1)
        .first(Read(5))
        .then(InputRead(0.0, 2, ended=True), StartWorker(0), StartWorker(1))
    )


def test_nobody_is_killed_for_a_suspect_while_a_worker_can_be_started():
    """Though another could be sent more ahead, if there were more."""
    (
        History(workers=2, chunksize=1, retries=1, known=(0.019, 1))
        .first(Read(1))
        .then(InputRead(0.0, 3, ended=True), StartWorker(0), StartWorker(1))
        .then(WorkerReady(0.0, 0), Send(0, 0, 1), Send(0, 1, 2))
        .then(WorkerReady(0.0, 1), Send(1, 2, 3))
        .then(ItemFailed(0.1, 0, 0, "x", again=True))
        .then(WorkerGone(0.2, 0, 1, "died", again=False), StartWorker(2))
        .then(WorkerReady(0.3, 2), Send(2, 0, 1))
        .then(ItemsDone(0.4, 2, 0, 1, 0.1), Finish(1, "died"))
    )


def test_a_worker_has_run_all_it_may():
    (
        History(workers=1, tasks_per_worker=1)
        .first(Read(1))
        .then(InputRead(0.0, 2, ended=True), StartWorker(0))
        .then(WorkerReady(0.0, 0), Send(0, 0, 1))
        .then(ItemsDone(1.0, 0, 0, 1, 1.0), ReleaseWorker(0), StartWorker(1))
        .then(WorkerReady(1.0, 1), Send(1, 1, 2))
        .then(ItemsDone(2.0, 1, 1, 2, 1.0), Finish())
    )


def test_what_was_given_back_does_not_count_as_run():
    (
        History(workers=1, tasks_per_worker=2, chunksize=2)
        .begin(2)
        .then(GaveBack(0.1, 0, [(1, 2)]))
        .then(ItemsDone(0.2, 0, 0, 1, 0.1), Send(0, 1, 2))
    )


def test_recall_lets_a_worker_go_when_it_has_nothing():
    (
        History(workers=2)
        .begin(1, 1)
        .then(Recall(0.1))
        .then(Recall(0.1))  # one at a time
        .then(ItemsDone(0.2, 0, 0, 1, 0.1), ReleaseWorker(0))
        .then(ItemsDone(0.2, 1, 1, 2, 0.1), Finish())
    )


def test_the_idle_are_let_go_at_once_where_that_is_asked_for():
    (
        History(workers=1, keep_idle=False)
        .begin(1, ended=False)
        .then(ItemsDone(1.0, 0, 0, 1, 1.0), ReleaseWorker(0), Read(1))
        .then(InputRead(5.0, 1, ended=True), StartWorker(1))
    )


def test_the_idle_are_not_let_go_while_they_can_help():
    (
        History(workers=2, chunksize=4, keep_idle=False)
        .begin(1, 4)
        .then(ItemsDone(0.1, 0, 0, 1, 0.1), AskBack(1))
        .then(GaveBack(0.1, 1, [(2, 5)]), Send(0, 2, 3))
    )


# --- time -----------------------------------------------------------------------------------------


def test_an_item_that_runs_too_long():
    history = History(workers=1, item_timeout=1.0, retries=1).begin(1)
    assert history.plan.deadline == 1.0
    history.then(Tick(1.0), Look(0))
    history.then(Running(1.0, 0, 0, 0.5))
    assert history.plan.deadline == 1.5
    history.then(Tick(1.5), Look(0))
    history.then(Running(1.5, 0, 0, 0.5), KillWorker(0, 0))
    assert history.plan.deadline == INFINITY
    history.then(WorkerGone(1.6, 0, 0, "timeout", again=False), Finish(0, "timeout"))


def test_a_worker_that_holds_nothing_is_not_looked_at():
    history = History(workers=2, item_timeout=1.0).begin(1, 1)
    history.then(Tick(1.0), Look(0), Look(1))
    history.then(ItemsDone(1.0, 0, 0, 1, 1.0))
    history.then(Running(1.0, 0, None, 0.0))
    assert history.plan.deadline == INFINITY
    history.then(Running(1.0, 1, 1, 0.9))
    assert history.plan.deadline == 1.9


def test_what_a_killed_worker_still_says_counts():
    (
        History(workers=1, item_timeout=1.0, chunksize=2)
        .begin(2)
        .then(Tick(1.0), Look(0))
        .then(Running(1.0, 0, 0, 0.0), KillWorker(0, 0))
        .then(ItemsDone(1.0, 0, 0, 1, 1.0))
        .then(WorkerGone(1.1, 0, None, "killed"), StartWorker(1))
        .then(WorkerReady(1.1, 1), Send(1, 1, 2))
    )


def test_the_whole_call_is_late():
    history = History(workers=1, stop_at_time=1.0).begin(1)
    assert history.plan.deadline == 1.0
    history.then(Tick(1.0), Finish(late=True))
    History(workers=1, stop_at_time=0.0).then(Tick(0.0), Finish(late=True))


# --- delivery -------------------------------------------------------------------------------------


def lazy(delivery):
    return History(workers=2, window=2, delivery=delivery).begin(1, 1, ended=False)


def test_ordered_results_wait_for_the_lowest_and_the_window_for_the_consumer():
    (
        lazy("ordered")
        .then(ItemsDone(0.1, 1, 1, 2, 0.1))
        .then(ItemsDone(0.1, 0, 0, 1, 0.1), Deliver(0, 2))
        .then(Taken(0.2, 1), Read(1))
        .then(InputRead(0.2, 1, ended=True), Send(1, 2, 3))
        .then(ItemsDone(0.3, 1, 2, 3, 0.1), Deliver(2, 3), Finish())
    )


def test_unordered_results_are_delivered_as_they_come():
    (
        lazy("unordered")
        .then(ItemsDone(0.1, 1, 1, 2, 0.1), Deliver(1, 2))
        .then(ItemsDone(0.1, 0, 0, 1, 0.1), Deliver(0, 1))
        .then(Taken(0.2, 2), Read(1))
        .then(InputRead(0.2, 0, ended=True), Finish())
    )


def test_ordered_results_stop_at_a_failure():
    (
        History(workers=3, delivery="ordered")
        .begin(1, 1, 1)
        .then(ItemsDone(0.1, 2, 2, 3, 0.1))
        .then(ItemFailed(0.1, 1, 1, "one"))
        .then(ItemsDone(0.2, 0, 0, 1, 0.1), Deliver(0, 1), Finish(1, "one"))
    )


# --- what must not pile up ------------------------------------------------------------------------


def test_an_endless_call_does_not_pile_up():
    plan = Plan(Rules(workers=2, chunksize=5))
    plan.begin()
    ready, read = set(), 0
    pending = [StartWorker(0)]
    commands = plan.handle(InputRead(0.0, 5, ended=False))
    read = 5
    pending = list(commands)
    for _ in range(5_000):
        command = pending.pop(0)
        if type(command) is StartWorker:
            ready.add(command.worker)
            pending += plan.handle(WorkerReady(0.0, command.worker))
        elif type(command) is Read:
            read += command.count
            pending += plan.handle(InputRead(0.0, command.count, ended=False))
        elif type(command) is Send:
            done = ItemsDone(0.0, command.worker, command.first, command.stop, 0.001)
            pending += plan.handle(done)
    assert read > 5_000
    assert len(plan.crew._givers) < 100
    assert len(list(plan.settled)) < 10


def test_heavy_items_travel_in_small_company():
    """Chunks of cheap items hold no more bytes than a message should."""
    pace = Pace(None, known=(1e-6, 1000))
    assert pace.size(None, 2) == 8000
    pace.weigh(10, 10 * (HEAVY // 4))
    assert pace.size(None, 2) == 4
    pace.weigh(1, 100 * HEAVY)
    assert pace.size(None, 2) == 1
    assert Pace(7).size(None, 2) == 7
