"""What comes in is cut short, changed or no frame at all: in the caller, in a worker, in the clean server.

The caller sees a worker that is lost, never an error of its own; a worker and a server end. Nobody waits.
"""

from __future__ import annotations

import os
import random
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parmap import ParmapError, Pool, _codec, _failure, _link, _process, _wire, parallel_map
from parmap._wire import head

from .harness import FULL, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: No process has this pid, so a signal that should not be sent would do no harm.
NOBODY = 1 << 22

#: Workers that a call may start.
LIVES = 4


def frame(kind: int, *parts: bytes) -> bytes:
    return head(kind, [len(part) for part in parts]) + b"".join(parts)


def plain(value: object) -> bytes:
    return _codec.pack_plain(value)


# --- the caller ---------------------------------------------------------------------------------------


def results() -> bytes:
    parcels, parts = _codec.bundle([1, 2.5, "x"])
    return frame(_wire.RESULTS, plain((0, 3, 0.001, parcels)), *parts)


def packed_results() -> bytes:
    parcels, parts = _codec.bundle([_codec.pack([x], copy=False, home=True) for x in range(3)])
    return frame(_wire.RESULTS, plain((0, 3, 0.001, parcels)), *map(bytes, parts))


READY = frame(_wire.READY, plain(NOBODY))
FAILURE = _failure.pack(ValueError("of the worker"))

#: Everything that a worker may say.
SAID = {
    "ready": READY,
    "setup failed": frame(_wire.SETUP_FAILED, plain("it failed"), FAILURE),
    "call failed": READY + frame(_wire.CALL_FAILED, plain(1), FAILURE),
    "results": READY + results(),
    "packed results": READY + packed_results(),
    "failed": READY + frame(_wire.FAILED, plain((0, False)), FAILURE),
    "dropped": READY + frame(_wire.DROPPED, plain((0, 3))),
    "output": READY + frame(_wire.OUTPUT, plain((1, "utf-8")), b"text\n"),
    "freed": READY + frame(_wire.FREED, bytes(16)),
    "leaving": READY + frame(_wire.LEAVING),
}


class Nobody(_process.Child):
    """A worker that has said all it ever says, and is gone."""

    def kill(self, signal: int) -> None:
        self.exitcode = -signal

    def wait(self, seconds: float) -> bool:
        return True


@contextmanager
def hearing():
    """Let the workers of a call say these bytes, and answer what the call ends with."""

    later: list[tuple[int, bytes]] = []  # what is to be said when items have come

    def call(said: bytes) -> object:
        lives = 0

        def launch(sock: int, *_anything: object) -> Nobody:
            nonlocal lives
            lives += 1
            if lives > LIVES:
                raise OSError("enough")
            if said.startswith(READY):
                later.append((os.dup(sock), said[len(READY) :]))
                os.write(sock, READY)
            else:
                os.write(sock, said)
            return Nobody()

        pool._parmap_stock._launch = launch
        try:
            return parallel_map(abs, range(3), executor=pool, chunksize=3)
        except (ParmapError, ValueError) as error:
            return error
        finally:
            answer()

    def answer() -> None:
        while later:
            sock, said = later.pop()
            os.write(sock, said)
            os.close(sock)

    def send(link, *arguments) -> None:
        real_send(link, *arguments)
        answer()

    real_send = _link.Link.send
    with pytest.MonkeyPatch.context() as patch, Pool(1) as pool:
        patch.setattr(_link.Link, "send", send)
        patch.setattr(_wire, "_LONGEST", 1 << 22)  # nonsense must not ask for all memory
        yield call


@pytest.fixture(scope="module")
def hear():
    with hearing() as call:
        yield call


@pytest.mark.parametrize("name", SAID)
def test_caller_hears_frames_that_are_cut(hear, name: str) -> None:
    said = SAID[name]
    for cut in range(len(said)):
        assert isinstance(hear(said[:cut]), ParmapError), cut


def test_caller_hears_what_is_right(hear) -> None:
    assert hear(SAID["results"]) == [1, 2.5, "x"]
    assert hear(SAID["packed results"]) == [[0], [1], [2]]
    assert str(hear(SAID["failed"])) == "of the worker"
    assert isinstance(hear(SAID["call failed"]), ParmapError)


