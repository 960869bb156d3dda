"""How many CPUs this process may use.

What the machine has is not what a container is given: a quota of control groups (set by
`docker --cpus` and by limits of Kubernetes) bounds the CPU time of a group with all below it, so
every level counts.
"""

from __future__ import annotations

import os
import sys
from time import monotonic

from . import _cgroups
from ._environ import variable
from ._handlers import let_pass

#: Seconds for which a quota that was read is believed. Reading takes about 0.1 ms, more where many
#: file systems are mounted: a warm call would feel it. A new quota is noticed this late at most.
QUOTA_AGE = 1.0

#: Enough for every real quota (microseconds) and count; `int` itself refuses very long ones.
DIGITS = 10

# When the quota was read, and what it was. One tuple in one assignment, so threads need no lock.
_last_quota: tuple[float, int | None] | None = None


def available_cpus() -> int:
    """How many CPUs this process may use; at least 1.

    What `-X cpu_count` or the environment variable `PYTHON_CPU_COUNT` says, under every version of
    Python. Otherwise the least of the machine's CPUs, those that this process is bound to (its
    affinity), and its control groups' quota of CPU time, rounded up.

    Returns:
        The number of CPUs. It may change while the program runs.

    Example:
        >>> from parmap import available_cpus
        >>> available_cpus() >= 1
        True
    """
    asked = _asked_for()
    if asked is not None:
        return asked
    counts: list[int] = []
    if sys.platform != "win32" and hasattr(os, "sched_getaffinity"):
        try:
            counts.append(len(os.sched_getaffinity(0)))  # never more than there are
        except OSError as error:  # refused by a sandbox, or more CPUs than the C library can count
            let_pass(error)
    if not counts:
        counts.append(os.cpu_count() or 1)
    quota = _current_quota()
    if quota is not None:
        counts.append(quota)
    return max(1, min(counts))


available_cpus.__module__ = "parmap"


def _asked_for() -> int | None:
    """The count that the user set for this interpreter, where that is a number of at least 1."""
    asked = sys._xoptions.get("cpu_count")  # pyright: ignore[reportPrivateUsage] -- documented
    if asked is None and not sys.flags.ignore_environment:
        asked = variable("PYTHON_CPU_COUNT")
    # An option without a value is True. "default" means "as if not set": it hides the variable.
    return _whole(asked) or None if isinstance(asked, str) else None


def _current_quota() -> int | None:
    global _last_quota  # noqa: PLW0603 -- a cache
    now = monotonic()
    last = _last_quota
    if last is None or now - last[0] > QUOTA_AGE:
        _last_quota = last = (now, _quota())
    return last[1]


def _quota(root: str = "") -> int | None:
    """The CPUs that control groups allow; None without a limit. `root` goes before every path."""
    limits: list[int | None] = []
    for version, folders in _cgroups.groups("cpu", root):
        limit = _v2_limit if version == 2 else _v1_limit  # noqa: PLR2004 -- it is a name
        limits += [limit(folder) for folder in folders]
    return min((limit for limit in limits if limit is not None), default=None)


def _v2_limit(folder: str) -> int | None:
    quota, _, period = _cgroups.read(folder + "/cpu.max").strip().partition(" ")
    return _limit(quota, period)


def _v1_limit(folder: str) -> int | None:
    quota = _cgroups.read(folder + "/cpu.cfs_quota_us").strip()
    return _limit(quota, _cgroups.read(folder + "/cpu.cfs_period_us").strip()) if quota else None


def _limit(quota: str, period: str) -> int | None:
    """CPUs, rounded up; None where there is no limit ("max", "-1") or no sense in it."""
    time, each = _whole(quota), _whole(period)
    return -(-time // each) if time and each else None


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS else None
