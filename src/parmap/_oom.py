"""Whether the system has killed a worker because memory ran out.

The kernel tells nobody why it kills; but it counts, for each control group, the processes that it has
killed for their memory, whether the group or the machine had none left. So a worker that ended by a
SIGKILL which was not ours, while that count grew, was one of them, as far as can be known: somebody else
may have killed the one while the system killed another.
"""

from __future__ import annotations

from . import _cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: The word before the count: the same in all three files that may hold it.
_WORD = "oom_kill"

_file: str | None = None  # the file that has it; found once
_explained = 0  # the count up to which deaths were explained by it


def kills() -> int | None:
    """How many processes the system has killed for their memory so far; None where it does not say."""
    global _file  # noqa: PLW0603 -- a cache
    if _file is None:
        _file = find()
    return _count(_file)


def explains(since: int | None) -> bool:
    """Whether the system has killed a process since the count was that, and no other death was it.

    If so, it is taken: the next death needs another.
    """
    global _explained  # noqa: PLW0603 -- all workers of this process are counted together
    now = kills()
    if since is None or now is None or now <= max(since, _explained):
        return False
    _explained = max(since, _explained) + 1
    return True


def find(root: str = "") -> str:
    """The file that counts for this process; `root` goes before every path.

    The machine's count is the last resort: it includes what happens in other people's containers.
    """
    return next((file for file in _files(root) if _count(file) is not None), root + "/proc/vmstat")


def _files(root: str) -> Iterator[str]:
    for version, folders in _cgroups.groups("memory", root):
        name = "memory.events" if version == 2 else "memory.oom_control"  # noqa: PLR2004 -- a name
        for folder in folders:
            yield f"{folder}/{name}"


def _count(file: str) -> int | None:
    for line in _cgroups.read(file).splitlines():
        word, _, number = line.partition(" ")
        if word == _WORD:
            return int(number) if number.isdecimal() else None
    return None
