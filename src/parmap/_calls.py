"""Runs calls, and starts the clean server while what runs them is still being imported."""

from __future__ import annotations

from . import _launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._choice import Call
    from ._drive import Drive


def run(call: Call) -> list[Any]:
    """Run a call to its end and answer its results."""
    if call.options.executor == "process":
        _launch.begin()
    from . import _run

    return _run.run(call)


def make_drive(call: Call) -> Drive:
    """Everything ready to run a call; nothing has been read or started but the clean server."""
    if call.options.executor == "process":
        _launch.begin()
    from . import _run

    return _run.make_drive(call)
