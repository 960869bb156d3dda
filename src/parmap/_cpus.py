"""How many CPUs this process may use.

What the machine has is not what a container is given: a quota of control groups (set by
`docker --cpus` and by limits of Kubernetes) bounds the CPU time of a group with all below it, so
every level counts.
"""

from __future__ import annotations

import os
import sys
from time import monotonic

#: Seconds for which a quota that was read is believed. Reading takes about 0.1 ms, more where many
#: file systems are mounted: a warm call would feel it. A new quota is noticed this late at most.
QUOTA_AGE = 1.0

#: Where groups are mounted by habit, for when the table of mounts does not say.
USUAL_V1 = ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpuacct,cpu")
USUAL_V2 = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")

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
        except OSError:  # refused by a sandbox, or more CPUs than the C library can count
            pass
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
        asked = os.environ.get("PYTHON_CPU_COUNT")
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
    v1_mounts, v2_mounts = _mounts(_read(root + "/proc/self/mountinfo"))
    limits: list[int | None] = []
    for line in _read(root + "/proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            limits += [_v2_limit(folder) for folder in _folders(root, group, v2_mounts, USUAL_V2)]
        elif "cpu" in controllers.split(","):
            limits += [_v1_limit(folder) for folder in _folders(root, group, v1_mounts, USUAL_V1)]
    return min((limit for limit in limits if limit is not None), default=None)


def _mounts(table: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Where groups with CPU quotas are mounted, in v1 and v2: (the group mounted, the folder)."""
    v1: list[tuple[str, str]] = []
    v2: list[tuple[str, str]] = []
    for line in table.splitlines():
        # 31 23 0:28 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
        before, _, after = line.partition(" - ")
        try:
            _, _, _, top, point, *_ = before.split(" ")
            kind, _, options = after.split(" ")
        except ValueError:  # not a line as we know it
            continue
        mount = _unescaped(top), _unescaped(point)
        if kind == "cgroup2":
            v2.append(mount)
        elif kind == "cgroup" and "cpu" in options.split(","):
            v1.append(mount)
    return v1, v2


def _folders(
    root: str, group: str, mounts: list[tuple[str, str]], usual: tuple[str, ...]
) -> list[str]:
    """The folders of `group` and of all groups above it that can be seen."""
    # A mount of another part of the tree may hold other people's quotas; only ours count.
    ours = [(point, rest) for top, point in mounts if (rest := _below(group, top)) is not None]
    # In a container, `group` may be its path outside, which no mount shows: its top is ours then.
    ours = ours or [(point, "") for _, point in mounts[:1]] or [(point, group) for point in usual]
    folders: list[str] = []
    for point, rest in ours:
        names = [name for name in rest.split("/") if name]
        if ".." in names:  # outside of this process's namespace of groups: only the top can be ours
            names = []
        folders += ["/".join([root + point, *names[:depth]]) for depth in range(len(names), -1, -1)]
    return folders


def _below(group: str, top: str) -> str | None:
    """The path of `group` from `top`, or None where it does not lie below."""
    top = top.rstrip("/")
    return group[len(top) :] if (group + "/").startswith(top + "/") else None


def _v2_limit(folder: str) -> int | None:
    quota, _, period = _read(folder + "/cpu.max").strip().partition(" ")
    return _limit(quota, period)


def _v1_limit(folder: str) -> int | None:
    quota = _read(folder + "/cpu.cfs_quota_us").strip()
    return _limit(quota, _read(folder + "/cpu.cfs_period_us").strip()) if quota else None


def _limit(quota: str, period: str) -> int | None:
    """CPUs, rounded up; None where there is no limit ("max", "-1") or no sense in it."""
    time, each = _whole(quota), _whole(period)
    return -(-time // each) if time and each else None


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS else None


def _read(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:  # no buffer, no decoder: half the time
            return os.fsdecode(file.read())
    except (OSError, ValueError):  # not there, not for us, or a path with a NUL in it
        return ""


def _unescaped(text: str) -> str:
    """A path from the table of mounts, where blanks and the like stand as octal numbers."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
