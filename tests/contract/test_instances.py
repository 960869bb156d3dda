"""Many instances of the program's classes: the quick way does what the accurate one does, or leaves it to it."""

from __future__ import annotations

import textwrap

import pytest

HEAD = """
    import collections, dataclasses, enum, os, sys
    import parmap
    from parmap import Pool, _cloud, parallel_imap, parallel_map, parallel_starmap

    slow = []  # what went the accurate way, in this process
    usual = _cloud.dumps
    def dumps(obj, *args, **kwargs):
        if kwargs.get("many"): slow.append(obj)
        return usual(obj, *args, **kwargs)
    _cloud.dumps = dumps

    def same(x): return x
    """


@pytest.fixture
def run(program):
    """Runs a program that defines classes."""
    return lambda source: program.run(textwrap.dedent(HEAD) + textwrap.dedent(source))


KINDS = {
    "dataclass": """
        @dataclasses.dataclass
        class Item:
            x: int
            def get(self): return self.x
        """,
    "slots": """
        @dataclasses.dataclass(slots=True, frozen=True)
        class Item:
            x: int
            def get(self): return self.x
        """,
    "named tuple": """
        class Item(collections.namedtuple("Item", "x")):
            __slots__ = ()
            def get(self): return self.x
        """,
    "of a list": """
        class Item(list):
            def __init__(self, x=0): self.x = x
            def get(self): return self.x
            def __eq__(self, other): return type(other) is Item and vars(self) == vars(other)
        """,
    "an exception": """
        class Item(Exception):
            def get(self): return self.args[0]
            def __eq__(self, other): return type(other) is Item and self.args == other.args
        """,
    "with a class in it": """
        class Inner:
            def __init__(self, x): self.x = x
            def __eq__(self, other): return type(other) is Inner and self.x == other.x
        @dataclasses.dataclass
        class Item:
            x: object
            def __post_init__(self): self.x = Inner(self.x)
            def get(self): return self.x.x
        """,
    "with its own state": """
        class Item:
            def __init__(self, x): self.x = x
            def __getstate__(self): return [self.x]
            def __setstate__(self, state): (self.x,) = state
            def get(self): return self.x
            def __eq__(self, other): return type(other) is Item and self.x == other.x
        """,
    "with a metaclass": """
        class Meta(type):
            made = 0
            def __call__(cls, *args):
                Meta.made += 1
                return super().__call__(*args)
        class Item(metaclass=Meta):
            def __init__(self, x): self.x = x
            def get(self): return self.x
            def __eq__(self, other): return type(other) is Item and self.x == other.x
        """,
    "local": """
        def outer():
            class Item:
                def __init__(self, x): self.x = x
                def get(self): return self.x
                def __eq__(self, other): return type(other) is Item and self.x == other.x
            return Item
        Item = outer()
        """,
}


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(run, kind):
    source = textwrap.dedent(KINDS[kind])
    run(
        source
        + textwrap.dedent("""
        items = [Item(number) for number in range(300)]
        assert parallel_map(lambda item: item.get(), items) == [*range(300)]
        assert len(slow) <= 2, len(slow)
        back = parallel_map(same, items)
        assert back == items
        assert {*map(type, back)} == {Item}
        assert parallel_map(lambda x: Item(x), range(300)) == items
        assert list(parallel_imap(same, iter(items))) == items
        assert parallel_starmap(lambda item, x: item.get() - x, zip(items, range(300))) == [0] * 300
        mixed = [item if number % 3 else [number, None][number % 2] for number, item in enumerate(items)]
        assert parallel_map(same, mixed) == mixed
        """)
    )


def test_members_of_enums(run):
    run("""
        class Color(enum.Enum): RED, GREEN, BLUE = range(3)
        class Size(enum.IntFlag): SMALL, LARGE = 1, 2
        items = [*Color, *Size, Size.SMALL | Size.LARGE] * 40
        back = parallel_map(same, items)
        assert back == items
        assert all(one is other for one, other in zip(back, items) if type(one) is Color)
        assert all(parallel_map(lambda x: any(x is member for member in Color), [*Color] * 50))
        assert len(slow) < 10, len(slow)
        """)


def test_what_a_class_holds_is_what_its_instances_refer_to(run):
    run("""
        class Item:
            registry = {}
            def __init__(self, x, alone=False): self.x, self.held = x, {} if alone else self.registry
        items = [Item(number, number % 2) for number in range(100)]
        assert parallel_map(lambda item: item.held is Item.registry, items) == [True, False] * 50
        def count(item):
            item.held[item.x] = 1
            return len(Item.registry)
        with Pool(1) as pool:
            assert parallel_map(count, items[::2], executor=pool) == [*range(1, 51)]
        """)


