"""Programs without a main guard, however they are started."""

from __future__ import annotations

import importlib.util
import sys

import pytest

HOWS = ("script", "-c", "-m", "stdin")

PROGRAM = """
import dataclasses, enum, functools, sys
from parmap import Pool, parallel_imap, parallel_map, parallel_starmap, run_in_process, spawn_each

print("started")
FACTOR = 3
table = {1: "one"}

class MyError(Exception):
    def __init__(self, code, *, where):
        super().__init__(code)
        self.where = where

@dataclasses.dataclass
class Item:
    x: int
    def double(self):
        return Item(self.x * 2)

class Colour(enum.Enum):
    RED = 1

def square(x):
    return x * x

def uses_globals(x):
    return square(x) * FACTOR, table.get(x)

def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

def is_even(n): return n == 0 or is_odd(n - 1)
def is_odd(n): return n != 0 and is_even(n - 1)

@functools.cache
def cached(x):
    return x + 1

@functools.lru_cache(maxsize=4)
def lru(x):
    return fib(x)

@functools.singledispatch
def dispatch(x):
    return "object"
@dispatch.register
def _(x: int):
    return "int"
@dispatch.register
def _(x: Item):
    return "Item"

def decorated(func):
    @functools.wraps(func)
    def wrapper(*args):
        return "d", func(*args)
    return wrapper

@decorated
def with_decorator(x):
    return x

def adder(n):
    return lambda x: x + n

class Callable:
    def __init__(self, n): self.n = n
    def __call__(self, x): return x * self.n
    @classmethod
    def made(cls, x): return cls(x).n
    @staticmethod
    def static(x): return -x

def default(x, y=[1], *, z=square):
    return x, y, z(x)

def annotated(x: Item) -> "Colour":
    return Colour.RED

def fail(x):
    if x == 2:
        raise MyError(x, where="there")
    return x

def gen_inside(x):
    return sum(y * FACTOR for y in range(x))

def makes_local(x):
    class Local(Item):
        pass
    return isinstance(Local(x), Item)

def check(executor=None):
    mapped = functools.partial(parallel_map, executor=executor)
    assert mapped(square, range(5)) == [0, 1, 4, 9, 16]
    assert mapped(lambda x: square(x) + FACTOR, [1, 2]) == [4, 7]
    assert mapped(uses_globals, [1, 2]) == [(3, "one"), (12, None)]
    assert mapped(fib, range(10)) == [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]
    assert mapped(is_even, [4, 5]) == [True, False]
    assert mapped(cached, [1, 2, 1]) == [2, 3, 2]
    assert mapped(lru, [1, 9]) == [1, 34]
    assert mapped(dispatch, [1, "a", Item(1)]) == ["int", "object", "Item"]
    assert mapped(with_decorator, [1]) == [("d", 1)]
    assert mapped(adder(5), [1, 2]) == [6, 7]
    assert mapped(Callable(3), [1, 2]) == [3, 6]
    assert mapped(Callable.made, [4]) == [4]
    assert mapped(Callable.static, [4]) == [-4]
    assert mapped(Callable(7).__call__, [1]) == [7]
    assert mapped(default, [3]) == [(3, [1], 9)]
    assert mapped(gen_inside, [4]) == [18]
    assert mapped(makes_local, [4]) == [True]
    assert mapped(functools.partial(default, y=Item(2)), [3]) == [(3, Item(2), 9)]
    items = mapped(Item.double, [Item(1), Item(2)])
    assert items == [Item(2), Item(4)] and all(type(item) is Item for item in items)
    assert mapped(annotated, [Item(1)]) == [Colour.RED]
    assert mapped(annotated, [Item(1)])[0] is Colour.RED
    assert mapped(type, [Item(1)]) == [Item]
    assert mapped(isinstance, [Item(1), 2], [Item, Item]) == [True, False]
    try:
        mapped(fail, range(5))
    except MyError as error:
        assert (error.args, error.where, error.parmap_index) == ((2,), "there", 2)
    else:
        raise AssertionError
    assert list(parallel_imap(square, range(4), executor=executor)) == [0, 1, 4, 9]
    assert parallel_starmap(pow, [(2, 3)], executor=executor) == [8]

check(EXECUTOR)
assert run_in_process(uses_globals, 1) == (3, "one")
assert spawn_each(Item.double, [Item(1), Item(3)]) == [Item(2), Item(6)]
print("ended")
"""


