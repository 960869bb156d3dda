"""`shutdown()` while other threads begin: what they start is not taken for an orphan."""

from __future__ import annotations

import pytest

from .harness import run


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.002, 0.004, 0.008])
def test_during_the_very_first_call(seconds: float) -> None:
    run(f"""
        import threading, time
        import parmap

        def call():
            assert parmap.parallel_map(str, [1]) == ["1"]

        failed = []
        threading.excepthook = failed.append
        thread = threading.Thread(target=call)
        thread.start()
        time.sleep({seconds})
        parmap.shutdown()
        thread.join()
        assert not failed, failed
        for _ in range(3):
            call()
    """)


def test_a_call_goes_on_in_a_pool_that_was_shut_down_before_it_had_a_worker() -> None:
    run("""
        import threading, time
        import parmap

        def slow(x):
            time.sleep(0.2)
            return x

        def items():
            pool.shutdown()
            yield from range(3)

        def shut_down():
            while not done.wait(0.1):
                parmap.shutdown()

        pool = parmap.Pool(1)
        done = threading.Event()
        other = threading.Thread(target=shut_down)
        other.start()
        try:
            assert parmap.parallel_map(slow, items(), executor=pool) == [0, 1, 2]
        finally:
            done.set()
            other.join()
    """)


def test_threads_that_come_first_make_one_lifeline() -> None:
    run("""
        import os, threading
        from parmap import _lifeline

        pipe = os.pipe

        def slow():
            made = pipe()
            both.wait()
            return made

        both = threading.Barrier(2)
        os.pipe = slow
        before = len(os.listdir("/proc/self/fd"))
        threads = [threading.Thread(target=_lifeline.end) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(os.listdir("/proc/self/fd")) == before + 2
        _lifeline.cut(here=False)
        assert len(os.listdir("/proc/self/fd")) == before
    """)


def test_while_a_pool_is_ending() -> None:
    run("""
        import parmap

        for _ in range(30):
            parmap.Pool(2).map(str, [1])
            parmap.shutdown()
            assert parmap.parallel_map(str, [1]) == ["1"]
    """)


def test_after_a_first_call_that_needed_no_worker() -> None:
    run("""
        import os
        import parmap

        assert parmap.parallel_map(str, []) == []
        parmap.shutdown()
        try:
            print(os.waitpid(-1, os.WNOHANG))
        except ChildProcessError:
            pass
        else:
            raise SystemExit("the clean server is still there")
    """)
