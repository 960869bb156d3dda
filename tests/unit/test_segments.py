"""Memory that is used again: what somebody still holds never changes."""

from __future__ import annotations

import functools
import gc
import os
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import parmap
from parmap import _memory
from parmap._channel import Channel
from parmap._segments import KEPT, Borrower, Lender, share
from parmap._wire import END, ITEMS


def passed(lender, borrower, buffers):
    segment = lender.lend([memoryview(buffer) for buffer in buffers])
    return borrower.load(os.dup(segment.fd), [len(buffer) for buffer in buffers])


@settings(max_examples=200)
@given(st.data())
def test_what_is_held_stays_as_it_is(data):
    """Buffers are sent, held, changed, dropped and reported in any order."""
    lender, borrower = Lender(), Borrower()
    held = []
    for turn in range(data.draw(st.integers(1, 25), label="turns")):
        lengths = data.draw(st.lists(st.integers(1, 9000), min_size=1, max_size=3))
        buffers = [bytes([turn % 251 + 1]) * length for length in lengths]
        views = passed(lender, borrower, buffers)
        if data.draw(st.booleans(), label="written to"):
            views[0][0] = 255
            buffers[0] = b"\xff" + buffers[0][1:]
        kept = data.draw(st.integers(0, len(views) - 1), label="kept")
        held.append((views[kept], buffers[kept]))
        del views
        while held and data.draw(st.booleans(), label="dropped"):
            held.pop(data.draw(st.integers(0, len(held) - 1)))
        if data.draw(st.booleans(), label="reported"):
            lender.take_back(borrower.freed())
        for view, buffer in held:
            assert bytes(view) == buffer


def test_a_segment_that_is_free_is_used_again():
    lender, borrower = Lender(), Borrower()
    segment = lender.lend([memoryview(b"abc")])
    views = borrower.load(os.dup(segment.fd), [3])
    assert borrower.freed() == []
    del views
    gc.collect()
    freed = borrower.freed()
    assert freed == [0]
    lender.take_back(freed)
    assert lender.lend([memoryview(b"defg")]) is segment
    assert lender.keeps
    lender.rest()
    assert not lender.keeps
    lender.take_back([1])
    assert lender.lend([memoryview(b"hij")]) is not segment


def test_only_so_many_are_kept():
    lender = Lender()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10 * KEPT):
        lender.lend([memoryview(b"abc")])
    assert len(os.listdir("/proc/self/fd")) == before + KEPT
    lender.take_back(range(10 * KEPT))
    lender.rest()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_giant_does_not_stay():
    lender = Lender()
    giant = lender.lend([memoryview(bytes(5 << 20))])
    lender.take_back([0])
    assert lender.lend([memoryview(b"abc")]) is not giant


def test_reports_of_what_was_not_lent_are_ignored():
    lender = Lender()
    lender.take_back([7, 7, 1 << 60])
    assert not lender.keeps


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_a_forked_process_keeps_what_it_has():
    lender, borrower = Lender(), Borrower()
    views = passed(lender, borrower, [b"x" * 9000])
    go, say = socket.socketpair()
    pid = os.fork()
    if not pid:
        try:
            go.recv(1)
            go.send(bytes(views[0][:2]))
        finally:
            os._exit(0)
    del views
    lender.take_back(borrower.freed())
    passed(lender, borrower, [b"y" * 9000])
    say.send(b"!")
    os.waitpid(pid, 0)
    assert say.recv(2) == b"xx"
    go.close()
    say.close()


def test_over_a_channel():
    """Reports travel with what is sent next, and are nobody else's business."""
    one, other = (Channel(end) for end in socket.socketpair())
    data = memoryview(bytes(_memory.BESIDE))
    for _ in range(3):
        one.queue(ITEMS, [b"head", data])
        one.flush()
        (frame,) = other.receive()
        assert [len(part) for part in frame.parts] == [4, len(data)]
        del frame
        gc.collect()
        other.queue(ITEMS, [b"done"])
        other.flush()
        (frame,) = one.receive()
        assert bytes(frame.parts[0]) == b"done"
        assert one.lender._free
        assert not one.lender._lent
    one.close()
    other.close()


# --- one copy for all -----------------------------------------------------------------------------

LARGE = bytes(_memory.BESIDE)


def changed(parts, at, where):
    made = [bytearray(part) for part in parts]
    made[at][where] ^= 1
    return made


def test_shared_parts_are_found_again():
    parts = [b"small", LARGE, b"small, too", LARGE + b"!"]
    one = share(parts)
    assert list(map(bytes, one.parts)) == parts
    assert share([bytearray(part) for part in parts]) is one
    for at, where in ((0, 0), (1, 0), (1, -1), (2, 3), (3, len(LARGE) // 2), (3, -1)):
        other = share(changed(parts, at, where))
        assert other is not one
        assert other.key != one.key
    assert share([*parts, b""]) is not one
    assert share(parts) is one


def test_shared_parts_are_a_copy():
    data = bytearray(LARGE)
    one = share([b"x", data])
    data[5] = 7
    assert one.parts[1] == LARGE
    assert share([b"x", data]) is not one


def test_nothing_shared_stays():
    before = os.listdir("/proc/self/fd")
    one = share([b"y", LARGE])
    assert len(os.listdir("/proc/self/fd")) > len(before)
    del one
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_workers_share_one_copy(np, monkeypatch):
    """It is written once for all workers and calls, as long as it does not change."""
    written = []
    write = _memory.write

    def writes(fd, buffers):
        written.append(len(buffers))
        return write(fd, buffers)

    monkeypatch.setattr(_memory, "write", writes)
    array = np.arange(500_000)
    func = functools.partial(at_index, array)
    with parmap.Pool(2) as pool:
        for _ in range(3):
            assert parmap.parallel_map(func, range(50), executor=pool, chunksize=1) == [*range(50)]
        assert written == [1]
        array[7] = -7
        got = parmap.parallel_map(func, range(50), executor=pool, chunksize=1)
        assert got == [*range(7), -7, *range(8, 50)]
        assert written == [1, 1]


def test_without_room_each_gets_its_own(np, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    func = functools.partial(at_index, np.arange(500_000))
    with parmap.Pool(2) as pool:
        monkeypatch.setattr(_memory, "write", full)
        for _ in range(2):
            assert parmap.parallel_map(func, range(9), executor=pool, chunksize=1) == [*range(9)]


def test_what_is_shared_belongs_to_each(np):
    """A function that writes to its array writes to its own copy."""
    func = functools.partial(spoil, np.zeros(500_000))
    with parmap.Pool(1) as pool:
        assert parmap.parallel_map(func, range(3), executor=pool) == [1, 2, 3]
    with parmap.Pool(1) as pool:
        assert parmap.parallel_map(func, range(3), executor=pool) == [1, 2, 3]


def at_index(array, index):
    return int(array[index])


def spoil(array, _):
    array[0] += 1
    return int(array[0])


def test_two_threads_may_end_a_worker_at_once():
    class Socket:
        def send(self, data):
            channel._outgoing.clear()  # as the other one does, which has sent it as well
            return len(data)

    channel = Channel(Socket())
    channel.queue(END, [])
    assert channel.flush()
    assert not channel.sending
