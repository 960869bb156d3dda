"""What pickles by its own name is of the program, and is itself wherever it comes from."""

from __future__ import annotations

import sys
import textwrap

import pytest

HEAD = """
    import builtins, multiprocessing, sys, typing
    from typing import NewType, ParamSpec, TypeVarTuple
    from parmap import Pool, parallel_map, run_in_process

    class Single:
        def __init__(self, name): self.name = name
        def __reduce__(self): return self.name
        def __eq__(self, other): raise AssertionError("it is compared by identity")
        __hash__ = None
    class Slotted(Single):
        __slots__ = ("extra",)
        extra: str
    def aliased(): pass
    """


@pytest.mark.parametrize(
    "made",
    [
        "Single('THING')",
        "Slotted('THING')",
        "NewType('THING', int)",
        "ParamSpec('THING')",
        "TypeVarTuple('THING')",
        pytest.param(
            "typing.TypeAliasType('THING', list[int])",
            marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="there is none"),
        ),
        pytest.param(
            "builtins.sentinel('THING', repr='<a thing>')",
            marks=pytest.mark.skipif(sys.version_info < (3, 15), reason="there is none"),
        ),
    ],
)
def test_it_is_itself_wherever_it_comes_from(program, made):
    program.run(
        textwrap.dedent(HEAD)
        + textwrap.dedent(f"""
        THING = {made}
        if isinstance(THING, Slotted): THING.extra = "more"
        def default(x, thing=THING): return x is thing, thing is THING, repr(thing) == text
        def annotated(x: THING) -> THING: return x
        def same(x): return THING
        def attributes(x): return getattr(x, "name", None), getattr(x, "extra", None)
        def kept(x): return [x, {{"thing": x}}]
        def nested(x): return run_in_process(annotated, x) is THING
        text = repr(THING) if not isinstance(THING, Single) else None
        is_there = True if text else False
        with Pool(2) as pool:
            for _ in range(2):
                assert parallel_map(default, [THING], executor=pool) == [(True, True, is_there)]
                for func in annotated, same, annotated:
                    [result] = parallel_map(func, [THING], executor=pool)
                    assert result is THING
                [[result, held]] = parallel_map(kept, [THING], executor=pool)
                assert result is held["thing"] is THING
                assert parallel_map(attributes, [THING], executor=pool) == [attributes(THING)]
        assert run_in_process(nested, THING)
        """)
    )


def test_another_of_the_same_name_is_another(program):
    program.run(
        textwrap.dedent(HEAD)
        + textwrap.dedent("""
        kept = []
        with Pool(1) as pool:
            for text in "first", "second":
                THING = Single("THING")
                THING.text = text
                kept.append(THING)
                assert parallel_map(lambda x: THING.text, [1], executor=pool) == [text]
                assert parallel_map(lambda x: x.text, [THING], executor=pool) == [text]
        """)
    )


def test_one_that_has_no_name_in_its_module(program):
    program.run(
        textwrap.dedent(HEAD)
        + textwrap.dedent("""
        def local():
            UserId = NewType("UserId", int)
            def func(x: UserId) -> UserId: return UserId(x)
            return func
        assert parallel_map(local(), [1]) == [1]
        """)
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_program_in_a_child_of_multiprocessing(program, method):
    """There it is called `__mp_main__`, and no worker can import that either."""
    program.run(f"""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        from parmap import parallel_map, run_in_process

        class Item:
            def __init__(self, x): self.x = x
        class Failed(Exception): pass
        def square(x): return x * x
        def items(x): return Item(x)
        def fails(x): raise Failed(x)
        def job():
            assert parallel_map(square, range(3), max_workers=2) == [0, 1, 4]
            assert parallel_map(lambda x: square(x), range(3), max_workers=2) == [0, 1, 4]
            assert [type(item) for item in parallel_map(items, [1])] == [Item]
            assert parallel_map(lambda item: item.x, [Item(5)]) == [5]
            assert run_in_process(square, 3) == 9
            try: parallel_map(fails, [1])
            except Failed as error: assert error.args == (1,)
            return True
        if __name__ == "__main__":
            context = multiprocessing.get_context({method!r})
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                assert pool.submit(job).result()
            child = context.Process(target=job)
            child.start()
            child.join()
            assert child.exitcode == 0
        """)


def test_one_whose_state_changes(program):
    program.run(
        textwrap.dedent(HEAD)
        + textwrap.dedent("""
        with Pool(1) as pool:
            for n in range(5):
                THING = None  # whose memory may be used again
                THING = Single("THING")
                for level in 1, 2, 1:
                    THING.level = n, level
                    assert parallel_map(lambda x: THING.level, [1], executor=pool) == [(n, level)]
        """)
    )


def test_what_copyreg_says_comes_first(program):
    program.run("""
        import collections, copyreg
        from parmap import parallel_map
        class Failed(Exception):
            def __init__(self, one, other):
                super().__init__(f"{one}{other}")
                self.one, self.other = one, other
        class Ordered(collections.OrderedDict): pass
        copyreg.pickle(Failed, lambda error: (Failed, (error.one, error.other)))
        assert parallel_map(lambda error: error.other, [Failed(1, 2)]) == [2]
        assert parallel_map(lambda one: (type(one) is Ordered, dict(one)), [Ordered(a=1)]) == [(True, {"a": 1})]
        """)
