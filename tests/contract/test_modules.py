"""A module that was loaded anew between two calls is new in the workers."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import types
import unittest.mock

import pytest

from parmap import (
    Pool,
    SerializationError,
    parallel_imap,
    parallel_map,
    run_in_process,
    spawn_each,
)


class Module:
    """A module of the program, whose source a test edits."""

    def __init__(self, folder, name) -> None:
        self.name = name
        self._path = folder / f"{name}.py"
        self._edits = 0

    def edit(self, source):
        """Write it; of another length each time, so that no cached bytecode is taken for it."""
        self._edits += 1
        self._path.write_text(f"{source}\n{'#' * self._edits}\n")
        importlib.invalidate_caches()
        return self

    def load(self):
        return importlib.import_module(self.name)

    def reload(self):
        return importlib.reload(sys.modules[self.name])

    def load_again(self):
        del sys.modules[self.name]
        return self.load()


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """Makes modules that can be imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def make(source):
        name = f"edited_{abs(hash(request.node.nodeid)):x}_{len(made)}"
        made.append(name)
        return Module(tmp_path, name).edit(source)

    yield make
    for name in made:
        sys.modules.pop(name, None)


def calls(pool):
    """All that can run a function in a worker that lives on, or in a new one."""
    return {
        "map": lambda func: parallel_map(func, [0, 1])[1],
        "imap": lambda func: list(parallel_imap(func, [0, 1]))[1],
        "pool": lambda func: parallel_map(func, [0, 1], executor=pool)[1],
        "submit": lambda func: pool.submit(func, 1).result(timeout=30),
        "run_in_process": lambda func: run_in_process(func, 1),
        "spawn_each": lambda func: spawn_each(func, [0, 1])[1],
    }


@pytest.mark.parametrize("again", ["reload", "load_again"])
@pytest.mark.parametrize("call", calls(None))
def test_an_edited_module(module, call, again):
    helper = module("def func(x): return 'old', x")
    with Pool(1) as pool:
        run = calls(pool)[call]
        assert run(helper.load().func) == ("old", 1)
        helper.edit("def func(x): return 'new', x")
        assert run(getattr(helper, again)().func) == ("new", 1)


@pytest.fixture
def _notebook(monkeypatch):
    """IPython's extension that patches modules in place is loaded, by its name."""
    for name in ("IPython", "IPython.extensions.autoreload"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))


@pytest.mark.usefixtures("_notebook")
@pytest.mark.parametrize("call", calls(None))
def test_a_module_that_a_notebook_patches(module, call):
    """As the extension does it: module and `__spec__` stay, and so does the function."""
    helper = module("def func(x): return inner(x)\ndef inner(x): return 'old', x")
    func = helper.load().func
    with Pool(1) as pool:
        run = calls(pool)[call]
        assert run(func) == ("old", 1)
        pids = parallel_map(pid, [0], executor=pool)
        assert parallel_map(pid, [0], executor=pool) == pids  # they stay where nothing has changed
        helper.edit("def func(x): return inner(x)\ndef inner(x): return 'new', x")
        func.__globals__["inner"].__code__ = (lambda x: ("new", x)).__code__
        assert run(func) == ("new", 1)


@pytest.mark.usefixtures("_notebook")
def test_where_a_notebook_patches_modules_some_are_none(module, monkeypatch, tmp_path):
    helper = module("def func(x): return x")
    func = helper.load().func
    with Pool(1) as pool:
        pids = parallel_map(pid, [0], executor=pool)
        assert parallel_map(func, [1], executor=pool) == [1]
        path = tmp_path / f"{helper.name}.py"
        path.rename(tmp_path / "away")  # as some editors do it for a moment
        assert parallel_map(pid, [0], executor=pool) == pids
        (tmp_path / "away").rename(path)
        assert parallel_map(pid, [0], executor=pool) == pids
    for stand_in in (types.SimpleNamespace(), unittest.mock.MagicMock()):
        monkeypatch.setitem(sys.modules, helper.name, stand_in)
        assert parallel_map(abs, [-1]) == [1]
        monkeypatch.setitem(sys.modules, "another", types.ModuleType("another"))
        assert parallel_map(abs, [-1]) == [1]
        monkeypatch.delitem(sys.modules, "another")


def pid(_):
    return os.getpid()


def test_a_function_whose_name_another_has_taken(module):
    helper = module("factor = 2\ndef func(x): return factor * x")
    loaded = helper.load()
    first = loaded.func
    assert parallel_map(first, [1, 2]) == [2, 4]  # by its name
    loaded.func = abs
    loaded.factor = 3  # which only a function that goes by value takes along
    assert parallel_map(first, [1, 2]) == [3, 6]
    loaded.func = first
    assert parallel_map(first, [1, 2]) == [2, 4]


