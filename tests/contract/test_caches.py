"""What functions keep is loaded once in each worker, wherever they are defined."""

from __future__ import annotations

import pytest

DEFINITIONS = """
import functools, os

FACTOR = 2

@functools.cache
def cache(name):
    print("loading", name)
    return FACTOR, len(name)

@functools.lru_cache(maxsize=4, typed=True)
def lru(name):
    print("loading", name)
    return FACTOR, len(name)

@functools.cache
def countdown(n):
    print("counting", n)
    return 0 if n == 0 else 1 + countdown(n - 1)

class Table:
    def __init__(self, name):
        self.name = name
    @functools.cached_property
    def rows(self):
        print("loading", self.name)
        return [FACTOR] * 3
    def look_up(self, n):
        return self.rows[n]
    @functools.lru_cache
    def method(self, n):
        print("method", n)
        return n

@functools.singledispatch
def load(n):
    raise TypeError
@load.register
@functools.cache
def _(n: int):
    print("loading int")
    return "int"
@load.register
@functools.cache
def _(n: str):
    print("loading str")
    return "str"

class Formatter:
    def __init__(self, prefix):
        self.prefix = prefix
    @functools.singledispatchmethod
    def show(self, value):
        return self.prefix + value
    @show.register
    def _(self, value: int):
        return self.prefix + "int"
    @functools.singledispatchmethod
    @classmethod
    def of(cls, value):
        return cls.__name__
    def both(self, value):
        return self.show(0), self.show("0"), self.of(value)

formatter = Formatter(">")
formatter.both(0)  # from Python 3.13 on it is noted on what the method was looked up
table = Table("table")

def by_cache(n): return cache("cache")
def by_lru(n): return lru("lru")
def by_recursion(n): return countdown(2)
def by_property(n): return table.look_up(n)
by_method = Table("bound").look_up
def by_cached_method(n): return table.method(0)
def by_dispatch(n): return load(0), load("0")
by_method_that_dispatches = formatter.show
by_dispatching_in_a_method = formatter.both
partial = functools.partial(lambda name, n: cache(name), "partial")

calls = {by_cache: (2, 5), by_lru: (2, 3), by_recursion: 2, by_property: 2, by_method: 2,
         by_cached_method: 0, by_dispatch: ("int", "str"),
         by_method_that_dispatches: ">int", by_dispatching_in_a_method: (">int", ">0", "Formatter"),
         partial: (2, 7)}
"""

TWICE = """
from parmap import Pool, parallel_map
pool = Pool(1)
for round in range(2):
    print("round", round)
    for func, result in calls.items():
        assert parallel_map(func, [0, 1], executor=pool, chunksize=1) == [result] * 2, func
pool.shutdown()
"""

ONCE = """round 0
loading cache
loading lru
counting 2
counting 1
counting 0
loading table
loading bound
method 0
loading int
loading str
loading partial
round 1
"""

NOTEBOOK = """
import linecache, sys
def run(number, cell):
    name = f"<ipython-input-{{number}}-abc>"
    linecache.cache[name] = len(cell), None, cell.splitlines(True), name
    exec(compile(cell, name, "exec"), sys.modules["__main__"].__dict__)
for number, cell in enumerate({cells!r}, 1):
    run(number, cell)
"""


@pytest.mark.parametrize("home", ["script", "-c", "stdin", "notebook", "module"])
def test_loaded_once_in_two_successive_calls(program, home):
    how, source = home, DEFINITIONS + TWICE
    if home == "notebook":
        how, source = "stdin", NOTEBOOK.format(cells=[DEFINITIONS, TWICE])
    elif home == "module":
        how, source = "script", "from beside import calls\n" + TWICE
        (program.folder / "beside.py").write_text(DEFINITIONS)
    assert program.run(source, how=how) == ONCE


def test_loaded_once_for_all_functions_that_use_it(program):
    source = """
        import functools
        from parmap import Pool, parallel_map
        N = 1
        @functools.cache
        def load(name):
            print("loading", name, N)
            return len(name)
        class C:
            @functools.cache
            @staticmethod
            def load(name):
                print("loading in a class", name)
                return len(name)
        def one(x): return load("abc") + x
        def other(x): return load("abc") * x
        with Pool(1) as pool:
            for _ in range(2):
                assert parallel_map(one, [1, 2], executor=pool) == [4, 5]
                assert parallel_map(other, [1, 2], executor=pool) == [3, 6]
                assert parallel_map(lambda x: load("abc") - x, [1], executor=pool) == [2]
                assert pool.submit(one, 1).result() == 4
                assert parallel_map(lambda x: C.load("c") + x, [1], executor=pool) == [2]
                assert parallel_map(lambda x: C.load("c") - x, [1], executor=pool) == [0]
        """
    assert program.run(source) == "loading abc 1\nloading in a class c\n"


def test_loaded_anew_when_the_loader_has_changed(program):
    source = """
        import functools
        from parmap import Pool, parallel_map
        N = 1
        def define():
            @functools.cache
            def load():
                print("loading", N)
                return N
            globals()["load"] = load
        def use(x): return load() + x
        with Pool(1) as pool:
            for N in (1, 2):
                for _ in range(2):
                    define()  # as when a cell is run again
                    assert parallel_map(use, [0], executor=pool) == [N]
            @functools.cache
            def load():
                print("loading something else")
                return 7
            assert parallel_map(use, [0], executor=pool) == [7]
        """
    assert program.run(source) == "loading 1\nloading 2\nloading something else\n"


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_a_cached_function_that_mentions_a_lock(program, method):
    source = f"""
        import functools, multiprocessing
        from parmap import run_in_process
        lock = multiprocessing.get_context({method!r}).Lock()
        @functools.cache
        def func(x):
            with lock:
                return x + 1
        assert run_in_process(func, 1, start_method={method!r}) == 2
        """
    program.run(source)
