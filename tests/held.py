"""Two threads, one of which is held up at a line of ours while the other runs."""

from __future__ import annotations

import sys
import threading


class HeldUp:
    """Runs `first` in a thread, lets `second` run in another before its `at`th line, and waits for both.

    Lines are those of `modules`. `second` may have to wait for `first`, which goes on after `patience`
    seconds; or `first` for `second` before it gets there. They have `seconds` to end.
    """

    def __init__(self, first, second, at, *, modules, patience, raised, seconds):
        self.where = ""  # the line; empty if there are not so many
        self.results = {}  # what each answered, or what `raised` makes of an exception
        self.meanwhile = False  # whether the second was through before the first went on
        self._left = at
        self._modules = modules
        self._patience = patience
        self._raised = raised
        self._let_go = threading.Lock()
        self._second = threading.Thread(target=self._run, args=("second", second), daemon=True)
        thread = threading.Thread(target=self._traced, args=(first,), daemon=True)
        thread.start()
        thread.join(0.5)
        if self._let_go.acquire(blocking=False):
            self._second.start()
        thread.join(seconds)
        self._second.join(seconds)
        assert not thread.is_alive(), ("the first hangs", self.where)
        assert not self._second.is_alive(), ("the second hangs", self.where)

    def _run(self, name, act):
        try:
            self.results[name] = act()
        except BaseException as error:
            self.results[name] = self._raised(error)

    def _traced(self, first):
        sys.settrace(self._trace)
        try:
            self._run("first", first)
        finally:
            sys.settrace(None)

    def _trace(self, frame, event, _):
        if frame.f_globals["__name__"] not in self._modules:
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0 and self._let_go.acquire(blocking=False):
                self.where = f"{frame.f_code.co_name}:{frame.f_lineno}"
                self._second.start()
                self._second.join(self._patience)
                self.meanwhile = not self._second.is_alive()
        return self._trace
