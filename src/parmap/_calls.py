"""Runs calls, and starts the clean server while what runs them is still being imported."""

from __future__ import annotations

import sys

from . import _launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._choice import Call
    from ._drive import Drive

_RUN = f"{__package__}._run"


def run(call: Call) -> list[Any]:
    """Run a call to its end and answer its results."""
    run_call: Callable[[Call], list[Any]] = _module(call).run
    return run_call(call)


def make_drive(call: Call) -> Drive:
    """Everything ready to run a call; nothing has been read or started but the clean server."""
    make: Callable[[Call], Drive] = _module(call).make_drive
    return make(call)


def _module(call: Call) -> Any:
    known = sys.modules.get(_RUN)  # an import statement takes ten times as long to find that out
    if known is not None:
        return known
    if call.options.executor == "process":
        _launch.begin()
    from . import _run

    return _run