def test_a_function_whose_module_cannot_be_asked(monkeypatch):
    def nothing_to_be_had(name):
        raise ImportError(name)

    odd = types.ModuleType("an_odd_module")
    odd.__getattr__ = nothing_to_be_had
    monkeypatch.setitem(sys.modules, odd.__name__, odd)
    space = {"__name__": odd.__name__}
    exec("def gone(x): return x", space)
    with pytest.raises(SerializationError):
        parallel_map(space["gone"], [1])


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_an_edited_module_under_each_start_method(module, method):
    helper = module("def func(x): return 'old', x")
    func = helper.load().func
    with Pool(2, start_method=method) as pool:
        assert parallel_map(func, [0, 1], executor=pool) == [("old", 0), ("old", 1)]
        helper.edit("def func(x): return 'new', x")
        func = helper.reload().func
        assert parallel_map(func, [0, 1], executor=pool) == [("new", 0), ("new", 1)]


def test_an_edited_module_that_the_server_has_loaded(module, monkeypatch, tmp_path):
    # The server is started with the variable, and finds the module by it.
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    helper = module("def func(x): return 'old', x")
    with Pool(1, preload=[helper.name]) as pool:
        assert pool.submit(is_loaded, helper.name).result(timeout=30)
        assert parallel_map(helper.load().func, [1], executor=pool) == [("old", 1)]
        helper.edit("def func(x): return 'new', x")
        assert parallel_map(helper.reload().func, [1], executor=pool) == [("new", 1)]
        assert pool.submit(is_loaded, helper.name).result(timeout=30)


def is_loaded(name):
    return name in sys.modules


@pytest.mark.parametrize("again", ["reload", "load_again"])
def test_a_module_that_the_functions_module_imports(module, again):
    inner = module("def func(x): return 'old', x")
    outer = module(f"import {inner.name}\ndef func(x): return {inner.name}.func(x)")
    assert parallel_map(outer.load().func, [1]) == [("old", 1)]
    inner.edit("def func(x): return 'new', x")
    getattr(inner, again)()
    assert parallel_map(outer.reload().func, [1]) == [("new", 1)]


def test_a_module_that_only_carried_things_come_from(module):
    helper = module("class C:\n    def __call__(self, x): return 'old', x")
    assert parallel_map(functools.partial(apply, helper.load().C()), [1]) == [("old", 1)]
    assert parallel_map(apply, [helper.load().C()], [2]) == [("old", 2)]
    helper.edit("class C:\n    def __call__(self, x): return 'new', x")
    changed = helper.reload().C()
    assert parallel_map(functools.partial(apply, changed), [1]) == [("new", 1)]
    assert parallel_map(apply, [changed], [2]) == [("new", 2)]


def apply(func, x):
    return func(x)


def test_what_a_module_has_cached_is_gone_with_it(module):
    source = """
        import functools, os
        @functools.cache
        def load(): return "{}", os.urandom(8)
        def func(x): return load()
    """.replace("\n        ", "\n")
    helper = module(source.format("old"))
    func = helper.load().func
    with Pool(1) as pool:
        first = parallel_map(func, range(5), executor=pool)
        assert parallel_map(func, range(5), executor=pool) == first == first[:1] * 5
        helper.edit(source.format("new"))
        func = helper.reload().func
        second = parallel_map(func, range(5), executor=pool)
        assert parallel_map(func, range(5), executor=pool) == second == second[:1] * 5
    assert (first[0][0], second[0][0]) == ("old", "new")


def who(_=None):
    return os.environ["PARMAP_WORKER"], os.getpid()


def test_only_what_was_loaded_anew_replaces_workers(module):
    helper = module("def func(x): return x")
    with Pool(1) as pool:
        first = pool.submit(who).result(timeout=30)
        helper.load()
        assert pool.submit(who).result(timeout=30) == first
        del sys.modules[helper.name]
        assert pool.submit(who).result(timeout=30) == first
        module("").load()
        assert pool.submit(who).result(timeout=30) == first
        helper.load()
        number, pid = pool.submit(who).result(timeout=30)
        assert number == first[0]
        assert pid != first[1]
        assert pool.submit(who).result(timeout=30) == (number, pid)


def test_a_warm_worker_keeps_what_the_caller_has_not_loaded_anew(module):
    helper = module("def func(x): return 'old', x")
    func = helper.load().func
    with Pool(1) as pool:
        assert parallel_map(func, [1], executor=pool) == [("old", 1)]
        helper.edit("def func(x): return 'new', x")
        assert parallel_map(func, [1], executor=pool) == [func(1)] == [("old", 1)]


def test_functions_from_before(module):
    helper = module("N = 'old'\ndef func(x): return N, x")
    old = helper.load().func
    assert parallel_map(old, [1]) == [("old", 1)]
    helper.edit("N = 'new'\ndef func(x): return 'the new function'")
    new = helper.reload().func
    # Both work on the one namespace of the module, here as there.
    assert parallel_map(old, [1]) == [old(1)] == [("new", 1)]
    assert parallel_map(new, [1]) == [new(1)]
    assert parallel_map(old, [1]) == [old(1)]


