"""Thousands of seeded worlds, each of which must end, and end right: see `world`.

`PARMAP_WORLDS=100000` lets more of them live, `--world 81652` that one only.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from parmap._plan._vocabulary import Finish
from tests.plan.world import Seeded, WorldError, describe, live

WORLDS = int(os.environ.get("PARMAP_WORLDS", "3000"))
PARTS = 10  # so that one failing world does not hide the others


@pytest.mark.timeout(10 + WORLDS // 50)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_world_ends_right(part, request):
    only = request.config.getoption("--world", None)
    if only is not None:
        if part:
            pytest.skip("one world only")
        print(describe(live(only), newest=1_000_000))
        return
    for seed in range(part, WORLDS, PARTS):
        live(seed)


@pytest.mark.parametrize("seed", [3856, 8017])
def test_worlds_that_have_failed(seed):
    """A lower item was sent behind one that never ends."""
    live(seed)


def test_a_world_is_the_same_every_time():
    for seed in range(0, 300, 7):
        assert describe(live(seed), newest=10_000) == describe(live(seed), newest=10_000)


def test_worlds_differ_in_how_they_end():
    """The worlds are no good if most of them end the same way, or end before anything happens."""
    ends = Counter()
    turns = Counter()
    for seed in range(500):
        world = live(seed)
        _, error, late = world.finished
        kind = "late" if late else "well" if error is None else str(error).split()[0]
        ends[kind] += 1
        for event, commands in world.log:
            turns[type(event).__name__] += 1
            turns.update(type(command).__name__ for command in commands)
    assert ends.keys() >= {"well", "late", "fails", "fatal", "unsendable", "killed", "input"}
    assert max(ends.values()) < 350, ends
    assert turns[Finish.__name__] == 500
    assert min(turns.values()) >= 5, turns


def test_a_failing_world_tells_its_seed_and_its_story(monkeypatch):
    def give_up(self):
        raise WorldError("something is wrong")

    monkeypatch.setattr(Seeded, "check_outcome", give_up)
    with pytest.raises(
        AssertionError, match=r"world 7: something is wrong\nrules: chunksize="
    ) as e:
        live(7)
    assert "Finish(" in str(e.value)
