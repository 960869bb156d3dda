"""Where the control groups of this process are: folders in which the system says what they may use.

There are two versions of them, and a machine may have both. In the first each controller ("cpu",
"memory") has a tree of its own; in the second all share one.
"""

from __future__ import annotations

import os

from ._handlers import let_pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: Where groups are mounted by habit, for when the table of mounts does not say.
USUAL_V1 = {
    "cpu": ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpuacct,cpu"),
    "memory": ("/sys/fs/cgroup/memory",),
}
USUAL_V2 = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")


def groups(controller: str, root: str = "") -> Iterator[tuple[int, list[str]]]:
    """The versions that there are of a controller, each with the folders of this process's groups.

    The innermost group comes first, those above it follow. `root` goes before every path.
    """
    v1_mounts, v2_mounts = _mounts(controller, read(root + "/proc/self/mountinfo"))
    for line in read(root + "/proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            yield 2, _folders(root, group, v2_mounts, USUAL_V2)
        elif controller in controllers.split(","):
            yield 1, _folders(root, group, v1_mounts, USUAL_V1[controller])


def read(path: str) -> str:
    """What a file holds; "" if there is none, or it is not for us."""
    try:
        with open(path, "rb", buffering=0) as file:  # no buffer, no decoder: half the time
            return os.fsdecode(file.read())
    except (OSError, ValueError) as error:  # not there, not for us, or a path with a NUL in it
        let_pass(error)
        return ""


def _mounts(controller: str, table: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Where this controller's groups are mounted, in v1 and v2: (the group mounted, the folder)."""
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
        elif kind == "cgroup" and controller in options.split(","):
            v1.append(mount)
    return v1, v2


def _folders(
    root: str, group: str, mounts: list[tuple[str, str]], usual: tuple[str, ...]
) -> list[str]:
    """The folders of `group` and of all groups above it that can be seen."""
    # A mount of another part of the tree may hold other people's groups; only ours count.
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


def _unescaped(text: str) -> str:
    """A path from the table of mounts, where blanks and the like stand as octal numbers."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