@pytest.mark.parametrize("how", HOWS)
def test_ways_to_start(program, how):
    assert program.run(PROGRAM.replace("EXECUTOR", "None"), how=how) == "started\nended\n"


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_start_methods(program, method):
    source = PROGRAM.replace("EXECUTOR", f"Pool(2, start_method={method!r})")
    assert program.run(source) == "started\nended\n"


@pytest.mark.parametrize(
    "flags", [["-X", "dev", "-W", "error"], ["-O", "-W", "error"], ["-W", "error", "-I"]]
)
def test_flags(program, flags):
    assert program.run(PROGRAM.replace("EXECUTOR", "None"), flags=flags) == "started\nended\n"


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
@pytest.mark.parametrize("how", ["script", "stdin"])
def test_fresh_processes(program, method, how):
    source = f"""
        from parmap import run_in_process, spawn_each
        print("started")
        class Item:
            def __init__(self, x): self.x = x
        def get(item, more=0): return item.x + more
        assert run_in_process(get, Item(3), start_method={method!r}) == 3
        assert spawn_each(get, [Item(1), Item(2)], [1, 1], start_method={method!r}) == [2, 3]
        """
    assert program.run(source, how=how) == "started\n"


@pytest.mark.parametrize("method", [None, "spawn", "fork"])
@pytest.mark.parametrize("how", HOWS)
def test_objects_of_multiprocessing(program, method, how):
    source = f"""
        import multiprocessing
        from parmap import run_in_process, spawn_each
        print("started")
        class Item:
            pass
        context = multiprocessing.get_context({method!r})
        queue, lock, event = context.Queue(), context.Lock(), context.Event()
        value = context.Value("i", 0)
        here, there = context.Pipe()
        def put(queue, lock, event, value, pipe, item):
            with lock:
                value.value += 1
            pipe.send("through the pipe")
            event.set()
            queue.put(type(item).__name__)
            return "done"
        answer = run_in_process(put, queue, lock, event, value, there, Item(), start_method={method!r})
        assert answer == "done"
        assert queue.get(timeout=10) == "Item"
        assert here.recv() == "through the pipe"
        assert event.is_set() and value.value == 1
        def add(n):
            with value.get_lock():
                value.value += n
        spawn_each(add, [1, 2, 3], start_method={method!r})
        assert value.value == 7
        queue.close(); queue.join_thread(); here.close(); there.close()
        """
    flags = ["-W", "error"]
    assert program.run(source, how=how, flags=flags) == "started\n"


def test_caches_stay_in_the_worker(program):
    source = """
        import functools, os
        from parmap import parallel_map
        @functools.cache
        def load():
            print("loading")
            return os.getpid()
        def work(x):
            return load()
        for _ in range(5):
            assert len(set(parallel_map(work, range(20), max_workers=1))) == 1
        """
    assert program.run(source) == "loading\n"


def test_redefined_functions(program):
    source = """
        from parmap import parallel_map
        results = []
        for n in range(3):
            def func(x):
                return x + n
            results += parallel_map(func, [10])
        def func(x): return "new"
        results += parallel_map(func, [10])
        assert results == [10, 11, 12, "new"], results
        """
    program.run(source)


def test_globals_of_each_call(program):
    source = """
        from parmap import parallel_map
        n = 1
        def func(x): return x + n
        assert parallel_map(func, [1]) == [2]
        n = 5
        assert parallel_map(func, [1]) == [6]
        """
    program.run(source)


