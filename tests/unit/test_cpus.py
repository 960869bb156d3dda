import os
import subprocess
import sys
import time

import pytest

from parmap import _cpus
from parmap._cpus import available_cpus

MOUNT_V2 = "34 23 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
MOUNT_V1 = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
OTHERS = (
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "33 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
)

V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/cpu,cpuacct"


def v1(folder, quota, period="100000"):
    return {
        f"{folder}/cpu.cfs_quota_us": f"{quota}\n",
        f"{folder}/cpu.cfs_period_us": f"{period}\n",
    }


CASES = {
    # name: (mountinfo, cgroup, files, CPUs)
    "v2": (MOUNT_V2, "0::/a\n", {f"{V2}/a/cpu.max": "150000 100000\n"}, 2),
    "v2 exact": (MOUNT_V2, "0::/a\n", {f"{V2}/a/cpu.max": "300000 100000\n"}, 3),
    "v2 less than one": (MOUNT_V2, "0::/a\n", {f"{V2}/a/cpu.max": "1000 100000\n"}, 1),
    "v2 max": (MOUNT_V2, "0::/a\n", {f"{V2}/a/cpu.max": "max 100000\n"}, None),
    "v2 no file": (MOUNT_V2, "0::/a\n", {}, None),
    "v2 parent is tighter": (
        MOUNT_V2,
        "0::/a/b/c\n",
        {f"{V2}/a/cpu.max": "200000 100000\n", f"{V2}/a/b/c/cpu.max": "700000 100000\n"},
        2,
    ),
    "v2 child is tighter": (
        MOUNT_V2,
        "0::/a/b\n",
        {f"{V2}/a/cpu.max": "800000 100000\n", f"{V2}/a/b/cpu.max": "50000 10000\n"},
        5,
    ),
    "v2 max below a limit": (
        MOUNT_V2,
        "0::/a/b\n",
        {f"{V2}/a/cpu.max": "400000 100000\n", f"{V2}/a/b/cpu.max": "max 100000\n"},
        4,
    ),
    "v2 sibling": (
        MOUNT_V2,
        "0::/a\n",
        {f"{V2}/b/cpu.max": "100000 100000\n", f"{V2}/ab/cpu.max": "100000 100000\n"},
        None,
    ),
    "v2 own namespace": (MOUNT_V2, "0::/\n", {f"{V2}/cpu.max": "200000 100000\n"}, 2),
    "v2 path of the host": (
        MOUNT_V2,
        "0::/system.slice/docker-123.scope\n",
        {f"{V2}/cpu.max": "200000 100000\n"},
        2,
    ),
    "v2 outside of the namespace": (
        MOUNT_V2,
        "0::/../b\n",
        {f"{V2}/cpu.max": "200000 100000\n", "sys/fs/b/cpu.max": "100000 100000\n"},
        2,
    ),
    "v2 part of the tree mounted": (
        MOUNT_V2.replace(" / /sys", " /docker/1 /sys"),
        "0::/docker/1/sub\n",
        {f"{V2}/sub/cpu.max": "200000 100000\n", f"{V2}/docker/1/sub/cpu.max": "100000 100000\n"},
        2,
    ),
    "v2 two mounts, the other not ours": (
        "40 1 0:30 /docker/12 /elsewhere rw - cgroup2 cgroup2 rw\n" + MOUNT_V2,
        "0::/docker/1\n",
        {"elsewhere/cpu.max": "100000 100000\n", f"{V2}/docker/1/cpu.max": "300000 100000\n"},
        3,
    ),
    "v2 the only mount shows another part": (
        MOUNT_V2.replace(" / /sys", " /docker/1 /sys"),
        "0::/elsewhere\n",
        {f"{V2}/cpu.max": "300000 100000\n", f"{V2}/elsewhere/cpu.max": "100000 100000\n"},
        3,
    ),
    "v2 another mount point": (
        MOUNT_V2.replace("/sys/fs/cgroup", "/my\\040groups"),
        "0::/a\n",
        {"my groups/a/cpu.max": "200000 100000\n", f"{V2}/a/cpu.max": "100000 100000\n"},
        2,
    ),
    "v2 no table of mounts": (None, "0::/a\n", {f"{V2}/a/cpu.max": "200000 100000\n"}, 2),
    "v2 nonsense in the table": (
        "what - is\n\n1 2 3 4 5\n" + OTHERS + MOUNT_V2,
        "0::/a\n",
        {f"{V2}/a/cpu.max": "200000 100000\n"},
        2,
    ),
    "v1": (MOUNT_V1, "4:memory:/a\n3:cpu,cpuacct:/a\n", v1(f"{V1}/a", 250000), 3),
    "v1 none": (MOUNT_V1, "3:cpu,cpuacct:/a\n", v1(f"{V1}/a", -1), None),
    "v1 parent": (
        MOUNT_V1,
        "3:cpu,cpuacct:/a/b\n",
        {**v1(f"{V1}/a", 200000), **v1(f"{V1}/a/b", -1)},
        2,
    ),
    "v1 container": (
        MOUNT_V1.replace(" / /sys", " /docker/1 /sys"),
        "3:cpu,cpuacct:/docker/1\n",
        v1(V1, 100000, 50000),
        2,
    ),
    "v1 path of the host": (MOUNT_V1, "3:cpu,cpuacct:/docker/1\n", v1(V1, 200000), 2),
    "v1 no table of mounts": (None, "3:cpu,cpuacct:/a\n", v1(f"{V1}/a", 200000), 2),
    "v1 another controller": (OTHERS, "3:cpuset:/a\n", v1("sys/fs/cgroup/cpuset/a", 100000), None),
    "v1 without a period": (
        MOUNT_V1,
        "3:cpu:/a\n",
        {f"{V1}/a/cpu.cfs_quota_us": "100000\n"},
        None,
    ),
    "hybrid": (
        MOUNT_V1 + MOUNT_V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified"),
        "3:cpu,cpuacct:/a\n0::/a\n",
        v1(f"{V1}/a", 200000),
        2,
    ),
    "no groups": (OTHERS, None, {}, None),
    "nothing at all": (None, None, {}, None),
    **{
        f"nonsense {text!r}": (MOUNT_V2, "0::/a\n", {f"{V2}/a/cpu.max": text}, None)
        for text in (
            "",
            "\n",
            "100000",
            "a b",
            "-5 100000",
            "0 100000",
            "100000 0",
            "1.5 1",
            "9" * 5000,
        )
    },
    **{
        f"nonsense {text[:9]!r} for a group": (MOUNT_V2, text, {f"{V2}/a/cpu.max": "1 1"}, None)
        for text in ("", "\n", "0", "0:", ":::", "x:y:z", "0:name=x:/a", "0::/\0\n", "0::/\udcff\n")
    },
}


