"""The clean server imports what functions need of the standard library, where that is harmless."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import types

import pytest

import parmap
from parmap import _stdlib

IMPORT_ALL = """
import os, signal, sys, warnings
def state():
    return (
        len(os.listdir("/proc/self/task")), sorted(os.listdir("/proc/self/fd")), dict(os.environ),
        [signal.getsignal(n) for n in range(1, 32)], list(warnings.filters), sys.path[:], os.getcwd(),
        sys.getrecursionlimit(), sys.excepthook, sys.stdout, sys.meta_path[:], sys.path_hooks[:],
    )
before, here = state(), set(sys.modules)
for name in sys.argv[1:]:
    __import__(name)
assert state() == before
print(*sorted(set(sys.modules) - here))
"""

#: What draws random numbers, starts something, talks to others, or is told things by the environment.
HARMFUL = {
    "_socket", "logging", "threading", "asyncio", "concurrent", "ctypes", "decimal", "hashlib", "locale", "multiprocessing",
    "queue", "random", "secrets", "selectors", "socket", "ssl", "subprocess", "tempfile", "uuid",
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_what_is_shared_only_defines_things():
    done = subprocess.run(
        [sys.executable, "-I", "-c", IMPORT_ALL, *sorted(_stdlib.HARMLESS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not HARMFUL.intersection(done.stdout.split())


class Explosive:
    """Like a proxy that does something as soon as it is looked at."""

    def __getattribute__(self, name):
        raise AssertionError(name)


class Meta(type):
    def __getattribute__(cls, name):
        raise AssertionError(name)


FUNCTIONS = {
    "a function of a module": ("import json, re, no_std\ndef func(x): pass", {"json", "re"}),
    "names from modules": (
        "from dataclasses import dataclass\nfrom pathlib import Path\nfrom math import sqrt\ndef func(x): pass",
        {"dataclasses", "pathlib", "math"},
    ),
    "a submodule": ("from json.decoder import JSONDecoder\ndef func(x): pass", {"json"}),
    "a submodule that is harmless alone": ("from urllib.parse import quote\ndef func(x): pass", {"urllib.parse"}),
    "what is not harmless": ("import random, subprocess, json\ndef func(x): pass", {"json"}),
    "a class": ("import json\nclass func: pass", {"json"}),
    "a method": ("import json\nclass C:\n    def f(self): pass\nfunc = C().f", {"json"}),
    "an object that can be called": (
        "import json\nclass C:\n    def __call__(self, x): pass\nfunc = C()", {"json"},
    ),
    "a partial": (
        "import json, functools\ndef f(x, y): pass\nfunc = functools.partial(functools.partial(f, 1), 2)",
        {"json", "functools"},
    ),
    "one among explosive things": ("import json\none, Two = explosive, Meta\ndef func(x): pass", {"json"}),
}  # fmt: skip


@pytest.fixture
def module(monkeypatch):
    made = types.ModuleType("some_module")
    monkeypatch.setitem(sys.modules, "some_module", made)
    monkeypatch.setitem(sys.modules, "no_std", types.ModuleType("no_std"))
    made.explosive, made.Meta = Explosive(), Meta("Two", (), {"__module__": "nowhere"})
    return made


@pytest.fixture(autouse=True)
def anew(monkeypatch):
    monkeypatch.setattr("warnings.filters", [])
    monkeypatch.setattr(_stdlib, "_found", {})


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_what_a_function_will_need(module, kind):
    source, expected = FUNCTIONS[kind]
    exec(source, vars(module))
    assert _stdlib.wanted(module.func) == expected


def test_a_function_of_main_needs_what_it_mentions(monkeypatch):
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(
        "import difflib, json, math, re\n"
        "def even(x): return x == 0 or odd(json.loads(x))\n"
        "def odd(x): return x != 0 and even(x - 1)\n"
        "func = lambda x: [re.escape(y) for y in map(even, x)]\n"
        "class Class:\n    def __call__(self): pass",
        vars(main),
    )
    assert _stdlib.wanted(main.func) == {"json", "re"}
    assert _stdlib.wanted(main.even) == {"json"}
    assert _stdlib.wanted(main.Class()) == set()


def test_what_its_module_uses_is_looked_through(module, monkeypatch):
    sources = {"c": "import json\ndef f(): pass", "b": "from c import f", "a": "import b"}
    for name, source in sources.items():
        made = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, made)
        exec(source, vars(made))
    exec("import a\ndef func(x): pass", vars(module))
    assert _stdlib.wanted(module.func) == {"json"}


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (json.loads, {"json"}),
        (json.JSONDecoder().decode, {"json"}),
        (json.JSONEncoder, {"json"}),
        (len, set()),
        (str, set()),
        (str.upper, set()),
        ([].append, set()),
        (threading.Thread, set()),
    ],
)
def test_functions_of_the_standard_library(func, expected):
    assert _stdlib.wanted(func) == expected


def test_another_module_of_that_name_is_not_meant(module, monkeypatch):
    exec("import string\ndef func(x): pass", vars(module))
    assert _stdlib.wanted(module.func) == {"string"}
    spec = types.SimpleNamespace(origin="/home/somebody/string.py")
    monkeypatch.setattr("string.__spec__", spec)
    assert _stdlib.wanted(module.func) == set()


WORK = """
import sys
found = {name for name in ("json", "difflib", "random") if name in sys.modules}
import json, difflib
from own import mine
import random
def look(x):
    return sorted(found), mine