@pytest.mark.parametrize("kind", range(20))
@pytest.mark.parametrize(
    "parts", [(), (b"",), (b"no pickle",), (b"no", b"pickle"), (b"\x80\x05N.",)]
)
def test_caller_hears_frames_that_hold_nonsense(hear, kind: int, parts: tuple[bytes, ...]) -> None:
    assert isinstance(hear(READY + frame(kind, *parts)), ParmapError)
    assert isinstance(hear(frame(kind, *parts)), ParmapError)


@pytest.mark.parametrize(
    "header",
    [
        (0, 3, None, [(0, 3)]),
        (0, 3, 0.1, None),
        (0, 3, 0.1, [(3, "q")]),
        (0, 3, 0.1, [(1, [1 << 40])]),
        (-5, 3, 0.1, [(0, 3)]),
        (0, 2, 0.1, [(0, 3)]),
        ("x", 3, 0.1, [(0, 3)]),
        (0, 3, 0.1, [(2, 9)]),
        (),
        7,
    ],
)
def test_caller_hears_results_that_are_none(hear, header: object) -> None:
    said = READY + frame(_wire.RESULTS, plain(header), plain([1, 2, 3]))
    found = hear(said)
    assert isinstance(found, ParmapError), found


@pytest.mark.parametrize("pid", [0, 1, -1, None, "7", True, 1 << 80])
def test_caller_believes_no_pid_that_is_none(hear, pid: object) -> None:
    """It could be sent a signal."""
    assert isinstance(hear(frame(_wire.READY, plain(pid)) + results()), ParmapError)


def test_caller_hears_of_more_than_there_is(hear) -> None:
    too_much = _wire._HEAD.pack(_wire.MAGIC, _wire.RESULTS, 3) + b"\xff\xff\xff\xff\xff\x3f\0\0" * 3
    assert isinstance(hear(READY + too_much), ParmapError)
    beside = head(_wire.RESULTS, [_wire.ELSEWHERE | 1 << 20])  # and no descriptor comes with it
    assert isinstance(hear(READY + beside), ParmapError)


@settings(max_examples=1000 if FULL else 100)
@given(st.binary(max_size=300), st.booleans())
def test_caller_hears_anything(hear, data: bytes, begins_well: bool) -> None:
    assert isinstance(hear(READY * begins_well + data), ParmapError)


def test_caller_hears_what_was_changed() -> None:
    """Whatever it then is, it is a result, a failure of the worker's, or a loss.

    In a program of its own, since a changed pickle may ask for all memory that there is.
    """
    count = 3000 if FULL else 500
    program = f"""
import io, random, resource, sys
from parmap import ParmapError
from tests.faults.test_wire import SAID, hearing, mutations

resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
sys.stdout = sys.stderr = io.StringIO()  # some is said to be output
with hearing() as hear:
    for name, said in SAID.items():
        for data in mutations(said, {count} // len(SAID)):
            try:
                found = hear(data)
            except MemoryError:
                continue
            assert isinstance(found, (list, ParmapError, ValueError)), (data, found)
"""
    run(program, seconds=55)


