"""`Spans` does what a plain set of whole numbers does."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from parmap._plan._spans import Spans

runs = st.tuples(st.integers(0, 60), st.integers(0, 15)).map(lambda run: (run[0], sum(run)))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), runs),
        st.tuples(st.just("remove"), runs),
        st.tuples(st.just("take"), st.integers(1, 20)),
    ),
    max_size=40,
)


def members(spans):
    return {index for first, stop in spans for index in range(first, stop)}


def same(spans, plain):
    assert members(spans) == plain
    assert spans.count == len(plain)
    assert [index in spans for index in range(-1, 80)] == [i in plain for i in range(-1, 80)]
    assert spans.head == next(i for i in range(100) if i not in plain)
    if plain:
        assert (spans.lowest, spans.highest) == (min(plain), max(plain))


@given(steps)
def test_spans_are_a_set(history):
    spans, plain = Spans(), set()
    for what, argument in history:
        if what == "add":
            new = set(range(*argument))
            if new & plain:
                continue
            spans.add(*argument)
            plain |= new
        elif what == "remove":
            removed = spans.remove(*argument)
            assert members(removed) == plain & set(range(*argument))
            assert removed == sorted(removed)
            assert all(first < stop for first, stop in removed)
            plain -= set(range(*argument))
        elif plain:
            first, stop = spans.take(argument)
            assert first == min(plain)
            assert first < stop <= first + argument
            assert set(range(first, stop)) <= plain
            assert stop == first + argument or stop not in plain
            plain -= set(range(first, stop))
        same(spans, plain)


@given(steps)
def test_runs_are_disjoint_sorted_and_as_long_as_can_be(history):
    spans = Spans()
    for what, argument in history:
        if what == "add":
            for first, stop in spans.remove(*argument):
                assert first < stop
            spans.add(*argument)
        elif what == "remove":
            spans.remove(*argument)
        elif spans.count:
            spans.take(argument)
        runs = list(spans)
        assert all(first < stop for first, stop in runs)
        assert all(below[1] < above[0] for below, above in pairwise(runs))


def test_it_may_be_changed_while_it_is_walked():
    spans = Spans()
    spans.add(0, 3)
    spans.add(5, 7)
    for first, stop in spans:
        spans.remove(first, stop)
    assert (list(spans), spans.count, repr(spans)) == ([], 0, "{}")


def test_it_shows_itself_inclusively():
    spans = Spans()
    spans.add(5, 7)
    spans.add(0, 1)
    assert repr(spans) == "{0-0, 5-6}"
