"""Anonymous memory: what is stored is loaded, writable and private, and nothing is left."""

from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parmap import _memory
from parmap._memory import ALIGN, anonymous_file, layout, load, shared, store


@given(st.lists(st.integers(0, 5000), max_size=8))
def test_layout(lengths):
    offsets, size = layout(lengths)
    assert all(offset % ALIGN == 0 for offset in offsets)
    ends = [offset + length for offset, length in zip(offsets, lengths, strict=True)]
    assert all(end <= begin for end, begin in zip(ends, [*offsets[1:], size], strict=False))


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5))
def test_store_and_load(buffers):
    lengths = [len(buffer) for buffer in buffers]
    views = load(store([memoryview(buffer) for buffer in buffers]), lengths)
    assert [bytes(view) for view in views] == buffers
    assert not any(view.readonly for view in views)


def test_what_is_loaded_is_private():
    fd = store([memoryview(b"abc")])
    other = os.dup(fd)
    (one,) = load(fd, [3])
    one[:] = b"xyz"
    (two,) = load(other, [3])
    assert bytes(two) == b"abc"


def test_load_closes_the_descriptor():
    fd = store([memoryview(b"abc")])
    load(fd, [3])
    with pytest.raises(OSError):
        os.fstat(fd)


def test_load_of_too_little():
    fd = store([memoryview(b"abc")])
    with pytest.raises((OSError, ValueError)):
        load(fd, [1 << 20])
    with pytest.raises(OSError):
        os.fstat(fd)


def test_shared():
    fd = anonymous_file(4096)
    one, other = shared(fd, 4096), shared(fd, 4096)
    os.close(fd)
    one[5] = 7
    assert other[5] == 7
    one.close()
    other.close()


def test_no_room(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        store([memoryview(b"abc")])


def test_without_memfd(monkeypatch, tmp_path):
    monkeypatch.setattr(_memory.sys, "platform", "other")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fd = store([memoryview(b"abc"), memoryview(bytes(100))])
    assert list(tmp_path.iterdir()) == []
    one, two = load(fd, [3, 100])
    assert (bytes(one), bytes(two)) == (b"abc", bytes(100))


def test_a_call_without_room(monkeypatch):
    """Then the stream takes large buffers."""
    import parmap

    def full(*_):
        raise OSError(28, "No space left on device")

    assert parmap.parallel_map(len, [bytearray(10)], max_workers=1) == [10]
    monkeypatch.setattr(_memory, "store", full)
    assert parmap.parallel_map(len, [bytearray(3_000_000)] * 2, max_workers=1) == [3_000_000] * 2
