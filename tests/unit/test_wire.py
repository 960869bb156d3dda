"""Frames: any split gives the same, and nothing that comes in raises anything but `WireError`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parmap._wire import ELSEWHERE, KINDS, SCRATCH, Decoder, WireError, head

frames = st.lists(
    st.tuples(
        st.sampled_from(sorted(KINDS)),
        st.lists(
            st.one_of(
                st.binary(max_size=40),
                st.integers(SCRATCH - 2, SCRATCH + 100).map(bytes),
                st.integers(1, 1 << 40),  # so many bytes beside the stream
            ),
            max_size=4,
        ),
    ),
    max_size=5,
)


def encoded(frame):
    kind, parts = frame
    lengths = [part | ELSEWHERE if isinstance(part, int) else len(part) for part in parts]
    return head(kind, lengths) + b"".join(part for part in parts if not isinstance(part, int))


def plain(frame):
    beside = iter(frame.beside)
    return frame.kind, [next(beside) if part is None else bytes(part) for part in frame.parts]


def feed(decoder, data):
    """Give it bytes as a socket would, no more at once than it has space for."""
    got = []
    while data:
        space = decoder.space()
        assert len(space)
        count = min(len(space), len(data))
        space[:count] = data[:count]
        got += decoder.put(count)
        data = data[count:]
    return got


@settings(max_examples=150)
@given(frames, st.data())
def test_any_split_gives_the_same_frames(sent, data):
    stream = b"".join(map(encoded, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    decoder = Decoder()
    got = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += feed(decoder, stream[begin:end])
    assert [plain(frame) for frame in got] == sent
    assert not decoder.midway


@pytest.mark.parametrize(
    "sent", [(1, []), (6, [b""]), (7, [b"abc", 5, b"", b"x" * 20]), (10, [9]), (2, [bytes(300)])]
)
def test_cut_at_every_byte(sent):
    stream = encoded(sent)
    for cut in range(len(stream)):
        decoder = Decoder()
        assert feed(decoder, stream[:cut]) == []
        assert decoder.midway == (cut > 0)
        (frame,) = feed(decoder, stream[cut:])
        assert plain(frame) == sent
        assert not decoder.midway


@pytest.mark.parametrize("cut", [1, 15, 16, 17, SCRATCH, SCRATCH + 1, 2 * SCRATCH])
def test_a_large_body_is_received_in_place(cut):
    sent = (7, [bytes(range(256)) * 1024, b"end"])
    stream = encoded(sent) + encoded((1, [b"next"]))
    decoder = Decoder()
    got = feed(decoder, stream[:cut]) + feed(decoder, stream[cut:])
    assert [plain(frame) for frame in got] == [sent, (1, [b"next"])]


@settings(max_examples=300)
@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes(data, begins_well):
    if begins_well:
        data = encoded((6, [b"x"])) + data
    decoder = Decoder()
    try:
        feed(decoder, data)
    except WireError:
        pass


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_arbitrary_heads(magic, kind, count):
    data = bytes([magic, kind, 0, 0]) + count.to_bytes(4, "little")
    try:
        assert len(feed(Decoder(), data)) <= 1
    except WireError:
        assert magic != 0xA7 or kind not in KINDS or count > 1 << 24


@given(st.integers(0, 2**64 - 1))
def test_absurd_lengths_are_refused(length):
    data = head(6, [length])
    try:
        feed(
            Decoder(), data
        ) if length & ~ELSEWHERE > 1 << 26 and length < ELSEWHERE and length > 1 << 46 else None
    except WireError:
        return
    assert length <= 1 << 46 or length >= ELSEWHERE


def test_parts_are_writable():
    (frame,) = feed(Decoder(), encoded((6, [bytes(SCRATCH * 2)])))
    assert not frame.parts[0].readonly
