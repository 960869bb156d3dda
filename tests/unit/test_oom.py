"""Which file counts what the system kills for memory, and which deaths the count explains."""

from __future__ import annotations

import pytest

from parmap import _oom

MOUNT_V2 = "34 23 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
MOUNT_V1 = "32 31 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
OTHERS = (
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "33 31 0:31 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
)
EVENTS = "low 0\nhigh 3\nmax 9\noom 2\noom_kill {}\noom_group_kill 7\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
TOP = "sys/fs/cgroup"

CASES = {
    # name: (mountinfo, cgroup, the files, the one that is to be read)
    "v2": (MOUNT_V2, "0::/a\n", {f"{TOP}/a/memory.events": EVENTS}, f"{TOP}/a/memory.events"),
    "v2 innermost": (
        MOUNT_V2,
        "0::/a/b\n",
        {f"{TOP}/a/memory.events": EVENTS, f"{TOP}/a/b/memory.events": EVENTS},
        f"{TOP}/a/b/memory.events",
    ),
    "v2 memory counted above": (
        MOUNT_V2,
        "0::/a/b/c\n",
        {f"{TOP}/a/memory.events": EVENTS},
        f"{TOP}/a/memory.events",
    ),
    "v2 own namespace": (
        MOUNT_V2,
        "0::/\n",
        {f"{TOP}/memory.events": EVENTS},
        f"{TOP}/memory.events",
    ),
    "v1": (
        MOUNT_V1,
        "4:memory:/a\n",
        {f"{TOP}/memory/a/memory.oom_control": CONTROL},
        f"{TOP}/memory/a/memory.oom_control",
    ),
    "both": (
        OTHERS + MOUNT_V1,
        "4:memory:/a\n1:cpu:/\n0::/\n",
        {f"{TOP}/memory/a/memory.oom_control": CONTROL, f"{TOP}/cpu/memory.oom_control": CONTROL},
        f"{TOP}/memory/a/memory.oom_control",
    ),
    "before Linux 4.13": (
        MOUNT_V1,
        "4:memory:/\n",
        {f"{TOP}/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"},
        "proc/vmstat",
    ),
    "no groups": (OTHERS, "", {}, "proc/vmstat"),
    "not for us": (MOUNT_V2, "0::/a\n", {f"{TOP}/b/memory.events": EVENTS}, "proc/vmstat"),
}


@pytest.mark.parametrize("case", CASES)
def test_file(case, tmp_path):
    mountinfo, cgroup, files, expected = CASES[case]
    made = {
        "proc/self/mountinfo": mountinfo,
        "proc/self/cgroup": cgroup,
        "proc/vmstat": "nr_free_pages 1\noom_kill {}\ndrop_pagecache 0\n",
        **files,
    }
    for name, text in made.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(5))
    assert _oom.find(str(tmp_path)) == str(tmp_path / expected)
    assert _oom._count(_oom.find(str(tmp_path))) == 5


def test_no_file_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(_oom, "_file", _oom.find(str(tmp_path)))
    assert _oom.kills() is None
    assert not _oom.explains(None)
    assert not _oom.explains(0)


@pytest.fixture
def count(tmp_path, monkeypatch):
    file = tmp_path / "memory.events"
    monkeypatch.setattr(_oom, "_file", str(file))
    monkeypatch.setattr(_oom, "_explained", 0)

    def say(number):
        file.write_text(EVENTS.format(number))
        return _oom.kills()

    return say


def test_each_kill_explains_one_death(count):
    before = count(3)
    assert before == 3
    assert not _oom.explains(before)
    count(5)
    assert _oom.explains(before)
    assert _oom.explains(before)
    assert not _oom.explains(before)


def test_kills_before_a_worker_was_there_do_not_explain_its_end(count):
    count(3)
    started = count(5)
    assert not _oom.explains(started)
    count(6)
    assert _oom.explains(started)


def test_a_count_that_could_not_be_read_explains_nothing(count, tmp_path):
    before = count(3)
    (tmp_path / "memory.events").write_text("oom_kill many\n")
    assert not _oom.explains(before)
    count(4)
    assert not _oom.explains(None)
    assert _oom.explains(before)
