"""A call in the caller's own thread, which is what `map` does."""

from __future__ import annotations

import time
from functools import partial

from ._executors import ChunkDrive, run_here
from ._plan._chunks import SLICE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._executors import Outcome


class SerialDrive(ChunkDrive):
    """Runs each item before it reads the next, unless to read it runs nobody's code."""

    def __init__(
        self, func: Callable[..., Any], *args: Any, star: bool, halts: bool, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._halts = halts
        self._run = partial(run_here, func, star=star, halts=halts, context=None)
        # What items came to that were run as they were read, and not yet sent; and the index of the first.
        self._ahead: list[tuple[Any, tuple[Any, bool] | None]] = []
        self._ahead_of = 0
        self._cost = 0.0  # seconds for each of them
        self._halted = False  # by a failure
        self._come: list[tuple[int, int, int, Outcome]] = []  # what was sent has come to

    def read(self, most: int) -> None:
        """See `Drive`."""
        if self.intake.is_silent:
            super().read(most)
            return
        if self._halted or self.intake.error is not None:
            return  # the plan is about to hear of it
        until = time.perf_counter() + SLICE  # there may be limits on time
        turn = self.intake.read_in_turn(most, until)
        self._keep(self._run(turn))
        turn.close()
        self.tell_read(*self.intake.came)

    def _keep(self, outcome: Outcome) -> None:
        results, failures, ran, seconds = outcome
        failed = {place: (error, fatal) for place, error, fatal in failures}
        self._ahead += [(result, failed.get(place)) for place, result in enumerate(results)]
        self._halted = ran > 0 and ran - 1 in failed and (self._halts or failed[ran - 1][1])
        self._cost = seconds / max(ran, 1)

    def send(self, worker: int, first: int, stop: int) -> None:
        """See `Drive`: those that have not run yet do so now."""
        if self._ahead and first == self._ahead_of:
            self._come.append((worker, first, stop, self._run_before(stop - first)))
        else:
            # No name for any of it: an error's frames lead here, and would keep it, and so themselves.
            self._come.append((worker, first, stop, self._run(self.intake.values(first, stop))))

    def _run_before(self, count: int) -> Outcome:
        """What the next items came to that were run as they were read."""
        held, self._ahead = self._ahead[:count], self._ahead[count:]
        self._ahead_of += count
        failures = [(at, *failed) for at, (_, failed) in enumerate(held) if failed is not None]
        return [result for result, _ in held], failures, len(held), self._cost * len(held)

    def wait(self, until: float) -> None:  # noqa: ARG002 -- it is there already
        """See `Drive`."""
        while self._come:
            self.take(*self._come.pop(0))

    def notify(self, listener: Callable[[], None] | None) -> None:
        """See `Drive`."""
        if listener is not None and self._come:
            listener()

    def take_back(self, worker: int, *, leave_one: bool) -> list[tuple[int, int]]:  # noqa: ARG002
        """See `Drive`: it has run all that it was sent."""
        return []

    def close(self, *, abrupt: bool) -> None:  # noqa: ARG002 -- nothing runs beside it
        """See `Drive`."""
        self._ahead, self._come = [], []
