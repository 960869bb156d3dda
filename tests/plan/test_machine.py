"""Hypothesis chooses what happens next, and makes a small story of what it finds.

The world is that of `world`; here its turns are the rules of a state machine.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from parmap._plan._call import Rules
from parmap._plan._crew import INFINITY
from parmap._plan._vocabulary import Tick
from tests.plan.world import KNOWN, Item, World, need

rules_of_calls = st.fixed_dictionaries(
    {
        "workers": st.integers(1, 4),
        "chunksize": st.sampled_from([None, 1, 2, 1000]),
        "retries": st.integers(0, 2),
        "stop_at_failure": st.booleans(),
        "first_in_time": st.booleans(),
        "stop_at_time": st.sampled_from([INFINITY, INFINITY, 0.0, 0.5]),
        "item_timeout": st.sampled_from([None, None, 0.05, 2.0]),
        "tasks_per_worker": st.sampled_from([None, None, 1, 3]),
        "keep_idle": st.booleans(),
        "known": st.sampled_from([None, None, *KNOWN]),
        "expected": st.sampled_from([None, None, 0, 3, 10, 1_000]),
        "free": st.sampled_from([0, 0, 1, 5]),
        "together": st.sampled_from([False, False, True]),
    }
)
deliveries = st.sampled_from([("whole", None), ("ordered", 1), ("ordered", 4), ("unordered", 2)])
kinds = st.sampled_from(["fine", "fine", "fails", "kills", "unsendable", "fatal"])
costs = st.sampled_from([0.0, 0.001, 0.1])
items_of_calls = st.lists(
    st.builds(Item, costs, kinds, st.sampled_from([1, 99]), again=st.booleans()), max_size=10
)
anyone = st.integers(0, 1_000)


class Calls(RuleBasedStateMachine):
    """One call; each rule is something that happens to it."""

    world = None

    @initialize(
        rules=rules_of_calls,
        delivery=deliveries,
        items=items_of_calls,
        raises=st.booleans(),
        mood=st.sampled_from(["prompt", "short"]),
        random=st.randoms(use_true_random=False),
    )
    def begin(self, rules, delivery, items, raises, mood, random):
        rules = Rules(**rules, delivery=delivery[0], window=delivery[1])
        items = [Item(item.cost, item.kind, item.times, again=item.again) for item in items]
        self.world = World(rules, items, random, input_raises=raises, input_mood=mood)
        self.world.perform("the beginning", self.world.plan.begin())
        self.faults = 8

    @property
    def going(self):
        return self.world is not None and self.world.finished is None

    @precondition(lambda self: self.going and self.world.open_actions())
    @rule(which=anyone)
    def something_expected(self, which):
        actions = self.world.open_actions()
        do, *arguments = actions[which % len(actions)]
        do(*arguments)

    @precondition(lambda self: self.going and self.world.plan.deadline < INFINITY)
    @rule()
    def time_up_to_the_deadline(self):
        self.world.lapse(self.world.plan.deadline)
        if self.world.now >= self.world.plan.deadline:
            self.world.tick()

    @precondition(lambda self: self.going and self.world.next_end() < INFINITY)
    @rule()
    def time_until_an_item_ends(self):
        self.world.lapse(self.world.plan.deadline)

    @precondition(lambda self: self.going and self.faults and self.world.crew)
    @rule(which=anyone, blame=st.booleans(), leaves=st.booleans())
    def death(self, which, blame, leaves):
        self.faults -= 1
        worker = self.world.crew[which % len(self.world.crew)]
        orderly = leaves and worker.up and worker.current is None
        self.world.die(worker, "death", blame=blame, orderly=orderly)

    @precondition(lambda self: self.going and self.faults)
    @rule()
    def recall(self):
        self.faults -= 1
        self.world.recall()

    @precondition(lambda self: self.world is not None and not self.going)
    @rule()
    def after_the_end(self):
        self.world.feed(Tick(self.world.now))

    def teardown(self):
        """Whatever has happened: left to itself, the call ends."""
        for _ in range(2_000):
            if not self.going:
                return
            world = self.world
            if world.now >= world.plan.deadline:
                world.tick()
                continue
            actions = world.open_actions()
            if actions:
                do, *arguments = actions[0]
                do(*arguments)
            else:
                until = min(world.plan.deadline, world.next_end())
                need(until < INFINITY, "nobody can answer any more")
                world.lapse(until)
        need(not self.going, "no end in sight")


TestCalls = Calls.TestCase
TestCalls.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,  # chance is for the worlds; here each run is the same
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
