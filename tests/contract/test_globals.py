"""Globals of the program: one object stays one object, and what an initializer has set stays set."""

from __future__ import annotations

import textwrap

import pytest

HEAD = """
    from parmap import Pool, parallel_map, run_in_process

    class C: pass  # a function that mentions it goes the way of cloudpickle

    def check(func, items=(1, 2), executor="process"):
        assert parallel_map(func, items, executor=executor) == list(map(func, items))
    """


@pytest.fixture(params=["None", "C"], ids=["by value", "by cloudpickle"])
def run(program, request):
    """Runs a program whose functions mention ANY, which is something that chooses how they travel."""

    def run(source):
        source = textwrap.dedent(source).replace("ANY", request.param)
        program.run(textwrap.dedent(HEAD) + source)

    return run


def test_a_default_is_the_global_in_every_function(run):
    run("""
        MISSING = object()
        def first(x, default=MISSING): return default is MISSING, ANY and 1
        def second(x, *, default=MISSING): return default is MISSING, first(x), ANY and 1
        def close(inner):
            return lambda x: (inner is MISSING, [MISSING] == [inner], ANY and 1)
        for func in first, second, first, close(MISSING), second:
            check(func)
        """)


def test_a_default_is_the_global_when_another_global_changes(run):
    run("""
        MISSING, factor = object(), 0
        def func(x, default=MISSING): return default is MISSING, factor, ANY and 1
        for factor in 1, 2, 1:
            check(func)
        """)


def test_a_class_attribute_is_the_global(run):
    run("""
        MISSING = object()
        class D:
            missing = MISSING
            def method(self, x): return self.missing is MISSING, ANY and 1
        def func(x): return D.missing is MISSING, ANY and 1
        for one in func, D().method, func, lambda x: MISSING is D.missing:
            check(one)
        """)


def test_a_global_within_a_class_attribute(run):
    run("""
        INNER, factor = {}, 0
        class D:
            shared = [INNER]
            def method(self): return INNER
        def func(x, inner=INNER):
            return D.shared[0] is inner, INNER is inner, D().method() is inner, factor, ANY and 1
        for factor in 1, 2, 2, 1:
            check(func)
        """)


@pytest.mark.parametrize("value", ["{}", "[1]", "{1, 2}", "{'a': [1]}", "list(range(99))"])
def test_a_global_that_another_globals_class_uses(run, value):
    run(f"""
        import functools
        INNER, factor = {value}, 0
        class D:
            shared = INNER
            nested = [INNER]
            def default(self, inner=INNER): return inner
            @functools.lru_cache
            def cached(self): return INNER
        class Derived(D): pass
        one, other = D(), Derived()
        def func(x):
            found = one.shared, one.nested[0], one.default(), one.cached(), other.shared
            return [thing is INNER for thing in found], factor, ANY and 1
        for factor in 1, 2, 2, 1:
            check(func)
        """)


def test_a_text_in_a_global_is_the_global(run):
    run("""
        MISSING, NOTHING = "<not there>", b"nothing at all"
        table, board, keys = {"a": MISSING, "b": 1}, [NOTHING] * 3, {MISSING: 1}
        def func(x):
            return table["a"] is MISSING, board[0] is NOTHING, next(iter(keys)) is MISSING, ANY and 1
        check(func)
        check(func)
        """)


def test_what_has_not_changed_is_told_apart_once(run):
    run("""
        from parmap import _globals
        tables = {name: {f"{name}{n}": n for n in range(2000)} for name in "abcdefgh"}
        globals().update(tables)
        def func(x): return [sum(t.values()) for t in (a, b, c, d, e, f, g, h)], ANY and 1
        looked = []
        held = _globals._held
        _globals._held = lambda *args: looked.append(args) or held(*args)
        check(func)
        looked.clear()
        check(func)
        assert not looked
        e["more"] = 1
        check(func)
        assert looked
        """)


def test_two_names_of_one_object(run):
    run("""
        A = [1]
        def use(x): return A, ANY and 1
        check(use)
        B, inside = A, [A]
        def same(x): return A is B, inside[0] is A, ANY and 1
        def only(x): return A is B, ANY and 1
        check(same)
        check(only)
        B = [1]
        check(only)
        B = inside = A
        check(same)
        check(only)
        """)


