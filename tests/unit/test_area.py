"""Results that are numbers, placed in shared memory by the worker: the same as on the plain way."""

from __future__ import annotations

import contextlib
import math
import os
import re
import resource
import signal
import struct
import sys
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parmap import Pool, WorkerDied, _area, _cell, _memory, _runner, parallel_imap, parallel_map
from parmap._results import Results

#: So many items that workers get an area on the way, and enough after that.
MANY = 6 * _area.WORTH

#: What stands among the numbers here and there.
ODD = {
    "bool": True,
    "int": 1,
    "none": None,
    "large": 1 << 63,
    "lowest": -(1 << 63),
    "float": 0.5,
    "nan": math.nan,
    "minus zero": -0.0,
    "text": "x",
    "list": [1],
    "infinity": math.inf,
}


class Number(int):
    """An int, and yet none."""


def is_even(number):
    """Truth values, too, are placed as numbers."""
    return number % 2 == 0


def mostly_number(x, odd, at, kind=int):
    if x in at:
        if odd == "raises":
            raise LookupError(x)
        return Number(x) if odd == "subclass" else ODD[odd]
    return kind(x * x)


def shown(results):
    return [(type(result), repr(result)) for result in results]


@pytest.mark.parametrize("kind", [int, float, is_even])
@pytest.mark.parametrize("odd", [*ODD, "subclass"])
def test_one_that_is_another(kind, odd):
    func = partial(mostly_number, odd=odd, at={0, 1, 2000, 2001, MANY - 1}, kind=kind)
    with Pool(2) as pool:
        for _ in range(2):  # with areas from the first on
            assert shown(parallel_map(func, range(MANY), executor=pool)) == shown(
                map(func, range(MANY))
            )


@pytest.mark.parametrize("chunksize", [None, 1000, 5000])
def test_one_that_raises(chunksize):
    at = {1500, 3000, MANY - 1}
    func = partial(mostly_number, odd="raises", at=at)
    with Pool(2) as pool:
        for _ in range(2):
            got = parallel_map(
                func, range(MANY), executor=pool, on_error="return", chunksize=chunksize
            )
            assert [x for x, one in enumerate(got) if isinstance(one, LookupError)] == sorted(at)
            assert [one for one in got if isinstance(one, int)] == [
                x * x for x in range(MANY) if x not in at
            ]
            with pytest.raises(LookupError) as info:
                parallel_map(func, range(MANY), executor=pool, chunksize=chunksize)
            assert info.value.parmap_index == 1500


@settings(max_examples=30)
@given(
    tail=st.lists(st.sampled_from([0, 1, -5, 2.5, True, None, 1 << 70, "s", (1,)]), max_size=40),
    start=st.integers(0, 2000),
    kind=st.sampled_from([int, float, is_even]),
)
def test_whatever_stands_among_them(area_pool, tail, start, kind):
    values = [*map(kind, range(start)), *tail, *map(kind, range(50))]
    got = parallel_map(partial(pick, values), range(len(values)), executor=area_pool)
    assert shown(got) == shown(values)


def pick(values, at):
    return values[at]


@pytest.fixture(scope="module")
def area_pool():
    with Pool(2) as pool:
        for _ in range(3):
            parallel_map(abs, range(MANY), executor=pool, chunksize=_area.WORTH)
        links = pool._parmap_stock._idle
        assert links
        assert any(link._area is not None for link in links)
        yield pool


def test_lazily(area_pool):
    results = parallel_imap(abs, iter(range(-MANY, 0)), executor=area_pool, chunksize=1500)
    assert list(results) == [*range(MANY, 0, -1)]


def die_at(x, at):
    if x == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


@pytest.mark.parametrize("at", [0, 1, 255, 256, 1000, MANY - 1])
def test_a_death_among_numbers_names_the_item(at):
    with Pool(2) as pool:
        for _ in range(2):
            parallel_map(abs, range(MANY), executor=pool)
            with pytest.raises(WorkerDied) as info:
                parallel_map(partial(die_at, at=at), range(MANY), executor=pool)
            assert info.value.index == at
            assert parallel_map(abs, range(MANY), executor=pool) == [*range(MANY)]


@pytest.mark.parametrize("form", ["q", "d"])
def test_results_that_look_like_a_blank(form, monkeypatch):
    """They are right; they only may be taken for blank when their worker dies."""
    data = struct.pack("<d", 12345.0)
    (number,) = struct.unpack(f"<{form}", data)
    monkeypatch.setattr(_area.os, "urandom", lambda _: data)
    with Pool(1) as pool:
        for _ in range(2):
            got = parallel_map(partial(give, number), range(MANY), executor=pool)
            assert got == [number] * MANY


