"""What is taken back from a worker stays so, whatever is taken back or kept later."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from parmap import _cell, _memory


def skips(words, at):
    """What a worker does with an ordinal that it has not begun: the rule of `_worker._items`."""
    return words[_cell.LIMIT] > at and not (words[_cell.KEPT_LOW] <= at < words[_cell.KEPT_HIGH])


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=12))
def test_the_dead_stay_dead(steps):
    fd = _memory.anonymous_file(_cell.SIZE)
    cell = _cell.Cell(fd)
    os.close(fd)
    sent, owed, dead = 0, [], set()
    for count, leave_one in steps:
        owed += range(sent, sent + count)
        sent += count
        begun = cell.take_back((owed[0], owed[0] + leave_one), sent)
        dead |= {ordinal for ordinal in owed if ordinal >= begun}
        owed = [ordinal for ordinal in owed if ordinal < begun]
        assert len(owed) == leave_one
        assert {ordinal for ordinal in range(sent) if skips(cell.words, ordinal)} >= dead
        assert not any(skips(cell.words, ordinal) for ordinal in owed)
    cell.close()