def test_what_is_the_same_for_another_object_is_another(run):
    run("""
        A, B = [1], [1]
        def apart(x):
            A.append(x)
            result = len(A), len(B), A is B, ANY and 1
            A.pop()
            return result
        check(apart)
        B = A
        check(apart)
        B = [1]
        check(apart)
        """)


def test_what_refers_to_itself_and_to_its_function(run):
    run("""
        table = {}
        def call(x, table=table): return table["call"] is call, table["table"] is table, ANY and 1
        table.update(call=call, table=table)
        for n in range(2):
            check(call)
            table[n] = n
        """)


@pytest.mark.parametrize(
    "value", ["None", "{}", "Namespace()", "Own()", "[C]", "0.0"], ids=str.lower
)
def test_what_an_initializer_has_done_to_it_stays(run, value):
    run(f"""
        from types import SimpleNamespace as Namespace
        class Own:
            def opened(self): return self.connection
        thing, other = {value}, 0
        def init():
            global thing
            if isinstance(thing, dict): thing["connection"] = "open"
            elif isinstance(thing, list): thing.append("open")
            elif hasattr(thing, "__dict__"): thing.connection = "open"
            else: thing = "open"
        def func(x, known=thing):
            held = thing if isinstance(thing, str) else getattr(thing, "connection", None)
            return held or thing[-1 if isinstance(thing, list) else "connection"], known is thing, other
        def beside(x): return func(x), ANY and 1
        is_one = thing is not None and thing != 0.0
        with Pool(2, initializer=init) as pool:
            for other in range(3):
                expected = "open", is_one, other
                assert parallel_map(func, range(4), executor=pool) == [expected] * 4
                assert parallel_map(beside, [1], executor=pool) == [(expected, ANY and 1)]
            thing = -0.0
            assert repr(parallel_map(lambda x: thing, [1], executor=pool)) == "[-0.0]"
        """)


@pytest.mark.parametrize("value", ["...", "()", "{}", "object()", "frozenset()"])
def test_what_an_initializer_puts_in_its_place_is_there_alone(run, value):
    """What referred to the object still does."""
    run(f"""
        thing, other = {value}, 0
        held = [thing]
        def init():
            global thing
            thing = "open"
        def func(x, known=thing, *, named=(thing,), empty=()):
            return thing, known is named[0] is held[0], empty, other, ANY and 1
        with Pool(1, initializer=init) as pool:
            for other in range(3):
                expected = "open", True, (), other, ANY and 1
                assert parallel_map(func, range(2), executor=pool) == [expected] * 2
        """)


def test_a_changed_global_is_the_callers(run):
    run("""
        state = {"n": 0}
        def read(x, known=state): return state["n"], known is state, ANY and 1
        def change(x): state["n"] = 99; return x
        for n in 1, 2, 1:
            state["n"] = n
            check(read)
            assert parallel_map(change, [1, 2]) == [1, 2]
        state = {"n": 5}
        check(read)
        """)


def test_a_deleted_global_is_gone(run):
    run("""
        def outcome(func, items):
            results = parallel_map(func, items, on_error="return", max_workers=1)
            return [str(one) if isinstance(one, NameError) else one for one in results]

        class D: pass
        def use(x): return K, ANY and 1
        def of_class(x): return D.__name__
        def shadowing(x): return max, ANY and 1
        for K in [1], 2, "three", len:
            check(use)
        check(of_class)
        max = 1
        check(shadowing)
        lost = "name 'K' is not defined"
        del K, D, max
        assert outcome(use, [1]) == [lost]
        assert outcome(lambda x: (K, ANY), [1]) == [lost]
        assert outcome(of_class, [1]) == ["name 'D' is not defined"]
        check(shadowing)
        K = 5
        check(use)
        del K
        assert outcome(use, [1]) == [lost]
        """)


def test_a_namespace_that_is_called_main_too_deletes_nothing(run):
    run("""
        data, scale = [1, 2, 3], 3
        space = {"__name__": "__main__"}
        exec("def other(x): return x.real, getattr(x, 'data', 0) or hasattr(x, 'scale') and x.data", space)
        other = space["other"]
        def func(x): return sum(data) * scale, other(x), ANY and 1
        for one in func, other, lambda x: (other(x), sum(data), ANY), func:
            check(one)
        """)