def give(number, _):
    return number


def use_up_descriptors():
    most = max(map(int, os.listdir("/proc/self/fd"))) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.suppress(OSError):
        while True:
            os.dup(0)


def worker_of(x):
    return os.getpid() + 0 * x


@pytest.mark.skipif(sys.platform != "linux", reason="lists its descriptors")
def test_a_worker_without_a_free_descriptor_does_without():
    """It died of being given an area, and so did each that took its place."""
    with Pool(1, initializer=use_up_descriptors) as pool:
        first = parallel_map(worker_of, [0], executor=pool)
        assert parallel_map(abs, range(MANY), executor=pool) == [*range(MANY)]
        assert parallel_map(abs, range(MANY), executor=pool) == [*range(MANY)]
        assert parallel_map(worker_of, [0], executor=pool) == first
        with pytest.raises(WorkerDied) as info:
            parallel_map(partial(die_at, at=1000), range(MANY), executor=pool)
        assert info.value.index == 1000


# --- by itself ------------------------------------------------------------------------------------


def test_how_far_a_run_is():
    segment, area = _area.make()
    other = _area.Area(segment.fd)
    assert other.filled(10) == 0  # between runs
    other.words[_area.RUN] = 5
    other.blank(5, 10)
    assert area.filled(10) == 0
    for done in range(10):
        other.numbers["q"][5 + done] = done
        assert area.filled(10) == done + 1
    assert area.take(5, 10, upto=77, form="q") == struct.pack("10q", *range(10))
    assert other.words[_area.TAKEN] == 77


@pytest.mark.parametrize("place", [-1, 2 * _area.ROOM - 9, 1 << 60])
def test_places_that_are_not_there(place):
    _, area = _area.make()
    with pytest.raises(ValueError, match="no 10 places"):
        area.take(place, 10, upto=0, form="q")


def test_no_room(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with Pool(2) as pool:
        monkeypatch.setattr(_area, "make", full)
        for _ in range(2):
            assert parallel_map(abs, range(MANY), executor=pool) == [*range(MANY)]


def test_what_the_caller_has_not_taken_is_not_overwritten():
    sent = []
    results = Results(lambda _, parts: sent.append(parts))
    _, results.area = _area.make()
    results.number = int

    def place(first, count):
        results.begin(first)
        if not results.find_place(first, count):
            return False
        results.placed = count
        results.report()
        return True

    assert place(0, 100)
    assert place(100, 100)
    assert not place(200, 100)
    results.area.words[_area.TAKEN] = 100
    assert not place(200, 100)  # the turn of the other half
    assert place(200, 100)
    assert len(sent) == 3
    results.area.words[_area.TAKEN] = 300
    assert not place(300, _area.ROOM + 1)
    for first in range(300, 900, 100):  # what is not placed takes no room
        results.begin(first)
        assert results.find_place(first, 100)


def test_large_numbers_do_not_take_a_message_for_each_run():
    """Each run tried to place its first result, and sent what there was before it did."""
    sent = []
    results = Results(lambda _, parts: sent.append(parts))
    _, results.area = _area.make()
    fd = _memory.anonymous_file(_cell.SIZE)
    cell = _cell.Cell(fd)
    os.close(fd)
    runner = _runner.Runner(cell, results)
    runner.call = abs
    results.begin(0)
    assert results.find_place(0, 1000)
    for at in range(0, 1000, 100):
        runner._run_numbers([1 << 70] * 1000, at, at + 100, at)
    assert len(sent) <= 1
    assert not results.find_place(1000, 1000)
    results.report()
    results.fit = True  # as the next call begins
    assert results.find_place(1000, 1000)
    cell.close()


def test_truth_values_in_places():
    _, area = _area.make()
    for place, value in enumerate([True, False, True]):
        area.numbers["?"][place] = value
    assert area.take(0, 3, upto=3, form="?") == bytes([True, False, True])


def test_a_large_number_is_forgotten_with_its_call(capsys, monkeypatch):
    monkeypatch.setenv("PARMAP_DEBUG", "1")
    with Pool(1) as pool:
        for items in (range(MANY), range(MANY), [1 << 70, *range(MANY)], range(MANY)):
            assert parallel_map(abs, items, executor=pool) == [*items]
    *_, with_large, last = re.findall(r"([\d,]+) received", capsys.readouterr().err)
    assert int(last.replace(",", "")) < MANY < int(with_large.replace(",", ""))
