"""Objects of `multiprocessing`: where they pass, and how they are refused where they cannot."""

from __future__ import annotations

import functools
import multiprocessing
import multiprocessing.connection
import os
import pickle
import types

import pytest

from parmap import Pool, SerializationError, parallel_imap, parallel_map, run_in_process, spawn_each

#: The standard library keeps the memory that it takes for the first shared value: no test has left it.
_first = multiprocessing.get_context("fork").Value("i", 0)

METHODS = ("forkserver", "spawn", "fork")


class Made:
    """One object of each kind, and what must be closed."""

    def __init__(self, method) -> None:
        context = multiprocessing.get_context(method)
        self.here, self.there = context.Pipe()
        self.queue, self.joinable = context.Queue(), context.JoinableQueue()
        self.simple = context.SimpleQueue()
        self.objects = {
            "Lock": context.Lock(),
            "RLock": context.RLock(),
            "Semaphore": context.Semaphore(2),
            "BoundedSemaphore": context.BoundedSemaphore(2),
            "Condition": context.Condition(),
            "Event": context.Event(),
            "Barrier": context.Barrier(2),
            "Queue": self.queue,
            "JoinableQueue": self.joinable,
            "SimpleQueue": self.simple,
            "Value": context.Value("i", 0),
            "Array": context.Array("d", 3),
            "a raw Value": context.Value("i", 0, lock=False),
            "a raw Array": context.Array("d", 3, lock=False),
            "Connection": self.there,
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for queue in (self.queue, self.joinable):
            queue.close()
            queue.join_thread()
            for end in (queue._reader, queue._writer):  # which stay open if nothing was put
                end.close()
        for one in (self.simple, self.here, self.there):
            one.close()


KINDS = (
    "Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier", "Queue",
    "JoinableQueue", "SimpleQueue", "Value", "Array", "a raw Value", "a raw Array", "Connection",
)  # fmt: skip


@pytest.fixture(scope="module")
def made():
    with Made("fork") as objects:  # whose semaphores have no names that could be left behind
        assert tuple(objects.objects) == KINDS
        yield objects.objects


def same(x, y=None):
    return x


class Holder:
    def __init__(self, held):
        self.held = held


NESTINGS = {
    "itself": (lambda one: one, ""),
    "in a tuple": (lambda one: (1, one), "element 1"),
    "in a dict in a list": (lambda one: [{"key": one}], "element 0, value of key 'key'"),
    "in an object": (Holder, "attribute `held` of Holder"),
}


def check(error, kind, made, path=""):
    """Whether an error says what cannot travel, where it sits and what to do."""
    message = str(error)
    assert type(error) is SerializationError
    assert isinstance(error, pickle.PicklingError)
    held = type(made[kind])
    assert message.startswith(f"{held.__module__}.{held.__qualname__} object"), message
    assert f"({path})" in message or not path, message
    assert "cannot be sent to another process" in message
    assert "run_in_process" in message
    assert "`initargs`" in message
    assert "`multiprocessing.Manager()`" in message


@pytest.mark.parametrize("kind", KINDS)
def test_refused_as_items(made, kind):
    one = made[kind]
    items = ["a", *(put(one) for put, _ in NESTINGS.values()), "b"]
    first, *errors, last = parallel_map(same, items, on_error="return")
    assert (first, last) == ("a", "b")
    for at, (error, (_, path)) in enumerate(zip(errors, NESTINGS.values(), strict=True), 1):
        check(error, kind, made, path)
        assert error.parmap_index == at
        assert error.__notes__ == [f"parmap: item {at} of parallel_map(same)"]


@pytest.mark.parametrize("kind", KINDS)
def test_refused_wherever_a_map_could_carry_them(made, kind):
    one = made[kind]
    with pytest.raises(SerializationError) as info:
        parallel_map(same, [1, 2], [3, one])
    check(info.value, kind, made, "element 1")
    assert info.value.parmap_index == 1
    with pytest.raises(SerializationError) as info:
        list(parallel_imap(same, iter([one])))
    check(info.value, kind, made)
    with pytest.raises(SerializationError) as info:
        parallel_map(functools.partial(same, y=one), [1])
    check(info.value, kind, made, "argument `y` of a partial")

    def func(x):
        return one

    with pytest.raises(SerializationError) as info:
        parallel_map(func, [1])
    check(info.value, kind, made, "variable `one` used by func()")


def test_refused_by_submit(made):
    with Pool(1) as pool:
        for kind in KINDS:
            error = pool.submit(same, made[kind]).exception(timeout=30)
            check(error, kind, made, "argument 0")


def make(kind):
    with Made("fork") as objects:
        return (1, objects.objects[kind])


def test_refused_as_results(made):
    *errors, last = parallel_map(make, [*KINDS, "Pool"], on_error="return", max_workers=1)
    for at, (kind, error) in enumerate(zip(KINDS, errors, strict=True)):
        check(error, kind, made, "element 1")
        assert error.parmap_index == at
    assert type(last) is KeyError


def test_text_about_them_passes():
    for text in ("multiprocessing.connection", b"multiprocessing.connection"):
        assert parallel_map(same, [[text]]) == [[text]]
    assert parallel_map(same, [(multiprocessing.connection.Connection,)]) == [
        (multiprocessing.connection.Connection,)
    ]


# --- where they pass ----------------------------------------------------------------------------------


def use(objects, pipe, put):
    """Do something with each that the other side can see."""
    with objects["Lock"], objects["RLock"], objects["Condition"]:
        objects["Value"].value += 1
        objects["a raw Value"].value += 2
        objects["Array"][1] += 3
        objects["a raw Array"][2] += 4
    objects["Semaphore"].acquire()
    objects["BoundedSemaphore"].acquire()
    objects["Event"].set()
    objects["Barrier"].abort()
    for name in ("Queue", "JoinableQueue", "SimpleQueue"):
        objects[name].put(put)
    pipe.send(put)
    return os.getpid()


def check_use(made, pid, said):
    objects = made.objects
    assert pid != os.getpid()
    assert objects["Value"].value == 1
    assert objects["a raw Value"].value == 2
    assert objects["Array"][:] == [0, 3, 0]
    assert objects["a raw Array"][:] == [0, 0, 4]
    assert objects["Semaphore"].acquire(timeout=10)
    assert not objects["Semaphore"].acquire(block=False)
    assert objects["BoundedSemaphore"].acquire(timeout=10)
    assert objects["Event"].is_set()
    assert objects["Barrier"].broken
    assert [queue.get(timeout=10) for queue in (made.queue, made.joinable)] == [said] * 2
    assert made.simple.get() == said
    assert made.here.recv() == said


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("call", ["run_in_process", "spawn_each", "partial", "initargs"])
def test_where_they_pass(method, call):
    with Made(method) as made:
        arguments = made.objects, made.there, call
        if call == "run_in_process":
            pid = run_in_process(use, *arguments, start_method=method)
        elif call == "spawn_each":
            (pid,) = spawn_each(use, *([one] for one in arguments), start_method=method)
        elif call == "partial":
            func = functools.partial(use, *arguments[:2])
            (pid,) = spawn_each(func, [call], start_method=method)
        else:
            with Pool(1, initializer=set_up, initargs=(arguments,), start_method=method) as pool:
                (pid,) = parallel_map(use_what_was_set_up, [0], executor=pool)
        check_use(made, pid, call)


_arguments = []


def set_up(arguments):
    _arguments[:] = arguments


def use_what_was_set_up(_):
    return use(*_arguments)


# --- proxies of managers ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def manager():
    context = multiprocessing.get_context("spawn")
    with context.Manager() as running:
        makers = types.SimpleNamespace(list=running.list, Lock=running.Lock, Value=running.Value)
        del running
        yield makers
        # The last test that used it still refers to it when all that was left is looked for.
        makers.__dict__.clear()


def add(proxy, n):
    proxy.append(n)
    return proxy


def under_lock(lock, value, n):
    with lock:
        value.value += n


def test_proxies_pass_as_items_and_results(manager):
    shared = manager.list()
    results = parallel_map(add, [shared] * 3, [1, 2, 3])
    assert sorted(shared) == [1, 2, 3]
    results[0].append(4)
    assert sorted(shared) == [1, 2, 3, 4]
    assert sorted(parallel_map(add, [{"in": shared}["in"]], [5])[0]) == [1, 2, 3, 4, 5]


def test_proxies_pass_with_functions(manager):
    lock, value = manager.Lock(), manager.Value("i", 0)
    parallel_map(functools.partial(under_lock, lock, value), range(5), max_workers=2)
    assert value.value == 10
    parallel_map(lambda n: under_lock(lock, value, n), [1])
    assert value.value == 11


def test_workers_that_were_there_before_are_told_the_key_of_managers(program):
    said = program.run("""
        import parmap

        def put(shared, n):
            shared.append(n)
            return len(shared)

        if __name__ == "__main__":
            parmap.parallel_map(abs, range(4), max_workers=2)
            for _ in range(2):  # and from now on there is a process ahead of each call
                parmap.run_in_process(abs, 1)

            import multiprocessing

            with multiprocessing.Manager() as manager:
                shared = manager.list()
                print(parmap.run_in_process(put, shared, 1))
                print(max(parmap.parallel_map(lambda n: put(shared, n), [2, 3])))
    """)
    assert said.split() == ["1", "3"]


@pytest.mark.parametrize("method", METHODS)
def test_proxies_pass_under_each_start_method(manager, method):
    shared = manager.list()
    with Pool(1, initializer=add, initargs=(shared, 0), start_method=method) as pool:
        assert list(parallel_map(add, [shared], [1], executor=pool)[0]) == [0, 1]
        if method != "fork":  # which is not for threads, and the pool has one for what is submitted
            pool.submit(add, shared, 2).result(timeout=30)
    run_in_process(add, shared, 3, start_method=method)
    spawn_each(add, [shared], [4], start_method=method)
    assert list(shared) == ([0, 1, 2, 3, 4] if method != "fork" else [0, 1, 3, 4])