def test_exceptions_without_being_caught(program):
    source = """
        from parmap import parallel_map
        def fail(x):
            raise ValueError("seen")
        parallel_map(fail, [1])
        """
    program.run(source, fails=True)
    assert program.returncode == 1
    assert "ValueError: seen" in program.stderr
    assert 'raise ValueError("seen")' in program.stderr
    assert "parmap: item 0 of parallel_map(fail)" in program.stderr


def test_exit_codes(program):
    program.run("import sys, parmap\nparmap.parallel_map(abs, [1])\nsys.exit(3)", fails=True)
    assert (program.returncode, program.stderr) == (3, "")
    program.run("import sys, parmap\nparmap.parallel_map(sys.exit, [3])", fails=True)
    assert program.returncode == 3


def test_an_abandoned_iterator_at_exit(program):
    source = """
        import itertools, time
        from parmap import parallel_imap
        def work(x):
            if x > 3: time.sleep(60)
            return x
        results = parallel_imap(work, itertools.count(), max_workers=2)
        print(next(results))
        """
    assert program.run(source, timeout=25) == "0\n"


def test_atexit_handlers_of_workers_run(program):
    source = """
        import atexit
        from parmap import parallel_map
        def work(x):
            atexit.register(print, "bye")
            return x
        parallel_map(work, [1], max_workers=1)
        """
    assert program.run(source) == "bye\n"


def test_a_module_beside_the_script(program):
    (program.folder / "beside.py").write_text("def twice(x):\n    return 2 * x\n")
    source = """
        import beside
        from parmap import parallel_map
        print(parallel_map(beside.twice, [1, 2]))
        """
    for how in HOWS:
        assert program.run(source, how=how) == "[2, 4]\n"


def test_nested_calls(program):
    source = """
        import os
        from parmap import parallel_map, run_in_process
        def inner(x): return os.getpid()
        def outer(x):
            return os.getpid(), parallel_map(inner, [1, 2]), parallel_map(inner, [1, 2], max_workers=1)
        for pid, serial, worker in parallel_map(outer, [1, 2, 3]):
            assert set(serial) == {pid}
            assert len(set(worker)) == 1 and pid not in worker
        def alone(): return len(set(parallel_map(inner, [1, 2])) - {os.getpid()})
        assert run_in_process(alone) >= 1
        """
    program.run(source)


@pytest.fixture
def package(program):
    """A package `outer` with a module `near`, and one within it, `outer.inner`."""
    inner = program.folder / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner.parent / "__init__.py").write_text("")
    (inner / "__init__.py").write_text(
        """
def made():
    def local(x):
        from . import near
        return x + near.N
    return local
"""
    )
    (inner.parent / "near.py").write_text("N = 10\n")
    (inner / "near.py").write_text("N = 20\n")
    return inner.parent


RELATIVE = """
from parmap import Pool, parallel_map, run_in_process, spawn_each
from .near import N
class Item:
    def __init__(self, x): self.x = x
    def plus(self):
        from . import near
        return self.x + near.N
def func(x):
    from .near import N as again
    from .inner.made_here import M
    return x + again + M
def nested(x):
    return parallel_map(func, [x], max_workers=1)
def told(x):
    return __package__, __file__, __name__
for executor in (None, *(Pool(1, start_method=m) for m in ("forkserver", "spawn", "fork"))):
    assert parallel_map(func, [1, 2], executor=executor) == [111, 112]
    assert parallel_map(lambda x: x + func(x), [1], executor=executor) == [112]
    assert parallel_map(Item.plus, [Item(1)], executor=executor) == [11]
    assert parallel_map(told, [1], executor=executor) == [told(1)]
assert parallel_map(nested, [1, 2]) == [[111], [112]]
assert run_in_process(func, 1) == 111 and spawn_each(Item.plus, [Item(2)]) == [12]
assert run_in_process(nested, 1) == [111]
from .inner import made
assert parallel_map(made(), [1]) == [21]
print(__name__)
"""


