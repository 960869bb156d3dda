"""What workers print arrives as if the caller had printed it."""

from __future__ import annotations

import codecs
import io
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

from parmap import parallel_map, run_in_process, spawn_each

CALLS = {
    "map": lambda func: parallel_map(func, [7])[0],
    "run_in_process": lambda func: run_in_process(func, 7),
    "spawn_each": lambda func: spawn_each(func, [7])[0],
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def stream(encoding="utf-8", errors="strict"):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)


def written(stream):
    stream.flush()
    return stream.buffer.getvalue()


def write_bytes(x):
    sys.stdout.buffer.write(b"\x80\xfe" + bytes([x]))
    sys.stderr.buffer.write(b"\xff\xfe")
    sys.stderr.flush()


@every_call
def test_bytes_that_are_no_text(call):
    with redirect_stdout(stream()) as out, redirect_stderr(stream()) as err:
        print("before")
        call(write_bytes)
        print("after")
    assert written(out) == b"before\n\x80\xfe\x07after\n"
    assert written(err) == b"\xff\xfe"


def speak(x):
    try:
        print("größe", x)
    except UnicodeEncodeError:
        print("groesse", x)


@every_call
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("errors", ["strict", "replace", "backslashreplace"])
def test_text_is_encoded_as_by_serial_code(call, encoding, errors):
    with redirect_stdout(stream(encoding, errors)) as serial:
        speak(7)
        speak(7)
    with redirect_stdout(stream(encoding, errors)) as out:
        call(speak)
        call(speak)
    assert written(out) == written(serial)


def test_what_cannot_be_encoded_names_its_item():
    with redirect_stdout(stream("ascii")), pytest.raises(UnicodeEncodeError) as caught:
        parallel_map(print, [1, "größe", 3])
    assert "item 1" in caught.value.__notes__[0]


def test_streams_that_change_between_calls_and_within_one():
    first, second, third = stream("latin-1"), stream("utf-8"), io.StringIO()
    with redirect_stdout(first):
        parallel_map(speak, [1])

    def changing():
        with redirect_stdout(second):
            yield 2
            parallel_map(abs, [1])  # which does not meet what the other call prints
        yield 3

    with redirect_stdout(third):
        parallel_map(speak, changing(), max_workers=1)
    assert written(first) == "größe 1\n".encode("latin-1")
    both = written(second).decode() + third.getvalue()
    assert sorted(both.splitlines()) == ["größe 2", "größe 3"]


class Tee:
    """Writes to two streams, and looks like the first."""

    def __init__(self, *streams):
        self._streams = streams

    def write(self, text):
        for one in self._streams:
            one.write(text)

    def __getattr__(self, name):
        return getattr(self._streams[0], name)


class Shouting(io.TextIOWrapper):
    def write(self, text):
        return super().write(text.upper())


def test_streams_that_write_in_a_way_of_their_own():
    one, log, shouting = stream("ascii", "replace"), io.StringIO(), Shouting(io.BytesIO(), "utf-8")
    with redirect_stdout(Tee(one, log)), redirect_stderr(shouting):
        parallel_map(speak, [1, 2], max_workers=1)
        parallel_map(complain, [1])
    assert log.getvalue() == "größe 1\ngröße 2\n"
    assert written(one) == b"gr??e 1\ngr??e 2\n"
    assert written(shouting) == b"NO 1\n"


def test_a_stream_whose_write_somebody_has_replaced():
    log = []
    with redirect_stdout(stream()) as out:
        out.write = log.append
        parallel_map(speak, [1])
    assert "".join(log) == "größe 1\n"


def test_lines_end_as_in_the_stream():
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\r\n")
    with redirect_stdout(out):
        print("before")
        parallel_map(speak, [1])
    assert written(out) == "before\r\ngröße 1\r\n".encode()


def test_an_encoding_that_only_the_program_knows():
    codecs.register_error("parmap_tests", codecs.xmlcharrefreplace_errors)
    search = {"parmap_tests": codecs.lookup("latin-1")}.get
    codecs.register(search)
    try:
        for encoding, errors, line in (
            ("ascii", "parmap_tests", b"gr&#246;&#223;e 1\n"),
            ("parmap_tests", "strict", "größe 1\n".encode("latin-1")),
        ):
            with redirect_stdout(stream(encoding, errors)) as out:
                parallel_map(print_size, [1])
                run_in_process(print_size, 1)
            assert written(out) == line * 2
    finally:
        codecs.unregister(search)


def print_size(x):
    print("größe", x)


def complain(x):
    print("no", x, file=sys.stderr)


def detach(x):
    sys.stdout.detach()
    print(x)


def close(x):
    sys.stdout.close()
    sys.stdout.buffer.close()
    print(x)


def put_another_over_it(x):
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="ascii")
    print(x)


def put_another_in_its_place(x):
    sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding="ascii")
    print(x)


@every_call
@pytest.mark.parametrize("func", [detach, close, put_another_over_it, put_another_in_its_place])
def test_a_function_cannot_take_the_streams_away(call, func):
    with redirect_stdout(stream("latin-1")) as out:
        call(func)
        call(print)
    with redirect_stdout(stream("ascii")) as other:
        call(print)
    assert (written(out), written(other)) == (b"7\n7\n", b"7\n")
