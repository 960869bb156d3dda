"""What of `__main__` cannot travel is named, with the path to it and the way out."""

from __future__ import annotations

import threading

import pytest

from parmap import Pool, SerializationError

PROGRAM = """
import contextvars, functools, socket, sqlite3, sys, tempfile, threading
from parmap import Pool, SerializationError, parallel_imap, parallel_map, run_in_process, spawn_each

lock = threading.Lock()
connection = sqlite3.connect(":memory:")
file = tempfile.TemporaryFile()
variable = contextvars.ContextVar("variable", default=0)
sock = socket.socket()
numbers = (n for n in range(3))
condition = {"nested": [lock]}

def mentions(name):
    def func(x): pass
    exec(f"def func(x): return {name}", globals(), space := {})
    func = space["func"]
    globals()["func"] = func
    return func

OUTS = {
    "lock": ("_thread.lock", "create it inside the function"),
    "connection": ("sqlite3.Connection", "open it inside the function"),
    "file": ("_io.BufferedRandom", "open it inside the function"),
    "variable": ("_contextvars.ContextVar", "read it in the caller and pass its value"),
    "sock": ("socket.socket", "open it inside the function"),
    "numbers": ("generator", "pass a list"),
}

def check(kind, way_out, path, call):
    try:
        call()
    except SerializationError as error:
        message = str(error)
        assert message.startswith(f"{kind} object ({path})"), message
        assert "cannot be sent to another process" in message
        assert way_out in message, message
    else:
        raise AssertionError(path)

pool = Pool(1)
calls = {
    "parallel_map": lambda func: parallel_map(func, [1]),
    "parallel_imap": lambda func: list(parallel_imap(func, [1])),
    "in a pool": lambda func: parallel_map(func, [1], executor=pool),
    "submit": lambda func: pool.submit(func, 1).result(),
    "run_in_process": lambda func: run_in_process(func, 1),
    "spawn_each": lambda func: spawn_each(func, [1]),
}
for name, (kind, way_out) in OUTS.items():
    for call in calls.values():
        check(kind, way_out, f"global `{name}` used by func()", lambda: call(mentions(name)))

def helper(x):
    return lock
def through_a_helper(x): return helper(x)
def in_a_comprehension(x): return [lock for _ in "a"]
def in_a_lambda(x): return (lambda: lock)()
def in_a_container(x): return condition
def by_default(x, y=lock): return y
def by_keyword(x, *, y=lock): return y
def late(x): return not_yet, lock
if len(sys.argv) > 9: not_yet = 1
@functools.cache
def cached(x): return lock
@functools.singledispatch
def dispatched(x): pass
@dispatched.register
def for_int(x: int): return lock
class Class:
    def method(self, x): return lock
    @classmethod
    def of_class(cls, x): return lock
    @staticmethod
    def static(x): return lock
class Held:
    at = lock
def uses_class(x): return Held.at

for path, func in {
    "global `helper` used by through_a_helper(), global `lock` used by helper()": through_a_helper,
    "global `lock` used by in_a_comprehension()": in_a_comprehension,
    "global `lock` used by in_a_lambda()": in_a_lambda,
    "global `condition` used by in_a_container(), value of key 'nested', element 0": in_a_container,
    "a default of by_default()": by_default,
    "a default of by_keyword()": by_keyword,
    "global `lock` used by late()": late,
    "the function of _lru_cache_wrapper, global `lock` used by cached()": cached,
    "dispatched() for int, global `lock` used by for_int()": dispatched,
    "the object of method(), the class Class, method() of Class, global `lock` used by method()":
        Class().method,
    "the object of of_class(), method() of Class, global `lock` used by method()": Class.of_class,
    "global `lock` used by static()": Class.static,
    "global `Held` used by uses_class(), attribute `at` of Held": uses_class,
    "the function of a partial, global `lock` used by helper()": functools.partial(helper, 1),
}.items():
    check("_thread.lock", "create it inside the function", path, lambda: parallel_map(func, [1]))
print("ended")
sock.close(); connection.close(); file.close(); pool.shutdown()
"""


@pytest.mark.parametrize("how", ["script", "stdin"])
def test_what_main_mentions_and_cannot_travel(program, how):
    assert program.run(PROGRAM, how=how) == "ended\n"


def test_a_class_that_cannot_be_carried(program):
    assert "put the class into a module" in program.run("""
        import ctypes
        from parmap import SerializationError, parallel_map
        class Point(ctypes.Structure):
            _fields_ = [("x", ctypes.c_int)]
        try:
            parallel_map(lambda x: Point(x).x, [1])
        except SerializationError as error:
            print(error)
        """)


@pytest.mark.parametrize(
    ("args", "kwargs", "path"),
    [
        ((1, threading.Lock()), {}, "argument 1"),
        (([0, threading.Lock()],), {}, "argument 0, element 1"),
        ((), {"key": threading.Lock()}, "argument `key`"),
    ],
    ids=["argument", "within", "keyword"],
)
def test_what_of_a_submitted_task_cannot_travel(args, kwargs, path):
    with Pool(1) as pool, pytest.raises(SerializationError) as caught:
        pool.submit(print, *args, **kwargs).result()
    assert f"_thread.lock object ({path}) in the task" in str(caught.value)
