"""Anonymous memory: what is stored is loaded, writable and private, and nothing is left."""

from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parmap import _memory
from parmap._memory import ALIGN, anonymous_file, cut, layout, load, shared, write
from parmap._owned import owned


def store(buffers):
    fd = anonymous_file(0)
    try:
        write(fd, buffers)
    except BaseException:
        os.close(fd)
        raise
    return fd


def loaded(fd, lengths):
    return cut(memoryview(load(fd, layout(lengths)[1])), lengths)


@given(st.lists(st.integers(0, 5000), max_size=8))
def test_layout(lengths):
    offsets, size = layout(lengths)
    assert all(offset % ALIGN == 0 for offset in offsets)
    ends = [offset + length for offset, length in zip(offsets, lengths, strict=True)]
    assert all(end <= begin for end, begin in zip(ends, [*offsets[1:], size], strict=False))


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5))
def test_store_and_load(buffers):
    lengths = [len(buffer) for buffer in buffers]
    views = loaded(store([memoryview(buffer) for buffer in buffers]), lengths)
    assert [bytes(view) for view in views] == buffers
    assert not any(view.readonly for view in views)


def test_what_is_loaded_is_private():
    fd = store([memoryview(b"abc")])
    other = os.dup(fd)
    (one,) = loaded(fd, [3])
    one[:] = b"xyz"
    (two,) = loaded(other, [3])
    assert bytes(two) == b"abc"


def test_load_closes_the_descriptor():
    fd = store([memoryview(b"abc")])
    loaded(fd, [3])
    with pytest.raises(OSError):
        os.fstat(fd)


def test_load_of_too_little():
    fd = store([memoryview(b"abc")])
    with pytest.raises((OSError, ValueError)):
        loaded(fd, [1 << 20])
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
        anonymous_file(3)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        store([memoryview(b"abc")])


def test_copies_where_nothing_can_be_mapped(monkeypatch):
    def none_left(*_, **__):
        raise OSError(12, "Cannot allocate memory")

    fd = store([memoryview(b"abc")])
    monkeypatch.setattr(_memory.mmap, "mmap", none_left)
    whole = load(fd, layout([3])[1])
    assert isinstance(whole, bytearray)
    assert whole[:3] == b"abc"


def test_without_memfd(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fd = store([memoryview(b"abc"), memoryview(bytes(100))])
    assert list(tmp_path.iterdir()) == []
    one, two = loaded(fd, [3, 100])
    assert (bytes(one), bytes(two)) == (b"abc", bytes(100))


def test_a_call_without_room(monkeypatch):
    """Then the stream takes large buffers."""
    import parmap

    def full(*_):
        raise OSError(28, "No space left on device")

    assert parmap.parallel_map(len, [bytearray(10)], max_workers=1) == [10]
    monkeypatch.setattr(_memory, "write", full)
    assert parmap.parallel_map(len, [bytearray(3_000_000)] * 2, max_workers=1) == [3_000_000] * 2


@pytest.mark.filterwarnings("error")
def test_what_owns_a_descriptor_closes_it_without_a_word():
    before = os.listdir("/proc/self/fd")
    (own,) = map(owned, map(os.dup, [0]))
    assert os.fstat(own.fileno()) == os.fstat(0)
    del own
    assert os.listdir("/proc/self/fd") == before