def mutations(data: bytes, count: int) -> Iterator[bytes]:
    """What this may become: some bytes of it are gone, some are put in; or it is nothing like it."""
    draw = random.Random(1)
    for _ in range(count):
        cuts = [
            (
                draw.randrange(400),
                draw.choice([0, 1, 1, 4, 12]),
                draw.randbytes(draw.choice([0, 1, 1, 4, 9])),
            )
            for _ in range(draw.choice([1, 1, 2, 4]))
        ]
        yield changed(data, cuts)
    for _ in range(count // 4):
        yield draw.randbytes(draw.randrange(100))


def changed(data: bytes, cuts) -> bytes:
    for at, length, put in cuts:
        at %= len(data) + 1
        data = data[:at] + put + data[at + length :]
    return data


# --- a worker and a clean server ----------------------------------------------------------------------

END = """
import os, resource, select, socket
from parmap import _ambience, _cell, _codec, _memory, _server, _wire, _worker
from tests.faults.test_wire import frame, mutations, plain

resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))  # no more memory than nonsense may ask for
lifeline, _ours = os.pipe()

def ends(data, be, fds=()):
    "Let a process be this, send it that, and wait for its end."
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        try:
            be(theirs.detach())
        except MemoryError:
            os._exit(1)
        finally:
            os._exit(2)
    theirs.close()
    try:
        if fds and data:
            socket.send_fds(ours, [data], fds)
        else:
            ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it has ended already
    ended = os.pidfd_open(pid)
    assert select.select([ended], [], [], 20)[0], data
    os.close(ended)
    ours.close()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 1), (code, data)
    return code
"""

WORKER = """
def be_worker(sock):
    cell = _memory.anonymous_file(_cell.SIZE)
    _worker.main(sock, cell, lifeline)

hello = dict(own={"PARMAP_WORKER": "0"}, idle_timeout=None, memory_limit=None, item_name="", nested=True, name="w", preload=())
words = {**_ambience.gather(), "filters": [], "ancestors": ()}
words["environment"] = {}
parcels, parts = _codec.bundle([_codec.pack([1], copy=False), _codec.pack([2], copy=False)])
stream = b"".join([
    frame(_wire.HELLO, plain(hello), plain(words)),
    frame(_wire.CALL, plain((1, None, True, False, False, None)), b"", plain(len)),
    frame(_wire.ITEMS, plain((1, 0, 0, 3, [(0, 3)])), plain(["a", "bc", ""])),
    frame(_wire.ITEMS, plain((1, 3, 3, 2, parcels)), *map(bytes, parts)),
    frame(_wire.FREED, bytes(8)),
    frame(_wire.END),
])
"""


def test_worker_gets_frames_that_are_cut() -> None:
    step = 1 if FULL else 3
    run(
        f"{END}{WORKER}\nfor cut in range(0, len(stream) + 1, {step}):\n    assert ends(stream[:cut], be_worker) == 0, cut\n"
    )


def test_worker_gets_anything() -> None:
    count = 1000 if FULL else 200
    run(
        f"{END}{WORKER}\nfor data in mutations(stream, {count}):\n    ends(data, be_worker)\n",
        seconds=55,
    )


@pytest.mark.parametrize("count", [0, 2, 4, 1 << 40])
def test_worker_gets_another_number_of_items_than_was_said(count: int) -> None:
    """It ends, rather than look for items that are not there."""
    program = f"""
stream = b"".join([
    frame(_wire.HELLO, plain(hello), plain(words)),
    frame(_wire.CALL, plain((1, None, True, False, False, None)), b"", plain(len)),
    frame(_wire.ITEMS, plain((1, 0, 0, {count}, [(0, 3)])), plain(["a", "bc", ""])),
])
assert ends(stream, be_worker) == 1
"""
    run(END + WORKER + program)


SERVER = """
def be_server(sock):
    _server.main(sock, lifeline, (), [])

stream = b"".join([
    frame(_wire.SHARE, plain(["json", "os", "no.such"])), frame(_wire.FORK, plain((1, 0))), frame(_wire.KILL, plain((1, 9))), frame(_wire.KILL, plain((2, 9)))
])
theirs = socket.socketpair()
fds = [theirs[1].fileno(), _memory.anonymous_file(_cell.SIZE)]
"""
CLOSED = "for end in theirs:\n    end.close()\n"


def test_server_gets_frames_that_are_cut() -> None:
    """With the descriptors that it is to hand on, and without."""
    step = 1 if FULL else 4
    run(
        f"{END}{SERVER}\nfor cut in range(0, len(stream) + 1, {step}):\n"
        f"    assert ends(stream[:cut], be_server, fds if cut % {2 * step} else ()) == 0\n"
        f"{CLOSED}"
    )


def test_server_gets_anything() -> None:
    count = 200 if FULL else 40
    run(
        f"{END}{SERVER}\nfor data in mutations(stream, {count}):\n"
        "    ends(data, be_server, fds)\n    ends(data, be_server)\n"  # 1: no memory for so much
        f"{CLOSED}",
        seconds=55,
    )