"""


def test_workers_find_them(program):
    (program.folder / "work.py").write_text(WORK, encoding="utf-8")
    (program.folder / "own.py").write_text("mine = 'mine'", encoding="utf-8")
    program.run("""
        import sys, work
        from parmap import parallel_map, run_in_process, spawn_each
        expected = ["difflib", "json"], "mine"
        assert run_in_process(work.look, 1) == expected
        assert spawn_each(work.look, range(3)) == [expected] * 3
        assert parallel_map(work.look, range(3)) == [expected] * 3
        """)


def test_a_server_that_cannot_import_one_goes_on():
    _stdlib.share(["no.such.module"])


def now(_):
    return threading.main_thread().native_id == threading.get_native_id(), logging.getLogger().name


def test_a_forked_worker_has_a_main_thread_of_its_own():
    assert _stdlib.wanted(now) >= _stdlib._PARTS["logging"]
    assert "logging" not in _stdlib.wanted(now)
    assert parmap.run_in_process(now, 1)[1] == "root"


SHADOWS = {
    "work": "from dataclasses import dataclass\nfrom copy import Node\ndef look(x): return Node",
    "copy": "Node, Error, copy, deepcopy = 'mine', None, None, None",
}


@pytest.mark.parametrize("place", ["", "tools"])
def test_what_a_harmless_module_imports_may_be_the_users(program, place):
    folder = program.folder / place
    folder.mkdir(exist_ok=True)
    for name, source in SHADOWS.items():
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    program.run(
        "from work import look\nfrom parmap import run_in_process\nassert run_in_process(look, 1) == 'mine'",
        env={"PYTHONPATH": str(folder)},
    )


def test_a_path_for_others_is_not_the_servers(program):
    """The program sets it for its children; the server, which is one, must not import from there."""
    (program.folder / "tools").mkdir()
    (program.folder / "tools" / "copy.py").write_text("raise SystemExit('not for us')", "utf-8")
    (program.folder / "work.py").write_text(
        "import copy, dataclasses\ndef look(x): return copy.copy([x])", "utf-8"
    )
    program.run("""
        import os
        os.environ["PYTHONPATH"] = "tools"
        from work import look
        from parmap import run_in_process
        assert run_in_process(look, 1) == [1]
        """)


def test_modules_of_other_kinds_are_not_looked_into(module, monkeypatch):
    bare = types.ModuleType("bare")
    del bare.__name__
    monkeypatch.setitem(sys.modules, "odd", Explosive())
    nowhere = eval("type('Nowhere', (), {})", {})  # which has no `__module__`
    exec("import json\ndef func(x): pass", vars(module))
    module.bare, module.nowhere, module.odd = bare, nowhere, type("Odd", (), {"__module__": "odd"})
    assert _stdlib.wanted(module.func) == {"json"}