@pytest.mark.parametrize("name", ["__main__", "module"])
def test_relative_imports_in_functions(program, package, name):
    (package / f"{name}.py").write_text(RELATIVE)
    (package / "inner" / "made_here.py").write_text("M = 100\n")
    source = f"""
        import runpy, sys
        sys.argv = ["python"]
        runpy.run_module("outer{"" if name == "__main__" else ".module"}", run_name="__main__", alter_sys=True)
        """
    assert program.run(source, how="-c") == "__main__\n"
    name = "outer" if name == "__main__" else "outer.module"
    assert program.run_module(name) == "__main__\n"


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="imports ask `__spec__` alone")
def test_a_script_that_says_what_its_package_is(program, package):
    source = """
        import sys
        __package__ = "outer"
        from parmap import parallel_map
        def func(x):
            from .near import N
            return x + N, __package__, __file__ == sys.argv[0]
        print(parallel_map(func, [1]))
        """
    # Without the flag: from Python 3.13 on, to say it without a `__spec__` warns.
    assert program.run(source, flags=()) == "[(11, 'outer', True)]\n"


def test_what_each_process_has_one_of(program):
    source = """
        import functools, os, random, sys, warnings
        from os import environ, environb
        from random import choice, random as draw
        from sys import argv, modules, path, stderr, stdout
        from parmap import parallel_map
        get = environ.get
        def same(x):
            return (
                environ is os.environ, environb is os.environb, argv is sys.argv, modules is sys.modules,
                path is sys.path, stderr is sys.stderr, stdout is sys.stdout, draw.__self__ is random._inst,
            )
        class Item:
            def same(self): return same(self)
        def default(x, given=os.environ): return given is os.environ
        def enclosed(given): return lambda x: given is os.environ
        def change(x):
            environ["CHANGED"] = "yes"
            return os.getenv("CHANGED"), get("CHANGED"), get("PARMAP_WORKER") == os.environ["PARMAP_WORKER"]
        held = enclosed(environ)
        for _ in range(2):
            assert set(parallel_map(same, [1, 2])) == {(True,) * 8}
            assert parallel_map(Item.same, [Item()]) == [(True,) * 8]
            assert parallel_map(default, [1]) == parallel_map(held, [1]) == [True]
            assert parallel_map(change, [1]) == [("yes", "yes", True)]
        # As a result it is a copy: what the caller has is another one.
        assert parallel_map(lambda x: environ, [1])[0]["PARMAP_WORKER"].isdigit()
        stdout.flush()
        parallel_map(stdout.write, ["written"])
        """
    assert program.run(source) == "written"


@pytest.mark.parametrize("module", ["random", "numpy.random"])
def test_workers_draw_numbers_of_their_own(program, module):
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        pytest.skip("not installed")
    source = f"""
        import functools, time
        import {module} as module
        from {module} import random as draw, uniform
        from parmap import Pool, parallel_map
        def slowly(x):
            time.sleep(0.05)
            return draw()
        with Pool(2) as pool:
            drawn = parallel_map(slowly, range(4), executor=pool)
            drawn += parallel_map(lambda x: module.random(), range(4), executor=pool, chunksize=1)
        for _ in range(2):  # each in a fresh worker
            with Pool(1) as pool:
                drawn += parallel_map(uniform, [0], [1], executor=pool)
                drawn += parallel_map(functools.partial(uniform, 0), [1], executor=pool)
        assert len(set(drawn)) == 12, drawn
        own = __import__("random").Random(3)
        assert parallel_map(lambda x: own.random(), [1]) == parallel_map(own.uniform, [0], [1])
        """
    program.run(source, flags=())


