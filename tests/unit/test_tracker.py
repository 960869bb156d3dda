"""The caller's resource tracker: what is done where Python's has other private parts, and how a worker tells."""

from __future__ import annotations

import os
import socket
import sys
import types

import pytest

from parmap import _cell, _codec, _memory, _tracker, _wire
from parmap._channel import Channel
from parmap._worker import Worker

NAME = "multiprocessing.resource_tracker"


@pytest.fixture
def told(monkeypatch):
    """A resource tracker without private parts, and what it and the caller were told."""
    said = []
    module = types.ModuleType(NAME)
    module.register = lambda name, rtype: said.append(("here", "register", name, rtype))
    module.unregister = lambda name, rtype: said.append(("here", "unregister", name, rtype))
    monkeypatch.setitem(sys.modules, NAME, module)
    for name, value in (("_tell", None), ("_pid", 0), ("_handed", None)):
        monkeypatch.setattr(_tracker, name, value)
    return module, said


def use(said):
    _tracker.use(lambda act, name, kind: said.append(("caller", act, name, kind)))


def test_without_private_parts_the_caller_is_told_all(told):
    module, said = told
    assert _tracker.running() is None
    use(said)
    _tracker.take(os.open(os.devnull, os.O_WRONLY))
    module.register("/a", "semaphore")
    module.unregister("/a", "semaphore")
    assert said == [("caller", act, "/a", "semaphore") for act in ("register", "unregister")]
    _tracker.let_go()
    os.close(_tracker._handed)


def test_with_the_callers_nobody_is_told(told):
    module, said = told
    tracker = module._resource_tracker = types.SimpleNamespace(_fd=None, _pid=None)
    use(said)
    fd = os.open(os.devnull, os.O_WRONLY)
    _tracker.take(fd)
    assert tracker._fd == fd
    assert _tracker.running() == (fd, None)
    module.register("/a", "semaphore")
    assert said == [("here", "register", "/a", "semaphore")]
    _tracker.take(os.dup(fd))  # the same again
    assert tracker._fd == fd
    os.close(fd)


def test_with_one_of_its_own_both_are_told_of_an_end(told):
    module, said = told
    tracker = module._resource_tracker = types.SimpleNamespace(_fd=None, _pid=None)
    use(said)
    tracker._fd = own = os.open(os.devnull, os.O_WRONLY)
    _tracker.take(os.dup(own))
    assert tracker._fd == own
    module.register("/a", "semaphore")
    module.unregister("/a", "semaphore")
    assert [(who, act) for who, act, *_ in said] == [
        ("caller", "register"),
        ("caller", "unregister"),
        ("here", "register"),
        ("here", "unregister"),
    ]
    os.close(own)


def test_a_forked_process_tells_nobody(told, monkeypatch):
    module, said = told
    use(said)
    monkeypatch.setattr(_tracker, "_pid", os.getpid() + 1)
    module.register("/a", "semaphore")
    assert said == []


class Interrupted:
    """A socket in the middle of whose work something else is to be sent."""

    def __init__(self, sock) -> None:
        self.sock = sock
        self.then = None

    def send(self, data):
        sent = self.sock.send(data)
        if self.then is not None:
            then, self.then = self.then, None
            then()
        return sent


def test_what_a_finalizer_tells_in_the_middle_of_a_message():
    ours, theirs = socket.socketpair()
    memory = _memory.anonymous_file(_cell.SIZE)
    with ours, theirs:
        interrupted = Interrupted(theirs)
        worker = Worker(Channel(interrupted), _cell.Cell(memory))
        interrupted.then = lambda: worker._tell_tracked("register", "/a", "semaphore")
        worker._send(_wire.OUTPUT, [b"first"])
        worker._send(_wire.OUTPUT, [b"last"])
        frames = Channel(ours).receive()
    os.close(memory)
    assert [frame.kind for frame in frames] == [_wire.OUTPUT, _wire.TRACKED, _wire.OUTPUT]
    assert _codec.unpack(frames[1].parts) == ("register", "/a", "semaphore")
