"""Runs calls, and starts the clean server while what runs them is still being imported."""

from __future__ import annotations

from . import _launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._choice import Call
    from ._drive import Drive

_imported: Any = None  # `_run`, once it is all there


def run(call: Call) -> list[Any]:
    """Run a call to its end and answer its results."""
    run_call: Callable[[Call], list[Any]] = _module(call).run
    return run_call(call)


def make_drive(call: Call) -> Drive:
    """Everything ready to run a call; nothing has been read or started but the clean server."""
    make: Callable[[Call], Drive] = _module(call).make_drive
    return make(call)


def _module(call: Call) -> Any:
    global _imported  # noqa: PLW0603 -- an import statement takes ten times as long to find that out
    if _imported is None:
        if call.options.executor == "process":
            _launch.begin()
        from . import _run

        _imported = _run
    return _imported
