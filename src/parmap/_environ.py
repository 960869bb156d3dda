"""The environment, read in a tenth of the time that `os.environ` takes."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def variables() -> Mapping[Any, Any]:
    """All variables as the system has them: what lies under `os.environ`, if it is there."""
    # To decode all of them takes 90 µs, a third of a warm call.
    raw: dict[Any, Any] | None = getattr(os.environ, "_data", None)
    return raw if isinstance(raw, dict) else os.environ


def as_kept(text: str) -> Any:
    """A name or a value as `variables` has it."""
    return text if variables() is os.environ else os.fsencode(text)


def change(before: Mapping[Any, Any], wanted: Mapping[Any, Any]) -> None:
    """Make all variables as wanted, which were as `before`; to set one takes microseconds."""
    for name in before.keys() - wanted.keys():
        del os.environ[os.fsdecode(name)]
    for name, value in wanted.items():
        if before.get(name) != value:
            os.environ[os.fsdecode(name)] = os.fsdecode(value)


def variable(name: str) -> str:
    """What one says; "" where it is not set."""
    known = variables()  # `os.environ` takes 2 µs to say that it has not got one
    if name not in known and name.encode() not in known:
        return ""
    return os.environ.get(name, "").strip()