def test_what_an_initializer_has_put_in_the_place_of_a_deleted_global_stays(run):
    run("""
        def set_up(value):
            global K
            K = value
        def use(x): return K, ANY and 1

        K = [1]
        with Pool(1, initializer=set_up, initargs=("set",)) as pool:
            other = Pool(1)
            assert parallel_map(use, [1], executor=other)[0][0] == [1]
            del K
            for _ in range(2):
                assert parallel_map(use, [1], executor=pool)[0][0] == "set"
            other.shutdown()
        """)


def test_a_large_global_is_one_copy(program, np):
    program.run("""
        import numpy as np
        from parmap import parallel_map

        array = np.ones(1 << 24)
        def peak(x):
            with open("/proc/self/status") as lines:
                held = dict(line.split(":", 1) for line in lines)
            return int(held["VmHWM"].split()[0]) >> 10, int(array[x])
        for size, one in parallel_map(peak, range(4), max_workers=2):
            assert one == 1
            assert size < 128 + 100, f"{size} MB"
        """)


def test_names_in_a_class_body_within_a_function(run):
    run("""
        import math
        def func(x):
            class Inner:
                value = math.floor(2.5)
                kind = ANY
            return Inner.value
        check(func)
        """)


def test_submodules_that_an_expression_names(run):
    run("""
        import xml.dom.minidom
        def tag(x):
            return xml.dom.minidom.parseString(x).documentElement.tagName, ANY and 1
        check(tag, ["<a/>"])
        """)


def test_what_is_known_by_its_name_alone_may_have_changed(run):
    run("""
        import functools
        with Pool(1) as pool:
            for more in 1, 100:
                @functools.lru_cache
                def helper(x): return x + more
                table = {"helper": helper, "part": functools.partial(helper, 1)}
                def func(x): return helper(x), table["helper"](x), table["part"](), ANY and 1
                for one in func, lambda x: func(x):
                    assert parallel_map(one, [1], executor=pool) == [(*[1 + more] * 3, ANY and 1)]
        """)


def test_large_globals_are_not_mixed_up(program, np):
    """Whichever way the function is tried first, and whatever the order of its names."""
    for seed in "1", "2", "3", "4":
        program.run(
            """
            import numpy as np
            from parmap import parallel_map
            A, B, D = (np.full(200_000, value) for value in (1.0, 2.0, 3.0))
            class C: pass
            def func(x): return A[0], B[0], D[0], C is C
            assert parallel_map(func, [1]) == [(1, 2, 3, True)]
            """,
            env={"PYTHONHASHSEED": seed},
        )


def test_a_class_that_counts_its_instances_changes_none_of_them(run):
    run("""
        class Client:
            count = 0
            def __init__(self): Client.count += 1
        client = Client()
        held = {"kind": Client}
        def init():
            client.open = held["open"] = True
        def func(x): return client.open, held["open"], ANY and 1
        with Pool(1, initializer=init) as pool:
            for _ in range(3):
                assert parallel_map(func, [Client()], executor=pool) == [(True, True, ANY and 1)]
                Client()
        """)


def test_globals_that_pickle_has_no_way_with(program):
    """A format that was compiled; and what is each thread's own, with what this one has there."""
    assert (
        program.run("""
        import struct, threading
        from parmap import SerializationError, parallel_map, run_in_process

        HEADER = struct.Struct("<IH")
        own = threading.local()
        own.seen = 5

        def pack(n):
            own.cached = getattr(own, "cached", n)
            return HEADER.pack(own.seen, n)

        def outside(n):
            found = []
            thread = threading.Thread(target=lambda: found.append(hasattr(own, "seen")))
            thread.start()
            thread.join()
            return found

        assert parallel_map(pack, range(3)) == [pack(n) for n in range(3)]
        assert parallel_map(outside, [0]) == [[False]] == [outside(0)]
        own.seen = 6
        assert parallel_map(pack, range(3)) == [pack(n) for n in range(3)]
        assert [one.format for one in parallel_map(lambda one: one, [HEADER])] == ["<IH"]
        own.lock = threading.Lock()
        try:
            parallel_map(pack, [1])
        except SerializationError as error:
            print("attribute `lock`" in str(error))
    """)
        == "True\n"
    )