@pytest.mark.parametrize(("mounts", "group", "files", "cpus"), CASES.values(), ids=CASES.keys())
def test_quota(tmp_path, mounts, group, files, cpus):
    files = {**files, "proc/self/mountinfo": mounts, "proc/self/cgroup": group}
    for name, text in files.items():
        if text is not None:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert _cpus._quota(str(tmp_path)) == cpus


@pytest.fixture
def machine(monkeypatch):
    """A machine with 16 CPUs, 8 of them ours, and without a quota: changed by calling it."""

    def change(*, cpus=16, affinity=8, quota=None):
        monkeypatch.setattr(os, "cpu_count", lambda: cpus)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
        monkeypatch.setattr(_cpus, "_quota", lambda: quota)
        monkeypatch.setattr(_cpus, "_last_quota", None)

    monkeypatch.delenv("PYTHON_CPU_COUNT", raising=False)
    monkeypatch.setattr(sys, "_xoptions", {})
    change()
    return change


@pytest.mark.parametrize(
    ("given", "cpus"),
    [
        ({}, 8),
        ({"affinity": 1}, 1),
        ({"quota": 3}, 3),
        ({"quota": 99}, 8),
        ({"affinity": 0}, 1),
        ({"cpus": None, "affinity": 4}, 4),
    ],
)
def test_the_least_counts(machine, given, cpus):
    machine(**given)
    assert available_cpus() == cpus


def test_without_affinity(machine, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cpus() == 16


def test_affinity_refused(machine, monkeypatch):
    def refuse(_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_getaffinity", refuse)
    assert available_cpus() == 16


@pytest.mark.parametrize(
    ("option", "variable", "cpus"),
    [
        (None, "3", 3),
        (None, "99", 99),  # more than there are: as Python 3.13 has it
        ("5", None, 5),
        ("5", "3", 5),
        ("default", "3", 8),
        (None, "default", 8),
        (None, "", 8),
        (None, "0", 8),
        (None, "-2", 8),
        (None, "many", 8),
        (True, None, 8),
        ("0", None, 8),
    ],
)
def test_what_the_user_says_wins(machine, monkeypatch, option, variable, cpus):
    if option is not None:
        monkeypatch.setitem(sys._xoptions, "cpu_count", option)
    if variable is not None:
        monkeypatch.setenv("PYTHON_CPU_COUNT", variable)
    assert available_cpus() == cpus


@pytest.mark.parametrize(
    ("flags", "variable", "cpus"),
    [(["-X", "cpu_count=5"], "3", "5"), ([], "3", "3"), (["-E"], str(10**6), "fewer")],
)
def test_in_a_fresh_interpreter(flags, variable, cpus):
    code = "from parmap._cpus import available_cpus; print(available_cpus())"
    src = os.path.dirname(os.path.dirname(_cpus.__file__))
    done = subprocess.run(
        [sys.executable, *flags, "-c", f"import sys; sys.path.insert(0, {src!r}); {code}"],
        env={**os.environ, "PYTHON_CPU_COUNT": variable},
        capture_output=True,
        text=True,
        check=True,
    )
    if cpus == "fewer":
        assert int(done.stdout) < int(variable)
    else:
        assert done.stdout.strip() == cpus


def test_a_quota_is_read_again_after_a_while(machine, monkeypatch):
    now = 100.0
    monkeypatch.setattr(_cpus, "monotonic", lambda: now)
    assert available_cpus() == 8
    monkeypatch.setattr(_cpus, "_quota", lambda: 2)
    now += _cpus.QUOTA_AGE / 2
    assert available_cpus() == 8
    now += _cpus.QUOTA_AGE
    assert available_cpus() == 2


def test_this_machine():
    assert 1 <= available_cpus() <= max(1, os.cpu_count() or 1)


def test_a_warm_call_costs_little():
    available_cpus()
    costs = []
    for _ in range(50):
        begin = time.perf_counter()
        available_cpus()
        costs.append(time.perf_counter() - begin)
    assert min(costs) < 100e-6
