"""The caller's surroundings now, packed for its workers: see `_ambience`."""

from __future__ import annotations

from itertools import count

from . import _ambience, _codec, _filters, _nesting
from ._handlers import let_pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_last: tuple[int, dict[str, Any], bytes] = (0, {}, b"")
_versions = count(1)  # two threads never give the same number to what differs


def ambience() -> tuple[int, bytes]:
    """The caller's surroundings now, packed, with a number that changes when they do."""
    global _last  # noqa: PLW0603 -- compared with the last call's, whichever thread made it
    last = _last
    ancestors = _nesting.lineage()
    if not last[1] or last[1]["ancestors"] != ancestors or not _ambience.is_same(last[1]):
        found = {**_ambience.gather(), "ancestors": ancestors}
        if found == {**last[1], "modules": found["modules"]}:  # more modules, but no more strays
            last = _last = (last[0], found, last[2])
        else:
            last = _last = (next(_versions), found, _packed(found))
    return last[0], last[2]


def _packed(found: dict[str, Any]) -> bytes:
    # The filters by themselves: some categories may be of modules that only `path` leads to. And the
    # context of `decimal`, whose signals are classes: not every worker has, or will have, imported that.
    apart = {"filters": _packed_filters(found["filters"]), "decimal": None}
    if found["decimal"] is not None:
        apart["decimal"] = _codec.pack_plain(found["decimal"])
    return _codec.pack_plain({**found, **apart})


def _packed_filters(filters: list[Any]) -> bytes:
    try:
        wanted = _filters.named(filters)
        return _codec.pack_whole(wanted)
    except Exception as error:
        let_pass(error)
        return _codec.pack_plain([])  # better no filters than no call