def test_what_needs_more_care(run):
    run("""
        class Item:
            def __init__(self, x): self.x = x
        class Sentinel:
            def __reduce__(self): return "SENTINEL"
        SENTINEL = Sentinel()
        def scale(x): return 2 * x
        held = [lambda x: x + 1, SENTINEL, scale, os.environ, Item, abs, sys, "__main__", 3]
        items = [Item(held[number % len(held)]) for number in range(90)]
        def look(item):
            x = item.x
            if x is os.environ: return "environ"
            if x is SENTINEL: return "sentinel"
            if isinstance(x, (str, int)) or x is sys: return str(x)[:9]
            return str(x(4)) if x is not Item else "class"
        assert parallel_map(look, items) == [*map(look, items)]
        """)


def test_what_is_shared_within_an_item_and_not_among_items(run):
    run("""
        class Item:
            def __init__(self, part): self.one = self.other = part
        shared = [0]
        items = [Item(shared) for _ in range(50)]
        def use(item):
            item.one.append(1)
            return item.one is item.other, len(item.one)
        assert parallel_map(use, items, max_workers=1) == [(True, 2)] * 50
        """)


def test_a_large_array_in_one(run):
    run("""
        np = __import__("pytest").importorskip("numpy")
        class Item:
            def __init__(self, x): self.x = x
        items = [Item(np.full(1 << 20 if number == 20 else 3, number)) for number in range(40)]
        assert parallel_map(lambda item: int(item.x[0]), items) == [*range(40)]
        back = parallel_map(same, items)
        assert [len(item.x) for item in back] == [len(item.x) for item in items]
        """)


def test_nothing_of_the_last_one_stays(run):
    run("""
        import gc, weakref
        class Item:
            def __init__(self, x): self.x = x
        def make(item):
            item = Item(item.x)
            Item.refs = [weakref.ref(item)]
            return item
        def alive(_): return [ref for ref in Item.refs if ref() is not None]
        with Pool(1) as pool:
            items = [Item(x) for x in range(50)]
            assert [item.x for item in parallel_map(make, items, executor=pool)] == [*range(50)]
            assert parallel_map(alive, [0], executor=pool) == [[]]
        here = Item(1)
        ref = weakref.ref(here)
        parallel_map(same, [Item(0), Item(0), here])
        del here
        gc.collect()
        assert ref() is None
        """)


def test_a_class_that_cannot_be_had_in_a_worker(run):
    run("""
        import types
        module = types.ModuleType("only_here")
        exec("class Base: pass", vars(module))
        sys.modules["only_here"] = module
        class Item(module.Base):
            def __init__(self, x): self.x = x
        class Other:
            def __init__(self, x): self.x = x
        items = [(Item if number == 30 else Other)(number) for number in range(60)]
        got = parallel_map(lambda item: item.x, items, on_error="return")
        assert isinstance(got[30], parmap.SerializationError), got[30]
        assert "only_here" in str(got[30]), got[30]
        assert got[:30] + got[31:] == [*range(30), *range(31, 60)]
        items = [Item(number) for number in range(60)]
        got = parallel_map(lambda item: item.x, items, on_error="return")
        assert {*map(type, got)} == {parmap.SerializationError}
        assert all("only_here" in str(one) for one in got), got
        """)


def test_a_worker_that_takes_the_place_of_another_knows_the_classes(run):
    run("""
        class Item:
            def __init__(self, x): self.x = x
        def use(item):
            if item.x in (40, 80, 120) and not os.path.exists(f"died-{item.x}"):
                open(f"died-{item.x}", "w").close()
                os._exit(1)
            return Item(item.x)
        items = [Item(number) for number in range(150)]
        got = parallel_map(use, items, retries=1, max_workers=2)
        assert [item.x for item in got] == [*range(150)]
        assert {*map(type, got)} == {Item}
        """)


def test_a_class_that_is_defined_anew(run):
    run("""
        for number in range(3):
            class Item:
                version = number
                def __init__(self, x): self.x = x
                def get(self, number=number): return self.x, self.version, number
            items = [Item(x) for x in range(40)]
            assert parallel_map(lambda item: item.get(), items) == [(x, number, number) for x in range(40)]
            assert {*map(type, parallel_map(same, items))} == {Item}
        Item.version = "changed"
        assert {item.version for item in parallel_map(same, items)} == {"changed"}
        assert {*parallel_map(lambda item: item.version, items)} == {"changed"}
        """)


def test_a_class_that_only_the_worker_has(run):
    run("""
        def make(x):
            class Made:
                def __init__(self): self.x = x
                def get(self): return self.x
            return Made()
        class Item:
            def __init__(self, x): self.x = x
            def get(self): return self.x
        def either(item): return make(item.x) if item.x % 2 else item
        items = [Item(x) for x in range(40)]
        assert [one.get() for one in parallel_map(either, items)] == [*range(40)]
        """)


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_every_start_method(run, method):
    run(f"""
        class Item:
            def __init__(self, x): self.x = x
        with Pool(2, start_method={method!r}) as pool:
            for _ in range(2):
                got = parallel_map(same, [Item(x) for x in range(60)], executor=pool)
                assert [one.x for one in got] == [*range(60)]
                assert {{*map(type, got)}} == {{Item}}
                assert pool.submit(same, Item(1)).result().x == 1
        """)
