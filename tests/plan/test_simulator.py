"""How well the plan deals work out, in virtual time: exact figures, on any machine."""

from __future__ import annotations

import os

import pytest

from parmap._plan._chunks import SLICE
from tests.plan.simulator import in_order, simulate, workloads

WORKLOADS = workloads()


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("name", WORKLOADS)
def test_no_more_than_five_per_cent_is_lost(name, workers, tells):
    """Whether the input tells its length, as a list does, or not."""
    costs = WORKLOADS[name]
    result = simulate(costs, workers, expected=len(costs) if tells else None)
    best = max(sum(costs) / workers, in_order(costs, workers))
    assert result.makespan <= 1.05 * best


@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.parametrize(
    "name",
    ["uniform 1 ms", "heavy-tailed, in random order", "cheap, then dear", "one giant first"],
)
def test_no_more_than_five_per_cent_over_the_ideal(name, workers):
    costs = WORKLOADS[name]
    assert simulate(costs, workers).ratio <= 1.05
    assert simulate(costs, workers, expected=len(costs)).ratio <= 1.05


@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.parametrize("name", WORKLOADS)
def test_workers_that_are_let_go_when_idle_lose_little(name, workers):
    costs = WORKLOADS[name]
    best = max(sum(costs) / workers, in_order(costs, workers))
    assert simulate(costs, workers, keep_idle=False).makespan <= 1.06 * best


def test_tiny_items_travel_in_few_messages():
    result = simulate([1e-6] * 1_000_000, 4)
    assert result.messages < 1_000
    assert result.ratio < 1.1


def test_a_large_chunk_is_shared_out_when_the_others_idle():
    result = simulate([0.01] * 1_000, 2, chunksize=1_000)
    assert result.ratio < 1.05


@pytest.mark.parametrize("workers", [2, 3, 8])
@pytest.mark.parametrize("chunks", [1, 2, 5])
@pytest.mark.parametrize("cost", [1e-6, 2e-5, 1e-3])
def test_what_is_taken_back_of_a_large_chunk_is_not_carried_to_and_fro(cost, chunks, workers):
    many = 20_000
    result = simulate([cost] * many, workers, chunksize=many // chunks)
    assert result.carried <= 3 * many
    assert result.messages <= 50 * workers + 2.1 * many * cost / SLICE
    assert result.makespan <= 1.05 * many * cost / workers + 0.025


@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.parametrize("name", WORKLOADS)
def test_what_a_former_call_has_learned_helps_or_does_little_harm(name, workers):
    costs = WORKLOADS[name]
    best = max(sum(costs) / workers, in_order(costs, workers))
    usual = sum(costs) / len(costs)
    assert simulate(costs, workers, known=(usual, 100)).makespan <= 1.05 * best
    for known in ((1e-6, 10_000), (1e-5, 1_000), (0.5, 1)):  # misleading
        assert simulate(costs, workers, known=known).makespan <= 1.1 * best + 3 * SLICE


def test_a_few_items_known_to_be_cheap_go_to_one_worker_in_one_message():
    result = simulate([1e-6] * 50, 4, known=(1e-6, 10_000))
    assert (len(result.workers), result.messages) == (1, 2)


@pytest.mark.parametrize("cost", [0.001, 0.003, 0.01, 0.1])
def test_a_few_items_that_were_cheap_and_are_dear_are_shared_out_all_the_same(cost):
    result = simulate([cost] * 100, 4, known=(1e-6, 10_000))
    assert len(result.workers) == 4
    # Until somebody helps, one worker is silent for a while; some items then begin late.
    assert result.makespan <= 100 * cost / 4 + cost + 2 * SLICE


def test_workers_that_may_run_one_item_each_are_started_at_once():
    result = simulate([0.01] * 40, 8, chunksize=5, tasks_per_worker=1)
    assert result.ratio < 1.15


@pytest.mark.timeout(600)
def test_ten_thousand_workers():
    """A million items with PARMAP_FULL=1 (about a minute), else a tenth of both."""
    scale = 10 if os.environ.get("PARMAP_FULL") else 1
    workers, items = 1_000 * scale, 100_000 * scale
    result = simulate([0.01] * items, workers)
    assert result.ratio < 1.01
    # No worse than each item alone, there and back.
    assert result.events < 2 * items + 2 * workers
    assert result.messages < 2 * items + 2 * workers