LAZY = """
lazy import json
lazy import xml.dom.minidom
lazy import not_there
lazy from string import ascii_lowercase as letters
from parmap import Pool, parallel_map, run_in_process

class Item:
    def __init__(self, x): self.x = x
def func(x):
    if x < 0: not_there.anything()
    return json.dumps(x), letters[:x], xml.dom.minidom.parseString("<a/>").documentElement.tagName
def by_class(item): return Item(item.x).x, func(item.x)
def start():
    global text
    text = json.dumps([1])
text = None
expected = ("2", "ab", "a")
assert parallel_map(func, [2]) == [expected]
assert parallel_map(lambda x: func(x), [2]) == [expected]
assert parallel_map(by_class, [Item(2)]) == [(2, expected)]
assert run_in_process(func, 2) == expected
with Pool(1, initializer=start) as pool:
    assert parallel_map(lambda x: text, [2], executor=pool) == ["[1]"]
"""


@pytest.mark.skipif(sys.version_info < (3, 15), reason="there are no lazy imports")
@pytest.mark.parametrize("flags", [(), ("-X", "lazy_imports=all")], ids=["", "all"])
def test_lazy_imports(program, flags):
    program.run(LAZY, flags=("-W", "error", *flags))


@pytest.mark.skipif(sys.version_info < (3, 14), reason="there are no such executors")
def test_interpreters_find_modules_where_the_program_does(program):
    (program.folder / "more").mkdir()
    (program.folder / "more" / "elsewhere.py").write_text("def func(x): return x + 1\n", "utf-8")
    program.run("""
        import os, sys
        from concurrent.futures import InterpreterPoolExecutor
        from parmap import SerializationError, parallel_map
        sys.path.insert(0, os.path.abspath("more"))
        import elsewhere
        assert parallel_map(elsewhere.func, [1, 2], executor="interpreter") == [2, 3]
        with InterpreterPoolExecutor(1, initializer=sys.path.clear) as pool:
            try:
                parallel_map(elsewhere.func, [1, 2], executor=pool)
            except SerializationError as error:
                assert "elsewhere" in str(error), error
            else:
                raise AssertionError("it was found")
        """)


STRAYS = """
import importlib.util, os, sys
from parmap import Pool, parallel_map, run_in_process
os.mkdir("later")

def check(func, value):
    for method in ("forkserver", "spawn", "fork"):
        with Pool(1, start_method=method) as pool:
            assert parallel_map(func, [1], executor=pool) == [value], (func, method)
    assert parallel_map(func, [1]) == [run_in_process(func, 1)] == [value], func

def nested(x):
    import away
    return run_in_process(away.func, x)

def finds(name):
    return importlib.util.find_spec(name) is not None

sys.path += ["relative", os.path.abspath("gone"), "first", "second"]
import away, beside, spaces.one, spaces.two, under.deep.module
assert parallel_map(beside.func, [1, 2]) == ["beside", "beside"]
os.chdir("later")
sys.path.remove(os.path.join(os.path.dirname(os.getcwd()), "gone"))
check(beside.func, "beside")
check(lambda x: beside.func(x), "beside")
check(away.func, "away")
check(nested, "away")
check(spaces.one.func, "one")
check(spaces.two.func, "two")
check(under.deep.module.func, "here")

spec = importlib.util.spec_from_file_location("named_by_me", "../files/some-file.py")
sys.modules["named_by_me"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
check(module.func, "some file")
check(module.Class(1).get, 1)

assert parallel_map(finds, ["not_imported", "beside"]) == [finds("not_imported"), True]
print("done")
"""


@pytest.mark.parametrize("how", ["-c", "stdin"])
def test_modules_that_a_worker_would_not_find(program, how):
    where = {
        "beside": "beside.py",
        "not imported": "not_imported.py",
        "away": "gone/away.py",
        "one": "first/spaces/one.py",
        "two": "second/spaces/two.py",
        "some file": "files/some-file.py",
    }
    for said, place in where.items():
        path = program.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"class Class:\n    def __init__(self, x): self.x = x\n    def get(self, x): return self.x\n"
            f"def func(x): return {said!r}\n"
        )
    deep = program.folder / "relative" / "under" / "deep"
    deep.mkdir(parents=True)
    (deep.parent / "__init__.py").write_text("")
    (deep / "__init__.py").write_text("said = 'here'\n")
    (deep / "module.py").write_text("from . import said\ndef func(x): return said\n")
    assert program.run(STRAYS, how=how, flags=()) == "done\n"


def test_modules_of_tests_that_pytest_imports_by_their_files(program):
    root = program.folder / "project"
    tests = root / "tests" / "some"
    tests.mkdir(parents=True)
    (tests / "test_it.py").write_text(
        "from parmap import parallel_map\n"
        "def func(x): return x + 1\n"
        "def test(): assert parallel_map(func, [1, 2]) == [2, 3]\n"
    )
    arguments = [
        "--import-mode=importlib",
        "-p",
        "no:cacheprovider",
        f"--rootdir={root}",
        str(root),
    ]
    source = f"import pytest, sys; sys.exit(pytest.main({arguments!r}))"
    assert "1 passed" in program.run(source, how="-c", flags=())