def test_submodules_that_only_an_attribute_names(program):
    source = """
        import xml.etree.ElementTree, decimal
        from parmap import parallel_map
        class Item: pass
        def simple(x): return xml.etree.ElementTree.fromstring(x).tag
        def with_a_class(x): return Item and xml.etree.ElementTree.fromstring(x).tag
        assert parallel_map(with_a_class, ["<a/>"]) == parallel_map(simple, ["<a/>"]) == ["a"]
        """
    program.run(source)


FINDS_ITSELF = """
from __future__ import annotations
import copy, dataclasses, enum, inspect, pickle, shelve, sys, typing
from parmap import Pool, parallel_map, run_in_process
print("started")
@dataclasses.dataclass
class Inner: x: int
@dataclasses.dataclass
class Outer: inner: Inner | None
class Colour(enum.Enum): RED = 1
class Singleton:
    made = None
    def __reduce__(self): return single, ()
def single():
    Singleton.made = Singleton.made or Singleton()
    return Singleton.made
def again(x): return pickle.loads(pickle.dumps(x))
def keeps(x):
    with shelve.open(f"shelf-{x}") as shelf:
        shelf["it"] = Outer(Inner(x))
        return shelf["it"]
def hints(cls): return typing.get_type_hints(cls)
def itself(x): return again(itself) is itself and again(Outer) is Outer and again(Colour.RED) is Colour.RED
def one(x): return again(single()) is single() is Singleton.made
def named(x): return sys.modules["__main__"].__file__ == __file__ and sys.modules["__main__"].named is named
def text(x): return inspect.getsource(Inner), inspect.getsource(text)
def nested(x): return parallel_map(again, [Outer(Inner(x))], max_workers=1)
for executor in (None, Pool(1), Pool(1, start_method="spawn")):
    def run(func, x): return parallel_map(func, [x], executor=executor)[0]
    assert run(again, Outer(Inner(1))) == Outer(Inner(1))
    assert type(run(again, [Outer(Inner(1))])[0].inner) is Inner
    assert run(lambda x: again(Outer(x)), Inner(1)) == Outer(Inner(1))
    assert run(again, Colour.RED) is Colour.RED
    assert run(again, Outer) is Outer
    assert run(keeps, 1) == Outer(Inner(1))
    assert run(hints, Outer) == hints(Outer)
    assert run(itself, 1) and run(one, 1) and run(named, 1)
    assert run(text, 1) == text(1)
    assert run(nested, 1) == [Outer(Inner(1))]
assert run_in_process(nested, 2) == [Outer(Inner(2))]
# Defined anew, as in a notebook.
@dataclasses.dataclass
class Inner: y: int
assert parallel_map(again, [Inner(3)]) == [Inner(3)] and parallel_map(keeps, [4]) == [Outer(Inner(4))]
"""


def test_what_is_of_main_is_found_there(program):
    assert program.run(FINDS_ITSELF) == "started\n"


NESTED_PROCESSES = """
import concurrent.futures, multiprocessing, sys
from parmap import Pool, parallel_map, run_in_process
print("started", flush=True)
class Item:
    def __init__(self, x): self.x = x
def get(item): return item.x
def put(queue, item): queue.put(item.x)
def check(method):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        found = [pool.submit(get, Item(1)).result(30), *pool.map(get, [Item(2)])]
    with context.Pool(1) as pool:
        found += pool.map(get, [Item(3)])
    queue = context.SimpleQueue()
    process = context.Process(target=put, args=(queue, Item(4)))
    process.start()
    found.append(queue.get())
    process.join()
    return found
"""


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
@pytest.mark.parametrize("how", ["script", "-m"])
def test_processes_that_a_function_starts_never_run_the_program(program, how, method):
    source = f"""{NESTED_PROCESSES}
for call in (lambda func: parallel_map(func, [{method!r}])[0], lambda func: run_in_process(func, {method!r})):
    assert call(check) == [1, 2, 3, 4]
with Pool(1, start_method="fork") as pool:
    assert pool.submit(check, {method!r}).result() == [1, 2, 3, 4]
"""
    assert program.run(source, how=how, flags=()) == "started\n"
