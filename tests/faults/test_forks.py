"""A fork in the middle of what another thread, or the forked one itself, is at."""

from __future__ import annotations

import os

import pytest

from .harness import run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


def test_while_another_thread_hands_something_to_multiprocessing() -> None:
    run("""
        import multiprocessing, os, sys, threading, warnings
        import parmap

        warnings.simplefilter("ignore")
        context = multiprocessing.get_context("spawn")

        class Slow:
            def __reduce__(self):
                if parmap._process._main_lock.locked():
                    inside.set()
                    go_on.wait()
                return int, (3,)

        def locked(x, lock):
            with lock:
                return x + 1

        def call(x):
            return parmap.run_in_process(locked, x, context.Lock(), start_method="spawn")

        assert call(3) == 4
        main = sys.modules["__main__"]
        inside, go_on = threading.Event(), threading.Event()
        thread = threading.Thread(target=call, args=(Slow(),))
        thread.start()
        inside.wait()
        child = os.fork()
        if not child:
            assert sys.modules["__main__"] is main
            os._exit(call(3))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
        go_on.set()
        thread.join()
    """)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_in_a_signal_handler_as_a_worker_is_greeted(method: str) -> None:
    """The child ends by an exception that goes through what started the worker: it is not the child's."""
    run(f"""
        import os, signal, sys, warnings
        from parmap import _link, run_in_process

        warnings.simplefilter("ignore")
        run_in_process(abs, -1, start_method={method!r})

        def handle(*_):
            child = os.fork()
            if not child:
                sys.exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

        signal.signal(signal.SIGALRM, handle)
        hello = _link.Link.hello

        def greet(self, *said):
            _link.Link.hello = hello
            started.append(self.child.pid)
            signal.raise_signal(signal.SIGALRM)
            return hello(self, *said)

        started = []
        _link.Link.hello = greet
        assert run_in_process(os.getpid, start_method={method!r}) in started
    """)
