"""Functions of `__main__` travel with their annotations, whatever these mention."""

from __future__ import annotations

import sys

import pytest

PROGRAM = """
import sys
from pathlib import Path
from parmap import Pool, parallel_map, run_in_process, spawn_each

class Item: pass
ALIAS = list[int]

def plain(x: int, *more: ALIAS, y: Path = None) -> dict[str, Item]: return x
def closure(kind):
    def inner(x: kind) -> "Anything": return x
    return inner
inner = closure(float)
class Class:
    def method(self, x: Item) -> "Class": return self.other(x)
    def other(self, x: ALIAS) -> "Class": return x
def look(func): return {key: str(value) for key, value in func.__annotations__.items()}

for func in (plain, inner, Class().method):
    assert parallel_map(func, [1, 2]) == [1, 2], func
    assert run_in_process(func, 1) == 1
for func in (plain, inner, Class.method, Class.other):
    assert parallel_map(look, [func]) == [look(func)], func
print("cloudpickle" in sys.modules)
"""

SIMPLE = """
import sys
from parmap import parallel_map
def func(x: int) -> "no.such" : return x + 1
assert parallel_map(func, [1, 2]) == [2, 3]
assert parallel_map(lambda x: func(x), [1, 2]) == [2, 3]
print("cloudpickle" in sys.modules)
"""

UNDEFINED = """
import beside
from typing import TYPE_CHECKING
from parmap import Pool, parallel_map, run_in_process
if TYPE_CHECKING:
    from nowhere import Nothing
n = 0
def set_up(x: Nothing):
    global n
    n = x
def func(x: Nothing, y: Later = 1) -> Nothing: return x + y + n
class Class:
    def method(self, x: Nothing) -> Nothing: return x
    def __call__(self, x: Nothing) -> Nothing: return x
def annotations(func):
    try:
        return func.__annotations__
    except NameError as error:
        return error.name
for _ in range(2):
    assert parallel_map(func, [1, 2]) == [2, 3]
    assert parallel_map(Class().method, [1, 2]) == [1, 2]
    assert parallel_map(Class(), [1, 2]) == [1, 2]
    assert parallel_map(beside.make(3), [1, 2]) == [4, 5]
assert parallel_map(annotations, [func]) == ["Nothing"]
assert parallel_map(annotations, [Class.method]) == [{"x": "Nothing", "return": "Nothing"}]
with Pool(1, initializer=set_up, initargs=(5,)) as pool:
    assert parallel_map(func, [1], executor=pool) == [7]
class Later: pass
assert run_in_process(func, 1) == 2
"""

BESIDE = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from nowhere import Nothing
def make(n):
    def inner(x: Nothing) -> Nothing: return x + n
    return inner
"""

deferred = pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated there")


@pytest.mark.parametrize("how", ["script", "-c"])
def test_annotations(program, how):
    assert program.run(PROGRAM, how=how) == "True\n"


def test_simple_annotations_do_without_cloudpickle(program):
    assert program.run(SIMPLE) == "False\n"


@deferred
def test_annotations_that_mention_what_does_not_exist(program):
    (program.folder / "beside.py").write_text(BESIDE)
    assert program.run(UNDEFINED) == ""


def test_the_same_as_text(program):
    (program.folder / "beside.py").write_text("from __future__ import annotations\n" + BESIDE)
    source = UNDEFINED.replace('["Nothing"]', "[func.__annotations__]")
    assert program.run("from __future__ import annotations\n" + source) == ""


@deferred
@pytest.mark.parametrize("before", ["", "lock = threading.Lock()"], ids=["", "beside a lock"])
def test_a_dataclass_that_annotates_itself(program, before):
    """Its fields hold references that could be evaluated with all of the program's globals."""
    program.run(f"""
        import threading
        from dataclasses import dataclass, fields
        from parmap import parallel_map
        {before}
        large = bytes(1 << 22)
        @dataclass
        class Node:
            value: int
            next: Node | None = None
            others: list[Later] = ()
            other: Undefined = None
        @dataclass
        class Later:
            node: Node
        assert parallel_map(lambda node: node.value, [Node(1, Node(2))]) == [1]
        assert parallel_map(lambda x: Node(x), [1]) == [Node(1)]
        assert parallel_map(lambda x: len(fields(x)), [Later(Node(1))]) == [1]
        assert parallel_map(lambda x: fields(x)[3].type.__forward_arg__, [Node(1)]) == ["Undefined"]
        """)


CLASSES = """
from typing import Generic, NamedTuple, TypedDict, TypeVar, get_type_hints
from parmap import parallel_map, run_in_process, spawn_each

T = TypeVar("T")
class Row(TypedDict): x: int
class Wide(Row, total=False): y: str
class Of(TypedDict, Generic[T]): x: T
class Heir(Of[int]): z: float
Made = TypedDict("Made", {"x": int})
class Point(NamedTuple):
    x: int
    y: "Point" = None
class Node:
    class Inner: z: float
    value: int
    next: "Node"
    inner: Inner

def shown(x) -> Row:
    kinds = Row, Wide, Of, Heir, Made, Point, Node, Node.Inner
    return [str(kind.__annotations__) for kind in kinds], get_type_hints(Point)["y"] is Point
def keys(x) -> Wide:
    return Wide.__required_keys__, Wide.__optional_keys__, Wide(x=x), Heir(x=x), Made(x=x), Of[int]
def same(x):
    return get_type_hints(Node)["next"] is Node and Node.__annotations__["inner"] is Node.Inner

for _ in range(2):
    got = [run_in_process(shown, 1), *parallel_map(shown, [1]), *spawn_each(shown, [1])]
    assert got == [shown(1)] * 3, got
    assert parallel_map(keys, [1]) == [keys(1)]
    assert parallel_map(same, [1]) == [True]
"""


def test_annotations_of_classes(program):
    """Nobody has asked for them in the caller when they travel first."""
    assert program.run(CLASSES) == ""


def test_annotations_of_classes_that_mention_what_does_not_exist(program):
    assert (
        program.run("""
        from typing import TYPE_CHECKING
        from parmap import parallel_map
        if TYPE_CHECKING:
            from nowhere import Nothing
        class Class:
            x: "Nothing"
            def __init__(self, x): self.x = x
        assert parallel_map(lambda one: one.x, [Class(1)]) == [1]
        assert parallel_map(lambda x: Class.__annotations__, [1]) == [{"x": "Nothing"}]
        """)
        == ""
    )


@deferred
def test_annotations_of_classes_that_are_not_evaluated(program):
    assert (
        program.run("""
        from parmap import parallel_map
        class Class:
            x: Nothing
            y: int
        assert parallel_map(lambda one: 1, [Class()]) == [1]
        found = {"x": "Nothing", "y": "int"}
        assert parallel_map(lambda x: Class.__annotations__, [1]) == [found]
        """)
        == ""
    )
