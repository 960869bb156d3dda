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
