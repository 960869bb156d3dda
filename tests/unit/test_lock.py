"""A lock is given back, or was never taken, whatever a signal handler raises meanwhile."""

from __future__ import annotations

import _thread
import ast
import pathlib
import signal
import sys
import threading
import time
from functools import partial

import pytest

import parmap
from parmap._lock import Careful, careful

PACKAGE = pathlib.Path(parmap.__file__).parent


class Interrupt(Exception):
    """What the handler raises."""


@pytest.fixture
def raising():
    def interrupt(*_):
        raise Interrupt

    before = signal.signal(signal.SIGINT, interrupt)
    yield
    signal.signal(signal.SIGINT, before)


def locks():
    return [Careful(_thread.allocate_lock()), careful(_thread.allocate_lock())]


@pytest.mark.parametrize("lock", locks(), ids=lambda lock: type(lock).__name__)
@pytest.mark.usefixtures("raising")
@pytest.mark.timeout(30)
def test_interrupt_as_it_is_taken(lock):
    """The signal is noted while this thread waits for the lock, and handled when it has it."""

    def let_go():
        _thread.interrupt_main()  # which interrupts no wait, as a signal of the system would
        give_back()

    for _ in range(50):
        give_back = partial(lock.__exit__, None, None, None)
        thread = threading.Timer(0.002, let_go)
        lock.__enter__()
        with pytest.raises(Interrupt):
            thread.start()
            with lock:
                time.sleep(0.01)
        thread.join()
        assert not lock.locked()


@pytest.mark.parametrize("lock", locks(), ids=lambda lock: type(lock).__name__)
@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX")
@pytest.mark.usefixtures("raising")
@pytest.mark.timeout(30)
def test_interrupt_while_it_is_waited_for(lock):
    """It is somebody else's then, and stays so."""
    main = threading.get_ident()
    with lock:
        timer = threading.Timer(0.02, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        with pytest.raises(Interrupt), lock:
            pass
        timer.join()
        assert lock.locked()
    assert not lock.locked()


def test_what_its_block_raises():
    lock = Careful(_thread.allocate_lock())
    with pytest.raises(Interrupt), lock:
        assert lock.locked()
        raise Interrupt
    assert not lock.locked()


def test_one_that_its_owner_takes_again():
    lock = Careful(_thread.RLock())
    with lock, lock:
        pass
    taken = []
    thread = threading.Thread(target=lambda: taken.append(lock.__enter__()))
    thread.start()
    thread.join(10)
    assert taken == [None]


def test_it_is_the_lock_itself_where_nothing_can_come_between():
    lock = _thread.allocate_lock()
    assert (careful(lock) is lock) == (sys.version_info < (3, 14))


#: A lock that is not waited for, and given back by `finally`.
EXEMPT = {"_lock.py", "_launch.py"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_no_other_locks(path):
    """Whatever makes a lock hands it to `careful`."""
    tree = ast.parse(path.read_text("utf-8"))
    taken_care_of = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "careful"
        for argument in node.args
    }
    makers = {"allocate_lock", "Lock", "RLock"}
    bare = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in makers
        and id(node) not in taken_care_of
    ]
    assert path.name in EXEMPT or not bare
