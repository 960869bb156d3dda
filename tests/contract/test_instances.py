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


def write(program, name, source):
    """A module beside the program."""
    (program.folder / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")


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


def test_bound_methods(run):
    run("""
        class Base:
            def hello(self): return "base"
        def decorated(func): return lambda self: func(self) + 1
        class Item(Base):
            def __init__(self, x):
                self.x = x
                self.held = [super().hello, self.hello, self.__own, self.later, Item.get.__get__(self)][x % 5]
            def hello(self): return "item"
            def __own(self): return self.x
            @decorated
            def later(self): return self.x
            def get(self): return self.x
        items = [Item(x) for x in range(50)]
        expected = [item.held() for item in items]
        assert parallel_map(lambda item: item.held(), items) == expected
        assert [held() for held in parallel_map(lambda item: item.held, items)] == expected
        """)


def test_a_class_that_ends_the_worker_is_the_end_of_its_items_only(run):
    run("""
        def end(pid):
            if os.getpid() != pid: os._exit(3)
        class Held:
            def __reduce__(self): return end, (os.getpid(),)
        class Item:
            held = Held()
            def __init__(self, x): self.x = x
        class Other:
            def __init__(self, x): self.x = x
        items = [(Item if number == 30 else Other)(number) for number in range(60)]
        got = parallel_map(lambda item: getattr(item, "x", item), [0, *items, 1], on_error="return", max_workers=2)
        assert isinstance(got[31], parmap.WorkerDied) and got[31].index == 31, got[31]
        assert got[:31] + got[32:] == [0, *range(30), *range(31, 60), 1]
        """)


def test_a_class_that_cannot_be_loaded_at_first(run):
    run("""
        def load(pid):
            if os.getpid() != pid and not os.path.exists("tried"):
                open("tried", "w").close()
                raise OSError("first time only")
            return 7
        class Held:
            def __reduce__(self): return load, (os.getpid(),)
        class Item:
            held = Held()
            def __init__(self, x): self.x = x
        items = [Item(x) for x in range(20)]
        got = parallel_map(lambda item: item.x, items, on_error="return", max_workers=1)
        assert isinstance(got[0], parmap.SerializationError), got
        assert got[1:] == [*range(1, 20)]
        os.unlink("tried")
        got = parallel_map(lambda item: item.x, [Item(x) for x in range(20)], max_workers=1,
                           retries=1, retry_on=(parmap.SerializationError,), executor=Pool(1))
        assert got == [*range(20)]
        """)


def test_threads_that_bring_ever_new_classes(run):
    run("""
        import threading
        sys.setswitchinterval(1e-5)
        def classes(count):
            made = []
            for _ in range(count):
                class Item:
                    def __init__(self, x): self.x = x
                made.append(Item)
            return made
        kept, failures = classes(20), []
        parallel_map(lambda item: item.x, [cls(1) for cls in kept])
        def work():
            for _ in range(8):
                mine = classes(20)
                kept.extend(mine)
                try: assert parallel_map(lambda item: item.x, [cls(1) for cls in mine], max_workers=1) == [1] * 20
                except BaseException as failure: failures.append(failure)
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert not failures, failures
        """)


def test_ever_new_classes_are_let_go_of(run):
    run("""
        import gc
        def make(x):
            class Item:
                def __init__(self): self.x = x
            return Item()
        def count(item):
            gc.collect()
            return sum(cls.__name__ == "Item" for cls in object.__subclasses__())
        with Pool(1) as pool:
            found = list(parallel_imap(count, (make(x) for x in range(300)), executor=pool))
            for _ in range(100): found += parallel_map(count, [make(1), make(2)], executor=pool)
        assert max(found) < 200, max(found)  # 64 of the call, and 64 that are kept anyway
        assert count(None) < 70, count(None)
        """)


def test_each_item_is_pickled_once_by_plain_pickle(run, program):
    write(
        program,
        "once",
        """
        class Once:
            def __init__(self, x): self.x = x
            def __getstate__(self):
                state, self.x = {"x": self.x}, None
                return state
        """,
    )
    run("""
        from once import Once
        class Item: x = "item"
        items = [*map(Once, range(20)), Item(), Item(), Once(20)]
        assert parallel_map(lambda item: item.x, items) == [*range(20), "item", "item", 20]
        """)


def test_what_is_told_of_by_name_is_not_copied(run):
    run("""
        class Tee(list):
            def write(self, text): self.append(text)
            def flush(self): pass
        class Item:
            def __init__(self, x): self.x = x
        real, sys.stdout = sys.stdout, Tee()
        items = [Item(Tee()), Item(sys.stdout), Item(Tee()), Item(sys.stdout), sys.stdout]
        def is_it(item): return getattr(item, "x", item) is sys.stdout
        found = parallel_map(is_it, items * 3)
        sys.stdout = real
        assert found == [False, True, False, True, True] * 3, found
        """)


def test_a_module_that_goes_by_value(run, program):
    write(
        program,
        "valued",
        """
        class Valued: pass
        def is_it(x): return isinstance(x, Valued)
        """,
    )
    run("""
        import cloudpickle, valued
        cloudpickle.register_pickle_by_value(valued)
        class Item:
            def __init__(self, x): self.x = x
        items = [Item(valued.Valued()), *(valued.Valued() for _ in range(9)), Item(1), Item(2)]
        assert parallel_map(valued.is_it, items) == [*map(valued.is_it, items)]
        """)


def test_an_interrupt_leaves_nothing_behind(run):
    run("""
        from parmap import _codec, _instances
        class Item:
            def __init__(self, x): self.x = x
        class Late(BaseException): pass
        met = {}
        buffers = _codec.Buffers()
        _codec.pickled_by_value(Item(0), buffers, home=False, what="item", met=met)
        quick = _instances.Quick(buffers)
        quick.learn(met)
        def interrupted(at):
            def trace(frame, event, argument):
                nonlocal at
                if frame.f_globals is not vars(_instances): return None
                at -= event == "line"
                if event == "line" and at == 0:
                    sys.settrace(None)
                    raise Late
                return trace
            sys.settrace(trace)
            try: quick.pickled(Item([1] * 50))
            except Late: return True
            finally: sys.settrace(None)
        wanted = quick.pickled(Item(2))
        assert wanted
        at = 1
        while interrupted(at):
            assert quick.pickled(Item(2)) == wanted, at
            at += 1
        assert at > 5
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
